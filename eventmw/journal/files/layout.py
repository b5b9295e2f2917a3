"""Where things stand in a data directory, by name, and which boot of the machine this is.

Layer: input and output.
Source: JOURNAL.md «Files in ``data_dir``».
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from uuid import UUID

from eventmw.journal.files import disk

RESERVE_BYTES: Final = 1024 * 1024

UNKNOWN_BOOT: Final = bytes(16)
"""Stands where the system does not name its boots: then stamps are compared with nobody's."""

_segment_name = re.compile(r"(\d{8,})\.seg").fullmatch
_stream_name = re.compile(r"[0-9a-f]{16}").fullmatch
_log_name = re.compile(r"(\d{8,})\.log").fullmatch


@dataclass(frozen=True, slots=True)
class Layout:
    """The places in one data directory."""

    root: Path

    @property
    def streams(self) -> Path:
        """One folder for each writer's stream."""
        return self.root / "w"

    @property
    def state(self) -> Path:
        """The epochs of the leader's state."""
        return self.root / "state"

    @property
    def dead(self) -> Path:
        """The logs of dead letters."""
        return self.root / "dead"

    @property
    def tools(self) -> Path:
        """One file for each registered tool."""
        return self.root / "tools"

    @property
    def members(self) -> Path:
        """One locked file for each process that has the journal open."""
        return self.root / "members"

    @property
    def inbox(self) -> Path:
        """What other processes ask of the leader."""
        return self.root / "inbox"

    @property
    def kept(self) -> Path:
        """What a leader leaves for the next."""
        return self.root / "kept"

    @property
    def leader(self) -> Path:
        """The lock of the leader."""
        return self.root / "leader"

    @property
    def gauge(self) -> Path:
        """What the leader tells all writers."""
        return self.root / "gauge"

    @property
    def reserve(self) -> Path:
        """Room that is given up when the disk is full."""
        return self.root / "reserve"

    @property
    def aside(self) -> Path:
        """What stood where a file belongs, and is none."""
        return self.root / "set-aside"

    def set_aside_folders(self) -> list[Path]:
        """Move folders that stand where files belong out of the way, and return where they were.

        Raises:
            OSError: one cannot be moved.
        """
        files = [self.leader, self.gauge, self.reserve]
        for folder in (self.state, self.dead, self.tools, self.members, self.inbox, self.kept):
            files += [folder / name for name in _listed(folder)]
        for stream in _listed(self.streams):
            files += [self.streams / stream / name for name in _listed(self.streams / stream)]
        moved = [path for path in files if path.is_dir()]
        for path in moved:
            self.aside.mkdir(mode=0o700, exist_ok=True)
            name = "-".join((*path.relative_to(self.root).parts, os.urandom(4).hex()))
            with suppress(FileNotFoundError):  # another process has moved it
                path.rename(self.aside / name)
        return moved

    def leave_reserve(self, size: int) -> None:
        """Look whether a file of so many bytes leaves the reserve its room: what a leader gave up, it needs to go on.

        Raises:
            OSError: it does not. ENOSPC.
        """
        if not self.reserve.exists() and shutil.disk_usage(self.root).free < size + RESERVE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def make(self) -> None:
        """Make the folders that are not there, so that a power cut does not take them away again."""
        for parent in reversed(self.root.parents):
            disk.make_folder(parent, mode=0o755)
        for folder in (self.root, self.streams, self.state, self.dead, self.tools, self.members, self.inbox, self.kept):
            disk.make_folder(folder)


def segment(folder: Path, number: int) -> Path:
    """Return the path of a stream's segment."""
    return folder / f"{number:08}.seg"


def segments(folder: Path) -> list[int]:
    """Return the numbers of a stream's segments, in order; none when the stream is gone."""
    return _numbers(folder, _segment_name)


def log(folder: Path, number: int) -> Path:
    """Return the path of an epoch of the state, or of a log of dead letters."""
    return folder / f"{number:08}.log"


def logs(folder: Path) -> list[int]:
    """Return the numbers of a folder's logs, in order."""
    return _numbers(folder, _log_name)


def streams(folder: Path) -> list[str]:
    """Return the names of all streams.

    Raises:
        OSError: the folder cannot be read, or is not there: it was moved or removed, and its streams are not retired.
    """
    return sorted(filter(_stream_name, os.listdir(folder)))  # noqa: PTH208 - as below


def _numbers(folder: Path, pattern: Callable[[str], re.Match[str] | None]) -> list[int]:
    return sorted(int(found[1]) for name in _listed(folder) if (found := pattern(name)))


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are enough, and this is asked often
    except (FileNotFoundError, NotADirectoryError):
        return []


@cache
def boot() -> bytes:
    """Return the 16 bytes that name this boot of the machine, or `UNKNOWN_BOOT`. Source: random(4) of Linux."""
    try:
        return UUID(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()).bytes
    except (OSError, ValueError):
        return UNKNOWN_BOOT
