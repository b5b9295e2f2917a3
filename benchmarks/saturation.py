"""Twice as much as a server can take, for ten minutes: what waits in memory, how soon it refuses, what other pages feel."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import load, neighbour, openloop, payload
from benchmarks.machine import pinned
from benchmarks.openloop import Flood, Waits
from benchmarks.processes import Server
from benchmarks.report import Effort, Figure, Report, Spread, Table, shown
from benchmarks.serving import uvicorn

BATCH: Final = 100
CONNECTIONS: Final = 1024
PAGES_PER_S: Final = 50
_BODIES: Final = 100
_MIB: Final = 1024 * 1024
_OURS, _BARE = "eventmw", "bare control"


@dataclass(slots=True)
class Seen:
    """What one server showed under the flood. ``memory`` is bytes, once a second; ``pages`` milliseconds."""

    flood: Flood
    memory: list[int] = field(default_factory=list[int])
    pages: list[float] = field(default_factory=list[float])

    def page_ms(self, quantile: float) -> float:
        """How long a page took."""
        known = sorted(self.pages)
        return known[min(len(known) - 1, int(len(known) * quantile))]

    @property
    def growth_mib(self) -> float:
        """The memory's mean in the last quarter of the time, less that in the second."""
        quarter = max(1, len(self.memory) // 4)
        last, second = self.memory[-quarter:], self.memory[quarter : 2 * quarter]
        return (sum(last) / len(last) - sum(second) / len(second)) / _MIB


def run(effort: Effort) -> Report:
    """Measure the capacity, then have twice as much come, to a bare site and to one with eventmw."""
    seconds, control_s = effort.of(600, quick=20), effort.of(60, quick=20)
    with tempfile.TemporaryDirectory(prefix="eventmw-bench-") as folder:
        bodies = Path(folder) / "bodies"
        bodies.write_bytes(b"\n".join(payload.bodies(BATCH, _BODIES)) + b"\n")
        capacity = _capacity(Path(folder), bodies, effort.of(3.0, quick=2.0))
        rate = 2 * Spread.of(capacity).mid
        seen = {
            _BARE: _flooded(Server(_BARE, uvicorn("benchmarks.sites.bare_site:app")), bodies, rate, control_s),
            _OURS: _flooded(_site(Path(folder) / "flooded"), bodies, rate, seconds),
        }
    return Report(
        name="saturation",
        control="the same uvicorn, pages, requests and rate with a bare ASGI path in the place of eventmw: it reads each "
        "body whole and answers as many bytes, and decodes, checks and keeps nothing",
        measured=f"a uvicorn with one worker on core 0, file journal, no tools; its capacity is the median of three closed "
        f"loops of {load.client()} with 32 connections and {BATCH} events a request. Then twice that, on a fixed schedule "
        f"over {CONNECTIONS} connections for {seconds:g} s (the control: {control_s:g} s), from core 1; waits are from when "
        f"a request was due, also while it found no free connection. /table is asked for {PAGES_PER_S} times a second as "
        "well. Memory is PSS of the server's processes, once a second",
        rounds=1,
        tables=[_capacity_table(capacity, rate), _table(seen), _memory_table(seen)],
        figures=[*_figures(seen)],
    )


def _site(folder: Path) -> Server:
    return Server(_OURS, uvicorn("benchmarks.sites.asgi_site:app"), environ={"EVENTMW_DATA_DIR": str(folder)})


def _capacity(folder: Path, bodies: Path, seconds: float) -> list[float]:
    """Return requests a second of three closed loops."""
    with _site(folder / "capacity") as site:
        _, length = load.post(site.port, payload.body(BATCH, 1))
        load.run(site.port, bodies, length=length, connections=32, seconds=1)
        runs = [load.run(site.port, bodies, length=length, connections=32, seconds=seconds) for _ in range(3)]
    return [one.requests / one.seconds for one in runs]


def _flooded(server: Server, bodies: Path, rate: float, seconds: float) -> Seen:
    with ExitStack() as stack:
        stack.enter_context(server)
        stack.enter_context(pinned(load.CLIENT_CORE))
        neighbour.visit(server.port, "/table", seconds=1.0, per_s=PAGES_PER_S)
        memory = stack.enter_context(_watched(server))
        client = openloop.start(server.port, bodies, rate_per_s=rate, seconds=seconds, connections=CONNECTIONS)
        visits = neighbour.visit(server.port, "/table", seconds=seconds, per_s=PAGES_PER_S)
        return Seen(openloop.finish(client), memory, [ms for _, ms in visits])


@contextmanager
def _watched(server: Server) -> Iterator[list[int]]:
    """Note the server's memory once a second."""
    memory: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            memory.append(server.memory_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield memory
    finally:
        done.set()
        watcher.join()


def _capacity_table(capacity: Sequence[float], rate: float) -> Table:
    row = (str(Spread.of(capacity)), shown(rate), shown(rate * BATCH))
    return Table("the capacity", ("requests/s: min / median / max", "asked for", "events/s"), [row])


def _table(seen: dict[str, Seen]) -> Table:
    rows = [
        (
            f"{name}, {kind}",
            f"{waits.count:,}",
            *map(shown, (waits.p50, waits.p99, waits.most)),
            f"{waits.over_50_ms:,}",
        )
        for name, one in seen.items()
        for kind, waits in _kinds(one)
    ]
    return Table("answers", ("answers", "number", "p50 ms", "p99 ms", "max ms", "over 50 ms"), rows)


def _kinds(seen: Seen) -> Iterator[tuple[str, Waits]]:
    yield "200", seen.flood.taken
    yield "503 or 429", seen.flood.refused
    late = sum(ms > 50 for ms in seen.pages)
    yield "/table", Waits(len(seen.pages), seen.page_ms(0.5), seen.page_ms(0.99), max(seen.pages), late)


def _memory_table(seen: dict[str, Seen]) -> Table:
    rows = [
        (
            name,
            *(shown(size / _MIB) for size in (one.memory[0], max(one.memory), one.memory[-1])),
            *map(str, (one.flood.unsent, one.flood.unanswered, one.flood.broken, one.flood.other)),
        )
        for name, one in seen.items()
    ]
    heads = ("server", "MiB at first", "at most", "at last", "never sent", "unanswered", "broken", "other answers")
    return Table("memory, and what became of the rest", heads, rows)


def _figures(seen: dict[str, Seen]) -> Iterator[Figure]:
    ours, bare = seen[_OURS], seen[_BARE]
    yield _at_most("memory: last quarter of the time to the second", 16, "MiB", ours.growth_mib)
    refused = ours.flood.refused
    late = Spread.of([refused.p99]) if refused.count else None
    yield Figure("refusals: p99", "at most", 50, "ms", late)
    yield _at_most("refusals without Retry-After", 0, "", ours.flood.without_retry_after)
    yield _at_most("/table: p99 beside the control's", 1, "ms", ours.page_ms(0.99) - bare.page_ms(0.99))


def _at_most(what: str, asked: float, unit: str, value: float) -> Figure:
    return Figure(what, "at most", asked, unit, Spread.of([value]))
