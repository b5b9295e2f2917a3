"""Real servers on loopback, one process tree each, and a raw HTTP client that can misbehave."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parent.parent
START_S = 30.0
ANSWER_S = 15.0
Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to serve a site: ``{port}`` and ``{app}`` stand in its arguments."""

    name: str
    interface: str
    arguments: Sequence[str]


_UVICORN = ("uvicorn", "{app}:app", "--host=127.0.0.1", "--port={port}", "--log-level=warning", "--ws=wsproto")
_GRANIAN = ("granian", "{app}:app", "--host=127.0.0.1", "--port={port}", "--workers=1", "--log-level=warning")
_GUNICORN = ("gunicorn", "{app}:app", "--bind=127.0.0.1:{port}", "--workers=1", "--log-level=warning", "--keep-alive=2")
KINDS = {
    kind.name: kind
    for kind in (
        Kind("uvicorn-h11", "asgi", (*_UVICORN, "--http=h11")),
        Kind("uvicorn-httptools", "asgi", (*_UVICORN, "--http=httptools")),
        Kind("hypercorn", "asgi", ("hypercorn", "{app}:app", "--bind=127.0.0.1:{port}", "--log-level=warning")),
        Kind("granian-asgi", "asgi", (*_GRANIAN, "--interface=asgi")),
        Kind("granian-wsgi", "wsgi", (*_GRANIAN, "--interface=wsgi", "--blocking-threads=4")),
        Kind("gunicorn-sync", "wsgi", _GUNICORN),
        Kind("gunicorn-gthread", "wsgi", (*_GUNICORN, "--worker-class=gthread", "--threads=4")),
        Kind("waitress", "wsgi", ("waitress", "--listen=127.0.0.1:{port}", "{app}:app")),
    )
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One response, as it came: fields in order, names in lower case."""

    status: int
    headers: Fields
    body: bytes
    pieces: Sequence[bytes] = field(default=(), compare=False)

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class Server:
    kind: Kind
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def connect(self) -> Connection:
        return Connection(self.port)

    def ask(self, method: str, path: str, body: bytes | None = None, **fields: str) -> Answer:
        """Send one request and return its answer."""
        with self.connect() as connection:
            connection.send(head(method, path, length=None if body is None else len(body), **fields) + (body or b""))
            return connection.answer(method)


class Connection:
    """One TCP connection, driven by hand."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Send; False when the server has closed already, which it may after an early answer."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def answer(self, method: str = "POST") -> Answer:
        """Read one response; interim ones (1xx) are skipped."""
        while True:
            status, headers = self._head()
            if status >= 200:
                break
        if method == "HEAD" or status in {204, 304}:
            return Answer(status, headers, b"")
        fields = dict(headers)
        if fields.get("transfer-encoding", "").lower() == "chunked":
            pieces = list(self._chunks())
        elif "content-length" in fields:
            pieces = [self._exactly(int(fields["content-length"]))]
        else:
            pieces = list(iter(self._more, b""))
        return Answer(status, headers, b"".join(pieces), pieces)

    def rest(self, quiet_s: float = 0.3) -> bytes:
        """Return what else the server sends within a short time."""
        self.socket.settimeout(quiet_s)
        rest, self._held = self._held, b""
        with contextlib.suppress(OSError):
            while data := self.socket.recv(65536):
                rest += data
        return rest

    def _head(self) -> tuple[int, Fields]:
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = [line.partition(":") for line in lines[1:] if line]
        return int(lines[0].split()[1]), [(name.lower(), value.strip()) for name, _, value in fields]

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._until(b"\r\n").partition(b";")[0], 16):
            yield self._exactly(size)
            self._exactly(2)
        self._until(b"\r\n")

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            self._held += self._some()
        found, _, self._held = self._held.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._held += self._some()
        found, self._held = self._held[:size], self._held[size:]
        return found

    def _some(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection before its answer ended")
        return data

    def _more(self) -> bytes:
        held, self._held = self._held, b""
        return held or self.socket.recv(65536)


def head(method: str, path: str, *, length: int | None = None, **fields: str) -> bytes:
    """Return a request's head; underscores in the names of fields stand for hyphens."""
    lines = [f"{method} {path} HTTP/1.1", "Host: site.example"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextlib.contextmanager
def running(
    name: str | Kind, folder: Path, *, app: str | None = None, options: Sequence[str] = (), **environment: str
) -> Iterator[Server]:
    """Start a server and stop it again.

    Args:
        name: a key of `KINDS`, or a kind of one's own.
        folder: where its log goes.
        app: the module with the site; by default the small site of the server's interface.
        options: further options of the server, such as ``--root-path=/shop``.
        environment: variables for the process, such as ``WRAP="1"``.
    """
    kind = KINDS[name] if isinstance(name, str) else name
    port = _free_port()
    values = {"port": str(port), "app": app or f"tests.sites.{kind.interface}_site"}
    program, *arguments = (argument.format(**values) for argument in kind.arguments)
    command = [sys.executable, "-m", program, *options, *arguments]
    log = folder / f"{kind.name}-{port}.log"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    server = Server(kind, port, process, log)
    try:
        _await_start(server)
        yield server
    finally:
        _stop(process)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _await_start(server: Server) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and server.process.poll() is None:
        try:
            server.ask("GET", "/")
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{server.kind.name} did not start:\n{server.log.read_text(errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the process leads its own session: only what it started dies
        process.wait(10)


def without_date(headers: Fields) -> Fields:
    return [(name, value) for name, value in headers if name != "date"]


def errors_in(log: Path) -> list[str]:
    """Return the lines of a server's log that speak of an error."""
    return re.findall(r"^.*(?:Traceback|Error|ERROR|exception).*$", log.read_text(errors="replace"), re.MULTILINE)
