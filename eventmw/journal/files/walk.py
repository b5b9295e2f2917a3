"""Going through all kept records in pages, for `Journal.scan`. Moves nothing.

A page begins after a position, which names one stream; the way through the others is remembered for those who go on where
their last page ended, so that a record of a slow writer is not missed.

Layer: input and output. Thread-safe.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from threading import Lock
from typing import Final

from eventmw.journal import Entry, Position
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.sources import Merge, Sources

MOST: Final = 4
"""Readers whose way is remembered."""


class _Walk:
    """One reader's way through all streams."""

    def __init__(self, places: Layout) -> None:
        self._sources = Sources(places, leading=False)
        self._sources.take_over()
        self._merge = Merge(self._sources, self._base)

    def _base(self, sid: str) -> int:
        return self._sources.all[sid].segments.base().seq

    def page(self, limit: int) -> list[Entry]:
        """Return the next records."""
        self._sources.take_over()
        return [found.entry for found in islice(self._merge.take(self._sources.horizon()), limit)]

    def skip_to(self, position: Position) -> bool:
        """Go on until after a record; return whether it was met."""
        horizon = self._sources.horizon()
        return any(found.entry.position == position for found in self._merge.take(horizon))

    def close(self) -> None:
        """Close its files."""
        self._sources.close()


class Walks:
    """The readers of one journal."""

    def __init__(self, places: Layout) -> None:
        self._places = places
        self._lock = Lock()
        self._at: OrderedDict[Position, _Walk] = OrderedDict()

    def page(self, after: Position | None, limit: int) -> list[Entry]:
        """Return at most `limit` records after a position; None: from the oldest that is kept.

        A position that is no longer kept stands before all of them.
        """
        with self._lock:
            walk = self._resumed(after)
            entries = walk.page(limit)
            last = entries[-1].position if entries else after
            if last is None:
                walk.close()
            else:
                self._remember(last, walk)
            return entries

    def close(self) -> None:
        """Forget all readers."""
        with self._lock:
            while self._at:
                self._at.popitem()[1].close()

    def abandon(self) -> None:
        """Close what a forked child inherited. The lock is left: a thread of the parent may have held it."""
        for walk in self._at.values():
            walk.close()

    def _resumed(self, after: Position | None) -> _Walk:
        if after is None:
            return _Walk(self._places)
        known = self._at.pop(after, None)
        if known is not None:
            return known
        walk = _Walk(self._places)
        if not walk.skip_to(after):
            walk.close()
            walk = _Walk(self._places)
        return walk

    def _remember(self, position: Position, walk: _Walk) -> None:
        if (other := self._at.pop(position, None)) is not None:
            other.close()
        self._at[position] = walk
        while len(self._at) > MOST:
            self._at.popitem(last=False)[1].close()
