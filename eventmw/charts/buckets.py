"""Complete an answer along time: the buckets without events, and the buckets that are not whole.

Layer: pure rules. The page and the terminal both draw what this module returns; the answers of the API have a row only where
there are events. In a bucket without events, a count and a sum are 0, which is drawn; a mean, a minimum or a percentile does
not exist, which is a gap.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from eventmw.charts.cells import Clock
from eventmw.pauses import pause
from eventmw.query.periods import DAY_MS, LENGTHS_MS, Period, bucket_end, bucket_number, bucket_start, bucket_starts
from eventmw.query.table import Cell, Column, Table
from eventmw.schema import kind_of

MAX_PLACES: Final = 10_000
"""Buckets that are filled in one by one, as many as an answer may have rows. Source: assumption."""

MAX_FILLED_CELLS: Final = 20_000
"""Cells of a table that rows are added to: hours of a month for nine groups. Source: assumption."""

_ZERO_IF_EMPTY: Final = frozenset({"count", "count_distinct", "sum"})

_TOLERATED_MS: Final = 1000
"""A period that ends so shortly before its bucket does (``23:59:59``) was meant to end with it."""

GroupKey = tuple[tuple[str, Cell], ...]


def empty_of(column: Column) -> Cell:
    """Return the value of a column where there are no events: 0 or None."""
    one = column.computation
    return 0 if one is not None and one.function in _ZERO_IF_EMPTY else None


def bucket_of(table: Table) -> int | None:
    """Return the place of the column of buckets; None when there is none."""
    return next((at for at, one in enumerate(table.columns) if one.role == "bucket"), None)


def groups_of(table: Table) -> list[int]:
    """Return the places of the columns that are grouped by."""
    return [at for at, one in enumerate(table.columns) if one.role == "group"]


def group_key(row: Sequence[Cell], groups: Sequence[int]) -> GroupKey:
    """Return what tells a row's group from others. The text «1», the number and true are different, and look alike."""
    return tuple((kind_of(row[at]), row[at]) for at in groups)


@dataclass(frozen=True, slots=True)
class Places:
    """The buckets of an answer.

    Attributes:
        starts: in order, each once.
        is_known: whether a bucket or a group without a row had no events; else a `limit` may have cut the row off.
        is_complete: whether every bucket of the period is among `starts`; else only those beside a bucket with events.
    """

    starts: tuple[int, ...]
    is_known: bool
    is_complete: bool


def places_of(table: Table, most: int = MAX_PLACES) -> Places:
    """Return the buckets of an answer that has a column of buckets.

    Of more than `most` buckets, only the neighbours of buckets with events are added: a line through these is the same.
    """
    bucket = bucket_of(table)
    seen = sorted({row[bucket] for row in table.rows if row[bucket] is not None}) if bucket is not None else []
    if not seen or table.interval is None or table.truncated:
        return Places(tuple(seen), is_known=False, is_complete=False)
    # Events may be dated after the present, and so lie after the last bucket that is filled in.
    period = Period(min(table.from_ms, seen[0]), max(_end_ms(table), seen[-1] + 1))
    zone = ZoneInfo(table.time_zone)
    if (period.to_ms - period.from_ms) // LENGTHS_MS.get(table.interval, 28 * DAY_MS) < most:
        starts = {*bucket_starts(table.interval, period, zone), *seen}
        return Places(tuple(sorted(starts)), is_known=True, is_complete=True)
    return Places(_with_neighbours(table, seen, period), is_known=True, is_complete=False)


def _with_neighbours(table: Table, seen: Sequence[int], period: Period) -> tuple[int, ...]:
    length = LENGTHS_MS.get(str(table.interval), 28 * DAY_MS)
    starts = {*seen, seen[0] - length, seen[-1] + length}
    for sooner, later in pairwise(seen):
        pause()
        if later - sooner >= 2 * length:
            starts |= {sooner + length, later - length}
    interval, zone = table.interval or "hour", ZoneInfo(table.time_zone)
    ends = (
        bucket_start(interval, bucket_number(interval, at, zone), zone) for at in (period.from_ms, period.to_ms - 1)
    )
    return tuple(sorted({*(one for one in starts if period.from_ms <= one < period.to_ms), *seen, *ends}))


