"""The limits of a run, on both databases, and what the databases say when they cannot."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event, insert, text
from sqlalchemy.exc import OperationalError

from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.store import Archive
from eventmw.archive.tables import events, metadata
from eventmw.charts.page import chart_page
from eventmw.errors import Refused
from eventmw.eventbunker.query import reply
from eventmw.keys import Key
from eventmw.pauses import current
from eventmw.query.compile import compiled
from eventmw.query.language import parse
from eventmw.query.run import Limits, Runner, in_time
from eventmw.query.sqlite import Budget, Percentile, prepare
from eventmw.query.table import Table

NOW_MS = 1_750_000_000_000
KEY = Key(id="k", kind="query", account_id="a", project_id="p")
EVENTS = 300


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        made = engine_of(sqlite_address(tmp_path / "archive.sqlite3"))
    else:
        made = engine_of(request.getfixturevalue("postgres"))
    with made.connect().execution_options(writes=True) as connection, connection.begin():
        metadata.create_all(connection)
        connection.execute(insert(events), [row(number) for number in range(EVENTS)])
    yield made
    made.dispose()


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "project_id": "p",
        "event_id": f"{number:05d}",
        "time_ms": NOW_MS - number * 1000,
        "recorded_ms": NOW_MS,
        "event_name": "a",
        "customer_identifier": None,
        "metric_name": None,
        "fields": {"n": number, "big": 2**62, "é": number % 3},
        **more,
    }


def ask(engine: Engine, query: dict[str, Any], key: Key = KEY, **limits: Any) -> Table:
    return Runner(engine, Limits(**limits))(parse(query, NOW_MS), key)


def refusal(engine: Engine, query: dict[str, Any], **limits: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        ask(engine, query, **limits)
    return caught.value


def test_groups(engine: Engine) -> None:
    assert len(ask(engine, {"group_by": ["n"]}, max_groups=EVENTS).rows) == EVENTS
    refused = refusal(engine, {"group_by": ["n"]}, max_groups=EVENTS - 1)
    assert refused.code == "query_too_large"
    assert refused.detail == "Expected at most 299 groups, got more. Set a limit, a filter or a longer interval."


def test_a_limit_is_told_and_is_no_error(engine: Engine) -> None:
    table = ask(engine, {"group_by": ["n"], "limit": 5}, max_groups=10)
    assert (len(table.rows), table.truncated) == (5, True)
    assert not ask(engine, {"limit": EVENTS}).truncated
    assert len(ask(engine, {}).rows) == 100


def test_the_length_of_the_period(engine: Engine) -> None:
    assert ask(engine, {"time_period": "minus_9_days"}, max_days=10).rows
    refused = refusal(engine, {"time_period": "minus_10_days"}, max_days=10)
    assert refused.detail == "Expected a time_period of at most 10 days, got a longer one."


def test_bytes(engine: Engine) -> None:
    refused = refusal(engine, {}, max_bytes=500)
    assert (refused.code, refused.status) == ("query_too_large", 400)
    assert "at most 500 bytes" in refused.detail


def test_time(engine: Engine) -> None:
    """The database itself gives up: the question is about a product of many rows, which would take far longer."""
    slow = {"group_by": ["n", "big"], "computations": [{"function": "median", "field_name": "n"}]}
    refused = refusal(engine, slow, timeout_s=0.0)
    assert (refused.code, refused.status) == ("query_timeout", 503)
    assert ("retry-after", "5") in refused.headers
    assert ask(engine, slow).rows, "the connection is as it was"


def test_the_database_is_what_ends_it(engine: Engine) -> None:
    """Not our look at the clock between two rows: there is no row before the end."""
    with engine.connect() as connection:
        endless = "SELECT count(*) FROM eventmw_events a, eventmw_events b, eventmw_events c, eventmw_events d"
        from eventmw.query.run import _in_time

        with pytest.raises(Exception, match=r"interrupted|statement timeout"), _in_time(connection, 0.05):
            connection.execute(text(endless))


def test_few_rows_that_take_long_are_ended_too(tmp_path: Path) -> None:
    """SQLite is asked to stop between instructions, of which three rows have few, whatever each of them takes."""
    from eventmw.query.run import _STEPS_OF_SEARCH, _in_time

    made = engine_of(sqlite_address(tmp_path / "archive.sqlite3"))
    searches = [{"field_name": "t", "op": "not_contains", "value": f"{'a' * 400}{n}"} for n in range(50)]
    query = parse({"computations": [{"function": "count"}], "filters": searches}, NOW_MS)
    with made.connect().execution_options(writes=True) as connection, connection.begin():
        metadata.create_all(connection)
        connection.execute(insert(events), [row(number, fields={"t": "a" * 1000}) for number in range(3)])
    statement = compiled(query, KEY, "sqlite", most=1)
    interrupted = pytest.raises(OperationalError, match="interrupted")
    with made.connect() as connection, interrupted, _in_time(connection, 0.0, _STEPS_OF_SEARCH):
        connection.exec_driver_sql(statement.sql, dict(statement.parameters))
    made.dispose()


def test_sums_past_64_bits(engine: Engine) -> None:
    """SQLite's own sum fails there. Two times 2**62 is one too many; 2**53 + 1 is what a double cannot say."""
    total = {"computations": [{"function": "sum", "field_name": "big"}]}
    assert ask(engine, total | {"filters": [{"field_name": "n", "op": "less_than", "value": 1}]}).rows == ((2**62,),)
    assert ask(engine, total | {"filters": [{"field_name": "n", "op": "less_than", "value": 2}]}).rows == ((2.0**63,),)
    assert ask(engine, total).rows == ((EVENTS * 2.0**62,),)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(insert(events), [row(900, fields={"x": 2**53}), row(901, fields={"x": 1})])
    assert ask(engine, {"computations": [{"function": "sum", "field_name": "x"}]}).rows == ((2**53 + 1,),)


