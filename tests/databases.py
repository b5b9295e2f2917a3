"""Both databases, for tests that have to hold on each: a SQLite file, and a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from eventmw.archive.database import engine_of
from eventmw.keys.place import keys_engine

KINDS = ("sqlite", "postgresql")


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the address of an empty database."""
    if request.param == "sqlite":
        keys_engine(tmp_path, None).dispose()
        return f"sqlite:///{tmp_path / 'keys.sqlite3'}"
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def engine(address: str) -> Iterator[Engine]:
    """Give an engine of it."""
    engine = engine_of(address)
    yield engine
    engine.dispose()
