"""The turns in the life of a process that concern everything we run in it: the start of a site, a fork, and the end.

A process has one thread that looks after all its sites: it starts them, so that no request waits for that, answers on their
sockets, and gives back what a dropped site held. The thread ends when there is no site left to look after.

Layer: input and output.
"""

from __future__ import annotations

import atexit
import gc
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from typing import Final, Protocol
from weakref import WeakSet

from eventmw.forks import after_fork_in_child

log = logging.getLogger("eventmw")

THREAD_NAME: Final = "eventmw-control"

_POLL_S: Final = 0.5
"""How often the thread looks for jobs when the system gives it no descriptors to be woken by."""

CROWD: Final = 8
"""Sites at work in one process from which on a new one first looks for dropped ones: nobody runs so many, but test suites
that make a site for each test do, and the garbage collector may not come for hundreds of tests. Source: assumption."""

_ROOM_S: Final = 2.0
_CALL_S: Final = 5.0


class Living(Protocol):
    """What is told of them."""

    def leave_parent_behind(self) -> None:
        """Begin anew, in a forked child."""
        ...

    def finish(self) -> None:
        """Do what is due, at the end of the process."""
        ...

    @property
    def is_dropped(self) -> bool:
        """Whether its site is gone, and what it holds is about to be given back."""
        ...


sites_open_late = False
"""Whether a site that is made now opens its journal at its first use instead of at once.

Set while pytest imports test modules: a test that uses the fixture ``eventmw_events`` must find no folder that the import
of the site has made. It is here because the plugin may import nothing heavy.
"""

_living: WeakSet[Living] = WeakSet()


def join(one: Living) -> None:
    """Tell it of forks from now on, as long as somebody holds it."""
    _living.add(one)


