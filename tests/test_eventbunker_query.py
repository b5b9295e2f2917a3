"""``/v1/query/json`` as a call: bytes in, the answer's bytes out. That gateways find it is tested with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.tables import events, metadata
from eventmw.errors import Refused
from eventmw.eventbunker.query import QueryJson
from eventmw.keys import Key
from eventmw.query.run import Limits, Runner

NOW_MS = 1_750_000_000_000


@pytest.fixture
def call(tmp_path: Path) -> Iterator[QueryJson]:
    engine = engine_of(sqlite_address(tmp_path / "archive.sqlite3"))
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        metadata.create_all(connection)
        connection.execute(insert(events), [
            {"project_id": project, "event_id": f"{project}{number}", "time_ms": NOW_MS - number, "recorded_ms": NOW_MS,
             "event_name": "buy", "customer_identifier": customer, "metric_name": None, "fields": {"price": number}}
            for project in ("shop", "rival") for number, customer in enumerate(["ann", "bob", "ann"])
        ])  # fmt: skip
    yield QueryJson(Runner(engine, Limits(max_bytes=2_000)), lambda: NOW_MS)
    engine.dispose()


def key(**more: Any) -> Key:
    return Key(id="k", kind="query", account_id="a", project_id="shop", **more)


def test_it_is_the_call_of_the_protocol(call: QueryJson) -> None:
    assert (call.path, call.header) == ("/v1/query/json", "x-eventbunker-query-key")
    assert call.kinds == frozenset({"query"})


def test_an_answer(call: QueryJson) -> None:
    question = {
        "time_period": "minus_5_minutes",
        "group_by": ["customer_identifier"],
        "computations": [{"field_name": "price", "function": "sum"}],
        "filters": [{"field_name": "event_name", "op": "equals", "value": "buy"}],
        "order_by": [{"field_name": "price", "direction": "desc"}],
    }
    reply = call.answer(key(), json.dumps(question).encode())
    assert reply.status == 200
    assert reply.headers == (
        ("content-type", "application/json"),
        ("content-length", str(len(reply.body))),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    )
    assert json.loads(reply.body) == {
        "columns": [
            {"name": "customer_identifier", "kind": "text", "role": "group"},
            {"name": "sum_price", "kind": "number", "role": "value"},
        ],
        "rows": [{"customer_identifier": "ann", "sum_price": 2}, {"customer_identifier": "bob", "sum_price": 1}],
        "truncated": False,
        "time_period": {"from": "2025-06-15T15:01:40.000Z", "to": "2025-06-15T15:06:40.001Z"},
        "time_zone": "UTC",
    }


def test_a_key_sees_what_is_its_own(call: QueryJson) -> None:
    def count(**more: Any) -> int:
        body = call.answer(key(**more), b'{"computations": [{"function": "count"}]}').body
        return int(json.loads(body)["rows"][0]["count"])

    assert count() == 3
    assert count(customer="ann") == 2
    assert count(customer="ann", key_filter={"price": 2}) == 1
    assert count(key_filter={"price": {"not": "understood"}}) == 0


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        (b"", "invalid_json", None),
        (b'{"limit": 0}', "invalid_query", "/limit"),
        (b"[]", "invalid_query", ""),
        (b'{"limit": ' + b"9" * 5000 + b"}", "number_too_large", None),
    ],
)
def test_what_is_refused(call: QueryJson, body: bytes, code: str, path: str | None) -> None:
    with pytest.raises(Refused) as caught:
        call.answer(key(), body)
    assert caught.value.code == code
    assert [fault.path for fault in caught.value.faults] == ([] if path is None else [path])


def test_an_answer_that_is_too_large(call: QueryJson) -> None:
    small = QueryJson(Runner(call.ask.engine, Limits(max_bytes=600)), call.now_ms)
    with pytest.raises(Refused, match="at most 600 bytes"):
        small.answer(key(), b"{}")
