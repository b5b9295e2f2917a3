"""Where calls are answered: a few threads, and a line before them that has an end.

Layer: input and output.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

from eventmw.delivery.threads import DaemonPool
from eventmw.errors import Refused

_T = TypeVar("_T")

THREADS: Final = 4
"""Calls that are answered at once: they wait for a database, and share the site's processors. Source: assumption."""

MANAGE_THREADS: Final = 2
"""Management calls that are answered at once. They have threads of their own: questions, which a public link asks as well,
must not keep an owner from revoking a key. Source: assumption."""

LINE: Final = 32
"""Calls that may wait for a thread: a page of charts asks about ten questions at once. Source: assumption."""

RETRY_AFTER_S: Final = "5"


def manage_pool() -> CallPool:
    """Return the pool of management calls."""
    return CallPool(MANAGE_THREADS, name="eventmw-manage")


class CallPool:
    """At most `threads` threads, started when there is work. Thread-safe.

    Args:
        threads: calls that are answered at once.
        line: calls that may wait.
        name: of the threads.
    """

    def __init__(self, threads: int = THREADS, line: int = LINE, *, name: str = "eventmw-calls") -> None:
        self._pool = DaemonPool(name, threads)
        self._room = threading.BoundedSemaphore(threads + line)

    def submit(self, job: Callable[[], _T]) -> Future[_T]:
        """Have a thread call `job`. A future that is cancelled before a thread was free is never called.

        Raises:
            Refused: 503, the line is full.
        """
        if not self._room.acquire(blocking=False):
            detail = "More calls came at once than can wait. Nothing of this one was done; send it again."
            raise Refused("overloaded", detail, headers=(("retry-after", RETRY_AFTER_S),))
        try:
            future = self._pool.submit(job)
        except BaseException:  # a machine out of threads: the room is free again
            self._room.release()
            raise
        future.add_done_callback(lambda _: self._room.release())
        return future

    def close(self) -> None:
        """Let threads end when they have nothing to do. Does not wait."""
        self._pool.close()
