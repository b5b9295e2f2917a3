"""Locks between processes, as the threads of one process use them at once. What processes do: test_journal_files_processes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from eventmw.journal.files.locks import Lock, is_free

TIMES = 1_000


@pytest.fixture(autouse=True)
def _hurried() -> Iterator[None]:
    """Have threads change turns after each few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*works: Callable[[], object]) -> None:
    """Do each work many times, in threads that begin at once."""
    start = threading.Barrier(len(works))

    def repeat(work: Callable[[], object]) -> None:
        start.wait(30)
        for _ in range(TIMES):
            work()

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def opened(path: Path) -> int:
    """Return how many descriptors of a file this process has."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found += link.readlink() == path
    return found


def test_a_lock_that_several_threads_take_at_once_is_one_and_can_be_given_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)

    def take() -> None:
        lock.acquire()
        lock.release()

    together(take, take, take, take)
    lock.release()
    assert opened(path) == 0, "a descriptor was lost, and the lock with it"
    assert is_free(path)
