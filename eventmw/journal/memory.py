"""The journal in memory: fast, bounded, and gone with its process. The receipt says ``memory``.

A log of entries by sequence number and, for each tool, its place: an append, a read and a commit cost the same at any
depth of the backlog. What every tool has consumed is kept a while for replay and `scan`, and goes first when room is
needed. The caps count the bytes of records; Python's own share, about 300 bytes a record, comes on top.

Layer: input and output. See `eventmw.journal` for the words and the promises.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, Literal

from eventmw.errors import JournalDown
from eventmw.journal import (
    MOST_READ_BYTES,
    Commit,
    DeadLetter,
    Durability,
    Entry,
    JournalStats,
    Key,
    Parked,
    Position,
    Reading,
    Rewrite,
)
from eventmw.journal.memorylog import Log, logs
from eventmw.journal.place import Place
from eventmw.promise import Promise

_MIB: Final = 1024 * 1024
_NOTHING: Final[frozenset[int]] = frozenset()
_logger: Final = logging.getLogger(__name__)


class MemoryJournal:
    """A journal that keeps its log in this process's memory. See `eventmw.journal.Journal` for what each method promises.

    Args:
        cap_bytes: bytes of records and parked copies; `append` refuses what does not fit beside those that tools still need.
        retain_bytes: bytes of records that every tool has consumed, kept for replay and `scan`.
        dead_bytes: bytes of dead letters; over it the oldest go, each counted for its tool as `DEAD_EVICTED` (a forgotten
            tool has no counters any more).
        rewrite: takes a person out of a record, for `erase`.
    """

    def __init__(
        self,
        *,
        cap_bytes: int = 64 * _MIB,
        retain_bytes: int = 16 * _MIB,
        dead_bytes: int = 16 * _MIB,
        rewrite: Rewrite | None = None,
    ) -> None:
        self._rewrite = rewrite
        self._log = Log(cap_bytes, retain_bytes, dead_bytes)
        logs.add(self._log)

    @property
    def durability(self) -> Durability:
        """``memory``: what is appended lives as long as this process."""
        return "memory"

    def append(self, record: bytes, *, events: int, recorded_ms: int, stamp: int) -> Future[Position]:
        """Keep a record; the future is done when it is returned."""
        if events < 1:
            raise ValueError(f"a record holds at least one event, not {events}")
        log = self._log
        with log.lock:
            log.admit(len(record))
            position = Position(log.stream, log.appended.records + 1)
            log.add(Entry(position, recorded_ms, stamp, events, record))
            wake, log.wake = log.wake, None
        if wake is not None:
            _call(wake)
        done = Promise[Position]()
        done.set_result(position)
        return done

    def ready(self) -> str:
        """Return why no record would be taken now, or ""."""
        with self._log:
            if self._log.closed:
                return "the journal is closed: its process is stopping"
            wanted = min(max(1, self._log.refused_bytes), self._log.cap_bytes)
            full = self._log.needed + wanted > self._log.cap_bytes
            return "the journal is full until tools have delivered" if full else ""

    def register(self, tools: Sequence[str]) -> None:
        """Make tools known; a new one starts at the end of the log."""
        with self._log:
            for tool in tools:
                if tool not in self._log.places:
                    self._log.places[tool] = Place.at_end(self._log.appended)

    def forget(self, tool: str) -> None:
        """End a tool; its dead letters stay."""
        with self._log:
            if (place := self._log.places.pop(tool, None)) is not None:
                self._log.parked_bytes -= place.parking.bytes
                self._log.trim()

    def lead(self) -> _Lease | None:
        """Return the lease, or None while another is open. It reads from the places: what was not committed comes again."""
        log = self._log
        with log:
            if log.lease is not None:
                return None
            for place in log.places.values():
                place.cursor, place.moved = place.prefix, False
            log.lease = _Lease(log)
            return log.lease

    def on_append(self, wake: Callable[[], None] | None) -> None:
        """Have `wake` called once, after the next append."""
        with self._log:
            self._log.wake = wake

    def seek(self, tool: str, *, since_ms: int | None = None, to: Literal["start", "end"] | None = None) -> int:
        """Move a tool's place back among the records kept, or to the end."""
        if (since_ms is None) == (to is None):
            raise ValueError("seek needs one of since_ms and to")
        log = self._log
        with log:
            place, again = log.place(tool), 0
            if to == "end":
                place.move_to_end(log.appended)
            else:
                first = log.base + 1 if since_ms is None else log.first_since(since_ms)
                again = place.move_back(first, log.entries, log.appended)
            log.trim()
            return again

    def scan(self, after: Position | None = None, limit: int = 1000) -> list[Entry]:
        """Return kept records after a position, in log order; a position of another stream is before all of them."""
        log = self._log
        with log:
            seq = after.seq if after is not None and after.stream == log.stream else 0
            first = max(seq, log.base) + 1
            return [log.entries[seq] for seq in range(first, min(first + limit, log.appended.records + 1))]

    def dead_letters(self, tool: str | None = None) -> Iterator[DeadLetter]:
        """Return the dead letters of one tool or of all as they are now, oldest first."""
        with self._log:
            letters = tuple(self._log.dead.letters.values())
        return (letter for letter in letters if tool is None or letter.tool == tool)

    def revive(self, tool: str, keys: Iterable[Key], now_ms: int) -> int:
        """Park dead letters again, due now, as if never tried."""
        log, wanted = self._log, tuple(keys)
        with log:
            place = log.place(tool)
            letters = [letter for key in wanted if (letter := log.dead.exhume(tool, key)) is not None]
            log.settle(place, log.unsettled(place, (letter.key for letter in letters)))
            log.repark(place, Commit(park=[Parked(x.key, x.record, 0, now_ms, x.reason) for x in letters]))
            log.trim()
            return len(letters)

    def drop_dead(self, tool: str, keys: Iterable[Key]) -> int:
        """Throw dead letters away for good."""
        wanted = tuple(keys)
        with self._log:
            return sum(self._log.dead.exhume(tool, key) is not None for key in wanted)

    def erase(self, person: Mapping[str, Any]) -> Mapping[str, int]:
        """Erase a person from records, parked items and dead letters; what is read ahead is let go."""
        rewrite = self._rewrite
        if rewrite is None:
            raise ValueError("this journal does not know how a person is taken out of a record")
        with self._log:
            return self._log.erase(lambda record: rewrite(record, person))

    def stats(self) -> JournalStats:
        """Return where everything stands at one moment."""
        log = self._log
        with log:
            dead = Counter(tool for tool, _ in log.dead.letters)
            return JournalStats(
                durability=self.durability,
                records=log.kept.records,
                events=log.kept.events,
                bytes=log.kept.bytes + log.parked_bytes,
                cap_bytes=log.cap_bytes,
                appended_records=log.appended.records,
                appended_events=log.appended.events,
                tools=[
                    place.stats(tool, appended=log.appended, oldest=log.entries.get(place.prefix + 1), dead=dead[tool])
                    for tool, place in log.places.items()
                ],
            )

    def close(self, grace_s: float = 0.0) -> None:  # noqa: ARG002 - no append is ever under way: its future is born done
        """Take no more records. Leases and reading go on, so that a drain can finish."""
        with self._log:
            self._log.closed = True

    def rest(self, grace_s: float = 0.0) -> None:
        """Do nothing: it has no thread, and its memory is what it keeps."""

    def leave(self) -> None:
        """Do nothing: the memory goes with the journal."""


