"""A vendor for `Webhook` that keeps books of numbered events. ``python -m benchmarks.sites.vendor PORT``.

``/-/refuse`` has it answer 503 to every later post, and ``/-/go`` take them again; ``/-/books`` tells, as JSON, what came
and in which order, and how long after they were accepted the events came that came since it was asked last.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from array import array
from datetime import datetime
from typing import Any

from benchmarks.sites.sink import Sink, main

# Webhook writes its keys in one order, and the first property of these events is their number.
_event = re.compile(rb'"recorded":"([^"]+)","user_id":null,"properties":{"number":(\d+)')


class Books:
    """What came: each number once, in which order, how late.

    Attributes:
        refuses: every post is answered 503, and nothing of it is noted.
    """

    def __init__(self) -> None:
        self.refuses = False
        self._seen = bytearray()
        self._distinct = self._arrived = self._inversions = self._refused = 0
        self._last = -1
        self._late_ms = array("d")

    def post(self, body: bytes) -> bool:
        """Note the events of one post, unless it is refused."""
        if self.refuses:
            self._refused += 1
            return False
        now_s = time.time()
        for recorded, number in _event.findall(body):
            self._note(int(number), 1000 * (now_s - datetime.fromisoformat(recorded.decode()).timestamp()))
        return True

    def _note(self, number: int, late_ms: float) -> None:
        self._arrived += 1
        if number >= len(self._seen):
            self._seen.extend(bytes(number + 100_000 - len(self._seen)))
        if not self._seen[number]:
            self._seen[number] = 1
            self._distinct += 1
            self._inversions += number < self._last
            self._last = max(self._last, number)
            self._late_ms.append(late_ms)

    def told(self) -> dict[str, Any]:
        """Return the books, and forget how late the events so far were. ``missing`` are numbers below the last one."""
        late, self._late_ms = self._late_ms, array("d")
        missing = [number for number in range(self._last + 1) if not self._seen[number]]
        return {
            "arrived": self._arrived,
            "distinct": self._distinct,
            "inversions": self._inversions,
            "refused_posts": self._refused,
            "missing": [len(missing), *missing[:1], *missing[-1:]],
            "late_ms": sorted(late)[:: max(1, len(late) // 10_000)],
        }

    @property
    def distinct(self) -> int:
        """How many different events came."""
        return self._distinct


_books = Books()


class Vendor(Sink):
    """One connection."""

    async def answer(self, path: bytes, body: bytes) -> tuple[bytes, bytes]:
        """Note a post, or do what is asked."""
        match path:
            case b"/-/refuse":
                _books.refuses = True
            case b"/-/go":
                _books.refuses = False
            case b"/-/count":
                return b"200 OK", str(_books.distinct).encode()
            case b"/-/books":
                return b"200 OK", json.dumps(_books.told()).encode()
            case _:
                return (b"200 OK", b"") if _books.post(body) else (b"503 Service Unavailable", b"")
        return b"200 OK", b""


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Vendor))
