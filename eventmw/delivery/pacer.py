"""Slices: how the courier works in a site's own process without being felt.

A thread that computes holds the interpreter's lock for up to 5 ms at a time, and every request of the site waits that long:
measured, a busy background thread moves a neighbour page's p50 from 0.3 to 4 ms and its p99 from 0.7 to 11 ms, one that
works in slices of 0.5 ms with real sleeps between them to 0.4 and 1.9 ms, of which most is garbage collections. Source:
``python -m benchmarks neighbour``. ``await asyncio.sleep(0)`` is no rest: the loop goes straight on.

Layer: input and output (it looks at the thread's own clock, and sleeps).
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from eventmw.delivery.loop import sleep

SLICE_NS: Final = 500_000
REST_S: Final = 0.001
LEAST_S: Final = 0.0001
GLIMPSE_NS: Final = 30_000
"""CPU time of the other threads that tells of a request of the site; an idle loop that is woken takes less."""

_RUDE_SLICE_NS: Final = 5_000_000
_LONGEST_NS: Final = 20_000_000
_FOREVER_NS: Final = 1 << 63

REQUEST_NS: Final = 400_000
"""What one step without a pause takes at most, as a rule: to write a request out, to fill requests, to commit."""


class Pacer:
    """Counts what its thread has worked, and rests when that is a slice. One for each thread.

    The measure is the thread's CPU time: what it spends waiting for the interpreter's lock, while the site works, must not
    count as work, or a busy site would starve deliveries.

    Args:
        polite: rest between slices; False where there is no site in the process. Lanes take turns either way.
    """

    __slots__ = ("_latest_ns", "_others_ns", "_polite", "_since_ns", "_slice_ns", "_until_ns", "rests")

    def __init__(self, *, polite: bool) -> None:
        self.rests = 0
        self._polite = polite
        self._slice_ns = SLICE_NS if polite else _RUDE_SLICE_NS
        self._since_ns = time.thread_time_ns()
        self._until_ns, self._latest_ns = 0, _FOREVER_NS
        self._others_ns = 0

    def begin(self) -> None:
        """Begin a stretch of a tool's code: one that waits uses up no slice, and still must let the other lanes go on."""
        self._latest_ns = time.perf_counter_ns() + _LONGEST_NS
        self._until_ns = min(self._until_ns, self._latest_ns)

    def end(self) -> None:
        """End the stretch: time that passes from now on is nobody's."""
        self._latest_ns = _FOREVER_NS

    async def breathe(self) -> None:
        """Rest, and let the other lanes have their turn, when a slice is over. Cheap enough to call after each event."""
        if self.is_over():
            self.rest()
            await asyncio.sleep(0)

    def is_over(self) -> bool:
        """Return whether it is time to `breathe`: cheaper to ask than to have a coroutine made for nothing."""
        return not self._has_room(0)

    def make_room(self) -> None:
        """Rest now when `REQUEST_NS` more would be too much for this slice."""
        if not self._has_room(REQUEST_NS):
            self.rest()

    def _has_room(self, wanted_ns: int) -> bool:
        """Return whether the slice lasts longer than this.

        A thread works no more than time passes. So its own clock, which is a call into the system, is asked only when
        the slice could be over by the time that has passed.
        """
        then_ns = time.perf_counter_ns() + wanted_ns
        if then_ns >= self._until_ns:
            now_ns, left_ns = then_ns - wanted_ns, self._slice_ns - (time.thread_time_ns() - self._since_ns)
            self._until_ns = min(now_ns + left_ns, self._latest_ns)
        return then_ns < self._until_ns

    def rest(self) -> None:
        """End the slice. Blocking is meant: the whole thread is to leave the interpreter's lock alone.

        The rest is as long as the slice was, and longer while the site works: its request would wait again for each time
        that it gives the lock away, and most do so several times.
        """
        if self._polite:
            sleep(min(max((time.thread_time_ns() - self._since_ns) / 1e9, LEAST_S), REST_S))
            if self._others_worked():
                sleep(REST_S)
                self._others_worked()
        self._begin_slice()

    def rest_if_felt(self) -> None:
        """End a slice that took a processor, not the interpreter's lock: rest when other threads worked meanwhile."""
        if self._polite and self._others_worked():
            time.sleep(REST_S)
            self._others_worked()
        self._begin_slice()

    def _begin_slice(self) -> None:
        self.rests += 1
        self._since_ns = time.thread_time_ns()
        self._until_ns, self._latest_ns = 0, _FOREVER_NS

    def _others_worked(self) -> bool:
        """Return whether other threads of the process have worked since this was asked last."""
        others_ns = time.process_time_ns() - time.thread_time_ns()
        worked_ns, self._others_ns = others_ns - self._others_ns, others_ns
        return worked_ns > GLIMPSE_NS