def test_numbers_that_are_no_doubles(engine: Engine) -> None:
    """Trackers may send integers of many digits; an answer has no Infinity."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(insert(events), [row(900, fields={"x": 10**400}), row(901, fields={"x": 10**30})])
    assert ask(engine, {"group_by": ["x"], "computations": [{"function": "max", "field_name": "x"}]}).rows
    assert ask(engine, {"computations": [{"function": "sum", "field_name": "x"}]}).rows == ((None,),)
    below = [{"field_name": "x", "op": "less_than", "value": 1e300}]
    assert ask(engine, {"computations": [{"function": "min", "field_name": "x"}], "filters": below}).rows == ((1e30,),)
    median = {"computations": [{"function": "median", "field_name": "x"}]}
    if engine.dialect.name == "postgresql":
        assert "within a double's range" in refusal(engine, median).detail
    else:
        assert ask(engine, median).rows == ((None,),)


def test_a_query_reads_only(engine: Engine) -> None:
    if engine.dialect.name == "postgresql":
        from eventmw.query.run import _in_time

        with engine.connect() as connection, pytest.raises(Exception, match="read-only"), _in_time(connection, 5):
            connection.execute(text("DELETE FROM eventmw_events"))


def test_an_archive_that_is_not_made_yet(tmp_path: Path) -> None:
    """To ask makes none: SQLite would make a file that everybody can read, and whoever fills it would keep it so."""
    file = tmp_path / "archive.sqlite3"
    refused = refusal(engine_of(sqlite_address(file)), {})
    assert (refused.code, refused.status) == ("archive_down", 503)
    assert ("retry-after", "5") in refused.headers
    assert not file.exists()


def test_an_archive_without_tables_is_not_made_yet_either(engine: Engine) -> None:
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        metadata.drop_all(connection)
    assert (refusal(engine, {}).code, refusal(engine, {}).status) == ("archive_down", 503)


def test_a_sites_archive_is_made_by_its_first_question(engine: Engine, tmp_path: Path) -> None:
    """A site that has no events yet has none: that is an answer, as of any other day."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        metadata.drop_all(connection)
    file = engine_of(sqlite_address(tmp_path / "data" / "archive.sqlite3"))
    for one in (engine, file):
        table = Runner(one, make=Archive(one).open)(parse({"computations": [{"function": "count"}]}, NOW_MS), KEY)
        assert list(table.rows) == [(0,)]
    file.dispose()
    assert (tmp_path / "data" / "archive.sqlite3").stat().st_mode & 0o777 == 0o600
    away = engine_of("postgresql+psycopg://nobody:secret@127.0.0.1:1/none")
    with pytest.raises(Refused) as raised:
        Runner(away, make=Archive(away).open)(parse({}, NOW_MS), KEY)
    assert raised.value.code == "archive_down"


