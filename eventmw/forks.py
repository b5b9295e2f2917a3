"""What a fork must not come into: the moment between opening a file and noting that it is locked, and an import.

A child has only the thread that forked. What another thread was in the middle of stays half done in it for ever: a lock that
nobody knows of, a module that never becomes whole. So forks wait for these moments, for `PATIENCE_S` at most.

Threads in such moments do not wait for each other. While a fork waits, nobody new comes in before it, or a busy process
would never fork; who is in already may come in again, since the fork waits for it.

What a child must do first is registered here, too: `after_fork_in_child`. uWSGI forks its workers in C and does not tell
Python, so the functions are also called by `notice`, at the first call in a process that it does not know.

Layer: input and output.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import RLock, get_ident
from types import TracebackType
from typing import Final

log = logging.getLogger("eventmw")

PATIENCE_S: Final = 5.0


class _Forks:
    """Who holds forks off, and who forks.

    A garbage collection or a signal may have a thread come in while it is coming in or going out, so everything here can be
    entered again by the same thread, and each count is changed by its own thread alone.

    Attributes:
        gate: held by the thread that forks, and for an instant by each that comes in.
        held: thread → how deep it is in; those that are not in are not there.
        forking: the thread that has the gate for its fork.
        left: told of each that goes out, while somebody waits for that.
    """

    def __init__(self) -> None:
        self.gate = RLock()
        self.held: dict[int, int] = {}
        self.forking: int | None = None
        self.left: SimpleQueue[None] | None = None


_forks: Final = _Forks()


class HeldOff:
    """Keep forks of other threads away: ``with HeldOff():``. May be nested, and held by any number of threads."""

    __slots__ = ()

    def __enter__(self) -> None:
        me, held = get_ident(), _forks.held
        if me in held:
            held[me] += 1
            return
        with _forks.gate:
            held[me] = held.get(me, 0) + 1

    def __exit__(self, *_: object) -> None:
        me, held = get_ident(), _forks.held
        if held[me] > 1:
            held[me] -= 1
            return
        del held[me]
        if (left := _forks.left) is not None:
            left.put(None)


def _before() -> None:
    until_s = time.monotonic() + PATIENCE_S
    if not _forks.gate.acquire(timeout=PATIENCE_S):
        return
    _forks.forking = get_ident()
    left: SimpleQueue[None] = SimpleQueue()
    _forks.left = left  # before the first look: nobody goes out unnoticed
    while _others() and (wait_s := until_s - time.monotonic()) > 0:
        with suppress(Empty):
            left.get(timeout=wait_s)


def _after_in_parent() -> None:
    if _forks.forking == get_ident():
        _forks.forking = _forks.left = None
        _forks.gate.release()


def _after_in_child() -> None:
    """Forget the other threads. What this one is in the middle of, it goes on with."""
    _forks.gate = RLock()
    _forks.forking = _forks.left = None
    for thread in _others():
        del _forks.held[thread]
    _here.pid = os.getpid()
    for function in _in_child:
        try:
            function()
        except Exception:
            log.exception("a forked process could not give up what it inherited")


class _Here:
    """The process that this module knows, and the lock under which it learns of another."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()


_here: Final = _Here()
_in_child: Final[list[Callable[[], None]]] = []


def after_fork_in_child(function: Callable[[], None]) -> Callable[[], None]:
    """Call a function in each forked child before anything of ours runs there, in the order of registration."""
    _in_child.append(function)
    return function


def notice() -> None:
    """Call the functions of `after_fork_in_child` if this process was forked without Python's knowledge."""
    if _here.pid != os.getpid():
        with _here.lock:
            if _here.pid != os.getpid():
                _after_in_child()


def is_patched() -> bool:
    """Return whether threads are greenlets here: gevent or eventlet has replaced them."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    return (gevent is not None and gevent.is_module_patched("threading")) or (
        eventlet is not None and eventlet.is_monkey_patched("thread")
    )


class LateLock:
    """A lock that is made when it is first taken, by ``threading`` as it is then: ``with lock:``.

    gevent and eventlet replace ``threading.Lock``. A lock that was made before blocks the one thread in which all greenlets
    run. Code that waits for a network or a new thread while it holds a lock takes one of these.
    """

    __slots__ = ("_held", "_made")

    def __init__(self) -> None:
        self._made: dict[tuple[int, object], threading.Lock] = {}
        self._held: threading.Lock | None = None

    def __enter__(self) -> None:
        key = (os.getpid(), threading.Lock)
        # `setdefault` is atomic: two threads that come at the same time get the same lock.
        lock = self._made.get(key) or self._made.setdefault(key, threading.Lock())
        lock.acquire()
        self._held = lock

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lock, self._held = self._held, None
        if lock is not None:
            lock.release()


def _others() -> list[int]:
    """Return the other threads that hold forks off."""
    me = get_ident()
    return [thread for thread in list(_forks.held) if thread != me]


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
