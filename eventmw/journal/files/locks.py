"""Locks between processes, and the numbers that they tell each other.

A lock is a ``flock``: it ends with its process, whatever ends it, and conflicts inside a process as well. A forked child
inherits it, so it closes its copies at once, and never unlocks them.

Layer: input and output.
Source: JOURNAL.md «Locks»; flock(2).
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final
from weakref import WeakSet
from zlib import crc32

from eventmw.forks import HeldOff
from eventmw.journal.files.frames import Total

_numbers = struct.Struct("<QQQ")
BOARD_BYTES: Final = _numbers.size + 8


class Lock:
    """A lock on one file, which is made when it is not there."""

    def __init__(self, path: Path) -> None:
        self._fd: int | None = None
        self.path = path
        _locks.add(self)

    def acquire(self) -> bool:
        """Take the lock if nobody holds it. Returns whether it is held now."""
        with HeldOff():
            if self._fd is None:
                self._fd = _locked(self.path, os.O_CREAT, fcntl.LOCK_EX)
            return self._fd is not None

    @property
    def held(self) -> bool:
        """Whether it is held."""
        return self._fd is not None

    def write(self, text: bytes) -> None:
        """Say something in the file."""
        if self._fd is not None:
            os.pwrite(self._fd, text, 0)
            os.ftruncate(self._fd, len(text))

    def release(self) -> None:
        """Give the lock back, by closing the only descriptor of it."""
        with HeldOff():
            fd, self._fd = self._fd, None
            if fd is not None:
                os.close(fd)

    def __del__(self) -> None:
        """Give the lock back with the last that knows of it: a site that is made and thrown away leaves nothing behind."""
        self.release()


_locks: Final[WeakSet[Lock]] = WeakSet()


def _after_fork_in_child() -> None:
    """Close what was inherited, whoever holds it: the parent's descriptors keep its locks."""
    for lock in _locks:
        lock.release()


os.register_at_fork(after_in_child=_after_fork_in_child)


def is_free(path: Path) -> bool:
    """Return whether nobody holds the lock on a file; one that is not there is free. Two who look do not see each other."""
    with HeldOff():
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
    except OSError:
        os.close(fd)
        return None
    return fd


class Board:
    """A place in a file where one process tells others three numbers: a hint, never the durable truth.

    They are written with a checksum, by a call that can fail: a store into mapped memory would kill the process when a full
    disk has no block for it.
    """

    __slots__ = ("_fd", "_last", "_offset")

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._fd = -1
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._offset = offset
        self._last = Total()

    def post(self, total: Total) -> None:
        """Tell these numbers. One that the disk has no room for is told the next time."""
        numbers = _numbers.pack(*total)
        with suppress(OSError):
            os.pwrite(self._fd, numbers + crc32(numbers).to_bytes(8, "little"), self._offset)

    def read(self) -> Total:
        """Return the numbers that were told last; those before, while they are being written."""
        data = os.pread(self._fd, BOARD_BYTES, self._offset)
        numbers = data[: _numbers.size]
        if len(data) == BOARD_BYTES and crc32(numbers) == int.from_bytes(data[_numbers.size :], "little"):
            self._last = Total(*_numbers.unpack(numbers))
        return self._last

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close
