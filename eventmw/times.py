"""Which times look wrong though they can be read: both APIs warn of them, each in its way.

Layer: pure rules; the present is always an argument. Source: PROTOCOLS.md 2.1 and 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventmw.jsdates import time_ms, unit_of

EARLIEST_MS: Final = 946_684_800_000
"""The year 2000: a time before it is most often a mistake."""

FUTURE_MS: Final = 24 * 60 * 60 * 1000
"""A time may be this far ahead without a warning: a local time that was sent as UTC is less. Source: assumption."""


def doubts(value: str | float, now_ms: int) -> Iterator[tuple[str, str]]:
    """Return the code of each warning that a readable time earns, and its words."""
    unit = unit_of(value)
    if unit is not None and unit != "milliseconds":
        yield "time_unit", f"expected milliseconds since 1970 or a date, got a number that was read as {unit}"
    when_ms = time_ms(value)
    if when_ms < EARLIEST_MS:
        yield "past_time", "expected a time after the year 1999, got an earlier one"
    elif when_ms > now_ms + FUTURE_MS:
        yield "future_time", "expected a time that is at most a day ahead, got a later one"
