"""The archive filled from journals: over SQLite and PostgreSQL, in this process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from eventmw.archive import ARCHIVE
from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.filler import Filler
from eventmw.archive.store import Archive, Filled, Mark
from eventmw.archive.tables import Row
from eventmw.clock import SystemClock
from eventmw.delivery.courier import Courier
from eventmw.erasure import rewrite
from eventmw.journal import Journal, ToolStats
from eventmw.journal.files import FileJournal
from eventmw.journal.memory import MemoryJournal
from eventmw.testing import RecordingTransport
from tests.archiving import NOW_MS, engine, idents, rows, track
from tests.running import until

ROOMY = 64 * 1024 * 1024


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_address(tmp_path / "archive.sqlite3")
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def database(address: str) -> Iterator[Engine]:
    made = engine_of(address)
    yield made
    made.dispose()


@pytest.fixture
def archive(database: Engine) -> Archive:
    archive = Archive(database)
    archive.open()
    return archive


@pytest.fixture(params=["memory", "files"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    made: Journal = (
        MemoryJournal(cap_bytes=ROOMY)
        if request.param == "memory"
        else FileJournal(tmp_path / "data", cap_bytes=ROOMY, rewrite=rewrite)
    )
    made.register([ARCHIVE])
    yield made
    made.close()
    made.leave()


@contextmanager
def filling(journal: Journal, archive: Archive, *, days: int | None = None) -> Iterator[Courier]:
    filler = Filler(archive, lasting=journal.durability != "memory", days=days)
    courier = Courier(journal, engine(), RecordingTransport, SystemClock(), polite=False, jobs=[filler])
    courier.start()
    try:
        yield courier
    finally:
        courier.stop(5.0)


class Refusing(Archive):
    """An archive of an older version, which could not write events named «x»."""

    def _prepared(self, row: Row) -> Row:
        if row["event_name"] == "x":
            raise ValueError("a value that must not be logged")
        return super()._prepared(row)


class Dying(Archive):
    """An archive whose process dies when it has written, before anybody learns of it."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.written = threading.Event()

    def write(self, rows: Sequence[Row], marks: Iterable[Mark | Filled] = ()) -> int:
        count = super().write(rows, marks)
        self.written.set()
        raise SystemExit(count)


