"""The index of dead letters: which events of which tools are any, and where each letter stands.

It holds 16 bytes a letter, in arrays that are sorted by event.

Layer: pure rules.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable
from typing import Final

from eventmw.journal import Key

_MANY: Final = 64
_ORDINAL_BITS: Final = 24


class _Column:
    """The letters of one tool and stream: events, sorted, and beside each the number of its block."""

    __slots__ = ("blocks", "events")

    def __init__(self) -> None:
        self.events = array("Q")
        self.blocks = array("Q")

    def find(self, key: Key) -> tuple[int, bool]:
        """Return where an event stands or would stand, and whether it is there."""
        event = _event(key)
        at = bisect_left(self.events, event)
        return at, at < len(self.events) and self.events[at] == event

    def leave_out(self, gone: Collection[int]) -> int:
        """Take these events out; return how many were there."""
        kept = [at for at, event in enumerate(self.events) if event not in gone]
        before = len(self.events)
        self.events = array("Q", (self.events[at] for at in kept))
        self.blocks = array("Q", (self.blocks[at] for at in kept))
        return before - len(kept)


class Index:
    """Which events of which tools are dead letters, and in which block each letter is."""

    def __init__(self) -> None:
        self._columns: dict[tuple[str, str], _Column] = {}

    def block(self, tool: str, key: Key) -> int:
        """Return where the block with this letter is; 0: there is no such letter."""
        column = self._columns.get((tool, key.position.stream))
        if column is None:
            return 0
        at, there = column.find(key)
        return column.blocks[at] if there else 0

    def put(self, tool: str, key: Key, block: int) -> bool:
        """Note that a letter is in this block; return whether there was none."""
        column = self._columns.setdefault((tool, key.position.stream), _Column())
        at, there = column.find(key)
        if there:
            column.blocks[at] = block
        else:
            column.events.insert(at, _event(key))
            column.blocks.insert(at, block)
        return not there

    def remove(self, tool: str, key: Key) -> bool:
        """Take a letter out; return whether it was there."""
        column = self._columns.get((tool, key.position.stream))
        if column is None:
            return False
        at, there = column.find(key)
        if there:
            del column.events[at], column.blocks[at]
        return there

    def remove_all(self, tool: str, keys: Collection[Key]) -> int:
        """Take letters out; return how many were there. Many at once cost no more than a walk over all."""
        if len(keys) < _MANY:
            return sum(self.remove(tool, key) for key in keys)
        gone = 0
        for stream, events in _by_stream(keys).items():
            if (column := self._columns.get((tool, stream))) is not None:
                gone += column.leave_out(events)
        return gone

    def count(self, tool: str) -> int:
        """Return how many letters a tool has."""
        return sum(len(column.events) for (owner, _), column in self._columns.items() if owner == tool)


def _by_stream(keys: Iterable[Key]) -> dict[str, set[int]]:
    events: dict[str, set[int]] = {}
    for key in keys:
        events.setdefault(key.position.stream, set()).add(_event(key))
    return events


def _event(key: Key) -> int:
    return key.position.seq << _ORDINAL_BITS | key.ordinal
