"""A cursor: the way through the frames of one stream.

Nothing is concluded from bytes that were read a moment ago: each step reads afresh, after the number up to which reading is
allowed was read. Behind damage the search goes on, and what is missing is a *hole*: records that were never acknowledged,
or, below what the owner called durable, records that the disk has lost.

Layer: input and output. Not thread-safe.
Source: JOURNAL.md «Reader» 1 to 4.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from eventmw.journal import Entry, Position
from eventmw.journal.files import frames
from eventmw.journal.files.frames import HEADER_BYTES, Frame, Header, Total
from eventmw.journal.files.places import Facts
from eventmw.journal.files.segments import Segments

CHUNK_BYTES: Final = 64 * 1024
NO_LIMIT: Final = 1 << 62


class Found(NamedTuple):
    """A record that was read, and what the stream holds up to and with it."""

    entry: Entry
    total: Total

    @property
    def facts(self) -> Facts:
        """What a place needs of it."""
        return Facts(self.entry.events, len(self.entry.record), self.entry.recorded_ms, self.total)


class Cursor:
    """A way through one stream, from the record after `after` on.

    Attributes:
        seq: the last record that was read, or passed over as a hole.
    """

    def __init__(self, segments: Segments, sid: str, after: int) -> None:
        self.seq = after
        self._segments = segments
        self._sid = sid
        self._number: int | None = None
        self._at = HEADER_BYTES

    def read(self, limit: int, size: int) -> list[Found]:
        """Return the next records up to the seq `limit`: at least one when there is one, then about `size` bytes of them."""
        found: list[Found] = []
        if self.seq >= limit:
            return found
        self._segments.look()
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
            self._segments.look()
            self._number = None
            return self._chunk(limit)

    def _chunk(self, limit: int) -> list[Found] | None:
        if self._number is None and not self._enter():
            return None
        number = self._present()
        header = self._segments.header(number)
        if header is None:
            raise FileNotFoundError(number)
        fence = self._segments.fence(number)
        buffer = self._segments.read(number, min(CHUNK_BYTES, max(0, fence - self._at)), self._at)
        if (whole := frames.needed(buffer, 0)) > len(buffer):
            buffer = self._segments.read(number, min(whole, fence - self._at), self._at)
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
            self._segments.mark(self._present(), self.seq, self._at)
        return page if moved else None

    def _found(self, frame: Frame) -> Found:
        position = Position(self._sid, frame.total.seq)
        return Found(Entry(position, frame.recorded_ms, frame.stamp, frame.events, frame.record), frame.total)

    def _note_hole(self, seq: int) -> None:
        if seq > self.seq + 1:
            self._segments.holes[self.seq + 1] = seq - 1

    def _enter(self) -> bool:
        """Go to the segment that holds the next record; False when there is none."""
        headers = self._segments.headers()
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
        if (mark := self._segments.nearest(header.number, self.seq)) is not None:
            self._at = mark[1]

    def _step_over(self, limit: int) -> bool:
        """Go on where no valid frame stands: in the next segment, behind damage, or, False, not at all for now."""
        if self._number is None:
            return False
        later = [header for header in self._segments.headers() if header.number > self._present()]
        if any(header.base_seq == self.seq for header in later):
            self._start(next(header for header in reversed(later) if header.base_seq == self.seq))
            return True
        return self._search(limit) or self._leap(later)

    def _search(self, limit: int) -> bool:
        """Look for a valid frame behind what cannot be read."""
        number = self._present()
        header = self._segments.header(number)
        if header is None:
            return False
        buffer = self._segments.read(number, max(0, self._segments.fence(number) - self._at), self._at)
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
