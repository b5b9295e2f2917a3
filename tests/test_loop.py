"""The courier's loop ends in time, whatever its tasks do; and `close` with it."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress

import pytest

from eventmw.contract import consumer
from eventmw.delivery import loop
from eventmw.event import Event
from eventmw.vendor import Vendor
from tests.delivering import Batching
from tests.test_courier import PATIENCE_S, QUICK, Site, until


def test_what_main_raises_comes_out_and_its_tasks_are_ended() -> None:
    ended: list[str] = []

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("other")

    async def main() -> None:
        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        assert not task.done()
        raise KeyError("x")

    with pytest.raises(KeyError):
        loop.run(main())
    assert ended == ["other"]


def test_a_task_that_fails_as_it_is_ended_disturbs_nothing() -> None:
    async def odd() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("on the way out")

    async def main() -> None:
        main.task = asyncio.create_task(odd())  # type: ignore[attr-defined] # so that it is held
        await asyncio.sleep(0)

    loop.run(main())


def test_an_async_generator_that_hangs_at_its_end_is_left_behind() -> None:
    async def numbers() -> object:
        try:
            yield 1
        finally:
            await asyncio.Event().wait()

    held: list[object] = []

    async def main() -> None:
        held.append(generator := numbers())
        await anext(generator)  # type: ignore[call-overload] # as above

    loop.run(main())


@pytest.mark.parametrize("grace_s", [0.0, 0.1])
def test_an_async_consumer_that_swallows_its_cancellation_does_not_keep_the_courier(grace_s: float) -> None:
    began, cancelled = threading.Event(), threading.Event()
    free = threading.Event()

    @consumer("stubborn", delivery=QUICK)
    async def stubborn(event: Event) -> None:
        began.set()
        while not free.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            cancelled.set()

    try:
        with Vendor() as vendor:
            site = Site([stubborn, Batching(vendor.url, delivery=QUICK)])
            with site.running() as courier:
                site.append("a")
                until(lambda: site.counts() == {"delivered": 1}, "the other tool has delivered")
                assert began.wait(PATIENCE_S)
                assert not courier.stop(grace_s), "what is in flight did not come back"
                assert not courier._is_alive(), "the thread has ended all the same"
            assert cancelled.wait(PATIENCE_S)
            assert site.counts("stubborn") == {}, "it goes out again at the next start"
    finally:
        free.set()


def test_a_look_up_of_a_name_that_hangs_does_not_keep_the_courier() -> None:
    """The loop's own pool of threads, in which hosts' names are looked up, is not waited for."""
    free = threading.Event()

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, free.wait, 30.0)
        await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: loop.run(main()))
    thread.start()
    try:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    finally:
        free.set()
        time.sleep(0)
