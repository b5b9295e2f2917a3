"""How much room is left under the byte cap, which all writers of a data directory share.

Each stream tells how many bytes of records it holds, and the leader tells how many of those every tool has consumed. A
writer adds that up some times a second, and counts its own appends in between. What waits in streams that ended the leader
tells as one number, with what is parked: there may be hundreds of them.

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
from eventmw.journal.files.stream import CONSUMED_AT, ENDED_AT, HELD_AT, LOCK

LOOK_S: Final = 0.1


class Room:
    """The room of one data directory, as one writer sees it. The writer's lock is around all but `measured`."""

    def __init__(self, places: Layout, cap_bytes: int) -> None:
        self._places = places
        self._cap_bytes = cap_bytes
        self._boards: dict[str, Board] = {}
        self._ended: set[str] = set()
        self._gauge = Board(places.gauge, create=True)
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
        for board in (*self._boards.values(), self._gauge):
            board.close()
        self._boards.clear()

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
        self._follow(set(layout.streams(self._places.streams)))
        waiting = [max(0, board.read(HELD_AT).bytes - board.read(CONSUMED_AT).bytes) for board in self._boards.values()]
        return self._gauge.read().bytes + sum(waiting)

    def _follow(self, sids: set[str]) -> None:
        self._ended &= sids
        for sid in sids - self._boards.keys() - self._ended:
            self._boards[sid] = Board(self._places.streams / sid / LOCK)
        for sid in [sid for sid, board in self._boards.items() if sid not in sids or board.read(ENDED_AT).seq]:
            self._boards.pop(sid).close()
            self._ended.add(sid)
