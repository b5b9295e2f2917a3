"""The courier's event loop: begun, and ended within a bounded time.

The runner of the standard library waits until every task has heeded its cancellation, and joins the pool that looks up
hosts' names: one consumer that swallows ``CancelledError`` would keep the site from stopping. Here such tasks are left
behind, as threads that hang are.

Layer: input and output.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import Any, Final
from weakref import WeakKeyDictionary

from eventmw.forks import is_patched

LEAVE_S: Final = 0.2
"""How long the end waits for tasks that were cancelled; those that heed it need a turn of the loop."""

_left_behind: Final[list[asyncio.Task[Any]]] = []


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on a loop of its own, in this thread.

    Raises:
        BaseException: what `main` raised.
    """
    loop = asyncio.SelectorEventLoop(_apart() if is_patched() else None)
    try:
        loop.run_until_complete(main)
    finally:
        try:
            _end_tasks(loop)
        finally:
            loop.close()


def sleep(seconds: float) -> None:
    """Block the loop's thread, and leave asyncio to other greenlets meanwhile."""
    if is_patched():
        with _aside():
            time.sleep(seconds)
    else:
        time.sleep(seconds)


@contextmanager
def _aside() -> Generator[None]:
    """Let other greenlets have the running loop of asyncio while the one of this loop waits.

    asyncio knows one running loop for each thread of the system, in which all greenlets run. Without this a site under
    gevent could not call ``asyncio.run`` any more once the courier's loop runs.
    """
    ours = asyncio._get_running_loop()  # noqa: SLF001 - made for those who write event loops
    asyncio._set_running_loop(None if ours is None else _theirs.get(ours))  # noqa: SLF001
    try:
        yield
    finally:
        if ours is not None:
            _theirs[ours] = asyncio._get_running_loop()  # noqa: SLF001
        asyncio._set_running_loop(ours)  # noqa: SLF001


_theirs: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.AbstractEventLoop | None]] = WeakKeyDictionary()
"""Loop of a courier → the loop that another greenlet was running when that courier went on."""


def _apart() -> selectors.BaseSelector:
    """Return a selector that waits as `_aside` says."""

    class Apart(selectors.DefaultSelector):  # here, since what this name means changes with a monkey patch
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            with _aside():
                return super().select(timeout)

    return Apart()


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=LEAVE_S))
    with suppress(TimeoutError):
        loop.run_until_complete(asyncio.wait_for(loop.shutdown_asyncgens(), LEAVE_S))
    for task in tasks:
        if task.done():
            with suppress(BaseException):
                task.exception()  # else asyncio logs that nobody looked
        else:
            # Nobody will turn it any more. Destroyed, it would run its handlers in the middle of something else.
            _left_behind.append(task)
