"""A disk that fails or is full as told, in front of the system calls of this process: the journal's own code is as it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
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
        self._real = {name: getattr(os, name) for name in ("fdatasync", "pwrite")}
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

    def fill(self, reserve: Path) -> None:
        """Be full: no file grows any more, but for as long as there is room where the reserve was."""
        real, given = self._real["pwrite"], [0]

        def failing(fd: int, data: bytes, offset: int) -> int:
            growth = max(0, offset + len(data) - os.fstat(fd).st_size)
            room = 0 if reserve.exists() else 1024 * 1024
            if growth and given[0] + growth > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            given[0] += growth
            return int(real(fd, data, offset))

        os.pwrite = failing  # type: ignore[assignment]

    def heal(self) -> None:
        """Work again; what is synced is still watched."""
        self._ill = False
        os.pwrite = self._real["pwrite"]
