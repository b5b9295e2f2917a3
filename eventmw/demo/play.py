"""The play itself: vendor and sites go on stage, the whole story is sent to every site, and what happened is gathered.

Layer: input and output. Everything is on 127.0.0.1 and ends by itself.
"""

from __future__ import annotations

import json
import re
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from eventmw.demo.keys import write_key
from eventmw.demo.servers import GUNICORN, UVICORN, Server, running
from eventmw.demo.story import Api, Step
from eventmw.demo.tools import VENDOR
from eventmw.demo.verdict import Answer, Page, Visit
from eventmw.secret import Secret
from eventmw.vendor import RESET, Answering, Arrival, Vendor

PATHS: Final[Mapping[Api, str]] = {"events": "/zaraz/api", "track": "/eb/post"}
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
OK: Final = 200
REQUEST_S: Final = 10.0
SETTLE_S: Final = 15.0
"""Seconds for the couriers to deliver everything; on a quiet machine they need one."""

_POLL_S: Final = 0.05

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SiteKind:
    """One site of the demo: the name of its module, its own name, and what serves it, in words and as a command."""

    name: str
    title: str
    server: str
    command: Sequence[str]


SITES: Final = (
    SiteKind("flask", "Flask", "gunicorn (WSGI)", GUNICORN),
    SiteKind("django", "Django", "uvicorn (ASGI)", UVICORN),
    SiteKind("fastapi", "FastAPI", "uvicorn (ASGI)", UVICORN),
)

TURNS: Final = 2 * len(SITES)
"""How often `play` tells what it does."""

RESTARTED: Final = "restarted"
"""The name of the site that is killed and started again."""

WORKERS: Final = 2

_PAGES: Final = (
    ("GET /", b"GET / HTTP/1.1\r\n", b""),
    ("GET /no-such-page", b"GET /no-such-page HTTP/1.1\r\n", b""),
    ("POST /orders", b"POST /orders HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n", b"item=tea"),
)
# The one line that differs between two answers of the same server.
_date_line = re.compile(rb"\r\ndate:[^\r]*", re.IGNORECASE)


class Moods:
    """How the vendor answers: 200, but its failing side first says 500 twice, its forgetful side first breaks off.

    Attributes:
        away: whether the side of the site that is killed says 503.
        taken: what came to that side and was answered with 200.
    """

    def __init__(self) -> None:
        self.away = False
        self.taken: list[Mapping[str, Any]] = []
        self._asked: Counter[str] = Counter()

    def __call__(self, arrival: Arrival) -> Answering:
        """Return the answer to one request."""
        self._asked[arrival.path] += 1
        match arrival.path.rpartition("/")[2], self._asked[arrival.path]:
            case "away", _:
                return self._sometimes_away(arrival)
            case "failing", 1 | 2:
                return 500
            case "forgetful", 1:
                return RESET
            case _:
                return 200

    def _sometimes_away(self, arrival: Arrival) -> Answering:
        if self.away:
            return 503
        self.taken += events_in(arrival)
        return 200


@dataclass(frozen=True, slots=True)
class Stage:
    """Who is there: the vendor and its moods, and for each site its server with eventmw and its server without.

    ``folder`` and ``environ`` are where and with what they run; ``restarted`` is the server of the site that is killed;
    ``keys`` has a write key of each site's track API.
    """

    vendor: Vendor
    moods: Moods
    folder: Path
    environ: Mapping[str, str]
    wrapped: Mapping[str, Server]
    bare: Mapping[str, Server]
    restarted: Server
    keys: Mapping[str, Secret]


@contextmanager
def on_stage() -> Generator[Stage]:
    """Run the vendor and all servers until the block ends, however it ends.

    Raises:
        eventmw.demo.servers.NotStarted: a server does not answer.
    """
    commands: dict[str, Sequence[str]] = {
        f"{site.name}-{form}": (*site.command, f"eventmw.demo.{site.name}_site:{target}")
        for site in SITES
        for form, target in (("wrapped", "application"), ("bare", "site"))
    }
    commands[RESTARTED] = restarted_command(0)
    moods = Moods()
    with tempfile.TemporaryDirectory(prefix="eventmw-demo-") as folder, Vendor(moods) as vendor:
        keys = {site.name: write_key(Path(folder) / f"{site.name}-wrapped") for site in SITES}
        environ = {VENDOR: vendor.url}
        with running(commands, Path(folder), environ) as servers:
            wrapped, bare = (
                {site.name: servers[f"{site.name}-{form}"] for site in SITES} for form in ("wrapped", "bare")
            )
            yield Stage(vendor, moods, Path(folder), environ, wrapped, bare, servers[RESTARTED], keys)


