"""Stretches of time: what ``minus_5_minutes``, ``yesterday`` and a bucket of a day mean, with daylight saving right.

Layer: pure rules; the present is always an argument. Times are milliseconds since 1970, UTC.

Source: ``minus_5_minutes`` is the seed API's own; everything else here is ours (PROTOCOLS.md 3.3).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

from eventmw.pauses import pause

Interval = Literal["minute", "hour", "day", "week", "month"]

DAY_MS: Final = 86_400_000
LENGTHS_MS: Final[dict[str, int]] = {
    "second": 1000,
    "minute": 60_000,
    "hour": 3_600_000,
    "day": DAY_MS,
    "week": 7 * DAY_MS,
}
LAST_MS: Final = 253_370_764_800_000
"""The beginning of the year 9999: no zone carries a time before it past what a date can say."""

THURSDAY: Final = 3
"""1970-01-01 was the fourth day of its week; weeks begin on Monday. Source: ISO 8601."""

EPOCH: Final = date(1970, 1, 1)

_minus = re.compile(r"minus_([0-9]{1,6})_(second|minute|hour|day|week)s?").fullmatch


@dataclass(frozen=True, slots=True)
class Period:
    """From one millisecond up to another that does not belong to it any more."""

    from_ms: int
    to_ms: int


@cache
def zone_of(name: str) -> ZoneInfo:
    """Return the time zone of an IANA name, such as ``Europe/Berlin``.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        # A name that is a folder, or too long for a file, is none either.
        raise ValueError("not the name of a time zone") from None


def moment_of(value: str | float, zone: ZoneInfo) -> int:
    """Return the milliseconds of an ISO 8601 time, or of whole milliseconds; without a zone it is one of `zone`.

    Raises:
        ValueError: it is none, or lies before 1970 or after 9998.
    """
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        value = _ms(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))
    if value != int(value) or not 0 <= value < LAST_MS:
        raise ValueError("not a time between 1970 and 9998")
    return int(value)


