"""Fills the archive from the journal: a job of the courier, with a place of its own, as a tool has.

What is read becomes rows on the courier's loop, in slices, is written by a thread, and then settled in the journal. A crash
in between does no harm: the database knows, from the same transaction, which records are rows, and no event is a row twice.
While the database is away the place stands, nobody else notices, and the journal keeps what waits.

An event that cannot be a row is a dead letter, synced before the cursor moves past it: `eventmw dead` shows it.

Layer: input and output. Everything in here runs on the courier's loop, but for what `_in_thread` is given. Logs never hold a
value.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

from eventmw import record as records
from eventmw.archive import ARCHIVE
from eventmw.archive.rows import DIALECT, Span, grown, project_of, row_of
from eventmw.archive.store import Archive, BadRows, Mark
from eventmw.archive.tables import Row
from eventmw.archive.transactions import ArchiveAway
from eventmw.delivery.admission import UNREADABLE
from eventmw.delivery.driver import Work
from eventmw.delivery.lane import LaneState
from eventmw.delivery.threads import DaemonPool
from eventmw.errors import ConfigError, told
from eventmw.event import Event, Record
from eventmw.journal import Commit, DeadLetter, Entry, Key, Lease, Parked, Position, Reading
from eventmw.outcome import OutcomeKind
from eventmw.record import Erased
from eventmw.retry import backoff_s

log = logging.getLogger("eventmw.archive")

MAX_ROWS: Final = 2000
MAX_BYTES: Final = 4 * 1024 * 1024
"""A batch ends with the record that reaches one of these. It is held in memory."""

LINGER_S: Final = 0.2
"""Seconds from one write to the next while there is little: a transaction costs a sync of the disk, whatever is in it."""

CHORES_S: Final = 600.0
"""How often retention is looked at."""

MAX_PAUSE_S: Final = 15.0

_CHORE_STEP_S: Final = 0.05
_MAX_REPORTS: Final = 100
_READ: Final = 64
_SETTLED_AT_ONCE: Final = 200
_JOURNAL: Final = "archive-journal"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Ended:
    """How one event ended. ``letter`` is a copy of it that is to be buried; `parked`: it was tried again."""

    key: Key
    kind: OutcomeKind
    reason: str = ""
    letter: bytes | None = None
    parked: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An event that is to become a row, and where it stands: at `ordinal` in `record`."""

    key: Key
    row: Row
    record: bytes
    ordinal: int
    parked: bool = False


