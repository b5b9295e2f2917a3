"""``eventmw query`` on an archive: tables, JSON, CSV, charts, SQL, and what it says when it cannot."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import pwd
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, make_url, text, update

from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.migrations import prepare
from eventmw.archive.note import Note, write
from eventmw.archive.tables import events, metadata, state
from eventmw.archive.transactions import transaction
from eventmw.keys.place import keys_engine
from eventmw.keys.store import KeyStore
from tests.databases import KINDS
from tests.running import ROOT, Ran, command, environment, run


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--count", "--where", "pln=pro"], "No event of this period has the field pln; nearest: plan."),
        (
            ["--count", "--where", "event_nme=buy"],
            "No event of this period has the field event_nme; nearest: event_name",
        ),
        (["--sum", "prize"], "No event of this period has the field prize; nearest: price."),
        (["--sum", "plan"], "The field plan holds no numbers, so sum_plan is empty."),
        (["--count", "--by", "qqqqq"], "No event of this period has the field qqqqq."),
        (["--distinct", "nix", "--by", "event_name"], "No event of this period has the field nix"),
        (["--where", "prices>3"], "No event of this period has the field prices; nearest: price."),
    ],
)
def test_a_field_that_no_event_has_is_named(folder: Path, arguments: list[str], said: str) -> None:
    ran = ask(folder, "--last", "1h", *arguments)
    assert (ran.code, said in ran.err) == (0, True), ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--count", "--where", "plan=nothing"],
        ["--count", "--where", "!coupon"],
        ["--sum", "price", "--where", "price=0"],
    ],
)
def test_an_answer_that_shows_nothing_for_a_good_reason_is_not_doubted(folder: Path, arguments: list[str]) -> None:
    ran = ask(folder, "--last", "1h", *arguments)
    assert ran.code == 0
    assert "field" not in ran.err


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
        (["--by", "a.b.c"], 2, "--by a.b.c: expected"),
        (["--zone", "Europe/Berln"], 2, "--zone Europe/Berln: expected the IANA name of a time zone"),
        (["--count", "--percentile", "ms", "95"], 2, "--percentile ms 95: expected"),
        (
            ["--by", "plan", "--order", "price"],
            2,
            "--order price: expected the name of one of the answer's columns, got other text; there are plan, count.",
        ),
        (["--every", "day", "--sum", "price", "--order", "x"], 2, "there are timestamp, sum_price."),
        (["--from", "never"], 2, "--from never: expected"),
        (["--from", "2026-01-01", "--to", "never"], 2, "--to never: expected"),
        (["--period", "sometime"], 2, "--period sometime: expected"),
        (["--where", "a.b.c=1"], 2, "--where a.b.c=1: expected"),
        (["--where", "price=>20"], 2, "expected one of the operators"),
        (["--where", "price=<20"], 2, "expected one of the operators"),
        (["--where", "plan==pro"], 2, "expected one of the operators"),
        (["--csv", "--chart"], 2, "got --csv and --chart"),
        (["--sql", "--json"], 2, "got --json and --sql"),
        (["--project", "nope"], 1, "there is no project nope; there are shop."),
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
    assert "several projects: rival, shop. Name one with --project." in ask(tmp_path).err
    counted = ask(tmp_path, "--project", "rival", "--count", "--json", "--archive", address)
    assert counted.json["rows"] == [{"count": 2}]
    assert ask(tmp_path, "--project", "none", "--limit", "1").code == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_is_named_as_elsewhere(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    address = str(request.getfixturevalue("postgres")) if kind == "postgresql" else None
    keys = keys_engine(tmp_path, address)
    store = KeyStore(keys)
    flask, other = (store.create_project(store.account(), name)[0].id for name in ("flask", "other"))
    keys.dispose()
    fill(address or sqlite_address(tmp_path / "archive.sqlite3"), [row(1, project=flask), row(2, project="gone")])
    place = {} if address is None else {"EVENTMW_ARCHIVE": address}
    for given, count in (("flask", 1), (flask, 1), ("other", 0), (other, 0), ("gone", 1)):
        assert ask(tmp_path, "--project", given, "--count", "--json", **place).json["rows"] == [{"count": count}]
    unknown = ask(tmp_path, "--project", "nope", "--count", **place)
    assert unknown.code == 1
    assert f"there is no project nope; there are flask ({flask}), other ({other}), gone." in unknown.err
    assert f"flask ({flask})" in ask(tmp_path, "--count", **place).err


def test_mistakes_in_a_file_are_said_of_the_file(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "q.json").write_text('{"group_by": ["a.b.c"], "time_zone": "Nowhere"}')
    ran = ask(folder, str(tmp_path / "q.json"))
    assert ran.code == 1
    assert f"at /time_zone of {tmp_path}/q.json." in ran.err
    both = ask(folder, str(tmp_path / "q.json"), "--by", "d.e.f")
    assert both.code == 2
    assert "--by d.e.f: expected" in both.err
    assert "at /group_by/0 of" in both.err


def test_text_that_begins_with_a_sign_is_quoted(folder: Path) -> None:
    assert ask(folder, "--where", 'plan="=pro"', "--count", "--json").json["rows"] == [{"count": 0}]


def test_a_newer_archive_is_not_asked(tmp_path: Path) -> None:
    engine = engine_of(sqlite_address(tmp_path / "archive.sqlite3"))
    prepare(engine)
    with transaction(engine, writes=True) as connection:
        connection.execute(update(state).values(schema_version=99))
    engine.dispose()
    ran = ask(tmp_path, "--count")
    assert (ran.code, ran.out) == (1, "")
    assert "written by a newer eventmw" in ran.err
    assert "cannot start" not in ran.err


def test_it_is_said_why_an_archive_does_not_open(tmp_path: Path) -> None:
    (tmp_path / "archive.sqlite3").write_bytes(b"This is no database. " * 500)
    assert ask(tmp_path, "--count").err == "Error: the archive cannot be opened: file is not a database.\n"
    away = ask(tmp_path, "--count", "--archive", "postgresql+psycopg://u:s3cret@127.0.0.1:1/none")
    assert "onnection refused" in away.err
    assert "s3cret" not in away.err


@pytest.mark.parametrize("arguments", [["query", "--count"], ["project", "create", "shop"]])
def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "sqlalchemy").mkdir()
    (tmp_path / "sqlalchemy" / "__init__.py").write_text('raise ModuleNotFoundError("none", name="sqlalchemy")')
    ran = run(*arguments, PYTHONPATH=f"{tmp_path}:{ROOT}", EVENTMW_DATA_DIR=str(tmp_path / "data"))
    assert ran.code == 1
    assert "pip install 'eventmw[eventbunker]' (sqlalchemy)" in ran.err


def test_the_help_shows_its_examples_line_by_line(tmp_path: Path) -> None:
    shown = ask(tmp_path, "--help").out
    assert "\\b" not in shown
    assert "\n    eventmw query --last 1h --count --by event_name\n" in shown


def test_a_site_elsewhere_is_asked_there(tmp_path: Path, postgres: str) -> None:
    fill(postgres, [row(1)])
    write(tmp_path, Note.of(make_url(postgres)))
    ran = ask(tmp_path, "--count")
    assert ran.code == 1
    assert "--archive or in $EVENTMW_ARCHIVE" in ran.err
    assert str(make_url(postgres).password) not in ran.err


def test_what_strangers_wrote_cannot_move_the_cursor(tmp_path: Path) -> None:
    fill(sqlite_address(tmp_path / "archive.sqlite3"), [row(1, fields={"\x1b[2J": "\x1b]0;x\x07"})])
    ran = ask(tmp_path, "--by", "\x1b[2J")
    assert "\x1b" not in ran.out
    assert "\\u001b" in ran.out


def test_postgresql(postgres: str, tmp_path: Path) -> None:
    fill(postgres, [row(1), row(2)])
    ran = ask(tmp_path, "--by", "plan", "--json", EVENTMW_ARCHIVE=postgres)
    assert json.loads(ran.out)["rows"] == [{"plan": "free", "count": 1}, {"plan": "pro", "count": 1}]


def test_an_archive_that_may_not_be_read(tmp_path: Path) -> None:
    """Root acts as the user whose folder it is, and that user may not read what somebody else put there."""
    fill(sqlite_address(tmp_path / "archive.sqlite3"), [row(1)])
    (tmp_path / "archive.sqlite3").chmod(0)
    if os.geteuid() == 0:
        os.chown(tmp_path, pwd.getpwnam("nobody").pw_uid, -1)
    ran = ask(tmp_path, "--count")
    assert (ran.code, ran.out) == (1, "")
    assert f"{tmp_path / 'archive.sqlite3'} cannot be read: Permission denied." in ran.err
    assert len(ran.err.splitlines()) == 1


def test_csv_on_a_terminal_holds_nothing_that_it_acts_on(tmp_path: Path) -> None:
    evil = "\x1b[31mRED\x9b\u202e"
    fill(sqlite_address(tmp_path / "archive.sqlite3"), [row(1, fields={"p": evil})])
    question = ("--by", "p", "--csv", "--data-dir", str(tmp_path))
    assert evil in run("query", *question).out, "a file holds data"
    ours, theirs = pty.openpty()
    subprocess.run(command("query", *question), env=environment(), stdout=theirs, timeout=60, check=True)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the terminal is gone
        while part := os.read(ours, 1000):
            shown += part
    os.close(ours)
    assert shown.decode().replace("\r", "").replace("\n", "").isprintable()
    assert b"\\u001b[31mRED" in shown
