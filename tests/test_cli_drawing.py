"""Charts in a terminal: every line fits, at any width."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from eventmw.cli.drawing import MIN_WIDTH, can_draw, drawn, number_text
from eventmw.query.table import Column, Table
from tests import strategies as own
from tests.chart_tables import computed

HOUR_MS = 3_600_000
VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


def bars(rows: list[tuple[Any, Any]]) -> Table:
    columns = (Column("plan", "scalar", "group"), Column("sum_price", "number", "value"))
    return Table(columns=columns, rows=tuple(rows), truncated=False, from_ms=0, to_ms=1)


def courses(rows: list[tuple[Any, ...]], interval: Any = "hour") -> Table:
    columns = (Column("timestamp", "time", "bucket"), Column("plan", "scalar", "group"), Column("n", "number", "value"))
    to_ms = max((row[0] for row in rows), default=0) + HOUR_MS
    return Table(columns=columns, rows=tuple(rows), truncated=False, from_ms=0, to_ms=to_ms, interval=interval)


def text(table: Table, width: int = 40, **more: Any) -> list[str]:
    return [line.plain for line in drawn(table, width, **more)]


def test_bars() -> None:
    assert text(bars([("pro", 10), ("free", 5), (None, 0), (True, None), ("lost", -10)]), 30) == [
        "sum_price",
        "pro    ███████████████████  10",
        "free   █████████▌            5",
        "(none)                       0",
        "true                         -",
        "lost   ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒ -10",
    ]


def test_bars_in_plain_ascii() -> None:
    assert text(bars([("a", 2), ("b", -1)]), 20, blocks=False) == [
        "sum_price",
        "a ###############  2",
        "b --------        -1",
    ]


def test_courses_show_gaps_and_stretch_to_the_width() -> None:
    table = courses([(0, "a", 1), (HOUR_MS, "a", 4), (3 * HOUR_MS, "a", 8), (0, "b", 8)])
    assert text(table, 20) == [
        "n",
        "a ▂▂▂▂▅▅▅▅    ████ 8",
        "b ████             8",
        "1970-01-01T00:00 to…",
    ]


def along(*rows: tuple[Any, ...], function: Any = "count", **more: Any) -> Table:
    columns = (Column("timestamp", "time", "bucket"), Column("plan", "scalar", "group"), computed(function, "price"))
    given: dict[str, Any] = {"truncated": False, "from_ms": 0, "to_ms": 5 * HOUR_MS, "interval": "hour", **more}
    return Table(columns=columns, rows=tuple(rows), **given)


@pytest.mark.parametrize(
    ("function", "more", "lines"),
    [
        ("count", {}, ["a ▅▅▅▁▁▁▁▁▁███▁▁▁  8", "b ▁▁▁███▁▁▁▁▁▁▁▁▁  8"]),
        ("sum", {}, ["a ▅▅▅▁▁▁▁▁▁███▁▁▁  8", "b ▁▁▁███▁▁▁▁▁▁▁▁▁  8"]),
        ("avg", {}, ["a ▅▅▅      ███     8", "b    ███           8"]),
        ("count", {"truncated": True}, ["a ▅▅▅▅▅     █████  8", "b      █████       8"]),
    ],
)
def test_what_a_course_is_without_events(function: Any, more: dict[str, Any], lines: list[str]) -> None:
    table = along((0, "a", 4), (HOUR_MS, "b", 8), (3 * HOUR_MS, "a", 8), function=function, **more)
    assert text(table, 20)[1:3] == lines


@pytest.mark.parametrize(("blocks", "mark"), [(True, "┊"), (False, "|")])
def test_steps_that_are_not_whole_are_marked(blocks: bool, mark: str) -> None:
    table = along(
        (0, "a", 1),
        (4 * HOUR_MS, "a", 1),
        from_ms=HOUR_MS // 2,
        to_ms=5 * HOUR_MS - 600_000,
        asked_ms=5 * HOUR_MS - 600_001,
    )
    _, line, period, *marks = text(table, 60, blocks=blocks)
    assert line.split()[1].startswith(mark)
    assert line.split()[1].endswith(mark)
    assert period == "1970-01-01T00:00 to 1970-01-01T04:00"
    assert marks == [f"{mark} 1970-01-01T00:00 from 00:30", f"{mark} 1970-01-01T04:00 until now"]


def test_one_and_true_are_two_courses() -> None:
    assert len(text(courses([(0, 1, 1), (0, True, 2), (0, "1", 3)]))) == 5


@given(
    st.lists(st.tuples(st.none() | st.booleans() | own.TEXTS, VALUES), max_size=5), st.integers(1, 120), st.booleans()
)
def test_bars_fit(rows: list[tuple[Any, Any]], width: int, blocks: bool) -> None:
    for line in drawn(bars(rows), width, blocks=blocks):
        assert cell_len(line.plain) <= max(width, MIN_WIDTH)
        assert "Cc" not in set(map(unicodedata.category, line.plain))


@given(
    st.lists(st.tuples(st.integers(0, 50).map(lambda n: n * HOUR_MS), own.TEXTS, VALUES), max_size=20),
    st.integers(1, 120),
    st.sampled_from(["minute", "hour", "day", "month"]),
)
def test_courses_fit(rows: list[tuple[Any, ...]], width: int, interval: str) -> None:
    for line in drawn(courses(rows, interval), width):
        assert cell_len(line.plain) <= max(width, MIN_WIDTH)
        assert "Cc" not in set(map(unicodedata.category, line.plain))


def test_what_can_be_drawn() -> None:
    assert can_draw(bars([]))
    assert not can_draw(
        Table(columns=(Column("count", "number", "value"),), rows=(), truncated=False, from_ms=0, to_ms=1)
    )


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (1234, "1,234"), (2**53 + 1, "9,007,199,254,740,993"), (0.123456789, "0.123457")]
)
def test_numbers_for_people(value: Any, shown: str) -> None:
    assert number_text(value) == shown
