"""A bounded pool of daemon threads, for functions that may hang.

The pool of the standard library is joined when the interpreter ends: one consumer that hangs would keep the whole site from
stopping. Threads of this pool are left behind instead.

Layer: input and output.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

_T = TypeVar("_T")
_Job = Callable[[], None]

IDLE_S: Final = 30.0
"""A thread without work ends after this time."""


class DaemonPool:
    """At most `size` threads, started when there is work for them. Not thread-safe: one loop submits."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0

    def submit(self, function: Callable[[], _T]) -> Future[_T]:
        """Have a thread call `function`. A future that is cancelled before a thread was free is never called."""
        future: Future[_T] = Future()
        with self._lock:
            start = self._free <= self._jobs.qsize() and self._threads < self._size
            self._threads += start
        self._jobs.put(lambda: _fulfil(future, function))
        if start:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        return future

    def close(self) -> None:
        """Let threads end when they have nothing to do. Does not wait."""
        for _ in range(self._size):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()
        with self._lock:
            self._threads -= 1

    def _next(self) -> _Job | None:
        with self._lock:
            self._free += 1
        try:
            return self._jobs.get(timeout=IDLE_S)
        except Empty:
            return None
        finally:
            with self._lock:
                self._free -= 1


def _fulfil(future: Future[_T], function: Callable[[], _T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - whatever the function raised is the future's to tell
        future.set_exception(error)
    else:
        future.set_result(result)
