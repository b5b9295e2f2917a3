"""Cells for people."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.charts.cells import Clock, cell_text, clock_of, decimals_of, number_text
from tests.chart_tables import COUNT, HOUR, T0, TIME, table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1234567, "1,234,567"), (-5, "-5"), (2**70, "1,180,591,620,717,411,303,424"),
        (0.0, "0"), (-0.0, "0"), (12.0, "12"), (145 / 3, "48.3333"), (0.1 + 0.2, "0.3"), (123456.789, "123,456.79"),
        (1e-5, "1e-05"), (1e300, "1e+300"), (-1234.5, "-1,234.5"), (math.inf, "∞"), (-math.inf, "-∞"), (math.nan, "null"),
    ],
)  # fmt: skip
def test_a_number(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("cells", "decimals", "texts"),
    [
        ([229028.5, 15002, 7.25], 2, ["229,028.50", "15,002.00", "7.25"]), ([1, 2, None], None, ["1", "2", "null"]),
        ([3.0, 4.0], None, ["3", "4"]), ([0.125, 12.5], 3, ["0.125", "12.500"]), ([-0.001, 1.5], 3, ["-0.001", "1.500"]),
        ([1e300, 1.5], 2, ["1e+300", "1.50"]), ([math.inf, 0.5], 2, ["∞", "0.50"]), ([2**70, 0.5], 2, [f"{2**70:,}", "0.50"]),
        ([True, "a", 0.5], 2, ["true", "a", "0.50"]),
    ],
)  # fmt: skip
def test_numbers_of_a_column_have_the_same_decimals(
    cells: list[object], decimals: int | None, texts: list[str]
) -> None:
    assert decimals_of(cells) == decimals
    assert [cell_text(cell, decimals) for cell in cells] == texts


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_as_what_it_is_but_for_digits_that_nobody_reads(value: float) -> None:
    read = number_text(value).replace(",", "")
    if isinstance(value, int):
        assert int(read) == value
    else:
        assert math.isclose(float(read), value, rel_tol=1e-5, abs_tol=1e-6)


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ("minute", "2025-10-26 02:00"), ("hour", "2025-10-26 02:00"), ("day", "2025-10-26"), ("week", "2025-10-26"),
        ("month", "2025-10"), (None, "2025-10-26 02:00:00.007"),
    ],
)  # fmt: skip
def test_a_time_is_as_fine_as_what_begins_at_it(interval: str | None, text: str) -> None:
    assert Clock(ZoneInfo("Europe/Berlin"), interval).text(T0 + 7) == text


def test_an_hour_that_the_clocks_repeat_has_two_names() -> None:
    times = [T0 + at * HOUR for at in range(3)]
    clock = clock_of(table([TIME, COUNT], [], interval="hour", time_zone="Europe/Berlin"), times, buckets=True)
    assert [clock.text(one) for one in times] == [
        "2025-10-26 02:00 +02:00",
        "2025-10-26 02:00 +01:00",
        "2025-10-26 03:00 +01:00",
    ]
    assert not clock_of(table([], [], time_zone="Europe/Berlin"), times[1:], buckets=True).offset


@pytest.mark.parametrize(
    ("cell", "text"), [(None, "null"), (True, "true"), (False, "false"), ("<b>", "<b>"), ({"a": [1]}, '{"a":[1]}')]
)
def test_other_cells(cell: object, text: str) -> None:
    assert cell_text(cell) == text
