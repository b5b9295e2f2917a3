"""Listed events for people: free fields are columns."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.charts.listed import MAX_FIELDS, OTHERS, spread
from eventmw.query.table import Column, Table
from tests.chart_tables import T0, TABLES, table

COLUMNS = [
    Column("timestamp", "time", "listed"), Column("metric_name", "text", "listed"), Column("fields", "object", "listed"),
    Column("unique_req_id", "text", "listed"),
]  # fmt: skip


def listed(*fields: Any, metric: str | None = None) -> Table:
    return table(COLUMNS, [(T0 + at, metric, one, f"id{at}") for at, one in enumerate(fields)])


def names(given: Table) -> list[str]:
    return [one.name for one in spread(given).columns]


def test_the_most_frequent_fields_come_first_and_empty_columns_go() -> None:
    given = listed({"b": 1, "a": "x"}, {"b": 2.5}, {"b": None, "c": None})
    assert names(given) == ["timestamp", "b", "a", "unique_req_id"]
    assert spread(given).rows == ((T0, 1, "x", "id0"), (T0 + 1, 2.5, None, "id1"), (T0 + 2, None, None, "id2"))
    assert [one.kind for one in spread(given).columns] == ["time", "number", "scalar", "text"]
    assert names(listed({}, metric="m")) == ["timestamp", "metric_name", "unique_req_id"]


@pytest.mark.parametrize("more", [0, 1, 2, 30])
def test_the_rest_is_in_one_column(more: int) -> None:
    fields = {f"f{at:02}": at for at in range(MAX_FIELDS + more)}
    shown = spread(listed(fields))
    if more < 2:  # one field alone has a column instead
        assert [one.name for one in shown.columns[1:-1]] == list(fields)
    else:
        assert [one.name for one in shown.columns[1:-1]] == [*list(fields)[:MAX_FIELDS], OTHERS]
        assert shown.rows[0][-2] == {name: at for name, at in fields.items() if at >= MAX_FIELDS}


@pytest.mark.parametrize("name", [name for name in TABLES if name not in {"listed", "free_fields"}])
def test_other_tables_stay_as_they_are(name: str) -> None:
    assert spread(TABLES[name]) is TABLES[name]


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)


@given(st.lists(st.dictionaries(st.text(max_size=2), VALUES, max_size=12), min_size=1, max_size=5))
def test_no_value_is_lost(fields: list[dict[str, Any]]) -> None:
    shown = spread(listed(*fields))
    free = [at for at, one in enumerate(shown.columns) if one.name not in {"timestamp", "unique_req_id"} or at > 0]
    count = sum(value is not None for one in fields for value in one.values())
    found = 0
    for row in shown.rows:
        for at in free[:-1]:
            cell = row[at]
            if cell is not None:
                found += len(cast(dict[str, Any], cell)) if isinstance(cell, dict) else 1
    assert found == count
    assert len(shown.columns) <= 2 + MAX_FIELDS + 1
