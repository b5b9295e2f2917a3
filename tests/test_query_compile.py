"""What the statements are made of: bound parameters only, and the wall in the one place where events are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given

from eventmw.keys import Key
from eventmw.query.compile import Dialect, compiled
from eventmw.query.language import parse
from eventmw.query.question import name_of
from tests import query_model as model

KEY = Key(id="k", kind="query", account_id="a", project_id="p")
EVIL = "x'\"); DROP TABLE events; -- %s :p \\"
DIALECTS: tuple[Dialect, ...] = ("sqlite", "postgresql")


def sql(query: dict[str, Any], key: Key, dialect: Dialect) -> tuple[str, Mapping[str, Any]]:
    made = compiled(parse(query, model.NOW_MS), key, dialect, most=10)
    return made.sql, made.parameters


@pytest.mark.parametrize("dialect", DIALECTS)
def test_names_paths_and_values_are_parameters(dialect: Dialect) -> None:
    evil = name_of(EVIL)
    query = {
        "group_by": [evil, name_of("o", EVIL)],
        "computations": [{"function": "sum", "field_name": evil, "as": "DROP TABLE events"}, {"function": "count_distinct", "field_name": evil}],
        "filters": [
            {"field_name": evil, "op": op, "value": EVIL}
            for op in ("equals", "not_equals", "greater_than", "contains", "starts_with", "ends_with")
        ] + [{"field_name": "event_name", "op": "in", "value": [EVIL]}],
        "order_by": [{"field_name": "DROP TABLE events"}, {"field_name": evil}],
    }  # fmt: skip
    text, params = sql(
        query,
        Key(id="k", kind="query", account_id="a", project_id=EVIL, customer=EVIL, key_filter={evil: EVIL}),
        dialect,
    )
    assert "DROP" not in text
    assert any("DROP" in str(value) for value in params.values())


@pytest.mark.parametrize("dialect", DIALECTS)
@given(query=model.queries(), key=model.keys())
def test_events_are_read_in_one_place_behind_the_wall(dialect: Dialect, query: dict[str, Any], key: Key) -> None:
    text, _ = sql(query, key, dialect)
    assert text.count("FROM eventmw_events") == 1, "no other sub-select reads events"
    wall = text.partition("FROM eventmw_events\nWHERE")[2].partition("eventmw_events.time_ms >=")[0]
    assert wall.startswith(" eventmw_events.project_id = ")
    assert key.customer is None or " AND eventmw_events.customer_identifier = " in wall


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_key_of_no_project_asks_nothing(dialect: Dialect) -> None:
    with pytest.raises(ValueError, match="project"):
        sql({}, Key(id="k", kind="account", account_id="a"), dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_value_that_several_need_is_handed_up_once(dialect: Dialect) -> None:
    functions = ["sum", "avg", "min", "max", "median"]
    text, _ = sql({"computations": [{"function": one, "field_name": "a"} for one in functions]}, KEY, dialect)
    assert text.count("jsonb_typeof(" if dialect == "postgresql" else "json_type(") == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_question_binds_few_parameters(dialect: Dialect) -> None:
    """SQLite may have been built for 999 of them, and PostgreSQL takes 65,535: an array is one, and so are equal values."""
    names = [name_of(f"ü{number}", "ß") for number in range(50)]
    values: list[Any] = [*range(10), *map(str, range(10))]
    query = {
        "time_zone": "Africa/Casablanca",
        "time_period": {"from": "2017-06-01", "to": "2027-06-01"},
        "interval": "minute",
        "group_by": names[:8],
        "computations": [{"function": "percentile_95", "field_name": name} for name in names[:20]],
        "filters": [
            {
                "field_name": name,
                "op": "in",
                "value": [f"{name}{value}" if isinstance(value, str) else value for value in values],
            }
            for name in names
        ],
        "order_by": [{"field_name": name} for name in names[:8]],
    }
    key = Key(
        id="k", kind="query", account_id="a", project_id="p", customer="c", key_filter={f"é{n}": n for n in range(20)}
    )
    _, params = sql(query, key, dialect)
    assert len(params) < 250


@pytest.mark.parametrize(
    ("query", "is_fenced"),
    [
        ({"group_by": ["a"]}, True),
        ({"computations": [{"function": "avg", "field_name": "a"}]}, True),
        ({"computations": [{"function": one, "field_name": "a"} for one in ("min", "max")]}, True),
        ({"group_by": ["event_name"], "computations": [{"function": "sum", "field_name": "a"}]}, False),
        ({"computations": [{"function": "sum", "field_name": "a"}, {"function": "sum", "field_name": "b"}]}, False),
        ({"interval": "day"}, False),
    ],
)
def test_postgresql_works_out_once_what_is_used_twice(query: dict[str, Any], is_fenced: bool) -> None:
    text, _ = sql(query, KEY, "postgresql")
    assert ("OFFSET 0" in text) is is_fenced
