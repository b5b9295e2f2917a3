"""The writer's thread, and who waits for the disk: it goes on after every failure, and no request asks a disk itself."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventmw.errors import JournalDown, JournalFull
from eventmw.journal.files import FileJournal
from tests.journal_conformance import leading, put, until


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FileJournal]:
    journal = FileJournal(tmp_path / "data", cap_bytes=100_000)
    journal.register(["a"])
    yield journal
    journal.leave()


def failing(call: str, part: str, error: int, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have a call fail on files with `part` in their paths; return what is set then."""
    real, failed = getattr(os, call), threading.Event()

    def fails(fd: int, *arguments: object) -> object:
        if part in str(Path(f"/proc/self/fd/{fd}").readlink()):
            failed.set()
            raise OSError(error, os.strerror(error))
        return real(fd, *arguments)

    monkeypatch.setattr(os, call, fails)
    return failed


@pytest.mark.parametrize("part", ["/lock", "/gauge"])
def test_numbers_that_cannot_be_read_end_no_thread_and_refuse_no_record(
    journal: FileJournal, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(journal, 1)
    with monkeypatch.context() as system:
        failed = failing("pread", part, errno.EIO, system)
        assert failed.wait(10)
        assert put(journal, 2).seq == 2
    assert put(journal, 3).seq == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_started_again(journal: FileJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ended it: here it cannot even be logged what went wrong."""
    put(journal, 1)
    thread = journal._writer._thread
    assert thread is not None

    def fails(*_: object, **__: object) -> list[str]:
        raise SystemExit

    with monkeypatch.context() as system:
        system.setattr(logging.Logger, "exception", fails)
        system.setattr(os, "listdir", fails)
        until(lambda: not thread.is_alive(), "the end of the thread")
    assert put(journal, 2)


def test_what_fails_while_nothing_waits_does_not_end_the_thread(
    journal: FileJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(journal, 1)
    failed = threading.Event()

    def fails(*_: object) -> list[str]:
        failed.set()
        raise RuntimeError("something nobody thought of")

    thread = journal._writer._thread
    assert thread is not None
    with monkeypatch.context() as system:
        system.setattr(os, "listdir", fails)
        assert failed.wait(10)
    assert put(journal, 2)
    assert thread.is_alive()


def test_no_request_asks_the_disk_how_full_the_journal_is(
    journal: FileJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JournalFull):
        for number in range(20):
            put(journal, number, size=10_000)
    hanging, go = threading.Event(), threading.Event()
    real = os.listdir

    def hangs(path: str | Path) -> list[str]:
        hanging.set()
        assert go.wait(60)
        return real(path)

    with monkeypatch.context() as system:
        system.setattr(os, "listdir", hangs)
        assert hanging.wait(10)
        begun_s = time.monotonic()
        with pytest.raises(JournalFull):
            put(journal, 99, size=10_000)
        assert "full" in journal.ready()
        assert time.monotonic() - begun_s < 5
        go.set()


def _no_inbox(_: object) -> None:
    raise ZeroDivisionError


def test_a_lease_that_cannot_be_begun_is_not_held(
    journal: FileJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as system:
        failing("pwrite", "/data/leader", errno.ENOSPC, system)
        leading(journal).close()
    with monkeypatch.context() as system:
        system.setattr("eventmw.journal.files.housekeeping.Inbox", _no_inbox)
        with pytest.raises(ZeroDivisionError):
            journal.lead()
    other = FileJournal(tmp_path / "data")
    leading(other).close()
    other.leave()


def test_a_forked_child_holds_no_file_of_a_reader(journal: FileJournal, tmp_path: Path) -> None:
    put(journal, 1)
    journal.scan()
    ready, child = os.pipe()
    pid = os.fork()
    if pid == 0:
        here = [str(Path(f"/proc/self/fd/{fd}").resolve()) for fd in os.listdir("/proc/self/fd")]  # noqa: PTH208
        os.write(child, str(sum(path.startswith(f"{tmp_path}/data/w/") for path in here)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(ready, 10) == b"0"
    os.close(ready)
    os.close(child)


def test_a_record_that_a_failing_disk_refuses_is_refused_as_down(
    journal: FileJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(journal, 1)
    with monkeypatch.context() as system:
        failing("fdatasync", "/w/", errno.EIO, system)
        with pytest.raises(JournalDown):
            put(journal, 2)
