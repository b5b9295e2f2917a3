"""A site with an archive: it is registered before the first event, filled by the site or by a worker, and checked at start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from eventmw.archive import ARCHIVE
from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.migrations import prepare
from eventmw.archive.tables import state
from eventmw.archive.transactions import transaction
from eventmw.config import Config
from eventmw.engine import Engine
from eventmw.errors import ConfigError
from eventmw.runtime import Runtime
from eventmw.tools import Console
from tests.archiving import TrackReader, idents, track
from tests.running import started, until


def runtime_of(tmp_path: Path, journal: str, **settings: object) -> Runtime:
    given = {
        "path": "/z",
        "eventbunker_path": "/eb",
        "data_dir": str(tmp_path / "data"),
        "journal": journal,
        **settings,
    }
    runtime = Runtime(Config(**given))  # type: ignore[arg-type]
    runtime.engine = Engine(runtime.engine.tools, [TrackReader()])
    return runtime


@pytest.fixture(params=["memory", "file"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runtime]:
    runtime = runtime_of(tmp_path, request.param)
    yield runtime
    runtime.close(0.0)


def test_a_site_fills_its_archive(runtime: Runtime, tmp_path: Path) -> None:
    assert not (tmp_path / "data" / "archive.sqlite3").exists()
    assert [tool.tool for tool in runtime.journal.stats().tools] == [ARCHIVE]
    track(runtime.journal, "a")
    runtime.start()
    assert runtime.courier.drain(20)
    assert runtime.archive is not None
    assert idents(runtime.archive) == ["a"]
    assert runtime.stats()["tools"][ARCHIVE]["outcomes"] == {"delivered": 1}


def test_a_site_without_the_api_has_none(tmp_path: Path) -> None:
    runtime = Runtime(Config(path="/z", data_dir=str(tmp_path / "data"), journal="memory"))
    assert runtime.archive is None
    assert not runtime.journal.stats().tools


def test_a_newer_archive_stops_the_start(tmp_path: Path) -> None:
    engine = engine_of(sqlite_address(tmp_path / "archive.sqlite3"))
    prepare(engine)
    with transaction(engine, writes=True) as connection:
        connection.execute(update(state).values(schema_version=99))
    with pytest.raises(ConfigError, match="written by a newer eventmw"):
        runtime_of(tmp_path, "memory", archive=sqlite_address(tmp_path / "archive.sqlite3"))


def test_a_database_that_is_away_stops_nothing(tmp_path: Path) -> None:
    runtime = runtime_of(tmp_path, "memory", archive="postgresql+psycopg://nobody:s3cret@127.0.0.1:1/none")
    track(runtime.journal, "a")
    runtime.start()
    until(lambda: runtime.courier.state().get(ARCHIVE))
    until(lambda: runtime.courier.state()[ARCHIVE].phase == "standing")
    assert runtime.stats()["tools"][ARCHIVE]["lane"]["phase"] == "standing"
    assert "s3cret" not in str(runtime.stats())
    runtime.close(0.0)


def test_no_tool_may_take_its_id() -> None:
    with pytest.raises(ConfigError, match="'archive', which is the archive's"):
        Config(eventbunker_path="/eb", tools=[Console(id=ARCHIVE)])
    Config(path="/z", tools=[Console(id=ARCHIVE)])


@pytest.mark.parametrize("days", [0, -1, 1.5, True])
def test_days_are_whole(days: object) -> None:
    with pytest.raises(ConfigError, match="archive_days must be a whole number of days, 1 or more"):
        Config(eventbunker_path="/eb", archive_days=days)  # type: ignore[arg-type]


def test_a_worker_fills_it_too(tmp_path: Path) -> None:
    """Of this dialect nothing is configured here, so what is in the log is set aside: by the worker, for the archive."""
    runtime = runtime_of(tmp_path, "file", courier="off")
    track(runtime.journal, "a", dialect="zaraz")
    config = tmp_path / "eventmw.toml"
    config.write_text(
        f'path = "/z"\neventbunker_path = "/eb"\ndata_dir = "{tmp_path / "data"}"\njournal = "file"\ncourier = "off"\n'
    )
    with started("worker", str(config), EVENTMW_JOURNAL="file", EVENTMW_DATA_DIR=str(tmp_path / "data")):
        until(lambda: dict(runtime.journal.stats().tools[0].counts) == {("filtered", "dialect"): 1})
    assert (tmp_path / "data" / "archive.sqlite3").exists()
    runtime.close(0.0)
