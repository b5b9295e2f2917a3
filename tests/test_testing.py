"""What eventmw offers to the tests of others."""

from __future__ import annotations

import asyncio
import http.client
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import Client

import eventmw.testing
from eventmw import Drop, Event, EventsMiddleware, HttpReply, HttpRequest, Limits, Send, tool
from eventmw.clock import Clock
from eventmw.delivery.outbound import Outbound
from eventmw.delivery.transport import Transport, TransportError
from eventmw.engine import Flood
from eventmw.event import Device, Page
from eventmw.testing import (
    NOW_MS,
    FrozenClock,
    RecordingTransport,
    Vendor,
    an_event,
    captured,
    deliver,
    effects_of,
    freeze,
    record,
    with_keys,
)
from eventmw.toolkit.templates import Template
from tests.eventbunker import QUERY, track, tracking
from tests.gateways import both

REQUEST = HttpRequest("POST", "https://vendor.example/collect")


@tool("vendor", when="buy")
def vendor(event: Event) -> Send:
    return Send(HttpRequest("POST", "https://vendor.example/collect", body=event.id.encode()))


def sender(real: Vendor) -> object:
    return tool("sender")(lambda event: Send(HttpRequest("POST", f"{real.url}/collect", body=event.name.encode())))


def rubbish(_event: Event) -> Any:
    return "x"


def test_an_event_is_one_with_good_defaults() -> None:
    event = an_event()
    assert (event.name, event.kind, event.properties, event.timestamp_ms) == ("test", "event", {}, NOW_MS)
    assert event.client == {"__zarazTrack": "test"}
    assert an_event("Pageview").kind == "pageview"
    assert an_event("Pageview", kind="ecommerce").kind == "ecommerce"
    with pytest.raises(TypeError):
        an_event(colour="red")


def test_an_events_parts_agree() -> None:
    event = an_event("x", {"a": 1}, device=Device(user_agent="UA"), page=Page(url="https://x"), cookies={"c": "d"})
    template = Template(
        "{{ client.a }} {{ system.device.`user-agent` }} {{ system.page.url }} {{ system.cookies.c }}", "text"
    )
    assert template.render(event) == "1 UA https://x d"
    assert event.properties == {"a": 1}


def test_effects_of_a_tool() -> None:
    assert effects_of(vendor, an_event("other")) == []
    (send,) = effects_of(vendor, an_event("buy"))
    assert isinstance(send, Send)
    assert send.payload == HttpRequest("POST", "https://vendor.example/collect", body=b"test-event")
    with pytest.raises(Flood):
        effects_of(tool("flood")(lambda _: iter([Drop("x")] * 101)), an_event())
    with pytest.raises(
        TypeError, match=r"returned str where effects were expected, .* \(test_testing\.py:\d+ in rubbish\)"
    ):
        effects_of(tool("rubbish")(rubbish), an_event())


@given(st.lists(st.floats(0, 10_000), max_size=5))
def test_a_frozen_clock_moves_when_it_is_told_to(steps: list[float]) -> None:
    clock = FrozenClock()
    port: Clock = clock
    for step in steps:
        clock.advance(step)
    moved_ms = sum(round(step * 1000) for step in steps)
    assert port.now_ms() == NOW_MS + moved_ms
    assert port.stamp_ns() == (NOW_MS + moved_ms) * 1_000_000
    assert port.monotonic_s() == pytest.approx((NOW_MS + moved_ms) / 1000)


def test_a_frozen_clock_repeats_itself() -> None:
    one, two = FrozenClock(5, random=0.25), FrozenClock(5, random=0.25)
    assert [one.new_id(5) for _ in range(3)] == [two.new_id(5) for _ in range(3)]
    assert (one.random(), one.now_ms()) == (0.25, 5)
    with pytest.raises(ValueError, match="forward"):
        one.advance(-1)


def test_a_recording_transport_answers_in_turn() -> None:
    transport = RecordingTransport([500, HttpReply(429, {"retry-after": "1"}), TransportError("gone")])
    port: Transport = transport

    async def four() -> list[int]:
        answers = [(await port.send(REQUEST, timeout_s=1)).status for _ in range(2)]
        with pytest.raises(TransportError, match="gone"):
            await port.send(REQUEST, timeout_s=1)
        answers.append((await port.send(REQUEST, timeout_s=1)).status)
        await port.close()
        return answers

    assert asyncio.run(four()) == [500, 429, 200]
    assert transport.orders == transport.requests == [REQUEST] * 4


def test_a_recording_transport_answers_by_a_function() -> None:
    transport = RecordingTransport(lambda order: 503 if isinstance(order, HttpRequest) else 200)
    assert asyncio.run(transport.send(REQUEST, timeout_s=1)).status == 503


def test_a_whole_site() -> None:
    with both(tools=[vendor]) as pair:
        for site, transport in zip(pair.sites, pair.transports, strict=True):
            site.track("buy", id="order-1")
            site.track("other")
            deliver(site)
            assert [request.body for request in transport.requests] == [b"order-1"]
            assert site.stats()["tools"]["vendor"]["outcomes"] == {"delivered": 1, "filtered": 1}


def test_what_cannot_be_delivered_is_told() -> None:
    with both(tools=[vendor]) as pair:
        site = pair.behind_wsgi
        assert record(site, RecordingTransport(lambda _: 503)).orders == []
        site.track("buy")
        with pytest.raises(TimeoutError, match=r"not everything was delivered within 0\.3 s; .*{'vendor': 1}"):
            deliver(site, timeout_s=0.3)


