"""What the demo sends, and what it promises of every event: the one place where both are written down.

Layer: pure.
Source: the payloads of Cloudflare's page «HTTP Events API» and of EventBunker's page «Using Track Event API», whose printed
JSON lacks a comma and two closing braces.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

FAILED: Final = "refund issued"
LOST: Final = "plan upgraded"
"""The two events that go to a troubled side of the vendor as well."""

Fate = Literal["delivered", "duplicate", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What is promised of one event, or of a request that holds none. It becomes one row of the table.

    Attributes:
        event: the event as the row names it.
        fate: how it ends.
        code: the code of the refusal.
        words: how the row says it; "" for a refusal, which speaks for itself.
        vendor: which side of the vendor is looked at.
        arrivals: how many requests bring the event there, repeats included.
    """

    event: str
    fate: Fate
    code: str = ""
    words: str = ""
    vendor: str = "steady"
    arrivals: int = 0


Api = Literal["events", "track"]
"""The two APIs of every site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request, and one promise for each event in it: ``len(promises)`` events, or 1 when it holds none.

    Attributes:
        title: what is shown by it.
        api: to which API it goes.
        body: the bytes that are posted.
        status: the promised HTTP status.
        promises: in the order of the events.
        method: the HTTP method.
    """

    title: str
    body: bytes
    status: int = 200
    promises: Sequence[Promise]
    method: str = "POST"
    api: Api = "events"


SIMPLE: Final = {"client": {"__zarazTrack": "transaction successful", "value": "200"}}
SYSTEM: Final = {
    "page": {"url": "https://example.com", "title": "My website"},
    "device": {"language": "en-US", "ip": "192.168.0.1"},
}
# As the page prints it, but for the brace that ends it: behind the array a comma is missing.
PRINTED: Final = b"""{
"event_name": "my_first_event_name",
"timestamp": "2021-06-26T14:48:00.000",
"customer_identifier": "your_app_customer_id",
"example_string_field": "",
"example_number_field": 123,
"example_array_field": ["cat", "dog"]
"example_bool_field": true
}"""
TRACK: Final = PRINTED.replace(b'"dog"]', b'"dog"],')


def story() -> Sequence[Step]:
    """Return the requests that are sent to each site, in order."""
    return (*_seeds(), *_batch(), *_repeats(), *_troubled(), *_no_events())


def _seeds() -> Sequence[Step]:
    simple, full = {"events": [SIMPLE]}, {"events": [{**SIMPLE, "system": SYSTEM}]}
    return (
        Step(title="Zaraz's example payload", body=_json(simple), promises=[_delivered("transaction successful")]),
        Step(title="The same with page and device", body=_json(full), promises=[_delivered("transaction successful")]),
        Step(
            title="EventBunker's example payload, to the track API",
            api="track",
            body=PRINTED,
            status=400,
            promises=[_refused("as it is printed", "invalid_json")],
        ),
        Step(title="", api="track", body=TRACK, promises=[_delivered("with its comma")]),
    )


def _batch() -> Sequence[Step]:
    events = [
        {"client": {"__zarazTrack": "sign up"}},
        {"clinet": {"__zarazTrack": "mistyped"}},
        {"client": {"__zarazTrack": {"name": "order"}}},
        {"client": {"__zarazTrack": "order paid", "__zarazEcommerce": True, "total": 12.5}},
    ]
    promises = [
        _delivered("sign up"),
        _refused("no client", "required"),
        _refused("an object as its name", "type"),
        _delivered("order paid"),
    ]
    return [Step(title="A batch: two good events, two bad ones", body=_json({"events": events}), promises=promises)]


def _repeats() -> Sequence[Step]:
    body = _json({"events": [{"client": {"__zarazTrack": "order placed"}, "eventmw": {"id": "order-1001"}}]})
    repeated = Promise(event="order-1001, again", fate="duplicate", words="a duplicate: not sent again")
    return (
        Step(title="One event sent twice with the same id", body=body, promises=[_delivered("order-1001")]),
        Step(title="", body=body, promises=[repeated]),
    )


def _troubled() -> Sequence[Step]:
    failed = Promise(
        event=FAILED,
        fate="delivered",
        vendor="failing",
        arrivals=3,
        words="delivered at the 3rd try",
    )
    lost = Promise(
        event=LOST,
        fate="delivered",
        vendor="forgetful",
        arrivals=2,
        words="came twice, counts once by its id",
    )
    return (
        Step(title="A vendor that fails twice (500)", body=_named(FAILED), promises=[failed]),
        Step(title="A vendor that takes it and breaks off", body=_named(LOST), promises=[lost]),
    )


def _no_events() -> Sequence[Step]:
    return (
        Step(
            title="Requests that hold no event",
            body=b'{"events": [{"client": ',
            status=400,
            promises=[_refused("broken JSON", "invalid_json")],
        ),
        Step(title="", body=b'{"events": []}', status=400, promises=[_refused("an empty batch", "invalid_envelope")]),
        Step(
            title="",
            body=b"",
            method="GET",
            status=405,
            promises=[_refused("GET, not POST", "method_not_allowed")],
        ),
    )


def _delivered(event: str) -> Promise:
    return Promise(event=event, fate="delivered", words="delivered", arrivals=1)


def _refused(event: str, code: str) -> Promise:
    return Promise(event=event, fate="refused", code=code)


def _named(name: str) -> bytes:
    return _json({"events": [{"client": {"__zarazTrack": name}}]})


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
