"""What a fork must not come into: the moment between opening a file and noting that it is locked, and an import.

A child has only the thread that forked. What another thread was in the middle of stays half done in it for ever: a lock that
nobody knows of, a module that never becomes whole. So forks wait for these moments, for `PATIENCE_S` at most.

Threads in such moments do not wait for each other. While a fork waits, nobody new comes in before it, or a busy process
would never fork; who is in already may come in again, since the fork waits for it.

Layer: input and output.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import RLock, get_ident
from typing import Final

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


def _others() -> list[int]:
    """Return the other threads that hold forks off."""
    me = get_ident()
    return [thread for thread in list(_forks.held) if thread != me]


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