def test_without_tools_there_is_nothing_to_wait_for() -> None:
    with both(limits=Limits()) as pair:
        pair.behind_asgi.track("x")
        deliver(pair.behind_asgi, timeout_s=0)


def test_freezing_and_recording_take_their_own() -> None:
    with both() as pair:
        clock, transport = FrozenClock(5), RecordingTransport()
        assert freeze(pair.behind_wsgi, clock) is clock
        assert record(pair.behind_wsgi, transport) is transport
        assert pair.behind_wsgi.track("x").recorded_ms == 5


def test_recording_works_after_the_first_delivery() -> None:
    """Nothing goes to the vendor from then on, and a second transport takes the first one's place."""
    with eventmw.testing.Vendor() as real, both(tools=[sender(real)]) as pair:
        for site in pair.sites:
            site.runtime.refit(transport=Outbound)
            site.track("real")
            deliver(site)
            reached = len(real.arrivals)
            for number in range(3):
                transport = record(site)
                site.track(f"recorded {number}")
                deliver(site)
                assert [request.body for request in transport.requests] == [f"recorded {number}".encode()]
            assert len(real.arrivals) == reached


def test_what_waits_goes_to_the_transport_that_comes_later() -> None:
    with both(tools=[vendor]) as pair:
        site = pair.behind_wsgi
        record(site, RecordingTransport(lambda _: 503))
        clock = freeze(site)
        site.track("buy", id="waits")
        with pytest.raises(TimeoutError):
            deliver(site, timeout_s=0.3)
        transport = record(site)
        clock.advance(3600)
        deliver(site)
        assert [request.body for request in transport.requests] == [b"waits"]


def test_freezing_works_after_the_first_event() -> None:
    with both() as pair:
        for site in pair.sites:
            site.track("real")
            clock = freeze(site, FrozenClock(7))
            assert site.track("x").recorded_ms == 7
            clock.advance(1)
            assert site.track("x").recorded_ms == 1007


def test_a_frozen_clock_is_that_of_the_calls_as_well() -> None:
    pair = tracking()
    with pair:
        site = pair.behind_wsgi
        site.track("begin")
        freeze(site, FrozenClock(NOW_MS))
        question = {"time_period": "minus_5_minutes", "computations": [{"field_name": "*", "function": "count"}]}
        client = Client(site)
        asked = client.post("/eb/v1/query/json", json=question, headers={"x-eventbunker-query-key": QUERY})
        assert asked.json is not None
        assert asked.json["time_period"]["from"].startswith("2021-06-28T20:0")


def test_keys_may_be_given_at_any_time() -> None:
    pair = tracking()
    with pair:
        assert track(pair, {"event_name": "x"}).status == 200
        for site in pair.sites:
            with_keys(site, {})
        assert track(pair, {"event_name": "x"}).status == 401


def test_what_would_have_no_effect_raises(tmp_path: Path) -> None:
    with both(tools=[vendor]) as pair:
        site = pair.behind_wsgi
        with pytest.raises(RuntimeError, match="no eventbunker_path"):
            with_keys(site, {})
        site.close()
        for late in (record, freeze, deliver):
            with pytest.raises(RuntimeError, match="this site is closed"):
                late(site)
    pair = tracking()
    with pair:
        pair.behind_wsgi.close()
        with pytest.raises(RuntimeError, match="this site is closed"):
            with_keys(pair.behind_wsgi, {})


def test_recording_beside_a_site_that_delivers_raises(tmp_path: Path) -> None:
    """Two sites on one folder: the one that holds the lease sends what both take in."""
    options: Any = {"path": "/x", "tools": [vendor], "journal": "file", "data_dir": str(tmp_path / "shared")}
    one, other = (EventsMiddleware(lambda _environ, _start: [], **options) for _ in range(2))
    try:
        transport = record(one)
        one.track("buy", id="first")
        deliver(one)
        with pytest.raises(RuntimeError, match="another process or site delivers the events in"):
            record(other)
        other.track("buy", id="second")
        one.runtime.courier.wake()
        deliver(one)
        assert {request.body for request in transport.requests} >= {b"first"}
        assert record(one) is not transport
    finally:
        one.close()
        other.close()


def test_a_site_without_a_courier_delivers_when_told() -> None:
    """``courier="off"`` leaves it to a worker; in a test there is none."""
    site = EventsMiddleware(lambda _environ, _start: [], path="/x", tools=[vendor], journal="file", courier="off")
    try:
        transport = record(site)
        site.track("buy")
        deliver(site)
        assert len(transport.requests) == 1
    finally:
        site.close()


def test_a_captured_site_has_a_clock_and_vendors_already() -> None:
    with captured() as events:
        site = EventsMiddleware(lambda _environ, _start: [], path="/x", tools=[vendor])
        assert freeze(site, events.clock) is events.clock
        with pytest.raises(RuntimeError, match=r"events\.clock"):
            freeze(site)
        with pytest.raises(RuntimeError, match=r"events.requests\(\)"):
            record(site)
        site.track("buy")
        deliver(site)
        assert len(events.requests("vendor")) == 1


def test_a_vendor_is_a_real_server() -> None:
    with eventmw.testing.Vendor([503, 200]) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        statuses = []
        for _ in range(2):
            connection.request("POST", "/x", b"body")
            reply = connection.getresponse()
            reply.read()
            statuses.append(reply.status)
        connection.close()
    assert statuses == [503, 200]
    assert [arrival.body for arrival in server.arrivals] == [b"body"] * 2


def test_every_public_name_is_there_and_documented() -> None:
    for name in eventmw.testing.__all__:
        assert name == "NOW_MS" or getattr(eventmw.testing, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = eventmw.testing.nothing
