"""Where one tool stands in a log of many streams.

A place is a vector: for each stream the record up to which everything is settled, and the events beyond it that are. What
is needed of a record to reckon with it (how many events, how many bytes, the stream's totals with it) is kept while it is
open, that is read or begun and not behind the place yet; so every step costs the same at any depth of the backlog.

Layer: pure rules. No lock, no clock and no file is in here.
Source: JOURNAL.md «State».
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from eventmw.journal import SKIPPED, Key, Parked, Position, ToolStats
from eventmw.journal.files.frames import NOTHING, Total
from eventmw.journal.place import Parking

_NOTHING: Final[frozenset[int]] = frozenset()


class Facts(NamedTuple):
    """What is needed of a record to reckon with it: its events and bytes, when it came, the stream's totals with it."""

    events: int
    size: int
    recorded_ms: int
    total: Total


@dataclass(slots=True)
class Reach:
    """How far one tool is in one stream.

    Attributes:
        total: everything up to here is settled.
        beyond: seq → ordinals settled, for records after that.
        open: seq → facts of records after that which were read or have something settled.
        holes: first → last seq of records that are missing, to be passed over.
    """

    total: Total = NOTHING
    beyond: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    open: dict[int, Facts] = field(default_factory=dict[int, Facts])
    holes: dict[int, int] = field(default_factory=dict[int, int])

    def has_settled(self, seq: int, ordinal: int) -> bool:
        """Return whether an event is settled."""
        return seq <= self.total.seq or ordinal in self.beyond.get(seq, _NOTHING)

    def settle(self, seq: int, ordinals: Iterable[int], facts: Facts) -> None:
        """Settle events of one record, and move over every next record that is settled whole."""
        if seq <= self.total.seq:
            return
        self.open[seq] = facts
        self.beyond.setdefault(seq, set()).update(ordinals)
        self.advance()

    def advance(self) -> None:
        """Move over what is settled whole, and over what is missing."""
        while True:
            following = self.total.seq + 1
            if (last := self.holes.pop(following, None)) is not None:
                self.total = Total(last, self.total.events, self.total.bytes)
                continue
            facts = self.open.get(following)
            if facts is None or len(self.beyond.get(following, _NOTHING)) < facts.events:
                return
            self.total = facts.total
            del self.open[following], self.beyond[following]

    def left(self, end: Total) -> Total:
        """Return the backlog: records with something unsettled, events unsettled, bytes of those records."""
        seq, events, size = (max(0, last - here) for last, here in zip(end, self.total, strict=True))
        for number, ordinals in self.beyond.items():
            facts = self.open[number]
            events -= len(ordinals)
            if len(ordinals) == facts.events:
                seq -= 1
                size -= facts.size
        return Total(max(0, seq), max(0, events), max(0, size))

    def first_open(self) -> int:
        """Return the seq of the oldest record that has something left."""
        seq = self.total.seq + 1
        while (facts := self.open.get(seq)) is not None and len(self.beyond.get(seq, _NOTHING)) == facts.events:
            seq += 1
        return seq

    def move_to(self, total: Total) -> None:
        """Stand here: everything up to `total` is settled, and nothing after it."""
        self.total = total
        self.beyond.clear()
        self.open.clear()
        self.holes.clear()


