"""The databases' answers beside those of plain Python, over rows, keys and queries that Hypothesis makes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import Engine, delete

from eventmw.archive.database import engine_of
from eventmw.archive.rows import for_postgresql, for_sqlite
from eventmw.archive.store import _INSERT
from eventmw.archive.tables import events, metadata
from eventmw.keys import Key
from eventmw.query.language import parse
from eventmw.query.run import Limits, Runner
from tests import query_model as model

LIMITS = Limits(max_days=100_000)
ONE_ENGINE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    address = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("postgres")
    made = engine_of(address)
    metadata.create_all(made)
    yield made
    made.dispose()


def fill(engine: Engine, rows: list[dict[str, Any]]) -> None:
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(delete(events))
        if rows:
            kept = for_sqlite if engine.dialect.name == "sqlite" else for_postgresql
            connection.execute(_INSERT[engine.dialect.name], [kept(row) for row in rows])


def same(got: object, wanted: object) -> bool:
    """Whether two cells are alike, in kind as well."""
    if isinstance(wanted, model.Near):
        return wanted == got
    if isinstance(got, dict):
        return bool(as_read(got) == as_read(wanted))
    return model.kind(got) == model.kind(wanted) and got == wanted


def as_read(fields: object) -> Any:
    """An event's fields as a query sees them; these rows went to PostgreSQL as plain JSON, whose 1e300 has 301 digits."""
    return json.loads(json.dumps(fields), parse_int=lambda digits: model.read(int(digits)))


def check(engine: Engine, rows: list[dict[str, Any]], key: Key, query: dict[str, Any]) -> None:
    fill(engine, rows)
    table = Runner(engine, LIMITS)(parse(query, model.NOW_MS), key)
    wanted, truncated = model.answer(query, key, rows)
    got = list(table.rows)
    if not model.has_sure_order(query):
        keys = sum(column.role != "value" for column in table.columns)
        for lines in (got, wanted):
            lines.sort(key=lambda line: [model.rank(cell) for cell in line[:keys]])
    assert len(got) == len(wanted)
    for got_row, wanted_row in zip(got, wanted, strict=True):
        assert all(map(same, got_row, wanted_row)), (got_row, wanted_row)
    assert table.truncated == truncated


@given(model.event_rows(), model.keys(), model.queries())
@settings(max_examples=150, suppress_health_check=ONE_ENGINE)
def test_the_answer_is_that_of_plain_python(
    engine: Engine, rows: list[dict[str, Any]], key: Key, query: dict[str, Any]
) -> None:
    check(engine, rows, key, query)


@pytest.mark.parametrize("interval", ["minute", "hour", "day", "week", "month"])
def test_every_edge_is_in_its_bucket(engine: Engine, interval: str) -> None:
    """Around midnights, ends of months and changes of clocks, each day of the week among them."""
    offs = [-1, 0, 1, 1_800_000, model.HOUR_MS, *(day * model.DAY_MS for day in range(7))]
    times = sorted({max(0, edge + off) for edge in model.EDGES_MS for off in offs})
    rows: list[dict[str, Any]] = [
        {"project_id": "p", "event_id": f"{number:03d}", "time_ms": at, "recorded_ms": at, "event_name": "a",
         "customer_identifier": None, "metric_name": None, "fields": {}}
        for number, at in enumerate(times)
    ]  # fmt: skip
    fill(engine, rows)
    key = Key(id="k", kind="query", account_id="a", project_id="p")
    for zone in model.ZONE_NAMES:
        query = {"time_period": {"from": 0, "to": max(times) + 1}, "time_zone": zone, "interval": interval}
        table = Runner(engine, LIMITS)(parse(query, model.NOW_MS), key)
        assert list(table.rows) == model.answer(query, key, rows)[0], zone


KINDS: list[Any] = [
    None, True, False, 0, 1, 1.0, -0.25, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1, 1e300, 10**300 + 7, -(10**20),
    "", "a", "ab", "a\0", "a\0b", "1", "true", "null", "é", "\uffff", "😀", "[1]",
    [], [1], ["a"], ["ab", "b"], [True], [2**53 + 1], [10**20 + 1], {"a": 1}, {"a": "a"},
]  # fmt: skip


@pytest.mark.parametrize("path", [("a",), ("é",), ('q"',), ("o", "a"), ("o", 'q"'), ("a\0",)])
def test_every_kind_meets_every_operator(engine: Engine, path: tuple[str, ...]) -> None:
    def held(value: Any) -> dict[str, Any]:
        return {path[0]: value} if len(path) == 1 else {path[0]: {path[1]: value}}

    fields = [{}, *map(held, KINDS), {"o": "text"}]
    rows = [
        {"project_id": "p", "event_id": f"{number:03d}", "time_ms": number, "recorded_ms": 0, "event_name": "a",
         "customer_identifier": None, "metric_name": None, "fields": one}
        for number, one in enumerate(fields)
    ]  # fmt: skip
    fill(engine, rows)
    key = Key(id="k", kind="query", account_id="a", project_id="p")
    name, whole = model.named(path), {"time_period": {"from": 0, "to": 1000}}
    queries: list[dict[str, Any]] = [{"group_by": [name]}, {"order_by": [{"field_name": name}]}]
    queries += [
        {"computations": [{"function": one, "field_name": name}]}
        for one in ("count", "count_distinct", "min", "max", "sum", "avg", "median", "percentile_90")
    ]
    for value in [value for value in KINDS if model.kind(value) != "other"]:
        ops = ["equals", "not_equals", *(model.ORDERED if not isinstance(value, bool) else [])]
        ops += model.SEARCHED if isinstance(value, str) and value else []
        queries += [{"filters": [{"field_name": name, "op": op, "value": value}]} for op in ops]
    queries += [{"filters": [{"field_name": name, "op": op}]} for op in model.UNARY]
    for query in queries:
        table = Runner(engine, LIMITS)(parse(whole | query, model.NOW_MS), key)
        wanted = model.answer(whole | query, key, rows)[0]
        assert len(table.rows) == len(wanted), query
        for got_row, wanted_row in zip(table.rows, wanted, strict=True):
            assert all(map(same, got_row, wanted_row)), (query, got_row, wanted_row)
