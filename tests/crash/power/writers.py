"""Programs whose answer to a power cut is known, by which the replay is calibrated.

``python -m tests.crash.power.writers KIND FOLDER SYNCED`` writes twenty events below FOLDER and marks each as acked:
``append`` to a file, ``overwrite`` a preallocated one, ``rename`` a file for each, ``sqlite`` in WAL mode.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import sys
import zlib
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from tests.crash import marks

EVENTS = 20
_SIZE = 700
_HEAD = struct.Struct("<II")


def frame(number: int) -> bytes:
    """Return one event with its length and checksum before it."""
    data = b"%d:" % number + b"x" * _SIZE
    return _HEAD.pack(len(data), zlib.crc32(data)) + data


def frames(data: bytes) -> Collection[str]:
    """Return the events at the start of some bytes, up to the first that is not whole."""
    found: set[str] = set()
    while len(data) > _HEAD.size:
        length, check = _HEAD.unpack_from(data)
        body = data[_HEAD.size : _HEAD.size + length]
        if length == 0 or len(body) < length or zlib.crc32(body) != check:
            break
        found.add("e." + body.partition(b":")[0].decode())
        data = data[_HEAD.size + length :]
    return found


def _acked(number: int) -> None:
    marks.leave("acked", [f"e.{number}"])


def _sync_folder(folder: Path, *, synced: bool) -> None:
    if synced:
        fd = os.open(folder, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def append(folder: Path, *, synced: bool) -> None:
    """Append to one file."""
    fd = os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    _sync_folder(folder, synced=synced)
    for number in range(EVENTS):
        os.write(fd, frame(number))
        if synced:
            os.fdatasync(fd)
        _acked(number)


def overwrite(folder: Path, *, synced: bool) -> None:
    """Write into a file that is zero-filled and durable, and only then has its name."""
    fd = os.open(folder / "log.new", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, bytes(EVENTS * len(frame(99))), 0)
    os.fsync(fd)
    (folder / "log.new").rename(folder / "log")
    _sync_folder(folder, synced=synced)
    offset = 0
    for number in range(EVENTS):
        offset += os.pwrite(fd, frame(number), offset)
        if synced:
            os.fdatasync(fd)
        _acked(number)


def rename(folder: Path, *, synced: bool) -> None:
    """Write a file of all events so far, and rename it over the one before."""
    for number in range(EVENTS):
        fd = os.open(folder / "log.new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.write(fd, b"".join(map(frame, range(number + 1))))
        if synced:
            os.fsync(fd)
        os.close(fd)
        (folder / "log.new").rename(folder / "log")
        _sync_folder(folder, synced=synced)
        _acked(number)


def sqlite(folder: Path, *, synced: bool) -> None:
    """Insert into a database in WAL mode, a transaction each; it is checkpointed every few pages."""
    with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(f"PRAGMA synchronous={'FULL' if synced else 'NORMAL'}")
        database.execute("PRAGMA wal_autocheckpoint=4")
        database.execute("CREATE TABLE e (n INTEGER PRIMARY KEY, filler TEXT)")
        for number in range(EVENTS):
            database.execute("INSERT INTO e VALUES (?, ?)", (number, "x" * _SIZE))
            _acked(number)
        os._exit(0)  # so that no orderly end hides what is not synced


def recover_log(folder: Path) -> Collection[str]:
    """Return the events in what the first three leave."""
    log = folder / "log"
    return frames(log.read_bytes()) if log.exists() else ()


def recover_sqlite(folder: Path) -> Collection[str]:
    """Return the events in a database."""
    if not (folder / "log.db").exists():
        return ()
    with closing(sqlite3.connect(folder / "log.db")) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'e'").fetchone():
            return ()
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {f"e.{number}" for (number,) in database.execute("SELECT n FROM e")}


WRITERS = {"append": append, "overwrite": overwrite, "rename": rename, "sqlite": sqlite}
RECOVERS = {"append": recover_log, "overwrite": recover_log, "rename": recover_log, "sqlite": recover_sqlite}

if __name__ == "__main__":
    kind, where, how = sys.argv[1:]
    marks.opened(Path(where).parent / "marks")
    WRITERS[kind](Path(where), synced=how == "synced")
