"""Waiting on an event loop for a future of another thread."""

from __future__ import annotations

import asyncio
import gc
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmw.promise import Promise
from eventmw.waiting import Deadlines, Within, wait

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


# What is shared: one wake-up for a batch, one timer for a loop.

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
on_each_loop = pytest.mark.parametrize("new_loop", LOOPS, ids=["asyncio", "uvloop"])


@contextmanager
def flusher() -> Iterator[Callable[[Future[int], str], None]]:
    """A thread that resolves what it is given in batches, as a journal does after each sync."""
    waiting: queue.SimpleQueue[tuple[Future[int], str] | None] = queue.SimpleQueue()

    def flush() -> None:
        batch = [waiting.get()]
        while None not in batch:
            while not waiting.empty():
                batch.append(waiting.get())
            for future, how in filter(None, batch):
                (fail if how == "error" else succeed)(future)
            batch = batch if None in batch else [waiting.get()]

    thread = threading.Thread(target=flush)
    thread.start()
    try:
        yield lambda future, how: waiting.put((future, how))
    finally:
        waiting.put(None)
        thread.join()


async def outcome(future: Future[int], how: str, give: Callable[[Future[int], str], None]) -> str:
    """Wait for one future and say how the waiting ended: the caller asks the future itself, as a gateway does."""
    give(future, how) if how != "never" else None
    if not await wait(future, 0.05 if how == "never" else 30):
        return "never"
    return "error" if future.exception(0) else "result"


@on_each_loop
@settings(max_examples=30, deadline=None)
@given(hows=st.lists(st.sampled_from(["result", "error", "never", "cancelled"]), max_size=60), seed=st.integers())
def test_every_waiter_wakes_exactly_once_and_as_its_future_ended(
    new_loop: Callable[[], asyncio.AbstractEventLoop], hows: list[str], seed: int
) -> None:
    chance, logged = random.Random(seed), list[str]()

    async def main(give: Callable[[Future[int], str], None]) -> list[str]:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context["message"]))
        tasks: list[asyncio.Task[str]] = []
        for how in hows:
            future = chance.choice([Promise[int], Future[int]])()
            tasks.append(asyncio.create_task(outcome(future, "result" if how == "cancelled" else how, give)))
            if chance.random() < 0.3:
                await asyncio.sleep(0)
            if how == "cancelled":
                tasks[-1].cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        return ["cancelled" if isinstance(one, BaseException) else one for one in ended]

    with flusher() as give, asyncio.Runner(loop_factory=new_loop) as runner:
        ended = runner.run(main(give))
    gc.collect()
    # One that is cancelled may have been woken in the same moment.
    assert all(how in {said, "cancelled"} for said, how in zip(ended, hows, strict=True))
    assert logged == []


def count_calls_from_threads(loop: asyncio.AbstractEventLoop) -> Counter[str]:
    """Count how often other threads reach into a loop."""
    counted: Counter[str] = Counter()
    real = loop.call_soon_threadsafe

    def counting(callback: Callable[..., object], *args: object, **options: object) -> object:
        counted["calls"] += 1
        return real(callback, *args, **options)  # type: ignore[arg-type] # handed on as it came

    loop.call_soon_threadsafe = counting  # type: ignore[assignment, method-assign] # only counts
    return counted


def test_a_batch_is_one_wake_up() -> None:
    async def main() -> int:
        counted = count_calls_from_threads(asyncio.get_running_loop())
        futures = [Promise[int]() for _ in range(200)]
        waiting = [asyncio.create_task(wait(future, 30)) for future in futures]
        await asyncio.sleep(0)
        thread = threading.Thread(target=lambda: list(map(succeed, futures)))
        thread.start()
        thread.join()  # the loop stands still meanwhile, so that all of them land before it wakes
        assert await asyncio.gather(*waiting) == [True] * 200
        return counted["calls"]

    assert asyncio.run(main()) == 1


def test_two_may_wait_for_one_future() -> None:
    async def main() -> list[bool]:
        future = Promise[int]()
        waiting = [asyncio.create_task(wait(future, seconds)) for seconds in (30, 0.001, 30)]
        await asyncio.sleep(0.05)
        succeed(future)
        return await asyncio.gather(*waiting)

    assert asyncio.run(main()) == [True, False, True]


