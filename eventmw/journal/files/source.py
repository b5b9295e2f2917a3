"""A stream as its readers see it: how far it may be read, what it holds, and whether its owner lives.

Layer: input and output. Not thread-safe.
Source: JOURNAL.md «Reader».
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from eventmw.journal.files import layout
from eventmw.journal.files.cursor import CHUNK_BYTES, NO_LIMIT, Cursor, Found
from eventmw.journal.files.frames import Total
from eventmw.journal.files.locks import Board, Lock, is_free
from eventmw.journal.files.segments import OpenFiles, Segments
from eventmw.journal.files.stream import CONSUMED_AT, ENDED_AT, HELD_AT, LOCK, SEAL_AT


class Source:
    """One stream of any process, dead or alive.

    Attributes:
        sid: its name.
        segments: its files.
        dead: its owner is gone or has sealed it: nothing will follow, and it is read without a limit.
    """

    def __init__(self, streams: Path, sid: str, files: OpenFiles) -> None:
        (streams / sid).stat()
        self.sid = sid
        self.segments = Segments(streams / sid, files)
        self.dead = False
        self._path = streams / sid / LOCK
        self._board = Board(self._path)
        self._end: Total | None = None
        self._told: Total | None = None
        self._promised = 0

    def peek(self) -> None:
        """Look whether the owner is gone, without taking the stream over."""
        if is_free(self._path):
            ended = self._board.read(ENDED_AT)
            self._end = ended if ended.seq else None  # nobody else needs to walk there once a leader has
            self._die()

    def adopt(self) -> bool:
        """Take a stream over when its owner is gone. Returns whether that happened now.

        Its files are synced first: what is read from here on is on the disk, whatever the owner came to. The lock is taken
        only to see that it is free, since whoever lost it never takes it again: what is dead holds no descriptor.
        """
        lock = Lock(self._path)
        if self.dead or not lock.acquire():
            return False
        try:
            self.segments.look()
            self.segments.sync()
            self._promised = max([self.promised(), *(header.base_seq for header in self.segments.headers())])
        finally:
            lock.release()
        self._die()
        return True

    def _die(self) -> None:
        self.dead = True
        self.segments.close()
        self._board.close()

    def cursor(self, after: int) -> Cursor:
        """Return a way through the stream that begins after a seq."""
        return Cursor(self.segments, self.sid, after)

    def ask_to_seal(self) -> None:
        """Ask the owner to end the stream: what nobody writes can be rewritten."""
        self._board.post(Total(1), SEAL_AT)

    def tell(self, consumed: Total) -> bool:
        """Tell writers how much of it every tool has consumed; of a dead one also, in the end, how much it holds.

        What its owner told last may be old: it is a hint, and a power cut may have taken it away.
        Returns whether all of it was told.
        """
        if not self.dead:
            return self._board.post(consumed, CONSUMED_AT)
        if self._told != consumed:
            end = self.end()
            totals = [(consumed, CONSUMED_AT), (end, ENDED_AT)]
            if end.seq >= self._promised:  # a leader that ended early has not said yet what is lost
                totals.append((end, HELD_AT))
            told = [self._board.post(total, at) for total, at in totals]
            self._told = consumed if all(told) else None
            self._board.close()
        return self._told is not None

    def limit(self) -> int:
        """Return the last seq that may be read now.

        Of a dead stream that is its last record. A reader without a limit would look for one behind it each time it is
        asked, through all the zeros of a segment.
        """
        return self.end().seq

    def promised(self) -> int:
        """Return the last seq that the owner called durable, as far as this boot of the machine knows.

        What a segment begins after was durable in any case.
        """
        if self.dead:
            return self._promised
        held, consumed = self._board.read(HELD_AT).seq, self._board.read(CONSUMED_AT).seq
        if not self.segments.headers() and held > consumed:
            return (
                held  # no segment is left to tell the boot; what is told as durable was so, and tools have not had it
            )
        return self._board.read(HELD_AT).seq if self.segments.boot == layout.boot() else 0

    def end(self) -> Total:
        """Return what the stream holds: of a live one what is durable, of a dead one what can be read."""
        if not self.dead:
            return self._board.read(HELD_AT)
        if self._end is None:
            self._end = self._walk_to_end()
        return self._end

    def find(self, seq: int) -> Found | None:
        """Return the record with this seq, or None when there is none that may be read."""
        if not 0 < seq <= self.limit():
            return None
        cursor = self.cursor(seq - 1)
        found = next(iter(cursor.read(min(seq, self.limit()), 1)), None)
        return found if found is not None and found.total.seq == seq else None

    def before(self, since_ms: int) -> Total:
        """Return what the stream holds before its first kept record that was recorded at a time or later.

        Segments that were begun earlier, with another one after them that was, too, are passed over without a look.
        """
        headers = self.segments.headers()
        total = self.segments.base()
        for _, later in pairwise(headers):
            if later.created_ms <= since_ms:
                total = Total(later.base_seq, later.base_events, later.base_bytes)
        cursor, limit = self.cursor(total.seq), self.limit()
        while page := cursor.read(limit, CHUNK_BYTES):
            for found in page:
                if found.entry.recorded_ms >= since_ms:
                    return total
                total = found.total
        return total

    def close(self) -> None:
        """Close everything."""
        self.segments.close()
        self._board.close()

    def _walk_to_end(self) -> Total:
        self.segments.look()
        headers = self.segments.headers()
        if not headers:
            return Total()
        total = Total(headers[-1].base_seq, headers[-1].base_events, headers[-1].base_bytes)
        cursor = self.cursor(total.seq)
        while page := cursor.read(NO_LIMIT, CHUNK_BYTES):
            total = page[-1].total
        return total
