"""How cells of a table are written for people: numbers, times in their zone, and all else.

Layer: pure rules. English forms, whatever the reader's language: ``1,234.5`` and ``2026-11-25 13:00``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final
from zoneinfo import ZoneInfo

from eventmw.jsontext import for_line
from eventmw.pauses import pause
from eventmw.query.table import Table

NULL: Final = "null"
"""What stands for no value, in a faint italic that tells it from the text of four letters."""

_DIGITS: Final = 6
"""Significant digits that a fraction is shown with at least, of which two are behind the point."""

_PLAIN: Final = (1e-4, 1e15)
"""Between these a number is written without an exponent."""

_DATE_LONG: Final = frozenset({"day", "week"})


def number_text(value: float, decimals: int | None = None) -> str:
    """Return a number for people; an int keeps every digit, a fraction about six significant ones.

    Args:
        value: the number.
        decimals: how many digits to write behind the point; None: as many as it needs.
    """
    if isinstance(value, int):
        return f"{value:,}" if not decimals or abs(value) >= _PLAIN[1] else f"{value:,}.{'0' * decimals}"
    if not isfinite(value):
        return "∞" if value > 0 else "-∞" if value < 0 else NULL
    size = abs(value)
    if value and not _PLAIN[0] <= size < _PLAIN[1]:
        return f"{value:.{_DIGITS}g}"
    if decimals is not None:
        return f"{value:z,.{decimals}f}"
    text = f"{value:,.{_needed(size)}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _needed(size: float) -> int:
    return max(2, _DIGITS - len(str(int(size))) if size >= 1 else _DIGITS)


def decimals_of(cells: Iterable[Any]) -> int | None:
    """Return how many digits all numbers of a column are written with behind the point; None if no number has any."""
    most = 0
    for cell in cells:
        pause()
        if isinstance(cell, float) and _PLAIN[0] <= abs(cell) < _PLAIN[1]:
            most = max(most, len(number_text(cell).partition(".")[2]))
    return max(2, most) if most else None


@dataclass(frozen=True, slots=True)
class Clock:
    """Writes times of one table.

    Attributes:
        zone: in which they are shown.
        interval: the length of what begins at a time; None: a moment, which is written to the millisecond.
        offset: whether each has its distance from UTC, because they are not all alike: an hour that the clocks repeat.
    """

    zone: ZoneInfo
    interval: str | None = None
    offset: bool = False

    def text(self, milliseconds: int) -> str:
        """Return ``2026-11-25``, ``2026-11``, ``2026-11-25 13:00`` or ``2026-11-25 13:00:05.250``."""
        moment = self._moment(milliseconds)
        if self.interval == "month":
            return f"{moment:%Y-%m}"
        if self.interval in _DATE_LONG:
            return f"{moment:%Y-%m-%d}"
        text = f"{moment:%Y-%m-%d %H:%M}"
        if self.interval is None:
            text += f"{moment::%S}.{milliseconds % 1000:03d}"
        return f"{text} {_offset(moment)}" if self.offset else text

    def offset_at(self, milliseconds: int) -> str:
        """Return the distance from UTC at a time, such as ``+02:00``."""
        return _offset(self._moment(milliseconds))

    def _moment(self, milliseconds: int) -> datetime:
        return datetime.fromtimestamp(milliseconds // 1000, UTC).astimezone(self.zone)


def _offset(moment: datetime) -> str:
    text = f"{moment:%z}"
    return f"{text[:3]}:{text[3:5]}"


def clock_of(table: Table, times: Iterable[int], *, buckets: bool) -> Clock:
    """Return the clock for these times of a table, which are beginnings of buckets or moments."""
    clock = Clock(ZoneInfo(table.time_zone), table.interval if buckets else None)
    several = len({clock.offset_at(one) for one in times}) > 1
    return Clock(clock.zone, clock.interval, offset=several)


def cell_text(cell: Any, decimals: int | None = None) -> str:
    """Return any cell that is not a time for people; `NULL` when there is none. It may hold any character."""
    match cell:
        case None:
            return NULL
        case bool():
            return "true" if cell else "false"
        case int() | float():
            return number_text(cell, decimals)
        case str():
            return cell
        case _:
            return for_line(cell)