class Counting(Archive):
    """An archive that notes how many rows it was given."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.given: list[int] = []

    def write(self, rows: Sequence[Row], marks: Iterable[Mark | Filled] = ()) -> int:
        self.given.append(len(rows))
        return super().write(rows, marks)


def stats(journal: Journal) -> ToolStats:
    [found] = [tool for tool in journal.stats().tools if tool.tool == ARCHIVE]
    return found


def test_tracked_events_are_rows_and_all_others_are_filtered(journal: Journal, archive: Archive) -> None:
    track(journal, "a", {"event_name": "x", "customer_identifier": "ann", "metric_name": "m", "n": 1, "_os": "Linux"})
    track(journal, "b", {"event_name": "x"}, dialect="zaraz")
    track(journal, "c", {"event_name": "y", "timestamp": 5}, {"event_name": 0}, {"event_name": "z"}, project_id="p2")
    with filling(journal, archive) as courier:
        assert courier.drain(20)
        track(journal, "d")
        until(lambda: "d" in idents(archive))
        assert courier.drain(20)
    found = rows(archive)
    assert [(one["project_id"], one["event_id"], one["event_name"]) for one in found] == [
        ("p1", "a", "x"),
        ("p2", "c", "y"),
        ("p2", "c-2", "z"),
        ("p1", "d", "seen"),
    ]
    assert found[0] | {"recorded_ms": NOW_MS} == {
        "project_id": "p1",
        "event_id": "a",
        "time_ms": NOW_MS,
        "recorded_ms": NOW_MS,
        "event_name": "x",
        "customer_identifier": "ann",
        "metric_name": "m",
        "fields": {"n": 1, "_os": "Linux"},
    }
    assert (found[1]["time_ms"], found[1]["recorded_ms"]) == (5, NOW_MS)
    assert dict(stats(journal).counts) == {("delivered", ""): 4, ("filtered", "dialect"): 1, ("erased", ""): 1}
    assert stats(journal).backlog_events == 0


def test_what_cannot_be_a_row_is_set_aside_and_blocks_nobody(
    journal: Journal, archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    track(
        journal,
        "a",
        {"event_name": "x"},
        {"event_name": "bad", "timestamp": 2**70, "secret": "s3cret"},
        {"event_name": "z"},
    )
    track(journal, "b", {"event_name": "x"}, {"event_name": "unreadable"}, {"event_name": "never read"})
    track(journal, "c")
    with filling(journal, archive) as courier:
        assert courier.drain(20)
        assert idents(archive) == ["a", "a-2", "b", "c"]
        letters = sorted(journal.dead_letters(ARCHIVE), key=lambda letter: letter.key)
        assert [(letter.outcome, letter.key.ordinal) for letter in letters] == [
            ("rejected", 1),
            ("tool_error", 1),
            ("tool_error", 2),
        ]
        assert [event.name for event in engine().events(letters[0].record)] == ["bad"]
        counts = dict(stats(journal).counts)
        assert counts.pop(("delivered", "")) == 4
        assert sum(counts.values()) == 3
        # Tried again, it fails again, and is one dead letter still.
        assert journal.revive(ARCHIVE, [letters[0].key], SystemClock().now_ms()) == 1
        courier.wake()
        until(lambda: stats(journal).parked == 0)
        assert courier.drain(20)
        assert len(list(journal.dead_letters(ARCHIVE))) == 3
    assert "s3cret" not in caplog.text
    assert "a value that must not be logged" not in caplog.text
    assert "the archive buries events" in caplog.text


def test_a_dead_letter_that_fits_now_becomes_a_row(journal: Journal, archive: Archive) -> None:
    broken = Refusing(archive.engine)
    track(journal, "a", {"event_name": "x"}, {"event_name": "y"})
    with filling(journal, broken) as courier:
        assert courier.drain(20)
    assert idents(archive) == ["a-1"]
    [letter] = journal.dead_letters(ARCHIVE)
    with filling(journal, archive) as courier:
        journal.revive(ARCHIVE, [letter.key], SystemClock().now_ms())
        courier.wake()
        until(lambda: idents(archive) == ["a", "a-1"])
        assert courier.drain(20)
    assert stats(journal).parked == 0
    assert not list(journal.dead_letters(ARCHIVE))


def test_a_replay_changes_nothing(journal: Journal, archive: Archive) -> None:
    for number in range(5):
        track(journal, f"{number}", {"event_name": "x"}, {"event_name": "y"})
    with filling(journal, archive) as courier:
        assert courier.drain(20)
        before = rows(archive)
        assert journal.seek(ARCHIVE, to="start") == 10
        courier.wake()
        assert courier.drain(20)
        assert rows(archive) == before
        archive.delete("p1", event_name="y")
        journal.seek(ARCHIVE, to="start")
        courier.wake()
        assert courier.drain(20)
    assert idents(archive) == [f"{number}" for number in range(5)]
    assert stats(journal).backlog_events == 0


def test_a_replay_fills_another_database(journal: Journal, archive: Archive, tmp_path: Path) -> None:
    for number in range(3):
        track(journal, f"{number}")
    with filling(journal, archive) as courier:
        assert courier.drain(20)
    other = Archive(engine_of(sqlite_address(tmp_path / "other.sqlite3")))
    with filling(journal, other) as courier:
        track(journal, "3")
        until(lambda: courier.drain(20))
        assert idents(other) == (["3"] if journal.durability == "memory" else ["0", "1", "2", "3"]), (
            "see archive.refill"
        )
        journal.seek(ARCHIVE, to="start")
        courier.wake()
        assert courier.drain(20)
        assert idents(other) == ["0", "1", "2", "3"]


def test_a_forgotten_archive_begins_with_what_comes_and_a_replay_brings_the_rest(
    journal: Journal, archive: Archive
) -> None:
    track(journal, "before")
    journal.forget(ARCHIVE)
    with filling(journal, archive) as courier:
        until(lambda: any(tool.tool == ARCHIVE for tool in journal.stats().tools))
        track(journal, "after")
        until(lambda: idents(archive) == ["after"])
        journal.seek(ARCHIVE, to="start")
        courier.wake()
        assert courier.drain(20)
        assert idents(archive) == ["after", "before"]


def test_what_was_written_before_a_crash_is_passed_over(tmp_path: Path, database: Engine) -> None:
    """The database is written, and the journal does not learn of it."""
    dying, journal = Dying(database), FileJournal(tmp_path / "data", cap_bytes=ROOMY, rewrite=rewrite)
    journal.register([ARCHIVE])
    for number in range(3):
        track(journal, f"{number}")
    with filling(journal, dying):
        assert dying.written.wait(20)
    assert stats(journal).backlog_events == 3
    journal.close()
    journal.leave()
    again, archive = FileJournal(tmp_path / "data", cap_bytes=ROOMY, rewrite=rewrite), Counting(database)
    with filling(again, archive) as courier:
        track(again, "3")
        assert courier.drain(20)
    assert archive.given == [1]
    assert idents(archive) == ["0", "1", "2", "3"]
    assert dict(stats(again).counts) == {("delivered", ""): 4}
    again.leave()


def test_two_hosts_fill_one_database(tmp_path: Path, database: Engine, address: str) -> None:
    one, two = (FileJournal(tmp_path / name, cap_bytes=ROOMY, rewrite=rewrite) for name in ("one", "two"))
    for journal in (one, two):
        journal.register([ARCHIVE])
    other = Archive(engine_of(address))
    with filling(one, Archive(database)) as first, filling(two, other) as second:
        for number in range(40):
            track(one, f"one-{number}")
            track(two, f"two-{number}")
            track(one, f"both-{number}")  # a sender that tried again, elsewhere, with its own key for the request
            track(two, f"both-{number}")
        assert first.drain(20)
        assert second.drain(20)
    found = idents(other)
    assert found == sorted({*found})
    assert len(found) == 120
    other.engine.dispose()
    for journal in (one, two):
        journal.leave()


def test_old_events_leave(journal: Journal, archive: Archive) -> None:
    now_ms = SystemClock().now_ms()
    track(journal, "old", {"event_name": "x", "timestamp": now_ms - 10 * 86_400_000})
    track(journal, "new", {"event_name": "x", "timestamp": now_ms})
    with filling(journal, archive) as courier:
        assert courier.drain(20)
    with filling(journal, archive, days=9):
        until(lambda: idents(archive) == ["new"])


def test_a_database_that_is_away_is_waited_for(
    journal: Journal, archive: Archive, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="eventmw.archive")
    opened, is_away = archive.engine.pool._creator, threading.Event()

    def connects(*args: Any, **named: Any) -> Any:
        if is_away.is_set():
            raise archive.engine.dialect.dbapi.OperationalError("postgresql://u:s3cret@host is away")  # type: ignore[union-attr]
        return opened(*args, **named)

    archive.engine.pool._creator = connects
    with filling(journal, archive) as courier:
        track(journal, "a")
        assert courier.drain(20)
        archive.engine.dispose()
        archive.engine.pool._creator = connects
        is_away.set()
        track(journal, "b")
        until(lambda: courier.state()[ARCHIVE].attempts > 1)
        assert courier.state()[ARCHIVE].phase == "standing"
        assert courier.state()[ARCHIVE].last_error == "OperationalError"
        assert not courier.drain(0.1)
        track(journal, "c")
        assert stats(journal).backlog_events == 2
        is_away.clear()
        until(lambda: courier.state()[ARCHIVE].phase == "flowing")
        assert courier.drain(20)
    assert idents(archive) == ["a", "b", "c"]
    said = [record.getMessage() for record in caplog.records if record.name == "eventmw.archive"]
    assert said == [
        "the archive stands still and will try again; events wait in the journal: OperationalError",
        "the archive is filled again",
    ]


def test_a_row_is_visible_soon(journal: Journal, archive: Archive) -> None:
    with filling(journal, archive) as courier:
        track(journal, "a")
        assert courier.drain(20)
        began_s = time.monotonic()
        track(journal, "b")
        until(lambda: "b" in idents(archive))
        assert time.monotonic() - began_s < 2.0  # promised; it takes a fifth of a second
