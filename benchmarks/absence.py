"""Three days without a vendor, in simulated time: a lane over a real file journal, and a clock that is moved by hand.

The clock goes from one of the lane's probes to the next; what came meanwhile is appended as it would have been.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.records import engine, number_of, record
from benchmarks.report import Effort, Figure, Spread, Table, shown
from eventmw.contract import Delivery
from eventmw.delivery.batches import Batch
from eventmw.delivery.duplicates import Duplicates
from eventmw.delivery.lane import Lane
from eventmw.http import HttpReply, HttpRequest
from eventmw.journal import Lease
from eventmw.journal.files import FileJournal
from eventmw.journal.files.frames import size_of
from eventmw.testing import FrozenClock
from eventmw.tools import Webhook

_HOUR_S: Final = 3600.0
GIVE_UP_S: Final = 72 * _HOUR_S
RATES_PER_S: Final = (1, 10, 100, 1000)
_SIZES: Final = (1, 10, 100)
_TOOL: Final = "sick"


@dataclass(slots=True)
class Story:
    """What one absence came to. Numbers of events; ``arrived`` in the order in which the vendor took them."""

    away_s: float
    appended: int = 0
    probes: int = 0
    arrived: list[int] = field(default_factory=list[int])
    expired: list[int] = field(default_factory=list[int])
    other_outcomes: dict[str, int] = field(default_factory=dict[str, int])
    due_to_expire: int = 0
    record_bytes: float = 0.0
    disk_bytes: float = 0.0
    took_s: float = 0.0

    @property
    def in_order(self) -> bool:
        """Whether what arrived came once each, in the order of their numbers."""
        return all(one < other for one, other in zip(self.arrived, self.arrived[1:], strict=False))


def run(effort: Effort) -> tuple[Story, Story]:
    """Return the story of a vendor that is back just in time, and of one that is not."""
    every_s, max_backoff_s = effort.of(5.0, quick=60.0), effort.of(60.0, quick=900.0)
    returned = _Simulation(GIVE_UP_S - 600, every_s, max_backoff_s).run()
    return returned, _Simulation(GIVE_UP_S + 8 * _HOUR_S, every_s, max_backoff_s).run()


class _Simulation:
    """A site that takes an event every so often, and a vendor that answers 503 until it is back."""

    def __init__(self, away_s: float, every_s: float, max_backoff_s: float) -> None:
        rules = Delivery(ordered=True, give_up_s=GIVE_UP_S, max_backoff_s=max_backoff_s)
        self._engine = engine([Webhook("http://127.0.0.1:9/", id=_TOOL, delivery=rules)])
        self._clock = FrozenClock()
        self._begun_ms = self._clock.now_ms()
        self._every_s = every_s
        self.story = Story(away_s)

    def run(self) -> Story:
        """Let the time pass."""
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="eventmw-bench-") as folder:
            journal = FileJournal(folder)
            journal.register([_TOOL])
            lease = journal.lead()
            assert lease is not None
            self._live(journal, lease)
            self._audit(journal, lease)
            lease.close()
            journal.leave()
        self.story.took_s = time.monotonic() - begun
        return self.story

    def _live(self, journal: FileJournal, lease: Lease) -> None:
        lane = Lane(self._engine.tools[0], self._engine, lease, Duplicates(), self._clock)
        self._append(journal, 0.0)
        while not (self._is_back() and lane.is_idle()):
            departed = self._turn(lane)
            for batch in departed:
                self._answer(lane, batch)
            if not departed and not lane.is_idle():
                self._pass(journal, lease, lane.wait_s() or self._every_s)

    def _pass(self, journal: FileJournal, lease: Lease, seconds: float) -> None:
        """Let time pass, and append what comes meanwhile; the leader's chores are done as on its shift."""
        until_s = self._passed_s() + max(seconds, 0.001)
        self._append(journal, min(until_s, self.story.away_s))
        self._clock.advance(until_s - self._passed_s())
        lease.sync()
        lease.tend()

    def _append(self, journal: FileJournal, until_s: float) -> None:
        kept = [self._kept(journal, at_s) for at_s in self._due(until_s)]
        for future in kept:
            future.result(10)

    def _due(self, until_s: float) -> Iterator[float]:
        while (at_s := self.story.appended * self._every_s) <= until_s:
            yield at_s

    def _kept(self, journal: FileJournal, at_s: float) -> Any:
        recorded_ms = self._begun_ms + round(1000 * at_s)
        data = record(self.story.appended, 1, recorded_ms)
        self.story.appended += 1
        return journal.append(data, events=1, recorded_ms=recorded_ms, stamp=time.monotonic_ns())

    def _turn(self, lane: Lane) -> list[Batch]:
        """Do what one turn of the courier does, and return what departed."""
        for _ in lane.intake():
            pass
        departed: list[Batch] = []
        while (batch := lane.queue.next(lane.moment())) is not None:
            departed.append(batch)
        self._settle(lane)
        return departed

    def _settle(self, lane: Lane) -> None:
        while True:
            for _ in lane.settle():
                pass
            lane.commit()
            if not lane.queue.endings:
                return

    def _answer(self, lane: Lane, batch: Batch) -> None:
        story = self.story
        if lane.queue.circuit.phase == "probing":
            story.probes += 1
            late_s = self._passed_s() - GIVE_UP_S  # what is older than this ends with the probe, whatever comes of it
            story.due_to_expire = min(story.appended, max(0, math.ceil(late_s / self._every_s)))
        if self._is_back():
            assert isinstance(batch.order, HttpRequest)
            events = json.loads(batch.order.body)["events"]
            story.arrived += [event["properties"]["number"] for event in events]
        lane.queue.answered(batch, HttpReply(200 if self._is_back() else 503), lane.moment())
        self._settle(lane)

    def _passed_s(self) -> float:
        return (self._clock.now_ms() - self._begun_ms) / 1000

    def _is_back(self) -> bool:
        return self._passed_s() >= self.story.away_s

    def _audit(self, journal: FileJournal, lease: Lease) -> None:
        lease.sync()
        [standing] = journal.stats().tools
        story = self.story
        story.expired = [number_of(self._engine, letter.record) for letter in journal.dead_letters(_TOOL)]
        for (kind, _), count in standing.counts.items():
            story.other_outcomes[kind] = story.other_outcomes.get(kind, 0) + count
        story.record_bytes, story.disk_bytes = _bytes_an_event(1)


