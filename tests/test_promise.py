"""A promise does what a future does, without a lock: against `concurrent.futures.Future` itself, and with real threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, as_completed, wait

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.promise import Promise

ENDS = st.sampled_from(["result", "error"])


def end(future: Future[int], how: str) -> None:
    if how == "result":
        future.set_result(5)
    else:
        future.set_exception(ValueError("disk"))


def told(future: Future[int]) -> list[object]:
    """Return all that a future says of itself, without waiting."""
    said: list[object] = [future.done(), future.running(), future.cancel(), future.cancelled()]
    try:
        said.append(future.result(0))
    except (TimeoutError, ValueError) as error:
        said.append(repr(error))
    try:
        said.append(repr(future.exception(0)))
    except TimeoutError as error:
        said.append(repr(error))
    return said


@given(st.lists(st.sampled_from(["ask", "call back", "raise"]), max_size=6), st.integers(0, 6), ENDS)
def test_it_says_what_a_running_future_says(steps: list[str], at: int, how: str) -> None:
    """One that runs: like a promise, it cannot be cancelled any more."""
    reference: Future[int] = Future()
    histories: list[list[object]] = []
    for future in (reference, Promise[int]()):
        assert future.set_running_or_notify_cancel()
        history: list[object] = []
        for number, step in enumerate([*steps[:at], "end", *steps[at:]]):
            match step:
                case "end":
                    end(future, how)
                case "ask":
                    history.append(told(future))
                case "call back":
                    future.add_done_callback(lambda ended, n=number, h=history: h.append((n, ended.done())))  # type: ignore[misc]
                case _:
                    future.add_done_callback(lambda _: 1 / 0)
        histories.append([*history, told(future)])
    assert histories[0] == histories[1]


def test_a_callback_that_raises_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    promise, called = Promise[int](), list[Future[int]]()
    promise.add_done_callback(lambda _: 1 / 0)
    promise.add_done_callback(called.append)
    promise.set_result(5)
    assert called == [promise]
    assert caplog.messages == ["calling back failed"]


@pytest.mark.parametrize("how", ["result", "error"])
def test_a_thread_waits_for_it(how: str) -> None:
    promise = Promise[int]()
    ended = threading.Timer(0.01, end, [promise, how])
    ended.start()
    if how == "result":
        assert promise.result(30) == 5
    else:
        with pytest.raises(ValueError, match="disk"):
            promise.result()
    ended.join()


def test_a_thread_does_not_wait_for_ever() -> None:
    promise = Promise[int]()
    for timeout in (0, -1, 0.01):
        with pytest.raises(TimeoutError):
            promise.exception(timeout)
    promise.set_result(5)  # lets go of a lock that nobody waits for any more
    assert promise.exception(0) is None


def test_each_callback_is_called_once_whoever_comes_first() -> None:
    """Adding and resolving at the same moment, again and again."""
    calls: list[tuple[int, int]] = []
    rounds = [Promise[int]() for _ in range(500)]
    ready = threading.Barrier(3)

    def add(thread: int) -> None:
        ready.wait()
        for number, promise in enumerate(rounds):
            promise.add_done_callback(lambda _, n=number: calls.append((thread, n)))  # type: ignore[misc]

    def resolve() -> None:
        ready.wait()
        for promise in rounds:
            promise.set_result(1)
            time.sleep(0)

    threads = [threading.Thread(target=add, args=[number]) for number in range(2)] + [threading.Thread(target=resolve)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(calls) == [(thread, number) for thread in range(2) for number in range(500)]


def test_it_shows_how_far_it_is_and_not_its_value() -> None:
    kept, failed = Promise[str](), Promise[str]()
    assert repr(kept) == "<Promise pending>"
    kept.set_result("a person's event")
    failed.set_exception(ValueError("a person's event"))
    assert (repr(kept), repr(failed)) == ("<Promise done>", "<Promise failed: ValueError>")


def test_who_needs_its_lock_is_told_what_to_do() -> None:
    with pytest.raises(AttributeError, match=r"has no lock.*call its result\(timeout\)"):
        wait([Promise[int]()])
    with pytest.raises(AttributeError, match="has no lock"):
        list(as_completed([Promise[int]()]))
