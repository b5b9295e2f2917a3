"""Every event is a row exactly once, whoever is killed when, and whatever the database does meanwhile. Real processes."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import func, make_url, select

from eventmw.archive import ARCHIVE
from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.store import Archive
from eventmw.archive.tables import events
from eventmw.archive.transactions import transaction
from eventmw.erasure import rewrite
from eventmw.journal.files import FileJournal
from tests.archiving import idents, track
from tests.postgres import Postgres
from tests.running import ROOT, ended, environment, until

KILLS = 4
MOST_S = 0.5
EVENTS = 3


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_address(tmp_path / "archive.sqlite3")
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def away(request: pytest.FixtureRequest, address: str) -> Callable[[], AbstractContextManager[None]]:
    """Give what takes the database away for a while."""
    url = make_url(address)
    if url.get_backend_name() == "sqlite":
        return contextlib.nullcontext
    server: Postgres = request.getfixturevalue("postgres_server")
    return lambda: server.away(str(url.database))


@contextlib.contextmanager
def peer(data_dir: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.archive_peer", str(data_dir), address],
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    with ended(process):  # type: ignore[arg-type]
        yield process


class Host:
    """A data folder and the thread that writes to it; who fills the archive from it is another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: list[str] = []
        self.journal = FileJournal(folder, cap_bytes=64 * 1024 * 1024, rewrite=rewrite)
        self.journal.register([ARCHIVE])
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        while not self.over.wait(0.002):
            ident = f"{self.folder.name}-{len(self.kept):06}"
            track(self.journal, ident, *({"event_name": "seen", "number": index} for index in range(EVENTS)))
            self.kept.append(ident)

    @property
    def expected(self) -> list[str]:
        return [f"{ident}-{index}" if index else ident for ident in self.kept for index in range(EVENTS)]


def count(archive: Archive) -> int:
    with transaction(archive.engine) as connection:
        return int(connection.scalar(select(func.count()).select_from(events)) or 0)


def test_killed_at_random_moments_from_two_hosts(
    tmp_path: Path, address: str, away: Callable[[], AbstractContextManager[None]]
) -> None:
    chance, archive = random.Random(4), Archive(engine_of(address))
    archive.open()
    hosts = [Host(tmp_path / name) for name in ("one", "two")]
    for host in hosts:
        host.thread.start()
    try:
        for turn in range(KILLS):
            before = count(archive)
            with peer(hosts[0].folder, address) as one, peer(hosts[1].folder, address) as two:
                until(lambda before=before: count(archive) > before)  # type: ignore[misc]
                threading.Event().wait(chance.uniform(0.0, MOST_S))  # a moment that nobody chose
                one.kill()
                if turn == KILLS // 2:
                    archive.engine.dispose()
                    with away():
                        threading.Event().wait(MOST_S)  # as long as nothing can be written
                two.kill()
    finally:
        for host in hosts:
            host.over.set()
            host.thread.join()
    hosts[0].journal.seek(ARCHIVE, since_ms=0)
    expected = sorted([*hosts[0].expected, *hosts[1].expected])
    with peer(hosts[0].folder, address), peer(hosts[1].folder, address):
        until(lambda: all(host.journal.stats().tools[0].backlog_events == 0 for host in hosts) or None)
    assert idents(archive) == expected
    assert len(expected) > KILLS * EVENTS
    archive.engine.dispose()
    for host in hosts:
        host.journal.leave()
