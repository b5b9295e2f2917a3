"""Which views suit a table, and that they show its cells and no others."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.charts.shape import MAX_BARS, MAX_SERIES, shape_of
from eventmw.charts.titles import title_of
from eventmw.query.table import Column, Table
from tests.chart_tables import COUNT, DAY, HOUR, T0, TABLES, TIME, group, number, table


@pytest.mark.parametrize(
    ("name", "views"),
    [
        ("hours", ("line", "bar", "table")), ("series", ("line", "bar", "table")), ("groups", ("bar", "table")),
        ("many_groups", ("bar", "table")), ("two_groups", ("bar", "table")), ("empty", ("table",)),
        ("one_point", ("bar", "line", "table")), ("figures", ("table",)), ("thousands", ("line", "table")),
        ("columns", ("line", "bar", "table")), ("sparse", ("bar", "line", "table")), ("listed", ("table",)),
    ],
)  # fmt: skip
def test_the_views_that_suit(name: str, views: tuple[str, ...]) -> None:
    assert shape_of(TABLES[name]).views == views


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("hours", "count per hour"), ("series", "count and avg_price by _browser, per day"), ("groups", "sum_price by country"),
        ("two_groups", "count by country and kind"), ("figures", "count and avg_price"), ("listed", "Events"),
        ("columns", "p50, p90 and p99 per hour"),
    ],
)  # fmt: skip
def test_a_title_says_what_is_shown(name: str, title: str) -> None:
    assert title_of(TABLES[name]) == title


def test_columns_of_one_size_share_an_axis_and_others_do_not() -> None:
    assert [one.name for one in shape_of(TABLES["columns"]).measures] == ["All", "p50", "p90", "p99"]
    assert [one.name for one in shape_of(TABLES["incomparable"]).measures] == ["count", "sum"]


def test_the_largest_groups_are_drawn_and_the_others_counted() -> None:
    counts, prices = shape_of(TABLES["series"]).measures
    assert [one.name for one in counts.series] == [
        "chrome", "firefox", "safari", "edge", "opera", "a rather long name that goes on and on and on", "כרום", "null",
    ]  # fmt: skip
    assert (counts.omitted, prices.omitted) == (1, 1)
    shape = shape_of(TABLES["many_groups"])
    assert (len(shape.labels), shape.omitted) == (MAX_BARS, 60)


def test_a_line_breaks_where_a_limit_may_have_cut_a_bucket_off() -> None:
    shape = shape_of(replace(TABLES["sparse"], truncated=True))
    hours = [(time - T0) // HOUR for time in shape.times]
    assert hours == [0, 1, 3, 4, 5, 20, 21, 60]
    assert [value is None for value in shape.measures[0].series[0].values] == [
        False,
        True,
        False,
        False,
        True,
        False,
        True,
        False,
    ]


def test_a_day_of_twenty_five_hours_is_no_gap() -> None:
    days = [T0 - 2 * HOUR, T0 + 23 * HOUR, T0 + 47 * HOUR]  # of Berlin; the first of them has 25 hours
    assert shape_of(
        table([TIME, COUNT], [(day, 1) for day in days], interval="day", time_zone="Europe/Berlin", truncated=True)
    ).times == tuple(days)


def test_months_are_no_gaps_and_a_month_without_events_is_one() -> None:
    months = [T0, T0 + 31 * DAY, T0 + 59 * DAY]
    rows = [(at, 1) for at in (*months, T0 + 150 * DAY)]
    assert len(shape_of(table([TIME, COUNT], rows, interval="month", truncated=True)).times) == 5


def test_groups_that_look_alike_stay_apart() -> None:
    rows = [(T0, "1", 1), (T0, 1, 2), (T0, True, 3), (T0, "null", 4), (T0, None, 5)]
    shape = shape_of(table([TIME, group("g"), COUNT], rows, interval="hour", to_ms=T0 + HOUR))
    assert [(one.name, one.values) for one in shape.measures[0].series] == [
        ("null", (5,)), ("null", (4,)), ("true", (3,)), ("1", (2,)), ("1", (1,)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "cells", "drawn"),
    [
        ("number", [1, None], True), ("number", [None], False), ("scalar", [1.5, 2], True), ("scalar", [1, "a"], False),
        ("scalar", [True], False), ("text", ["1"], False), ("time", [T0], False),
    ],
)  # fmt: skip
def test_what_is_no_number_is_not_drawn(kind: Any, cells: list[object], drawn: bool) -> None:
    column = Column("min_x", kind, "value")
    shape = shape_of(table([group("g"), column], [(str(at), cell) for at, cell in enumerate(cells)]))
    assert (shape.axis is not None) is drawn


def test_what_no_script_can_count_is_not_drawn() -> None:
    values = shape_of(TABLES["huge"]).measures[0].series[0].values
    assert values == (2**70, 1e300, 1e-9, 0, None)


def test_work_grows_with_the_cells_and_not_with_groups_times_buckets() -> None:
    """A query may have 10,000 groups, each at a minute of its own: a hundred million places, of which eight lines are drawn."""
    rows = [(T0 + at * HOUR, f"g{at}", at) for at in range(1000)]
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        calls[frame.f_code.co_name] += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        shape = shape_of(table([TIME, group("g"), COUNT], rows, interval="hour"))
    finally:
        sys.setprofile(before)
    assert [one.name for one in shape.measures[0].series] == [f"g{at}" for at in range(999, 991, -1)]
    assert max(calls.values()) < 20 * len(rows)


CELLS = st.none() | st.integers() | st.floats() | st.booleans() | st.text(max_size=3)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    groups = draw(st.integers(0, 2))
    values = draw(st.integers(0, 3))
    bucketed = draw(st.booleans())
    columns = [TIME] * bucketed + [group(f"g{at}") for at in range(groups)]
    columns += [Column(f"v{at}", draw(st.sampled_from(["number", "scalar", "text"])), "value") for at in range(values)]
    keys = draw(st.lists(st.tuples(st.integers(0, 400), *[CELLS] * groups), max_size=30, unique_by=repr))
    if bucketed:
        heads: list[tuple[Any, ...]] = [(T0 + key[0] * HOUR, *key[1:]) for key in keys]
    else:
        heads = [key[1:] for key in keys]
    rows = [(*head, *(draw(st.none() | st.integers() | st.floats()) for _ in range(values))) for head in heads]
    return table(columns, rows, interval="hour" if bucketed else None)


@given(tables())
def test_any_table_has_a_shape_whose_parts_fit_together(given: Table) -> None:
    shape = shape_of(given)
    assert shape.views.count("table") == 1
    assert (shape.axis is None) == (shape.views == ("table",)) == (not shape.measures)
    assert len(shape.times) == (len(shape.labels) if shape.axis == "time" else 0)
    assert list(shape.times) == sorted(set(shape.times))
    for measure in shape.measures:
        assert 1 <= len(measure.series) <= MAX_SERIES
        assert all(len(one.values) == len(shape.labels) for one in measure.series)


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.none() | st.integers(-1000, 1000)), min_size=1, unique_by=lambda row: row[0]
    )
)
def test_every_cell_of_a_line_is_one_of_the_table(rows: list[tuple[int, int | None]]) -> None:
    given = table([TIME, number("n")], [(T0 + hour * HOUR, value) for hour, value in rows], interval="hour")
    shape = shape_of(given)
    if shape.axis is None:
        assert all(value is None for _, value in rows)
        return
    drawn = dict(zip(shape.times, shape.measures[0].series[0].values, strict=True))
    assert {time: value for time, value in drawn.items() if value is not None} == {
        time: value for time, value in given.rows if value is not None
    }
