"""Which tracked events a call of ``/v1/delete`` means: held against plain Python, in records and as a rule alone."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from eventmw import record as records
from eventmw.erasure import erase, events_of, rewrite
from eventmw.event import Record
from eventmw.protocols.eventbunker import Context
from eventmw.protocols.eventbunker.events import MARKER, body_of, taken_apart
from eventmw.selection import Selection
from tests import strategies as own

TIMES = st.integers(1_000, 1_008)
"""Few milliseconds, so that bounds are met often."""

CUSTOMERS = st.sampled_from(["ann", "Ann", "", "a\0n", "ä"])
NAMES = st.sampled_from(["buy", "Buy", "look"])
SELECTIONS = st.builds(
    Selection,
    project=st.sampled_from(["p1", "p11"]),
    made_ms=TIMES,
    customer=st.none() | CUSTOMERS,
    event_name=st.none() | NAMES,
    since_ms=st.none() | TIMES,
    until_ms=st.none() | TIMES,
)


def tracked(name: str, customer: str | None, time_ms: int | None) -> dict[str, Any]:
    known = {"event_name": name, "customer_identifier": customer, "timestamp": time_ms and iso(time_ms)}
    return {key: value for key, value in known.items() if value is not None}


def iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


EVENTS = st.builds(tracked, NAMES, st.none() | CUSTOMERS, st.none() | TIMES)


def is_meant(event: dict[str, Any], context: Context, recorded_ms: int, meant: Selection) -> bool:
    """Say it once more, of the event as it was sent."""
    time = event.get("timestamp", iso(recorded_ms))  # of one form and zone: the order of text is that of time
    wanted = [
        recorded_ms <= meant.made_ms,
        meant.customer is None or event.get("customer_identifier", context.customer) == meant.customer,
        meant.event_name is None or event["event_name"] == meant.event_name,
        meant.since_ms is None or time >= iso(meant.since_ms),
        meant.until_ms is None or time < iso(meant.until_ms),
    ]
    return all(wanted)


@given(
    st.lists(EVENTS, min_size=1, max_size=4),
    st.none() | CUSTOMERS,
    TIMES,
    st.sampled_from(["p1/k1", "p11/k1", "p1/p11"]),
    SELECTIONS,
)
def test_events_that_meet_all_go_and_the_others_stay(
    events: list[dict[str, Any]], customer: str | None, recorded_ms: int, credential: str, meant: Selection
) -> None:
    raws = [json.dumps(event).encode() for event in events]
    context = Context(customer)
    before = records.encode(Record("0" * 32, recorded_ms, "eventbunker", credential, body=body_of(context, raws)))
    is_mine = credential.partition("/")[0] == meant.project
    gone = [is_mine and is_meant(event, context, recorded_ms, meant) for event in events]
    assert events_of(before, meant) == sum(gone)
    after = rewrite(before, json.loads(json.dumps(meant.as_json())))
    assert after == erase(before, meant), "what a journal hands on means the same"
    assert (after is None) == (not any(gone))
    if after is not None:
        kept = [bytes(raw) for raw in taken_apart(records.decode(after).body)[1]]
        assert kept == [MARKER if went else raw for went, raw in zip(gone, raws, strict=True)]
        assert len(after) == len(before)
        assert erase(after, meant) is None, "a second time there is nothing left"


@given(st.lists(own.GOOD_EVENTS, min_size=1, max_size=3), st.sampled_from(["p1", "anonymous", ""]))
def test_events_of_the_other_api_are_never_meant(events: list[dict[str, Any]], credential: str) -> None:
    """Also where their credential is called like a project."""
    body = json.dumps({"events": events}).encode()
    record = records.encode(Record("0" * 32, 5, "zaraz", credential, indexes=(0,), body=body))
    assert erase(record, Selection(project=credential, made_ms=9)) is None


@given(SELECTIONS, NAMES, CUSTOMERS, TIMES, TIMES)
def test_less_that_is_asked_of_an_event_never_means_fewer(
    meant: Selection, name: str, customer: str, time_ms: int, recorded_ms: int
) -> None:
    facts = (name, customer, time_ms, recorded_ms)
    for field in ("customer", "event_name", "since_ms", "until_ms"):
        wider = Selection(**{**asdict(meant), field: None})
        assert wider.holds(*facts) >= meant.holds(*facts)


@given(st.binary(max_size=60), SELECTIONS)
def test_what_cannot_be_read_is_left_alone(data: bytes, meant: Selection) -> None:
    assert erase(data, meant) is None
