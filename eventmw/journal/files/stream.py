"""One stream, as the process that owns it writes it: segments one after another, each written in one life only.

A segment is made of real zeros before it is used, so a full disk shows then, and a commit overwrites what is there. The
next one is prepared beside while the present one fills. After a write or sync that failed the file is not trusted again: the
next segment begins where the last good sync ended, which fences off what may or may not stand behind it.

Layer: input and output. Not thread-safe: the thread of the writer is its only user.
Source: JOURNAL.md «Writer».
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eventmw.journal.files import disk, frames, layout
from eventmw.journal.files.frames import HEADER_BYTES, Header, Total
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.locks import BOARD_BYTES, Board, Lock

FIRST_BYTES: Final = 1024 * 1024
MOST_BYTES: Final = 16 * 1024 * 1024
"""Segments double from the first size to this one. Source: JOURNAL.md «Writer» 2."""

LOCK: Final = "lock"
"""The file of a stream's lock, in which its owner and the leader tell numbers, at these offsets:"""
HELD_AT: Final = 0
"""what is durable in the stream,"""
CONSUMED_AT: Final = BOARD_BYTES
"""what of it every tool has consumed,"""
SEAL_AT: Final = 2 * BOARD_BYTES
"""whether its owner is asked to seal it,"""
ENDED_AT: Final = 3 * BOARD_BYTES
"""and, once a leader has taken it over, what it holds for good."""

_SPARE: Final = ".spare"


@dataclass(frozen=True, slots=True)
class Addition:
    """One record to append. ``stamp`` is monotonic nanoseconds, ``recorded_ms`` wall time in milliseconds."""

    record: bytes
    events: int
    recorded_ms: int
    stamp: int


@dataclass(slots=True)
class _Segment:
    fd: int
    header: Header
    end: int = HEADER_BYTES
    trusted: bool = True


