"""The calls of a chart, and what a link opens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import insert

from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.tables import events, metadata
from eventmw.charts.links import Link, token_of
from eventmw.errors import Fault, Refused
from eventmw.eventbunker import Gettable
from eventmw.eventbunker.charts import ChartCall
from eventmw.http import Reply
from eventmw.keys import Key
from eventmw.query.language import parse_text
from eventmw.query.question import Query
from eventmw.query.run import Runner
from eventmw.query.table import Table
from tests.chart_tables import TABLES

DIGEST = sha256(b"secret of k1").digest()
KEY = Key(id="k1", kind="query", account_id="a1", project_id="p1", customer="ann")
EXPIRES_S = 1_750_000_001
LINK = Link("p1", "k1", '{"interval":"hour"}', EXPIRES_S, "Sales <today>")
TOKEN = token_of(LINK, DIGEST)


class Keys:
    """Keys in memory: id → the key and the digest of its secret."""

    def __init__(self) -> None:
        self.held = {"k1": (KEY, DIGEST)}

    def by_id(self, key_id: str) -> Key | None:
        return self.held[key_id][0] if key_id in self.held else None

    def digest_of(self, key_id: str) -> bytes | None:
        return self.held[key_id][1] if key_id in self.held else None


class Asked:
    """Answers every query with a table, and remembers who asked for what."""

    def __init__(self, answer: Callable[[], Table] = lambda: TABLES["hours"]) -> None:
        self.answer = answer
        self.seen: list[tuple[Query, Key]] = []

    def __call__(self, query: Query, key: Key) -> Table:
        self.seen.append((query, key))
        return self.answer()


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def asked() -> Asked:
    return Asked()


NOW_MS = 1_750_000_000_000


def call(asked: Asked, keys: Keys, now_ms: int = NOW_MS) -> ChartCall:
    return ChartCall(asked, keys, lambda: now_ms, ("'self'", "https://shop.example"))


def policy_of(reply: Reply) -> str:
    return dict(reply.headers)["content-security-policy"]


def test_a_query_is_answered_by_a_page(asked: Asked, keys: Keys) -> None:
    reply = call(asked, keys).answer(KEY, b"{}")
    assert reply.status == 200
    assert b"count per hour" in reply.body
    assert "https://shop.example" in policy_of(reply)
    assert asked.seen == [(parse_text(b"{}", NOW_MS), KEY)]


def test_a_query_that_is_refused_is_refused_in_the_dialect_s_form(keys: Keys) -> None:
    def refuse() -> Table:
        raise Refused("invalid_json", "Expected JSON.", faults=(Fault(None, "/a", "", "x", "y"),))

    with pytest.raises(Refused):
        call(Asked(refuse), keys).answer(KEY, b"{")


def test_a_link_asks_in_the_name_of_its_key_as_it_is_now(asked: Asked, keys: Keys) -> None:
    changed = replace(KEY, customer="bob", key_filter={"shop": 1})
    keys.held["k1"] = (changed, DIGEST)
    reply = call(asked, keys).get(f"token={TOKEN}")
    assert reply.status == 200
    assert b"Sales &lt;today&gt;" in reply.body
    assert asked.seen == [(parse_text(LINK.query.encode(), NOW_MS), changed)]
    assert isinstance(call(asked, keys), Gettable)


def test_an_expired_link_is_gone(asked: Asked, keys: Keys) -> None:
    reply = call(asked, keys, now_ms=EXPIRES_S * 1000).get(f"token={TOKEN}")
    assert reply.status == 410
    assert b"This link has expired" in reply.body
    assert asked.seen == []


def test_a_link_for_years_opens_nothing(asked: Asked, keys: Keys) -> None:
    reply = call(asked, keys, now_ms=0).get(f"token={TOKEN}")
    assert reply.status == 403
    assert b"at most 365 days" in reply.body
    assert asked.seen == []


def test_a_link_goes_with_its_key(asked: Asked, keys: Keys) -> None:
    del keys.held["k1"]
    reply = call(asked, keys).get(f"token={TOKEN}")
    assert reply.status == 403
    assert b"This link was withdrawn" in reply.body
    assert asked.seen == []


@pytest.mark.parametrize(
    ("query_string", "status"),
    [
        ("", 400), ("token=", 400), ("token=x", 400), (f"token={TOKEN}&token={TOKEN}", 400), (f"token={TOKEN[:-1]}", 400),
        (f"token={TOKEN[:-1]}{'A' if TOKEN[-1] != 'A' else 'B'}", 403), ("token=" + "x" * 10_000, 400),
        (f"token={token_of(LINK, sha256(b'another').digest())}", 403),
        (f"token={token_of(replace(LINK, key_id='k2'), DIGEST)}", 403),
        (f"token={token_of(replace(LINK, project_id='p2'), DIGEST)}", 403),
    ],
)  # fmt: skip
def test_a_link_that_was_changed_opens_nothing(asked: Asked, keys: Keys, query_string: str, status: int) -> None:
    reply = call(asked, keys).get(query_string)
    assert reply.status == status
    assert asked.seen == []
    assert dict(reply.headers)["cache-control"] == "no-store"
    assert "https://shop.example" in policy_of(reply)


@pytest.mark.parametrize("kind", ["write", "delete", "project", "account"])
def test_a_key_that_may_not_ask_has_no_links(asked: Asked, keys: Keys, kind: str) -> None:
    keys.held["k1"] = (replace(KEY, kind=kind), DIGEST)  # type: ignore[arg-type]
    assert call(asked, keys).get(f"token={TOKEN}").status == 403
    assert asked.seen == []


def test_a_query_of_a_link_that_is_refused_gets_a_page(keys: Keys) -> None:
    def refuse() -> Table:
        raise Refused("overloaded", "Too many questions.", headers=(("retry-after", "5"),))

    reply = call(Asked(refuse), keys).get(f"token={TOKEN}")
    assert reply.status == 503
    assert b"Too many questions." in reply.body
    assert dict(reply.headers)["retry-after"] == "5"


def test_nothing_is_raised_and_no_token_is_logged(keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Table:
        raise RuntimeError(f"with {TOKEN} in it")

    caplog.set_level(logging.DEBUG)
    reply = call(Asked(fail), keys).get(f"token={TOKEN}")
    for broken in (TOKEN[:-1], "x"):
        call(Asked(fail), keys).get(f"token={broken}")
    assert reply.status == 500
    assert "RuntimeError" in caplog.text
    assert TOKEN[:20] not in caplog.text + reply.body.decode()


def test_a_link_shows_what_its_key_may_see_of_the_archive(tmp_path: Path, keys: Keys) -> None:
    engine = engine_of(sqlite_address(tmp_path / "archive.sqlite3"))
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        metadata.create_all(connection)
        connection.execute(insert(events), [
            {"project_id": project, "event_id": f"{project}{at}", "time_ms": NOW_MS - at * 60_000, "recorded_ms": NOW_MS,
             "event_name": "buy", "customer_identifier": customer, "metric_name": None, "fields": {"price": at + 100}}
            for project in ("p1", "p2") for at, customer in enumerate(["ann", "bob", "ann"])
        ])  # fmt: skip
    query = '{"group_by": ["customer_identifier"], "computations": [{"function": "sum", "field_name": "price"}]}'
    token = token_of(replace(LINK, query=query, title=""), DIGEST)
    charts = ChartCall(Runner(engine), keys, lambda: NOW_MS)
    page = charts.get(f"token={token}").body
    along = '{"time_period": "minus_2_days", "interval": "day", "computations": [{"function": "count"}]}'
    days = charts.get(f"token={token_of(replace(LINK, query=along), DIGEST)}").body
    engine.dispose()
    assert days.count(b"until now</small>") == 1, "the page knows when it was asked"
    assert days.count(b'<td class="number">0</td>') == 2, "and has the days without events"
    assert b"Sum of price by customer_identifier" in page
    assert b'<bdi>ann</bdi></th><td class="number">202</td>' in page
    assert b"bob" not in page


def test_what_is_no_query_is_refused_or_told_on_a_page(asked: Asked, keys: Keys) -> None:
    with pytest.raises(Refused, match="invalid_query"):
        call(asked, keys).answer(KEY, b'{"limit": 0}')
    reply = call(asked, keys).get(f"token={token_of(replace(LINK, query='{'), DIGEST)}")
    assert reply.status == 400
    assert asked.seen == []
