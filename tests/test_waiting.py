"""Waiting on an event loop for a future of another thread."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from eventmw.waiting import wait


def complaints(future: Future[Any], timeout_s: float, after: Any = None) -> tuple[bool, list[dict[str, Any]]]:
    """Return what `wait` says, and what the event loop would have logged about it."""
    logged: list[dict[str, Any]] = []

    async def main() -> bool:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context))
        said = await wait(future, timeout_s)
        if after is not None:
            after()
        await asyncio.sleep(0.01)
        gc.collect()
        return said

    return asyncio.run(main()), logged


def later(call: Any, *args: Any) -> None:
    threading.Timer(0.01, call, args).start()


def test_it_waits_for_a_result() -> None:
    future: Future[int] = Future()
    later(future.set_result, 5)
    assert complaints(future, 30) == (True, [])


def test_a_failure_is_the_callers_alone() -> None:
    """The caller asks the future itself; the loop has no reason to log that nobody did."""
    future: Future[int] = Future()
    later(future.set_exception, ValueError("disk"))
    assert complaints(future, 30) == (True, [])
    with pytest.raises(ValueError, match="disk"):
        future.result(0)


def test_a_failure_that_comes_too_late() -> None:
    future: Future[int] = Future()
    assert complaints(future, 0.001, lambda: future.set_exception(ValueError("disk"))) == (False, [])


def test_the_future_goes_on() -> None:
    future: Future[int] = Future()
    assert complaints(future, 0.001) == (False, [])
    assert not future.cancelled()
    future.set_result(1)


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


@pytest.mark.parametrize("failed", [True, False])
def test_a_future_that_is_done(failed: bool) -> None:
    future: Future[int] = Future()
    future.set_exception(ValueError()) if failed else future.set_result(1)
    assert complaints(future, 30) == (True, [])