class Stream:
    """A stream of this process.

    Args:
        places: the data directory.

    Attributes:
        sid: its name.
        total: what is durable.

    Raises:
        OSError: it could not be made; nothing of it is left.
    """

    def __init__(self, places: Layout) -> None:
        self._places = places
        streams = places.streams
        self.sid = os.urandom(8).hex()
        self.total = Total()
        self._folder = streams / self.sid
        self._next_size = FIRST_BYTES
        self._number = 0
        self._ahead = Total()
        self._stamp = 0
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0
        self._segment: _Segment | None = None
        self._spare: _Spare | None = None
        hidden = streams / f".{self.sid}"
        hidden.mkdir(mode=0o700)
        self._lock = Lock(hidden / LOCK)
        self._board = Board(hidden / LOCK)
        try:
            self._open_hidden(hidden)
        except OSError:
            self.abandon()
            shutil.rmtree(hidden, ignore_errors=True)
            raise

    def _open_hidden(self, hidden: Path) -> None:
        """Take the lock, and make the first segment, before anybody can see the stream."""
        self._lock.acquire()
        self._board.fileno()  # while the folder has this name
        for offset in (HELD_AT, CONSUMED_AT, SEAL_AT):
            self._board.post(self.total, offset)
        self._segment = self._made(hidden, 0)
        disk.publish(hidden, self._folder)

    def fits(self, record_bytes: int) -> bool:
        """Return whether a record has room in the present segment, and may be written there."""
        segment = self._segment
        return (
            segment is not None
            and segment.trusted
            and segment.end + self._pieces_bytes + frames.size_of(record_bytes) <= segment.header.size
        )

    def add(self, addition: Addition) -> None:
        """Take a record that fits into the next `flush`."""
        segment = self._present()
        seq, events, size = self._ahead
        total = self._ahead = Total(seq + 1, events + addition.events, size + len(addition.record))
        self._stamp = max(self._stamp, min(addition.stamp, time.monotonic_ns()))
        when = (self._stamp, addition.recorded_ms)
        self._pieces += frames.pieces(segment.header.seed, total, addition.events, when, addition.record)
        self._pieces_bytes += frames.size_of(len(addition.record))

    def flush(self) -> None:
        """Make what was added durable, with one sync.

        Raises:
            OSError: it may or may not be on the disk. Call `roll`, and add it again, or leave it.
        """
        segment = self._present()
        pieces, size, total = self._pieces, self._pieces_bytes, self._ahead
        self._pieces = []
        self.forget_added()
        segment.trusted = False
        disk.write_pieces(segment.fd, pieces, size, segment.end)
        disk.sync(segment.fd)
        disk.check_name(segment.fd, layout.segment(self._folder, segment.header.number))
        segment.trusted = True
        segment.end += size
        self.total = self._ahead = total
        self._board.post(total, HELD_AT)
        self._prepare_next(segment)

    def forget_added(self) -> None:
        """Let go of what was added and not flushed."""
        self._pieces.clear()
        self._pieces_bytes = 0
        self._ahead = self.total

    def roll(self, record_bytes: int) -> None:
        """Go on in a new segment, with room for a record of so many bytes. Nothing may be waiting for a flush.

        Raises:
            OSError: it could not be made. The stream takes nothing until a later call succeeds.
        """
        old = self._segment
        self._segment = self._made(self._folder, record_bytes)
        if old is not None:
            os.close(old.fd)

    def is_gone(self) -> bool:
        """Return whether its folder was taken away, and that of all streams was not, or was made anew."""
        return not self._folder.exists() and self._folder.parent.exists()

    def is_consumed(self) -> bool:
        """Return whether the leader says that every tool is past what is in here; not while that cannot be read."""
        with suppress(OSError):
            return self._board.read(CONSUMED_AT).bytes >= self.total.bytes
        return False

    def is_to_be_sealed(self) -> bool:
        """Return whether the leader asks for it: it can rewrite only what nobody writes."""
        with suppress(OSError):
            return self._board.read(SEAL_AT).seq > 0
        return False

    def seal(self) -> None:
        """End the stream for good: nothing will follow. Whoever leads takes it over."""
        if self._segment is not None and self.fits(0):
            data = frames.encode(self._segment.header.seed, self.total, 0, (self._stamp, 0), b"")
            with suppress(OSError):
                disk.write_at(self._segment.fd, data, self._segment.end)
                disk.sync(self._segment.fd)
        self.abandon()

    def abandon(self) -> None:
        """Close everything: in a forked child, whose parent goes on with the stream, or at the end."""
        if self._spare is not None:
            self._spare.abandon()
        if self._segment is not None:
            os.close(self._segment.fd)
        self._spare = self._segment = None
        self._board.close()
        self._lock.release()

    def _present(self) -> _Segment:
        assert self._segment is not None, "the stream has no segment"
        return self._segment

    def _made(self, folder: Path, record_bytes: int) -> _Segment:
        """Make the next segment: zeros, the header, a sync, the name, a sync of the folder."""
        least = HEADER_BYTES + frames.size_of(record_bytes)
        spare = self._take_spare(folder, least)
        self._number += 1  # also after a failure: nobody may have seen two files under one number
        before = self._segment
        header = Header(
            number=self._number,
            base_seq=self.total.seq,
            base_events=self.total.events,
            base_bytes=self.total.bytes,
            prev_number=0 if before is None else before.header.number,
            prev_end=0 if before is None else before.end,
            created_ms=time.time_ns() // 1_000_000,
            size=spare.size,
            sid=self.sid,
            boot=layout.boot(),
            salt=os.urandom(8),
        )
        try:
            disk.write_at(spare.fd, header.encode(), 0)
            disk.sync(spare.fd)
            disk.publish(spare.path, layout.segment(folder, self._number))
        except OSError:
            spare.discard()
            raise
        return _Segment(spare.fd, header)

    def _take_spare(self, folder: Path, least: int) -> _Spare:
        spare, self._spare = self._spare, None
        if spare is not None:
            if spare.is_ready() and spare.size >= least:
                return spare
            spare.discard()
        path = folder / f"{_SPARE}{self._number}"
        try:
            return self._spare_at(path, least).fill()
        except OSError as error:
            if error.errno not in disk.NO_ROOM:
                raise
        # Few free bytes are still room for a few events: it begins small again.
        self._next_size = FIRST_BYTES
        return self._spare_at(path, least).fill()

    def _spare_at(self, path: Path, least: int) -> _Spare:
        return _Spare(self._places, path, self._grown(least))

    def _grown(self, least: int) -> int:
        size = max(self._next_size, least + -least % 4096)
        self._next_size = min(2 * self._next_size, MOST_BYTES)
        return size

    def _prepare_next(self, segment: _Segment) -> None:
        if self._spare is None and 2 * segment.end > segment.header.size:
            self._spare = self._spare_at(self._folder / f"{_SPARE}{self._number}", 0)
            self._spare.fill_beside()


class _Spare:
    """A file of zeros that becomes the next segment."""

    def __init__(self, places: Layout, path: Path, size: int) -> None:
        self._places = places
        self.path = path
        self.size = size
        self.fd = -1
        self._thread: threading.Thread | None = None
        self._filled = False

    def fill(self) -> _Spare:
        """Make it now.

        Raises:
            OSError: there is no room; nothing is left of it.
        """
        self._places.leave_reserve(self.size)
        self.path.unlink(missing_ok=True)
        self.fd = disk.create(self.path)
        try:
            disk.fill_with_zeros(self.fd, self.size)
            disk.sync(self.fd)
        except OSError:
            self._remove()
            raise
        self._filled = True
        return self

    def fill_beside(self) -> None:
        """Make it in a thread. What goes wrong shows when it is asked for."""
        self._thread = threading.Thread(target=self._fill_quietly, name="eventmw-segment", daemon=True)
        with suppress(RuntimeError):  # the system gives no more threads: then it is made when it is needed
            self._thread.start()

    def _fill_quietly(self) -> None:
        with suppress(OSError):
            self.fill()

    def is_ready(self) -> bool:
        """Wait for the thread; return whether the file is there."""
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()
        return self._filled

    def discard(self) -> None:
        """Wait for the thread; close and remove the file."""
        self.is_ready()
        self._remove()

    def _remove(self) -> None:
        self._close()
        self.path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Close it, once no thread of this process writes into it: its number may mean another file a moment later."""
        self.is_ready()
        self._close()

    def _close(self) -> None:
        fd, self.fd, self._filled = self.fd, -1, False
        if fd >= 0:
            os.close(fd)
