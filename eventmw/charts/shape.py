"""What suits a table: lines along time, bars of groups, or nothing but the table itself; and the numbers to draw.

Layer: pure rules. Nothing is added up or left out in silence: a chart shows cells of the table, and says how many it leaves
to the table. Along time it adds the buckets without events (`eventmw.charts.buckets`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Final, Literal

from eventmw.charts.buckets import GroupKey, bucket_of, empty_of, group_key, groups_of, partial_of, places_of
from eventmw.charts.cells import Clock, cell_text, clock_of, decimals_of
from eventmw.charts.titles import heading_of
from eventmw.pauses import pause
from eventmw.query.periods import LENGTHS_MS
from eventmw.query.table import Cell, Table

View = Literal["line", "bar", "table"]
Axis = Literal["time", "groups"]
Point = float | None

MAX_SERIES: Final = 8
"""Lines that eyes and colours tell apart. Source: Okabe and Ito, «Color Universal Design»: a palette of eight colours."""

MAX_BARS: Final = 100
"""Groups that are drawn, 28 pixels each, which every browser's canvas can hold. Source: assumption."""

MAX_TIME_BARS: Final = 400
"""Bars along time; more than these are thinner than the gaps between them. Source: assumption."""

COMPARABLE: Final = 50
"""Columns whose largest values differ by at most this factor share an axis. Source: assumption."""

