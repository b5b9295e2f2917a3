"""Locks between processes, and the numbers that they tell each other.

A lock is a ``flock``: it ends with its process, whatever ends it, and conflicts inside a process as well. A forked child
inherits it, so it closes its copies at once, and never unlocks them. The threads of a process take, give back and look one
after the other, so that none of them takes another's look for a lock that is held.

Layer: input and output.
Source: JOURNAL.md «Locks»; flock(2).
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Final
from weakref import WeakSet
from zlib import crc32

from eventmw.forks import HeldOff, after_fork_in_child
from eventmw.journal.files.frames import NOTHING, Total

_numbers = struct.Struct("<QQQ")
BOARD_BYTES: Final = _numbers.size + 8


class _Turns:
    """Whose turn it is in this process. A garbage collection may release a lock in the middle of one's own turn."""

    lock = RLock()


@contextmanager
def _turn() -> Generator[None]:
    """Have no other thread of this process at any lock, and no fork come in between."""
    with HeldOff(), _Turns.lock:
        yield


class Lock:
    """A lock on one file, which is made when it is not there."""

    def __init__(self, path: Path) -> None:
        self._fd: int | None = None
        self.path = path
        _locks.add(self)

    def acquire(self) -> bool:
        """Take the lock if nobody holds it. Returns whether it is held now.

        Raises:
            OSError: its file cannot be opened, or not be locked here.
        """
        with _turn():
            if self._fd is None:
                self._fd = _locked(self.path, os.O_CREAT, fcntl.LOCK_EX)
            return self._fd is not None

    def write(self, text: bytes) -> None:
        """Say something in the file."""
        if self._fd is not None:
            os.pwrite(self._fd, text, 0)
            os.ftruncate(self._fd, len(text))

    def is_current(self) -> bool:
        """Return whether it is held, and its file is where others look for it."""
        fd = self._fd
        try:
            return fd is not None and os.path.samestat(os.fstat(fd), self.path.stat())
        except FileNotFoundError:
            return False
        except OSError:  # who may not look there may not take it either
            return True

    def release(self) -> None:
        """Give the lock back, by closing the only descriptor of it."""
        with _turn():
            fd, self._fd = self._fd, None
            if fd is not None:
                os.close(fd)

    def __del__(self) -> None:
        """Give the lock back with the last that knows of it: a site that is made and thrown away leaves nothing behind."""
        self.release()


_locks: Final[WeakSet[Lock]] = WeakSet()


def _after_fork_in_child() -> None:
    """Close what was inherited, whoever holds it: the parent's descriptors keep its locks."""
    _Turns.lock = RLock()
    for lock in _locks:
        lock.release()


after_fork_in_child(_after_fork_in_child)


def is_free(path: Path) -> bool:
    """Return whether nobody holds the lock on a file; one that is not there is free. Two who look do not see each other."""
    with _turn():
        try:
            fd = _locked(path, 0, fcntl.LOCK_SH)
        except FileNotFoundError:
            return True
        if fd is None:
            return False
        os.close(fd)
        return True


def _locked(path: Path, flags: int, how: int) -> int | None:
    """Return a descriptor of a file with the lock on it, or None while somebody else's excludes it."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:  # no locks on this file system: not the same as one that somebody holds
        os.close(fd)
        raise
    return fd


class Board:
    """A file where processes tell each other numbers, three at a place: a hint, never the durable truth.

    They are written with a checksum, by a call that can fail: a store into mapped memory would kill the process when a full
    disk has no block for it. The file is opened when it is used, and again after `close`.

    Args:
        path: the file.
        create: whether it is made when it is not there. If not, nothing was told in it yet.
    """

    __slots__ = ("_fd", "_flags", "_last", "_path")

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self._fd = -1
        self._path = path
        self._flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        self._last: dict[int, Total] = {}

    def post(self, total: Total, at: int = 0) -> bool:
        """Tell these numbers; return whether that was done. What the disk has no room for is told the next time."""
        numbers = _numbers.pack(*total)
        with suppress(OSError):
            os.pwrite(self.fileno(), numbers + crc32(numbers).to_bytes(8, "little"), at)
            return True
        return False

    def read(self, at: int = 0) -> Total:
        """Return the numbers that were told last; those before, while they are being written."""
        with suppress(FileNotFoundError):
            data = os.pread(self.fileno(), BOARD_BYTES, at)
            numbers = data[: _numbers.size]
            if len(data) == BOARD_BYTES and crc32(numbers) == int.from_bytes(data[_numbers.size :], "little"):
                self._last[at] = Total(*_numbers.unpack(numbers))
        return self._last.get(at, NOTHING)

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close

    def fileno(self) -> int:
        """Return its descriptor.

        Raises:
            OSError: it cannot be opened.
        """
        if self._fd < 0:
            self._fd = os.open(self._path, self._flags, 0o600)
        return self._fd
