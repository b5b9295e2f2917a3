"""The note that tells commands which archive the site of a data directory uses."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest
from sqlalchemy import make_url

from eventmw.archive.note import FILE, Note, read, write
from eventmw.config import Config
from eventmw.eventbunker.stores import Stores


@pytest.mark.parametrize(
    ("address", "told", "is_whole"),
    [
        ("postgresql+psycopg://u:s3cret@db:5432/shop", "postgresql+psycopg://u@db:5432/shop", False),
        ("postgresql+psycopg://u@db/shop", "postgresql+psycopg://u@db/shop", True),
        ("postgresql+psycopg:///shop?host=/run/pg", "postgresql+psycopg:///shop?host=/run/pg", True),
        ("postgresql+psycopg://db/shop?password=s3cret", "postgresql+psycopg://db/shop", False),
        ("postgresql+psycopg://db/shop?passfile=/s3cret", "postgresql+psycopg://db/shop", False),
        ("sqlite:////srv/a.sqlite3", "sqlite:////srv/a.sqlite3", True),
        ("sqlite:///a.sqlite3", f"sqlite:///{Path.cwd()}/a.sqlite3", True),
        ("sqlite://", "sqlite://", False),
    ],
)
def test_no_secret_is_written_down(tmp_path: Path, address: str, told: str, is_whole: bool) -> None:
    write(tmp_path, Note.of(make_url(address)))
    note = read(tmp_path)
    assert note is not None
    assert (make_url(note.address or ""), note.is_whole) == (make_url(told), is_whole)
    assert b"s3cret" not in (tmp_path / FILE).read_bytes()
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("postgresql+psycopg://u:s3cret@db/shop", True),
        ("postgresql://admin@db:5432/shop?sslmode=require", True),
        ("postgresql+psycopg://u@db/other", False),
        ("postgresql+psycopg://u@other/shop", False),
        ("postgresql+psycopg://u@db:5433/shop", False),
        ("sqlite:////srv/shop", False),
    ],
)
def test_which_addresses_lead_to_the_same_archive(other: str, same: bool) -> None:
    assert Note.of(make_url("postgresql+psycopg://u:s3cret@db/shop")).is_of(make_url(other)) == same


@pytest.mark.parametrize("text", [None, "", "[]", '{"archive": 5, "is_whole": true}', "\xff", '{"archive": null}'])
def test_what_is_no_note_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / FILE).write_text(text, encoding="latin-1")
    assert read(tmp_path) is None


def test_a_site_writes_it_at_its_start(tmp_path: Path) -> None:
    address = "postgresql+psycopg://u:s3cret@127.0.0.1:1/none"
    for archive, note in (
        (address, Note("postgresql+psycopg://u@127.0.0.1:1/none", is_whole=False)),
        (None, Note(None)),
    ):
        Stores.of(Config(eventbunker_path="/eb", archive=archive, data_dir=str(tmp_path))).close()
        assert read(tmp_path) == note


def test_a_folder_that_takes_none_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).mkdir()
    with caplog.at_level(logging.WARNING, "eventmw"):
        Stores.of(Config(eventbunker_path="/eb", data_dir=str(tmp_path))).close()
    assert "cannot see which archive this site uses" in caplog.text
