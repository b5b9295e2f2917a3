"""Events that repeat another which has not ended yet: they wait for it.

Which of two records with one id is the first depends on when a journal shows them: a record that its writer could not
announce any more comes late. A leader that settles a repetition and dies before the first is delivered would leave it to the
next, which may see them the other way round, and then neither would be delivered. So a repetition ends only once its first
is settled in the journal; until then it is settled nowhere.

Layer: input and output on the journal only. Not thread-safe.
Source: PROTOCOLS.md 2.5; found by the crash harness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from eventmw.delivery.endings import Item
from eventmw.journal import Key, Lease

MOST: Final = 500
"""So many wait while others are read. Source: assumption."""


class Repetitions:
    """The repetitions of one tool that wait.

    Args:
        tool: its id.
        lease: knows what is settled.
        live: the events that the lane has taken in and not committed.
        end: called with each repetition whose first is settled.
    """

    def __init__(self, tool: str, lease: Lease, live: set[Key], end: Callable[[Item], object]) -> None:
        self._tool = tool
        self._lease = lease
        self._live = live
        self._end = end
        self._waiting: dict[Key, list[Item]] = {}
        self._count = 0

    def take(self, item: Item, first: Key) -> bool:
        """End a repetition, or have it wait. False: there is no room, and it goes out as if it were the first.

        Rather twice than never: both carry the same id.
        """
        if self._lease.settled(self._tool, first):
            self._end(item)
            return True
        if self._count >= 2 * MOST:
            return False
        self._live.add(item.key)
        self._waiting.setdefault(first, []).append(item)
        self._count += 1
        return True

    def landed(self, keys: Iterable[Key]) -> None:
        """End those whose firsts were committed."""
        if not self._waiting:
            return
        for key in keys:
            for item in self._waiting.pop(key, ()):
                self._count -= 1
                self._end(item)

    def is_full(self) -> bool:
        """Return whether nothing more should be read. While a first is still to be read, reading goes on."""
        return self._count >= MOST and all(first in self._live for first in self._waiting)

    def let_go(self) -> list[Key]:
        """Forget all that wait, and return which events these are: they will be read again."""
        gone = [item.key for items in self._waiting.values() for item in items]
        self._waiting.clear()
        self._count = 0
        return gone
