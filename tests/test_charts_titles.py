"""Titles and headings for people."""

from __future__ import annotations

from typing import Any

import pytest

from eventmw.charts.titles import heading_of, title_of
from eventmw.keys import Key
from eventmw.query.compile import compiled
from eventmw.query.language import parse
from eventmw.query.table import Column, Table
from tests.chart_tables import TIME, computed, group, table

KEY = Key(id="k", kind="query", account_id="a", project_id="p")


def answer_to(**query: Any) -> Table:
    """Return an empty answer with the columns that a real query has."""
    asked = parse(query, 1_750_000_000_000)
    return table(compiled(asked, KEY, "sqlite", most=10).columns, [], interval=asked.interval)


def of(function: str, field: str | None = None, name: str | None = None) -> dict[str, str]:
    given = {"function": function, "field_name": field, "as": name}
    return {key: value for key, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ({"computations": [of("count")], "interval": "day"}, "Count per day"),
        ({"computations": [of("count"), of("sum", "price")], "group_by": ["plan"]}, "Count and sum of price by plan"),
        ({"computations": [of("sum", "price"), of("avg", "price")]}, "Sum and average of price"),
        ({"computations": [of("sum", "price"), of("avg", "weight")]}, "Sum of price and average of weight"),
        ({"computations": [of("count_distinct", "customer_identifier")]}, "Distinct customer_identifier"),
        ({"computations": [of("count", "price")]}, "Count of price"),
        ({"computations": [of("min", "timestamp"), of("max", "ms")]}, "Lowest timestamp and highest ms"),
        ({"computations": [of("median", "price")]}, "Median of price"),
        ({"computations": [of("percentile_95", "price")]}, "95th percentile of price"),
        ({"computations": [of("percentile_99.9", "ms")]}, "99.9th percentile of ms"),
        ({"computations": [of("percentile_1", "ms")]}, "1st percentile of ms"),
        ({"computations": [of("percentile_12", "ms")]}, "12th percentile of ms"),
        ({"computations": [of("sum", "price", "revenue in €")], "interval": "month"}, "revenue in € per month"),
        ({"computations": [of("count", None, "sum_price")]}, "sum_price"),
        ({"computations": [of("count"), of("sum", "price", "Sum of X")], "group_by": ["a", "b"], "interval": "hour"},
         "Count and Sum of X by a and b, per hour"),
        ({"computations": [of("count"), of("sum", "price"), of("avg", "price"), of("count_distinct", "customer_identifier")]},
         "Count, sum of price, average of price and distinct customer_identifier"),
        ({}, "Events"),
    ],
)  # fmt: skip
def test_a_title(query: dict[str, Any], title: str) -> None:
    assert title_of(answer_to(**query)) == title


@pytest.mark.parametrize(
    ("column", "heading"),
    [
        (TIME, "Day"), (group("event_name"), "event_name"), (computed("count"), "Count"), (computed("sum", "price"), "Sum of price"),
        (computed("sum", "price", "net"), "net"), (Column("timestamp", "time", "listed"), "timestamp"),
    ],
)  # fmt: skip
def test_a_heading(column: Column, heading: str) -> None:
    assert heading_of(column, "day") == heading


def test_an_answer_in_json_keeps_the_names() -> None:
    body = answer_to(computations=[of("sum", "price")], interval="day").as_json()
    assert body["columns"] == [
        {"name": "timestamp", "kind": "time", "role": "bucket"},
        {"name": "sum_price", "kind": "number", "role": "value"},
    ]
