"""What the site's own pages feel while the courier works off a full backlog in the same process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from benchmarks import load, payload
from benchmarks.machine import pinned
from benchmarks.processes import Server
from benchmarks.report import Effort, Figure, Report, Spread, Table, shown
from benchmarks.serving import SINK, uvicorn

RATE_PER_S: Final = 200
BATCH: Final = 100
_VISITORS: Final = 16
_PAGES: Final[Mapping[str, str]] = {"small page": "/", "rendered page": "/table"}
_IDLE, _COURIER, _BUSY = "courier idle", "courier works", "busy thread"


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds from when a page was due to its last byte."""

    p50: float
    p99: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Latencies:
        """Return the quantiles of what was seen."""
        if not values:
            raise RuntimeError("no page was answered while it mattered")
        known = sorted(values)
        return cls(known[len(known) // 2], known[len(known) * 99 // 100], len(known))


Seen = Mapping[tuple[str, str], list[Latencies]]


def run(effort: Effort) -> Report:
    """Load each page in three states of one process, in rounds."""
    rounds, seconds = effort.interleaved(5), effort.of(3.0, quick=1.0)
    backlog = int(effort.of(50_000, quick=2_000))
    seen: dict[tuple[str, str], list[Latencies]] = {
        (page, state): [] for page in _PAGES for state in (_IDLE, _COURIER, _BUSY)
    }
    drained_s: list[float] = []
    bodies = payload.bodies(BATCH, backlog // BATCH)
    with ExitStack() as stack:
        sink = stack.enter_context(Server("sink", SINK, core=load.CLIENT_CORE))
        environ = {"BENCH_SINK": f"http://127.0.0.1:{sink.port}/", "EVENTMW_LIMITS_JOURNAL_BYTES": str(1024**3)}
        site = stack.enter_context(
            Server("site", uvicorn("benchmarks.sites.asgi_site:app"), environ=environ),
        )
        stack.enter_context(pinned(load.CLIENT_CORE))
        steps: list[Callable[[str], tuple[str, Latencies]]] = [
            lambda page: (_IDLE, _idle(site, page, seconds)),
            lambda page: (_COURIER, _working(site, sink, page, bodies, drained_s)),
            lambda page: (_BUSY, _busy(site, page, seconds)),
        ]
        visit(site.port, "/table", seconds=0.5)
        for number in range(rounds):
            for page, path in _PAGES.items():
                at = number % len(steps)
                for step in (*steps[at:], *steps[:at]):
                    site.settle()
                    state, latencies = step(path)
                    seen[page, state].append(latencies)
    return Report(
        name="neighbour",
        control="the same process with the courier idle; and with a thread that never rests, which must be seen",
        measured=f"pages of a uvicorn with one worker on core 0, asked for {RATE_PER_S} times a second whatever the answers "
        f"do, from core 1; from when a page was due to its last byte. The courier works off {backlog:,} events that a local "
        "sink, on core 1, had held back; only pages due while it did are counted",
        rounds=rounds,
        tables=[_table(seen), _drain_table(drained_s, backlog)],
        figures=[*_figures(seen)],
        notes=_notes(seen),
    )


def _idle(site: Server, path: str, seconds: float) -> Latencies:
    return Latencies.of([ms for _, ms in visit(site.port, path, seconds=seconds)])


def _busy(site: Server, path: str, seconds: float) -> Latencies:
    load.get(site.port, f"/-/busy?{seconds + 0.5:g}")
    return _idle(site, path, seconds)


def _working(site: Server, sink: Server, path: str, bodies: Sequence[bytes], drained_s: list[float]) -> Latencies:
    """Fill the backlog while the sink holds, let go, and visit until the sink has all of it."""
    load.get(sink.port, "/-/hold")
    wanted = int(load.get(sink.port, "/-/count")) + BATCH * len(bodies)
    for body in bodies:
        load.post(site.port, body)
    site.settle()
    done = threading.Event()
    ended: list[float] = []

    def watch() -> None:
        until = time.monotonic() + 120
        while int(load.get(sink.port, "/-/count")) < wanted and time.monotonic() < until:
            time.sleep(0.1)
        ended.append(time.monotonic())
        done.set()

    load.get(sink.port, "/-/go")
    begun = time.monotonic()
    watcher = threading.Thread(target=watch)
    watcher.start()
    visits = visit(site.port, path, seconds=120, done=done)
    watcher.join()
    if int(load.get(sink.port, "/-/count")) < wanted:
        raise RuntimeError("the backlog was not delivered within 120 s")
    drained_s.append(ended[0] - begun)
    return Latencies.of([ms for due, ms in visits if begun <= due < ended[0]])


def visit(
    port: int, path: str, *, seconds: float, done: threading.Event | None = None, per_s: float = RATE_PER_S
) -> list[tuple[float, float]]:
    """Ask for a page at a steady rate and return (when it was due, milliseconds) of each visit.

    Visitors take turns; one that is kept waiting starts its next visit late, and the wait counts.
    """
    ends = done or threading.Event()
    begun = time.monotonic() + 0.05
    request = f"GET {path} HTTP/1.1\r\nhost: shop.example\r\n\r\n".encode()
    visits: list[tuple[float, float]] = []
    failures: list[BaseException] = []

    def visitor(number: int) -> None:
        try:
            with socket.create_connection(("127.0.0.1", port), 60) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for due in _times(begun, number, seconds, per_s):
                    if ends.is_set():
                        return
                    time.sleep(max(0.0, due - time.monotonic()))
                    connection.sendall(request)
                    _read(connection)
                    visits.append((due, 1000 * (time.monotonic() - due)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=visitor, args=(number,)) for number in range(_VISITORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"a visit failed: {failures[0]!r}")
    return visits


def _times(begun: float, number: int, seconds: float, per_s: float) -> Iterator[float]:
    for at in range(number, int(per_s * seconds), _VISITORS):
        yield begun + at / per_s


def _read(connection: socket.socket) -> None:
    """Read one whole answer."""
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data and data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the page answers {head[:80]!r}")
    missing = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) - len(body)
    while missing > 0:
        chunk = connection.recv(65536)
        if not chunk:
            raise RuntimeError("the page broke off")
        missing -= len(chunk)


def _ratio(seen: Seen, page: str, state: str, quantile: str) -> Spread:
    pairs = zip(seen[page, state], seen[page, _IDLE], strict=True)
    return Spread.of(getattr(one, quantile) / getattr(idle, quantile) for one, idle in pairs)


def _table(seen: Seen) -> Table:
    rows = [
        (
            f"{page}, {state}",
            str(sum(one.count for one in rounds)),
            str(Spread.of(one.p50 for one in rounds)),
            str(Spread.of(one.p99 for one in rounds)),
            *(str(_ratio(seen, page, state, quantile)) for quantile in ("p50", "p99")),
        )
        for (page, state), rounds in seen.items()
    ]
    heads = ("state", "pages", "p50 ms: min / median / max", "p99 ms: min / median / max", "p50 x idle", "p99 x idle")
    return Table("pages", heads, rows)


def _drain_table(drained_s: Sequence[float], backlog: int) -> Table:
    rows = [(f"{backlog:,} events", str(Spread.of(drained_s)), shown(backlog / Spread.of(drained_s).mid))]
    return Table("the backlog, beside those pages", ("backlog", "s: min / median / max", "events/s"), rows)


def _figures(seen: Seen) -> Iterator[Figure]:
    for page in _PAGES:
        for quantile in ("p50", "p99"):
            spread = _ratio(seen, page, _COURIER, quantile)
            yield Figure(f"{page}: {quantile} with the courier at work, to idle", "at most", 1.3, "x", spread)


def _notes(seen: Seen) -> list[str]:
    felt = [_ratio(seen, page, _BUSY, "p99").mid for page in _PAGES]
    if min(felt) < 2:
        return ["the busy thread was not felt, so this run could not have seen a courier that is: distrust it"]
    return [f"the busy thread was felt: p99 {' and '.join(shown(ratio) for ratio in felt)} times idle"]
