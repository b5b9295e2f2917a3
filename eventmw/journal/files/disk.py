"""What is asked of the disk: bytes written whole, made durable, and names that appear at once or not at all.

Layer: input and output; the one place of the file journal that syncs. Every call may raise `OSError`.
Source: JOURNAL.md «Writer»; fcntl(2) of macOS, whose fsync does not reach the disk, for F_FULLFSYNC.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_ZEROS: Final = bytes(256 * 1024)
_COPIED_BYTES: Final = 64 * 1024
_MOST_PIECES: Final = 512  # POSIX promises 16 at least, Linux and macOS take 1024
_full_sync: Final[int | None] = getattr(fcntl, "F_FULLFSYNC", None)

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a system says when a file cannot grow."""


def sync(fd: int) -> None:
    """Make a file's bytes, and what is needed to find them, durable."""
    if _full_sync is not None:
        fcntl.fcntl(fd, _full_sync)
    else:
        os.fdatasync(fd)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at an offset."""
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], offset + written)


def write_pieces(fd: int, pieces: Sequence[bytes], size: int, offset: int) -> None:
    """Write pieces of `size` bytes in all at an offset, one behind the other; many bytes are not copied before."""
    if size <= _COPIED_BYTES:
        write_at(fd, b"".join(pieces), offset)
        return
    for start in range(0, len(pieces), _MOST_PIECES):
        some = pieces[start : start + _MOST_PIECES]
        wanted = sum(map(len, some))
        if (written := os.pwritev(fd, some, offset)) < wanted:
            write_at(fd, b"".join(some)[written:], offset + written)
        offset += wanted


def create(path: Path) -> int:
    """Create a file that is not there yet, for this user alone, and return its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def fill_with_zeros(fd: int, size: int) -> None:
    """Give a file `size` real bytes: a full disk shows here, and later overwrites cost no metadata."""
    for offset in range(0, size, len(_ZEROS)):
        write_at(fd, _ZEROS[: size - offset], offset)


def make_folder(path: Path, mode: int = 0o700) -> None:
    """Make a folder, for this user alone unless another mode is given, and its name durable; nothing if it is there."""
    if path.is_dir():
        return
    with suppress(FileExistsError):
        path.mkdir(mode=mode)
        sync_folder(path.parent)


def check_name(fd: int, path: Path) -> None:
    """Look whether an open file is still found under its name: what is written to one that was removed is nobody's.

    Raises:
        OSError: it is not. ENOENT.
    """
    if not os.path.samestat(os.fstat(fd), path.stat()):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def put(path: Path, data: bytes) -> None:
    """Write a whole file so that it is there durably, or not at all; one with the same name is replaced."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    _write_whole(temporary, data)
    _move(temporary, path, os.replace)


def put_new(path: Path, data: bytes) -> bool:
    """Do as `put` does, unless the file is there already. Returns whether it was written."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    _write_whole(temporary, data)
    try:
        _move(temporary, path, os.link)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def publish(temporary: Path, path: Path) -> None:
    """Give a synced file, or a folder of such, its durable name."""
    temporary.rename(path)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there. Its name may come back after a power cut, until the folder is synced."""
    path.unlink(missing_ok=True)


def _write_whole(temporary: Path, data: bytes) -> None:
    fd = create(temporary)
    try:
        write_at(fd, data, 0)
        sync(fd)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def _move(temporary: Path, path: Path, how: Callable[[Path, Path], object]) -> None:
    try:
        how(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def read(path: Path) -> bytes | None:
    """Return a file's bytes, or None when it is not there."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def age_s(path: Path) -> float:
    """Return for how many seconds a file was not written; 0 when it is not there."""
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime
    return 0.0
