"""The head of a request, the same from a scope and from an environ, and bodies that end too early or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw import Limits, asgi, wsgi
from eventmw.incoming import FIELDS, head_of_environ, head_of_scope
from tests.calls import SEED, Answer, ask_asgi, ask_wsgi

PATH = "/zaraz/api"
names = st.sampled_from(
    ["origin", "host", "idempotency-key", "x-forwarded-for", "authorization", "transfer-encoding", "cookie"]
)
values = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=8)


@given(st.dictionaries(names, values), values, st.sampled_from(["http", "https"]))
def test_both_gateways_see_the_same_head(fields: dict[str, str], query: str, scheme: str) -> None:
    """Empty fields too: one that was sent empty is not one that was not sent."""
    scope = {
        "method": "POST", "path": PATH, "scheme": scheme, "query_string": query.encode("latin-1"), "client": ("192.0.2.1", 5),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in fields.items()],
    }  # fmt: skip
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": PATH, "QUERY_STRING": query, "REMOTE_ADDR": "192.0.2.1",
        **{"HTTP_" + name.upper().replace("-", "_"): value for name, value in fields.items()},
    }  # fmt: skip
    head = head_of_scope(scope)
    assert head == head_of_environ(environ, scheme)
    assert head.headers == {name: value for name, value in fields.items() if name != "cookie"}


@given(st.dictionaries(names | st.sampled_from(["user-agent", "x-eventbunker-write-key"]), values), values)
def test_an_api_may_look_at_more(fields: dict[str, str], query: str) -> None:
    wanted = FIELDS.and_("user-agent", "x-eventbunker-write-key")
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    scope = {"method": "POST", "path": PATH, "client": ("192.0.2.1", 5), "headers": raw}
    environ = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in fields.items()}
    environ |= {"REQUEST_METHOD": "POST", "PATH_INFO": PATH, "REMOTE_ADDR": "192.0.2.1"}
    head = head_of_scope(scope, wanted.raw, query)
    assert head == head_of_environ(environ, "http", wanted.environ, query)
    assert head.headers == {name: value for name, value in fields.items() if name != "cookie"}
    assert head.query == query
    assert set(head_of_scope(scope).headers) == set(head.headers) - {"x-eventbunker-write-key"}


@pytest.mark.parametrize(("length", "headers"), [("", {}), (None, {}), ("5", {"content-length": "5"})])
def test_an_environ_may_say_no_length_in_two_ways(length: str | None, headers: dict[str, str]) -> None:
    """Source: PEP 3333, «environ Variables»: CONTENT_LENGTH may be empty or absent."""
    environ = {"REQUEST_METHOD": "GET", "CONTENT_LENGTH": length}
    assert head_of_environ(environ, "http").headers == headers


def test_fields_sent_twice_are_joined() -> None:
    headers = [(b"origin", b"https://a.example"), (b"origin", b"https://b.example")]
    scope = {"method": "POST", "path": PATH, "headers": headers}
    assert head_of_scope(scope).headers == {"origin": "https://a.example, https://b.example"}


@pytest.mark.parametrize("client", [None, (None, None), ("", 0)])
def test_a_server_that_does_not_tell_the_peer(client: Any) -> None:
    """A Unix socket has no address."""
    assert head_of_scope({"method": "POST", "path": PATH, "headers": [], "client": client}).peer == ""
    assert head_of_environ({"REQUEST_METHOD": "POST", "REMOTE_ADDR": None}, "http").peer == ""


# Through both gateways.


async def _asgi_site(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError("this request is not the site's")


def _wsgi_site(_environ: Any, _start_response: Any) -> list[bytes]:
    raise AssertionError("this request is not the site's")


LIMITS = Limits(body_timeout_s=0.2)


@pytest.fixture
def over_asgi(tmp_path: Path) -> Iterator[asgi.EventsMiddleware]:
    site = asgi.EventsMiddleware(_asgi_site, path=PATH, data_dir=str(tmp_path), limits=LIMITS)
    yield site
    site.close()


@pytest.fixture
def over_wsgi(tmp_path: Path) -> Iterator[wsgi.EventsMiddleware]:
    site = wsgi.EventsMiddleware(_wsgi_site, path=PATH, data_dir=str(tmp_path), limits=LIMITS)
    yield site
    site.close()


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["code"]


wild_fields = st.dictionaries(
    names | st.sampled_from(["content-encoding", "sec-fetch-site", "x-forwarded-host"]), values
)


@given(st.sampled_from(["POST", "GET", "OPTIONS", "post", "\x00"]), wild_fields, st.integers(0, 2), st.booleans())
def test_whatever_the_fields_both_gateways_give_the_same_answer(
    method: str, fields: dict[str, str], proxies: int, listed: bool
) -> None:
    """And neither raises into the site. The body is empty, so that nothing is ever kept."""
    options: Any = {"path": PATH, "trusted_proxies": proxies, "allowed_origins": ["null"] if listed else []}
    sent = [*{"host": "localhost", **fields}.items()]
    environ: dict[str, Any] = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    answer = ask_wsgi(wsgi.EventsMiddleware(_wsgi_site, **options), method, PATH, headers=sent, **environ)
    assert ask_asgi(asgi.EventsMiddleware(_asgi_site, **options), method, PATH, headers=sent) == answer
    assert answer.status >= 400 or answer.status == 204


def part(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([part(SEED, True), GONE], (408, "client_gone")),
        ([GONE], (408, "client_gone")),
        ([part(SEED, True), ConnectionResetError()], (408, "client_gone")),
        ([part(SEED, True)], (408, "body_timeout")),
        ([part(SEED, False)], (400, "incomplete_body")),
    ],
)
def test_asgi_bodies_that_do_not_end(
    over_asgi: asgi.EventsMiddleware, messages: Any, expected: tuple[int, str]
) -> None:
    """What came is valid by itself, and nothing of it is processed."""
    length = [("content-length", str(len(SEED) + 1))]
    assert problem(ask_asgi(over_asgi, "POST", PATH, headers=length, messages=messages)) == expected
    assert over_asgi.stats()["records"] == 0


def test_an_asgi_body_in_parts(over_asgi: asgi.EventsMiddleware) -> None:
    messages = [
        part(SEED[:5], True),
        {"type": "http.request", "more_body": True},
        part(SEED[5:], True),
        {"type": "http.request"},
    ]
    assert ask_asgi(over_asgi, "POST", PATH, messages=messages).status == 200


class _Failing:
    def read(self, _size: int = -1) -> bytes:
        raise ConnectionResetError


@pytest.mark.parametrize("terminated", [True, None])
def test_wsgi_bodies_that_do_not_end(over_wsgi: wsgi.EventsMiddleware, terminated: bool | None) -> None:
    """Werkzeug tells when it counts itself; a server that ends the input (gunicorn) just ends it early."""
    environ: dict[str, Any] = {"CONTENT_LENGTH": str(len(SEED) + 1), "wsgi.input_terminated": terminated}
    answer = ask_wsgi(over_wsgi, "POST", PATH, SEED, **environ)
    assert problem(answer) == ((400, "incomplete_body") if terminated else (408, "client_gone"))
    assert over_wsgi.stats()["records"] == 0


def test_a_wsgi_input_that_fails(over_wsgi: wsgi.EventsMiddleware) -> None:
    environ: dict[str, Any] = {"wsgi.input": _Failing(), "wsgi.input_terminated": True}
    assert problem(ask_wsgi(over_wsgi, "POST", PATH, SEED, **environ)) == (408, "client_gone")


def test_a_wsgi_server_that_does_not_end_chunked_bodies(over_wsgi: wsgi.EventsMiddleware) -> None:
    environ: dict[str, Any] = {
        "CONTENT_LENGTH": None,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input_terminated": None,
    }
    assert problem(ask_wsgi(over_wsgi, "POST", PATH, SEED, **environ)) == (411, "length_required")


def test_a_chunked_wsgi_body(over_wsgi: wsgi.EventsMiddleware) -> None:
    environ: dict[str, Any] = {
        "CONTENT_LENGTH": None,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input_terminated": True,
    }
    assert ask_wsgi(over_wsgi, "POST", PATH, SEED, **environ).status == 200
