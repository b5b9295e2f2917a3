"""An answer along time is completed: what is 0 without events, what is a gap, and which buckets are not whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.charts.buckets import MAX_FILLED_CELLS, completed, empty_of, partial_of, places_of
from eventmw.charts.shape import shape_of
from eventmw.query.table import Table
from tests.chart_tables import DAY, HOUR, T0, TABLES, TIME, computed, group, number, table

MINUTE = 60_000


@pytest.mark.parametrize(
    ("column", "empty"),
    [
        (computed("count"), 0), (computed("count", "price"), 0), (computed("count_distinct", "user"), 0),
        (computed("sum", "price"), 0), (computed("sum", "price", "revenue"), 0), (computed("avg", "price"), None),
        (computed("min", "price"), None), (computed("max", "price"), None), (computed("percentile", "price"), None),
        (computed("percentile", "price", share=0.99), None), (computed("avg", "price", "count"), None), (number("count"), None),
    ],
)  # fmt: skip
def test_what_a_column_is_without_events(column: Any, empty: int | None) -> None:
    """It is known by what was computed, whatever the column is called."""
    assert empty_of(column) == empty
    answer = table([TIME, column], [(T0, 5), (T0 + 3 * HOUR, 6)], interval="hour", to_ms=T0 + 5 * HOUR)
    assert shape_of(answer).measures[-1].series[0].values == (5, empty, empty, 6, empty)


def test_a_sum_of_no_numbers_is_0_along_time_whether_there_were_events_or_not() -> None:
    answer = table(
        [TIME, computed("sum", "price")], [(T0, None), (T0 + HOUR, 6.5)], interval="hour", to_ms=T0 + 3 * HOUR
    )
    assert shape_of(answer).measures[0].series[0].values == (0, 6.5, 0)
    assert [row[1] for row in completed(answer).rows] == [0, 6.5, 0]


def test_each_group_has_every_bucket() -> None:
    shape = shape_of(TABLES["days_by_name"])
    assert len(shape.times) == 30
    assert [one.name for one in shape.measures[0].series] == ["page_view", "signup", "trial"]
    for one in shape.measures[0].series:
        assert None not in one.values
    assert [at for at, value in enumerate(shape.measures[0].series[2].values) if value] == [0, 29]


def test_a_table_gets_the_rows_that_the_chart_shows() -> None:
    rows = completed(TABLES["days_by_name"]).rows
    assert len(rows) == 90
    assert [row[1] for row in rows] == ["page_view", "signup", "trial"] * 30
    assert rows[4] == (T0 + DAY, "signup", 0)
    assert [row[1:] for row in completed(TABLES["days"]).rows][2:4] == [(3, 3.0), (0, None)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(2, "b", 1), (0, "a", 1)], [(2, "b", 1), (2, "a", 0), (1, "a", 0), (1, "b", 0), (0, "a", 1), (0, "b", 0)]),
        ([(0, "a", 1), (2, "b", 9), (1, "a", 2)], [(0, "a", 1), (2, "b", 9), (1, "a", 2)]),
    ],
    ids=["latest first", "by something else"],
)
def test_the_order_of_the_answer_stays(rows: list[Any], expected: list[Any]) -> None:
    def answer(given: list[Any]) -> Table:
        columns = [TIME, group("plan"), computed("count")]
        return table(columns, [(T0 + at * HOUR, *rest) for at, *rest in given], interval="hour", to_ms=T0 + 3 * HOUR)

    assert sorted(completed(answer(rows)).rows) == sorted(answer(expected).rows)
    assert [row[0] for row in completed(answer(rows)).rows] == [row[0] for row in answer(expected).rows]


def test_nothing_is_filled_in_where_rows_were_cut_off() -> None:
    answer = replace(TABLES["days"], truncated=True)
    assert completed(answer) == answer
    assert not places_of(answer).is_known
    values = shape_of(answer).measures[0].series[0].values
    assert 0 not in values
    assert None in values, "the line breaks, since nobody knows what is there"


def test_a_limit_that_cut_nothing_off_changes_nothing() -> None:
    assert places_of(replace(TABLES["days"], truncated=False)).is_complete


def test_a_table_that_would_be_too_large_stays_as_it_is_and_its_lines_do_not() -> None:
    rows = [(T0 + at * HOUR, f"user {at}", 1) for at in range(150)]
    answer = table([TIME, group("user"), computed("count")], rows, interval="hour")
    assert MAX_FILLED_CELLS < 150 * 168 * 3
    assert completed(answer) == answer
    assert all(sum(value == 0 for value in one.values) == 167 for one in shape_of(answer).measures[0].series)


def test_a_long_time_of_short_buckets_has_the_zeros_that_its_line_needs() -> None:
    """A year of minutes is half a million places."""
    times = [T0 + at * MINUTE for at in (0, 1, 2, 100_000, 500_000)]
    answer = table(
        [TIME, computed("count")], [(at, 7) for at in times], interval="minute", from_ms=T0 - DAY, to_ms=T0 + 365 * DAY
    )
    shape = shape_of(answer)
    assert len(shape.times) <= 3 * len(times) + 2
    drawn = dict(zip(shape.times, shape.measures[0].series[0].values, strict=True))
    assert {at for at, value in drawn.items() if value} == set(times)
    for at in (T0 - DAY, T0 - MINUTE, T0 + 3 * MINUTE, times[3] - MINUTE, times[3] + MINUTE, T0 + 365 * DAY - MINUTE):
        assert drawn[at] == 0
    assert completed(answer) == answer


def test_the_future_is_not_filled_in() -> None:
    """A period may end after the present: there is nothing yet, which is not 0."""
    answer = table(
        [TIME, computed("count")], [(T0, 3)], interval="hour", to_ms=T0 + DAY, asked_ms=T0 + 2 * HOUR + 5 * MINUTE
    )
    assert places_of(answer).starts == (T0, T0 + HOUR, T0 + 2 * HOUR)
    assert partial_of(answer, places_of(answer).starts) == {T0 + 2 * HOUR: "until now"}
    later = replace(answer, rows=(*answer.rows, (T0 + 5 * HOUR, 1)))  # an event may be dated after the present
    assert places_of(later).starts[-1] == T0 + 5 * HOUR
    assert partial_of(later, places_of(later).starts) == {T0 + 2 * HOUR: "until now"}


@pytest.mark.parametrize(
    ("interval", "zone", "start", "period", "words"),
    [
        ("day", "UTC", T0, (T0 + 17 * HOUR + 40 * MINUTE, T0 + DAY, None), "from 17:40"),
        ("day", "Europe/Berlin", T0 - 2 * HOUR, (T0 + 12 * HOUR, T0 + 23 * HOUR, None), "from 13:00"),
        ("day", "UTC", T0, (T0, T0 + 9 * HOUR + 1, T0 + 9 * HOUR), "until now"),
        ("day", "UTC", T0, (T0, T0 + 9 * HOUR, None), "until 09:00"),
        ("day", "UTC", T0, (T0, T0 + 9 * HOUR, T0 + 3 * DAY), "until 09:00"),
        ("day", "UTC", T0, (T0 + HOUR, T0 + 9 * HOUR + 1, T0 + 9 * HOUR), "from 01:00 until now"),
        ("day", "UTC", T0, (T0, T0 + DAY, T0 + DAY), None),
        ("day", "UTC", T0, (T0, T0 + DAY - 1000, None), None),
        ("day", "Europe/Berlin", T0 - 2 * HOUR, (T0 - 2 * HOUR, T0 + 23 * HOUR, None), None),
        ("hour", "UTC", T0, (T0 + 5 * MINUTE, T0 + HOUR, None), "from 00:05"),
        ("minute", "UTC", T0, (T0 + 7000, T0 + MINUTE, None), "from 00:00:07"),
        ("week", "UTC", T0 - 6 * DAY, (T0 - 6 * DAY, T0, None), "until 2025-10-26 00:00"),
        ("month", "UTC", T0 - 25 * DAY, (T0 - 20 * DAY, T0 + 6 * DAY, None), "from 2025-10-06 00:00"),
    ],
)  # fmt: skip
def test_a_bucket_that_is_not_whole(
    interval: Any, zone: str, start: int, period: tuple[int, int, int | None], words: str | None
) -> None:
    begin, end, asked = period
    answer = table(
        [TIME, computed("count")],
        [(start, 1)],
        interval=interval,
        time_zone=zone,
        from_ms=begin,
        to_ms=end,
        asked_ms=asked,
    )
    assert places_of(answer).starts == (start,)
    assert partial_of(answer, (start,)) == ({start: words} if words else {})


def test_only_the_first_and_the_last_are_not_whole() -> None:
    shape = shape_of(TABLES["days"])
    assert shape.partial == {0: "from 16:00", 30: "until now"}


@given(
    st.lists(st.tuples(st.integers(0, 99), st.sampled_from([None, 1, "1", True])), min_size=1, unique_by=repr),
    st.integers(1, 200),
    st.booleans(),
)
def test_no_row_of_an_answer_is_lost(keys: list[tuple[int, Any]], hours: int, truncated: bool) -> None:
    rows = [(T0 + at * HOUR, name, n + 1) for n, (at, name) in enumerate(sorted(keys, key=lambda key: key[0]))]
    answer = table(
        [TIME, group("g"), computed("count")],
        rows,
        interval="hour",
        to_ms=T0 + (99 + hours) * HOUR,
        truncated=truncated,
    )
    full = completed(answer)
    assert [repr(row) for row in full.rows if row[2]] == [repr(row) for row in rows] or not truncated
    assert sorted(repr(row) for row in full.rows if row[2]) == sorted(map(repr, rows))
    drawn = sum(value or 0 for one in shape_of(answer).measures[0].series for value in one.values)
    assert drawn == sum(row[2] for row in rows)
