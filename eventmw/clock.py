"""The clock, and the ids that are made of it: the one place where time and chance come in.

Layer: input and output. `eventmw.testing.FrozenClock` stands in for it in tests.
"""

from __future__ import annotations

import os
import random
import time
from typing import Protocol


class Clock(Protocol):
    """Time and chance."""

    def now_ms(self) -> int:
        """Return wall time, milliseconds since 1970, UTC."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that only grow."""
        ...

    def stamp_ns(self) -> int:
        """Return monotonic nanoseconds, comparable between processes of one boot."""
        ...

    def random(self) -> float:
        """Return a number from 0 to below 1, for jitter."""
        ...

    def new_id(self, now_ms: int) -> str:
        """Return 32 hexadecimal digits, a version-7 UUID (RFC 9562 5.7): 48 bits of time, 74 of chance."""
        ...


class SystemClock:
    """The machine's clock and chance."""

    __slots__ = ()

    def now_ms(self) -> int:
        """Return wall time, milliseconds since 1970, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return seconds that only grow."""
        return time.monotonic()

    def stamp_ns(self) -> int:
        """Return monotonic nanoseconds, comparable between processes of one boot."""
        return time.monotonic_ns()

    def random(self) -> float:
        """Return a number from 0 to below 1, for jitter."""
        return random.random()  # noqa: S311 - jitter, not a secret

    def new_id(self, now_ms: int) -> str:
        """Return 32 hexadecimal digits, a version-7 UUID (RFC 9562 5.7): 48 bits of time, 74 of chance."""
        chance = int.from_bytes(os.urandom(10), "big")
        high, low = chance >> 68, chance & (1 << 62) - 1
        return f"{(now_ms & (1 << 48) - 1) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low:032x}"
