"""What a tracked event costs beside one of the HTTP Events API: in process, and on uvicorn with both on the disk."""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks import load, payload
from benchmarks.keys import filled
from benchmarks.machine import pinned
from benchmarks.processes import Server
from benchmarks.report import Effort, Figure, Report, Spread, Table
from benchmarks.rounds import Samples, cpu_us, interleaved, ratios
from benchmarks.serving import CONNECTIONS, uvicorn
from eventmw import asgi
from eventmw import record as records
from eventmw.eventbunker.track import HEADER
from eventmw.http import Reply
from eventmw.keys.place import keys_engine
from eventmw.protocols import eventbunker
from eventmw.protocols.eventbunker import AnyName, Context, Judge, Sender, Writer

KEYS: Final = 5_000
TRACK: Final = "/eb/post"
_BODIES: Final = 5_000
_ASKED: Final = 0.8
_HEADERS: Final = (HEADER, "user-agent")
_ZARAZ, _TRACKED, _FILLING = "Events API, 1 event", "track, 1 event", "track, until all are rows of the archive"
_APP: Final = "benchmarks.sites.asgi_site:app"
_NOW: Final = 1_750_000_000_000
_PATIENCE_S: Final = 120.0
_BROWSERS: Final = tuple(
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    for system in ("X11; Linux x86_64", "Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7")
    for version in range(110, 140)
)


@dataclass(frozen=True, slots=True)
class Sent:
    """One tracked event: the key and the user agent that are shown with it, and its body."""

    key: str
    agent: str
    body: bytes


def run(effort: Effort) -> Report:
    """Measure in process, and behind a server where the machine has two cores."""
    rounds, seconds = effort.interleaved(6), effort.of(2.0, quick=1.0)
    notes = [f"the client is {load.client()}"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER"))))
        shown = {name: _keys(folder / name) for name in ("inside", "accepting", "filling")}
        with pinned(0):
            inside = _inside(folder / "inside", shown["inside"], rounds, int(effort.of(2_000, quick=200)))
        served: Samples = {}
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
            served = _served(folder, shown, rounds, seconds, stack)
        else:
            notes.append("a server was not measured: that needs Linux and two cores")
    return Report(
        name="track",
        control="the same site's HTTP Events API with one event of 308 bytes, without keys",
        measured=f"one event a request, of a sender with one of {KEYS:,} keys and one of {len(_BROWSERS)} browsers. In "
        "process: CPU time from an ASGI scope to the answer, the journal in memory. Served: CPU time of the process group "
        f"of a uvicorn, its journal in files, {CONNECTIONS} connections for {seconds:g} s, every answer checked; nobody "
        "delivers, but for the line that says so: there all CPU counts until every event is a row in SQLite",
        rounds=rounds,
        tables=[_table("in process, µs a request", inside), _table("uvicorn on the disk, CPU µs an event", served)],
        figures=[
            Figure("track to the Events API, uvicorn on the disk", "at least", _ASKED, "x", _rate(served)),
            Figure("track to the Events API, in process", "at least", _ASKED, "x", _rate(inside)),
        ],
        notes=notes,
    )


def _keys(folder: Path) -> Sequence[str]:
    engine = keys_engine(folder, None)
    shown = filled(engine, KEYS)
    engine.dispose()
    return shown


def sent(shown: Sequence[str], many: int) -> list[Sent]:
    """Return tracked events as a shop's pages send them, no two alike."""
    chance = random.Random(1)
    return [Sent(chance.choice(shown), chance.choice(_BROWSERS), _body(chance)) for _ in range(many)]


def _body(chance: random.Random) -> bytes:
    number = chance.randrange(10_000, 99_999)
    day, hour, minute = chance.randrange(1, 29), chance.randrange(24), chance.randrange(60)
    event = {
        "event_name": chance.choice(("purchase", "add_to_cart", "sign_up", "search", "refund")),
        "timestamp": f"2026-05-{day:02}T{hour:02}:{minute:02}:07.{number % 1000:03}Z",
        "value": chance.randrange(100, 99_999) / 100,
        "currency": "EUR",
        "order": f"A-{number}",
        "returning": chance.random() < 0.5,
        "tags": ["spring", f"t{number % 7}"],
        "page": {"title": f"Order {number}", "screen": "1920x1080"},
        "page_url": f"https://shop.example/orders/{number}?utm_source=letter&utm_campaign=c{number % 9}",
    }
    return msgspec.json.encode(event)


def _inside(folder: Path, shown: Sequence[str], rounds: int, many: int) -> Samples:
    site = asgi.EventsMiddleware(
        _nothing, path=load.PATH, eventbunker_path="/eb", data_dir=str(folder), journal="memory"
    )
    site.runtime._is_whole = True  # as far as it has to be: no courier begins, which would share the caches
    tracked, bodies = sent(shown, many), payload.bodies(1, many)
    plain = [_scope(load.PATH, body) for body in bodies]
    keyed = [_scope(TRACK, one.body, **{HEADER: one.key, "user-agent": one.agent}) for one in tracked]
    entry, stores = site.entries[TRACK], site.runtime.stores
    assert stores is not None
    ring = stores.ring

    def through(scope: Any, body: bytes) -> None:
        exchange = site.exchange(_head(scope)) if scope["path"] == load.PATH else entry.of_scope(scope)
        assert exchange.open() is None
        exchange.feed(body)
        kept = exchange.submit()
        reply = kept if isinstance(kept, Reply) else exchange.settle(kept)
        if reply.status != 200:
            raise RuntimeError(f"the answer is {reply.status}: {reply.body!r}")

    cases: dict[str, Callable[[], float]] = {
        _ZARAZ: partial(_each, through, list(zip(plain, bodies, strict=True))),
        _TRACKED: partial(_each, through, [(scope, one.body) for scope, one in zip(keyed, tracked, strict=True)]),
        "… of it the key": partial(_each, ring.find, [(one.key,) for one in tracked]),
        **_steps(tracked),
    }
    samples = interleaved(cases, rounds)
    site.close(0)
    return samples


def _steps(tracked: Sequence[Sent]) -> Mapping[str, Callable[[], float]]:
    judge, names, writer = Judge(max_events=1000, max_depth=32), AnyName(), Writer("p")

    def accept(one: Sent) -> Any:
        sender = Sender("p/k", writer, Context(None, "203.0.113.9", one.agent))
        return eventbunker.accept(one.body, sender, ("0197" + "0" * 28, _NOW), judge, names)

    accepted = [(accept(one).record,) for one in tracked]
    return {
        "… of it judging": partial(
            _each, lambda one: judge(one.body, writer, names, _NOW), [(one,) for one in tracked]
        ),
        "… of it judging and the record": partial(_each, accept, [(one,) for one in tracked]),
        "… of it the record's line": partial(_each, records.encode, accepted),
    }


def _each(work: Callable[..., object], items: Sequence[tuple[Any, ...]]) -> float:
    return cpu_us(lambda: [work(*item) for item in items]) / len(items)


async def _nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    await asyncio.sleep(0)


def _head(scope: Any) -> Any:
    from eventmw.incoming import head_of_scope

    return head_of_scope(scope)


def _scope(path: str, body: bytes, **headers: str) -> Mapping[str, Any]:
    fields = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body)), **headers}
    return {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        "client": ("127.0.0.1", 40_000),
    }


