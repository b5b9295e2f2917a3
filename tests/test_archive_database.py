"""Why a database does not answer: said with its own words, and never with a password or a value."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from eventmw.archive.database import begun, engine_of, let_go, sqlite_address
from eventmw.archive.transactions import ArchiveAway, transaction
from eventmw.errors import Refused
from eventmw.keys import Key
from eventmw.keys.schema import KeysAway
from eventmw.keys.schema import transaction as of_keys
from eventmw.query.language import parse
from eventmw.query.run import Runner

KEY = Key(id="k", kind="query", account_id="", project_id="p1")


def reasons(address: str, statement: str = "SELECT 1") -> tuple[str, str]:
    """Return what the archive says, and what keys in the same place say."""
    engine = engine_of(address)
    with pytest.raises(ArchiveAway) as archive, transaction(engine) as connection:
        connection.execute(text(statement), {"v": "a value"} if ":v" in statement else {})
    with pytest.raises(KeysAway) as keys, of_keys(engine) as connection:
        connection.execute(text(statement), {"v": "a value"} if ":v" in statement else {})
    engine.dispose()
    return str(archive.value), str(keys.value)


def test_nobody_listens() -> None:
    archive, keys = reasons("postgresql+psycopg://u:s3cret@127.0.0.1:1/none?passfile=/s3cret")
    assert "onnection refused" in archive
    assert f"({archive})" in keys
    assert "s3cret" not in archive + keys
    assert "\n" not in archive


def test_there_is_no_such_database(postgres: str) -> None:
    missing = make_url(postgres).set(database="nowhere")
    archive, keys = reasons(missing.render_as_string(hide_password=False))
    assert 'database "nowhere" does not exist' in archive
    assert str(missing.password) not in archive + keys


def test_of_a_statement_only_the_kind_is_said(tmp_path: Path, postgres: str) -> None:
    assert reasons(sqlite_address(tmp_path / "a"), "SELECT json_extract('{}', :v)")[0] == "OperationalError"
    assert reasons(postgres, "SELECT nothing(CAST(:v AS text))")[0] == "UndefinedFunction"


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"This is no database. " * 500)
    archive, _ = reasons(sqlite_address(tmp_path / "a"))
    assert archive == "file is not a database"
    engine = engine_of(sqlite_address(tmp_path / "a"))
    with pytest.raises(Refused) as refused:
        Runner(engine)(parse({}, 1_790_000_000_000), KEY)
    assert refused.value.code == "archive_down"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert reasons(sqlite_address(tmp_path / "no" / "a"))[0] == "unable to open database file"


def test_a_connection_in_use_when_its_site_ends_is_closed_after_its_transaction(postgres: str) -> None:
    """A pool that is thrown away closes nothing that comes back to it later."""
    engine = engine_of(postgres)
    with begun(engine, writes=False) as connection:
        driver = connection.connection.driver_connection
        let_go(engine)
        assert connection.execute(text("SELECT 1")).scalar() == 1
    assert driver is not None
    assert driver.closed
