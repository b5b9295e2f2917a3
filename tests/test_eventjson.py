"""The shape of an event for the outside."""

from __future__ import annotations

from eventmw.event import Device, Event, Page
from eventmw.toolkit.eventjson import as_json


def test_the_whole_shape() -> None:
    event = Event(
        id="e1", name="transaction successful", kind="event", properties={"value": "200"}, user_id="u",
        timestamp_ms=1624910874832, recorded_ms=1624910874999, cookies={"sid": "secret"},
        device=Device(ip="192.168.0.1", language="en-US"), page=Page(url="https://example.com", title="My website"),
    )  # fmt: skip
    shape = {
        "id": "e1",
        "name": "transaction successful",
        "kind": "event",
        "timestamp": "2021-06-28T20:07:54.832Z",
        "recorded": "2021-06-28T20:07:54.999Z",
        "user_id": "u",
        "properties": {"value": "200"},
        "device": {"ip": "192.168.0.1", "language": "en-US"},
        "page": {"url": "https://example.com", "title": "My website"},
        "dialect": "zaraz",
    }
    assert as_json(event) == shape
    assert as_json(event, cookies=True) == shape | {"cookies": {"sid": "secret"}}


def test_the_keys_are_always_there() -> None:
    bare = as_json(Event(id="e", name="", timestamp_ms=0, recorded_ms=0))
    assert bare["user_id"] is None
    assert bare["device"] == bare["page"] == {}


def test_what_this_server_does_not_know_is_handed_on() -> None:
    """PROTOCOLS.md 2.1: unknown keys are kept and handed on in the event's JSON."""
    event = Event(
        id="e", name="x", timestamp_ms=0, recorded_ms=0, device=Device(user_agent="Mozilla/5.0"),
        system={"cookies": {}, "device": {"user-agent": "Mozilla/5.0", "model": "M"}, "page": {"path": "/a"}, "consent": {"a": True}},
        extra={"context": [1]},
    )  # fmt: skip
    body = as_json(event)
    assert (body["device"], body["page"]) == ({"model": "M", "user_agent": "Mozilla/5.0"}, {"path": "/a"})
    assert (body["system"], body["extra"]) == ({"consent": {"a": True}}, {"context": [1]})
    assert list(as_json(event, cookies=True))[-1] == "cookies"