def test_an_archive_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "archive.sqlite3").mkdir()
    refused = refusal(engine_of(sqlite_address(tmp_path / "archive.sqlite3")), {})
    assert (refused.code, refused.status) == ("archive_down", 503)
    gone = engine_of("postgresql+psycopg://nobody:secret@127.0.0.1:1/none")
    refused = refusal(gone, {})
    assert refused.code == "archive_down"
    assert "secret" not in f"{refused}{refused.__cause__}"


EVIL = "50% off: :p 'q' \\\\ %(x)s \x1b[31m \u202e"


def test_the_printed_sql_is_asked_as_it_stands(engine: Engine, request: pytest.FixtureRequest) -> None:
    """Literals stand in it, a sign of percent once; the database's own shell gives the answer that we give."""
    rows = [row(900, fields={"50%": EVIL, "a": [EVIL, 2]}), row(901, fields={"50%": "50% off"})]
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(insert(events), rows)
    filters: list[dict[str, Any]] = [
        {"field_name": "50%", "op": "equals", "value": EVIL},
        {"field_name": "50%", "op": "in", "value": [EVIL, "x", 1]},
        {"field_name": "50%", "op": "starts_with", "value": "50%"},
        {"field_name": "a", "op": "in", "value": [2, 2.5, "x"]},
        {"field_name": "event_name", "op": "in", "value": ["a", "50%"]},
    ]
    for one in filters:
        asked = parse({"filters": [one], "group_by": ["50%"]}, NOW_MS)
        statement = Runner(engine).sql(asked, KEY)
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", statement), "what a terminal would act on is escaped"
        counts = [count for _, count in Runner(engine)(asked, KEY).rows]
        assert counts == [int(line.rpartition("|")[2]) for line in shell(engine, statement)] != []


