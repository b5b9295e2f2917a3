"""Real servers: what each lets through, what it hides, and that our answers and the site stay right on all of them.

What is measured here is the table of docs/servers.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage

from tests.servers import ANSWER_S, KINDS, Answer, Connection, Server, chunk, errors_in, head, running, without_date
from tests.sites import pages

# Source: zaraz-http-events-api, «Send events» and «The system key».
SEED = b'{"events": [{"client": {"__zarazTrack": "transaction successful", "value": "200"}}]}'
SEED_SYSTEM = b"""
{"events": [{"client": {"__zarazTrack": "transaction successful", "value": "200"},
  "system": {"page": {"url": "https://example.com", "title": "My website"},
    "device": {"language": "en-US", "ip": "192.168.0.1"}}}]}
"""
EMPTY_RESULT: dict[str, object] = {"fetch": [], "execute": [], "return": {}, "cookies": {}}
OVER = pages.LIMITS.max_body_bytes + 1
SLOW_S = pages.LIMITS.body_timeout_s
ASGI = [name for name, kind in KINDS.items() if kind.interface == "asgi"]
SENDS_FIRST = {"waitress"}
"""These read the whole body before the application sees anything of the request."""
HIDES_BROKEN_CHUNKS = {"granian-wsgi"}
"""These end a chunked body quietly when the sender leaves, so that nobody can tell it from a whole one."""
CL_AND_TE = {
    "uvicorn-h11": 400, "uvicorn-httptools": 400, "hypercorn": 400, "granian-asgi": 200,
    "granian-wsgi": 200, "gunicorn-sync": 400, "gunicorn-gthread": 400, "waitress": 200,
}  # fmt: skip
"""Where it is 200, the server has already dropped Content-Length and read the chunks, as RFC 9112 6.3 allows."""
HALF_CLOSED = {
    "uvicorn-h11": None, "uvicorn-httptools": None, "hypercorn": 408, "granian-asgi": 408,
    "granian-wsgi": 400, "gunicorn-sync": 400, "gunicorn-gthread": 400, "waitress": None,
}  # fmt: skip
"""None: the server closes the connection without an answer."""
LETS_US_ANSWER_DAMAGED_CHUNKS = {"granian-asgi": 408, "granian-wsgi": 400}
"""All others answer 400 by themselves."""
FOLDS_LEADING_SLASHES = {"waitress"}


@dataclass(frozen=True, slots=True)
class Pair:
    """The same site under the same server, bare and wrapped."""

    bare: Server
    wrapped: Server


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder: Path = tmp_path_factory.mktemp("servers")
    with running(request.param, folder, WRAP="0") as bare, running(request.param, folder, WRAP="1") as wrapped:
        yield Pair(bare, wrapped)
        logs = errors_in(bare.log), errors_in(wrapped.log)
    assert logs == ([], [])


@pytest.fixture
def server(pair: Pair) -> Server:
    return pair.wrapped


def kept(server: Server) -> int:
    """Return how many requests the journal of the site has taken."""
    return int(server.ask("GET", "/kept").body)


@contextlib.contextmanager
def nothing_kept(server: Server) -> Iterator[None]:
    """Require that nothing of what happens inside is processed, and that the site still answers."""
    before = kept(server)
    yield
    assert kept(server) == before
    assert server.ask("POST", pages.PATH, SEED).status == 200
    assert kept(server) == before + 1


def code(answer: Answer) -> str:
    return str(json.loads(answer.body)["code"])


@pytest.mark.parametrize("payload", [SEED, SEED_SYSTEM])
def test_the_seeds_payloads(server: Server, payload: bytes) -> None:
    before = kept(server)
    answer = server.ask("POST", pages.PATH, payload)
    assert (answer.status, json.loads(answer.body)["results"]) == (200, [EMPTY_RESULT])
    assert kept(server) == before + 1


def test_a_chunked_body(server: Server) -> None:
    with server.connect() as connection:
        connection.send(head("POST", pages.PATH, Transfer_Encoding="chunked") + chunk(SEED[:10]))
        connection.send(chunk(SEED[10:]) + b"0\r\n\r\n")
        answer = connection.answer()
    assert (answer.status, json.loads(answer.body)["results"]) == (200, [EMPTY_RESULT])


def test_an_announced_body_that_is_too_large(server: Server) -> None:
    with nothing_kept(server), server.connect() as connection:
        connection.send(head("POST", pages.PATH, length=OVER))
        if server.kind.name in SENDS_FIRST:
            connection.send(b" " * OVER)
        answer = connection.answer()
        assert (answer.status, code(answer)) == (413, "body_too_large")


def test_a_chunked_body_that_grows_too_large(server: Server) -> None:
    with nothing_kept(server), server.connect() as connection:
        connection.send(head("POST", pages.PATH, Transfer_Encoding="chunked"))
        for _ in range(OVER // 8192 + 1):
            connection.send(chunk(b" " * 8192))
        if server.kind.name in SENDS_FIRST:
            connection.send(b"0\r\n\r\n")
        answer = connection.answer()
        assert (answer.status, code(answer)) == (413, "body_too_large")


def drip(connection: Connection) -> None:
    """Send the first bytes of a body for longer than the site waits for a whole one."""
    connection.send(head("POST", pages.PATH, length=len(SEED)))
    for start in range(3):
        connection.send(SEED[start : start + 1])
        time.sleep(SLOW_S * 0.75)


def test_a_slow_body_is_refused(server: Server) -> None:
    """ASGI: while it still drips. WSGI: once it has come, since a read there cannot be interrupted."""
    if server.kind.name in SENDS_FIRST:
        with server.connect() as connection:
            drip(connection)
            connection.send(SEED[3:])
            assert connection.answer().status == 200  # the application saw it all at once
        return
    with nothing_kept(server), server.connect() as connection:
        drip(connection)
        if server.kind.interface == "wsgi":
            connection.send(SEED[3:])
        answer = connection.answer()
        assert (answer.status, code(answer)) == (408, "body_timeout")


def test_a_sender_that_leaves_after_a_body_valid_by_itself(server: Server) -> None:
    with nothing_kept(server), server.connect() as connection:
        connection.send(head("POST", pages.PATH, length=len(SEED) + 1) + SEED)


def test_a_sender_that_stops_sending(server: Server) -> None:
    """Half-closed: it could still read an answer, and some servers let us give one."""
    status = HALF_CLOSED[server.kind.name]
    with nothing_kept(server), server.connect() as connection:
        connection.send(head("POST", pages.PATH, length=len(SEED) + 1) + SEED)
        connection.socket.shutdown(socket.SHUT_WR)
        if server.kind.name == "hypercorn":  # ours, unless it has closed the connection or refused the request by then
            assert connection.rest(ANSWER_S)[:12] in {b"", b"HTTP/1.1 400", b"HTTP/1.1 408"}
        elif status is None:
            assert connection.rest(ANSWER_S) == b""
        else:
            assert connection.answer().status == status


def test_a_sender_that_leaves_between_chunks(server: Server) -> None:
    before = kept(server)
    with server.connect() as connection:
        connection.send(head("POST", pages.PATH, Transfer_Encoding="chunked") + chunk(SEED))
    taken = server.kind.name in HIDES_BROKEN_CHUNKS
    deadline_s = time.monotonic() + (ANSWER_S if taken else 0.3)  # where nothing comes, there is nothing to wait for
    while kept(server) == before and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert kept(server) == before + taken
    assert server.ask("POST", pages.PATH, SEED).status == 200


def test_damaged_chunks(server: Server) -> None:
    with nothing_kept(server), server.connect() as connection:
        connection.send(head("POST", pages.PATH, Transfer_Encoding="chunked") + b"zz\r\nabc\r\n0\r\n\r\n")
        answer = connection.answer()
    ours = LETS_US_ANSWER_DAMAGED_CHUNKS.get(server.kind.name)
    assert (answer.status, answer.get("content-type") == "application/problem+json") == (ours or 400, ours is not None)


def test_both_lengths(server: Server) -> None:
    with server.connect() as connection:
        connection.send(head("POST", pages.PATH, length=5, Transfer_Encoding="chunked") + chunk(SEED) + b"0\r\n\r\n")
        assert connection.answer().status == CL_AND_TE[server.kind.name]


def test_bad_json(server: Server) -> None:
    with nothing_kept(server):
        answer = server.ask("POST", pages.PATH, b'{"events": [')
        assert (answer.status, code(answer)) == (400, "invalid_json")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_other_methods(server: Server, method: str) -> None:
    answer = server.ask(method, pages.PATH)
    assert (answer.status, answer.get("allow"), code(answer)) == (405, "POST", "method_not_allowed")


def test_an_answer_to_head_has_no_body(server: Server) -> None:
    """Not every server takes it off: waitress sends what it is given, and the connection would be out of step."""
    with server.connect() as connection:
        connection.send(head("HEAD", pages.PATH))
        answer = connection.answer("HEAD")
        assert (answer.status, answer.get("allow")) == (405, "POST")
        assert connection.rest() == b""


def test_a_connection_is_used_again(server: Server) -> None:
    if server.kind.name == "gunicorn-sync":
        assert server.ask("POST", pages.PATH, SEED).get("connection") == "close"  # it has no keep-alive
        return
    with server.connect() as connection:
        for body, status in ((SEED, 200), (b"bad", 400), (SEED, 200)):
            connection.send(head("POST", pages.PATH, length=len(body)) + body)
            assert connection.answer().status == status


@pytest.mark.parametrize(
    ("target", "is_ours"),
    [
        ("/zaraz/api?a=b", True),
        ("/zaraz%2Fapi", True),
        ("/%7Aaraz/api", True),
        ("/zaraz/api/", False),
        ("/zaraz//api", False),
        ("/zaraz/./api", False),
        ("/zaraz/x/../api", False),
        ("/Zaraz/api", False),
        ("/zaraz", False),
        ("/api", False),
    ],
)
def test_paths(server: Server, target: str, is_ours: bool) -> None:
    assert (server.ask("GET", target).status == 405) is is_ours


def test_two_leading_slashes(server: Server) -> None:
    assert (server.ask("GET", "//zaraz/api").status == 405) is (server.kind.name in FOLDS_LEADING_SLASHES)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("HEAD", "/"), ("POST", "/"), ("GET", "/stream"), ("GET", "/nothing")]
)
def test_other_pages_are_as_without_us(pair: Pair, method: str, path: str) -> None:
    with pair.bare.connect() as bare, pair.wrapped.connect() as wrapped:
        body = b"a=b" if method == "POST" else b""
        for connection in (bare, wrapped):
            connection.send(head(method, path, length=len(body) or None) + body)
        expected, answer = bare.answer(method), wrapped.answer(method)
    assert (answer.status, answer.body) == (expected.status, expected.body)
    assert without_date(answer.headers) == without_date(expected.headers)


def test_a_streamed_page_comes_in_pieces(server: Server) -> None:
    assert server.ask("GET", "/stream").pieces == pages.PIECES


def test_a_large_upload_reaches_the_site(pair: Pair) -> None:
    body = bytes(range(256)) * (8 * 4096)  # 8 MiB
    expected = pages.echo(len(body), hashlib.sha256(body))
    assert (pair.bare.ask("POST", "/upload", body).body, pair.wrapped.ask("POST", "/upload", body).body) == (
        expected,
        expected,
    )


@pytest.mark.parametrize("path", ["/ws", pages.PATH])
def test_websockets_are_as_without_us(pair: Pair, path: str) -> None:
    if pair.wrapped.kind.interface == "wsgi":
        assert pair.wrapped.kind.name not in ASGI  # WSGI has no websockets
        return
    assert echoed(pair.bare, path, "Grüße") == echoed(pair.wrapped, path, "Grüße") == "Grüße"


def echoed(server: Server, path: str, text: str) -> str:
    """Return what a websocket sends back."""
    client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    with server.connect() as connection:
        connection.send(client.send(Request(host="site.example", target=path)))
        assert isinstance(_next(connection, client), AcceptConnection)
        connection.send(client.send(TextMessage(data=text)))
        message = _next(connection, client)
        connection.send(client.send(CloseConnection(code=1000)))
    assert isinstance(message, TextMessage)
    return message.data


def _next(connection: Connection, client: wsproto.WSConnection) -> Event:
    while True:
        for event in client.events():
            return event
        client.receive_data(connection.socket.recv(65536))


MOUNTED = {
    "uvicorn-h11": ["--root-path=/zaraz"],
    "uvicorn-httptools": ["--root-path=/zaraz"],
    "hypercorn": ["--root-path=/zaraz"],
    "granian-asgi": ["--url-path-prefix=/zaraz"],
    "granian-wsgi": ["--url-path-prefix=/zaraz"],
    "gunicorn-sync": ["--env=SCRIPT_NAME=/zaraz"],
    "gunicorn-gthread": ["--env=SCRIPT_NAME=/zaraz"],
    "waitress": ["--url-prefix=/zaraz"],
}
SEES_THE_STRIPPED_PATH = {"uvicorn-h11", "uvicorn-httptools"}
"""Their proxy has to strip the prefix, which they put before the path again; the others take the whole path."""


@pytest.mark.parametrize("name", MOUNTED)
def test_below_a_prefix_the_path_is_the_public_one(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path, options=MOUNTED[name], WRAP="1") as server:
        target = "/api" if name in SEES_THE_STRIPPED_PATH else "/zaraz/api"
        assert server.ask("POST", target, SEED).status == 200
        assert server.ask("POST", "/zaraz/zaraz/api", SEED).status == 404