def _served(folder: Path, shown: Mapping[str, Sequence[str]], rounds: int, seconds: float, stack: ExitStack) -> Samples:
    files = {name: folder / f"{name}.txt" for name in ("accepting", "filling")}
    for name, file in files.items():
        lines = [b"%b\t%b\t%b" % (one.key.encode(), one.agent.encode(), one.body) for one in sent(shown[name], _BODIES)]
        file.write_bytes(b"\n".join(lines) + b"\n")
    plain = folder / "plain.txt"
    plain.write_bytes(b"\n".join(payload.bodies(1, _BODIES)) + b"\n")
    accepting, filling = (
        stack.enter_context(Server(name, uvicorn(_APP), environ=_environ(folder / name, courier)))
        for name, courier in (("accepting", "off"), ("filling", "thread"))
    )
    _, plain_length = load.post(accepting.port, payload.body(1, 1))
    lengths = {server.name: _answer_length(server, shown[server.name]) for server in (accepting, filling)}

    def tracked(server: Server, duration_s: float) -> load.Load:
        return load.run(
            server.port,
            files[server.name],
            length=lengths[server.name],
            connections=CONNECTIONS,
            seconds=duration_s,
            path=TRACK,
            headers=_HEADERS,
        )

    def control() -> float:
        return _us(
            accepting,
            lambda: (
                load.run(accepting.port, plain, length=plain_length, connections=CONNECTIONS, seconds=seconds).requests
            ),
        )

    def fill() -> int:
        requests = tracked(filling, 1.0).requests
        _wait_for_rows(filling)
        return requests

    for server in (accepting, filling):
        server.pause()
    return interleaved(
        {
            _ZARAZ: control,
            _TRACKED: lambda: _us(accepting, lambda: tracked(accepting, seconds).requests),
            _FILLING: lambda: _us(filling, fill),
        },
        rounds,
    )


def _environ(folder: Path, courier: str) -> Mapping[str, str]:
    return {
        "EVENTMW_EVENTBUNKER_PATH": "/eb",
        "EVENTMW_DATA_DIR": str(folder),
        "EVENTMW_JOURNAL": "file",
        "EVENTMW_COURIER": courier,
        "EVENTMW_LIMITS_JOURNAL_BYTES": str(2 << 30),
    }


def _answer_length(server: Server, shown: Sequence[str]) -> int:
    one = sent(shown, 1)[0]
    answer, length = load.post(server.port, one.body, TRACK, {HEADER: one.key, "user-agent": one.agent})
    if set(answer) != {"unique_req_id", "time_recorded"}:
        raise RuntimeError(f"the answer is {answer}")
    return int(length)


def _us(server: Server, work: Callable[[], int]) -> float:
    """Return the CPU microseconds that a server takes for an event, from the first connection to the end of the work."""
    with _alone(server):
        before = server.cpu_s()
        events = work()
        return 1e6 * (server.cpu_s() - before) / events


@contextmanager
def _alone(server: Server) -> Iterator[None]:
    server.resume()
    server.settle()
    try:
        yield
    finally:
        server.pause()


def _wait_for_rows(server: Server) -> None:
    until = time.monotonic() + _PATIENCE_S
    while json.loads(load.get(server.port, "/-/stats"))["tools"]["archive"]["backlog_events"]:
        if time.monotonic() > until:
            raise RuntimeError(f"the archive was not filled within {_PATIENCE_S:g} s")
        time.sleep(0.1)


def _rate(samples: Samples) -> Spread | None:
    """Return the events a CPU second, to the control's."""
    return Spread.of(ratios(samples, _ZARAZ, _TRACKED)) if samples else None


def _table(title: str, samples: Samples) -> Table:
    rows = [
        (name, str(Spread.of(values)), str(Spread.of(ratios(samples, _ZARAZ, name))))
        for name, values in samples.items()
    ]
    return Table(title, ("case", "min / median / max", "rate to the Events API"), rows)
