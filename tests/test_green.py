"""Threads that are greenlets (gevent, eventlet), and processes that were forked without Python's knowledge (uWSGI)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from eventmw import forks
from eventmw.forks import LateLock
from tests.running import ROOT
from tests.test_forks import forked

GREENLETS = 8
PATIENCE_S = 120


@pytest.mark.parametrize("eventbunker", ["off", "on"])
@pytest.mark.parametrize("journal", ["file", "memory"])
@pytest.mark.parametrize("how", ["gevent", "gevent-late", "eventlet"])
def test_greenlets_never_wait_for_a_lock_that_another_one_holds(
    tmp_path: Path, how: str, journal: str, eventbunker: str
) -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.sites.green",
            how,
            journal,
            eventbunker,
            str(tmp_path),
            str(GREENLETS),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout) == {
        "statuses": [200],
        "refused": [401] if eventbunker == "on" else [],
        "drained": True,
        "delivered": 2 * GREENLETS,
        "called": 2 * GREENLETS,
        "threads": [],
    }


def test_a_lock_that_is_made_late_is_the_same_for_all_threads() -> None:
    lock, inside, most = LateLock(), 0, 0

    def enter() -> None:
        nonlocal inside, most
        for _ in range(200):
            with lock:
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_lock_that_is_made_late_is_free_in_a_forked_child() -> None:
    lock = LateLock()

    def enter() -> None:
        with lock:
            pass

    with lock:
        assert forked(enter) == 0


def test_a_fork_that_python_was_not_told_of_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    monkeypatch.setattr(forks, "_in_child", [lambda: called.append(os.getpid())])
    forks.notice()
    assert called == []
    monkeypatch.setattr(forks._here, "pid", 1)  # as in a process that was forked in C
    forks.notice()
    forks.notice()
    assert called == [os.getpid()]
