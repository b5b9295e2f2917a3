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


def holding(go: threading.Event, then: Callable[[], None] = lambda: None) -> threading.Thread:
    """Have another thread hold forks off until `go`, and do something before it is through."""
    held = threading.Event()

    def work() -> None:
        with HeldOff():
            held.set()
            assert go.wait(30)
            then()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    assert held.wait(30)
    return worker


def test_threads_hold_forks_off_side_by_side() -> None:
    """A look at the keys does not wait for a transaction on the archive, which waits for a reader."""
    go = threading.Event()
    worker = holding(go)
    try:
        enters()
    finally:
        go.set()
        worker.join()


def test_who_holds_forks_off_may_do_so_again_while_a_fork_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE_S", 20.0)
    go, through = threading.Event(), threading.Event()

    def again() -> None:
        with HeldOff():
            through.set()

    worker = holding(go, again)
    threading.Timer(0.2, go.set).start()

    def check() -> None:
        assert through.is_set(), "the fork did not wait for it, or it waited for the fork"

    since_s = time.monotonic()
    assert forked(check) == 0
    assert time.monotonic() - since_s < 15
    worker.join()


def test_who_comes_while_a_fork_waits_comes_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a busy process would never fork."""
    monkeypatch.setattr(forks, "PATIENCE_S", 1.0)
    go, came = threading.Event(), threading.Event()
    worker = holding(go)

    def come() -> None:
        with HeldOff():
            came.set()

    late = threading.Timer(0.3, come)
    late.start()

    def check() -> None:
        assert not came.is_set(), "the fork lets others in before it"

    assert forked(check) == 0
    late.join(20)
    assert came.is_set()
    go.set()
    worker.join()


def test_forks_of_two_threads_leave_nothing_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that loses patience must not make the other forget what it has to give back."""
    monkeypatch.setattr(forks, "PATIENCE_S", 0.3)
    go, codes = threading.Event(), list[int]()
    worker = holding(go)
    children = [threading.Thread(target=lambda: codes.append(forked(enters))) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
    go.set()
    worker.join()
    assert codes == [0] * 3
    enters()


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
