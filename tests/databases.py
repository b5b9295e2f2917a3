"""Both databases, for tests that have to hold on each: a SQLite file, and a PostgreSQL server."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine

from eventmw.archive.database import engine_of
from eventmw.keys.place import keys_engine
from tests.running import ROOT, ended, environment

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


Peer = subprocess.Popen[str]


@contextlib.contextmanager
def peers(address: str, count: int) -> Iterator[Sequence[Peer]]:
    """Start processes that know the keys of a database; see `tests.key_peer`."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_peer(address)) for _ in range(count)]


@contextlib.contextmanager
def _peer(address: str) -> Iterator[Peer]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.key_peer", address],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ended(process):
        yield process


def told(process: Peer, line: str) -> None:
    """Say a line to a process."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def answer(process: Peer) -> str:
    """Return the next line that a process says."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def asked(process: Peer, line: str) -> str:
    """Say a line to a process, and return what it answers."""
    told(process, line)
    return answer(process)


def all_asked(processes: Sequence[Peer], line: str) -> list[str]:
    """Say a line to all processes at once, when all of them are there, and return what they answer."""
    assert {asked(process, "ready") for process in processes} == {"ready"}
    for process in processes:
        told(process, line)
    return [answer(process) for process in processes]