def _bytes_an_event(size: int) -> tuple[float, float]:
    """Return the bytes of records that an event takes, which the caps count, and those on the disk."""
    lengths = [len(record(size * number, size, 1_790_000_000_000)) for number in range(200)]
    events = size * len(lengths)
    return sum(lengths) / events, sum(map(size_of, lengths)) / events


def table(returned: Story, expired: Story) -> Table:
    """Return what became of the events of both stories."""
    rows = [
        (
            f"away for {shown(story.away_s / _HOUR_S)} h",
            f"{story.appended:,}",
            str(story.probes),
            f"{len(story.arrived):,}",
            "yes" if story.in_order else "no",
            f"{len(story.expired):,}",
            ", ".join(f"{kind} {count:,}" for kind, count in sorted(story.other_outcomes.items())),
            shown(story.took_s),
        )
        for story in (returned, expired)
    ]
    heads = ("simulated", "accepted", "probes", "delivered", "in order", "dead letters", "Outcomes", "took s")
    return Table("three days, simulated; events are given up after 72 h", heads, rows)


def needs() -> Table:
    """Return how much room 72 h need at some rates."""
    rows: list[Sequence[str]] = []
    for size in _SIZES:
        recorded, stored = _bytes_an_event(size)
        caps = (_amount(recorded * rate * GIVE_UP_S) for rate in RATES_PER_S)
        fits_s = Delivery().backlog_bytes / recorded
        rows.append((f"{size} a request", shown(recorded), shown(stored), *caps, shown(fits_s)))
    heads = ("events", "bytes an event", "on the disk", *(f"at {rate}/s" for rate in RATES_PER_S), "s at 1/s, default")
    return Table(
        "room for 72 h: Delivery.backlog_bytes for the tool, and more than that in limits.journal_bytes", heads, rows
    )


def _amount(size: float) -> str:
    return f"{shown(size / 1e9)} GB" if size >= 1e9 else f"{shown(size / 1e6)} MB"


def figures(returned: Story, expired: Story) -> Iterator[Figure]:
    """Return what was asked of both stories."""
    delivered = 100 * len(set(returned.arrived)) / returned.appended if returned.in_order else 0.0
    yield Figure("back after 71 h 50 min: delivered, in order", "at least", 100, "%", Spread.of([delivered]))
    accounted = set(expired.arrived) | set(expired.expired)
    told = (
        100 * len(accounted) / expired.appended
        if len(expired.arrived) + len(expired.expired) == expired.appended
        else 0.0
    )
    yield Figure("back after 80 h: delivered or a dead letter, once each", "at least", 100, "%", Spread.of([told]))
    late = len(set(expired.expired) ^ set(range(expired.due_to_expire)))
    yield Figure("the same: dead letters that are not exactly those over 72 h", "at most", 0, "", Spread.of([late]))