@dataclass(slots=True)
class _Batch:
    """What was read and is not settled yet. ``seqs``: stream → the records of it, in order."""

    waiting: list[_Waiting] = field(default_factory=list[_Waiting])
    ended: list[_Ended] = field(default_factory=list[_Ended])
    seqs: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    bytes: int = 0
    events: int = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be read."""
        return self.events >= MAX_ROWS or self.bytes >= MAX_BYTES


class Filler:
    """The job. One for each process.

    Args:
        archive: what is filled.
        lasting: whether the journal outlives the process: only then does the database keep a cursor for it.
        days: how old events may become; None for no limit.
    """

    id = ARCHIVE

    def __init__(self, archive: Archive, *, lasting: bool, days: int | None = None) -> None:
        self.archive = archive
        self.lasting = lasting
        self.days = days

    def begin(self, work: Work, lease: Lease, committed: Callable[[], None]) -> Filling:
        """Begin under a lease."""
        return Filling(self, work, lease, committed)


class Filling:
    """Filling the archive while one lease is held.

    Attributes:
        kick: set to have it look for work.
    """

    def __init__(self, filler: Filler, work: Work, lease: Lease, committed: Callable[[], None]) -> None:
        self.kick = asyncio.Event()
        self._archive = filler.archive
        self._days = filler.days
        self._work = work
        self._lease = lease
        self._committed = committed
        self._pool = DaemonPool("eventmw-archive", 1)
        self._journal = _journal_of(lease) if filler.lasting else None
        self._spans: dict[str, Span] | None = None  # None: the database is to be opened
        self._batch = _Batch()
        self._marks: Sequence[Mark] = ()
        self._thread: asyncio.Future[Any] | None = None
        self._is_writing = self._is_written = False
        self._wrote_s = self._chores_s = 0.0
        self._expiring: Iterator[int] | None = None
        self._begun = self._finished = 0
        self._is_idle = False
        self._failures = 0
        self._trouble = ""
        self._probe_s = 0.0
        self._reported: set[str] = set()

    def state(self) -> LaneState:
        """Return how it is doing. May be called from any thread."""
        if not self._failures:
            return LaneState("flowing", 0, None, len(self._batch.waiting), "")
        wait_ms = max(0, round(1000 * (self._probe_s - time.monotonic())))
        return LaneState("standing", self._failures, self._work.clock.now_ms() + wait_ms, 0, self._trouble)

    async def run(self) -> None:
        """Read, write, settle, for ever."""
        while True:
            self.kick.clear()
            self._begun += 1
            try:
                is_more = await self._turn()
                self._recover()
                self._finished = self._begun
                if not is_more:
                    await self._rest()
            except Exception as error:  # noqa: BLE001 - the archive's trouble must not end the thread
                await self._pause(error)

    async def land(self, grace_s: float) -> bool:
        """Wait at most `grace_s` seconds for the batch that is being written, and settle it if it is."""
        under_way = self._thread
        if under_way is not None and not under_way.done():
            await asyncio.wait([under_way], timeout=grace_s)
        try:
            if self._is_writing and under_way is not None and under_way.done():
                under_way.result()
                self._note_rows()
            if self._is_written:
                await self._settle()
        except Exception as error:  # noqa: BLE001 - it is read again, and passed over if it was written
            log.debug("the last batch was not settled: %s", told(error))
        self._pool.close()
        return under_way is None or under_way.done()

    async def has_drained(self) -> bool:
        """Return whether, looking anew, it finds nothing; False while the database is away."""
        mark = self._begun
        self.kick.set()
        while self._finished <= mark and not self._failures:  # noqa: ASYNC110 - rare, and bounded
            await asyncio.sleep(0.005)
        return self._is_idle and not self._failures

    async def _turn(self) -> bool:
        """Carry one batch through. What failed is taken up where it was. Returns whether there is more at once."""
        if self._spans is None:
            self._spans = dict(await self._in_thread(self._open))
        if not self._is_written:
            await self._gather()
            self._is_idle = not self._batch.events
            await self._write()
        is_full = self._batch.is_full
        await self._settle()
        self._batch, self._is_written = _Batch(), False
        await self._do_chores()
        return is_full

    def _open(self) -> Mapping[str, Span]:
        self._archive.open()
        return {} if self._journal is None else self._archive.cursor(self._journal)

    async def _gather(self) -> None:
        """Read until the batch is full or there is no more."""
        batch, pacer = self._batch, self._work.pacer
        if not batch.events:
            for parked in self._lease.due(ARCHIVE, self._work.clock.now_ms(), MAX_ROWS):
                self._take_again(parked)
                await pacer.breathe()
        while not batch.is_full and (readings := self._lease.read(ARCHIVE, _READ)):
            for reading in readings:  # all of them: each comes once under this lease
                for _ in self._take(reading):
                    await pacer.breathe()

    def _take_again(self, parked: Parked) -> None:
        """Take up a dead letter that somebody wants to be tried again."""
        self._batch.events += 1
        self._batch.bytes += len(parked.record)
        try:
            decoded = records.decode(parked.record)
            event = next(self._work.dispatcher.events(parked.record))
        except Exception as error:  # noqa: BLE001 - as in `_take`
            self._batch.ended.append(_Ended(parked.key, "tool_error", _unreadable(error), parked.record, parked=True))
        else:
            self._add(parked.key, event, decoded, parked.record, 0, parked=True)

    def _take(self, reading: Reading) -> Iterator[None]:
        """Take in one record's events, one a step."""
        entry, batch = reading.entry, self._batch
        wanted = [ordinal for ordinal in range(entry.events) if ordinal not in reading.settled]
        batch.events += len(wanted)
        batch.bytes += len(entry.record)
        batch.seqs.setdefault(entry.position.stream, []).append(entry.position.seq)
        try:
            decoded = records.decode(entry.record)
        except Exception as error:  # noqa: BLE001 - a damaged record must not stop the archive
            self._bury(entry, wanted, _unreadable(error))
        else:
            if decoded.dialect != DIALECT:
                self._end(entry, wanted, "filtered", "dialect")
            elif self._is_written_already(entry.position):
                self._end(entry, wanted, "delivered")
            else:
                yield from self._read_events(entry, decoded, wanted)
        yield

    def _is_written_already(self, position: Position) -> bool:
        span = (self._spans or {}).get(position.stream)
        return span is not None and span.holds(position.seq)

    def _read_events(self, entry: Entry, decoded: Record, wanted: Sequence[int]) -> Iterator[None]:
        seen, still_open, trouble = 0, frozenset(wanted), UNREADABLE
        try:
            for event in islice(self._work.dispatcher.events(entry.record), entry.events):
                if seen in still_open:
                    self._add(Key(entry.position, seen), event, decoded, entry.record, seen)
                seen += 1
                yield
        except Exception as error:  # noqa: BLE001 - as above
            trouble = _unreadable(error)
        self._bury(entry, [ordinal for ordinal in wanted if ordinal >= seen], trouble)

    def _add(
        self, key: Key, event: Event | Erased, decoded: Record, record: bytes, ordinal: int, *, parked: bool = False
    ) -> None:
        if isinstance(event, Erased):
            self._batch.ended.append(_Ended(key, "erased", parked=parked))
            return
        row = row_of(event, project_of(decoded.credential))
        self._batch.waiting.append(_Waiting(key, row, record, ordinal, parked))

    def _end(self, entry: Entry, ordinals: Iterable[int], kind: OutcomeKind, reason: str = "") -> None:
        self._batch.ended += [_Ended(Key(entry.position, ordinal), kind, reason) for ordinal in ordinals]

    def _bury(self, entry: Entry, ordinals: Iterable[int], reason: str) -> None:
        copy = entry.record
        for ordinal in ordinals:
            self._batch.ended.append(_Ended(Key(entry.position, ordinal), "tool_error", reason, copy))
            copy = b""  # once is enough, as in the lanes

    async def _write(self) -> None:
        """Write the batch. What cannot be a row is buried first, and then the rest is written."""
        while True:
            await self._settle()
            self._marks = self._moved()
            if not self._batch.waiting:  # a cursor that stays behind costs nothing, and a transaction does
                self._note_rows()
                return
            rows, marks = [one.row for one in self._batch.waiting], self._marks
            self._is_writing = True
            try:
                await self._in_thread(partial(self._archive.write, rows, marks))
            except BadRows as error:
                self._set_aside(error.reasons)
            else:
                self._wrote_s = time.monotonic()
                self._note_rows()
                return
            finally:
                if self._thread is not None and self._thread.done():  # else the shift ends, and `land` waits
                    self._is_writing = False

    def _moved(self) -> Sequence[Mark]:
        """Return how far each stream is when this batch is written."""
        assert self._spans is not None
        if self._journal is None:
            return ()
        found = ((stream, grown(self._spans.get(stream), seqs)) for stream, seqs in self._batch.seqs.items())
        return [
            Mark(self._journal, stream, span)
            for stream, span in found
            if span is not None and span != self._spans.get(stream)
        ]

    def _set_aside(self, reasons: Mapping[int, str]) -> None:
        batch, single = self._batch, self._work.dispatcher.single
        for index, reason in reasons.items():
            one = batch.waiting[index]
            why = f"the database refuses it: {reason}"
            batch.ended.append(_Ended(one.key, "rejected", why, single(one.record, one.ordinal), one.parked))
        batch.waiting = [one for index, one in enumerate(batch.waiting) if index not in reasons]

    def _note_rows(self) -> None:
        """Take note that the batch is in the database."""
        batch, spans = self._batch, self._spans
        self._is_writing, self._is_written = False, True
        batch.ended += [_Ended(one.key, "delivered", parked=one.parked) for one in batch.waiting]
        batch.waiting = []
        if spans is not None:
            spans.update({mark.stream: mark.span for mark in self._marks})

    async def _settle(self) -> None:
        """Settle what ended, in small steps; what is buried is durable afterwards."""
        ended, buried = self._batch.ended, False
        while ended:
            some = ended[:_SETTLED_AT_ONCE]
            self._work.pacer.make_room()
            self._lease.commit(ARCHIVE, self._step(some))
            self._committed()
            del ended[:_SETTLED_AT_ONCE]
            for one in some:
                if one.letter is not None:
                    buried = True
                    self._report(one.reason)
            await self._work.pacer.breathe()
        if buried:
            self._lease.sync()

    def _step(self, ended: Sequence[_Ended]) -> Commit:
        now_ms = self._work.clock.now_ms()
        return Commit(
            settled=[one.key for one in ended if one.letter is None and not one.parked],
            unpark=[one.key for one in ended if one.letter is None and one.parked],
            dead=[
                DeadLetter(ARCHIVE, one.key, one.letter, one.kind, one.reason, 1, now_ms)
                for one in ended
                if one.letter is not None
            ],
            counts=Counter((one.kind, one.reason) for one in ended),
        )

    def _report(self, reason: str) -> None:
        if reason not in self._reported and len(self._reported) < _MAX_REPORTS:
            self._reported.add(reason)
            log.error("the archive buries events, which `eventmw dead list` shows: %s", reason)

    async def _do_chores(self) -> None:
        """Delete what is too old, one step a turn, and tidy up."""
        if self._expiring is None and time.monotonic() >= self._chores_s:
            self._chores_s = time.monotonic() + CHORES_S
            await self._in_thread(self._archive.tidy)
            self._expiring = None if self._days is None else self._archive.expire(self._days)
        if self._expiring is not None and await self._in_thread(partial(next, self._expiring, None)) is None:
            self._expiring = None

    async def _in_thread(self, function: Callable[[], _T]) -> _T:
        """Have a thread call it. It goes on when the shift ends, and `land` waits for it."""
        under_way: asyncio.Future[_T] = asyncio.wrap_future(self._pool.submit(function))
        self._thread = under_way
        return await asyncio.shield(under_way)

    async def _rest(self) -> None:
        """Wait until somebody kicks, or something is due; then let some company come."""
        wait_s = _CHORE_STEP_S if self._expiring is not None else max(0.0, self._chores_s - time.monotonic())
        if (due_ms := self._lease.next_due_ms(ARCHIVE)) is not None:
            wait_s = min(wait_s, max(0, due_ms - self._work.clock.now_ms()) / 1000)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self.kick.wait()
        await asyncio.sleep(max(0.0, self._wrote_s + LINGER_S - time.monotonic()))

    async def _pause(self, error: Exception) -> None:
        self._failures += 1
        self._trouble = _words(error)
        if isinstance(error, ArchiveAway | ConfigError):
            self._spans, self._expiring = None, None  # it may be another database when it is there again
        if self._failures == 1:
            log.warning("the archive stands still and will try again; events wait in the journal: %s", self._trouble)
        wait_s = backoff_s(self._failures, first_s=0.2, max_s=MAX_PAUSE_S, random=self._work.clock.random())
        self._probe_s = time.monotonic() + wait_s
        await asyncio.sleep(wait_s)

    def _recover(self) -> None:
        if self._failures:
            self._failures, self._trouble = 0, ""
            log.warning("the archive is filled again")  # at the level of what it ends


def _journal_of(lease: Lease) -> str:
    """Return what names this journal in the database; chosen by the first who fills."""
    found = lease.kept(_JOURNAL)
    if found is None:
        found = secrets.token_hex(16).encode()
        lease.keep(_JOURNAL, found)
    return found.decode()


def _unreadable(error: Exception) -> str:
    return f"{UNREADABLE}: {type(error).__name__}"


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, ArchiveAway) else told(error)
