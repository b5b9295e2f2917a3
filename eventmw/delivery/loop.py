"""The courier's event loop: begun, and ended within a bounded time.

The runner of the standard library waits until every task has heeded its cancellation, and joins the pool that looks up
hosts' names: one consumer that swallows ``CancelledError`` would keep the site from stopping. Here such tasks are left
behind, as threads that hang are.

Layer: input and output.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

LEAVE_S: Final = 0.2
"""How long the end waits for tasks that were cancelled; those that heed it need a turn of the loop."""

_left_behind: Final[list[asyncio.Task[Any]]] = []


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on a loop of its own, in this thread.

    Raises:
        BaseException: what `main` raised.
    """
    loop = asyncio.SelectorEventLoop()
    try:
        loop.run_until_complete(main)
    finally:
        try:
            _end_tasks(loop)
        finally:
            loop.close()


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
