"""The segments of one stream as files: which there are, what their headers say, and their bytes.

Layer: input and output. Not thread-safe.
Source: JOURNAL.md «Files in ``data_dir``» and «Writer» 4, the fence.
"""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from eventmw.journal.files import disk, frames, layout
from eventmw.journal.files.frames import HEADER_BYTES, Header, Total
from eventmw.journal.files.layout import UNKNOWN_BOOT

log = logging.getLogger("eventmw.journal")

MOST_OPEN: Final = 32
"""Descriptors that the readers of one data directory keep, over all streams. Source: assumption."""

_ANY_OFFSET: Final = 1 << 62


class OpenFiles:
    """The files that are read, of many streams: those used last are open, so however many there are, few are."""

    def __init__(self) -> None:
        self._fds: OrderedDict[Path, int] = OrderedDict()

    def fd(self, path: Path) -> int:
        """Return a descriptor for reading; it is good until the next call."""
        fd = self._fds.get(path)
        if fd is None:
            while len(self._fds) >= MOST_OPEN:
                os.close(self._fds.popitem(last=False)[1])
            fd = self._fds[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._fds.move_to_end(path)
        return fd

    def close(self, path: Path) -> None:
        """Close a file, if it is open."""
        if (fd := self._fds.pop(path, None)) is not None:
            os.close(fd)

    def close_all(self) -> None:
        """Close every file."""
        while self._fds:
            os.close(self._fds.popitem()[1])


class Segments:
    """The segments of one stream.

    Args:
        folder: where they stand.
        files: what keeps them open.

    Attributes:
        folder: where they stand.
        holes: first missing seq → last missing seq, as far as a cursor has come by.
        size: bytes of all files, as far as they can be read.
    """

    def __init__(self, folder: Path, files: OpenFiles) -> None:
        self.folder = folder
        self.size = 0
        self._files = files
        self.holes: dict[int, int] = {}
        self._headers: dict[int, Header] = {}
        self._unreadable: set[int] = set()
        self._boot = UNKNOWN_BOOT
        self._marks: dict[int, list[tuple[int, int]]] = {}

    def look(self) -> None:
        """Learn which segments there are now."""
        numbers = layout.segments(self.folder)
        for number in self._headers.keys() - set(numbers):
            del self._headers[number]
            self._marks.pop(number, None)
            self._close(number)
        for number in numbers:
            if number in self._headers or number in self._unreadable:
                continue
            if (header := self._read_header(number)) is not None:
                self._headers[number] = header
                self._boot = header.boot
        self.size = sum(header.size for header in self._headers.values())

    def headers(self) -> list[Header]:
        """Return the headers of the segments that were there at the last `look`, in order."""
        return [self._headers[number] for number in sorted(self._headers)]

    @property
    def boot(self) -> bytes:
        """The boot of the machine in which the stream was written."""
        return self._boot

    def header(self, number: int) -> Header | None:
        """Return one of these headers."""
        return self._headers.get(number)

    def base(self) -> Total:
        """Return what was in the segments that are gone."""
        first = self._headers[min(self._headers)] if self._headers else None
        return Total() if first is None else Total(first.base_seq, first.base_events, first.base_bytes)

    def is_empty(self) -> bool:
        """Return whether no segment is there any more, not even one that cannot be read."""
        return not self._headers and not layout.segments(self.folder)

    def fence(self, number: int) -> int:
        """Return where a segment ends because a later one says so; else its size."""
        ends = [header.prev_end for header in self._headers.values() if header.prev_number == number]
        return min([*ends, self._headers[number].size])

    def read(self, number: int, size: int, offset: int) -> bytes:
        """Return bytes of a segment.

        Raises:
            OSError: it cannot be read; the message names it. What a disk does not give out is not taken for lost.
        """
        try:
            return os.pread(self._fd(number), size, offset)
        except OSError as error:
            if error.filename is None:
                error.filename = str(layout.segment(self.folder, number))
            raise

    def mark(self, number: int, seq: int, at: int) -> None:
        """Remember that the record after `seq` begins at an offset: whoever looks for one later need not start afresh."""
        marks = self._marks.setdefault(number, [])
        if not marks or marks[-1][0] < seq:
            marks.append((seq, at))

    def nearest(self, number: int, seq: int) -> tuple[int, int] | None:
        """Return the last mark at or before a seq."""
        marks = self._marks.get(number, [])
        at = bisect_right(marks, (seq, _ANY_OFFSET))
        return marks[at - 1] if at else None

    def sync(self) -> None:
        """Make what is in them durable, whoever wrote it."""
        for number in self._headers:
            disk.sync(self._fd(number))
        disk.sync_folder(self.folder)

    def rewrite(self, header: Header, rewritten: Callable[[bytes], bytes | None]) -> int:
        """Write a segment of a dead stream anew, with some records changed to others of the same length.

        Only what is valid is taken over: what stood behind damage or a fence is zeros now. Every frame keeps its offset.
        Returns how many records were changed; when there are none, the file stays.

        Raises:
            OSError: it could not be written; the old one stays.
        """
        fence = self.fence(header.number)
        old = self.read(header.number, fence, 0)
        new, changed = bytearray(old[:HEADER_BYTES].ljust(header.size, b"\0")), 0
        for at in frames.candidates(old, HEADER_BYTES):
            frame = frames.decode(old, at, header.seed)
            if frame is None:
                continue
            record = rewritten(frame.record) if frame.events else None
            changed += record is not None
            when = (frame.stamp, frame.recorded_ms)
            piece = frames.encode(header.seed, frame.total, frame.events, when, record or frame.record)
            new[at : at + len(piece)] = piece
        if changed:
            disk.put(layout.segment(self.folder, header.number), bytes(new))
            self._close(header.number)
        return changed

    def remove(self, number: int) -> None:
        """Take a segment away."""
        disk.remove(layout.segment(self.folder, number))
        self.look()

    def close(self) -> None:
        """Close all files."""
        for number in self._headers:
            self._close(number)

    def _read_header(self, number: int) -> Header | None:
        try:
            header = Header.decode(self.read(number, HEADER_BYTES, 0))
        except FileNotFoundError:
            return None
        if header is None or header.number != number:
            self._unreadable.add(number)
            log.error(
                "%s is no segment that this version can read; it is left alone", layout.segment(self.folder, number)
            )
            return None
        return header

    def _fd(self, number: int) -> int:
        return self._files.fd(layout.segment(self.folder, number))

    def _close(self, number: int) -> None:
        self._files.close(layout.segment(self.folder, number))
