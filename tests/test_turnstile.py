"""The turnstile: a slice of a turn, in order, and an end of the line; and a site on ASGI behind it."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path
from typing import Any
from weakref import ref

from hypothesis import given
from hypothesis import strategies as st

from eventmw import asgi
from eventmw.turnstile import FIRST_GUESS_S, LINE, SHARE, SLICE_S, Turnstile


class Clock:
    """A clock that stands still but when it is moved, in seconds."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def crowd(
    turnstile: Turnstile, clock: Clock, count: int, *, each_s: float, others_s: float = 0.0
) -> tuple[list[int], dict[int, list[int]]]:
    """Have so many come at once, each to be judged for a time, while in each turn the site works for another.

    Returns who went through, in order, and who did in which turn of the loop.
    """
    turn, through, turns = 0, list[int](), dict[int, list[int]]()
    loop = asyncio.get_running_loop()

    def tick() -> None:
        nonlocal turn
        turn += 1
        clock.now_s += others_s
        ticking[0] = loop.call_soon(tick)

    async def come(number: int) -> None:
        if turnstile.is_full:
            return
        if (place := turnstile.enter()) is not None:
            await place
        through.append(number)
        turns.setdefault(turn, []).append(number)
        since_s = clock.now_s
        clock.now_s += each_s
        turnstile.spent(since_s)

    ticking = [loop.call_soon(tick)]
    await asyncio.gather(*(come(number) for number in range(count)))
    ticking[0].cancel()
    await asyncio.sleep(0)
    return through, turns


@given(st.integers(1, 300), st.floats(1e-6, 1e-2), st.integers(1, 3))
def test_a_slice_of_the_turn_goes_through_in_the_order_in_which_they_came(
    count: int, each_s: float, times: int
) -> None:
    async def check() -> None:
        clock = Clock()
        turnstile = Turnstile(asyncio.get_running_loop(), clock)
        for _ in range(20):  # what a request costs is learned
            await crowd(turnstile, clock, 50, each_s=each_s)
        for _ in range(times):
            through, turns = await crowd(turnstile, clock, count, each_s=each_s)
            assert through == list(range(count))
            assert max(map(len, turns.values())) <= max(1, 1.2 * SLICE_S / each_s)

    asyncio.run(check())


@given(st.floats(1e-5, 1e-3), st.floats(1e-5, 0.1))
def test_of_a_crowd_as_much_is_judged_as_keeps_its_share_of_the_time(each_s: float, others_s: float) -> None:
    async def check() -> None:
        clock = Clock()
        turnstile = Turnstile(asyncio.get_running_loop(), clock)
        for _ in range(20):
            await crowd(turnstile, clock, 50, each_s=each_s, others_s=others_s)
        _, turns = await crowd(turnstile, clock, LINE, each_s=each_s, others_s=others_s)
        sizes = [len(each) for each in turns.values()][
            1:-1
        ]  # the first is of the turn before, the last is what was left
        slice_s = max(SLICE_S, SHARE * others_s)
        assert all(0.8 * slice_s / each_s - 1 <= size <= max(1, 1.2 * slice_s / each_s) for size in sizes)

    asyncio.run(check())


def test_whoever_finds_the_line_full_is_told_at_once_and_all_others_go_through() -> None:
    async def check() -> None:
        clock = Clock()
        turnstile = Turnstile(asyncio.get_running_loop(), clock)
        at_once = round(SLICE_S / FIRST_GUESS_S)
        through, _ = await crowd(turnstile, clock, at_once + LINE + 10, each_s=FIRST_GUESS_S)
        assert through == list(range(at_once + LINE))

    asyncio.run(check())


def test_whoever_leaves_the_line_holds_up_nobody() -> None:
    async def check() -> None:
        turnstile = Turnstile(asyncio.get_running_loop())
        places = [turnstile.enter() for _ in range(40)]
        waiting = [place for place in places if place is not None]
        assert len(waiting) == 40 - round(SLICE_S / FIRST_GUESS_S)
        for place in waiting[::2]:
            place.cancel()
        await asyncio.wait_for(asyncio.gather(*waiting[1::2]), 10)

    asyncio.run(check())


async def post(app: asgi.EventsMiddleware, body: bytes) -> tuple[int, dict[str, str]]:
    """Post to our path as a server would, and return status and header fields."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/zaraz/api",
        "headers": [],
        "scheme": "http",
        "query_string": b"",
    }
    await app(scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """Be a site without pages."""


def site(folder: Path) -> asgi.EventsMiddleware:
    return asgi.EventsMiddleware(nothing, path="/zaraz/api", journal="memory", data_dir=str(folder))


BODY = json.dumps({"events": [{"client": {"a": 1}}]}).encode()


def test_of_a_crowd_that_is_too_large_some_are_refused_and_what_was_taken_is_kept(tmp_path: Path) -> None:
    app = site(tmp_path)
    at_once = round(SLICE_S / FIRST_GUESS_S)

    async def check() -> None:
        answers = await asyncio.gather(*(post(app, BODY) for _ in range(at_once + LINE + 25)))
        refused = [fields for status, fields in answers if status == 503]
        assert len(refused) == 25
        assert all(fields["retry-after"] == "5" for fields in refused)
        assert [status for status, _ in answers].count(200) == at_once + LINE == app.stats()["appended_events"]
        assert (await post(app, BODY))[0] == 200

    asyncio.run(check())
    app.close()


def test_a_site_that_is_used_on_another_loop_keeps_nothing_of_the_first(tmp_path: Path) -> None:
    app = site(tmp_path)

    async def once() -> ref[asyncio.AbstractEventLoop]:
        assert (await post(app, BODY))[0] == 200
        return ref(asyncio.get_running_loop())

    first = asyncio.run(once())
    assert asyncio.run(once()) is not first
    gc.collect()
    assert first() is None
    app.close()