@dataclass(slots=True)
class ToolPlace:
    """One tool's place, what it has parked, and how its events ended.

    ``moved`` says that somebody moved the place since the present lease read last.
    """

    reaches: dict[str, Reach] = field(default_factory=dict[str, Reach])
    parking: Parking = field(default_factory=Parking)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    dead: int = 0
    moved: bool = False

    def reach(self, sid: str) -> Reach:
        """Return how far the tool is in a stream; in one that it has not met, before its first record."""
        found = self.reaches.get(sid)
        if found is None:
            found = self.reaches[sid] = Reach()
        return found

    def has_settled(self, key: Key) -> bool:
        """Return whether this event ended, is parked or is buried, as far as the place tells."""
        reach = self.reaches.get(key.position.stream)
        return key in self.parking.items or (reach is not None and reach.has_settled(key.position.seq, key.ordinal))

    def left(self, ends: Mapping[str, Total]) -> Total:
        """Return the backlog over all streams."""
        parts = [self.reach(sid).left(end) for sid, end in ends.items()]
        return Total(*(sum(numbers) for numbers in zip(*parts, strict=True))) if parts else Total()

    def skip_to(self, ends: Mapping[str, Total]) -> int:
        """Pass over everything up to these ends; what was not settled is counted as `SKIPPED`. Returns how much that is."""
        skipped = self.left(ends).events
        for sid, end in ends.items():
            self.reach(sid).move_to(end)
        if skipped:
            self.counts[SKIPPED] += skipped
        self.moved = True
        return skipped

    def stats(self, tool: str, ends: Mapping[str, Total], oldest_ms: int | None) -> ToolStats:
        """Return where the tool stands."""
        left = self.left(ends)
        return ToolStats(
            tool=tool,
            backlog_records=left.seq,
            backlog_events=left.events,
            backlog_bytes=left.bytes,
            oldest_ms=oldest_ms,
            parked=len(self.parking.items),
            dead=self.dead,
            counts=dict(self.counts),
        )

    def encoded(self) -> list[Any]:
        """Return the place as plain lists, for `decoded`."""
        return [
            [
                [sid, list(reach.total), [run_of(seq, reach.open[seq], held) for seq, held in reach.beyond.items()]]
                for sid, reach in self.reaches.items()
            ],
            [parked_as_list(item) for item in self.parking.items.values()],
            counts_as_list(self.counts),
            self.dead,
        ]

    @classmethod
    def decoded(cls, plain: Sequence[Any]) -> ToolPlace:
        """Return the place that these lists hold."""
        reaches, parked, counts, dead = plain
        place = cls(dead=dead)
        for sid, total, runs in reaches:
            reach = place.reach(sid)
            reach.total = Total(*total)
            for run in runs:
                settle_run(reach, run)
        for item in parked:
            place.parking.put(parked_of(item))
        place.counts.update(counts_of(counts))
        return place


def key_as_list(key: Key) -> list[Any]:
    """Return a key as a plain list."""
    return [key.position.stream, key.position.seq, key.ordinal]


def key_of(plain: Sequence[Any]) -> Key:
    """Return the key that this list holds."""
    sid, seq, ordinal = plain
    return Key(Position(sid, seq), ordinal)


def run_of(seq: int, facts: Facts, ordinals: Collection[int]) -> list[Any]:
    """Return a record's settled ordinals with its facts, as a plain list. All of them are written as none."""
    events, size, recorded_ms, total = facts
    whole = len(ordinals) == events
    return [seq, events, size, recorded_ms, total.events, total.bytes, None if whole else sorted(ordinals)]


def settle_run(reach: Reach, run: Sequence[Any]) -> None:
    """Settle what `run_of` wrote."""
    seq, events, size, recorded_ms, total_events, total_bytes, ordinals = run
    facts = Facts(events, size, recorded_ms, Total(seq, total_events, total_bytes))
    reach.settle(seq, range(events) if ordinals is None else ordinals, facts)


def parked_as_list(item: Parked) -> list[Any]:
    """Return a parked item as a plain list."""
    (sid, seq), ordinal = item.key
    return [sid, seq, ordinal, item.record, item.attempts, item.due_ms, item.reason]


def parked_of(plain: Sequence[Any]) -> Parked:
    """Return the parked item that this list holds."""
    sid, seq, ordinal, record, attempts, due_ms, reason = plain
    return Parked(Key(Position(sid, seq), ordinal), record, attempts, due_ms, reason)


def counts_as_list(counts: Mapping[tuple[str, str], int]) -> list[Any]:
    """Return Outcomes as a plain list."""
    return [[kind, reason, number] for (kind, reason), number in counts.items()]


def counts_of(plain: Sequence[Any]) -> dict[tuple[str, str], int]:
    """Return the Outcomes that this list holds."""
    return {(kind, reason): number for kind, reason, number in plain}
