"""Slices and rests."""

from __future__ import annotations

import asyncio
import threading
import time

from eventmw.delivery.pacer import LEAST_S, REQUEST_NS, REST_S, SLICE_NS, Pacer


def work(spent_ns: int) -> None:
    until_ns = time.thread_time_ns() + spent_ns
    while time.thread_time_ns() < until_ns:
        pass


def work_a_slice() -> None:
    work(SLICE_NS + 100_000)


def rest_without_the_pacer() -> None:
    time.sleep(0.02)


def rests(pacer: Pacer, slices: int) -> int:
    async def main() -> int:
        for _ in range(slices):
            work_a_slice()
            await pacer.breathe()
        return pacer.rests

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main())


def test_each_slice_is_followed_by_a_rest() -> None:
    assert rests(Pacer(polite=True), 5) == 5


def slept_s(pacer: Pacer, times: int) -> float:
    """Return how long so many rests took. Bounds are from below: no machine is too slow for those."""
    since_s = time.monotonic()
    for _ in range(times):
        pacer.rest()
    return time.monotonic() - since_s


def test_a_rest_is_as_long_as_the_slice_was() -> None:
    pacer = Pacer(polite=True)
    pacer.rest()
    work(600_000)
    assert slept_s(pacer, 1) >= 0.0006


def test_even_after_no_work_the_thread_sleeps() -> None:
    assert slept_s(Pacer(polite=True), 5) >= 5 * LEAST_S


def test_while_the_site_works_rests_are_longer() -> None:
    pacer = Pacer(polite=True)
    pacer.rest()
    site = threading.Thread(target=work, args=(1_000_000,))
    site.start()
    site.join()
    assert slept_s(pacer, 1) >= REST_S


def test_without_a_site_slices_are_longer() -> None:
    assert rests(Pacer(polite=False), 5) < 5


def test_a_large_step_begins_with_a_fresh_slice() -> None:
    pacer = Pacer(polite=True)
    work(SLICE_NS - REQUEST_NS)
    pacer.make_room()
    assert pacer.rests == 1


def test_a_large_step_has_room_in_a_longer_slice() -> None:
    pacer = Pacer(polite=False)
    work(SLICE_NS)
    pacer.make_room()
    assert pacer.rests == 0


def test_waiting_is_not_working() -> None:
    pacer = Pacer(polite=True)

    async def main() -> int:
        pacer.rest()
        rest_without_the_pacer()
        await pacer.breathe()
        return pacer.rests

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert runner.run(main()) == 1


def test_lanes_take_turns() -> None:
    pacer, order = Pacer(polite=True), list[str]()

    async def lane(name: str) -> None:
        for _ in range(3):
            work_a_slice()
            order.append(name)
            await pacer.breathe()

    async def main() -> None:
        await asyncio.gather(lane("a"), lane("b"))

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())
    assert order == ["a", "b"] * 3


def test_a_stretch_that_waits_ends_all_the_same() -> None:
    """Time that a tool sleeps uses no slice up, and the other lanes would wait for as long as it likes."""
    pacer = Pacer(polite=True)
    pacer.rest()
    pacer.begin()
    rest_without_the_pacer()
    assert pacer.is_over()
    pacer.end()
    pacer.rest()
    pacer.begin()
    pacer.end()
    rest_without_the_pacer()
    assert not pacer.is_over(), "what passes between stretches is nobody's"
