"""What was read ahead of the vendor: sends that are not packed yet, bounded in number and bytes.

Layer: pure rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from eventmw.delivery.rules import Delivery
from eventmw.effects import Send


class ReadAhead:
    """The sends of one tool that wait to be packed, oldest first. Not thread-safe.

    Attributes:
        new: of events that were never tried.
        linger_until_s: monotonic seconds until which the new ones wait for more to be packed with them.
        again: of parked events: they failed alone, and may again, so they are packed apart.
    """

    def __init__(self, rules: Delivery, size: Callable[[Send], int]) -> None:
        self.new: deque[Send] = deque()
        self.again: deque[Send] = deque()
        self._rules = rules
        self._size = size
        self._bytes = 0
        self.linger_until_s = 0.0

    def has_room(self) -> bool:
        """Return whether more should be read."""
        rules = self._rules
        return len(self.new) + len(self.again) < rules.max_batch_items and self._bytes < rules.max_batch_bytes

    def add(self, sends: Sequence[Send], *, again: bool, linger_until_s: float = 0.0) -> None:
        """Take in an event's sends. Of new ones the one that may wait least decides for all."""
        if not again:
            self.linger_until_s = min(self.linger_until_s, linger_until_s) if self.new else linger_until_s
        self._bytes += sum(map(self._size, sends))
        (self.again if again else self.new).extend(sends)

    def take_new(self) -> Sequence[Send]:
        """Take what one ``pack`` call gets."""
        return self._take(self.new)

    def take_again(self) -> Sequence[Send]:
        """Take what one ``pack`` call gets of parked events."""
        return self._take(self.again)

    def take_out(self, sends: Sequence[Send]) -> Sequence[Send]:
        """Take these out of the new ones."""
        gone = set(map(id, sends))
        if gone:
            self.keep(lambda send: id(send) not in gone)
        return sends

    def _take(self, waiting: deque[Send]) -> Sequence[Send]:
        most = self._rules.max_batch_items
        if len(waiting) > most:
            sends = [waiting.popleft() for _ in range(most)]
        else:
            sends = list(waiting)
            waiting.clear()
        self._bytes = self._bytes - sum(map(self._size, sends)) if self.new or self.again else 0
        return sends

    def keep(self, wanted: Callable[[Send], bool]) -> None:
        """Let go of all others."""
        self.new = deque(filter(wanted, self.new))
        self.again = deque(filter(wanted, self.again))
        self._bytes = sum(map(self._size, (*self.new, *self.again)))
