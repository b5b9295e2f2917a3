"""`track` and `atrack`: the site's own code, through the same pipeline as any sender."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given

from eventmw import Drop, Limits, Receipt, tool
from eventmw.errors import InvalidEvent, JournalDown, JournalFull
from eventmw.event import Event
from eventmw.testing import NOW_MS, deliver
from tests import strategies as own
from tests.gateways import Pair, both


def tracked(pair: Pair, *args: Any, **options: Any) -> list[Receipt]:
    """Return the receipts of `track` and `atrack` of both gateways."""
    one, two = pair.sites
    plain = [site.track(*args, **options) for site in pair.sites]
    return [*plain, *(asyncio.run(site.atrack(*args, **options)) for site in (one, two))]


def got(*args: Any, **options: Any) -> Event:
    """Return the event that a tool gets of a tracked one."""
    kept: list[Event] = []

    @tool("keeper")
    def keeper(event: Event) -> Drop:
        kept.append(event)
        return Drop("kept")

    with both(tools=[keeper]) as pair:
        tracked(pair, *args, **options)
        for site in pair.sites:
            deliver(site)
    assert kept
    first = kept[0]
    assert all(
        (event.name, event.properties, event.timestamp_ms) == (first.name, first.properties, first.timestamp_ms)
        for event in kept
    )
    return first


def test_a_receipt_says_what_has_been_kept() -> None:
    with both() as pair:
        receipts = tracked(pair, "purchase", {"value": 12})
    assert receipts[0] == receipts[1]
    assert receipts[2] == receipts[3]
    assert receipts[0] == Receipt(
        id="017a543c48d070008000000000000001",
        event_id="017a543c48d070008000000000000001-0",
        recorded_ms=NOW_MS,
        durability="memory",
    )
    assert receipts[2].id != receipts[0].id


def test_everything_that_can_be_said_of_an_event() -> None:
    event = got(
        "purchase",
        {"value": 12, "tags": ["a"]},
        ecommerce=True,
        system={"device": {"ip": "192.0.2.1"}, "cookies": {"a": "b"}},
        id="order-1",
        timestamp="2020-09-13T12:26:40Z",
    )
    assert (event.id, event.name, event.kind) == ("order-1", "purchase", "ecommerce")
    assert (event.properties, event.timestamp_ms) == ({"value": 12, "tags": ["a"]}, 1_600_000_000_000)
    assert (event.device.ip, event.cookies) == ("192.0.2.1", {"a": "b"})


@pytest.mark.parametrize(
    "when",
    [
        1_600_000_000_000,
        "2020-09-13T12:26:40",
        datetime(2020, 9, 13, 12, 26, 40),
        datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC),
        datetime(2020, 9, 13, 14, 26, 40, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_times(when: Any) -> None:
    assert got("x", timestamp=when).timestamp_ms == 1_600_000_000_000


@given(own.PROPERTIES)
def test_any_json_property_arrives(properties: dict[str, Any]) -> None:
    with both() as pair:
        site = pair.behind_wsgi
        site.track("x", properties)
        (entry,) = site.runtime.journal.scan()
        (event,) = site.runtime.engine.events(entry.record)
    assert isinstance(event, Event)
    assert event.properties == properties


def test_an_events_properties_can_be_sent_on() -> None:
    assert got("x", MappingProxyType({"a": MappingProxyType({"b": 1})})).properties == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        (({},), {}, "/events/0/client/__zarazTrack: expected text, got an object"),
        (("x",), {"id": [1]}, "/events/0/eventmw/id: expected text of at most 128 characters"),
        (("x",), {"id": "x" * 129}, "got 129 characters"),
        (("x",), {"timestamp": "noon"}, "expected a time such as"),
        (("x",), {"timestamp": -1}, "expected a time such as"),
        (("x", {"a": object()}), {}, "must be JSON values"),
        (("x", {"a": float("nan")}), {}, "must be JSON values"),
        (("x", {"a": "\ud800"}), {}, "must be JSON values"),
        (("x", {"a": 10**4000}), {}, "integers of at most 4,000 digits"),
    ],
)
def test_an_invalid_event_raises_and_keeps_nothing(args: Any, options: Any, words: str) -> None:
    with both() as pair:
        for site in pair.sites:
            with pytest.raises(InvalidEvent, match=words):
                site.track(*args, **options)
            with pytest.raises(InvalidEvent, match=words):
                asyncio.run(site.atrack(*args, **options))
            assert site.stats()["appended_records"] == 0


def test_warnings_are_sentences() -> None:
    with both() as pair:
        receipts = tracked(pair, "", system={"device": {"ip": "nowhere"}})
    assert all(
        receipt.warnings
        == (
            "/events/0/client/__zarazTrack: expected a name that is not empty, got an empty one",
            "/events/0/system/device/ip: expected an IPv4 or IPv6 address, got other text",
        )
        for receipt in receipts
    )


def test_no_room_and_no_journal() -> None:
    with both(limits=Limits(journal_bytes=10)) as pair:
        for site in pair.sites:
            with pytest.raises(JournalFull):
                site.track("x")
            site.close(0)
            with pytest.raises(JournalDown):
                asyncio.run(site.atrack("x"))


def test_closing_delivers_what_is_there_and_takes_no_more() -> None:
    with both(tools=[tool("drops")(lambda _: Drop("x"))]) as pair:
        for site in pair.sites:
            site.track("x")
            deliver(site)
            assert site.close(5) is True
            assert site.stats()["tools"]["drops"]["outcomes"] == {"dropped": 1}


def test_stats_are_json() -> None:
    with both() as pair:
        for site in pair.sites:
            site.track("x")
            stats = json.loads(json.dumps(site.stats()))
            assert (stats["records"], stats["events"], stats["durability"]) == (1, 1, "memory")
