"""What a fork must not come into: the moment between opening a file and noting that it is locked, and an import.

A child has only the thread that forked. What another thread was in the middle of stays half done in it for ever: a lock that
nobody knows of, a module that never becomes whole. So forks wait for these moments, for `PATIENCE_S` at most.

Layer: input and output.
"""

from __future__ import annotations

import os
from threading import RLock
from typing import Final

PATIENCE_S: Final = 5.0


class _Forks:
    """The lock that forks wait for, and whether the fork under way has it."""

    lock = RLock()
    waited = False


_forks: Final = _Forks()


class HeldOff:
    """Keep forks of other threads away: ``with HeldOff():``. May be nested."""

    __slots__ = ("_lock",)

    def __enter__(self) -> None:
        self._lock = _forks.lock
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _before() -> None:
    _forks.waited = _forks.lock.acquire(timeout=PATIENCE_S)


def _after_in_parent() -> None:
    if _forks.waited:
        _forks.lock.release()


def _after_in_child() -> None:
    _forks.lock = RLock()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
