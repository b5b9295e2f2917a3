"""``eventmw query`` on an archive: tables, JSON, CSV, charts, SQL, and what it says when it cannot."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text

from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.tables import events, metadata
from tests.running import Ran, run


def row(number: int, project: str = "shop", **more: Any) -> dict[str, Any]:
    now_ms = int(time.time() * 1000)
    return {
        "project_id": project,
        "event_id": f"{project}{number}",
        "time_ms": now_ms - 60_000 - number,
        "recorded_ms": now_ms,
        "event_name": "buy" if number % 3 else "view",
        "customer_identifier": "ann",
        "metric_name": None,
        "fields": {"price": number, "plan": ["free", "pro"][number % 2], "zip": "01"},
        **more,
    }


def fill(address: str, rows: list[dict[str, Any]]) -> None:
    engine = engine_of(address)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        metadata.create_all(connection)
        if rows:
            connection.execute(insert(events), rows)
    engine.dispose()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("data")
    fill(sqlite_address(found / "archive.sqlite3"), [row(number) for number in range(9)])
    return found


def ask(folder: Path, *arguments: str, **more: Any) -> Ran:
    return run("query", *arguments, EVENTMW_DATA_DIR=str(folder), **more)


def test_a_table(folder: Path) -> None:
    ran = ask(folder, "--last", "1h", "--count", "--by", "event_name", "--sum", "price")
    assert ran.code == 0, ran.err
    assert ran.lines == ["event_name  count  sum_price", "buy         6      27", "view        3      9"]


def test_events_are_listed(folder: Path) -> None:
    ran = ask(folder, "--limit", "2")
    assert len(ran.lines) == 3
    assert '{"price":0,"plan":"free","zip":"01"}' in ran.lines[1]
    assert ran.err == "Only the first 2 rows: --limit N shows more.\n"


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        (["plan=pro"], 4), (["plan!=pro"], 5), (["price>=3"], 6), (["price<3"], 3), (["price>3", "price<=5"], 2),
        (["plan~re"], 5), (["plan!~re"], 4), (["plan^=p"], 4), (["plan$=ee"], 5), (["coupon"], 0), (["!coupon"], 9),
        (["zip=01"], 9), (["price=1"], 1), (['price="1"'], 0), (["event_name=view"], 3),
    ],
)  # fmt: skip
def test_conditions(folder: Path, conditions: list[str], count: int) -> None:
    given = [word for condition in conditions for word in ("--where", condition)]
    assert ask(folder, *given, "--count", "--json").json["rows"] == [{"count": count}]


def test_a_query_in_a_file_and_options_beside_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text('{"group_by": ["plan"], "limit": 1}')
    ran = ask(folder, str(tmp_path / "q.json"), "--count", "--where", "plan=pro", "--json")
    assert ran.json["rows"] == [{"plan": "pro", "count": 4}]
    from_pipe = ask(folder, "-", "--json", stdin='{"computations": [{"function": "count"}]}')
    assert from_pipe.json["rows"] == [{"count": 9}]


def test_the_query_itself_can_be_shown(folder: Path) -> None:
    ran = ask(folder, "--last", "5m", "--by", "plan", "--distinct", "price", "--percentile", "95", "price",
              "--order", "-plan", "--zone", "Europe/Berlin", "--every", "day", "--as-query")  # fmt: skip
    assert ran.json == {
        "time_period": "minus_5_minutes",
        "time_zone": "Europe/Berlin",
        "interval": "day",
        "group_by": ["plan"],
        "computations": [
            {"function": "count_distinct", "field_name": "price"},
            {"function": "percentile_95", "field_name": "price"},
        ],
        "order_by": [{"field_name": "plan", "direction": "desc"}],
    }


def test_csv(folder: Path) -> None:
    ran = ask(folder, "--by", "plan", "--csv")
    assert [*csv.reader(io.StringIO(ran.out))] == [["plan", "count"], ["free", "5"], ["pro", "4"]]


def test_a_chart(folder: Path) -> None:
    ran = ask(folder, "--by", "plan", "--chart", COLUMNS="30", PYTHONIOENCODING="utf-8")
    assert ran.lines[0] == "count"
    assert [line.split()[0] for line in ran.lines[1:]] == ["free", "pro"]
    assert all(len(line) == 30 for line in ran.lines[1:])
    assert "█" not in ask(folder, "--by", "plan", "--chart", PYTHONIOENCODING="ascii").out
    assert "nothing to draw" in ask(folder, "--count", "--chart").err


def test_the_sql_can_be_pasted(folder: Path) -> None:
    ran = ask(folder, "--by", "plan", "--where", "price>3", "--sql")
    engine = engine_of(sqlite_address(folder / "archive.sqlite3"))
    with engine.connect() as connection:
        assert connection.execute(text(ran.out.replace(":", "\\:"))).all() == [("free", 3), ("pro", 2)]
    engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--by", "a.b.c"], 1, "at /group_by/0"),
        (["--last", "soon"], 2, "is no age"),
        (["--last", "1h", "--period", "today"], 2, "Say one of"),
        (["--to", "2026-01-01"], 2, "--to goes with --from"),
        (["nowhere.json"], 1, "cannot be read"),
        (["-"], 1, "is no JSON"),
        (["--timeout", "0.0000001"], 2, "timeout"),
        (["--archive", "mysql://x"], 1, "must be SQLite or PostgreSQL"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, arguments: list[str], code: int, said: str) -> None:
    ran = ask(folder, *arguments)
    assert (ran.code, said in ran.err) == (code, True), ran.err


def test_where_there_is_no_archive(tmp_path: Path) -> None:
    ran = ask(tmp_path)
    assert ran.code == 1
    assert "there is no archive in" in ran.err
    assert not [*tmp_path.iterdir()], "none is made by looking"
    (tmp_path / "archive.sqlite3").touch()
    assert "has no events yet" in ask(tmp_path).err


def test_a_project_has_to_be_named_among_several(tmp_path: Path) -> None:
    address = sqlite_address(tmp_path / "archive.sqlite3")
    fill(address, [row(1), row(2, project="rival"), row(3, project="rival")])
    assert "several projects" in ask(tmp_path).err
    counted = ask(tmp_path, "--project", "rival", "--count", "--json", "--archive", address)
    assert counted.json["rows"] == [{"count": 2}]
    assert ask(tmp_path, "--project", "none", "--limit", "1").err == "No events match.\n"


def test_what_strangers_wrote_cannot_move_the_cursor(tmp_path: Path) -> None:
    fill(sqlite_address(tmp_path / "archive.sqlite3"), [row(1, fields={"\x1b[2J": "\x1b]0;x\x07"})])
    ran = ask(tmp_path, "--by", "\x1b[2J")
    assert "\x1b" not in ran.out
    assert "\\u001b" in ran.out


def test_postgresql(postgres: str, tmp_path: Path) -> None:
    fill(postgres, [row(1), row(2)])
    ran = ask(tmp_path, "--by", "plan", "--json", EVENTMW_ARCHIVE=postgres)
    assert json.loads(ran.out)["rows"] == [{"plan": "free", "count": 1}, {"plan": "pro", "count": 1}]
