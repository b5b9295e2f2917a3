"""An archive that has lost rows is filled again from the journal, and says so: on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from eventmw.archive import ARCHIVE
from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.place import archive_engine
from eventmw.archive.refill import FILLING, NOTE, FillNote, Gap, decode, told, trouble
from eventmw.archive.store import Archive
from eventmw.erasure import rewrite
from eventmw.journal.files import FileJournal
from tests.archiving import NOW_MS, idents, track
from tests.running import until
from tests.test_archive_filler import filling, stats

ALL = [f"{number}" for number in range(6)]
TIMES = count(NOW_MS)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FileJournal]:
    journal = FileJournal(tmp_path / "data", rewrite=rewrite)
    journal.register([ARCHIVE])
    yield journal
    journal.leave()


def filled(journal: FileJournal, engine: Engine, names: list[str]) -> Archive:
    """Fill an archive by one process that ends then."""
    archive = Archive(engine)
    for name in names:
        track(journal, name, recorded_ms=next(TIMES))
    with filling(journal, archive) as courier:
        assert courier.drain(20)
    return archive


def note_of(journal: FileJournal) -> FillNote:
    lease = journal.lead()
    assert lease is not None
    note = decode(lease.noted(NOTE))
    lease.close()
    assert note is not None
    return note


def gone(file: Path, _: bytes) -> None:
    file.unlink()


def emptied(file: Path, _: bytes) -> None:
    file.write_bytes(b"")


def older(file: Path, copy: bytes) -> None:
    file.write_bytes(copy)


def exchanged(file: Path, _: bytes) -> None:
    file.unlink()
    Archive(archive_engine(file.parent, None)).open()


def truncated(file: Path, _: bytes) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM eventmw_events")
    connection.close()


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("harm", [gone, emptied, older, exchanged, truncated])
def test_what_the_journal_still_holds_comes_back_by_itself_once_and_is_told(
    journal: FileJournal,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Path, bytes], None],
    *,
    running: bool,
) -> None:
    engine, file = archive_engine(tmp_path, None), tmp_path / "archive.sqlite3"
    archive = filled(journal, engine, ALL[:2])
    copy = file.read_bytes()
    filled(journal, engine, ALL[2:5])
    assert note_of(journal) == FillNote(note_of(journal).journal, 5)
    caplog.clear()
    if not running:
        harm(file, copy)
    with filling(journal, archive) as courier:
        if running:
            assert courier.drain(20)
            harm(file, copy)
        track(journal, ALL[5], recorded_ms=next(TIMES))
        until(lambda: courier.drain(20) and idents(archive) == ALL)
        until(lambda: archive.trouble == "" and "were filled again from the journal" in caplog.text)
    assert file.stat().st_mode & 0o777 == 0o600
    gap = note_of(journal).gap
    assert gap is not None
    assert (gap.is_over, gap.lost) == (True, 0)
    assert gap.filled >= (3 if harm is older else 5)
    if harm is not truncated:  # emptied of all rows, as by a deletion: not known to be a loss before rows come back
        assert f"the archive lacks {gap.rows} rows that it had" in caplog.text
    caplog.clear()
    with filling(journal, archive) as courier:
        assert courier.drain(20)
    assert not caplog.messages, "said once"
    engine.dispose()


@pytest.mark.parametrize("how", ["drop", "truncate", "events alone", "another database"])
def test_postgresql_too(journal: FileJournal, postgres: str, caplog: pytest.LogCaptureFixture, how: str) -> None:
    engine = engine_of(postgres)
    archive = filled(journal, engine, ALL[:5])
    with engine.begin() as connection:
        tables = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        meant = (
            ["eventmw_events"] if how == "events alone" else [name for name in tables if name.startswith("eventmw_")]
        )
        if how in {"drop", "another database"}:
            connection.execute(text(f"DROP TABLE {', '.join(meant)}"))
        else:
            kept = {"eventmw_archive_state"}
            connection.execute(text(f"TRUNCATE {', '.join(name for name in meant if name not in kept)}"))
    if how == "another database":
        Archive(engine).open()
    with filling(journal, archive) as courier:
        track(journal, ALL[5], recorded_ms=next(TIMES))
        until(lambda: courier.drain(20) and idents(archive) == ALL)
    assert "were filled again from the journal" in caplog.text
    engine.dispose()


def test_rows_that_cannot_be_had_any_more_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The journal keeps records for a day after every tool has them; here for no time at all."""
    journal = FileJournal(tmp_path / "data", rewrite=rewrite, retain_s=0.0)
    journal.register([ARCHIVE])
    engine = archive_engine(tmp_path, None)
    filled(journal, engine, ALL[:3])
    journal.leave()
    journal = FileJournal(tmp_path / "data", rewrite=rewrite, retain_s=0.0)
    lease = journal.lead()
    assert lease is not None
    lease.tend()
    lease.close()
    assert not list((tmp_path / "data" / "w").glob("*/*.seg"))
    (tmp_path / "archive.sqlite3").unlink()
    archive = filled(journal, engine, ALL[3:])
    gap = note_of(journal).gap
    assert gap is not None
    assert (gap.rows, gap.filled, gap.lost) == (3, 0, 3), gap
    assert idents(archive) == ALL[3:]
    journal.leave()
    engine.dispose()


