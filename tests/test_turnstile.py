"""The turnstile: a few in a turn, in order, and an end of the line; and a site on ASGI behind it."""

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
from eventmw.turnstile import EACH_TURN, LINE, Turnstile


async def crowd(turnstile: Turnstile, count: int) -> tuple[list[int], dict[int, int]]:
    """Have so many come at once; return who went through, in order, and in which turn of the loop each did."""
    turn, through, turns = 0, list[int](), dict[int, int]()
    loop = asyncio.get_running_loop()

    def tick() -> None:
        nonlocal turn
        turn += 1
        ticking[0] = loop.call_soon(tick)

    async def come(number: int) -> None:
        if await turnstile.enter():
            through.append(number)
            turns[number] = turn

    ticking = [loop.call_soon(tick)]
    await asyncio.gather(*(come(number) for number in range(count)))
    ticking[0].cancel()
    return through, turns


@given(st.integers(1, 60), st.integers(1, 3))
def test_a_few_go_through_in_a_turn_in_the_order_in_which_they_came(count: int, times: int) -> None:
    async def check() -> None:
        turnstile = Turnstile()
        for _ in range(times):
            through, turns = await crowd(turnstile, count)
            assert through == list(range(count))
            in_turn = [list(turns.values()).count(turn) for turn in set(turns.values())]
            assert max(in_turn) <= EACH_TURN
            await asyncio.sleep(0)

    asyncio.run(check())


def test_whoever_finds_the_line_full_is_told_at_once_and_all_others_go_through() -> None:
    through, _ = asyncio.run(crowd(Turnstile(), EACH_TURN + LINE + 10))
    assert through == list(range(EACH_TURN + LINE))


def test_whoever_leaves_the_line_holds_up_nobody() -> None:
    async def check() -> None:
        turnstile = Turnstile()
        tasks = [asyncio.ensure_future(turnstile.enter()) for _ in range(4 * EACH_TURN)]
        await asyncio.sleep(0)
        for task in tasks[EACH_TURN : 3 * EACH_TURN]:
            task.cancel()
        entered = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert [one is True for one in entered] == [not EACH_TURN <= at < 3 * EACH_TURN for at in range(len(entered))]

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

    async def check() -> None:
        answers = await asyncio.gather(*(post(app, BODY) for _ in range(EACH_TURN + LINE + 25)))
        refused = [fields for status, fields in answers if status == 503]
        assert len(refused) == 25
        assert all(fields["retry-after"] == "5" for fields in refused)
        assert [status for status, _ in answers].count(200) == EACH_TURN + LINE == app.stats()["appended_events"]
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