def words_of(words: str, zone: ZoneInfo, now_ms: int) -> Period:
    """Return what a word such as ``minus_5_minutes`` or ``last_month`` means now; the present belongs to it.

    A day of ``minus_7_days`` is 24 hours. ``today`` and its kin go by the calendar of the zone; weeks begin on Monday.

    Raises:
        ValueError: it is none, or reaches back before 1970.
    """
    if found := _minus(words):
        since = now_ms - int(found[1]) * LENGTHS_MS[found[2]]
        if since < 0 or since == now_ms:
            raise ValueError("not a time after 1970")
        return Period(since, now_ms + 1)
    today = datetime.fromtimestamp(now_ms // 1000, UTC).astimezone(zone).date()
    begin, end = _calendar(words, today)
    return Period(start_of(begin, zone), now_ms + 1 if end is None else start_of(end, zone))


def _calendar(words: str, today: date) -> tuple[date, date | None]:
    monday = today - timedelta(days=today.weekday())
    first = today.replace(day=1)
    first_before = (first - timedelta(days=1)).replace(day=1)
    year = today.replace(month=1, day=1)
    known: dict[str, tuple[date, date | None]] = {
        "today": (today, None),
        "yesterday": (today - timedelta(days=1), today),
        "this_week": (monday, None),
        "last_week": (monday - timedelta(days=7), monday),
        "this_month": (first, None),
        "last_month": (first_before, first),
        "this_year": (year, None),
        "last_year": (year.replace(year=year.year - 1), year),
    }
    if words not in known:
        raise ValueError("not a period")
    return known[words]


def start_of(day: date, zone: ZoneInfo) -> int:
    """Return the millisecond in which a day begins in a zone; where midnight is left out, it is the moment of the change."""
    return _ms(datetime.combine(day, time(), zone))


def _ms(moment: datetime) -> int:
    past = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (past.days * 86_400 + past.seconds) * 1000 + past.microseconds // 1000


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which a zone's clocks go alike: up to `until_ms` (None: to the end) they are `offset_ms` ahead of UTC."""

    until_ms: int | None
    offset_ms: int


def stretches(zone: ZoneInfo, period: Period) -> tuple[Stretch, ...]:
    """Return the stretches that a period falls into, in order; the last has no end."""
    changes = [*_changes(zone, period)]
    offsets = [_offset(zone, period.from_ms), *(_offset(zone, at) for at in changes)]
    return tuple(Stretch(until, offset) for until, offset in zip([*changes, None], offsets, strict=True))


def _changes(zone: ZoneInfo, period: Period) -> Iterator[int]:
    """Return the first millisecond of each new offset. No zone has changed twice within a day since 1970."""
    at, old = period.from_ms, _offset(zone, period.from_ms)
    while at < period.to_ms - 1:
        pause()
        after = min(at + DAY_MS, period.to_ms - 1)
        if (new := _offset(zone, after)) != old:
            seconds = range(at // 1000, after // 1000 + 1)
            yield seconds[bisect_right(seconds, 0, key=lambda s: _offset(zone, s * 1000) == new)] * 1000
        at, old = after, new


def _offset(zone: ZoneInfo, at_ms: int) -> int:
    offset = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone).utcoffset()
    assert offset is not None, "a zone's times have one"
    return (offset.days * 86_400 + offset.seconds) * 1000


def _on_the_clock(start_ms: int, length_ms: int, zone: ZoneInfo) -> int:
    """Return where a bucket begins: where its clock was full, or where the clocks were put to it since.

    Where they change by half an hour, the clock that was full half an hour ago did not go yet: that half hour is a bucket of
    its own, which begins with the change.
    """
    if (start_ms + _offset(zone, start_ms)) % length_ms == 0:
        return start_ms
    return next(_changes(zone, Period(start_ms, start_ms + length_ms + 1)), start_ms)


def bucket_number(interval: Interval, at_ms: int, zone: ZoneInfo) -> int:
    """Return the number of the bucket that contains a millisecond, as `bucket_start` takes it."""
    if interval in {"minute", "hour"}:
        return at_ms - (at_ms + _offset(zone, at_ms)) % LENGTHS_MS[interval]
    day = datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(zone).date()
    match interval:
        case "week":
            return ((day - EPOCH).days + THURSDAY) // 7
        case "month":
            return 12 * day.year + day.month - 1
        case _:
            return (day - EPOCH).days


def bucket_starts(interval: Interval, period: Period, zone: ZoneInfo) -> Iterator[int]:
    """Yield the millisecond in which each bucket of a period begins, in order. The first may begin before the period."""
    last: int | None = None
    for number in _bucket_numbers(interval, period, zone):
        pause()
        start = bucket_start(interval, number, zone)
        # A zone that skipped a day (Samoa, 2011-12-30) has two dates that begin at once.
        if last is None or start > last:
            yield start
        last = start


def _bucket_numbers(interval: Interval, period: Period, zone: ZoneInfo) -> Iterator[int]:
    if interval not in {"minute", "hour"}:
        first, last = (bucket_number(interval, at, zone) for at in (period.from_ms, period.to_ms - 1))
        yield from range(first, last + 1)
        return
    begin = period.from_ms
    for stretch in stretches(zone, period):
        end = period.to_ms if stretch.until_ms is None else stretch.until_ms
        yield from range(bucket_number(interval, begin, zone), end, LENGTHS_MS[interval])
        begin = end


def bucket_end(interval: Interval, start_ms: int, zone: ZoneInfo) -> int:
    """Return the millisecond in which the bucket after this one begins."""
    longest = LENGTHS_MS[interval] + DAY_MS if interval in LENGTHS_MS else 32 * DAY_MS
    following = bucket_starts(interval, Period(start_ms, start_ms + longest), zone)
    return next(start for start in following if start > start_ms)


def bucket_start(interval: Interval, number: int, zone: ZoneInfo) -> int:
    """Return the millisecond in which a bucket begins.

    Args:
        interval: what it is long.
        number: of a minute or an hour, its beginning itself, which its clock decides; of a day or a week, how many came
            since that of 1970-01-01; of a month, twelve times its year, plus 0 to 11.
        zone: whose calendar it is.
    """
    match interval:
        case "minute" | "hour":
            return _on_the_clock(number, LENGTHS_MS[interval], zone)
        case "day":
            return start_of(EPOCH + timedelta(days=number), zone)
        case "week":
            return start_of(EPOCH + timedelta(days=number * 7 - THURSDAY), zone)
        case "month":
            return start_of(date(number // 12, number % 12 + 1, 1), zone)
