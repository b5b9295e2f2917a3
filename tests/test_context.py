"""What a framework's request says of the person behind it: the same from all of them."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import falcon
import falcon.asgi
import flask
import pytest
import quart
from fastapi import Request as FastRequest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Request as LitestarRequest
from starlette.requests import HTTPConnection, Request
from werkzeug.wrappers import Request as WerkzeugRequest

from eventmw.event import CLIENT_HINTS
from eventmw.intake.context import SECRET_COOKIES, merged, system_of
from tests.visitors import HEADERS, PEER, SYSTEM, environ_of, scope_of


def in_flask(look: Callable[[object], Any]) -> Any:
    with flask.Flask("x").request_context(environ_of()):
        return look(flask.request)


def in_quart(look: Callable[[object], Any]) -> Any:
    async def main() -> Any:
        app = quart.Quart("x")
        asked = app.request_class("GET", "http", "/shop/café x", b"id=7&b=%20", _quart_headers(), "", "1.1", scope_of(),  # type: ignore[arg-type]
                                  send_push_promise=None)  # type: ignore[arg-type]  # fmt: skip
        async with app.request_context(asked):
            return look(quart.request)

    return asyncio.run(main())


def _quart_headers() -> Any:
    from werkzeug.datastructures import Headers

    return Headers(list(HEADERS.items()))


def of_webob() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports cgi
        import webob  # type: ignore[import-untyped]
    return webob.Request(environ_of())


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


REQUESTS: dict[str, Callable[[], object]] = {
    "a scope": scope_of,
    "an environ": environ_of,
    "Starlette": lambda: Request(scope_of()),
    "Starlette's HTTPConnection": lambda: HTTPConnection(scope_of()),
    "FastAPI": lambda: FastRequest(scope_of()),
    "Litestar": lambda: LitestarRequest(scope_of()),  # type: ignore[arg-type]
    "Werkzeug": lambda: WerkzeugRequest(environ_of()),
    "Pyramid's webob": of_webob,
    "Falcon": lambda: falcon.Request(environ_of()),
    "Falcon for ASGI": lambda: falcon.asgi.Request(scope_of(), _receive),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_every_framework_says_the_same(name: str) -> None:
    assert system_of(REQUESTS[name](), 0) == SYSTEM


@pytest.mark.parametrize("in_framework", [in_flask, in_quart])
def test_requests_that_stand_for_the_current_one(in_framework: Any) -> None:
    assert in_framework(lambda request: system_of(request, 0)) == SYSTEM


def test_a_request_that_stands_for_none_says_so() -> None:
    with pytest.raises(RuntimeError, match="outside of request context"):
        system_of(flask.request, 0)


@pytest.mark.parametrize("thing", [5, "request", {}, {"headers": []}, {"type": "lifespan"}, object(), [1]])
def test_what_is_no_request(thing: object) -> None:
    with pytest.raises(TypeError, match=rf"an ASGI scope or a WSGI environ, got {type(thing).__name__}"):
        system_of(thing, 0)


@pytest.mark.parametrize("make", [scope_of, environ_of])
@pytest.mark.parametrize(
    ("proxies", "ip", "origin"),
    [
        (None, None, "http://shop.example"),
        (0, PEER, "http://shop.example"),
        (1, "198.51.100.1", "https://www.shop.example"),
        (2, "203.0.113.9", "https://www.shop.example"),
        (3, PEER, "https://www.shop.example"),
    ],
)
def test_trusted_proxies(make: Any, proxies: int | None, ip: str | None, origin: str) -> None:
    """As the door reads them; `None` is a `Tracker`, which does not know them and so says no address at all."""
    system = system_of(make(), proxies)
    assert system["device"].get("ip") == ip
    assert system["page"]["url"].startswith(f"{origin}/shop/")


def test_a_list_of_forwarded_hosts_is_read_as_the_addresses_are() -> None:
    headers = {**HEADERS, "x-forwarded-proto": "https, http", "x-forwarded-host": "evil.example, shop.example"}
    assert system_of(scope_of(headers), 1)["page"]["url"].startswith("http://shop.example/")


OWN, REFERER = "http://shop.example/shop/caf%C3%A9%20x?id=7&b=%20", HEADERS["referer"]
PAGES = [
    ({}, {}, {"url": OWN, "referrer": REFERER}),
    ({"sec-fetch-mode": "navigate"}, {}, {"url": OWN, "referrer": REFERER}),
    ({"sec-fetch-mode": "cors"}, {}, {"url": REFERER}),
    ({"sec-fetch-mode": "same-origin"}, {}, {"url": REFERER}),
    ({"x-requested-with": "XMLHttpRequest"}, {}, {"url": REFERER}),
    ({}, {"type": "websocket", "scheme": "ws"}, {"url": REFERER}),
]


@pytest.mark.parametrize(("headers", "scope", "page"), PAGES)
def test_the_page_is_what_the_person_sees(headers: dict[str, str], scope: dict[str, Any], page: Any) -> None:
    assert system_of(scope_of({**HEADERS, **headers}, **scope), 0)["page"] == page


def test_what_a_script_fetches_without_a_referer_has_no_page() -> None:
    assert "page" not in system_of(scope_of({"host": "shop.example", "sec-fetch-mode": "cors"}), 0)


@pytest.mark.parametrize("header", ["sec-gpc", "dnt"])
def test_no_address_of_somebody_whose_browser_says_not_to(header: str) -> None:
    assert "ip" not in system_of(scope_of({**HEADERS, header: "1"}), 0)["device"]


def test_a_host_that_is_not_said_is_the_servers() -> None:
    assert system_of(scope_of({}), 0)["page"]["url"].startswith("http://127.0.0.1:8000/shop/")
    assert system_of(environ_of({}), 0)["page"]["url"].startswith("http://127.0.0.1:8000/shop/")
    assert "page" not in system_of(scope_of({}, server=None), 0)
    assert "page" not in system_of(scope_of({}, server=("/run/app.sock", None)), 0), "a socket in a folder is no host"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("en;q=nan,de", "de"),
        ("en;q=inf,de;q=0.5", "de"),
        ("en-US,en;q=0.9", "en-US"),
        ("en;q=0.1, de;q=0.9", "de"),
        ("*", None),
        ("*, fr;q=0.5", "fr"),
        ("fr;q=0", None),
        ("fr;q=x, de", "de"),
        ("", None),
        (",,;", None),
    ],
)
def test_the_language_is_the_one_that_is_liked_best(accepted: str, language: str | None) -> None:
    assert system_of(scope_of({"accept-language": accepted}), 0).get("device", {}).get("language") == language


def test_cookies_that_log_somebody_in_stay_where_they_are() -> None:
    cookies = "; ".join(f"{name.upper()}=secret; {name}=secret" for name in SECRET_COOKIES)
    assert "cookies" not in system_of(scope_of({"cookie": cookies}), 0)


@pytest.mark.parametrize(
    ("field", "cookies"),
    [("a=1; a=2", {"a": "1"}), ("a", {}), ("=1", {}), (";; a = 1 ;", {"a": "1"}), ("a=b=c", {"a": "b=c"})],
)
def test_cookies_as_senders_write_them(field: str, cookies: dict[str, str]) -> None:
    assert system_of(scope_of({"cookie": field}), 0).get("cookies", {}) == cookies


def test_every_hint_is_handed_on() -> None:
    hints = {name: f'"{name}"' for name in CLIENT_HINTS}
    found = system_of(environ_of(hints), 0)["device"]["client-hints"]
    assert [*found.values()] == [*hints.values()]


visible = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=20).map(str.strip)
NAMES = ("cookie", "accept-language", "user-agent", "referer", "x-forwarded-for", "x-forwarded-host", "sec-fetch-mode")


@given(st.dictionaries(st.sampled_from(NAMES), visible), st.integers(0, 3))
def test_both_interfaces_say_the_same_and_nothing_raises(headers: dict[str, str], proxies: int) -> None:
    assert system_of(scope_of(headers), proxies) == system_of(environ_of(headers), proxies)


systems = st.dictionaries(
    st.sampled_from(["device", "page", "cookies", "other"]),
    st.none() | st.text() | st.dictionaries(st.sampled_from("abc"), st.integers()),
)


@given(systems, systems)
def test_what_the_caller_gives_wins_key_by_key(found: dict[str, Any], given: dict[str, Any]) -> None:
    result: Any = merged(found, given)
    assert result.keys() == found.keys() | given.keys()
    for name, value in given.items():
        below = found.get(name)
        assert result[name] == ({**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value)
    assert {name: result[name] for name in found.keys() - given.keys()} == {
        name: found[name] for name in found.keys() - given.keys()
    }
    assert merged(found, None) == found


def test_an_address_has_one_spelling_with_and_without_proxies() -> None:
    mapped = system_of(environ_of(REMOTE_ADDR="::ffff:192.0.2.9"), 0)
    told = system_of(environ_of({"x-forwarded-for": "::ffff:c000:209"}), 1)
    assert (mapped["device"]["ip"], told["device"]["ip"]) == ("192.0.2.9", "192.0.2.9")
