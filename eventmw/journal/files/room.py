"""How much room is left under the byte cap, which all writers of a data directory share.

Each stream tells how many bytes of records it holds, and the leader tells how many of those every tool has consumed. A
writer adds that up some times a second, and counts its own appends in between.

Layer: input and output.
Source: JOURNAL.md «Writer» 6.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import Final

from eventmw.errors import JournalFull
from eventmw.journal.files import layout
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.locks import Board
from eventmw.journal.files.stream import CONSUMED_AT, HELD_AT, LOCK

LOOK_S: Final = 0.1


class Room:
    """The room of one data directory, as one writer sees it. The writer's lock is around all but `measured`."""

    def __init__(self, places: Layout, cap_bytes: int) -> None:
        self._places = places
        self._cap_bytes = cap_bytes
        self._boards: dict[str, tuple[Board, Board]] = {}
        self._gauge: Board | None = None
        self.used = self._refused = 0
        self._looked_s = float("-inf")
        self._measuring = Lock()

    def take(self, size: int) -> None:
        """Count a record of `size` bytes.

        Raises:
            JournalFull: it does not fit beside what waits for tools.
        """
        if self.used + size > self._cap_bytes:
            self._refused = size
            raise JournalFull(
                f"a record of {size} bytes does not fit: {self.used} of the journal's {self._cap_bytes} bytes wait for "
                "tools. `eventmw stats` shows which tool is behind; limits.journal_bytes gives more room"
            )
        self.used += size
        self._refused = 0

    def is_full(self) -> bool:
        """Return whether a record as large as the last one, if that was refused, would be refused again."""
        return self.used + min(max(1, self._refused), self._cap_bytes) > self._cap_bytes

    def close(self) -> None:
        """Close the files."""
        boards = [board for pair in self._boards.values() for board in pair]
        for board in boards if self._gauge is None else [*boards, self._gauge]:
            board.close()
        self._boards.clear()
        self._gauge = None

    def is_recent(self, within_s: float) -> bool:
        """Return whether it was measured within so many seconds."""
        return time.monotonic() - self._looked_s < within_s

    def measured(self) -> int:
        """Return how many bytes wait for tools, over all writers, as the files say."""
        with self._measuring:
            self._looked_s = time.monotonic()
            try:
                return self._unconsumed()
            except OSError:
                return self.used  # out of descriptors, say: what was counted so far holds on

    def _unconsumed(self) -> int:
        self._follow(layout.streams(self._places.streams))
        if self._gauge is None:
            self._gauge = Board(self._places.gauge)
        return self._gauge.read().bytes + sum(
            max(0, held.read().bytes - consumed.read().bytes) for held, consumed in self._boards.values()
        )

    def _follow(self, sids: list[str]) -> None:
        for sid in set(self._boards) - set(sids):
            for board in self._boards.pop(sid):
                board.close()
        for sid in sids:
            if sid not in self._boards:
                lock = self._places.streams / sid / LOCK
                if lock.exists():
                    self._boards[sid] = (Board(lock, HELD_AT), Board(lock, CONSUMED_AT))
