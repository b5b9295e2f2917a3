"""A stream as its readers see it: segments, their headers, and cursors that go through the frames.

Nothing is concluded from bytes that were read a moment ago: each step reads afresh, after the number up to which reading is
allowed was read. Behind damage the search goes on, and what is missing is a *hole*: records that were never acknowledged,
or, below what the owner called durable, records that the disk has lost.

Layer: input and output. Not thread-safe.
Source: JOURNAL.md «Reader».
"""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from eventmw.journal import Entry, Position
from eventmw.journal.files import disk, frames, layout
from eventmw.journal.files.frames import HEADER_BYTES, Frame, Header, Total
from eventmw.journal.files.layout import UNKNOWN_BOOT
from eventmw.journal.files.locks import Board, Lock, is_free
from eventmw.journal.files.places import Facts
from eventmw.journal.files.stream import CONSUMED_AT, HELD_AT, LOCK, SEAL_AT

log = logging.getLogger("eventmw.journal")

CHUNK_BYTES: Final = 64 * 1024
NO_LIMIT: Final = 1 << 62
_MAX_OPEN: Final = 4


class Found(NamedTuple):
    """A record that was read, and what the stream holds up to and with it."""

    entry: Entry
    total: Total

    @property
    def facts(self) -> Facts:
        """What a place needs of it."""
        return Facts(self.entry.events, len(self.entry.record), self.entry.recorded_ms, self.total)


