"""Fills the archive from the journal: a job of the courier, with a place of its own, as a tool has.

What is read becomes rows on the courier's loop, in slices, is written by a thread, and then settled in the journal. A crash
in between does no harm: the database knows, from the same transaction, which records are rows, and no event is a row twice.
While the database is away the place stands, nobody else notices, and the journal keeps what waits.

An archive that has lost rows is filled again from what the journal holds: see `eventmw.archive.refill`.

An event that cannot be a row is a dead letter, synced before the cursor moves past it: `eventmw dead` shows it.

Layer: input and output. Everything in here runs on the courier's loop, but for what `_in_thread` is given. Logs never hold a
value.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from eventmw.archive import ARCHIVE
from eventmw.archive.batch import MAX_ROWS, Batch, step_of
from eventmw.archive.ledger import Deletion
from eventmw.archive.place import stamp_of
from eventmw.archive.refill import FILLING, NOTE, FillNote, Gap, decode
from eventmw.archive.refill import told as told_of_gap
from eventmw.archive.rows import Span, grown
from eventmw.archive.store import Archive, BadRows, Behind, Filled, Mark
from eventmw.archive.transactions import ArchiveAway
from eventmw.delivery.driver import Work
from eventmw.delivery.lane import LaneState
from eventmw.delivery.threads import DaemonPool
from eventmw.errors import ConfigError, told
from eventmw.journal import Lease, Position
from eventmw.retry import backoff_s

log = logging.getLogger("eventmw.archive")

LINGER_S: Final = 0.2
"""Seconds from one write to the next while there is little: a transaction costs a sync of the disk, whatever is in it."""

CHORES_S: Final = 600.0
"""How often retention is looked at."""

MAX_PAUSE_S: Final = 15.0

LOOK_S: Final = 5.0
"""How often an idle archive is looked at: whether it is the same file, or still has its rows."""

_DELETIONS: Final = "archive-deletions"
_MAX_DELETIONS: Final = 10_000
"""Deletions that are remembered beside the archive, the newest ones. Source: assumption."""

_CHORE_STEP_S: Final = 0.05
_MAX_REPORTS: Final = 100
_READ: Final = 64
_SETTLED_AT_ONCE: Final = 200
_JOURNAL: Final = "archive-journal"
_T = TypeVar("_T")


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
        self._note = FillNote(self._journal or "")
        self._is_noted, self._may_be_empty = True, False
        self._deletions = 0
        self._looked_s = 0.0
        self._spans: dict[str, Span] | None = None  # None: the database is to be opened
        self._batch = Batch(work.dispatcher)
        self._marks: Sequence[Mark | Filled] = ()
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
            except Behind:
                self._spans = None  # it is opened anew, and filled again
                await asyncio.sleep(LINGER_S)
            except Exception as error:  # noqa: BLE001 - the archive's trouble must not end the thread
                await self._pause(error)

    async def land(self, grace_s: float) -> bool:
        """Wait at most `grace_s` seconds for the batch that is being written, and settle it if it is."""
        under_way = self._thread
        if under_way is not None and not under_way.done():
            await asyncio.wait([under_way], timeout=grace_s)
        try:
            if self._is_writing and under_way is not None and under_way.done():
                self._note_rows(under_way.result())
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
        await self._look()
        if self._spans is None:
            spans, found, is_empty = await self._in_thread(self._open)
            await self._take_up(found, is_empty=is_empty)
            self._spans = {} if self._may_be_empty else dict(spans)  # of rows that are gone, the cursors say nothing
        if not self._is_written:
            await self._gather()
            self._is_idle = not self._batch.events
            await self._write()
            if self._is_idle and self._note.gap is not None and not self._note.gap.is_over:
                self._end_gap(self._note.gap)
        is_full = self._batch.is_full
        await self._settle()
        self._batch, self._is_written = Batch(self._work.dispatcher), False
        await self._do_chores()
        await self._keep_deletions()
        return is_full

    def _open(self) -> tuple[Mapping[str, Span], Filled, bool]:
        before, archive = self._archive.stamp, self._archive
        was_there = stamp_of(archive.engine)
        archive.open()
        archive.stamp = stamp_of(archive.engine)
        if self._journal is None:  # the memory of a process: it knows the file that it had
            is_another = before is not None and before != was_there
            return {}, Filled("", 0), is_another
        return archive.cursor(self._journal), *archive.filled(self._journal)

    async def _look(self) -> None:
        """Look whether the archive is the one that was opened, and has its rows; if not, it is opened anew."""
        if self._spans is None:
            return
        if self._archive.stamp is not None:
            if stamp_of(self._archive.engine) != self._archive.stamp:
                self._spans = None
        elif time.monotonic() - self._looked_s >= LOOK_S and self._journal is not None:
            self._looked_s = time.monotonic()
            found, is_empty = await self._in_thread(partial(self._archive.filled, self._journal))
            if found.rows < self._note.rows or (is_empty and self._note.rows and not self._may_be_empty):
                self._spans = None

    async def _take_up(self, found: Filled, *, is_empty: bool) -> None:
        """Compare the archive that was opened with what the journal remembers of it; what is missing is read again."""
        self._is_noted = True
        note = decode(self._lease.noted(NOTE)) if self._journal is not None else self._note
        self._note = (
            note if note is not None and note.journal == (self._journal or "") else FillNote(self._journal or "")
        )
        known, gap = self._note.rows, self._note.gap
        is_known_empty = gap is not None and gap.is_over and not gap.filled and gap.at_rows == known
        if self._journal is not None and found.rows < known:
            await self._refill(Gap(known - found.rows, found.wrote_ms, self._work.clock.now_ms(), known))
        elif is_empty and (known if self._journal is not None else True) and not is_known_empty:
            await self._refill(Gap(None, 0, self._work.clock.now_ms(), known))
        elif found.rows > known:
            self._note = msgspec.structs.replace(self._note, rows=found.rows)
            self._is_noted = False
        if self._note.gap is not None and not self._note.gap.is_over:  # the process before began to fill it
            self._archive.trouble = FILLING if self._note.gap.rows is not None else ""
        self._may_be_empty = is_empty

    async def _refill(self, gap: Gap) -> None:
        """Have everything read again that the journal still holds, before the archive says that it is whole."""
        before = self._note.gap
        oldest = next((tool.oldest_ms for tool in self._work.journal.stats().tools if tool.tool == ARCHIVE), None)
        gap = msgspec.structs.replace(gap, before_ms=gap.seen_ms + 1 if oldest is None else oldest)
        if before is not None and not before.is_over:  # what it had not filled yet waits beside what is new
            gap = msgspec.structs.replace(gap, before_ms=before.before_ms)
            if before.rows is not None and gap.rows is not None:
                rows = max(gap.rows, before.rows - before.filled)
                gap = msgspec.structs.replace(gap, rows=rows, since_ms=before.since_ms)
        if gap.rows is not None:
            log.error("the archive lacks %d rows that it had: it is filled again as far as the journal goes", gap.rows)
        self._note = msgspec.structs.replace(self._note, gap=gap)
        if self._journal is not None:
            self._lease.note(NOTE, self._note.encode())
        self._work.journal.seek(ARCHIVE, to="start")
        self._batch, self._is_written = Batch(self._work.dispatcher), False  # all of it is read again, under this lease
        self._lease.sync()
        deletions = _deletions_of(self._lease.kept(_DELETIONS))
        filled = Filled(self._journal or "", self._note.rows)
        if self._journal is not None:
            await self._in_thread(partial(self._archive.begin_refill, filled, deletions))

    def _end_gap(self, gap: Gap) -> None:
        """Say what came of a refill: the journal has nothing more to give."""
        gap = msgspec.structs.replace(gap, is_over=True)
        self._note, self._is_noted = msgspec.structs.replace(self._note, gap=gap), False
        self._archive.trouble = ""
        if gap.rows is not None or gap.filled:
            log.warning("%s", told_of_gap(gap))

    async def _keep_deletions(self) -> None:
        """Remember deletions beside the archive: one that is restored from a backup may not know them."""
        known = self._archive.ledger.deletions()
        if len(known) == self._deletions or self._journal is None:
            return
        self._deletions = len(known)
        newest = sorted(known, key=lambda deletion: deletion.made_ms)[-_MAX_DELETIONS:]
        await self._in_thread(partial(self._lease.keep, _DELETIONS, msgspec.json.encode(newest)))

    async def _gather(self) -> None:
        """Read until the batch is full or there is no more."""
        batch, pacer = self._batch, self._work.pacer
        if not batch.events:
            for parked in self._lease.due(ARCHIVE, self._work.clock.now_ms(), MAX_ROWS):
                batch.take_again(parked)
                await pacer.breathe()
        while not batch.is_full and (readings := self._lease.read(ARCHIVE, _READ)):
            for reading in readings:  # all of them: each comes once under this lease
                for _ in batch.take(reading, self._is_row):
                    await pacer.breathe()

    def _is_row(self, position: Position) -> bool:
        span = (self._spans or {}).get(position.stream)
        return span is not None and span.holds(position.seq)

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
                written = await self._in_thread(partial(self._archive.write, rows, marks))
            except BadRows as error:
                self._batch.set_aside(error.reasons)
            else:
                self._wrote_s = time.monotonic()
                self._note_rows(written)
                return
            finally:
                if self._thread is not None and self._thread.done():  # else the shift ends, and `land` waits
                    self._is_writing = False

    def _moved(self) -> Sequence[Mark | Filled]:
        """Return how far each stream is when this batch is written."""
        assert self._spans is not None
        if self._journal is None:
            return ()
        found = ((stream, grown(self._spans.get(stream), seqs)) for stream, seqs in self._batch.seqs.items())
        marks = [
            Mark(self._journal, stream, span)
            for stream, span in found
            if span is not None and span != self._spans.get(stream)
        ]
        return [*marks, Filled(self._journal, self._note.rows, may_be_empty=self._may_be_empty)]

    def _note_rows(self, written: int = 0) -> None:
        """Take note that the batch is in the database, `written` rows of it newly."""
        batch, spans = self._batch, self._spans
        self._is_writing, self._is_written = False, True
        if written > 0:
            self._count(written)
        batch.note_rows()
        if spans is not None:
            spans.update({mark.stream: mark.span for mark in self._marks if isinstance(mark, Mark)})

    def _count(self, written: int) -> None:
        self._may_be_empty, gap = False, self._note.gap
        if gap is not None and not gap.is_over:
            before_ms = gap.before_ms or gap.seen_ms + 1
            filled = gap.filled + min(written, sum(one.row["recorded_ms"] < before_ms for one in self._batch.waiting))
            gap = msgspec.structs.replace(gap, filled=filled if gap.rows is None else min(filled, gap.rows))
        self._note, self._is_noted = FillNote(self._note.journal, self._note.rows + written, gap), False

    async def _settle(self) -> None:
        """Settle what ended, in small steps; what is buried is durable afterwards.

        How many rows there are is noted first: an archive that is found with fewer has lost some.
        """
        if not self._is_noted and self._journal is not None:
            self._lease.note(NOTE, self._note.encode())
            self._is_noted = True
        ended, buried = self._batch.ended, False
        while ended:
            some = ended[:_SETTLED_AT_ONCE]
            self._work.pacer.make_room()
            self._lease.commit(ARCHIVE, step_of(some, self._work.clock.now_ms()))
            self._committed()
            del ended[:_SETTLED_AT_ONCE]
            for one in some:
                if one.letter is not None:
                    buried = True
                    self._report(one.reason)
            await self._work.pacer.breathe()
        if buried:
            self._lease.sync()

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
        wait_s = min(wait_s, LOOK_S)
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
    if (note := decode(lease.noted(NOTE))) is not None and note.journal:
        return note.journal
    found = lease.kept(_JOURNAL)
    if found is None:
        found = secrets.token_hex(16).encode()
        lease.keep(_JOURNAL, found)
    return found.decode()


def _deletions_of(kept: bytes | None) -> Sequence[Deletion]:
    try:
        return [] if kept is None else msgspec.json.decode(kept, type=list[Deletion])
    except msgspec.DecodeError:
        return []


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, ArchiveAway) else told(error)
