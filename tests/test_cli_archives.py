"""Commands on a data directory whose site keeps its events and keys in another place: they know it, or say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.engine import make_url

from eventmw import wsgi
from eventmw.archive import note
from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.migrations import prepare
from eventmw.archive.tables import state
from eventmw.archive.transactions import transaction
from eventmw.testing import deliver, with_keys
from tests.calls import ask_wsgi
from tests.eventbunker import ANN, BASE, HEADER, KEYS, POST
from tests.running import Ran, run


def site(folder: Path, archive: str | None) -> wsgi.EventsMiddleware:
    given: dict[str, Any] = {"journal": "file", "data_dir": str(folder), "archive": archive}
    app = wsgi.EventsMiddleware(lambda *_: [], eventbunker_path=BASE, **given)
    with_keys(app, KEYS)
    return app


def filled(folder: Path, archive: str | None) -> None:
    """Have a site on a folder track one event of ann, and end."""
    app = site(folder, archive)
    body = json.dumps({"event_name": "seen"}).encode()
    assert ask_wsgi(app, "POST", POST, body, [(HEADER, ANN)]).status == 200
    deliver(app)
    assert app.close()


def told(ran: Ran, archive: str, *words: str) -> None:
    """Look whether a command said what it did not find, and where it is, without the password."""
    password = make_url(archive).password
    assert isinstance(password, str)
    assert password not in ran.out + ran.err
    for word in (make_url(archive).database or "", *words):
        assert word in ran.err


def newer(folder: Path) -> None:
    engine = engine_of(sqlite_address(folder / "archive.sqlite3"))
    prepare(engine)
    with transaction(engine, writes=True) as connection:
        connection.execute(update(state).values(schema_version=99))
    engine.dispose()


def records(folder: Path) -> int:
    return len(run("export", "--data-dir", str(folder)).lines)


def test_nothing_is_erased_while_the_archive_cannot_be_reached(tmp_path: Path, postgres: str) -> None:
    filled(tmp_path, postgres)
    for arguments in (["--yes"], ["--dry-run"]):
        ran = run("erase", "ann", *arguments, "--data-dir", str(tmp_path))
        assert (ran.code, ran.out) == (1, "")
        told(ran, postgres, "--archive or in $EVENTMW_ARCHIVE", "Nothing was erased.")
    assert records(tmp_path) == 1
    ran = run("erase", "ann", "--yes", "--data-dir", str(tmp_path), EVENTMW_ARCHIVE=postgres)
    assert ran.out == "Erased: 1 record, 0 parked events, 0 dead letters, 1 row of the archive.\n"
    assert not ran.err


def test_an_address_that_is_no_secret_is_used(tmp_path: Path) -> None:
    filled(tmp_path / "data", sqlite_address(tmp_path / "elsewhere.sqlite3"))
    ran = run("erase", "ann", "--yes", "--json", "--data-dir", str(tmp_path / "data"))
    assert ran.json["rows"] == 1
    assert not (tmp_path / "data" / "archive.sqlite3").exists()


def test_a_configuration_names_the_archive(tmp_path: Path, postgres: str) -> None:
    filled(tmp_path / "data", postgres)
    config = tmp_path / "eventmw.toml"
    config.write_text(
        f'eventbunker_path = "/eb"\ndata_dir = "{tmp_path / "data"}"\narchive = {{env = "THE_ARCHIVE"}}\n'
    )
    ran = run(
        "erase",
        "ann",
        "--yes",
        "--json",
        "--config",
        str(config),
        THE_ARCHIVE=postgres,
        EVENTMW_DATA_DIR=str(tmp_path / "data"),
    )
    assert ran.json["rows"] == 1


def test_another_archive_than_the_sites_is_doubted(tmp_path: Path, postgres: str) -> None:
    filled(tmp_path, None)
    ran = run("erase", "ann", "--dry-run", "--data-dir", str(tmp_path), "--archive", postgres)
    assert "This is not the archive that the site of" in ran.err
    assert "that is in its folder" in ran.err


def test_of_a_newer_archive_nothing_is_erased(tmp_path: Path) -> None:
    filled(tmp_path, None)
    newer(tmp_path)
    ran = run("erase", "ann", "--yes", "--data-dir", str(tmp_path))
    assert ran.code == 1
    assert ran.err.startswith("Error: The archive was written by a newer eventmw")
    assert ran.err.endswith("Nothing was erased.\n")
    assert records(tmp_path) == 1


def test_an_archive_that_is_away_leaves_it_said(tmp_path: Path) -> None:
    filled(tmp_path, None)
    ran = run(
        "erase", "ann", "--yes", "--data-dir", str(tmp_path), "--archive", "postgresql+psycopg://u@127.0.0.1:1/none"
    )
    assert ran.code == 1
    assert "The archive still has what it has" in ran.err
    assert "Run this again when it is back." in ran.err


def test_keys_are_not_made_where_no_site_looks(tmp_path: Path, postgres: str) -> None:
    site(tmp_path, postgres).close()
    for arguments in (["project", "create", "shop"], ["keys", "create", "write"], ["keys", "list"]):
        ran = run(*arguments, "--data-dir", str(tmp_path))
        assert (ran.code, ran.out) == (1, "")
        told(ran, postgres, "keeps its events and keys in", "--archive or in $EVENTMW_ARCHIVE")
    assert not (tmp_path / "keys.sqlite3").exists()


def test_it_is_said_where_keys_are(tmp_path: Path, postgres: str) -> None:
    site(tmp_path, None).close()
    made = run("project", "create", "shop", "--data-dir", str(tmp_path))
    assert f"only its digest is kept, in {tmp_path}/keys.sqlite3." in made.err
    assert "No site has used" not in made.err
    other: dict[str, Any] = {"EVENTMW_DATA_DIR": str(tmp_path), "EVENTMW_ARCHIVE": postgres}
    refused = run("project", "create", "shop", **other)
    assert (refused.code, refused.out) == (1, "")
    told(refused, postgres, "--new-store")
    doubted = run("project", "create", "shop", "--new-store", **other)
    assert doubted.code == 0, doubted.err
    told(doubted, postgres, "only its digest is kept, in postgresql", "This is not the archive that the site of")


def test_a_folder_that_no_site_knows_is_doubted(tmp_path: Path) -> None:
    made = run("project", "create", "shop", cwd=tmp_path)
    assert made.code == 0
    assert f"Note: No site has used {tmp_path}/eventmw-data yet" in made.err
    assert "No site has used" not in run("keys", "create", "write", cwd=tmp_path).err


def test_what_is_no_address_is_told_once(tmp_path: Path) -> None:
    site(tmp_path, None).close()
    assert note.read(tmp_path) is not None
    for arguments in (["erase", "ann", "--yes"], ["keys", "list"]):
        ran = run(*arguments, "--data-dir", str(tmp_path), "--archive", "mysql://u:s3cret@host/x")
        assert (ran.code, "must be SQLite or PostgreSQL" in ran.err) == (1, True), ran.err
        assert "s3cret" not in ran.err


@pytest.mark.parametrize("arguments", [["erase", "ann", "--yes"], ["project", "list"]])
def test_the_site_itself_is_never_in_doubt(tmp_path: Path, arguments: list[str]) -> None:
    filled(tmp_path, None)
    assert not run(*arguments, "--data-dir", str(tmp_path)).err
