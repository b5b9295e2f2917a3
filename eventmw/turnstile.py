"""The turnstile: so many of our requests in one turn of the event loop as it can bear, the others in a line that has an end.

A loop judges everything that came since its last turn before it answers anything else. So a crowd of events would be felt
by every page of the site, and by itself: each answer, a refusal as well, would wait for the whole crowd. With a slice of
the loop's time in a turn the site's requests come between, and whoever finds the line full is told at once.

The slice grows with what all else takes in a turn. Were it fixed, a flood would be refused with all the time there is, and
next to nothing would be taken.

Layer: gateways. Bound to one event loop; not thread-safe.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

SLICE_S: Final = 0.0005
"""Seconds of one turn that our requests may always have: as long as a slice of the courier."""

SHARE: Final = 0.25
"""How much they may have of what everything else took in the turn before, when that is more: so much longer a page waits.

Measured at twice what a server can take: 70 % of what it could is taken with ten events a request, 75 % with a hundred;
a fixed number of four took 2 %. Source: ``python -m benchmarks saturation`` for the hundred.
"""

LINE: Final = 500
"""Requests that may wait: about a tenth of a second of one process's work. Source: assumption."""

FIRST_GUESS_S: Final = 0.0001
"""Seconds that a request costs, before any was judged. Source: assumption."""

_WEIGHT: Final = 0.2
"""Of a turn's mean in the moving mean of what a request costs."""


class Turnstile:
    """Lets requests through in the order in which they came.

    Args:
        loop: the loop whose turns are meant.
        now_s: a clock, in seconds.

    Attributes:
        now_s: the same.
    """

    __slots__ = ("_began_s", "_busy_s", "_each_s", "_judged", "_line", "_loop", "_room", "_through", "now_s")

    def __init__(self, loop: asyncio.AbstractEventLoop, now_s: Callable[[], float] = time.perf_counter) -> None:
        self._loop = loop
        self.now_s = now_s
        self._line: deque[asyncio.Future[None]] = deque()
        self._each_s = FIRST_GUESS_S
        self._room = _room(SLICE_S, FIRST_GUESS_S)
        self._began_s = self._busy_s = 0.0
        self._through = self._judged = 0

    @property
    def is_full(self) -> bool:
        """Whether nobody more can wait."""
        return len(self._line) >= LINE

    def enter(self) -> asyncio.Future[None] | None:
        """Return None when it is one's turn, else what to wait for."""
        if self._through < self._room and not self._line:
            if not self._through:
                self._began_s = self.now_s()
                self._loop.call_soon(self._turn)
            self._through += 1
            return None
        place = self._loop.create_future()
        self._line.append(place)
        return place

    def spent(self, since_s: float) -> None:
        """Note that a request was judged, from a time of the clock until now."""
        self._busy_s += self.now_s() - since_s
        self._judged += 1

    def _turn(self) -> None:
        """Begin a new turn with those who wait longest."""
        now_s = self.now_s()
        if self._judged:
            self._each_s += _WEIGHT * (self._busy_s / self._judged - self._each_s)
        others_s = now_s - self._began_s - self._busy_s
        self._room = _room(max(SLICE_S, SHARE * others_s), self._each_s)
        self._began_s, self._busy_s = now_s, 0.0
        self._through = self._judged = 0
        while self._line and self._through < self._room:
            place = self._line.popleft()
            if not place.done():  # else its request was cancelled
                place.set_result(None)
                self._through += 1
        if self._through:
            self._loop.call_soon(self._turn)


def _room(slice_s: float, each_s: float) -> int:
    """Return how many requests fit into a slice: at least one."""
    return max(1, int(slice_s / max(each_s, 1e-9)))