@on_each_loop
def test_what_lands_on_a_closed_loop_disturbs_nobody(
    new_loop: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    """A server that ends while the disk is slow: the flusher goes on to the futures of others."""
    left, others = [Promise[int](), Future[int]()], Promise[int]()
    requests: list[asyncio.Future[bool]] = []

    async def leave() -> None:
        requests.extend(asyncio.ensure_future(wait(future, 30)) for future in left)
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(leave())

    async def main() -> bool:
        waiting = asyncio.create_task(wait(others, 30))
        await asyncio.sleep(0)
        thread = threading.Thread(target=lambda: list(map(succeed, [*left, others])))
        thread.start()
        thread.join()
        return await waiting

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(main())
    assert caplog.records == []


def test_loops_in_several_threads_wake_their_own() -> None:
    said: list[list[bool]] = []

    async def main(give: Callable[[Future[int], str], None]) -> list[bool]:
        futures = [Promise[int]() for _ in range(50)]
        for future in futures:
            give(future, "result")
        return await asyncio.gather(*(wait(future, 30) for future in futures))

    with flusher() as give:
        threads = [threading.Thread(target=lambda: said.append(asyncio.run(main(give)))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert said == [[True] * 50] * 4


@on_each_loop
@settings(max_examples=20, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from([0.01, 0.03, 0.06, 30]), st.booleans()), max_size=12))
def test_what_is_due_expires_and_nothing_else(
    new_loop: Callable[[], asyncio.AbstractEventLoop], steps: list[tuple[float, bool]]
) -> None:
    """Each key has its own time, and leaves before or not; never too early by the loop's clock, and only once."""
    expired: list[tuple[int, float]] = []

    async def main() -> list[tuple[int, float]]:
        loop = asyncio.get_running_loop()
        deadlines = Deadlines[int](loop, lambda key: expired.append((key, loop.time())))
        due = {}
        for key, (after_s, _) in enumerate(steps):
            due[key] = loop.time() + after_s
            deadlines.enter(key, after_s)
        assert all(deadlines.leave(key) for key, (_, leaves) in enumerate(steps) if leaves)
        await asyncio.sleep(0.15)
        for key, (after_s, leaves) in enumerate(steps):
            assert deadlines.leave(key) == (not leaves and after_s == 30)
        return [(key, when - due[key]) for key, when in expired]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        late = runner.run(main())
    assert sorted(key for key, _ in late) == [key for key, (s, leaves) in enumerate(steps) if s < 1 and not leaves]
    assert all(seconds > -0.002 for _, seconds in late)


# The time for a body: `asyncio.timeout` is the reference.


async def limited(kind: str, timeout_s: float, sleep_s: float, *, swallow: bool) -> str:
    """Sleep under a time limit; say whether it was in time, and whether the task is left as if nothing had happened."""
    task = asyncio.current_task()
    assert task is not None
    try:
        if kind == "ours":
            with Within(timeout_s):
                await _sleep(sleep_s, swallow=swallow)
        else:
            async with asyncio.timeout(timeout_s):
                await _sleep(sleep_s, swallow=swallow)
    except TimeoutError:
        return f"too late, {task.cancelling()} cancellations left"
    return f"in time, {task.cancelling()} cancellations left"


async def _sleep(seconds: float, *, swallow: bool) -> None:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if not swallow:
            raise


@on_each_loop
@pytest.mark.parametrize("swallow", [False, True])
@pytest.mark.parametrize("cancel_after_s", [None, 0.0, 0.08])
@pytest.mark.parametrize("sleep_s", [0.0, 0.04, 30])
def test_a_time_limit_does_what_asyncios_does(
    new_loop: Callable[[], asyncio.AbstractEventLoop], sleep_s: float, cancel_after_s: float | None, swallow: bool
) -> None:
    """In time, too late, cancelled from outside, and with a server that swallows the cancellation."""

    async def main(kind: str) -> str:
        task = asyncio.create_task(limited(kind, 0.04 if sleep_s > 1 else 30, sleep_s, swallow=swallow))
        if cancel_after_s is not None:
            await asyncio.sleep(cancel_after_s)
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return "cancelled"

    said = []
    for kind in ("ours", "asyncio"):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            said.append(runner.run(main(kind)))
    assert said[0] == said[1]


@pytest.mark.parametrize("kind", ["ours", "asyncio"])
def test_who_cancels_from_outside_in_the_same_moment_gets_what_they_wanted(kind: str) -> None:
    async def main() -> bool:
        task = asyncio.create_task(limited(kind, 0.01, 30, swallow=False))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.015, task.cancel)
        time.sleep(0.05)  # noqa: ASYNC251 - so that both timers go off in one turn of the loop, the limit's first
        await asyncio.wait([task], timeout=5)
        return task.cancelled()

    assert asyncio.run(main())


def test_a_time_limit_needs_a_task() -> None:
    async def main() -> str:
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def outside() -> None:
            try:
                with Within(1):
                    told.set_result("entered")
            except RuntimeError as error:
                told.set_result(str(error))

        asyncio.get_running_loop().call_soon(outside)
        return await told

    assert asyncio.run(main()) == "a time limit needs a task that can be cancelled"
