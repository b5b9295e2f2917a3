"""The log behind the memory journal: entries by sequence number, the places of tools in it, and what may leave.

A forked child starts with an empty log of its own and the same tools: its parent still holds, and delivers, what was there.

Layer: input and output: it holds the lock around `eventmw.journal.place`, which is pure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Final
from weakref import WeakSet

from eventmw.errors import JournalDown, JournalFull
from eventmw.forks import after_fork_in_child
from eventmw.journal import DEAD_EVICTED, ERASED, Commit, DeadLetter, Entry, Key
from eventmw.journal.erasures import Erasures
from eventmw.journal.place import Graveyard, Place, Size


class Log:
    """What a journal and its lease share. ``with log:`` holds the lock; everything in here is used so."""

    def __init__(self, cap_bytes: int, retain_bytes: int, dead_cap_bytes: int) -> None:
        self.cap_bytes, self.retain_bytes, self.dead_cap_bytes = cap_bytes, retain_bytes, dead_cap_bytes
        self.closed = False
        self.places: dict[str, Place] = {}
        self.start_afresh()

    def start_afresh(self) -> None:
        """Be an empty log under a new stream name, with a free lock and the same tools."""
        self.lock = Lock()
        self.stream = os.urandom(8).hex()
        self.entries: dict[int, Entry] = {}
        self.appended, self.kept = Size(), Size()
        self.floor = self.consumed_bytes = self.parked_bytes = self.refused_bytes = 0
        self.dead = Graveyard(self.dead_cap_bytes)
        self.places = {tool: Place() for tool in self.places}
        self.erasures = Erasures()
        self.lease: object | None = None
        self.wake: Callable[[], None] | None = None
        self.notes: dict[str, str] = {}

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    @property
    def base(self) -> int:
        """The sequence number before the oldest record that is kept."""
        return self.appended.records - self.kept.records

    @property
    def needed(self) -> int:
        """The bytes that tools still need."""
        return self.kept.bytes - self.consumed_bytes + self.parked_bytes

    def admit(self, size: int) -> None:
        """Make room for a record of `size` bytes, or refuse it before anything is let go for it."""
        if self.closed:
            raise JournalDown("the memory journal is closed and takes no more records: its process is stopping")
        needed = self.needed
        if needed + size > self.cap_bytes:
            self.refused_bytes = size
            raise JournalFull(
                f"a record of {size} bytes does not fit: {needed} of the memory journal's {self.cap_bytes} bytes wait for "
                "tools. `eventmw stats` shows which tool is behind; cap_bytes gives more room"
            )
        self.refused_bytes = 0
        self.evict(room=size)

    def add(self, entry: Entry) -> None:
        """Put a record at the end."""
        self.entries[entry.position.seq] = entry
        self.appended.add(entry)
        self.kept.add(entry)
        if not self.places:
            self.trim()

    def trim(self) -> None:
        """Follow the place that is furthest behind: every tool has consumed what lies before it."""
        places = self.places
        floor = min([place.prefix for place in places.values()]) if places else self.appended.records
        while self.floor < floor:
            self.floor += 1
            self.consumed_bytes += len(self.entries[self.floor].record)
        while self.floor > floor:
            self.consumed_bytes -= len(self.entries[self.floor].record)
            self.floor -= 1
        self.evict()

    def evict(self, *, room: int = 0) -> None:
        """Let consumed records go, oldest first, while they are over their share or in the way of `room` bytes."""
        kept = self.kept
        while (self.consumed_bytes > self.retain_bytes or kept.bytes + self.parked_bytes + room > self.cap_bytes) and (
            base := self.base
        ) < self.floor:
            entry = self.entries.pop(base + 1)
            kept.remove(entry)
            self.consumed_bytes -= len(entry.record)

    def carry_out(self, tool: str, place: Place, step: Commit) -> None:
        """Carry out a tool's step whole, or pass it over whole when nothing in it is new."""
        step = self.erasures.applied(tool, step)
        keys = (*step.settled, *step.unpark, *(item.key for item in step.park), *(letter.key for letter in step.dead))
        fresh = self.unsettled(place, keys)
        if not fresh and place.parking.reflects(step):
            return
        self.settle(place, fresh)
        self.repark(place, step)
        place.counts.update(step.counts)
        for letter in step.dead:
            self.bury(letter)
        self.trim()

    def repark(self, place: Place, step: Commit) -> None:
        """Carry out what a step says of parked items, and keep their sum."""
        before = place.parking.bytes
        place.parking.carry_out(step)
        self.parked_bytes += place.parking.bytes - before

    def unsettled(self, place: Place, keys: Iterable[Key]) -> set[Key]:
        """Return those that are not settled.

        Raises:
            ValueError: a key names no event of this log.
        """
        fresh = {key for key in keys if key.position.stream != self.stream or not place.has_settled(key)}
        for key in fresh:
            (stream, seq), ordinal = key
            entry = self.entries.get(seq)
            if stream != self.stream or entry is None or not 0 <= ordinal < entry.events:
                raise ValueError(f"{key} names no event of this log; nothing was changed")
        return fresh

    def settle(self, place: Place, fresh: Iterable[Key]) -> None:
        """Settle events that were not, and move the place."""
        for key in fresh:
            place.settle(self.entries[key.position.seq], key.ordinal)
        place.advance(self.entries)

    def bury(self, letter: DeadLetter) -> None:
        """Keep a dead letter, and count those that leave for it."""
        for gone in self.dead.bury(letter):
            if (owner := self.places.get(gone.tool)) is not None:
                owner.counts[DEAD_EVICTED] += 1

    def place(self, tool: str) -> Place:
        """Return the place of a tool that an owner named.

        Raises:
            LookupError: it is not registered.
        """
        if (place := self.places.get(tool)) is None:
            known = ", ".join(sorted(self.places)) or "none"
            raise LookupError(f"no tool has the id {tool!r}; registered are: {known}")
        return place

    def reached(self) -> int:
        """Return the sequence number of the last record of which some tool has settled something."""
        return max((max(place.beyond, default=place.prefix) for place in self.places.values()), default=0)

    def erase(self, rewritten: Callable[[bytes], bytes | None]) -> dict[str, int]:
        """Take a person out of everything. Returns how many records, parked items and dead letters that were."""
        changed = {seq: new for seq, entry in self.entries.items() if (new := rewritten(entry.record)) is not None}
        for seq, record in changed.items():
            self.entries[seq] = self.entries[seq]._replace(record=record)
        ended = {
            (tool, key)
            for tool, place in self.places.items()
            for key, item in place.parking.items.items()
            if rewritten(item.record) is not None
        }
        self.erasures.note(rewritten, {self.stream: self.appended.records}, ended)
        for tool, place in self.places.items():
            self.erase_parked(place, [key for owner, key in ended if owner == tool])
        meant = [key for key, letter in self.dead.letters.items() if rewritten(letter.record) is not None]
        for tool, key in meant:
            self.dead.exhume(tool, key)
        return {"records": len(changed), "parked": len(ended), "dead": len(meant)}

    def erase_parked(self, place: Place, keys: Sequence[Key]) -> None:
        """End these parked items, and have the place read again."""
        if keys:
            self.repark(place, Commit(unpark=keys))
            place.counts[ERASED] += len(keys)
        place.restart()

    def first_since(self, since_ms: int) -> int:
        """Return the sequence number of the first kept record recorded then or later, else the one after the last."""
        kept = range(self.base + 1, self.appended.records + 1)
        return next((seq for seq in kept if self.entries[seq].recorded_ms >= since_ms), kept.stop)


logs: Final[WeakSet[Log]] = WeakSet()


def _after_fork_in_child() -> None:
    # A thread of the parent may have held a lock, which nobody here would ever release, or been in the middle of a change.
    for log in logs:
        log.start_afresh()


after_fork_in_child(_after_fork_in_child)
