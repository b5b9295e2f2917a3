"""Dead letters on the disk: logs that only grow, and an index in memory of which letters there are.

A letter is synced before the change that buries it is written. So one that carries a later number than the ledger is of a
step that was not carried out: when its event will be delivered again, the letter is dug out. It is not when it is the only
copy, as it may be when the state was damaged. The letters of one step stand in
one compressed block. When the logs are over their cap the oldest goes whole, and what was in it is counted.

The index says where each letter's block stands. Of an event that was buried twice, only the later letter is one.

Layer: input and output. Not thread-safe.
Source: JOURNAL.md «State»; the layout is ours.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec

from eventmw.journal import DeadLetter, Key, Position
from eventmw.journal.files import disk, layout
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.letterindex import Index
from eventmw.journal.files.places import key_as_list, key_of

log = logging.getLogger("eventmw.journal")

LOGS: Final = 16
"""The cap is divided among so many logs, so that a sixteenth goes at a time."""

_MAGIC: Final = b"eventmw-dead-01\n"
_frame = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_Plain = list[Any]  # a letter, as `_as_list` makes it
_RECORD: Final = 3
_OFFSET_BITS: Final = 40
_BURIED: Final = "buried"
_DUG_OUT: Final = "dug out"


_Unread = Callable[[Path, int], None]


class _Block(NamedTuple):
    """What one step buried or dug out. ``letters`` is compressed; ``at`` says in which log it stands, and where."""

    at: int
    number: int
    kind: str
    tool: str
    keys: Sequence[Key]
    letters: bytes


def _pass_over(_path: Path, _size: int) -> None:
    """Leave it to whoever leads."""


def _say_unread(path: Path, size: int) -> None:
    log.error("%d bytes of dead letters in %s cannot be read, and are left alone", size, path)


class Graves:
    """The dead letters of one data directory, for the leader.

    Args:
        places: the data directory.
        carried_out: the number of the last change that was: letters of later ones are none.
        cap_bytes: bytes of all logs.

    Attributes:
        index: which letters there are.
        number: the highest number of any block.
    """

    def __init__(self, places: Layout, carried_out: int, cap_bytes: int) -> None:
        self._folder = places.dead
        self._cap_bytes = cap_bytes
        self._fd = -1
        self._log = self._size = 0
        self.index = Index()
        self.number = carried_out
        self._ghosts: list[tuple[str, Key]] = []
        for block in _blocks(self._folder, _say_unread):
            _learn(self.index, block)
            self.number = max(self.number, block.number)
            if block.number > carried_out and block.kind == _BURIED:
                self._ghosts += [(block.tool, key) for key in block.keys]

    def lay_ghosts(self, comes_again: Callable[[str, Key], bool]) -> None:
        """Dig out the letters of steps that were not carried out, if their events come again. To be called once, at first.

        Raises:
            OSError: they may or may not be gone.
        """
        by_tool: dict[str, list[Key]] = {}
        for tool, key in self._ghosts:
            if comes_again(tool, key):
                by_tool.setdefault(tool, []).append(key)
        self._ghosts.clear()
        for tool, keys in by_tool.items():
            self.number += 1
            self.dig_out(self.number, tool, keys)

    def bury(self, number: int, tool: str, letters: Sequence[DeadLetter]) -> None:
        """Keep letters durably, for the change with this number.

        Raises:
            OSError: they may or may not be kept.
        """
        packed = _packed([_as_list(letter) for letter in letters])
        self._write(_Block(0, number, _BURIED, tool, [letter.key for letter in letters], packed))

    def dig_out(self, number: int, tool: str, keys: Iterable[Key]) -> int:
        """Let letters go. Returns how many there were.

        Raises:
            OSError: they may or may not be gone.
        """
        gone = [key for key in dict.fromkeys(keys) if self.index.block(tool, key)]
        return -self._write(_Block(0, number, _DUG_OUT, tool, gone, b"")) if gone else 0

    def letters(self, tool: str | None = None, keys: Collection[Key] | None = None) -> Iterator[DeadLetter]:
        """Return the letters, oldest first: of a tool or all, of these keys (of one tool) or all."""
        if tool is None or keys is None:
            return _letters(_blocks(self._folder), self.index, tool, None)
        found = {at for key in keys if (at := self.index.block(tool, key))}
        blocks = (block for at in sorted(found) for block in self._block_at(at))
        return _letters(blocks, self.index, tool, keys)

    def _block_at(self, at: int) -> Iterator[_Block]:
        """Return the block that stands there; none when it cannot be read any more."""
        log, offset = at >> _OFFSET_BITS, at & (1 << _OFFSET_BITS) - 1
        return islice(_blocks_of(self._folder, log, offset), 1)

    def evict(self) -> Counter[str]:
        """Remove the oldest logs while there are too many bytes. Returns how many letters each tool lost."""
        lost: Counter[str] = Counter()
        sizes = {number: layout.log(self._folder, number).stat().st_size for number in layout.logs(self._folder)}
        while len(sizes) > 1 and sum(sizes.values()) > self._cap_bytes:
            oldest = min(sizes)
            for block in _blocks_of(self._folder, oldest):
                gone = [key for key in block.keys if self.index.block(block.tool, key) == block.at]
                lost[block.tool] += sum(self.index.remove(block.tool, key) for key in gone)
            disk.remove(layout.log(self._folder, oldest))
            del sizes[oldest]
        return lost

    def erase(self, is_meant: Callable[[bytes], bool]) -> int:
        """Remove the letters whose records are meant from every log, and return how many that were.

        Raises:
            OSError: a log could not be written anew.
        """
        self.close()
        try:
            return sum(self._erase_in(log, is_meant) for log in layout.logs(self._folder))
        finally:
            self.index = Index()  # every block may stand elsewhere now
            for block in _blocks(self._folder):
                _learn(self.index, block)

    def _erase_in(self, log: int, is_meant: Callable[[bytes], bool]) -> int:
        """Write a log anew without what is meant, also where a later letter has replaced it. Returns how many letters."""
        blocks, changed, erased = [_MAGIC], False, 0
        for block in _blocks_of(self._folder, log):
            meant = {key for key, plain in _unpacked(block) if is_meant(plain[_RECORD])}
            rest = [(key, plain) for key, plain in _unpacked(block) if key not in meant]
            kept = block._replace(keys=[key for key, _ in rest], letters=_packed([plain for _, plain in rest]))
            blocks.append(_framed(kept if meant else block))
            changed |= bool(meant)
            erased += sum(self.index.block(block.tool, key) == block.at for key in meant)
        if changed:
            disk.put(layout.log(self._folder, log), b"".join(blocks))
        return erased

    def close(self) -> None:
        """Close the log."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _write(self, block: _Block) -> int:
        data = _framed(block)
        try:
            if self._fd < 0 or self._size + len(data) > self._cap_bytes // LOGS:
                self._begin()
            disk.write_at(self._fd, data, self._size)
            disk.sync(self._fd)
        except OSError:
            self.close()  # what stands at its end is not to be trusted
            raise
        at = self._log << _OFFSET_BITS | self._size
        self._size += len(data)
        return _learn(self.index, block._replace(at=at))

    def _begin(self) -> None:
        self.close()
        self._log = max(layout.logs(self._folder), default=0) + 1
        self._fd = disk.create(layout.log(self._folder, self._log))
        disk.write_at(self._fd, _MAGIC, 0)
        disk.sync_folder(self._folder)
        self._size = len(_MAGIC)


