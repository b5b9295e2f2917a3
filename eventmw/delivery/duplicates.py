"""The judge of duplicates: which event is the first of its id, and which only repeats it.

An id counts for one credential: (credential or ``anonymous``, event id). The first *position* that was judged stays the
first, so every tool hears the same judgement, however far it lags, and a replay of the first is not a duplicate of itself.
The index remembers `WINDOW_MS` and at most `CAPACITY` ids, in about 36 bytes each; what it has forgotten is delivered
once more, under the same id, rather than lost.

Layer: pure rules. Times are those of the records, so the same log gives the same judgements at any hour.
Source: PROTOCOLS.md 2.5 for the key and the 24 hours; the number of ids is ours.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections import deque
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from eventmw.journal import Key, Position

WINDOW_MS: Final = 24 * 3600 * 1000
CAPACITY: Final = 1_000_000
_GENERATIONS: Final = 16

_TIME_BITS: Final = 42
"""Milliseconds since 1970 fit until the year 2109; the other 22 bits of the word lengthen the fingerprint to 86."""
_TIME_MASK: Final = (1 << _TIME_BITS) - 1

_STREAM_BITS: Final = 14
_SEQ_BITS: Final = 34
_ORDINAL_BITS: Final = 16
"""A place in the log is one word: which of a generation's streams, its record, the event in it."""

_PART: Final = struct.Struct("<QQQQQ")


