"""Where the sockets of live processes stand: ``<data_dir>/live/<pid>.sock``, found, connected to, and swept.

Layer: input and output. Whether a process is alive is asked of its socket: ids come again, and mean another process in
another container; a socket on which nobody listens refuses.

Source: unix(7) for the length of addresses.
"""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

FOLDER: Final = "live"
SUFFIX: Final = ".sock"
_MAX_ADDRESS_BYTES: Final = 103  # macOS gives 104 with the closing NUL, Linux 108
_LONGEST_NAME: Final = len("/4194304-99999.sock")
_PROBE_S: Final = 1.0
_UNBORN_S: Final = 60.0
"""A socket that nobody listens on may be one that is just being made; after this time its process id means another."""


def folder_of(data_dir: str | Path) -> Path:
    """Return the folder of the sockets, an absolute path."""
    return Path(data_dir).absolute() / FOLDER


def prepare(folder: Path) -> None:
    """Make the folder, closed to all but this user, and sweep it.

    Raises:
        OSError: it cannot be made, or belongs to somebody else.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    if stat.S_IMODE(folder.stat().st_mode) != 0o700:  # noqa: PLR2004 - a mode is read as digits
        folder.chmod(0o700)
    sweep(folder)


def found(folder: Path) -> list[Path]:
    """Return the sockets of processes that may be alive, oldest first; those of dead ones are taken away.

    Raises:
        PermissionError: the folder belongs to another user.
    """
    sweep(folder)
    aged: list[tuple[int, Path]] = []
    for path in _listed(folder):
        with suppress(FileNotFoundError):
            aged.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(aged)]


def sweep(folder: Path) -> None:
    """Take away the sockets of dead processes. One of a live process id is left alone, even when nobody listens: `bury`."""
    for path in _listed(folder):
        if not _is_running(pid_of(path)) and not is_answered(path):
            path.unlink(missing_ok=True)


def bury(path: Path) -> None:
    """Take away a socket that refused, when it is too old to be one on which somebody is about to listen."""
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _UNBORN_S and not is_answered(path):
            path.unlink(missing_ok=True)


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix == SUFFIX]
    except FileNotFoundError:
        return []


def pid_of(path: Path) -> int:
    """Return the process id in a socket's name."""
    digits = path.stem.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def is_answered(path: Path) -> bool:
    """Return whether somebody listens on a socket. Only a refusal says no: a process that is stopped still listens."""
    try:
        with connected(path, _PROBE_S):
            return True
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True


@contextmanager
def connected(path: Path, timeout_s: float) -> Generator[socket.socket]:
    """Connect to a socket; every step may take `timeout_s` seconds.

    Raises:
        OSError: it cannot be reached; `ConnectionRefusedError` and `FileNotFoundError` when nobody listens.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        with short(path.parent) as folder:
            connection.connect(f"{folder}/{path.name}")
        yield connection


@contextmanager
def short(folder: Path) -> Generator[str]:
    """Name a folder so that the address of a socket in it is not too long: by a link in the folder for temporary files."""
    if len(os.fsencode(folder)) + _LONGEST_NAME <= _MAX_ADDRESS_BYTES:
        yield str(folder)
        return
    with tempfile.TemporaryDirectory(prefix="eventmw-") as place:
        link = Path(place, FOLDER)
        link.symlink_to(folder, target_is_directory=True)
        yield str(link)