def read_letters(places: Layout, tool: str | None = None) -> Iterator[DeadLetter]:
    """Return the letters that are on the disk now, for those who do not lead."""
    index = Index()
    for block in _blocks(places.dead):
        _learn(index, block)
    return _letters(_blocks(places.dead), index, tool, None)


def _learn(index: Index, block: _Block) -> int:
    """Take in what a block says. Returns how many letters there are more or less."""
    if block.kind == _BURIED:
        return sum(index.put(block.tool, key, block.at) for key in block.keys)
    return -index.remove_all(block.tool, block.keys)


def _letters(
    blocks: Iterable[_Block], index: Index, tool: str | None, keys: Collection[Key] | None
) -> Iterator[DeadLetter]:
    for block in blocks:
        if block.kind != _BURIED or (tool is not None and block.tool != tool):
            continue
        wanted = {
            key for key in block.keys if index.block(block.tool, key) == block.at and (keys is None or key in keys)
        }
        if wanted:
            yield from (_letter(block.tool, plain) for key, plain in _unpacked(block) if key in wanted)


def _blocks(folder: Path, unread: _Unread = _pass_over) -> Iterator[_Block]:
    for log in layout.logs(folder):
        yield from _blocks_of(folder, log, unread=unread)


def _blocks_of(folder: Path, log: int, offset: int = 0, unread: _Unread = _pass_over) -> Iterator[_Block]:
    """Return the blocks of a log from an offset on, but for those that cannot be read.

    Args:
        folder: where the logs stand.
        log: the number of one.
        offset: where a block begins; 0: all of them.
        unread: is told of bytes before the end that cannot be read. What is torn there was never promised.
    """
    path = layout.log(folder, log)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(_MAGIC)) != _MAGIC:
            if size > len(_MAGIC):
                unread(path, size)
            return
        at = file.seek(offset) if offset else len(_MAGIC)
        while len(head := file.read(_frame.size)) == _frame.size:
            length, check = _frame.unpack(head)
            end = at + len(head) + length
            if not length or end > size:
                return
            payload = file.read(length)
            if crc32(payload, length) == check:
                number, kind, tool, plain, letters = _decode(payload)
                keys = [key_of(key) for key in plain]
                yield _Block(log << _OFFSET_BITS | at, number, kind, tool, keys, letters)
            elif end < size:
                unread(path, end - at)
            at = end


def _packed(letters: Sequence[_Plain]) -> bytes:
    return zlib.compress(_encode(letters), 1)


def _unpacked(block: _Block) -> list[tuple[Key, _Plain]]:
    """Return the letters of a block, each with its event; none of one that only dug out."""
    letters: list[_Plain] = _decode(zlib.decompress(block.letters)) if block.letters else []
    return list(zip(block.keys, letters, strict=True)) if letters else []


def _framed(block: _Block) -> bytes:
    keys = [key_as_list(key) for key in block.keys]
    payload = _encode([block.number, block.kind, block.tool, keys, block.letters])
    return _frame.pack(len(payload), crc32(payload, len(payload))) + payload


def _as_list(letter: DeadLetter) -> _Plain:
    (sid, seq), ordinal = letter.key
    return [sid, seq, ordinal, letter.record, letter.outcome, letter.reason, letter.attempts, letter.buried_ms]


def _letter(tool: str, plain: _Plain) -> DeadLetter:
    sid, seq, ordinal, *rest = plain
    return DeadLetter(tool, Key(Position(sid, seq), ordinal), *rest)
