"""The writer: many requests, one sync.

Requests put their records into a queue and get a future; one thread writes all that waits, syncs once, and then tells all
of them. While it syncs, the next ones gather. The thread starts with the first append, and so does the stream.

Layer: input and output. Thread-safe.
Source: JOURNAL.md «Writer».
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from errno import EMFILE, ENFILE, ENOENT
from typing import Final

from eventmw.errors import EventmwError, JournalDown, JournalFull
from eventmw.journal import Position
from eventmw.journal.files import disk, frames
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.room import LOOK_S, Room
from eventmw.journal.files.stream import Addition, Stream
from eventmw.promise import Promise

log = logging.getLogger("eventmw.journal")

THREAD_NAME: Final = "eventmw-journal"
IDLE_S: Final = 60.0
"""A stream without events for so long, all of which were consumed, is sealed; but not before its records' time is over:
until then nothing is gained, and another stream would be kept beside it. Source: JOURNAL.md «Writer» 5."""

RETRY_S: Final = 1.0
"""How long a disk that refused is left alone: its next record tries again. An owner sees it work within 5 s of room."""

SIBLINGS: Final = 3
GATHER_S: Final = 0.002
"""So long at most a commit waits for others, when the one before had `SIBLINGS` records or more."""

WAITING_RECORDS: Final = 10_000
WAITING_BYTES: Final = 64 * 1024 * 1024
"""So much may wait for the disk, in one process; past it, records are refused at once. It is more than a disk keeps in
`Limits.append_timeout_s` when it is slow, so who is refused would have waited in vain; and a disk that hangs, which holds
records whose requests were answered 503 long ago, cannot fill the memory. Source: assumption."""

_STEP_S: Final = 0.0002
_LOOK_S: Final = 1.0
_FULL: Final = "the disk is full"
_GONE: Final = (
    "the journal's folder was moved or removed while the site runs: put it back, or restart the site to begin a new one"
)
_NO_DESCRIPTORS: Final = (
    "the process has no file descriptors left: raise its limit (ulimit -n), or see what keeps them open"
)
_TROUBLES: Final = {ENOENT: _GONE, EMFILE: _NO_DESCRIPTORS, ENFILE: _NO_DESCRIPTORS}
_BEHIND: Final = "the disk does not keep up with the events that come"
_BATCH_BYTES: Final = 8 * 1024 * 1024
_Waiting = tuple[Addition, Promise[Position]]


class Writer:
    """Appends for one process.

    Args:
        places: the data directory.
        cap_bytes: bytes of records and parked copies that may wait for tools, over all writers.
        woken: called on the writer's thread after records became durable.
        retain_s: how long consumed records are kept.
    """

    def __init__(self, places: Layout, cap_bytes: int, woken: Callable[[], None], retain_s: float = 0.0) -> None:
        self.idle_s = max(IDLE_S, retain_s)
        self._places = places
        self._cap_bytes = cap_bytes
        self._woken = woken
        self.closed = False
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._queue: list[_Waiting] = []
        self._room = Room(self._places, self._cap_bytes)
        self._thread: threading.Thread | None = None
        self._idle = False
        self._stream: Stream | None = None
        self._trouble = ""
        self._trouble_s = self._used_s = 0.0
        self._full = False
        self._refused_bytes = 0
        self._company = 0
        self._resting = False
        self._waiting_records = self._waiting_bytes = 0

    def append(self, addition: Addition) -> Future[Position]:
        """Have a record kept. The future is done when it is durable, or fails with what `append` may raise.

        Raises:
            JournalFull: over the byte cap, or the disk was full a moment ago.
            JournalDown: closed, or the disk failed a moment ago or does not keep up.
        """
        future = Promise[Position]()
        with self._changed:
            self._check_open()
            self._take_room(len(addition.record))
            self._queue.append((addition, future))
            self._count_waiting(1, len(addition.record))
            thread = self._thread_to_start()
            if thread is None:
                self._wake()
        if thread is not None:  # not under the lock: a greenlet that is started runs at once, and would wait for it
            self._start(thread)
        return future

    def _thread_to_start(self) -> threading.Thread | None:
        """Return a new thread when none runs, and none is about to.

        It does not ask the thread whether it is alive: with gevent that lets other greenlets run, and the lock is held here.
        """
        if self._thread is not None:
            return None
        self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
        return self._thread

    def _wake(self) -> None:
        if self._idle:
            self._idle = False
            self._changed.notify()

    def _take_room(self, size: int) -> None:
        """Count a record. When it is refused the thread looks for room: a request asks no disk, which may hang."""
        try:
            self._room.take(size)
        except JournalFull:
            self._wake()
            raise

    def trouble(self) -> str:
        """Return why nothing can be kept now, "" when all is well."""
        if self.closed:
            return "the journal is closed: its process is stopping"
        if self._trouble:
            return self._trouble
        with self._changed:
            if self._is_behind():
                return _BEHIND
            return "the journal is full until tools have delivered" if self._room.is_full() else ""

    def close(self, grace_s: float) -> None:
        """Take nothing more, write what waits for at most `grace_s` seconds, and seal the stream."""
        with self._changed:
            self.closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread.ident is not None and thread is not threading.current_thread():
            thread.join(max(grace_s, 0.05))
        with self._changed:
            self._room.close()

    def rest(self, grace_s: float) -> None:
        """Write what waits, seal the stream and end the thread, within `grace_s` seconds. The next append begins anew."""
        with self._changed:
            thread = self._thread
            self._resting = thread is not None
            self._changed.notify()
        if thread is not None and thread.ident is not None and thread is not threading.current_thread():
            thread.join(grace_s)
        with self._changed:
            self._room.close()

    def leave_parent_behind(self) -> None:
        """Begin anew in a forked child: close what belongs to the parent, and start a stream of one's own when needed."""
        if self._stream is not None:
            self._stream.abandon()
        self._room.close()
        self._start_afresh()

    def _check_open(self) -> None:
        if self.closed:
            raise JournalDown("the journal is closed and takes no more records: its process is stopping")
        if self._trouble and time.monotonic() - self._trouble_s < RETRY_S:
            raise self._refusal()
        if self._is_behind():
            raise JournalDown(_BEHIND)

    def _count_waiting(self, records: int, size: int) -> None:
        self._waiting_records += records
        self._waiting_bytes += size

    def _is_behind(self) -> bool:
        return self._waiting_records >= WAITING_RECORDS or self._waiting_bytes >= WAITING_BYTES

    def _refusal(self) -> EventmwError:
        kind = JournalFull if self._full else JournalDown
        return kind(self._trouble)

    def _start(self, thread: threading.Thread) -> None:
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more threads
            refusal = JournalDown(f"the journal's thread could not be started: {error}")
            with self._changed:
                self._thread = None
                batch, self._queue = self._queue, []
                size = sum(len(addition.record) for addition, _ in batch)
                self._count_waiting(-len(batch), -size)
                self._room.used -= size
            self._refuse(batch, refusal)  # also those that came meanwhile, and counted on this thread
            raise refusal from None

    def _work(self) -> None:
        try:
            self._keep_all()
        finally:
            if self._thread is threading.current_thread():
                self._thread = None

    def _keep_all(self) -> None:
        going_on = True
        while going_on:
            batch: list[_Waiting] = []
            try:
                going_on = self._next(batch)
                self._keep(batch)
            except BaseException as error:
                log.exception("the journal's writer failed; it goes on")
                self._refuse(batch, self._as_refusal(error))
            with self._changed:
                self._count_waiting(-len(batch), -sum(len(addition.record) for addition, _ in batch))
            if not going_on and not self._ends():
                going_on = True

    def _ends(self) -> bool:
        """Seal the stream and end, unless an append came meanwhile: it counts on this thread."""
        with suppress(OSError):
            self._end_stream()
        with self._changed:
            if self._queue:
                return False
            self._resting = False
            if self._thread is threading.current_thread():
                self._thread = None
            return True

    def _as_refusal(self, error: BaseException) -> BaseException:
        """Return what a request is told: of a disk that fails, that it does."""
        if not isinstance(error, OSError):
            return error
        self._note(error)
        return self._refusal()

    def _next(self, batch: list[_Waiting]) -> bool:
        """Put what waits into `batch`; return False when the writer is to end and nothing waits any more."""
        while not self._has_work():
            if self.closed or self._resting:
                return False
            self._rest()
        self._gather()
        self._look_at_room()
        with self._changed:
            batch += self._queue
            self._queue = []
        self._company = len(batch)
        return True

    def _has_work(self) -> bool:
        """Wait until something is to be written: for a second at most, and less while there is no room."""
        with self._changed:
            if not self._queue and not self.closed and not self._resting:
                self._idle = True
                self._changed.wait(LOOK_S if self._room.is_full() else _LOOK_S)
                self._idle = False
            return bool(self._queue)

    def _look_at_room(self) -> None:
        """Learn what waits for tools. No request waits for it: the lock is free meanwhile."""
        if self._room.is_recent(LOOK_S):
            return
        waiting = self._room.measured()
        with self._changed:
            self._note_room(waiting)

    def _note_room(self, waiting: int) -> None:
        self._room.used = waiting + sum(len(addition.record) for addition, _ in self._queue)

    def _gather(self) -> None:
        """Wait a moment for those who sync along, while they keep coming: a sync costs the same for one and for many.

        Whoever is alone does not wait. Source: PostgreSQL's ``commit_delay`` and ``commit_siblings``; the numbers are ours.
        """
        if self._company < SIBLINGS:
            return
        until_s, before = time.monotonic() + GATHER_S, 0
        while before < len(self._queue) < self._company and time.monotonic() < until_s:
            before = len(self._queue)
            time.sleep(_STEP_S)

    def _rest(self) -> None:
        """Seal the stream when it was idle for long and all of it is consumed, or when the leader asks for it.

        While nothing can be kept, look whether that is over: whoever asks whether to send again must not wait for a sender.
        """
        self._look_at_room()
        if self._trouble and self._can_write():
            self._trouble, self._full = "", False
        stream = self._stream
        if stream is None:
            return
        idle = time.monotonic() - self._used_s > self.idle_s and stream.is_consumed()
        if idle or stream.is_to_be_sealed():
            self._end_stream()

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.seal()

    def _keep(self, batch: Sequence[_Waiting]) -> None:
        """Write a batch, in as many syncs as it has segments; every future is done afterwards."""
        if self._stream is not None and self._stream.is_to_be_sealed():
            self._end_stream()
        added: list[_Waiting] = []
        size = 0
        for waiting in batch:
            record = waiting[0].record
            if self._stream is None or not self._stream.fits(len(record)) or size > _BATCH_BYTES:
                self._flush(added)
                added, size = [], 0
                if not self._make_way(waiting):
                    continue
            self._present().add(waiting[0])
            added.append(waiting)
            size += len(record)
        self._flush(added)

    def _make_way(self, waiting: _Waiting) -> bool:
        """See to it that a record fits; else its future fails."""
        record_bytes = len(waiting[0].record)
        try:
            self._make_room(record_bytes)
        except OSError as error:
            self._refused_bytes = record_bytes
            self._note(error)
            self._refuse([waiting], self._refusal())
            return False
        return True

    def _make_room(self, record_bytes: int) -> None:
        """See to it that a record of so many bytes fits."""
        if self._stream is not None and not self._stream.fits(record_bytes) and self._stream.is_gone():
            self._stream.abandon()
            self._stream = None
        if self._stream is None:
            self._stream = Stream(self._places)
        if not self._stream.fits(record_bytes):
            self._stream.roll(record_bytes)

    def _can_write(self) -> bool:
        """Return whether what was refused last would be kept now."""
        try:
            self._make_room(self._refused_bytes)
        except OSError as error:
            self._note(error)
            return False
        return True

    def _flush(self, added: Sequence[_Waiting]) -> None:
        if not added:
            return
        stream = self._present()
        try:
            stream.flush()
        except OSError as error:
            log.warning("a write to the journal failed, and its file is left: %s", error.strerror or error)
            if not self._flush_elsewhere(stream, added):
                return
        self._trouble, self._full, self._used_s = "", False, time.monotonic()
        first = stream.total.seq - len(added) + 1
        for seq, (_, future) in enumerate(added, first):
            future.set_result(Position(stream.sid, seq))
        self._woken()

    def _flush_elsewhere(self, stream: Stream, added: Sequence[_Waiting]) -> bool:
        """Write the same records to a new segment, behind a fence; return whether they are durable now."""
        try:
            stream.roll(sum(frames.size_of(len(addition.record)) for addition, _ in added))
            for addition, _ in added:
                stream.add(addition)
            stream.flush()
        except OSError as error:
            stream.forget_added()
            self._note(error)
            self._refuse(added, self._refusal())
            return False
        return True

    def _note(self, error: OSError) -> None:
        self._full = error.errno in disk.NO_ROOM
        what = _FULL if self._full else _TROUBLES.get(error.errno or 0) or f"the disk failed: {error.strerror or error}"
        if not self._trouble:
            log.error("the journal cannot keep events: %s", what)
        self._trouble, self._trouble_s = what, time.monotonic()

    @staticmethod
    def _refuse(batch: Sequence[_Waiting], error: BaseException) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(error)

    def _present(self) -> Stream:
        assert self._stream is not None, "there is no stream"
        return self._stream
