"""A disk that fails or is full as told, in front of the system calls of this process: the journal's own code is as it is."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any


class FailingDisk:
    """Stands before the system calls of this process: the journal's own code is as it is.

    Attributes:
        failed: the files of which a call failed, by their paths.
        synced_after: those of them that were synced again.
    """

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.synced_after: list[str] = []
        self._real = {name: getattr(os, name) for name in ("fdatasync", "pwrite", "statvfs")}
        self._ill = False

    def fail(self, call: str, error: int, part: str, times: int) -> None:
        """Have a call fail on files with `part` in their paths: so many times, or until `heal` when `times` is 0."""
        real, before = self._real[call], len(self.failed)
        self._ill = True

        def failing(fd: int, *arguments: Any) -> Any:
            path = str(Path(f"/proc/self/fd/{fd}").readlink())
            if self._ill and part in path and (not times or len(self.failed) < before + times):
                self.failed.append(path)
                raise OSError(error, os.strerror(error))
            if call == "fdatasync" and path in self.failed and "/." not in path:  # hidden ones are made anew each time
                self.synced_after.append(path)
            return real(fd, *arguments)

        setattr(os, call, failing)

    def fill(self, folder: Path, free_bytes: int = 0) -> None:
        """Be a disk on which there is so much room for this folder, beside what is in it now."""
        real, most = self._real["pwrite"], _size_of(folder) + free_bytes

        def failing(fd: int, data: bytes, offset: int) -> int:
            growth = max(0, offset + len(data) - os.fstat(fd).st_size)
            if growth and _size_of(folder) + growth > most:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return int(real(fd, data, offset))

        def told(path: Path) -> SimpleNamespace:
            free = max(0, most - _size_of(folder))
            return SimpleNamespace(f_bavail=free, f_bfree=free, f_blocks=most, f_frsize=1)

        os.pwrite = failing  # type: ignore[assignment]
        os.statvfs = told  # type: ignore[assignment]

    def heal(self) -> None:
        """Work again; what is synced is still watched."""
        self._ill = False
        os.pwrite, os.statvfs = self._real["pwrite"], self._real["statvfs"]


def _size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder, where others come and go meanwhile."""
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size if path.is_file() else 0
    return size
