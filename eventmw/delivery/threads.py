"""A bounded pool of daemon threads, for functions that may hang.

The pool of the standard library is joined when the interpreter ends: one consumer that hangs would keep the whole site from
stopping. Threads of this pool are left behind instead.

Layer: input and output.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

_T = TypeVar("_T")
_Job = Callable[[], None]

IDLE_S: Final = 30.0
"""A thread without work ends after this time."""


class DaemonPool:
    """At most `size` threads, started when there is work that no free one can take."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._threads = 0
        self._free = 0
        self._closed = False

    def submit(self, function: Callable[[], _T]) -> Future[_T]:
        """Have a thread call `function`. A future that is cancelled before a thread was free is never called.

        Raises:
            RuntimeError: there is no thread, and the system gives none: `function` will not be called.
        """
        future: Future[_T] = Future()

        def job() -> None:
            _fulfil(future, function)

        with self._changed:
            self._jobs.append(job)
            wanted = self._free < len(self._jobs) and self._threads < self._size
            if wanted:
                self._threads += 1
            else:
                self._changed.notify()
        if wanted:  # not under the lock: a greenlet that is started runs at once, and would wait for it
            self._start_another(job)
        return future

    def _start_another(self, job: _Job) -> None:
        """Start a thread for a job; when the system refuses, the threads that there are will take it."""
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:
            with self._changed:
                self._threads -= 1
                if self._threads or job not in self._jobs:
                    return
                self._jobs.remove(job)
            raise

    def close(self) -> None:
        """Let threads end when they have nothing to do. Does not wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()

    def _next(self) -> _Job | None:
        with self._changed:
            self._free += 1
            self._changed.wait_for(lambda: self._jobs or self._closed, IDLE_S)
            self._free -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._threads -= 1
            return None


def _fulfil(future: Future[_T], function: Callable[[], _T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - whatever the function raised is the future's to tell
        future.set_exception(error)
    else:
        future.set_result(result)