class Source:
    """One stream of any process, dead or alive.

    Attributes:
        sid: its name.
        folder: where it stands.
        dead: its owner is gone or has sealed it: nothing will follow, and it is read without a limit.
        holes: first missing seq → last missing seq, as far as a cursor has come by.
    """

    def __init__(self, streams: Path, sid: str) -> None:
        self.sid = sid
        self.folder = streams / sid
        self.dead = False
        self.holes: dict[int, int] = {}
        self._lock = Lock(self.folder / LOCK)
        self._held = Board(self.folder / LOCK, HELD_AT)
        self.consumed = Board(self.folder / LOCK, CONSUMED_AT)
        self._seal = Board(self.folder / LOCK, SEAL_AT)
        self._headers: dict[int, Header] = {}
        self._unreadable: set[int] = set()
        self._open: dict[int, int] = {}
        self._boot = UNKNOWN_BOOT
        self._marks: dict[int, list[tuple[int, int]]] = {}
        self._end: Total | None = None

    def peek(self) -> None:
        """Look whether the owner is gone, without taking the stream over."""
        self.dead = is_free(self.folder / LOCK)

    def adopt(self) -> bool:
        """Take a stream over when its owner is gone. Returns whether that happened now.

        Its files are synced first: what is read from here on is on the disk, whatever the owner came to.
        """
        if self.dead or not self._lock.acquire():
            return False
        self.look()
        for number in self._headers:
            disk.sync(self._fd(number))
        disk.sync_folder(self.folder)
        self.dead = True
        return True

    def ask_to_seal(self) -> None:
        """Ask the owner to end the stream: what nobody writes can be rewritten."""
        self._seal.post(Total(1))

    def rewrite(self, header: Header, rewritten: Callable[[bytes], bytes | None]) -> int:
        """Write a segment of a dead stream anew, with some records changed to others of the same length.

        Only what is valid is taken over: what stood behind damage or a fence is zeros now. Every frame keeps its offset.
        Returns how many records were changed; when there are none, the file stays.

        Raises:
            OSError: it could not be written; the old one stays.
        """
        fence = self.fence(header.number)
        old = self.read(header.number, fence, 0)
        new, changed = bytearray(old[:HEADER_BYTES].ljust(header.size, b"\0")), 0
        for at in frames.candidates(old, HEADER_BYTES):
            frame = frames.decode(old, at, header.seed)
            if frame is None:
                continue
            record = rewritten(frame.record) if frame.events else None
            changed += record is not None
            when = (frame.stamp, frame.recorded_ms)
            piece = frames.encode(header.seed, frame.total, frame.events, when, record or frame.record)
            new[at : at + len(piece)] = piece
        if changed:
            disk.put(layout.segment(self.folder, header.number), bytes(new))
            self._close(header.number)
        return changed

    def limit(self) -> int:
        """Return the last seq that may be read now."""
        return NO_LIMIT if self.dead else self._held.read().seq

    def promised(self) -> int:
        """Return the last seq that the owner called durable, as far as this boot of the machine knows."""
        return self._held.read().seq if self._boot == layout.boot() else 0

    def end(self) -> Total:
        """Return what the stream holds: of a live one what is durable, of a dead one what can be read."""
        if not self.dead:
            return self._held.read()
        if self._end is None:
            self._end = self._walk_to_end()
        return self._end

    def base(self) -> Total:
        """Return what was in the segments that are gone."""
        first = self._headers[min(self._headers)] if self._headers else None
        return Total() if first is None else Total(first.base_seq, first.base_events, first.base_bytes)

    def is_empty(self) -> bool:
        """Return whether no segment is there any more, not even one that cannot be read."""
        return not self._headers and not layout.segments(self.folder)

    def look(self) -> None:
        """Learn which segments there are now."""
        numbers = layout.segments(self.folder)
        for number in self._headers.keys() - set(numbers):
            del self._headers[number]
            self._marks.pop(number, None)
            self._close(number)
        for number in numbers:
            if number in self._headers or number in self._unreadable:
                continue
            if (header := self._read_header(number)) is not None:
                self._headers[number] = header
                self._boot = header.boot

    def headers(self) -> list[Header]:
        """Return the headers of the segments that were there at the last `look`, in order."""
        return [self._headers[number] for number in sorted(self._headers)]

    @property
    def boot(self) -> bytes:
        """The boot of the machine in which the stream was written."""
        return self._boot

    def header(self, number: int) -> Header | None:
        """Return one of these headers."""
        return self._headers.get(number)

    def fence(self, number: int) -> int:
        """Return where a segment ends because a later one says so; else its size."""
        ends = [header.prev_end for header in self._headers.values() if header.prev_number == number]
        return min([*ends, self._headers[number].size])

    def read(self, number: int, size: int, offset: int) -> bytes:
        """Return bytes of a segment."""
        return os.pread(self._fd(number), size, offset)

    def mark(self, number: int, seq: int, at: int) -> None:
        """Remember that the record after `seq` begins at an offset: whoever looks for one later need not start afresh."""
        marks = self._marks.setdefault(number, [])
        if not marks or marks[-1][0] < seq:
            marks.append((seq, at))

    def nearest(self, number: int, seq: int) -> tuple[int, int] | None:
        """Return the last mark at or before a seq."""
        marks = self._marks.get(number, [])
        at = bisect_right(marks, (seq, NO_LIMIT))
        return marks[at - 1] if at else None

    def find(self, seq: int) -> Found | None:
        """Return the record with this seq, or None when there is none that may be read."""
        if not 0 < seq <= self.limit():
            return None
        cursor = Cursor(self, seq - 1)
        found = next(iter(cursor.read(min(seq, self.limit()), 1)), None)
        return found if found is not None and found.total.seq == seq else None

    def total_at(self, seq: int) -> Total:
        """Return what the stream holds up to this seq, as far as it is kept."""
        base = self.base()
        if seq <= base.seq:
            return base
        found = self.find(seq)
        return found.total if found is not None else self.end()

    def before(self, since_ms: int) -> Total:
        """Return what the stream holds before its first kept record that was recorded at a time or later.

        Segments that were begun earlier, with another one after them that was, too, are passed over without a look.
        """
        headers = self.headers()
        total = self.base()
        for _, later in pairwise(headers):
            if later.created_ms <= since_ms:
                total = Total(later.base_seq, later.base_events, later.base_bytes)
        cursor, limit = Cursor(self, total.seq), self.limit()
        while page := cursor.read(limit, CHUNK_BYTES):
            for found in page:
                if found.entry.recorded_ms >= since_ms:
                    return total
                total = found.total
        return total

    def close(self) -> None:
        """Close everything, and give the lock back if it is held."""
        for number in list(self._open):
            self._close(number)
        self._held.close()
        self.consumed.close()
        self._seal.close()
        self._lock.release()

    def _walk_to_end(self) -> Total:
        self.look()
        if not self._headers:
            return Total()
        last = self._headers[max(self._headers)]
        cursor = Cursor(self, last.base_seq)
        total = Total(last.base_seq, last.base_events, last.base_bytes)
        while page := cursor.read(NO_LIMIT, CHUNK_BYTES):
            total = page[-1].total
        return total

    def _read_header(self, number: int) -> Header | None:
        try:
            header = Header.decode(self.read(number, HEADER_BYTES, 0))
        except FileNotFoundError:
            return None
        if header is None or header.number != number:
            self._unreadable.add(number)
            log.error(
                "%s is no segment that this version can read; it is left alone", layout.segment(self.folder, number)
            )
            return None
        return header

    def _fd(self, number: int) -> int:
        fd = self._open.get(number)
        if fd is None:
            while len(self._open) >= _MAX_OPEN:
                self._close(next(iter(self._open)))
            fd = self._open[number] = os.open(layout.segment(self.folder, number), os.O_RDONLY | os.O_CLOEXEC)
        return fd

    def _close(self, number: int) -> None:
        if (fd := self._open.pop(number, None)) is not None:
            os.close(fd)


