"""Batches that wait for company (`Delivery.linger_s`), and events that a consumer wants later (`RetryAfter`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw import ConfigError, Delivery, EventsMiddleware, RetryAfter
from eventmw.contract import bind
from eventmw.delivery.batches import asked_of
from eventmw.delivery.line import Fill
from eventmw.effects import Packed, Send, later
from eventmw.errors import Misuse
from eventmw.http import HttpRequest
from eventmw.retry import MAX_RETRY_AFTER_S
from eventmw.testing import deliver, freeze, record
from eventmw.tools import Webhook
from tests.delivering import NOW_MS, Batching, append, payloads
from tests.test_lane import Site

RULES = Delivery(window=8, first_backoff_s=1.0, give_up_s=3600.0, linger_s=10.0)


def site_of(**rules: Any) -> Site:
    return Site(Batching(delivery=replace(RULES, **rules)))


def departed(site: Site) -> list[list[str]]:
    return [payloads(batch.order) for batch in site.turn()]


def land_all(site: Site) -> None:
    for batch in set(site.lane.queue.flying):
        site.land(batch)


def at(site: Site) -> int:
    return site.clock.now_ms()


def test_events_wait_for_more_until_the_oldest_is_as_old_as_it_may_be() -> None:
    site = site_of()
    append(site.journal, ["a"], at(site))
    assert departed(site) == []
    assert site.lane.wait_s() == 10.0
    site.clock.passed_s += 4
    append(site.journal, ["b"], at(site))
    assert departed(site) == []
    assert site.lane.wait_s() == 6.0
    assert not site.lane.is_idle(), "whoever drains waits for it"
    site.clock.passed_s += 6
    assert departed(site) == [["a", "b"]]


def test_a_full_request_goes_at_once_and_the_rest_waits() -> None:
    site = site_of()
    append(site.journal, ["a", "b"], at(site))
    assert departed(site) == []
    append(site.journal, ["c", "d", "e", "f", "g"], at(site))
    assert departed(site) == [["a", "b", "c"], ["d", "e", "f"]]
    site.clock.passed_s += 10
    assert departed(site) == [["g"]]


def test_as_much_as_is_read_ahead_goes_at_once() -> None:
    site = Site(Batching(per_request=100, delivery=replace(RULES, max_batch_items=4)))
    append(site.journal, ["a", "b", "c"], at(site))
    assert departed(site) == []
    append(site.journal, ["d", "e"], at(site))
    assert departed(site) == [["a", "b", "c", "d"]]


def test_old_events_do_not_wait_so_that_a_restart_and_a_backlog_are_not_slowed() -> None:
    site = site_of()
    append(site.journal, ["a"], at(site) - 60_000)
    assert departed(site) == [["a"]]
    append(site.journal, ["b"], at(site) - 4_000)
    assert departed(site) == []
    assert site.lane.wait_s() == 6.0, "what is left of the time"
    site.crash()
    assert departed(site) == [["a", "b"]], "the first was in flight, and the other goes with it"


def test_a_clock_that_went_back_makes_nobody_wait_longer() -> None:
    site = site_of()
    append(site.journal, ["a"], at(site) + 3_600_000)
    assert departed(site) == []
    assert site.lane.wait_s() == 10.0


def test_whoever_is_in_haste_waits_for_nothing() -> None:
    site = site_of()
    append(site.journal, ["a"], at(site))
    assert departed(site) == []
    site.lane.queue.hurry(on=True)
    assert departed(site) == [["a"]]
    site.lane.queue.hurry(on=False)
    append(site.journal, ["b"], at(site))
    assert departed(site) == []


def test_where_order_counts_what_came_before_a_full_request_goes_with_it() -> None:
    site = site_of(order_key=lambda _event: "one")
    append(site.journal, ["a", "b", "c", "d"], at(site))
    assert departed(site) == [["a", "b", "c"]]
    (batch,) = site.lane.queue.flying
    site.land(batch)
    assert departed(site) == [["d"]]


def test_the_window_and_the_rate_hold_as_ever() -> None:
    site = site_of(window=1, rate_per_s=1.0)
    append(site.journal, ["a", "b", "c", "d", "e", "f"], at(site))
    assert departed(site) == [["a", "b", "c"]]
    land_all(site)
    assert departed(site) == [], "the rate"
    site.clock.passed_s += 1
    assert departed(site) == [["d", "e", "f"]]


def test_what_failed_is_tried_again_without_waiting() -> None:
    site = site_of()
    append(site.journal, ["a", "b", "c"], at(site))
    (batch,) = site.turn()
    site.land(batch, 503)
    site.clock.passed_s += 1
    assert departed(site) == [["a", "b", "c"]]


@dataclass(frozen=True, slots=True)
class ByPerson(Batching):
    """Packs the events of each person apart, as GA4 does: an event's name is the person's."""

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
        people: dict[str, list[Send]] = {}
        for send in items:
            people.setdefault(send.payload.partition("-")[0], []).append(send)
        for some in people.values():
            yield from Batching.pack(self, some)


def test_requests_of_other_people_wait_while_a_full_one_goes() -> None:
    site = Site(ByPerson(delivery=RULES))
    append(site.journal, ["x-1", "y-1", "x-2", "z-1", "x-3"], at(site))
    assert departed(site) == [["x-1", "x-2", "x-3"]]
    site.clock.passed_s += 10
    assert departed(site) == [["y-1"], ["z-1"]]


def test_a_tool_without_a_pack_never_waits() -> None:
    app = EventsMiddleware(
        lambda _environ, _start: [],
        tools=[Webhook("https://v.example/", batch=1, delivery=Delivery(linger_s=600))],
    )
    transport = record(app)
    app.track("a")
    app.track("b")
    deliver(app)
    assert [len(json.loads(request.body)["events"]) for request in transport.requests] == [1, 1]
    app.close(0)


class Limited:
    """Packs so many bytes into a request."""

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, 0

    def handle(self, event: Any) -> Any: ...

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
        self.asked += len(items)
        some: list[Send] = []
        for item in items:
            if some and sum(len(one.payload) for one in [*some, item]) > self.most:
                yield Packed(HttpRequest("POST", "https://v.example/"), some)
                some = []
            some.append(item)
        if some:
            yield Packed(HttpRequest("POST", "https://v.example/"), some)


@given(st.lists(st.integers(1, 30), max_size=60))
def test_only_what_fills_a_request_is_called_full(sizes: list[int]) -> None:
    tool = Limited(40)
    fill = Fill(bind(tool))
    sends: list[Send] = []
    for size in sizes:
        sends.append(Send("x" * size))
        full = fill.full(sends)
        for part in tool.pack(full):
            total = sum(len(send.payload) for send in part.items)
            assert total + len(part.items[-1].payload) > 40 or part.items[-1] is not sends[-1]
        sends = [send for send in sends if not any(send is one for one in full)]


def test_looking_for_full_requests_costs_a_few_times_as_much_as_packing() -> None:
    tool = Limited(100)
    fill, sends = Fill(bind(tool)), []
    for _ in range(1000):
        sends.append(Send("x"))
        if fill.full(sends):
            sends = []
    assert sends == []
    assert tool.asked < 500 + 1000 * 6


@pytest.mark.parametrize("broken", [ValueError(), SystemExit()])
def test_a_pack_that_fails_is_told_when_it_packs_in_earnest(broken: BaseException) -> None:
    class Broken(Limited):
        def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
            raise broken

    assert not Fill(bind(Broken(1))).full([Send("a")])


@pytest.mark.parametrize("linger_s", [-1, float("nan"), float("inf"), "5", None, True, False, 3600.0])
def test_what_is_no_time_to_wait_is_refused(linger_s: Any) -> None:
    with pytest.raises(ConfigError, match="linger_s"):
        Delivery(linger_s=linger_s, give_up_s=3600.0)


def test_a_site_waits_and_draining_testing_and_closing_do_not() -> None:
    tool = Webhook("https://v.example/", delivery=Delivery(linger_s=600))
    app = EventsMiddleware(lambda _environ, _start: [], tools=[tool])
    clock, transport = freeze(app), record(app)

    def counts() -> list[int]:
        return [len(json.loads(request.body)["events"]) for request in transport.requests]

    app.track("a")
    app.track("b")
    deliver(app)
    assert counts() == [2]
    app.track("c")
    assert app.stats()["tools"]["webhook"]["backlog_events"] == 1
    clock.advance(1)
    assert app.close(10)
    assert counts() == [2, 1]


# A consumer that asks for an event later.


def judged(site: Site, error: BaseException, which: int = 0) -> None:
    """Land one request as the driver does when a consumer raised this."""
    batch = sorted(site.lane.queue.flying, key=lambda one: payloads(one.order))[which]
    verdict = asked_of(error)
    assert verdict is not None
    site.lane.queue.judged(batch, [verdict] * len(batch.sends), site.lane.moment())
    site.settle()


def single(**rules: Any) -> Site:
    return Site(Batching(per_request=1, delivery=replace(RULES, linger_s=0.0, **rules)))


@pytest.mark.parametrize("seconds", [30, 30.0, timedelta(seconds=30)])
def test_the_event_alone_is_set_aside_for_its_time_and_others_go_on(seconds: Any) -> None:
    site = single()
    append(site.journal, ["a"])
    assert departed(site) == [["a"]]
    judged(site, RetryAfter(seconds, "quota"))
    state = site.lane.state()
    assert (state.phase, state.last_failure, state.last_failure_ms) == ("flowing", "quota", NOW_MS)
    append(site.journal, ["b"])
    assert departed(site) == [["b"]]
    land_all(site)
    site.clock.passed_s += 29.9
    assert departed(site) == []
    site.clock.passed_s += 0.1
    assert departed(site) == [["a"]]
    judged(site, RetryAfter(1))
    site.clock.passed_s += 1
    assert departed(site) == [["a"]], "its own time again, however often it was tried"


def test_in_an_ordered_consumer_the_event_keeps_its_place() -> None:
    site = single(ordered=True)
    append(site.journal, ["a", "b"])
    assert departed(site) == [["a"]]
    judged(site, RetryAfter(30, "quota"))
    assert site.lane.state().phase == "standing"
    assert departed(site) == []
    site.clock.passed_s += 30
    assert departed(site) == [["a"]]
    land_all(site)
    assert departed(site) == [["b"]]


@pytest.mark.parametrize(("asked_s", "waits_s"), [(0, 0.1), (10**9, MAX_RETRY_AFTER_S)])
def test_the_time_has_bounds(asked_s: float, waits_s: float) -> None:
    site = single(give_up_s=1e6)
    append(site.journal, ["a"])
    site.turn()
    judged(site, RetryAfter(asked_s))
    assert site.lane.wait_s() == pytest.approx(waits_s)


def test_an_event_that_is_too_old_is_not_put_off_again() -> None:
    site = single()
    append(site.journal, ["a"])
    site.turn()
    site.clock.passed_s += 3601
    judged(site, RetryAfter(30, "quota"))
    assert site.ended() == {"a": "expired"}


@pytest.mark.parametrize("seconds", [-1, "60", None, float("nan"), float("inf"), True])
def test_what_is_no_time_is_explained(seconds: Any) -> None:
    with pytest.raises(Misuse, match="RetryAfter"):
        RetryAfter(seconds)


def test_a_verdict_may_ask_for_it_too() -> None:
    site = single()
    append(site.journal, ["a", "b"])
    site.turn()
    for batch in sorted(site.lane.queue.flying, key=lambda one: payloads(one.order)):
        site.lane.queue.judged(batch, [later("busy", 5)], site.lane.moment())
    site.settle()
    assert site.lane.state().phase == "flowing"
    assert site.lane.wait_s() == 5.0


def consuming(function: Callable[[Any], Any]) -> tuple[EventsMiddleware, list[Any]]:
    from eventmw import consumer

    outcomes: list[Any] = []
    app = EventsMiddleware(
        lambda _environ, _start: [], consumers=[consumer("crm")(function)], on_outcome=outcomes.append
    )
    return app, outcomes


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_consumer_gets_the_event_again(kind: str) -> None:
    calls: list[str] = []

    def does(event: Any) -> None:
        calls.append(event.name)
        if calls == ["a"]:
            raise RetryAfter(0.1, "not yet")

    async def awaited(event: Any) -> None:
        does(event)

    app, outcomes = consuming(awaited if kind == "async" else does)
    app.track("a")
    deliver(app)
    app.track("b")
    deliver(app)
    while len(outcomes) < 2:
        deliver(app)
    assert sorted(calls) == ["a", "a", "b"]
    assert [outcome.kind for outcome in outcomes] == ["delivered"] * 2
    app.close(0)
