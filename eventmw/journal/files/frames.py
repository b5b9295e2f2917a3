"""The bytes of a segment: its header, and the frames in it.

A segment begins with one `Header` of `HEADER_BYTES`; then come frames, each aligned to 8 bytes, then zeros. A frame's
checksum starts from the segment's own salt and number, so what an earlier file left on the same blocks never passes for a
frame. The totals in a frame count since the stream began: the backlog between two frames is a subtraction.

Layer: pure rules over bytes. Version `VERSION` stands in every header.
Source: JOURNAL.md «Files»; the layout is ours.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple
from zlib import crc32

VERSION: Final = 1
HEADER_BYTES: Final = 128
ALIGN: Final = 8

_SEGMENT_MAGIC: Final = b"eventmw\n"
_MAGIC_BYTES: Final = b"\xe7EMf"
_MAGIC: Final = int.from_bytes(_MAGIC_BYTES, "little")
_header = struct.Struct("<8sI4xQQQQQQqQ8s16s8s")
_head = struct.Struct("<II")  # magic, checksum of all that follows
_rest = struct.Struct("<IIQQqQQ")  # length, events, seq, stamp, recorded_ms, total_events, total_bytes
FRAME_BYTES: Final = _head.size + _rest.size
"""Bytes of a frame beside its record and the padding."""

_padding: Final = tuple(bytes(count) for count in range(ALIGN))
_whole = struct.Struct("<IIIIQQqQQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The beginning of a segment.

    Attributes:
        number: counts the segments of its stream from 1.
        base_seq, base_events, base_bytes: the stream's totals before the segment's first frame.
        prev_number, prev_end: the segment before, and where it ends. What stands there after it is behind a fence: it was
            refused, or written again here.
        created_ms: wall time, milliseconds since 1970.
        size: bytes of the whole segment.
        sid: the stream, 16 hexadecimal digits.
        boot: names the machine's boot, within which stamps compare.
        salt: 8 random bytes.
    """

    number: int
    base_seq: int
    base_events: int
    base_bytes: int
    prev_number: int
    prev_end: int
    created_ms: int
    size: int
    sid: str
    boot: bytes
    salt: bytes

    @property
    def seed(self) -> int:
        """What the checksums of this segment's frames start from."""
        return crc32(self.salt + self.number.to_bytes(8, "little"))

    def encode(self) -> bytes:
        """Return the header's `HEADER_BYTES` bytes."""
        body = _header.pack(
            _SEGMENT_MAGIC,
            VERSION,
            self.number,
            self.base_seq,
            self.base_events,
            self.base_bytes,
            self.prev_number,
            self.prev_end,
            self.created_ms,
            self.size,
            bytes.fromhex(self.sid),
            self.boot,
            self.salt,
        )
        return body.ljust(HEADER_BYTES - 4, b"\0") + crc32(body).to_bytes(4, "little")

    @classmethod
    def decode(cls, data: bytes) -> Header | None:
        """Return the header in these bytes, or None when they hold none that this version reads."""
        if len(data) < HEADER_BYTES:
            return None
        body = data[: _header.size]
        if crc32(body) != int.from_bytes(data[HEADER_BYTES - 4 : HEADER_BYTES], "little"):
            return None
        magic, version, number, *numbers, sid, boot, salt = _header.unpack(body)
        seq, events, size_before, prev_number, prev_end, created_ms, size = numbers
        if magic != _SEGMENT_MAGIC or version != VERSION:
            return None
        return cls(
            number=number,
            base_seq=seq,
            base_events=events,
            base_bytes=size_before,
            prev_number=prev_number,
            prev_end=prev_end,
            created_ms=created_ms,
            size=size,
            sid=sid.hex(),
            boot=boot,
            salt=salt,
        )


class Total(NamedTuple):
    """What a stream holds up to and with one of its records: the last seq, events, and bytes of records."""

    seq: int = 0
    events: int = 0
    bytes: int = 0


NOTHING: Final = Total()


class Frame(NamedTuple):
    """One frame: a record, or a seal (``events == 0``), which ends its stream.

    ``total`` includes this record; ``end`` is the offset after the frame, padding included.
    """

    total: Total
    events: int
    stamp: int
    recorded_ms: int
    record: bytes
    end: int


def encode(seed: int, total: Total, events: int, when: tuple[int, int], record: bytes) -> bytes:
    """Return a frame's bytes, padded to `ALIGN`. `when` is the stamp and the wall time in milliseconds."""
    return b"".join(pieces(seed, total, events, when, record))


def pieces(seed: int, total: Total, events: int, when: tuple[int, int], record: bytes) -> tuple[bytes, bytes, bytes]:
    """Return what `encode` does in pieces, of which the record itself is one: a large one is not copied."""
    length = len(record)
    rest = _rest.pack(length, events, total.seq, *when, total.events, total.bytes)
    check = crc32(record, crc32(rest, seed))
    return _head.pack(_MAGIC, check) + rest, record, _padding[-length % ALIGN]


def size_of(record_bytes: int) -> int:
    """Return how many bytes a frame takes for a record of so many."""
    return FRAME_BYTES + record_bytes + -record_bytes % ALIGN


def needed(buffer: bytes, at: int) -> int:
    """Return how many bytes the frame at an offset of `buffer` says it takes; 0 when none begins there."""
    if len(buffer) - at < FRAME_BYTES or not buffer.startswith(_MAGIC_BYTES, at):
        return 0
    return size_of(int.from_bytes(buffer[at + 8 : at + 12], "little"))


def decode(buffer: bytes, at: int, seed: int, *, base: int = 0) -> Frame | None:
    """Return the valid frame at an offset of `buffer`, or None. ``buffer[0]`` stands at the offset `base` of its file."""
    if len(buffer) - at < FRAME_BYTES:
        return None
    magic, check, length, events, seq, stamp, recorded_ms, total_events, total_bytes = _whole.unpack_from(buffer, at)
    start = at + FRAME_BYTES
    stop = start + length
    if magic != _MAGIC or stop > len(buffer):
        return None
    if crc32(memoryview(buffer)[at + 8 : stop], seed) != check:
        return None
    total = Total(seq, total_events, total_bytes)
    return Frame(total, events, stamp, recorded_ms, buffer[start:stop], base + stop + -length % ALIGN)


def candidates(buffer: bytes, at: int) -> Iterator[int]:
    """Return the aligned offsets from `at` on at which a frame may begin: for what lies behind damage."""
    while (at := buffer.find(_MAGIC_BYTES, at)) >= 0:
        if at % ALIGN == 0:
            yield at
        at += 1
