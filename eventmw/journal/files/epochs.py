"""The leader's state on the disk: epochs, each a snapshot and the changes after it.

A change is written at once, which survives the process, and synced within a tenth of a second, which survives the machine: a
power cut costs deliveries that are repeated, never one that is lost. A file that failed is left, and a new epoch begins.

Layer: input and output. Not thread-safe.
Source: JOURNAL.md «State» and «Locks», the reserve.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import msgspec

from eventmw.errors import JournalDown
from eventmw.journal.files import disk, layout
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.ledger import Change, Ledger

log = logging.getLogger("eventmw.journal")

EPOCH_BYTES: Final = 4 * 1024 * 1024
_MAGIC: Final = b"eventmw-state-1\n"
_frame = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Reserve:
    """A mebibyte of real bytes: given up on a full disk so that deliveries go on, and made again when there is room."""

    def __init__(self, places: Layout) -> None:
        self._path = places.reserve

    def make(self) -> None:
        """Make it, unless it is there or there is no room."""
        if self._path.exists():
            return
        with suppress(OSError):
            disk.put(self._path, bytes(layout.RESERVE_BYTES))

    def give_up(self) -> bool:
        """Remove it; return whether there was anything to give."""
        try:
            self._path.unlink()
        except OSError:
            return False
        log.warning("the disk is full: the journal's reserve is used so that deliveries go on")
        return True


class Epochs:
    """The state of one data directory, for the leader alone.

    Args:
        places: the data directory.
        ledger: what is to be written; see `load`.
        reserve: what is given up on a full disk.

    Raises:
        OSError: the first epoch cannot be written.
    """

    def __init__(self, places: Layout, ledger: Ledger, reserve: Reserve) -> None:
        self._folder = places.state
        self._ledger = ledger
        self._reserve = reserve
        self._fd = -1
        self._size = 0
        self._first_size = 0
        self._dirty = False
        self._begin()

    def write(self, change: Change) -> None:
        """Write a change, then carry it out in memory.

        Raises:
            JournalDown: it could not be written; nothing was changed.
        """
        data = _framed(_encode(change))
        try:
            if self._fd < 0:
                self._begin()
            self._append(data)
        except OSError as error:
            self._leave()
            raise JournalDown(f"places cannot be written: {error.strerror or error}") from error
        self._ledger.apply(change)

    def sync(self) -> None:
        """Make every change so far durable.

        Raises:
            JournalDown: they may not be; the next call writes all of them anew.
        """
        try:
            if self._fd < 0 or self._size > max(EPOCH_BYTES, 2 * self._first_size):
                self._begin()
            elif self._dirty:
                disk.sync(self._fd)
            self._dirty = False
        except OSError as error:
            self._leave()
            raise JournalDown(f"places cannot be made durable: {error.strerror or error}") from error

    def renew(self) -> None:
        """Begin a new epoch now: what older ones say is gone.

        Raises:
            JournalDown: it could not be written.
        """
        self._leave()
        self.sync()

    def close(self) -> None:
        """Close the file."""
        self._leave()

    def _append(self, data: bytes) -> None:
        try:
            disk.write_at(self._fd, data, self._size)
        except OSError as error:
            if error.errno not in disk.NO_ROOM or not self._reserve.give_up():
                raise
            disk.write_at(self._fd, data, self._size)
        self._size += len(data)
        self._dirty = True

    def _begin(self) -> None:
        try:
            self._begin_epoch()
        except OSError as error:
            if error.errno not in disk.NO_ROOM or not self._reserve.give_up():
                raise
            self._begin_epoch()

    def _begin_epoch(self) -> None:
        """Begin an epoch with a snapshot; once it is durable, the older ones go."""
        older = layout.logs(self._folder)
        path = layout.log(self._folder, max(older, default=0) + 1)
        data = _MAGIC + _framed(_encode(self._ledger.snapshot()))
        temporary = path.with_name(".next")
        temporary.unlink(missing_ok=True)
        fd = disk.create(temporary)
        try:
            disk.write_at(fd, data, 0)
            disk.sync(fd)
            disk.publish(temporary, path)
        except OSError:
            os.close(fd)
            temporary.unlink(missing_ok=True)
            raise
        self._leave()
        self._fd, self._size, self._first_size, self._dirty = fd, len(data), len(data), False
        for number in older:
            disk.remove(layout.log(self._folder, number))

    def _leave(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def load(places: Layout) -> Ledger:
    """Return the state as it is on the disk: the newest epoch that begins with a whole snapshot, and what follows it.

    An epoch that goes away while it is read has a newer one: then that is read.
    """
    return _load(places, _pass_over)


def take_up(places: Layout) -> Ledger:
    """Do as `load` does, for who leads from here on: say what cannot be read, and set it aside."""
    if not layout.logs(places.state) and places.reserve.exists() and not list(places.state.glob("*.unreadable")):
        words = "%s holds no state, though there was one: events go out again as far back as they are kept"
        log.error(words, places.state)
    return _load(places, _set_aside)


def _load(places: Layout, unread: Callable[[Path, int | None], None]) -> Ledger:
    for _ in range(10):
        for number in reversed(layout.logs(places.state)):
            path = layout.log(places.state, number)
            data = disk.read(path)
            if data is None:
                break
            ledger, end = _read(data)
            if ledger is None:
                unread(path, None)
                continue
            if end < len(data):
                unread(path, len(data) - end)
            return ledger
        else:
            return Ledger()
    return Ledger()


def _pass_over(_path: Path, _left: int | None) -> None:
    """Leave it to whoever leads."""


def _set_aside(path: Path, left: int | None) -> None:
    """Keep a file of which nothing can be read from being taken away; of one that was begun well, say what it lacks.

    Args:
        path: the epoch.
        left: bytes at its end that cannot be read; None: nothing in it can be.
    """
    if left is not None:
        log.warning("the last %d bytes of %s cannot be read; the events that ended in them go out again", left, path)
        return
    aside = path.with_name(f"{path.name}.unreadable")
    path.rename(aside)
    log.error(
        "%s is no state that this version can read, and is kept as %s. Events go out again as far back as they are kept; "
        "what was parked longer ago is in that file alone",
        path,
        aside.name,
    )


def _read(data: bytes) -> tuple[Ledger | None, int]:
    """Return the ledger, None when there is no whole snapshot, and where what can be read ends."""
    ledger: Ledger | None = None
    read_to = 0
    for change, end in _changes(data):
        if ledger is None:
            ledger = Ledger.restored(change)
        else:
            ledger.apply(change)
        read_to = end
    return ledger, read_to


def _changes(data: bytes) -> Iterator[tuple[Any, int]]:
    """Return each change with where it ends."""
    if not data.startswith(_MAGIC):
        return
    at = len(_MAGIC)
    while len(data) - at >= _frame.size:
        length, check = _frame.unpack_from(data, at)
        payload = data[at + _frame.size : at + _frame.size + length]
        if not length or len(payload) < length or crc32(payload, length) != check:
            return
        at += _frame.size + length
        yield _decode(payload), at


def _framed(payload: bytes) -> bytes:
    return _frame.pack(len(payload), crc32(payload, len(payload))) + payload