def shell(engine: Engine, statement: str) -> list[str]:
    """Run a statement as it is printed: in psql, and in the module that Python has instead of SQLite's shell."""
    if engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(engine.url.database))) as connection:
            return ["|".join(map(str, found)) for found in connection.execute(statement)]
    url = engine.url
    ran = subprocess.run(
        ["psql", "-h", str(url.host), "-p", str(url.port), "-U", str(url.username), "-AtX", str(url.database)],
        env={"PGPASSWORD": str(url.password), "PATH": os.environ["PATH"], "PGCLIENTENCODING": "UTF8"},
        input=statement, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert not ran.stderr
    return ran.stdout.splitlines()


def test_the_sql_can_be_read_and_asked(engine: Engine) -> None:
    """Literals stand in it; a database's own shell gives the same answer."""
    query = parse({"group_by": ["é"], "filters": [{"field_name": "n", "op": "less_than", "value": 10}]}, NOW_MS)
    statement = Runner(engine).sql(query, KEY)
    assert "'p'" in statement
    assert "10" in statement
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(statement).all()
    assert [count for *_, count in rows] == [4, 3, 3]


def test_more_than_the_database_takes_is_the_questions_fault(engine: Engine) -> None:
    """400, and never that the archive is down: a SQLite may be built with limits of its own."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda driver, _: driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 3))
        engine.dispose()
    else:
        small = "SET LOCAL work_mem = '64kB'; SET LOCAL temp_file_limit = '64kB'"
        event.listen(engine, "begin", lambda made: made.exec_driver_sql(small))
        with engine.begin() as connection:
            rows = [row(900 + n, fields={"t": os.urandom(20_000).hex()}) for n in range(20)]
            connection.execute(insert(events), rows)
    filters = [{"field_name": name, "op": "not_equals", "value": 0.5} for name in "abc"]
    refused = refusal(engine, {"filters": filters, "group_by": ["t"]})
    assert (refused.code, refused.status) == ("query_too_large", 400)


@pytest.mark.parametrize("variables", [999, 32_766])
def test_every_build_of_sqlite_takes_the_largest_question(engine: Engine, variables: int) -> None:
    if engine.dialect.name != "sqlite":
        return
    event.listen(engine, "connect", lambda driver, _: driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, variables))
    engine.dispose()
    filters = [{"field_name": f"ü{n}.ß", "op": "not_in", "value": [f"{n} {m}" for m in range(20)]} for n in range(50)]
    assert ask(engine, {"filters": filters, "computations": [{"function": "count"}]}).rows == ((EVENTS,),)


def test_cells(engine: Engine) -> None:
    assert ask(engine, {"group_by": ["n"]}, max_cells=2 * EVENTS).rows
    refused = refusal(engine, {"group_by": ["n"]}, max_cells=2 * EVENTS - 1)
    assert (refused.code, "at most 599 cells" in refused.detail) == ("query_too_large", True)
    assert "cells" in refusal(engine, {"limit": 1}, max_cells=9).detail, "six columns, and one with three fields"


def test_the_time_holds_for_all_that_a_question_takes(engine: Engine) -> None:
    """Not for the database alone: what comes before and after it looks at the same clock."""
    with in_time(0.0) as deadline:
        assert current() is deadline
        with pytest.raises(Refused, match="takes at most 0 s"):
            parse({"filters": [{"field_name": "n", "op": "exists"}]}, NOW_MS)
    query = parse({"filters": [{"field_name": "n", "op": "exists"}]}, NOW_MS)
    with in_time(0.0), pytest.raises(Refused, match="takes at most 0 s"):
        compiled(query, KEY, "sqlite", most=1)
    table = ask(engine, {})
    with in_time(0.0), pytest.raises(Refused, match="takes at most 0 s"):
        reply(table, 1_000_000)
    with in_time(0.0), pytest.raises(Refused, match="takes at most 0 s"):
        chart_page(table)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95, 1.0])
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-3, 3), max_size=40))
def test_percentiles_of_runs_are_those_of_the_whole(share: float, numbers: list[float]) -> None:
    made, one = Percentile(), Percentile()
    for number in numbers:
        one.step(number, share)
        made.step(number, share)
        made._sort()
    assert made.finalize() == one.finalize()


def test_percentiles_keep_so_many_numbers(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine.dialect.name == "sqlite":
        median = {"computations": [{"function": "median", "field_name": "n"}]}
        monkeypatch.setattr("eventmw.query.run.prepare", lambda driver: prepare(driver, Budget(EVENTS)))
        assert ask(engine, median).rows == ((149.5,),)
        monkeypatch.setattr("eventmw.query.run.prepare", lambda driver: prepare(driver, Budget(EVENTS - 1)))
        assert "percentiles of at most" in refusal(engine, median).detail


def test_a_sum_of_what_is_beyond_doubles_is_null(engine: Engine) -> None:
    huge = [10**400, -(10**400), 1.7976931348623157e308]
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(insert(events), [row(900 + n, fields={"x": value}) for n, value in enumerate(huge)])
    assert ask(engine, {"computations": [{"function": "sum", "field_name": "x"}]}).rows == ((None,),)