class Cursor:
    """A way through one stream, from the record after `after` on.

    Attributes:
        seq: the last record that was read, or passed over as a hole.
    """

    def __init__(self, source: Source, after: int) -> None:
        self.seq = after
        self._source = source
        self._number: int | None = None
        self._at = HEADER_BYTES

    def read(self, limit: int, size: int) -> list[Found]:
        """Return the next records up to the seq `limit`: at least one when there is one, then about `size` bytes of them."""
        found: list[Found] = []
        if self.seq >= limit:
            return found
        self._source.look()
        while self.seq < limit and size > 0:
            page = self._page(limit)
            if page is None:
                if not self._step_over(limit):
                    break
                continue
            found += page
            size -= sum(len(one.entry.record) for one in page)
        return found

    def _page(self, limit: int) -> list[Found] | None:
        """Return the records of the next chunk of this segment; None when no valid frame stands here."""
        try:
            return self._chunk(limit)
        except FileNotFoundError:  # it was retired this very moment: what is left of the stream begins after it
            self._source.look()
            self._number = None
            return self._chunk(limit)

    def _chunk(self, limit: int) -> list[Found] | None:
        if self._number is None and not self._enter():
            return None
        number = self._present()
        header = self._source.header(number)
        if header is None:
            raise FileNotFoundError(number)
        fence = self._source.fence(number)
        buffer = self._source.read(number, min(CHUNK_BYTES, max(0, fence - self._at)), self._at)
        if (whole := frames.needed(buffer, 0)) > len(buffer):
            buffer = self._source.read(number, min(whole, fence - self._at), self._at)
        return self._parsed(buffer, header.seed, limit)

    def _parsed(self, buffer: bytes, seed: int, limit: int) -> list[Found] | None:
        base, page, moved = self._at, list[Found](), False
        while self.seq < limit:
            frame = frames.decode(buffer, self._at - base, seed, base=base)
            if frame is None:
                break
            self._at, moved = frame.end, True
            if frame.events and frame.total.seq > self.seq:
                self._note_hole(frame.total.seq)
                self.seq = frame.total.seq
                page.append(self._found(frame))
        if page:
            self._source.mark(self._present(), self.seq, self._at)
        return page if moved else None

    def _found(self, frame: Frame) -> Found:
        position = Position(self._source.sid, frame.total.seq)
        return Found(Entry(position, frame.recorded_ms, frame.stamp, frame.events, frame.record), frame.total)

    def _note_hole(self, seq: int) -> None:
        if seq > self.seq + 1:
            self._source.holes[self.seq + 1] = seq - 1

    def _enter(self) -> bool:
        """Go to the segment that holds the next record; False when there is none."""
        headers = self._source.headers()
        fitting = [header for header in headers if header.base_seq <= self.seq] or headers[:1]
        if not fitting:
            return False
        self._start(fitting[-1])
        return True

    def _start(self, header: Header) -> None:
        if header.base_seq > self.seq:
            self._note_hole(header.base_seq + 1)
            self.seq = header.base_seq
        self._number, self._at = header.number, HEADER_BYTES
        if (mark := self._source.nearest(header.number, self.seq)) is not None:
            self._at = mark[1]

    def _step_over(self, limit: int) -> bool:
        """Go on where no valid frame stands: in the next segment, behind damage, or, False, not at all for now."""
        if self._number is None:
            return False
        later = [header for header in self._source.headers() if header.number > self._present()]
        if any(header.base_seq == self.seq for header in later):
            self._start(next(header for header in reversed(later) if header.base_seq == self.seq))
            return True
        return self._search(limit) or self._leap(later)

    def _search(self, limit: int) -> bool:
        """Look for a valid frame behind what cannot be read."""
        number = self._present()
        header = self._source.header(number)
        if header is None:
            return False
        buffer = self._source.read(number, max(0, self._source.fence(number) - self._at), self._at)
        for at in frames.candidates(buffer, 0):
            frame = frames.decode(buffer, at, header.seed, base=self._at)
            if frame is not None and self.seq < frame.total.seq <= limit:
                self._at += at
                return True
        return False

    def _leap(self, later: list[Header]) -> bool:
        """Go to the next segment although records before it are missing."""
        if not later:
            return False
        self._start(later[0])
        return True

    def _present(self) -> int:
        assert self._number is not None, "the cursor stands in no segment"
        return self._number


def all_of(source: Source) -> Iterator[Found]:
    """Return every record that is kept of a stream and may be read now."""
    source.look()
    cursor = Cursor(source, source.base().seq)
    limit = source.limit()
    while page := cursor.read(limit, CHUNK_BYTES):
        yield from page
