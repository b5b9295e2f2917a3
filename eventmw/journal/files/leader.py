"""The leader: it holds the one lock of a data directory, reads for the tools, and moves their places.

Every method of the lease takes the leader's lock, since commands come from other threads; what it does is in memory, and in
one write to the state. What takes longer (adoption, retirement, commands) is done by `Leader.tend`, some times a second.

Layer: input and output. Thread-safe.
Source: JOURNAL.md «Reader», «State», «Retirement».
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from eventmw.errors import JournalDown
from eventmw.journal import DEAD_EVICTED, MOST_READ_BYTES, Commit, Entry, Key, Parked, Position, Reading
from eventmw.journal.erasures import Erasures
from eventmw.journal.files.epochs import Epochs, Reserve, take_up
from eventmw.journal.files.frames import Total
from eventmw.journal.files.graves import Graves
from eventmw.journal.files.heartbeat import Heartbeat, encoded
from eventmw.journal.files.kept import Kept
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.locks import Board, Lock
from eventmw.journal.files.places import Facts, ToolPlace
from eventmw.journal.files.recalling import Recalling
from eventmw.journal.files.registry import Tools
from eventmw.journal.files.sources import Merge, Sources

log = logging.getLogger("eventmw.journal")

_NOTHING: Final[frozenset[int]] = frozenset()


class Leader:
    """The right to move places in one data directory; see `eventmw.journal.Lease`.

    Args:
        places: the data directory.
        lock: the leader's lock, held.
        dead_bytes: bytes of dead letters.

    Attributes:
        erasures: what this lease erased.
        resting: streams that ended and are consumed, which everybody was told; a place that is moved may wake them.

    Raises:
        OSError: the state cannot be read, or written anew.
    """

    def __init__(self, places: Layout, lock: Lock, dead_bytes: int) -> None:
        self.lock = threading.RLock()
        self.places = places
        self._held = lock
        self._open = True
        self.ledger = take_up(places)
        self.graves = Graves(places, self.ledger.number, dead_bytes)
        self.reserve = Reserve(places)
        self.sources = Sources(places, leading=True)
        self.merges: dict[str, Merge] = {}
        self._recalling = Recalling(self.sources, self.ledger)
        self._gauge = Board(places.gauge, create=True)
        self.resting: set[str] = set()
        self.erasures = Erasures()
        self.registry = Tools(places)
        self._kept = Kept(places.kept)
        try:
            self.sources.take_over()
            self._mend()
            self.epochs = Epochs(places, self.ledger, self.reserve)
        except BaseException:
            self._close_files()
            raise
        self.tell()

    def _mend(self) -> None:
        """Put right what a leader that died left between two steps."""
        self.ledger.tools.update(list(self._new_tools()))  # they are in the snapshot that is written next
        self.graves.lay_ghosts(self._comes_again)
        self.ledger.number = self.graves.number
        for tool, place in self.ledger.tools.items():
            place.moved = False
            self.graves.dig_out(self.ledger.number, tool, list(place.parking.items))
            self._count_letters(tool, place)
            for sid in place.reaches.keys() - self.sources.all.keys():
                del place.reaches[sid]

    def _comes_again(self, tool: str, key: Key) -> bool:
        """Return whether an event is still to be delivered: its dead letter may go, since it is not the only copy."""
        place = self.ledger.tools.get(tool)
        source = self.sources.all.get(key.position.stream)
        if place is None or key in place.parking.items:
            return place is not None
        return source is not None and not place.has_settled(key) and source.find(key.position.seq) is not None

    def _count_letters(self, tool: str, place: ToolPlace) -> None:
        left = self.graves.index.count(tool)
        if left < place.dead:
            log.warning(
                "tool %s: %d of its %d dead letters are not there: what is missing was damaged, or was being let go of when "
                "the last process that delivered ended",
                tool,
                place.dead - left,
                place.dead,
            )
        place.dead = left

    def read(self, tool: str, max_records: int) -> list[Reading]:
        """Return the next records for a tool, in order."""
        with self.lock:
            readings: list[Reading] = []
            size = 0
            if (place := self._place(tool)) is None:
                return readings
            place.moved = False
            if max_records < 1:
                return readings
            for found in self._merge(tool).take(self.sources.horizon()):
                sid, seq = found.entry.position
                reach = place.reach(sid)
                self._pass_holes(place, sid)
                if seq <= reach.total.seq:
                    continue
                reach.open[seq] = found.facts
                settled = reach.beyond.get(seq, _NOTHING)
                if len(settled) < found.entry.events:
                    readings.append(Reading(found.entry, frozenset(settled)))
                    size += len(found.entry.record)
                    if len(readings) == max_records or size >= MOST_READ_BYTES:
                        break
            return readings

    def due(self, tool: str, now_ms: int, n: int) -> list[Parked]:
        """Return parked items that are due, the longest due first."""
        with self.lock:
            place = self._place(tool)
            return [] if place is None else place.parking.due(now_ms, n)

    def next_due_ms(self, tool: str) -> int | None:
        """Return when the next parked item is due."""
        with self.lock:
            place = self._place(tool)
            return None if place is None else place.parking.next_due_ms()

    def commit(self, tool: str, step: Commit) -> None:
        """Carry out one step of a tool: dead letters durably first, then everything in one write."""
        with self.lock:
            if (place := self._place(tool)) is None:
                return
            step = self.erasures.applied(tool, step)
            fresh = self._fresh(place, step)
            if not fresh and place.parking.reflects(step):
                return
            if step.dead:
                self._bury(tool, step)
            self.epochs.write(self.ledger.commit(tool, step, fresh, self.graves.index.count(tool)))

    def settled(self, tool: str, key: Key) -> bool:
        """Return whether an event is settled for a tool. A stream that is gone was settled whole."""
        with self.lock:
            place = self._place(tool)
            return place is None or key.position.stream not in self.sources.all or place.has_settled(key)

    def dirty(self, tool: str) -> bool:
        """Return whether somebody moved the tool's place since its last read."""
        with self.lock:
            place = self._place(tool)
            return place is not None and place.moved

    def recall(self, after: bytes, limit: int) -> tuple[list[Entry], bytes]:
        """Return records of which some tool has settled something, in order."""
        with self.lock:
            self._check()
            return self._recalling.page(after, limit)

    def reached(self) -> bytes:
        """Return the mark after the last record of which some tool has settled something."""
        with self.lock:
            self._check()
            return self._recalling.end()

    def keep(self, name: str, data: bytes | None) -> None:
        """Keep bytes for the next leader."""
        self._check()
        self._kept.put(name, data)

    def kept(self, name: str) -> bytes | None:
        """Return what an earlier leader kept, if it is whole."""
        return self._kept.get(name)

    def note(self, name: str, text: str) -> None:
        """Note a text in the state."""
        with self.lock:
            self._check()
            self.epochs.write(self.ledger.note(name, text))

    def noted(self, name: str) -> str | None:
        """Return the text that was noted under a name."""
        with self.lock:
            return self.ledger.noted(name)

    def sync(self) -> None:
        """Make every step so far durable."""
        with self.lock:
            self._check()
            self.epochs.sync()
            self.tell()

    def lost(self) -> bool:
        """Return whether the right is gone: also when the lock's file is, since another process may lock a new one."""
        return not (self._open and self._held.is_current())

    def close(self) -> None:
        """Give the right back."""
        with self.lock:
            if not self._open:
                return
            self._open = False
            try:
                self.epochs.sync()
            except JournalDown:
                log.exception("the last places could not be made durable; their events may go out again")
            self.epochs.close()
            self._close_files()

    def abandon(self) -> None:
        """Close what a forked child inherited. The parent leads on."""
        self.lock = threading.RLock()
        self._open = False
        self.epochs.close()
        self._close_files()

    def begin_anew(self) -> None:
        """Write the state anew, without what it once said, and have every lane let go of what it read ahead."""
        with self.lock:
            for tool, place in self.ledger.tools.items():
                place.dead = self.graves.index.count(tool)
                place.moved = True
            self.merges.clear()
            self._recalling = Recalling(self.sources, self.ledger)
            self.epochs.renew()

    def known(self, tool: str) -> ToolPlace:
        """Return the place of a tool that an owner named.

        Raises:
            LookupError: it is not registered.
        """
        self._check()
        self.learn_tools()
        if (place := self.ledger.tools.get(tool)) is None:
            known = ", ".join(sorted(self.ledger.tools)) or "none"
            raise LookupError(f"no tool has the id {tool!r}; registered are: {known}")
        return place

    def learn_tools(self) -> None:
        """Take in the tools that processes have registered."""
        for tool, place in self._new_tools():
            self.resting.clear()
            self.epochs.write(self.ledger.place(tool, place))

    def _new_tools(self) -> Iterator[tuple[str, ToolPlace]]:
        for tool, start in self.registry.starts():
            if tool not in self.ledger.tools:
                place = ToolPlace(dead=self.graves.index.count(tool))
                for sid, end in start.items():
                    place.reach(sid).move_to(end)
                yield tool, place

    def floor(self, sid: str, end: Total) -> Total:
        """Return what of a stream every tool has consumed."""
        return min((place.reach(sid).total for place in self.ledger.tools.values()), default=end)

    def tell(self) -> None:
        """Tell all writers what is consumed, and what is parked or waits in streams that ended."""
        every = self.sources.all
        self.resting &= every.keys()
        floors = {sid: self.floor(sid, every[sid].end()) for sid in every.keys() - self.resting}
        waiting = sum(every[sid].end().bytes - floor.bytes for sid, floor in floors.items() if every[sid].dead)
        parked = sum(place.parking.bytes for place in self.ledger.tools.values())
        self._gauge.post(Total(0, 0, parked + max(0, waiting)))
        for sid, floor in floors.items():
            if every[sid].tell(floor) and every[sid].dead and floor.seq >= every[sid].end().seq:
                self.resting.add(sid)

    def evict_dead(self) -> None:
        """Let the oldest dead letters go while there are too many, and count them."""
        with self.lock:
            for tool, number in self.graves.evict().items():
                if tool in self.ledger.tools and number:
                    buried = self.graves.index.count(tool)
                    self.epochs.write(self.ledger.count(tool, {DEAD_EVICTED: number}, buried))

    def say(self, heartbeat: Heartbeat) -> None:
        """Show that this process leads, unless the disk has no room for that."""
        with suppress(OSError):
            self._held.write(encoded(heartbeat))

    def oldest_ms(self, tool: str, ends: Mapping[str, Total]) -> int | None:
        """Return when the oldest record was recorded that has something left for a tool."""
        place = self.ledger.tools[tool]
        found = [
            moment
            for sid, end in ends.items()
            if place.reach(sid).left(end).events and (moment := self._first_ms(tool, sid)) is not None
        ]
        return min(found, default=None)

    def _check(self) -> None:
        if not self._open:
            raise JournalDown("this lease was closed or is lost: ask the journal to lead again")

    def _place(self, tool: str) -> ToolPlace | None:
        self._check()
        place = self.ledger.tools.get(tool)
        if place is None:
            self.learn_tools()
            place = self.ledger.tools.get(tool)
        return place

    def _merge(self, tool: str) -> Merge:
        merge = self.merges.get(tool)
        if merge is None:
            place = self.ledger.tools[tool]
            merge = self.merges[tool] = Merge(self.sources, lambda sid: place.reach(sid).total.seq)
        return merge

    def _pass_holes(self, place: ToolPlace, sid: str) -> None:
        if holes := self.sources.all[sid].segments.holes:
            reach = place.reach(sid)
            reach.holes.update({first: last for first, last in holes.items() if last > reach.total.seq})
            reach.advance()

    def _fresh(self, place: ToolPlace, step: Commit) -> dict[Position, tuple[Facts, set[int]]]:
        """Return the events of a step that are not settled, by record.

        Raises:
            ValueError: a key names no event of this log.
        """
        fresh: dict[Position, tuple[Facts, set[int]]] = {}
        for key in (*step.settled, *(item.key for item in step.park), *(letter.key for letter in step.dead)):
            self.note_fresh(place, key, fresh, strict=True)
        for key in step.unpark:
            self.note_fresh(place, key, fresh)
        return fresh

    def note_fresh(
        self, place: ToolPlace, key: Key, fresh: dict[Position, tuple[Facts, set[int]]], *, strict: bool = False
    ) -> None:
        """Put an event into `fresh`, with its record's facts, unless it is settled.

        Raises:
            ValueError: it names no event of this log, and `strict` says that it must.
        """
        if place.has_settled(key) or key.position.stream in self.sources.gone:
            return
        position, ordinal = key
        known = fresh.get(position)
        facts = known[0] if known is not None else self.facts(place, position)
        if facts is not None and 0 <= ordinal < facts.events:
            fresh.setdefault(position, (facts, set()))[1].add(ordinal)
        elif strict:
            raise ValueError(f"{key} names no event of this log; nothing was changed")

    def facts(self, place: ToolPlace, position: Position) -> Facts | None:
        """Return what is known of a record, or look it up."""
        source = self.sources.all.get(position.stream)
        if source is None:
            self.sources.follow()
            source = self.sources.all.get(position.stream)
        if source is None:
            return None
        facts = place.reach(position.stream).open.get(position.seq)
        if facts is None:
            found = source.find(position.seq)
            facts = None if found is None else found.facts
        return facts

    def _bury(self, tool: str, step: Commit) -> None:
        try:
            self.graves.bury(self.ledger.number + 1, tool, step.dead)
        except OSError as error:
            self.reserve.give_up()
            raise JournalDown(f"dead letters cannot be written: {error.strerror or error}") from error

    def _first_ms(self, tool: str, sid: str) -> int | None:
        reach = self.ledger.tools[tool].reach(sid)
        first = reach.first_open()
        if first in reach.open:
            return reach.open[first].recorded_ms
        head = self.merges[tool].head_ms(sid) if tool in self.merges else None
        if head is not None and head[0] == first:
            return head[1]
        found = self.sources.all[sid].find(first)
        return None if found is None else found.entry.recorded_ms

    def _close_files(self) -> None:
        self.graves.close()
        self.sources.close()
        self._gauge.close()
        self._held.release()
