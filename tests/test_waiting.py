"""Waiting on an event loop for a future of another thread."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from eventmw.waiting import wait

Act = Callable[[Future[int]], object]


def complaints(timeout_s: float, before: Act, after: Act = lambda future: None) -> tuple[bool, list[str]]:
    """Return what `wait` says of a future, and what the event loop logs once nobody holds that future any more."""
    logged: list[str] = []

    async def main() -> bool:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context["message"]))
        future: Future[int] = Future()
        before(future)
        said = await wait(future, timeout_s)
        after(future)
        await asyncio.sleep(0.01)
        del future
        gc.collect()
        return said

    return asyncio.run(main()), logged


def later(act: Act) -> Act:
    """Do it in another thread, after a moment."""

    def start(future: Future[int]) -> None:
        ended = threading.Timer(0.01, act, [future])
        ended.start()
        future.add_done_callback(lambda _: ended.cancel())

    return start


def succeed(future: Future[int]) -> None:
    future.set_result(5)


def fail(future: Future[int]) -> None:
    future.set_exception(ValueError("disk"))


def nothing(_future: Future[int]) -> None:
    """Let it hang."""


def test_it_waits_for_a_result() -> None:
    assert complaints(30, later(succeed)) == (True, [])


def test_a_failure_is_the_callers_alone() -> None:
    """The caller asks the future itself; the loop has no reason to log that nobody did."""
    assert complaints(30, later(fail)) == (True, [])


def test_a_failure_that_comes_too_late() -> None:
    assert complaints(0.001, nothing, fail) == (False, [])


def test_the_future_goes_on() -> None:
    assert complaints(0.001, nothing, succeed) == (False, [])


@pytest.mark.parametrize("ended", [succeed, fail])
def test_a_future_that_is_done(ended: Act) -> None:
    assert complaints(30, ended) == (True, [])


def test_cancelling_the_request_cancels_no_append() -> None:
    future: Future[int] = Future()

    async def main() -> None:
        waiting = asyncio.create_task(wait(future, 30))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    assert not future.cancelled()
