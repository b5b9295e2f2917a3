"""A vendor that is away: ten minutes in real time beside a healthy one, past the cap, and three days of simulated time."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from benchmarks import absence, load, records
from benchmarks.machine import pinned
from benchmarks.processes import Server
from benchmarks.report import Effort, Figure, Report, Spread, Table, shown
from benchmarks.serving import uvicorn
from benchmarks.steady import Steady
from eventmw.journal.files import FileJournal

RATE_PER_S: Final = 1000
BATCH: Final = 10
_MIB: Final = 1024 * 1024
_SICK: Final = "sick"
_DRAIN_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One outage: for how long the vendor is watched well, then away, and how far its tool may fall behind."""

    before_s: float
    away_s: float
    cap_bytes: int


@dataclass(slots=True)
class Seen:
    """What one outage showed. ``memory`` is bytes, once a second while the vendor was away; ``late`` milliseconds."""

    accepted: int = 0
    answers: Counter[int] = field(default_factory=Counter[int])
    memory: list[int] = field(default_factory=list[int])
    late: dict[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    backlog: int = 0
    back_s: float = 0.0
    drained_per_s: float = 0.0
    sick: Mapping[str, Any] = field(default_factory=dict[str, Any])
    healthy: Mapping[str, Any] = field(default_factory=dict[str, Any])
    outcomes: Mapping[str, int] = field(default_factory=dict[str, int])
    buried: Sequence[tuple[int, str]] = ()

    @property
    def growth_mib(self) -> float:
        """How much memory grew while the vendor was away: the most there was, less what there was at first."""
        return (max(self.memory) - self.memory[0]) / _MIB

    def ratio(self, quantile: float) -> float:
        """How late the healthy tool's events were during the outage, to before it."""
        return _quantile(self.late["away"], quantile) / _quantile(self.late["before"], quantile)


def run(effort: Effort) -> Report:
    """Have a vendor go and come back, three times."""
    long = Plan(effort.of(60, quick=5), effort.of(600, quick=20), 256 * _MIB)
    full = Plan(effort.of(20, quick=5), effort.of(60, quick=20), int(effort.of(8 * _MIB, quick=2 * _MIB)))
    away, capped = watch(long), watch(full)
    returned, expired = absence.run(effort)
    return Report(
        name="outage",
        control="the same run's healthy tool, before the outage and beside it; what was accepted is the measure of the rest",
        measured=f"a uvicorn with one worker on core 0, file journal, {RATE_PER_S} events a second in requests of {BATCH} "
        "over one connection, all the time, also while the backlog is worked off; two Webhooks to two local vendors on core "
        "1, one of which answers 503 and wants order. Lateness is from when an event was accepted to its arrival; "
        "memory is PSS of the server's processes; the drain is from the first event after the vendor is back to when it has "
        "caught up. The simulated days drive a lane over a file journal with a clock that is moved by hand",
        rounds=1,
        tables=[
            _table((long, away), (full, capped)),
            _late_table(uncapped=away, capped=capped),
            absence.table(returned, expired),
            absence.needs(),
        ],
        figures=[*_figures(away), *_capped_figures(capped), *absence.figures(returned, expired)],
        notes=[f"the vendor was away for {long.away_s:g} s, and for {full.away_s:g} s with the small cap"],
    )


def watch(plan: Plan) -> Seen:
    """Start a site and two vendors, and have one of these be away."""
    seen = Seen()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="eventmw-bench-"))
        healthy, sick = (stack.enter_context(_vendor(name)) for name in ("healthy", _SICK))
        site = stack.enter_context(_site(folder, healthy.port, sick.port, plan))
        stack.enter_context(pinned(load.CLIENT_CORE))
        steady = stack.enter_context(Steady(site.port, RATE_PER_S, BATCH))
        time.sleep(2.0)  # threads, connections and caches come with the first events
        _books(healthy)
        time.sleep(plan.before_s)
        seen.late["before"] = _books(healthy)["late_ms"]
        _be_away(plan, site, sick, seen)
        seen.late["away"] = _books(healthy)["late_ms"]
        _come_back(site, sick, seen)
        seen.accepted, seen.answers = steady.stop(), steady.answers
        _wait_idle(site)
        seen.sick, seen.healthy = _books(sick), _books(healthy)
        seen.outcomes = _standing(site)["outcomes"]
        site.__exit__(None, None, None)
        seen.buried = _buried(folder)
    return seen


def _vendor(name: str) -> Server:
    return Server(name, [sys.executable, "-m", "benchmarks.sites.vendor", "{port}"], core=load.CLIENT_CORE)


def _site(folder: str, healthy: int, sick: int, plan: Plan) -> Server:
    environ = {
        "EVENTMW_DATA_DIR": folder,
        "BENCH_SINK": f"http://127.0.0.1:{healthy}/",
        "BENCH_SICK": f"http://127.0.0.1:{sick}/",
        "BENCH_SICK_BYTES": str(plan.cap_bytes),
    }
    return Server("site", uvicorn("benchmarks.sites.asgi_site:app"), environ=environ)


def _be_away(plan: Plan, site: Server, sick: Server, seen: Seen) -> None:
    load.get(sick.port, "/-/refuse")
    until = time.monotonic() + plan.away_s
    while time.monotonic() < until:
        seen.memory.append(site.memory_bytes())
        time.sleep(1.0)
    seen.backlog = _standing(site)["backlog_events"]