class Duplicates:
    """The index of ids. Not thread-safe: the courier's thread is its only user.

    The ids stand in generations that are filled one after another and forgotten whole, the oldest first. So no table ever
    grows or is cleaned, which would hold up the site for as long as it took: the dearest step is to allocate a new
    generation, 2 MB of zeros.

    Args:
        window_ms: ids recorded within this many milliseconds of each other are the same event.
        capacity: at most this many ids are remembered, and at least ``capacity - capacity / generations`` of the latest.
        generations: how many tables they stand in.
    """

    __slots__ = ("_born", "_generations", "_latest_ms", "_per_generation", "_window_ms")

    def __init__(
        self,
        *,
        window_ms: int = WINDOW_MS,
        capacity: int = CAPACITY,
        generations: int = _GENERATIONS,
    ) -> None:
        self._window_ms = window_ms
        self._per_generation = max(1, capacity // generations)
        self._generations: deque[_Generation] = deque(maxlen=generations)
        self._latest_ms = 0
        self._born = 0

    def __len__(self) -> int:
        return sum(generation.used for generation in self._generations)

    def first(self, credential: str, event_id: str, key: Key, recorded_ms: int) -> Key | None:
        """Judge one event: return the first of its id, or None when this is it; then it is remembered.

        Asking again about the same place in the log gives the same answer for as long as the id is remembered. A first that
        stands at a place too far out to be remembered suppresses nothing.
        """
        mark, rest = _fingerprint(credential, event_id)
        first: Key | None = None
        for generation in reversed(self._generations):
            for known, known_ms in generation.find(mark, rest):
                if known == key and known_ms == recorded_ms & _TIME_MASK:
                    return None
                if abs(recorded_ms - known_ms) <= self._window_ms:
                    first = known
        if first is None:
            self._remember(mark, rest, key, recorded_ms)
        return first

    def parts(self) -> dict[int, int]:
        """Return the number of each generation, oldest first, and how many ids stand in it: it changes with that alone."""
        return {generation.number: generation.used for generation in self._generations}

    def part(self, number: int) -> bytes:
        """Return one generation as bytes, for `restore`."""
        return next(generation for generation in self._generations if generation.number == number).encoded()

    def restore(self, parts: Iterable[bytes]) -> None:
        """Be what these generations were, oldest first, instead of what it is.

        Raises:
            ValueError: they are damaged, or of an index of another size. Nothing was changed.
        """
        generations = [_Generation.decoded(part, self._per_generation) for part in parts]
        self._generations.clear()
        self._generations.extend(generations)
        self._born = max((generation.number for generation in generations), default=0)
        self._latest_ms = max((generation.newest_ms for generation in generations), default=0)

    def _remember(self, mark: int, rest: int, key: Key, recorded_ms: int) -> None:
        self._latest_ms = max(self._latest_ms, recorded_ms)
        if not self._generations or self._generations[-1].used >= self._per_generation:
            self._born += 1
            self._generations.append(_Generation(self._born, self._per_generation))
            while self._generations[0].is_before(self._latest_ms - self._window_ms):
                self._generations.popleft()
        self._generations[-1].add(mark, rest, key, recorded_ms)


class _Generation:
    """One table: open addressing with linear probing, two thirds full at most, nothing is ever taken out."""

    __slots__ = ("_marks", "_numbers", "_places", "_size", "_streams", "_times", "newest_ms", "number", "used")

    def __init__(self, number: int, capacity: int) -> None:
        self.number = number
        self._size = capacity * 3 // 2 + 1
        self._marks = array("Q", bytes(8 * self._size))
        self._times = array("Q", bytes(8 * self._size))
        self._places = array("Q", bytes(8 * self._size))
        self._streams: list[str] = []
        self._numbers: dict[str, int] = {}
        self.newest_ms = 0
        self.used = 0

    def find(self, mark: int, rest: int) -> list[tuple[Key, int]]:
        """Return (place, recorded_ms) of each entry with this fingerprint."""
        found: list[tuple[Key, int]] = []
        marks, slot = self._marks, mark % self._size
        while marks[slot]:
            if marks[slot] == mark and self._times[slot] >> _TIME_BITS == rest:
                found.append((self._unpacked(self._places[slot]), self._times[slot] & _TIME_MASK))
            slot = (slot + 1) % self._size
        return found

    def add(self, mark: int, rest: int, key: Key, recorded_ms: int) -> None:
        """Put an entry in the first free slot. The caller sees to it that there is one."""
        place = self._packed(key)
        if place is None:
            return
        slot = mark % self._size
        while self._marks[slot]:
            slot = (slot + 1) % self._size
        self._marks[slot] = mark
        self._times[slot] = rest << _TIME_BITS | recorded_ms & _TIME_MASK
        self._places[slot] = place
        self.newest_ms = max(self.newest_ms, recorded_ms)
        self.used += 1

    def _packed(self, key: Key) -> int | None:
        """Return a place in the log as one word; None when it does not fit."""
        (stream, seq), ordinal = key
        number = self._numbers.get(stream)
        if number is None:
            number = self._numbers[stream] = len(self._streams)
            self._streams.append(stream)
        if number >> _STREAM_BITS or seq >> _SEQ_BITS or ordinal >> _ORDINAL_BITS:
            return None
        return (number << _SEQ_BITS | seq) << _ORDINAL_BITS | ordinal

    def _unpacked(self, place: int) -> Key:
        stream = self._streams[place >> _SEQ_BITS + _ORDINAL_BITS]
        seq = place >> _ORDINAL_BITS & (1 << _SEQ_BITS) - 1
        return Key(Position(stream, seq), place & (1 << _ORDINAL_BITS) - 1)

    def encoded(self) -> bytes:
        """Return the table as bytes: the numbers that describe it, then its columns; most of it may be zeros."""
        streams = " ".join(self._streams).encode()
        head = _PART.pack(self.number, self.used, self.newest_ms, self._size, len(streams))
        columns = b"".join(column.tobytes() for column in (self._marks, self._times, self._places))
        return head + streams + zlib.compress(columns, 1)

    @classmethod
    def decoded(cls, data: bytes, capacity: int) -> _Generation:
        """Return the table in these bytes.

        Raises:
            ValueError: they are damaged, or hold a table of another size.
        """
        try:
            number, used, newest_ms, size, length = _PART.unpack_from(data)
            begin = _PART.size + length
            columns = zlib.decompress(data[begin:])
        except (struct.error, zlib.error) as error:
            raise ValueError(f"not a table of ids: {error}") from None
        table = cls(number, capacity)
        if size != table._size or len(columns) != 24 * size or used > capacity:
            raise ValueError(f"a table of {table._size} slots was expected, not of {size}")
        table._marks, table._times = array("Q", columns[: 8 * size]), array("Q", columns[8 * size : 16 * size])
        table._places = array("Q", columns[16 * size :])
        table._streams = data[_PART.size : begin].decode().split()
        table._numbers = {stream: number for number, stream in enumerate(table._streams)}
        table.used, table.newest_ms = used, newest_ms
        return table

    def is_before(self, recorded_ms: int) -> bool:
        """Return whether everything in it is older than that; an empty generation is new."""
        return self.used > 0 and self.newest_ms < recorded_ms


def _fingerprint(credential: str, event_id: str) -> tuple[int, int]:
    """Return 64 bits that are never 0 (0 marks a free slot) and 22 more.

    With a million ids remembered, a new one is taken for a known one once in 10^19 events.
    """
    digest = blake2b(
        f"{len(credential)}:{credential}{event_id}".encode("utf-8", "surrogatepass"), digest_size=16
    ).digest()
    return int.from_bytes(digest[:8], "big") or 1, int.from_bytes(digest[8:], "big") >> _TIME_BITS