class Caretaker:
    """The one thread of this process that looks after its sites.

    Attributes:
        kept: what has threads or descriptors to give back. The thread runs as long as there is any.
    """

    def __init__(self) -> None:
        self.kept: set[Living] = set()
        # Held by the thread while it runs, and never waited for: monkey-patched or not, nobody blocks on it.
        self._running = threading.Lock()
        self._jobs: deque[Callable[[], object]] = deque()
        self._thread: threading.Thread | None = None
        self._watched: dict[socket.socket, Callable[[], object]] = {}
        self._selector: selectors.BaseSelector | None = None
        self._hears: socket.socket | None = None
        self._wake: socket.socket | None = None

    def do(self, job: Callable[[], object]) -> None:
        """Have the thread do a job after those that it was given before. Starts the thread when it does not run.

        Raises:
            RuntimeError: the system gives no more threads. The job is not done.
        """
        self._jobs.append(job)
        if self._running.locked():
            self._call()
            return
        try:
            threading.Thread(target=self._live, name=THREAD_NAME, daemon=True).start()
        except RuntimeError:
            with suppress(ValueError):  # another thread may have been given it meanwhile
                self._jobs.remove(job)
            raise

    def do_soon(self, job: Callable[[], object]) -> None:
        """Do as `do`; the thread itself does the job at once.

        Raises:
            RuntimeError: as `do`.
        """
        if threading.current_thread() is self._thread:
            job()
        else:
            self.do(job)

    def keep(self, one: Living) -> None:
        """Look after a site, until it is taken out of `kept`.

        Raises:
            RuntimeError: the system gives no more threads.
        """
        self.kept.add(one)
        try:
            self.do(_nothing)
        except RuntimeError:
            self.kept.discard(one)
            raise

    def note(self, job: Callable[[], object]) -> None:
        """Leave a job for the thread. Takes no lock and starts nothing, so that a finaliser may call it anywhere."""
        self._jobs.append(job)
        self._call()

    def call(self, job: Callable[[], object] = lambda: None) -> None:
        """Have the thread do a job after those before, and wait for that; the thread itself does it at once."""
        if threading.current_thread() is self._thread or not self._running.locked():
            job()
            return
        done = threading.Event()

        def announced() -> None:
            try:
                job()
            finally:
                done.set()

        with suppress(RuntimeError):
            self.do(announced)
            done.wait(_CALL_S)

    def watch(self, listener: socket.socket, ready: Callable[[], object]) -> None:
        """Call a function whenever a socket can be read. Call it in the thread."""
        self._watched[listener] = ready
        if self._selector is not None:
            self._selector.register(listener, selectors.EVENT_READ, ready)

    def pause(self, listener: socket.socket) -> None:
        """Leave a socket alone until it is watched again. Call it in the thread."""
        if self._selector is not None:
            self._selector.unregister(listener)

    def unwatch(self, listener: socket.socket) -> None:
        """Watch a socket no more. Call it in the thread, before the socket is closed."""
        if self._watched.pop(listener, None) is not None and self._selector is not None:
            with suppress(KeyError):  # it was paused
                self._selector.unregister(listener)

    def settle(self) -> None:
        """Wait a moment for the thread's end, when it has nothing left to look after."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread() and not (self.kept or self._watched):
            self._call()
            thread.join(_CALL_S)

    def make_room(self) -> None:
        """Have dropped sites give back what they hold, before one more begins: when there are many.

        A site that is part of a reference cycle (Flask: ``app.wsgi_app = EventsMiddleware(app.wsgi_app)``) goes with the
        next full garbage collection, which may be later than the last free descriptor.
        """
        if len(self.kept) < CROWD or threading.current_thread() is self._thread:
            return
        gc.collect()
        until_s = time.monotonic() + _ROOM_S
        while self._ending() and time.monotonic() < until_s:
            time.sleep(0.002)

    def _ending(self) -> bool:
        return bool(self._jobs) or any(one.is_dropped for one in tuple(self.kept))

    def _call(self) -> None:
        if (wake := self._wake) is not None:
            with suppress(OSError):  # full: the thread is called already; closed: it looks at the jobs before it ends
                wake.send(b"\0")

    def _live(self) -> None:
        # Whoever leaves a job finds the lock held, or starts a thread; who gives it back then looks for jobs.
        while self._running.acquire(blocking=False):
            self._thread = threading.current_thread()
            try:
                self._serve()
            except Exception:
                log.exception("the thread that looks after this process's sites begins anew")
                time.sleep(_POLL_S)
            finally:
                self._thread = None
                self._running.release()
            if not (self._jobs or self.kept or self._watched):
                return

    def _serve(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                self._listen(selector)
        except OSError:  # out of descriptors: then nobody can wake the thread
            self._do_jobs()
            time.sleep(_POLL_S)
        finally:
            self._selector = self._hears = self._wake = None

    def _listen(self, selector: selectors.BaseSelector) -> None:
        hears, wakes = socket.socketpair()
        with hears, wakes:
            for end in (hears, wakes):
                end.setblocking(False)
            selector.register(hears, selectors.EVENT_READ, partial(_empty, hears))
            for listener, ready in self._watched.items():
                selector.register(listener, selectors.EVENT_READ, ready)
            self._selector, self._hears, self._wake = selector, hears, wakes
            self._do_jobs()
            while self.kept or self._watched:
                for key, _ in selector.select():
                    key.data()
                self._do_jobs()

    def _do_jobs(self) -> None:
        while self._jobs:
            try:
                self._jobs.popleft()()
            except Exception:
                log.exception("a site could not be started, or ended, as a whole")
            time.sleep(0)  # greenlets have their turn between two jobs

    def leave_parent_behind(self) -> None:
        """Begin anew in a forked child, which has no such thread."""
        for inherited in (self._selector, self._hears, self._wake):
            with suppress(Exception):
                if inherited is not None:
                    inherited.close()
        self.__init__()  # type: ignore[misc]


def _nothing() -> None:
    """Do nothing: what matters is that the thread runs."""


def _empty(hears: socket.socket) -> None:
    with suppress(BlockingIOError):
        hears.recv(4096)


caretaker: Final = Caretaker()


@cache
def heed_exit() -> None:
    """Tell all of the end of the process while threads and pools still work, which is before ``atexit``'s own time.

    The hook is the one by which concurrent.futures ends its pools. What registered last is called first, so the pools'
    module is imported before. Without the hook, ``atexit`` has to do.
    """
    import_module("concurrent.futures.thread")
    register: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
    register(_finish_all)


def _finish_all() -> None:
    for one in list(_living):
        one.finish()


def _after_fork() -> None:
    caretaker.leave_parent_behind()
    for one in list(_living):
        one.leave_parent_behind()


after_fork_in_child(_after_fork)