def _come_back(site: Server, sick: Server, seen: Seen) -> None:
    """Let the vendor answer, and measure until its tool has caught up with what still comes, or for `_DRAIN_S`."""
    held = int(load.get(sick.port, "/-/count"))
    load.get(sick.port, "/-/go")
    begun = time.monotonic()
    first = first_s = 0.0
    until = begun + _DRAIN_S
    while True:
        count, now = int(load.get(sick.port, "/-/count")), time.monotonic()
        if not first_s and count > held:
            first, first_s = count, now
            seen.back_s = now - begun
        if now > until or (first_s and _standing(site)["backlog_events"] <= RATE_PER_S):
            seen.drained_per_s = (count - first) / max(now - (first_s or begun), 0.001)
            return
        time.sleep(0.25)


def _standing(site: Server) -> Any:
    return json.loads(load.get(site.port, "/-/stats"))["tools"][_SICK]


def _wait_idle(site: Server) -> None:
    until = time.monotonic() + _DRAIN_S
    while (standing := _standing(site))["backlog_events"] or standing["parked"]:
        if time.monotonic() > until:
            raise RuntimeError(f"the last events were not delivered within {_DRAIN_S:g} s")
        time.sleep(0.2)
    site.settle()


def _books(vendor: Server) -> Any:
    return json.loads(load.get(vendor.port, "/-/books"))


def _buried(folder: str) -> list[tuple[int, str]]:
    """Return number and Outcome of each dead letter of the sick tool, oldest first."""
    journal = FileJournal(folder)
    engine = records.engine(())
    try:
        return [(records.number_of(engine, letter.record), letter.outcome) for letter in journal.dead_letters(_SICK)]
    finally:
        journal.leave()


def _quantile(values: Sequence[float], quantile: float) -> float:
    known = sorted(values)
    return known[min(len(known) - 1, int(len(known) * quantile))]


def _table(*outages: tuple[Plan, Seen]) -> Table:
    rows = [_row(plan, seen) for plan, seen in outages]
    heads = (
        "outage",
        "accepted",
        "delivered",
        "dead",
        "again",
        "inverted",
        "not 200",
        "healthy",
        "behind",
        "back s",
        "drained/s",
    )
    return Table("events of the tool whose vendor was away, in real time", heads, rows)


def _row(plan: Plan, seen: Seen) -> Sequence[str]:
    sick = seen.sick
    return (
        f"{plan.away_s:g} s, cap {plan.cap_bytes / _MIB:g} MiB",
        f"{seen.accepted:,}",
        f"{sick['distinct']:,}",
        f"{len(seen.buried):,}",
        f"{sick['arrived'] - sick['distinct']:,}",
        f"{sick['inversions']:,}",
        f"{seen.answers.total() - seen.answers[200]:,}",
        f"{seen.healthy['distinct']:,}",
        f"{seen.backlog:,}",
        shown(seen.back_s),
        shown(seen.drained_per_s),
    )


def _late_table(**runs: Seen) -> Table:
    rows = [
        (f"{name}, {state}", f"{shown(_quantile(late, 0.5))}", f"{shown(_quantile(late, 0.99))}", shown(max(late)))
        for name, seen in runs.items()
        for state, late in seen.late.items()
    ]
    heads = ("healthy tool", "p50 ms", "p99 ms", "max ms")
    return Table("from accepted to arrived, beside the outage", heads, rows)


def _figures(seen: Seen) -> Iterator[Figure]:
    sick = seen.sick
    once = sick["distinct"] if not sick["inversions"] else 0
    yield _one("vendor away: delivered afterwards, in order", "at least", 100, "%", 100 * once / seen.accepted)
    yield _one("backlog drained, to the rate it came in", "at least", 5, "x", seen.drained_per_s / RATE_PER_S)
    yield _one("memory growth over the outage", "at most", 64, "MiB", seen.growth_mib)
    for name, quantile in (("p50", 0.5), ("p99", 0.99)):
        yield _one(f"healthy tool: {name} during the outage, to before", "at most", 1.3, "x", seen.ratio(quantile))


def _capped_figures(seen: Seen) -> Iterator[Figure]:
    numbers = [number for number, _ in seen.buried]
    told = seen.sick["distinct"] + len(set(numbers))
    yield _one("past the cap: delivered + dead, to accepted", "at least", 100, "%", 100 * told / seen.accepted)
    apart = len(set(range(min(numbers), max(numbers) + 1)) ^ set(numbers)) if numbers else seen.accepted
    yield _one("past the cap: gaps in the dead letters, which are the oldest", "at most", 0, "", apart)
    wrong = abs(seen.outcomes.get("backlog_full", 0) - len(numbers))
    wrong += sum(outcome != "backlog_full" for _, outcome in seen.buried)
    yield _one("past the cap: dead letters not counted as backlog_full", "at most", 0, "", wrong)
    refused = seen.answers.total() - seen.answers[200]
    yield _one("past the cap: answers of the door that were not 200", "at most", 0, "", refused)
    yield _one("past the cap: healthy tool, p50 during the outage, to before", "at most", 1.3, "x", seen.ratio(0.5))


def _one(what: str, bound: Literal["at most", "at least"], asked: float, unit: str, value: float) -> Figure:
    return Figure(what, bound, asked, unit, Spread.of([value]))
