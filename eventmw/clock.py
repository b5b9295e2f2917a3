"""The clock, and the ids that are made of it: the one place where time and chance come in.

Layer: input and output. `eventmw.testing.FrozenClock` stands in for it in tests.
"""

from __future__ import annotations

import os
import random
import time
from typing import Final, Protocol

from eventmw.forks import after_fork_in_child

_AT_ONCE: Final = 256
"""Ids whose chance is fetched in one call: the system takes as long for ten bytes as for some hundreds."""

# The four bits of the version and the two of the variant, put over the first and the third byte of chance.
# Source: RFC 9562 5.7.
_VERSION: Final = bytes(0x70 | byte & 0x0F for byte in range(256))
_VARIANT: Final = bytes(0x80 | byte & 0x3F for byte in range(256))


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


def _fresh_tails() -> list[str]:
    """Return the last 20 hexadecimal digits of some ids: all that is not time."""
    chance = bytearray(os.urandom(10 * _AT_ONCE))
    chance[0::10] = chance[0::10].translate(_VERSION)
    chance[2::10] = chance[2::10].translate(_VARIANT)
    return chance.hex(" ", 10).split(" ")


# Taking one out is atomic, so threads never get the same. A forked child begins with none of its parent's.
_tails: Final[list[str]] = []
after_fork_in_child(_tails.clear)


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
        try:
            tail = _tails.pop()
        except IndexError:
            tail, *others = _fresh_tails()
            _tails.extend(others)
        return f"{now_ms & 0xFFFFFFFFFFFF:012x}{tail}"