def test_what_was_deleted_does_not_come_back(tmp_path: Path, postgres: str) -> None:
    """Another host's deletion erases nothing in this host's journal: it is remembered beside it."""
    journal = FileJournal(tmp_path / "data", rewrite=rewrite)
    journal.register([ARCHIVE])
    engine = engine_of(postgres)
    archive = Archive(engine)
    with filling(journal, archive) as courier:
        for ident, customer in (("a", "ann"), ("b", "bob")):
            track(journal, ident, {"event_name": "seen", "customer_identifier": customer})
        assert courier.drain(20)
        elsewhere = engine_of(postgres)
        Archive(elsewhere).delete("p1", customer="ann")
        elsewhere.dispose()
        track(journal, "c")
        assert courier.drain(20)
    with engine.begin() as connection:
        tables = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        connection.execute(text(f"DROP TABLE {', '.join(name for name in tables if name.startswith('eventmw_'))}"))
    with filling(journal, archive) as courier:
        until(lambda: courier.drain(20) and idents(archive) == ["b", "c"])
    journal.leave()
    engine.dispose()


def test_a_deletion_of_everything_is_no_loss(
    journal: FileJournal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = filled(journal, archive_engine(tmp_path, None), ALL[:3])
    archive.delete("p1")
    caplog.clear()
    for _ in range(2):
        with filling(journal, archive) as courier:
            assert courier.drain(20)
            assert archive.trouble == ""
    assert idents(archive) == []
    assert dict(stats(journal).counts) == {("delivered", ""): 6}, "looked for once, and not at each start"
    assert not caplog.messages
    archive.engine.dispose()


def test_a_fresh_folder_and_an_archive_of_before_are_no_loss(
    journal: FileJournal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = filled(journal, archive_engine(tmp_path, None), ALL[:1])
    other = FileJournal(tmp_path / "other", rewrite=rewrite)
    other.register([ARCHIVE])
    filled(other, archive.engine, ["of another journal"])
    assert not caplog.messages
    assert note_of(other).rows == 1
    other.leave()
    archive.engine.dispose()


@pytest.mark.parametrize("damage", ["junk", "half", "folder"])
def test_a_file_that_cannot_be_read_is_left_alone_and_told(
    journal: FileJournal, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    file = tmp_path / "archive.sqlite3"
    archive = filled(journal, archive_engine(tmp_path, None), ALL[:3])
    whole = file.read_bytes()
    match damage:
        case "junk":
            file.write_bytes(os.urandom(8192))
        case "half":
            file.write_bytes(whole[: len(whole) // 2])
        case _:
            file.unlink()
            file.mkdir()
    with filling(journal, archive) as courier:
        track(journal, ALL[3], recorded_ms=next(TIMES))
        until(lambda: ARCHIVE in courier.state() and courier.state()[ARCHIVE].phase == "standing")
        assert stats(journal).backlog_events == 1
        assert [line for line in caplog.messages if "the archive stands still" in line]
        if damage == "folder":
            file.rmdir()
        file.write_bytes(whole)
        until(lambda: courier.drain(20) and idents(archive) == ALL[:4])
    archive.engine.dispose()


def test_the_sentences() -> None:
    gap = Gap(5, NOW_MS, NOW_MS + 1000, 9, filled=2, is_over=True)
    assert told(gap) == (
        "at 2026-09-21T14:13:21.000Z the archive was found without 5 rows that it had: 2 were filled again from the journal, "
        "3 cannot be had any more (accepted after 2026-09-21T14:13:20.000Z)"
    )
    assert trouble(FillNote("j", 9, gap), NOW_MS) == told(gap)
    assert trouble(FillNote("j", 9, Gap(5, 0, NOW_MS, 9)), NOW_MS) == FILLING
    assert (
        trouble(FillNote("j", 9), NOW_MS) == trouble(None, NOW_MS) == trouble(FillNote("j", 9, gap), NOW_MS * 2) == ""
    )
    assert decode("{") is decode(None) is None


def test_the_address_of_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    engine = archive_engine(tmp_path, sqlite_address(tmp_path / "none.sqlite3"))
    with pytest.raises(Exception, match="unable to open"), engine.connect():
        pass
    assert not list(tmp_path.iterdir())
    engine.dispose()
