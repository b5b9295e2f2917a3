"""Forks wait for what must not be in a child half done; and for no more than that."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable

import pytest

from eventmw import forks
from eventmw.forks import HeldOff


def forked(check: Callable[[], None]) -> int:
    """Run a check in a forked child, and return its exit code: 0 when nothing was wrong."""
    child = os.fork()
    if not child:
        code = 1
        try:
            check()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def enters() -> None:
    """Have another thread of the child hold forks off."""

    def enter() -> None:
        with HeldOff():
            pass

    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "what a thread of the parent's held is held in the child for ever"


def test_a_fork_waits_until_another_thread_is_through() -> None:
    held, go, through = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with HeldOff():
            held.set()
            assert go.wait(30)
            through.set()

    worker = threading.Thread(target=work)
    worker.start()
    assert held.wait(30)
    threading.Timer(0.2, go.set).start()

    def check() -> None:
        assert through.is_set(), "the fork came in the middle"

    assert forked(check) == 0
    worker.join()


def test_a_child_can_hold_forks_off_itself_and_fork() -> None:
    def check() -> None:
        enters()
        assert forked(enters) == 0

    with HeldOff():  # of the forking thread's own: nested
        assert forked(check) == 0
    assert forked(check) == 0


def test_a_fork_waits_for_a_thread_that_stands_still_no_longer_than_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    held, go = threading.Event(), threading.Event()

    def work() -> None:
        with HeldOff():
            held.set()
            assert go.wait(30)

    worker = threading.Thread(target=work)
    worker.start()
    assert held.wait(30)
    try:
        monkeypatch.setattr(forks, "PATIENCE_S", 0.1)
        since_s = time.monotonic()
        assert forked(enters) == 0
        assert time.monotonic() - since_s >= 0.1
    finally:
        go.set()
        worker.join()
    with HeldOff():  # the parent did not give back what it never had
        pass
    assert forked(enters) == 0
