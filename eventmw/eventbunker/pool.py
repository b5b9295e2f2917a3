"""Where calls are answered: a few threads, and a line before them that has an end, with a share of both for each key.

Layer: input and output.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from eventmw.delivery.pacer import LEAST_S, Pacer
from eventmw.delivery.threads import DaemonPool
from eventmw.errors import Refused
from eventmw.pauses import taking

_T = TypeVar("_T")

THREADS: Final = 4
"""Calls that are answered at once: they wait for a database, and share the site's processors. Source: assumption."""

KEY_THREADS: Final = 2
PROJECT_THREADS: Final = 3
"""Calls of one key, and of one project, that are answered at once: there is always a thread for the next one."""

MANAGE_THREADS: Final = 2
"""Management calls that are answered at once. They have threads of their own: questions, which a public link asks as well,
must not keep an owner from revoking a key. Source: assumption."""

KEY_LINE: Final = 12
"""Calls of one key that may wait for a thread: a page of charts asks about ten questions at once. Source: assumption."""

PROJECT_LINE: Final = 24
LINE: Final = 48
"""Calls of one project, and of all, that may wait for a thread. When as many do, the next one takes the place of the last
of the key that has the most, unless that is its own. Source: assumption."""

RETRY_AFTER_S: Final = "5"


class Share(NamedTuple):
    """Whose call it is. ``by_link``: a signed link asks in the key's name, which anybody may open; it has its own share."""

    project: str = ""
    key: str = ""
    by_link: bool = False


NOBODY: Final = Share()


def manage_pool() -> CallPool:
    """Return the pool of management calls. They do not rest: they are short, and their keys are no page's."""
    return CallPool(MANAGE_THREADS, name="eventmw-manage", polite=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    share: Share
    future: Future[Any]
    job: Callable[[], object]


class CallPool:
    """At most `threads` threads, started when there is work. Thread-safe.

    Of the calls that wait, that one goes first whose key, and then whose project, has the fewest calls that are answered;
    among equals the one that came first.

    Args:
        threads: calls that are answered at once; of one key at most `KEY_THREADS`, of one project `PROJECT_THREADS`.
        line: calls that may wait; of one key at most `KEY_LINE`, of one project `PROJECT_LINE`.
        name: of the threads.
        polite: whether the threads work one at a time, in slices, and rest between them: the site's pages come first.
    """

    def __init__(
        self, threads: int = THREADS, line: int = LINE, *, name: str = "eventmw-calls", polite: bool = True
    ) -> None:
        self._pool = DaemonPool(name, threads)
        self._threads, self._line = threads, line
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._running: list[Share] = []
        self._turn = threading.Lock() if polite else None

    def submit(self, job: Callable[[], _T], share: Share = NOBODY) -> Future[_T]:
        """Have a thread call `job`. A future that is cancelled before a thread was free is never called.

        Args:
            job: what is to be done.
            share: whose call it is.

        Raises:
            Refused: 503, the line is full.
        """
        one = _Waiting(share, Future(), job)
        with self._lock:
            self._waiting = [*(other for other in self._waiting if not other.future.cancelled()), one]
            ready = self._take()
            left_out = self._one_too_many(share)
        if left_out is one:
            raise _overloaded()
        self._hand_over(ready)
        if left_out is not None and left_out.future.set_running_or_notify_cancel():
            left_out.future.set_exception(_overloaded())
        return one.future

    def _take(self) -> list[_Waiting]:
        """Take the calls for which there is a thread out of the line."""
        ready: list[_Waiting] = []
        while len(self._running) < self._threads:
            may = [one for one in self._waiting if self._may_run(one.share)]
            if not may:
                break
            first = min(may, key=lambda one: self._loads(one.share))
            self._waiting.remove(first)
            self._running.append(first.share)
            ready.append(first)
        return ready

    def _may_run(self, share: Share) -> bool:
        of_key, of_project = self._loads(share)
        return of_key < KEY_THREADS and of_project < PROJECT_THREADS

    def _loads(self, share: Share) -> tuple[int, int]:
        """Return how many calls of the key, and of the project, are answered now."""
        return self._running.count(share), sum(one.project == share.project for one in self._running)

    def _one_too_many(self, share: Share) -> _Waiting | None:
        """Take one call out of a line that became too long: the last of the key that has the most of it."""
        own = [one for one in self._waiting if one.share == share]
        of_project = [one for one in self._waiting if one.share.project == share.project]
        limits = ((own, KEY_LINE), (of_project, PROJECT_LINE), (self._waiting, self._line))
        for line, most in limits:
            if len(line) > most:
                projects, keys = Counter(one.share.project for one in line), Counter(one.share for one in line)
                # Of equals the one that came last, which is the one that comes now.
                last = max(reversed(line), key=lambda one: (projects[one.share.project], keys[one.share]))
                self._waiting.remove(last)
                return last
        return None

    def _hand_over(self, ready: Sequence[_Waiting]) -> None:
        # Not while the lock is held: a thread may have to be started.
        for one in ready:
            try:
                self._pool.submit(partial(self._run, one))
            except RuntimeError as error:  # a machine out of threads
                with self._lock:
                    self._running.remove(one.share)
                if one.future.set_running_or_notify_cancel():
                    one.future.set_exception(error)

    def _run(self, one: _Waiting) -> None:
        try:
            if one.future.set_running_or_notify_cancel():
                self._answer(one)
        finally:
            with self._lock:
                self._running.remove(one.share)
                ready = self._take()
            self._hand_over(ready)

    def _answer(self, one: _Waiting) -> None:
        try:
            with nullcontext() if self._turn is None else _in_slices(self._turn):
                result = one.job()
        except BaseException as error:  # noqa: BLE001 - whatever the job raised is the future's
            one.future.set_exception(error)
        else:
            one.future.set_result(result)

    def close(self) -> None:
        """Let threads end when they have nothing to do. Does not wait."""
        self._pool.close()


class _Slices:
    """How one call pauses: it gives its turn away when a slice is over, and whenever it waits for a database.

    A thread that computes holds the interpreter's lock, and each page of the site waits for it each time that it comes back
    from the kernel: for one slice with turns, for four without.
    """

    def __init__(self, turn: threading.Lock) -> None:
        self._turn = turn
        self._pacer = Pacer(polite=True)
        self._is_away = False

    def pause(self) -> None:
        """Rest when the slice is over, and let another thread have the turn."""
        if not self._pacer.is_over():
            return
        if self._is_away:
            self._pacer.rest_if_felt()
            return
        self._pacer.rest()  # in its own turn: the other threads rest as well
        self._turn.release()
        time.sleep(LEAST_S)  # or this thread would be the one that gets it back
        self._turn.acquire()

    @contextmanager
    def away(self) -> Generator[None]:
        """Give the turn away meanwhile."""
        self._is_away = True
        self._turn.release()
        try:
            yield
        finally:
            self._turn.acquire()
            self._is_away = False
            self._pacer = Pacer(polite=True)  # what the database took was not Python's


@contextmanager
def _in_slices(turn: threading.Lock) -> Generator[None]:
    with turn, taking(_Slices(turn)):
        yield


def _overloaded() -> Refused:
    detail = "More calls came at once than can wait. Nothing of this one was done; send it again."
    return Refused("overloaded", detail, headers=(("retry-after", RETRY_AFTER_S),))
