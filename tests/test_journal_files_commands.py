"""Commands that the leader of a file journal cannot carry out: it goes on with everything else."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventmw.errors import JournalDown
from eventmw.journal import Commit, Key
from eventmw.journal.files import FileJournal
from tests.journal_conformance import NOW_MS, delivered, keys, leading, letter, parked, put, take, without


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[FileJournal, FileJournal]]:
    """One that leads, and one that asks."""
    journals = [FileJournal(tmp_path / "data", retain_s=0.0, rewrite=without) for _ in range(2)]
    yield journals[0], journals[1]
    for journal in journals:
        journal.leave()


def test_a_command_that_fails_on_a_full_disk_is_answered_and_stops_nothing(
    both: tuple[FileJournal, FileJournal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, other = both
    journal.register(["a"])
    put(other, 1)
    other.close()
    put(journal, 71)
    lease = leading(journal)
    for reading in take(lease, "a", 2)[:1]:
        lease.commit("a", delivered(*keys(reading.entry)))
    raised: list[BaseException] = []

    def erase() -> None:
        try:
            other.erase({"who": "7"})
        except JournalDown as error:
            raised.append(error)

    real = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        if "/w/" in (path := str(Path(f"/proc/self/fd/{fd}").readlink())) and "/.0" in path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data, offset)

    erasing = threading.Thread(target=erase)
    with monkeypatch.context() as system:
        system.setattr(os, "pwrite", full)
        erasing.start()
        deadline = time.monotonic() + 20
        while erasing.is_alive() and time.monotonic() < deadline:
            lease.tend()
        erasing.join(10)
    assert "No space left" in str(raised[0])
    assert list((tmp_path / "data" / "inbox").iterdir()) == []
    assert len(list((tmp_path / "data" / "w").iterdir())) == 1, "what was consumed is not retired"
    lease.close()
    assert journal.erase({"who": "7"}) == {"records": 1, "parked": 0, "dead": 0}


def test_letters_of_a_log_that_is_gone_are_none(both: tuple[FileJournal, FileJournal], tmp_path: Path) -> None:
    journal, _ = both
    journal.register(["a"])
    at = put(journal, 1)
    lease = leading(journal)
    lease.commit("a", Commit(dead=[letter("a", Key(at, 0))]))
    [log] = (tmp_path / "data" / "dead").iterdir()
    log.unlink()
    assert journal.revive("a", [Key(at, 0)], NOW_MS) == 0


def test_an_answer_for_an_event_of_a_stream_that_is_retired_changes_nothing(
    both: tuple[FileJournal, FileJournal], tmp_path: Path
) -> None:
    journal, other = both
    journal.register(["a"])
    at = put(other, 1)
    lease = leading(journal)
    take(lease, "a", 1)
    other.close()
    journal.seek("a", to="end")
    lease.tend()
    lease.tend()
    assert list((tmp_path / "data" / "w").iterdir()) == []
    lease.commit("a", delivered(Key(at, 0)))
    lease.commit("a", Commit(park=[parked(Key(at, 0))]))
