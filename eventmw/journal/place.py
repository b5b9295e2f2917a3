"""Where one tool stands in a log: its place, what it has parked, what came of its events; and the dead letters of all.

The place is over one stream, by sequence number. Every step costs the same at any depth of the backlog; only
`Place.move_back` walks over it.

Layer: pure rules. No lock is in here and no clock: a journal holds its own lock around all of it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter

from eventmw.journal import SKIPPED, Commit, DeadLetter, Entry, Key, Parked, ToolStats

_due_ms = itemgetter(0)


@dataclass(slots=True)
class Size:
    """A running sum over records: how many, their events, their bytes."""

    records: int = 0
    events: int = 0
    bytes: int = 0

    def add(self, entry: Entry) -> None:
        """Count a record in."""
        self.records += 1
        self.events += entry.events
        self.bytes += len(entry.record)

    def remove(self, entry: Entry) -> None:
        """Count a record out."""
        self.records -= 1
        self.events -= entry.events
        self.bytes -= len(entry.record)

    def __sub__(self, other: Size) -> Size:
        return Size(self.records - other.records, self.events - other.events, self.bytes - other.bytes)


@dataclass(slots=True)
class Parking:
    """The events of one tool that wait for another attempt.

    ``queue`` holds (due_ms, key) of each, sorted: the longest due first, those due at once in log order. ``bytes`` is the
    sum of their copies.
    """

    items: dict[Key, Parked] = field(default_factory=dict[Key, Parked])
    queue: list[tuple[int, Key]] = field(default_factory=list[tuple[int, Key]])
    bytes: int = 0

    def put(self, item: Parked) -> None:
        """Park an item, in the place of one with the same key."""
        self.take(item.key)
        self.items[item.key] = item
        insort(self.queue, (item.due_ms, item.key))
        self.bytes += len(item.record)

    def take(self, key: Key) -> None:
        """Let an item go, if it is parked."""
        if (item := self.items.pop(key, None)) is not None:
            del self.queue[bisect_left(self.queue, (item.due_ms, key))]
            self.bytes -= len(item.record)

    def due(self, now_ms: int, n: int) -> list[Parked]:
        """Return up to `n` items that are due, the longest due first. They stay."""
        end = min(n, bisect_right(self.queue, now_ms, key=_due_ms))
        return [self.items[key] for _, key in self.queue[:end]]

    def next_due_ms(self) -> int | None:
        """Return when the next item is due, or None when there is none."""
        return self.queue[0][0] if self.queue else None

    def reflects(self, step: Commit) -> bool:
        """Return whether what is parked is already as this step would leave it."""
        again = {item.key: item for item in step.park}
        gone = (*step.unpark, *(letter.key for letter in step.dead))
        return all(self.items.get(key, item) == item for key, item in again.items()) and not any(
            key in self.items for key in gone if key not in again
        )

    def carry_out(self, step: Commit) -> None:
        """Let go what the step ends, then park what it parks: an item in both waits again."""
        for key in step.unpark:
            self.take(key)
        for letter in step.dead:
            self.take(letter.key)
        for item in step.park:
            self.put(item)


@dataclass(slots=True)
class Graveyard:
    """The dead letters of all tools, oldest first, within `cap_bytes` of copies."""

    cap_bytes: int
    letters: OrderedDict[tuple[str, Key], DeadLetter] = field(default_factory=OrderedDict[tuple[str, Key], DeadLetter])
    bytes: int = 0

    def bury(self, letter: DeadLetter) -> list[DeadLetter]:
        """Keep a letter instead of an older one of the same event. Returns those that had to leave, oldest first."""
        self.exhume(letter.tool, letter.key)
        self.letters[letter.tool, letter.key] = letter
        self.bytes += len(letter.record)
        gone: list[DeadLetter] = []
        while self.bytes > self.cap_bytes:
            gone.append(self.letters.popitem(last=False)[1])
            self.bytes -= len(gone[-1].record)
        return gone

    def exhume(self, tool: str, key: Key) -> DeadLetter | None:
        """Take a letter out and return it, if there is one."""
        if (letter := self.letters.pop((tool, key), None)) is not None:
            self.bytes -= len(letter.record)
        return letter


@dataclass(slots=True)
class Place:
    """One tool's place: everything up to ``prefix`` is settled, and some events beyond it.

    Attributes:
        prefix: the last sequence number of the contiguous prefix that is settled.
        beyond: sequence number → ordinals settled, for records after the prefix that have any.
        passed: all that is settled, since the log began; a record counts when its last event does. What was appended less
            this is the backlog.
        cursor: the last sequence number that the present lease has read.
        moved: the place was moved from outside since the lease's last read.
        parking: events that wait. They count as settled here.
        counts: Outcomes, (kind, reason) → how many.
    """

    prefix: int = 0
    beyond: dict[int, set[int]] = field(default_factory=dict[int, set[int]])
    passed: Size = field(default_factory=Size)
    cursor: int = 0
    moved: bool = False
    parking: Parking = field(default_factory=Parking)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    @classmethod
    def at_end(cls, appended: Size) -> Place:
        """Return the place of a new tool in a log to which so much was appended: nothing of it is for this tool."""
        return cls(prefix=appended.records, cursor=appended.records, passed=replace(appended))

    def has_settled(self, key: Key) -> bool:
        """Return whether this event ended, is parked or is buried."""
        seq = key.position.seq
        return seq <= self.prefix or key.ordinal in self.beyond.get(seq, ())

    def settle(self, entry: Entry, ordinal: int) -> None:
        """Settle one event that was not; `advance` then moves the prefix."""
        ordinals = self.beyond.setdefault(entry.position.seq, set())
        ordinals.add(ordinal)
        self.passed.events += 1
        if len(ordinals) == entry.events:
            self.passed.records += 1
            self.passed.bytes += len(entry.record)

    def advance(self, entries: Mapping[int, Entry]) -> None:
        """Move the prefix over every next record whose events are all settled."""
        while (ordinals := self.beyond.get(self.prefix + 1)) and len(ordinals) == entries[self.prefix + 1].events:
            self.prefix += 1
            del self.beyond[self.prefix]

    def move_back(self, first: int, entries: Mapping[int, Entry], appended: Size) -> int:
        """Take back what is settled from the record `first` on, but for what is parked: that will be due anyway.

        Returns how many events are not settled any more.
        """
        before = self.passed.events
        self.prefix = min(self.prefix, first - 1)
        self.beyond = {seq: ordinals for seq, ordinals in self.beyond.items() if seq < first}
        for key in self.parking.items:
            if key.position.seq > self.prefix:
                self.beyond.setdefault(key.position.seq, set()).add(key.ordinal)
        self.passed = appended - self._backlog(entries, appended.records)
        self.advance(entries)
        self.restart()
        return before - self.passed.events

    def move_to_end(self, appended: Size) -> None:
        """Pass over everything, and count as skipped what was not settled."""
        if skipped := appended.events - self.passed.events:
            self.counts[SKIPPED] += skipped
        self.prefix, self.passed = appended.records, replace(appended)
        self.beyond.clear()
        self.restart()

    def stats(self, tool: str, *, appended: Size, oldest: Entry | None, dead: int) -> ToolStats:
        """Return where the tool stands; `oldest` is the record after the prefix, `dead` counts its dead letters."""
        backlog = appended - self.passed
        return ToolStats(
            tool=tool,
            backlog_records=backlog.records,
            backlog_events=backlog.events,
            backlog_bytes=backlog.bytes,
            oldest_ms=None if oldest is None else oldest.recorded_ms,
            parked=len(self.parking.items),
            dead=dead,
            counts=dict(self.counts),
        )

    def _backlog(self, entries: Mapping[int, Entry], last: int) -> Size:
        left = Size()
        for seq in range(self.prefix + 1, last + 1):
            settled = len(self.beyond.get(seq, ()))
            if settled < entries[seq].events:
                left.add(entries[seq])
                left.events -= settled
        return left

    def restart(self) -> None:
        """Have what is not settled read again, from the place on."""
        self.cursor, self.moved = self.prefix, True