class _Lease:
    """The right to move places in a memory journal. See `eventmw.journal.Lease`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def read(self, tool: str, max_records: int) -> list[Reading]:
        """Return the next records; those that have nothing left for the tool are passed over."""
        log, size = self._log, 0
        readings: list[Reading] = []
        with log:
            if (place := self._place(tool)) is None:
                return readings
            seq = max(place.cursor, place.prefix)
            while len(readings) < max_records and size < MOST_READ_BYTES:
                if (entry := log.entries.get(seq + 1)) is None:
                    break
                seq += 1
                settled = place.beyond.get(seq, _NOTHING)
                if len(settled) < entry.events:
                    readings.append(Reading(entry, frozenset(settled)))
                    size += len(entry.record)
            place.cursor, place.moved = seq, False
        return readings

    def due(self, tool: str, now_ms: int, n: int) -> list[Parked]:
        """Return parked items that are due, the longest due first."""
        with self._log:
            place = self._place(tool)
            return [] if place is None else place.parking.due(now_ms, n)

    def next_due_ms(self, tool: str) -> int | None:
        """Return when the next parked item is due."""
        with self._log:
            place = self._place(tool)
            return None if place is None else place.parking.next_due_ms()

    def commit(self, tool: str, step: Commit) -> None:
        """Carry out one step of a tool."""
        with self._log:
            if (place := self._place(tool)) is not None:
                self._log.carry_out(tool, place, step)

    def settled(self, tool: str, key: Key) -> bool:
        """Return whether an event is settled for a tool."""
        with self._log:
            place = self._place(tool)
            (stream, seq), _ = key
            gone = stream != self._log.stream or seq <= self._log.base
            return gone or place is None or place.has_settled(key)

    def dirty(self, tool: str) -> bool:
        """Return whether `seek` has moved the tool's place since the last read."""
        with self._log:
            place = self._place(tool)
            return place is not None and place.moved

    def recall(self, after: bytes, limit: int) -> tuple[list[Entry], bytes]:
        """Return records of which some tool has settled something; a mark is a sequence number."""
        log = self._log
        with log:
            first = max(int(after or b"0"), log.base) + 1
            entries = [log.entries[seq] for seq in range(first, min(first + limit, log.reached() + 1))]
        return entries, b"%d" % entries[-1].position.seq if entries else after

    def reached(self) -> bytes:
        """Return the mark after the last record of which some tool has settled something."""
        with self._log:
            return b"%d" % self._log.reached()

    def keep(self, name: str, data: bytes | None) -> None:
        """Do nothing: whoever leads next is in this process, too."""

    def kept(self, name: str) -> bytes | None:  # noqa: ARG002 - nothing is kept
        """Return None: nothing is kept."""
        return None

    def note(self, name: str, text: str) -> None:
        """Note a text for as long as the journal lasts."""
        self._log.notes[name] = text

    def noted(self, name: str) -> str | None:
        """Return the text that was noted under a name."""
        return self._log.notes.get(name)

    def sync(self) -> None:
        """Do nothing: a commit is as durable at once as this journal makes records."""

    def tend(self) -> None:
        """Do nothing: a commit lets go of what is consumed, and nobody else has this memory."""

    def lost(self) -> bool:
        """Return whether this lease was closed, or belongs to the process that this one was forked from."""
        return self._log.lease is not self

    def close(self) -> None:
        """Give the right back."""
        with self._log:
            if self._log.lease is self:
                self._log.lease = None

    def _place(self, tool: str) -> Place | None:
        if self.lost():
            raise JournalDown("this lease was closed or is lost: ask the journal to lead again")
        return self._log.places.get(tool)


def _call(wake: Callable[[], None]) -> None:
    """Call a waker. The record is kept by now, so a waker that fails (its loop is gone) does not fail the request."""
    try:
        wake()
    except Exception:
        _logger.exception("the function given to on_append failed; delivery goes on at the courier's next look")
