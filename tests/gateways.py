"""Drives one complete request through the ASGI gateway and through the WSGI gateway, in process, with the same clock and ids."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, Unpack

from werkzeug.middleware.lint import LintMiddleware

from eventmw import asgi, wsgi
from eventmw.config import Settings
from eventmw.testing import FrozenClock, RecordingTransport, freeze, record

PATH = "/zaraz/api"
PEER = "203.0.113.9"

# RFC 9110 7.6.1 and the fields that it calls connection-specific.
HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One complete request. ``content-length`` is added unless a field of `headers` says how long the body is."""

    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    method: str = "POST"
    path: str = PATH
    scheme: str = "http"
    chunk: int = 65536

    @property
    def fields(self) -> list[tuple[str, str]]:
        names = {name.lower() for name, _ in self.headers}
        length = [] if names & {"content-length", "transfer-encoding"} else [("content-length", str(len(self.body)))]
        host = [] if "host" in names else [("host", "example.com")]
        return [*host, *((name.lower(), value) for name, value in self.headers), *length]

    @property
    def chunks(self) -> list[bytes]:
        return [self.body[start : start + self.chunk] for start in range(0, len(self.body), self.chunk)] or [b""]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} was sent more than once"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def receipt(self) -> dict[str, Any]:
        receipt: dict[str, Any] = self.json["receipt"]
        return receipt

    @property
    def entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.receipt.get("events", [])
        return entries


_SITE_HEADERS = [(b"content-length", b"8"), (b"content-type", b"text/plain")]


async def _asgi_site(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": _SITE_HEADERS})
    await send({"type": "http.response.body", "body": b"the site"})


def _wsgi_site(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("418 I'm a Teapot", [("content-length", "8"), ("content-type", "text/plain")])
    return [b"the site"]


@dataclass(slots=True)
class Pair:
    """The same settings behind both gateways, for a ``with`` statement."""

    behind_asgi: asgi.EventsMiddleware
    behind_wsgi: wsgi.EventsMiddleware
    clocks: tuple[FrozenClock, FrozenClock]
    transports: tuple[RecordingTransport, RecordingTransport]
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    @property
    def sites(self) -> tuple[asgi.EventsMiddleware, wsgi.EventsMiddleware]:
        return self.behind_asgi, self.behind_wsgi

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()
        for site in self.sites:
            site.close(0)

    def advance(self, seconds: float) -> None:
        for clock in self.clocks:
            clock.advance(seconds)

    def send(self, request: Request) -> Answer:
        """Return the answer, which is the same through both gateways to the last byte."""
        answer = self._runner.run(through_asgi(self.behind_asgi, request))
        assert answer == _through_wsgi(self.behind_wsgi, request)
        assert not HOP_BY_HOP & {name for name, _ in answer.headers}
        return answer

    def post(self, body: Any, headers: Mapping[str, str] | Sequence[tuple[str, str]] = ()) -> Answer:
        """Send bytes as they are, or anything else as JSON."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(Request(body=sent, headers=tuple(dict(headers).items())))


def both(**options: Unpack[Settings]) -> Pair:
    """Wrap an ASGI site and a WSGI site with the same settings, still clocks and recording transports."""
    settings = Settings(path=PATH) | options
    a, w = asgi.EventsMiddleware(_asgi_site, **settings), wsgi.EventsMiddleware(_wsgi_site, **settings)
    return Pair(a, w, (freeze(a), freeze(w)), (record(a), record(w)))


async def through_asgi(app: asgi.EventsMiddleware, request: Request) -> Answer:
    """Send a request through the ASGI gateway alone."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.fields],
        "client": (PEER, 40000),
        "server": ("127.0.0.1", 80),
    }
    left, sent = list(request.chunks), list[Any]()

    async def receive() -> Any:
        if not left:
            return {"type": "http.disconnect"}
        chunk = left.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start"
    assert {message["type"] for message in rest} == {"http.response.body"}
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"])
    # ASGI servers leave the body of an answer to HEAD out by themselves; not all WSGI servers do.
    body = b"" if request.method == "HEAD" else b"".join(message["body"] for message in rest)
    return Answer(start["status"], headers, body)


def _through_wsgi(app: wsgi.EventsMiddleware, request: Request) -> Answer:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": PEER,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        # A server that ends chunked bodies says so; with a length alone, none needs to.
        "wsgi.input_terminated": any(name == "transfer-encoding" for name, _ in request.fields),
    }
    for name, value in request.fields:
        key = name.upper().replace("-", "_")
        key = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
        environ[key] = f"{environ[key]}, {value}" if key in environ else value
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started.append((int(status[:3]), tuple(headers)))
        return lambda _: None

    # The lint wants a Content-Length of 0 in a 204 and sent bytes for that of HEAD; RFC 9110 8.6 forbids either.
    checked = LintMiddleware(app) if request.method == "POST" else app
    chunks = checked(environ, start_response)
    body = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    ((status, headers),) = started
    return Answer(status, headers, body)