def restarted_command(port: int) -> Sequence[str]:
    """Return what serves the site that is killed, with `WORKERS` workers; port 0: any."""
    application = "eventmw.demo.restarted_site:application"
    return (*GUNICORN[:-1], f"127.0.0.1:{port}", "--workers", str(WORKERS), application)


def play(stage: Stage, story: Sequence[Step], tell: Tell) -> Sequence[Visit]:
    """Send the whole story to each site, wait until everything is delivered, and return what was seen of each site."""
    answers: dict[str, list[Answer]] = {}
    for site in SITES:
        tell(f"sending {len(story)} requests to {site.title}")
        answers[site.name] = [_sent(stage, site.name, step) for step in story]
    visits: list[Visit] = []
    for site in SITES:
        tell(f"waiting until {site.title} has delivered, and comparing its pages")
        stats = settled(stage.wrapped[site.name])
        pages = [
            Page(name, fetched(stage.wrapped[site.name], head, body), fetched(stage.bare[site.name], head, body))
            for name, head, body in _PAGES
        ]
        arrivals = arrivals_of(stage.vendor.arrivals, site.name)
        visits.append(Visit(site=site.title, answers=answers[site.name], arrivals=arrivals, pages=pages, stats=stats))
    return visits


def _sent(stage: Stage, site: str, step: Step) -> Answer:
    key = {"x-eventbunker-write-key": stage.keys[site].reveal()} if step.api == "track" else {}
    return ask(stage.wrapped[site], step.method, PATHS[step.api], step.body, key)


def ask(server: Server, method: str, path: str, body: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
    """Send one request and return the answer."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=REQUEST_S)
    try:
        connection.request(method, path, body or None, {"content-type": "application/json", **headers})
        reply = connection.getresponse()
        return Answer(reply.status, reply.read())
    except (OSError, HTTPException) as error:
        return Answer(0, str(error or type(error).__name__).encode())
    finally:
        connection.close()


def settled(server: Server) -> Mapping[str, Any]:
    """Return the site's stats once nothing waits any more, or as they are when the time is up."""
    deadline_s = time.monotonic() + SETTLE_S
    while True:
        stats = _stats(server)
        waiting = sum(tool["backlog_events"] + tool["parked"] for tool in stats.get("tools", {}).values())
        if (stats and not waiting) or time.monotonic() > deadline_s:
            return stats
        time.sleep(_POLL_S)


def _stats(server: Server) -> Mapping[str, Any]:
    answer = ask(server, "GET", "/stats", b"")
    try:
        return json.loads(answer.body) if answer.status == OK else {}
    except ValueError:
        return {}


def fetched(server: Server, head: bytes, body: bytes) -> bytes:
    """Return a page as the bytes that come over the connection, but for the line with the time; b"" when none come."""
    request = b"%bHost: shop.example\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    received = bytearray()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=REQUEST_S) as connection:
            connection.sendall(request)
            while chunk := connection.recv(65536):
                received += chunk
    except OSError:
        return b""
    return _date_line.sub(b"", bytes(received))


def arrivals_of(arrivals: Sequence[Arrival], site: str) -> Mapping[str, Mapping[str, int]]:
    """Count what came to the vendor from one site: side of the vendor → event id → how many requests brought it."""
    sides: dict[str, Counter[str]] = {}
    for arrival in list(arrivals):
        _, sender, side = arrival.path.split("/")
        if sender == site:
            sides.setdefault(side, Counter()).update(event["id"] for event in events_in(arrival))
    return sides


def events_in(arrival: Arrival) -> Sequence[Mapping[str, Any]]:
    """Return the events that one request brought to the vendor."""
    return cast(Sequence[Mapping[str, Any]], json.loads(arrival.body)["events"])
