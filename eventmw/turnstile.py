"""The turnstile: a few of our requests in one turn of the event loop, the others in a line, and the line has an end.

A loop judges everything that came since its last turn before it answers anything else. So a crowd of events would be felt
by every page of the site, and by itself: each answer, a refusal as well, would wait for the whole crowd. With a few in a
turn the site's requests come between, and whoever finds the line full is told at once.

Layer: gateways. Bound to one event loop; not thread-safe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

EACH_TURN: Final = 4
"""Requests in one turn: with one event each they take about as long as a slice of the courier. Source: assumption."""

LINE: Final = 500
"""Requests that may wait: about a tenth of a second of one process's work. Source: assumption."""


class Turnstile:
    """Lets requests through in the order in which they came."""

    __slots__ = ("_line", "_through")

    def __init__(self) -> None:
        self._line: deque[asyncio.Future[None]] = deque()
        self._through = 0

    async def enter(self) -> bool:
        """Wait for one's turn; return False, at once, when the line is full."""
        if not self._line and self._through < EACH_TURN:
            if not self._through:
                asyncio.get_running_loop().call_soon(self._turn)
            self._through += 1
            return True
        if len(self._line) >= LINE:
            return False
        place = asyncio.get_running_loop().create_future()
        self._line.append(place)
        await place
        return True

    def _turn(self) -> None:
        """Begin a new turn with those who wait longest."""
        self._through = 0
        while self._line and self._through < EACH_TURN:
            place = self._line.popleft()
            if not place.done():  # else its request was cancelled
                place.set_result(None)
                self._through += 1
        if self._through:
            asyncio.get_running_loop().call_soon(self._turn)