def _end_ms(table: Table) -> int:
    """Return the end of the time that is over: the end of the period, or the present."""
    return table.to_ms if table.asked_ms is None else min(table.to_ms, table.asked_ms + 1)


def completed(table: Table) -> Table:
    """Return an answer with a row for each bucket without events, and for each group that has none in a bucket.

    The answer is returned as it is where nothing of it is 0 without events, where rows were cut off, where there would be
    more cells than `MAX_FILLED_CELLS`, and where its rows are not in the order of time.
    """
    bucket = bucket_of(table)
    empty = [empty_of(one) for one in table.columns]
    if bucket is None or all(one is None for one in empty):
        return table
    places = places_of(table)
    groups = groups_of(table)
    keys: dict[GroupKey, tuple[Cell, ...]] = {}
    for row in table.rows:
        pause()
        keys[group_key(row, groups)] = row
    is_small = len(places.starts) * len(keys) * len(table.columns) <= MAX_FILLED_CELLS
    times = [row[bucket] for row in table.rows]
    is_rising, is_falling = times == sorted(times), times == sorted(times, reverse=True)
    if not (places.is_complete and is_small and (is_rising or is_falling)):
        return table
    # The groups in the order of the archive (docs/query.md), if that is the order of the answer's own rows.
    ordered = dict(sorted(keys.items(), key=lambda one: _order_of(one[0])))
    found: dict[int, dict[GroupKey, tuple[Cell, ...]]] = {}
    for row in table.rows:
        pause()
        found.setdefault(row[bucket], {})[group_key(row, groups)] = row
    is_ordered = all([*rows] == [key for key in ordered if key in rows] for rows in found.values())
    rows: list[tuple[Cell, ...]] = []
    for start in places.starts if is_rising else reversed(places.starts):
        pause()
        known = found.get(start, {})
        for key in ordered if is_ordered else chain(known, (one for one in ordered if one not in known)):
            row = known.get(key) or _empty_row(table, bucket, start, keys[key], empty)
            rows.append(tuple(cell if cell is not None else empty[at] for at, cell in enumerate(row)))
    return replace(table, rows=tuple(rows))


def _empty_row(table: Table, bucket: int, start: int, like: Sequence[Cell], empty: Sequence[Cell]) -> tuple[Cell, ...]:
    row = (like[at] if one.role == "group" else empty[at] for at, one in enumerate(table.columns))
    return tuple(start if at == bucket else cell for at, cell in enumerate(row))


def _order_of(key: GroupKey) -> tuple[tuple[int, Any], ...]:
    """Return what sorts groups as the archive does: null, numbers, texts, false, true."""
    return tuple((0, 0) if c is None else (3 + c, 0) if isinstance(c, bool) else (2, c) if isinstance(c, str) else (1, c)
                 for _, c in key)  # fmt: skip


def partial_of(table: Table, starts: Sequence[int]) -> Mapping[int, str]:
    """Return the buckets that are not whole, each with words for that: ``from 17:40``, ``until now``."""
    if table.interval is None or not starts:
        return {}
    last = max(0, bisect_left(starts, _end_ms(table)) - 1)  # events may be dated after the present
    return {start: words for start in sorted({starts[0], starts[last]}) if (words := " ".join(_cuts(table, start)))}


def _cuts(table: Table, start: int) -> Iterator[str]:
    assert table.interval is not None
    zone = ZoneInfo(table.time_zone)
    end, bucket_ends = _end_ms(table), bucket_end(table.interval, start, zone)
    if start < table.from_ms < bucket_ends:
        yield f"from {_clock_text(table, zone, table.from_ms)}"
    if start < end < bucket_ends - _TOLERATED_MS:
        is_now = table.asked_ms is not None and end >= table.asked_ms
        yield "until now" if is_now else f"until {_clock_text(table, zone, end)}"


def _clock_text(table: Table, zone: ZoneInfo, at: int) -> str:
    """Return a time within a bucket: the date only where the bucket is longer than a day."""
    date, clock = Clock(zone).text(at)[:19].split(" ")
    clock = clock if table.interval == "minute" else clock[:5]
    return clock if table.interval in {"minute", "hour", "day"} else f"{date} {clock}"
