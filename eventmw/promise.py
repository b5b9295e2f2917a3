"""A future without a lock of its own, for the one thing that every request waits for: that its record is kept.

`concurrent.futures.Future` makes a condition, a lock and three lists before anybody waits; most often nobody blocks, since
a record is kept at once or an event loop is told. Here a lock is made by a thread that does block, and by no other.

Layer: input and output.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, NoReturn, TypeVar

log: Final = logging.getLogger("eventmw")

T = TypeVar("T")


class Promise(Future[T]):
    """A future that whoever made it resolves, once. Thread-safe; it cannot be cancelled.

    Everything public of a future works, and `asyncio.wrap_future`. ``concurrent.futures.wait`` and ``as_completed`` reach
    for the lock that it has not, and raise `AttributeError`.
    """

    # What is appended to and popped from is a list, and both are atomic: each callback is taken out, and so called, by
    # exactly one thread, whichever of adding and resolving comes first.
    _over = False
    _value: T
    _error: BaseException | None = None

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Future[T]], object]] = []

    def __repr__(self) -> str:
        """Return how far it is, without its value: that may be somebody's event."""
        if not self._over:
            return "<Promise pending>"
        return "<Promise done>" if self._error is None else f"<Promise failed: {type(self._error).__name__}>"

    def __getattr__(self, name: str) -> NoReturn:
        """Say what to do instead, to who reaches for the lock inside a future.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(
            f"a Promise has no {name}: it has no lock, so concurrent.futures.wait and as_completed cannot wait for it; "
            "call its result(timeout), add_done_callback, or asyncio.wrap_future",
            name=name,
            obj=self,
        )

    def set_result(self, result: T) -> None:
        """Resolve it, and call back from this thread."""
        self._value = result
        self._end()

    def set_exception(self, exception: BaseException | None) -> None:
        """Resolve it by an error, and call back from this thread."""
        self._error = exception
        self._end()

    def _end(self) -> None:
        self._over = True
        if self._callbacks:
            self._call_back()

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have a function called when it is resolved, from the resolving thread, or at once when it is already."""
        self._callbacks.append(fn)
        if self._over:
            self._call_back()

    def _call_back(self) -> None:
        while self._callbacks:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:  # another thread has taken the last one
                return
            try:
                callback(self)
            except Exception:
                log.exception("calling back failed")

    def done(self) -> bool:
        """Return whether it is resolved."""
        return self._over

    def set_running_or_notify_cancel(self) -> bool:
        """Return True: nobody can have cancelled it."""
        return True

    def running(self) -> bool:
        """Return whether it is not resolved yet."""
        return not self._over

    def cancel(self) -> bool:
        """Return False: what it stands for goes on."""
        return False

    def cancelled(self) -> bool:
        """Return False."""
        return False

    def result(self, timeout: float | None = None) -> T:
        """Wait, at most `timeout` seconds, and return the result or raise the error.

        Raises:
            TimeoutError: it was not resolved in time; it may be later.
        """
        if not self._over:
            self._wait(timeout)
        if self._error is not None:
            raise self._error
        return self._value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait, at most `timeout` seconds, and return the error or None.

        Raises:
            TimeoutError: as above.
        """
        if not self._over:
            self._wait(timeout)
        return self._error

    def _wait(self, timeout: float | None) -> None:
        ended = threading.Lock()
        ended.acquire()
        self.add_done_callback(lambda _: ended.release())
        if not ended.acquire(timeout=-1 if timeout is None else max(timeout, 0)):
            raise TimeoutError