_LONGEST_MS: Final = LENGTHS_MS | {"month": 31 * LENGTHS_MS["day"]}
_CHANGE_MS: Final = LENGTHS_MS["hour"]
"""A day is up to so much longer where the clocks change."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one bar at each place. ``len(values) == len(shape.places)``; None: there is none.

    ``decimals`` is how many digits behind the point each value is written with; None: each as many as it needs.
    """

    name: str
    values: tuple[Point, ...]
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """What is drawn at once; one of several that the reader chooses from. ``omitted`` series are in the table alone."""

    name: str
    series: tuple[Series, ...]
    omitted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What to draw of a table.

    Attributes:
        views: those that suit it, the best one first; ``table`` is always among them.
        axis: what the places are; None when there is nothing to draw.
        labels: a name for each place.
        times: where the places are along time, in milliseconds; empty for groups.
        width_ms: how long a place lasts; 0 for groups.
        partial: the index of each place that is cut short, and words for that: ``from 17:40``, ``until now``.
        measures: at least one when there is an axis.
        omitted: how many groups are in the table alone.
    """

    views: tuple[View, ...] = ("table",)
    axis: Axis | None = None
    labels: tuple[str, ...] = ()
    times: tuple[int, ...] = ()
    width_ms: int = 0
    partial: Mapping[int, str] = field(default_factory=dict[int, str])
    measures: tuple[Measure, ...] = ()
    omitted: int = 0


def shape_of(table: Table) -> Shape:
    """Return what suits a table. Never fails: where nothing can be drawn, the table remains."""
    bucket, groups = bucket_of(table), groups_of(table)
    drawn = [at for at, one in enumerate(table.columns) if one.role == "value" and _is_drawable(table, at)]
    if drawn and bucket is not None:
        return _along_time(table, bucket, drawn)
    return _of_groups(table, groups, drawn) if drawn and groups else Shape()


def _is_drawable(table: Table, at: int) -> bool:
    """Return whether a column holds numbers, and not only nulls."""
    pause()
    cells = [row[at] for row in table.rows if row[at] is not None]
    return bool(cells) and table.columns[at].kind in {"number", "scalar"} and all(_number(cell) for cell in cells)


def _number(cell: Cell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _point(cell: Cell) -> Point:
    """Return what is drawn of a cell: a double, which a script has; nothing of what is beyond one."""
    try:
        value = float(cell)
    except (TypeError, OverflowError):
        return None
    return (cell if isinstance(cell, int) and int(value) == cell else value) if isfinite(value) else None


def _along_time(table: Table, bucket: int, drawn: Sequence[int]) -> Shape:
    times = sorted({row[bucket] for row in table.rows if row[bucket] is not None})
    places = places_of(table)
    width = _width(table, places.starts)
    filled = places.starts if places.is_known else _with_gaps(table.interval, times, width)
    clock = clock_of(table, filled, buckets=True)
    empty = [empty_of(one) if places.is_known else None for one in table.columns]
    if groups_of(table):
        measures = tuple(_by_group(table, value, filled, empty[value]) for value in drawn)
    else:
        measures = _by_column(table, bucket, drawn, filled, empty)
    partial = partial_of(table, places.starts)
    return Shape(
        views=_time_views(times, width),
        axis="time",
        labels=_labels(clock, filled),
        times=filled,
        width_ms=width,
        partial={at: partial[one] for at, one in enumerate(filled) if one in partial},
        measures=measures,
    )


def _labels(clock: Clock, times: Iterable[int]) -> tuple[str, ...]:
    return tuple(clock.text(one) for one in times)


def _width(table: Table, times: Sequence[int]) -> int:
    """Return how long a bucket is: as short as two were ever apart, and no longer than its name says."""
    longest = _LONGEST_MS.get(table.interval or "", LENGTHS_MS["day"])
    return min((longest, *(later - sooner for sooner, later in pairwise(times))))


def _time_views(times: Sequence[int], width: int) -> tuple[View, ...]:
    span = (times[-1] - times[0]) / width + 1
    if len(times) > MAX_TIME_BARS:
        return ("line", "table")
    sparse = len(times) * 2 < span
    return ("bar", "line", "table") if sparse or len(times) == 1 else ("line", "bar", "table")


def _with_gaps(interval: str | None, times: Sequence[int], width: int) -> tuple[int, ...]:
    """Return the times with one more in each gap, where nothing will be: a line must not run across it."""
    longest = _LONGEST_MS.get(interval or "", width)
    gaps = [sooner + width for sooner, later in pairwise(times) if later - sooner > longest + _slack(longest)]
    return tuple(sorted({*times, *gaps}))


def _slack(longest: int) -> int:
    return _CHANGE_MS if longest > _CHANGE_MS else 0


def _by_column(
    table: Table, bucket: int, drawn: Sequence[int], times: tuple[int, ...], empty: Sequence[Cell]
) -> tuple[Measure, ...]:
    """Return a measure of each column, and before them one of all that share an axis."""
    series = [
        Series(
            heading_of(table.columns[at]),
            _placed(times, {row[bucket]: row[at] for row in table.rows}, empty[at]),
            _decimals(table, at),
        )
        for at in drawn
    ]
    single = tuple(Measure(one.name, (one,)) for one in series)
    heights = [max(abs(value) for value in one.values if value is not None) or 1 for one in series if _has_point(one)]
    if 1 < len(heights) == len(series) <= MAX_SERIES and max(heights) <= min(heights) * COMPARABLE:
        return (Measure("All", tuple(series)), *single)
    return single


def _has_point(one: Series) -> bool:
    return any(value is not None for value in one.values)


def _by_group(table: Table, value: int, times: tuple[int, ...], empty: Cell) -> Measure:
    """Return a line for each group, the largest first: those whose values together are furthest from zero."""
    bucket, groups = bucket_of(table), groups_of(table)
    assert bucket is not None
    cells: dict[GroupKey, dict[int, Cell]] = {}
    for row in table.rows:
        pause()
        cells.setdefault(group_key(row, groups), {})[row[bucket]] = row[value]
    # By its own cells: laid over all times, each group would cost as much as all rows together.
    largest = sorted(cells.items(), key=lambda item: -_size(item[1].values()))[:MAX_SERIES]
    decimals = _decimals(table, value)
    series = tuple(
        Series(_label(cell for _, cell in group), _placed(times, found, empty), decimals) for group, found in largest
    )
    return Measure(heading_of(table.columns[value]), series, len(cells) - len(series))


def _size(cells: Iterable[Cell]) -> float:
    return sum(abs(float(point)) for point in map(_point, cells) if point is not None)


def _placed(times: Iterable[int], found: Mapping[int, Cell], empty: Cell) -> tuple[Point, ...]:
    pause()
    return tuple(_point(empty if (cell := found.get(one)) is None else cell) for one in times)


def _decimals(table: Table, at: int) -> int | None:
    pause()
    return decimals_of(row[at] for row in table.rows)


def _of_groups(table: Table, groups: Sequence[int], drawn: Sequence[int]) -> Shape:
    rows = table.rows[:MAX_BARS]
    measures = tuple(
        Measure(name, (Series(name, tuple(_point(row[at]) for row in rows), _decimals(table, at)),))
        for at, name in ((at, heading_of(table.columns[at])) for at in drawn)
    )
    return Shape(
        views=("bar", "table"),
        axis="groups",
        labels=tuple(_label(row[at] for at in groups) for row in rows),
        measures=measures,
        omitted=len(table.rows) - len(rows),
    )


def _label(cells: Iterable[Cell]) -> str:
    return " · ".join(cell_text(cell) for cell in cells)
