"""Everything that is not ours passes untouched: the oracle sees no difference, and sees the one of every careless wrapper."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Callable, Iterable, Iterator
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw import asgi, wsgi
from tests import oracle
from tests.oracle import AsgiScript, Mutate, Raise, Read, Receive, Send, SetVariable, Start, Turn, Write, WsgiScript

OURS = "/zaraz/api"
OTHERS = [
    "/",
    "",
    "/zaraz/api/",
    "/zaraz",
    "/api",
    "//zaraz/api",
    "/Zaraz/api",
    "/zaraz/./api",
    "/zaraz%2Fapi",
    "/größe",
]


# Ours. One gateway for all scripts: it keeps nothing of a request that is not its own.

_folder = TemporaryDirectory()
_asgi_gateway = asgi.EventsMiddleware(lambda *_: asyncio.sleep(0), path=OURS, journal="memory", data_dir=_folder.name)
_wsgi_gateway = wsgi.EventsMiddleware(lambda *_: [], path=OURS, journal="memory", data_dir=_folder.name)
_asgi_idle = asgi.EventsMiddleware(lambda *_: asyncio.sleep(0), journal="memory", data_dir=_folder.name)
_wsgi_idle = wsgi.EventsMiddleware(lambda *_: [], journal="memory", data_dir=_folder.name)


@pytest.fixture(autouse=True, scope="module")
def _first_requests() -> Iterator[None]:
    """The first request of a process starts what runs beside the site; every other starts nothing."""
    gateways = (_asgi_gateway, _wsgi_gateway, _asgi_idle, _wsgi_idle)
    for gateway in gateways:
        assert "/" in gateway._tails, "the first request is looked at"
        assert "/" not in gateway._tails
    yield
    for gateway in gateways:
        gateway.close(0)
    _folder.cleanup()


def wrapped_by(gateway: Any) -> oracle.Wrapper:
    def wrap(app: Any) -> Any:
        gateway.app = app
        return gateway

    return wrap


# Scripts.

values = st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda v: st.lists(v, max_size=2), max_leaves=3)
kinds = st.sampled_from(
    [ValueError, OSError, TimeoutError, KeyError, asyncio.CancelledError, KeyboardInterrupt, SystemExit]
)
messages = st.fixed_dictionaries(
    {"type": st.sampled_from(["http.request", "http.disconnect", "websocket.receive", "lifespan.startup", "x"])},
    optional={"body": st.binary(max_size=5), "more_body": st.booleans(), "x": values},
)
replies = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["http.response.start", "http.response.body", "websocket.accept", "lifespan.startup.complete"]
        )
    },
    optional={"status": st.integers(100, 599), "body": st.binary(max_size=5), "more_body": st.booleans()},
)
both_steps = (
    st.builds(SetVariable, st.text(max_size=3))
    | st.builds(Mutate, st.sampled_from(["x", "state", "PATH_INFO", "path"]), st.text(max_size=3))
    | st.builds(Raise, kinds)
)
asgi_steps = st.lists(st.builds(Receive) | st.builds(Send, replies) | st.builds(Turn) | both_steps, max_size=8)
other_requests = st.fixed_dictionaries(
    {"type": st.just("http"), "method": st.just("POST"), "path": st.sampled_from(OTHERS)}
)
foreign = st.fixed_dictionaries(
    {"type": st.sampled_from(["websocket", "webtransport", "x"]), "path": st.sampled_from([OURS, *OTHERS])}
)
lifespans = st.just({"type": "lifespan", "asgi": {"version": "3.0"}})
scopes = st.builds(
    lambda scope, more: {**scope, **more},
    other_requests | foreign | lifespans,
    st.fixed_dictionaries(
        {},
        optional={
            "root_path": st.sampled_from(["", "/shop", None]),
            "state": st.dictionaries(st.text(max_size=3), values, max_size=2),
            "headers": st.just([(b"host", b"site.example")]),
            "extensions": st.just({"http.response.debug": {}}),
        },
    ),
)
asgi_scripts = st.builds(
    AsgiScript,
    scope=scopes,
    inbox=st.lists(messages | st.just(oracle.CANCEL), max_size=4),
    steps=asgi_steps,
    returns=st.sampled_from([None, "something"]),
)

wsgi_steps = st.lists(
    st.builds(Read, st.integers(-1, 5))
    | st.builds(Start, st.just("200 OK"), st.booleans())
    | st.builds(Write, st.binary(max_size=3))
    | both_steps,
    max_size=6,
)
wsgi_scripts = st.builds(
    WsgiScript,
    environ=st.fixed_dictionaries(
        {"PATH_INFO": st.sampled_from(OTHERS), "REQUEST_METHOD": st.sampled_from(["GET", "POST"])},
        optional={
            "SCRIPT_NAME": st.sampled_from(["", "/shop"]),
            "CONTENT_LENGTH": st.just("5"),
            "HTTP_TRANSFER_ENCODING": st.just("chunked"),
        },
    ),
    data=st.binary(max_size=10),
    steps=wsgi_steps,
    body=st.sampled_from(["list", "tuple", "generator", "closing", "iterator", "bytes"]),
    chunks=st.lists(st.binary(max_size=5), max_size=3),
    inner=wsgi_steps,
    taken=st.none() | st.integers(1, 2),
)


@given(asgi_scripts, st.sampled_from([_asgi_gateway, _asgi_idle]))
def test_asgi_is_untouched(script: AsgiScript, gateway: asgi.EventsMiddleware) -> None:
    assert oracle.difference(wrapped_by(gateway), script) is None


@given(wsgi_scripts, st.sampled_from([_wsgi_gateway, _wsgi_idle]))
def test_wsgi_is_untouched(script: WsgiScript, gateway: wsgi.EventsMiddleware) -> None:
    assert oracle.difference(wrapped_by(gateway), script) is None


# What any site might do, one script each; each careless wrapper is betrayed by at least one of them.

START = Send({"type": "http.response.start", "status": 200, "headers": []})
END = Send({"type": "http.response.body", "body": b"page"})
HTTP = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"6")]}
INBOX = [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.request", "body": b"def"}]
ASGI_SITES = {
    "a page": AsgiScript(HTTP, INBOX, [Receive(), Receive(), START, END]),
    "a page that reads nothing": AsgiScript(HTTP, INBOX, [START, END]),
    "a site that fails": AsgiScript(HTTP, INBOX, [Receive(), Raise(ValueError)]),
    "a site that returns something": AsgiScript(HTTP, [], [START, END], returns="something"),
    "context": AsgiScript(HTTP, [], [SetVariable("by the site"), START, END]),
    "the scope is written to": AsgiScript(HTTP, [], [Mutate("user", "x"), START, END]),
    "cancelled": AsgiScript(HTTP, [oracle.CANCEL], [Receive()]),
    "websocket": AsgiScript({"type": "websocket", "path": OURS}, [{"type": "websocket.connect"}], [Receive(), Send({"type": "websocket.accept"})]),
    "lifespan": AsgiScript({"type": "lifespan"}, [{"type": "lifespan.startup"}], [Receive(), Send({"type": "lifespan.startup.complete"})]),
    "no lifespan": AsgiScript({"type": "lifespan"}, [{"type": "lifespan.startup"}], [Raise(NotImplementedError)]),
}  # fmt: skip
ENVIRON = {"PATH_INFO": "/", "SCRIPT_NAME": "", "REQUEST_METHOD": "POST", "CONTENT_LENGTH": "6"}
WSGI_SITES = {
    "a list": WsgiScript(ENVIRON, b"abcdef", [Read(3), Start()], "list", [b"a", b"b"]),
    "a generator": WsgiScript(ENVIRON, b"", [Start()], "generator", [b"a", b"b"]),
    "a lazy generator": WsgiScript(ENVIRON, b"abcdef", [], "generator", [b"a", b"b"], [Read(6), Start()]),
    "something to close": WsgiScript(ENVIRON, b"", [Start()], "closing", [b"a", b"b"]),
    "the client leaves": WsgiScript(ENVIRON, b"", [Start()], "closing", [b"a", b"b"], taken=1),
    "write": WsgiScript(ENVIRON, b"", [Start(), Write(b"first")], "list", [b"a"]),
    "exc_info": WsgiScript(ENVIRON, b"", [Start(), Start("500 Oh", failed=True)], "list", [b"a"]),
    "exc_info too late": WsgiScript(ENVIRON, b"", [Start(), Write(b"a"), Start("500 Oh", failed=True)], "list"),
    "a site that fails": WsgiScript(ENVIRON, b"", [Raise(ValueError)]),
    "a site that fails later": WsgiScript(ENVIRON, b"", [Start()], "closing", [b"a"], [Raise(ValueError)]),
    "context": WsgiScript(ENVIRON, b"", [SetVariable("by the site"), Start()], "list"),
    "the environ is written to": WsgiScript(ENVIRON, b"", [Mutate("user", "x"), Start()], "list"),
}  # fmt: skip


@pytest.mark.parametrize("site", ASGI_SITES)
def test_asgi_sites(site: str) -> None:
    assert oracle.difference(wrapped_by(_asgi_gateway), ASGI_SITES[site]) is None


@pytest.mark.parametrize("site", WSGI_SITES)
def test_wsgi_sites(site: str) -> None:
    assert oracle.difference(wrapped_by(_wsgi_gateway), WSGI_SITES[site]) is None


def copies_the_scope(app: Any) -> Any:
    return lambda scope, receive, send: app(dict(scope), receive, send)


def copies_the_scope_deeply(app: Any) -> Any:
    return lambda scope, receive, send: app(copy.deepcopy(scope), receive, send)


def adds_a_scope_key(app: Any) -> Any:
    return lambda scope, receive, send: app(scope.update(seen=True) or scope, receive, send)


def buffers_the_body(app: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> object:
        messages = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())

        async def replay() -> Any:
            return messages.pop(0) if messages else await receive()

        return await app(scope, replay, send)

    return wrapped


def reads_ahead(app: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> object:
        if scope["type"] == "http":
            await receive()
        return await app(scope, receive, send)

    return wrapped


def wraps_receive(app: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> object:
        async def own() -> Any:
            return await receive()

        return await app(scope, own, send)

    return wrapped


def wraps_send(app: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> object:
        async def own(message: Any) -> None:
            await send(message)

        return await app(scope, receive, own)

    return wrapped


def runs_in_a_task(app: Any) -> Any:
    async def wrapped(*given: Any) -> object:
        return await asyncio.create_task(app(*given))

    return wrapped


def shields(app: Any) -> Any:
    async def wrapped(*given: Any) -> object:
        return await asyncio.shield(app(*given))

    return wrapped


def leaves_a_task(app: Any) -> Any:
    async def wrapped(*given: Any) -> object:
        wrapped.kept = asyncio.create_task(asyncio.sleep(0.01))  # type: ignore[attr-defined]
        return await app(*given)

    return wrapped


def turns_the_loop(app: Any) -> Any:
    async def wrapped(*given: Any) -> object:
        await asyncio.sleep(0)
        return await app(*given)

    return wrapped


def swallows(app: Any) -> Any:
    async def wrapped(*given: Any) -> object:
        try:
            return await app(*given)
        except ValueError:
            return None

    return wrapped


def raises_another(app: Any) -> Any:
    async def wrapped(*given: Any) -> object:
        try:
            return await app(*given)
        except ValueError as error:
            raise ValueError(*error.args) from error

    return wrapped


def forgets_the_return_value(app: Any) -> Any:
    async def wrapped(*given: Any) -> None:
        await app(*given)

    return wrapped


def resets_the_context(app: Any) -> Any:
    async def wrapped(*given: Any) -> object:
        token = oracle.SEEN.set(oracle.SEEN.get())
        try:
            return await app(*given)
        finally:
            oracle.SEEN.reset(token)

    return wrapped


def answers_lifespan(app: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> object:
        if scope["type"] != "lifespan":
            return await app(scope, receive, send)
        await receive()
        await send({"type": "lifespan.startup.complete"})
        return None

    return wrapped


def hides_a_missing_lifespan(app: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> object:
        try:
            return await app(scope, receive, send)
        except NotImplementedError:
            await send({"type": "lifespan.startup.complete"})
            return None

    return wrapped


def refuses_websockets_on_our_path(app: Any) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> object:
        if scope.get("path") != OURS:
            return await app(scope, receive, send)
        await send({"type": "websocket.close"})
        return None

    return wrapped


CARELESS_ASGI: list[Callable[[Any], Any]] = [
    copies_the_scope, copies_the_scope_deeply, adds_a_scope_key, buffers_the_body, reads_ahead, wraps_receive, wraps_send,
    runs_in_a_task, shields, leaves_a_task, turns_the_loop, swallows, raises_another, forgets_the_return_value,
    resets_the_context, answers_lifespan, hides_a_missing_lifespan, refuses_websockets_on_our_path,
]  # fmt: skip


@pytest.mark.parametrize("careless", CARELESS_ASGI)
def test_careless_asgi_wrappers_are_caught(careless: Callable[[Any], Any]) -> None:
    assert any(oracle.difference(careless, script) for script in ASGI_SITES.values())


def makes_a_list(app: Any) -> Any:
    return lambda environ, start_response: list(app(environ, start_response))


def yields_from(app: Any) -> Any:
    def wrapped(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield from app(environ, start_response)

    return wrapped


def forgets_close(app: Any) -> Any:
    def chunks(body: Iterable[bytes]) -> Iterator[bytes]:
        yield from iter(body)

    return lambda environ, start_response: chunks(app(environ, start_response))


def closes_early(app: Any) -> Any:
    def wrapped(environ: Any, start_response: Any) -> Any:
        body = app(environ, start_response)
        if hasattr(body, "close"):
            body.close()
        return body

    return wrapped


def wraps_start_response(app: Any) -> Any:
    def wrapped(environ: Any, start_response: Any) -> Any:
        def own(*given: Any) -> Any:
            return start_response(*given)

        return app(environ, own)

    return wrapped


def starts_the_response(app: Any) -> Any:
    def wrapped(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return app(environ, start_response)

    return wrapped


def forgets_exc_info(app: Any) -> Any:
    return lambda environ, start_response: app(environ, lambda status, headers, _=None: start_response(status, headers))


def forgets_write(app: Any) -> Any:
    def wrapped(environ: Any, start_response: Any) -> Any:
        def own(*given: Any) -> Any:
            start_response(*given)
            return lambda data: None

        return app(environ, own)

    return wrapped


def adds_an_environ_key(app: Any) -> Any:
    return lambda environ, start_response: app(environ.update(seen="1") or environ, start_response)


def copies_the_environ(app: Any) -> Any:
    return lambda environ, start_response: app({**environ}, start_response)


def reads_the_input(app: Any) -> Any:
    def wrapped(environ: Any, start_response: Any) -> Any:
        environ["wsgi.input"].read(0)
        return app(environ, start_response)

    return wrapped


def swallows_in_wsgi(app: Any) -> Any:
    def wrapped(environ: Any, start_response: Any) -> Any:
        try:
            return app(environ, start_response)
        except ValueError:
            return []

    return wrapped


def runs_in_a_thread(app: Any) -> Any:
    def wrapped(*given: Any) -> Any:
        found: list[Any] = []

        def call() -> None:
            try:
                found.append(app(*given))
            except ValueError:
                found.append([])

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return found[0]

    return wrapped


CARELESS_WSGI: list[Callable[[Any], Any]] = [
    makes_a_list, yields_from, forgets_close, closes_early, wraps_start_response, starts_the_response, forgets_exc_info,
    forgets_write, adds_an_environ_key, copies_the_environ, reads_the_input, swallows_in_wsgi, runs_in_a_thread,
]  # fmt: skip


@pytest.mark.parametrize("careless", CARELESS_WSGI)
def test_careless_wsgi_wrappers_are_caught(careless: Callable[[Any], Any]) -> None:
    assert any(oracle.difference(careless, script) for script in WSGI_SITES.values())


def test_the_oracle_accepts_a_careful_wrapper() -> None:
    """The control: a wrapper that only calls is no different, so that the differences above are the wrappers' own."""

    def calls(app: Any) -> Any:
        def wrapped(*given: Any) -> Any:
            return app(*given)

        return wrapped

    scripts: list[AsgiScript | WsgiScript] = [*ASGI_SITES.values(), *WSGI_SITES.values()]
    differences = [oracle.difference(calls, script) for script in scripts]
    assert differences == [None] * len(differences)
