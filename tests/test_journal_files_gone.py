"""The file journal when its folder is moved, removed or replaced while processes use it.

What cannot be found again by the next process is not kept: it is refused. What comes back is gone on with.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventmw.errors import ConfigError, JournalDown
from eventmw.journal import Commit, Key, Lease, Position
from eventmw.journal.files import FileJournal
from eventmw.journal.files.frames import HEADER_BYTES
from eventmw.journal.files.writer import RETRY_S
from tests.journal_peer import everything

DEADLINE_S = 20.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def opened(data: Path) -> Iterator[Callable[[], FileJournal]]:
    journals: list[FileJournal] = []

    def make() -> FileJournal:
        journals.append(FileJournal(data))
        journals[-1].register(["a"])
        return journals[-1]

    yield make
    for journal in journals:
        journal.leave()


def put(journal: FileJournal, name: str) -> Position:
    future = journal.append(name.encode(), events=1, recorded_ms=0, stamp=time.monotonic_ns())
    return future.result(DEADLINE_S)


def put_once_it_can(journal: FileJournal, name: str) -> Position:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return put(journal, name)
        except JournalDown:
            assert time.monotonic() < deadline, "it never took an event again"
            time.sleep(RETRY_S / 10)


def lead(journal: FileJournal) -> Lease:
    lease = journal.lead()
    assert lease is not None
    return lease


def read(lease: Lease) -> list[str]:
    lease.tend()
    return [reading.entry.record.decode() for reading in everything(lease, "a", 1000)]


def test_nothing_is_acknowledged_into_a_folder_that_was_removed(
    opened: Callable[[], FileJournal], data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = opened()
    put(journal, "first")
    shutil.rmtree(data)
    with pytest.raises(JournalDown, match="moved or removed while the site runs"):
        put(journal, "second")
    assert "restart" in journal.ready()
    assert str(data) not in journal.ready()  # strangers are told it
    assert "put it back, or restart" in caplog.text


def test_a_folder_that_was_moved_takes_nothing_and_goes_on_once_it_is_back(
    opened: Callable[[], FileJournal], data: Path
) -> None:
    journal = opened()
    lease = lead(journal)
    put(journal, "first")
    away = data.rename(data.with_name("away"))
    with pytest.raises(JournalDown):
        put(journal, "second")
    with pytest.raises(JournalDown):
        read(lead(journal))
    assert lease.lost()
    lease.close()
    away.rename(data)
    put_once_it_can(journal, "third")
    journal.leave()
    assert read(lead(opened())) == ["first", "third"]


def test_another_process_that_made_the_folder_anew_gets_what_comes_from_then_on(
    opened: Callable[[], FileJournal], data: Path
) -> None:
    old = opened()
    put(old, "first")
    lease = lead(old)
    shutil.rmtree(data)
    new = opened()
    led = lead(new)
    assert lease.lost()  # else two would deliver
    put_once_it_can(old, "second")
    assert read(led) == ["second"]


def test_a_stream_that_was_away_for_a_while_is_delivered_and_settled(
    opened: Callable[[], FileJournal], data: Path
) -> None:
    """As when a volume with streams is put back: what is settled then is not delivered again at the next start."""
    before = opened()
    position = put(before, "first")
    before.leave()
    journal = opened()
    lease = lead(journal)
    lease.tend()
    stream = data / "w" / position.stream
    away = stream.rename(data / "away")
    assert read(lease) == []
    away.rename(stream)
    assert read(lease) == ["first"]
    lease.commit("a", Commit(settled=[Key(position, 0)], counts={("delivered", ""): 1}))
    [stats] = journal.stats().tools
    assert (stats.backlog_events, stats.counts) == (0, {("delivered", ""): 1})
    lease.close()
    assert read(lead(journal)) == []


def test_the_figures_of_a_folder_that_is_away_are_not_zero(opened: Callable[[], FileJournal], data: Path) -> None:
    journal = opened()
    put(journal, "first")
    lease = lead(journal)
    (data / "w").rename(data / "away")
    with pytest.raises(OSError, match="No such file"):
        lease.read("a", 10)
    with pytest.raises(JournalDown, match="No such file"):
        journal.stats()


def test_a_file_system_without_locks_is_told_at_the_start(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody would ever lead, and nothing would say why."""

    def no_locks(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(ConfigError, match="No locks available"):
        FileJournal(data)


def test_a_lease_outlives_that_its_lock_may_not_be_looked_at(
    opened: Callable[[], FileJournal], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a folder is closed to its own user for a while: nobody else can take the lock then."""
    lease = lead(opened())
    stat = Path.stat

    def closed(path: Path, **options: bool) -> os.stat_result:
        if path == data / "leader":
            raise PermissionError(errno.EACCES, "Permission denied")
        return stat(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", closed)
        assert not lease.lost()
    assert not lease.lost()
    (data / "leader").unlink()
    assert lease.lost()


def test_a_segment_that_a_disk_does_not_give_out_is_named_and_not_taken_for_lost(
    opened: Callable[[], FileJournal], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened()
    position = put(journal, "first")
    lease = lead(journal)

    pread = os.pread

    def bad_sector(fd: int, size: int, offset: int) -> bytes:
        if size >= HEADER_BYTES:  # of a segment, and not of what processes tell each other
            raise OSError(errno.EIO, "Input/output error")
        return pread(fd, size, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", bad_sector)
        with pytest.raises(OSError, match=rf"Input/output error: .*{position.stream}/00000001\.seg"):
            lease.read("a", 10)
    assert read(lease) == ["first"]
