"""Waiting on an event loop: for a body that has to come in time, and for a future of another thread.

What is the same for many requests is there once for each loop: one timer for all that must not take too long, and one
wake-up for all that another thread has resolved at about the same time.

Layer: gateways.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from eventmw.turnstile import Turnstile

_NEVER: Final = float("inf")

K = TypeVar("K")


async def wait(future: Future[Any], timeout_s: float) -> bool:
    """Return whether the future is done within `timeout_s` seconds; it goes on either way."""
    if future.done():
        return True
    side = here()
    waiter: asyncio.Future[bool] = side.loop.create_future()
    side.waiters.enter(waiter, timeout_s)
    future.add_done_callback(partial(side.landing.land, waiter))
    try:
        return await waiter
    finally:
        side.waiters.leave(waiter)


class Within:
    """Does what `asyncio.timeout` does, by the loop's one timer: ``with Within(timeout_s):`` in a coroutine.

    Raises:
        TimeoutError: what was awaited inside was cancelled, since it took longer than `timeout_s` seconds.
    """

    __slots__ = ("_before", "_task", "_tasks", "_timeout_s")

    _task: asyncio.Task[Any]
    _tasks: Deadlines[asyncio.Task[Any]]
    _before: int

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def __enter__(self) -> None:
        side = here()
        task = asyncio.current_task(side.loop)
        if task is None:
            raise RuntimeError("a time limit needs a task that can be cancelled")
        self._task, self._tasks, self._before = task, side.tasks, task.cancelling()
        side.tasks.enter(task, self._timeout_s)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._tasks.leave(self._task):
            return
        # The timer has cancelled the task. When somebody else has as well, it stays cancelled.
        if self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Deadlines(Generic[K]):
    """What must not take too long on one loop, and what to do with that which does: one timer for all of it.

    Entering and leaving are two steps of a dictionary. A timer for each would have to be made, put into the loop's heap and
    cancelled, and nearly none of them ever goes off.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[K], object]) -> None:
        self._loop = loop
        self._expire = expire
        self._due_s: dict[K, float] = {}
        self._next_s = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, key: K, timeout_s: float) -> None:
        """Expire a key after that time, unless it leaves before."""
        due_s = self._due_s[key] = self._loop.time() + timeout_s
        if due_s < self._next_s:
            self._look_at(due_s)

    def leave(self, key: K) -> bool:
        """Let a key go; return whether it was still here, and has not expired."""
        return self._due_s.pop(key, None) is not None

    def _look_at(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_s = due_s
        self._timer = self._loop.call_at(due_s, self._look) if due_s < _NEVER else None

    def _look(self) -> None:
        """Expire what is due, and come back for the next: when all have left, there is none."""
        now_s = max(self._loop.time(), self._next_s)  # loops round, and may call a little early
        for key in [key for key, due_s in self._due_s.items() if due_s <= now_s]:
            del self._due_s[key]
            self._expire(key)
        self._look_at(min(self._due_s.values(), default=_NEVER))


class Landing:
    """Wakes those who wait on one loop for what other threads resolve: one call into the loop for all that come together."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._landed: deque[asyncio.Future[bool]] = deque()
        self._called = False

    def land(self, waiter: asyncio.Future[bool], _: object = None) -> None:
        """Have a waiter woken, from any thread. On a loop that is closed nobody waits any more."""
        self._landed.append(waiter)
        # First in, then a look at the flag; `_wake` lowers the flag and then empties: nobody falls between the two.
        if not self._called:
            self._called = True
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._called = False
        while self._landed:
            _tell(self._landed.popleft(), in_time=True)


def _tell(waiter: asyncio.Future[bool], *, in_time: bool) -> None:
    if not waiter.done():  # it may have been cancelled, or told the other thing
        waiter.set_result(in_time)


def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()


class LoopSide:
    """What the requests of one loop share."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.landing = Landing(loop)
        self.waiters: Deadlines[asyncio.Future[bool]] = Deadlines(loop, partial(_tell, in_time=False))
        self.turnstile = Turnstile(loop)
        self.tasks: Deadlines[asyncio.Task[Any]] = Deadlines(loop, _cancel)


class _Local(threading.local):
    side: LoopSide | None = None


_local: Final = _Local()


def here() -> LoopSide:
    """Return what belongs to the running loop. A thread runs one at a time, and most run one for all their life."""
    loop, side = asyncio.get_running_loop(), _local.side
    if side is None or side.loop is not loop:
        side = _local.side = LoopSide(loop)
    return side
