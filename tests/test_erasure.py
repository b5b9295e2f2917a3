"""A person is taken out of a record; everything else stays where it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eventmw import record as records
from eventmw.assembly import assembled
from eventmw.config import Config
from eventmw.erasure import MARKER, Person, erase, events_of, rewrite
from eventmw.errors import Refused
from eventmw.event import Record
from eventmw.intake.door import ANONYMOUS, Visit
from eventmw.protocols.eventbunker import Context, Reader
from eventmw.protocols.eventbunker.accept import is_valid
from eventmw.protocols.eventbunker.events import MARKER as TRACKED_MARKER
from eventmw.protocols.eventbunker.events import body_of, taken_apart
from eventmw.protocols.zaraz.events import raw_events
from tests import strategies as own
from tests.test_eventbunker_accept import GOOD

ANN = Person(("user_id", "email", "system.cookies.uid"), "ann")
FIELDS = st.sampled_from(["user_id", "email", "system.cookies.uid", "other"])


def with_person(event: dict[str, Any], field: str, value: str) -> dict[str, Any]:
    if field.startswith("system."):
        system = event.get("system", {})
        return {**event, "system": {**system, "cookies": {**system.get("cookies", {}), "uid": value}}}
    return {**event, "client": {**event["client"], field: value}}


EVENTS = st.builds(with_person, own.GOOD_EVENTS, FIELDS, st.sampled_from(["ann", "Ann", "bob", ""]))


def test_the_ids_of_the_other_events_stay_when_they_are_of_an_idempotency_key() -> None:
    """An event whose id is not the same any more would be delivered twice."""
    raws = [b'{"event_name":"x","user_id":"ann"}', b'{"event_name":"y"}']
    context = Context(None, "192.0.2.1", ids=["i" * 32, "", "j" * 32])
    before = Record("0" * 32, 5, "eventbunker", "p/k", None, (0, 2), body_of(context, raws))
    after = erase(records.encode(before), ANN)
    assert after is not None
    left, _ = taken_apart(records.decode(after).body)
    assert left == Context(ids=["", "", "j" * 32])
    assert [getattr(event, "id", None) for event in Reader().events(records.decode(after))] == [None, "j" * 32]


def recorded(body: bytes, client_ip: str | None = None) -> bytes:
    written = Record(
        id="0" * 32, recorded_ms=5, dialect="zaraz", credential="shop", client_ip=client_ip, indexes=(3,), body=body
    )
    return records.encode(written)


def is_anns(event: Any) -> bool:
    return "ann" in (
        event["client"].get("user_id"),
        event["client"].get("email"),
        event.get("system", {}).get("cookies", {}).get("uid"),
    )


@given(st.lists(EVENTS, min_size=1, max_size=4), st.none() | own.ADDRESSES, st.sampled_from([None, 2]))
def test_the_persons_events_go_and_the_others_stay(
    events: list[dict[str, Any]], client_ip: str | None, indent: int | None
) -> None:
    body = json.dumps({"events": events}, indent=indent).encode()
    before = recorded(body, client_ip)
    after = erase(before, ANN)
    anns = [is_anns(event) for event in events]
    assert events_of(before, ANN) == sum(anns)
    if after is None:
        assert not any(anns)
        return
    assert any(anns)
    assert len(after) == len(before)
    decoded = records.decode(after)
    raws = [bytes(raw) for raw in raw_events(decoded.body)]
    olds = [bytes(raw) for raw in raw_events(body)]
    assert raws == [MARKER if gone else old for gone, old in zip(anns, olds, strict=True)]
    assert not decoded.client_ip
    assert (decoded.id, decoded.credential, decoded.indexes) == ("0" * 32, "shop", (3,))
    assert erase(after, ANN) is None, "a second time there is nothing left"


TRACKED = st.builds(
    lambda event, field, value: {**event, field: value} if field else event,
    GOOD,
    st.sampled_from(["customer_identifier", "user_id", "email", "other", ""]),
    st.sampled_from(["ann", "Ann", "bob", ""]),
)
CONTEXTS = st.builds(
    Context,
    st.sampled_from([None, None, "ann", "bob"]),
    st.just("198.51.100.7"),
    st.just("curl/8.5.0"),
    st.just("https://shop.example/?utm_source=x"),
    st.just({"country": "DE"}),
)
ANY_ANN = Person(("customer_identifier", "user_id", "email"), "ann")


@given(st.lists(TRACKED, min_size=1, max_size=4), CONTEXTS)
def test_a_persons_tracked_events_go_and_with_them_what_was_recorded_of_the_sender(
    events: list[dict[str, Any]], context: Context
) -> None:
    raws = [json.dumps(event).encode() for event in events]
    written = Record("0" * 32, 5, "eventbunker", "p1/k1", None, None, body_of(context, raws))
    before = records.encode(written)
    anns = [
        "ann" in (event.get("customer_identifier", context.customer), event.get("user_id"), event.get("email"))
        for event in events
    ]
    assume(
        not any(event.get("customer_identifier") not in (None, context.customer) for event in events)
        or not context.customer
    )
    assert events_of(before, ANY_ANN) == sum(anns)
    after = erase(before, ANY_ANN)
    assert (after is None) == (not any(anns))
    if after is None:
        return
    assert len(after) == len(before)
    decoded = records.decode(after)
    left, kept = taken_apart(decoded.body)
    assert [bytes(raw) for raw in kept] == [
        TRACKED_MARKER if gone else raw for gone, raw in zip(anns, raws, strict=True)
    ]
    assert left == Context(None if all(anns) else context.customer), "whose the others are is still known"
    made = list(Reader().events(decoded))
    assert [event is records.ERASED for event in made] == anns
    assert erase(after, ANY_ANN) is None, "a second time there is nothing left"


@given(GOOD)
def test_no_sender_can_track_the_marker(event: dict[str, Any]) -> None:
    assert not is_valid(json.loads(TRACKED_MARKER))
    assert len(TRACKED_MARKER) < len(b'{"event_name":"x"}') <= len(json.dumps(event))


def test_what_is_erased_already_is_nobodys() -> None:
    """Also where the key says whose the other events of the request are."""
    raws = [b'{"event_name":"x","email":"a@example.com"}', b'{"event_name":"y"}']
    written = Record("0" * 32, 5, "eventbunker", "p1/k1", body=body_of(Context("ann"), raws))
    once = erase(records.encode(written), Person(("email",), "a@example.com"))
    assert once is not None
    assert events_of(once, ANY_ANN) == 1
    twice = erase(once, ANY_ANN)
    assert twice is not None
    assert b"ann" not in twice
    assert events_of(twice, ANY_ANN) == 0


def test_a_path_into_a_tracked_event() -> None:
    body = body_of(Context(), [b'{"event_name":"x","user":{"id":7}}'])
    before = records.encode(Record("0" * 32, 5, "eventbunker", "p1/k1", body=body))
    assert events_of(before, Person(("user.id",), "7")) == 1
    assert events_of(before, Person(("id", "client.user.id"), "7")) == 0


@given(st.lists(own.GOOD_EVENTS, min_size=1, max_size=3))
def test_a_stranger_changes_nothing(events: list[dict[str, Any]]) -> None:
    assert erase(recorded(json.dumps({"events": events}).encode()), Person(("user_id",), "nobody at all")) is None


@given(st.binary(max_size=60))
def test_what_cannot_be_read_is_left_alone(data: bytes) -> None:
    assert erase(data, ANN) is None
    assert events_of(data, ANN) == 0


@pytest.mark.parametrize(
    ("written", "value", "found"),
    [
        ("7", "7", True),
        ("7.0", "7.0", True),
        ("7", "7.0", False),
        ("1e3", "1e3", True),
        ("1e3", "1000.0", True),
        ("12345678901234567890123", "12345678901234567890123", True),
        ("true", "true", True),
        ("null", "null", False),
        ('"7"', "7", True),
        ('"\\u0061nn"', "ann", True),
        ('"Zo\\u00eb"', "Zoë", True),
        ('" ann"', "ann", False),
        ('"ANN"', "ann", False),
        ('["ann"]', "ann", False),
        ('{"id": "ann"}', "ann", False),
    ],
)
def test_what_names_a_person(written: str, value: str, *, found: bool) -> None:
    body = b'{"events":[{"client":{"user_id":%b}}]}' % written.encode()
    assert (erase(recorded(body), Person(("user_id",), value)) is not None) == found


@pytest.mark.parametrize("system", ['"text"', "[]", "null", '{"cookies":"ann"}', "{}"])
def test_a_path_that_leads_nowhere(system: str) -> None:
    body = b'{"events":[{"client":{},"system":%b}]}' % system.encode()
    assert erase(recorded(body), Person(("system.cookies.uid", "client.user_id.x"), "ann")) is None


def test_the_address_of_a_request_without_the_person_stays() -> None:
    body = b'{"events":[{"client":{"user_id":"bob"}}]}'
    assert erase(recorded(body, "198.51.100.7"), ANN) is None


def test_what_stands_beside_the_events_goes_too() -> None:
    body = b'\xef\xbb\xbf {"note": "of ann", "events" : [ {"client":{"user_id":"ann"}} ] } \n'
    after = erase(recorded(body), ANN)
    assert after is not None
    assert records.decode(after).body == b'{"events":[{"client":0}]}'.ljust(len(body))


def test_a_journal_says_the_person_as_json() -> None:
    record = recorded(b'{"events":[{"client":{"user_id":"ann"}}]}')
    assert rewrite(record, json.loads(json.dumps(ANN.as_json()))) == erase(record, ANN)


@given(st.sampled_from([MARKER, b"[%b]" % MARKER]), own.GOOD_EVENTS)
def test_no_sender_can_send_the_marker(marker: bytes, event: dict[str, Any]) -> None:
    assume(event)
    zaraz, engine = assembled(Config(batch="atomic"))
    body = b'{"events":[%b,%b]}' % (marker, json.dumps(event).encode())
    with pytest.raises(Refused):
        zaraz.accept(body, Visit(ANONYMOUS, "", None, "", None, None), ("0" * 32, 5), engine, lambda: False)
