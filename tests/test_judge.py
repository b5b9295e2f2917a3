"""The judgement of a whole payload: bounds, strictness, and what it costs a hostile sender."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.errors import Refused
from eventmw.protocols.zaraz.judge import MAX_EXPLAINED, Judge, Judgement
from eventmw.strictjson import decode
from tests import strategies as own

NOW_MS = 1_624_910_874_832
GOOD: dict[str, Any] = {"client": {}}


def judge(document: Any, **options: Any) -> Judgement:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Judge(**{"max_events": 1000, "max_depth": 32, "strict": False} | options)(body, NOW_MS)


@given(st.data(), own.payloads(own.BATCHES))
def test_the_bytes_of_each_event_are_the_events(data: st.DataObject, document: Any) -> None:
    judgement = judge(data.draw(own.as_bytes(document)))
    assert judgement.count == len(document["events"])
    assert [decode(raw) for raw in judgement.raws] == document["events"] or (not judgement.raws and not judgement.notes)


@given(own.BATCHES)
def test_the_senders_ids_are_found_on_every_path(events: list[Any]) -> None:
    judgement = judge({"events": events})
    for index, event in enumerate(events):
        ident = None
        if isinstance(event, dict) and isinstance(event.get("eventmw"), dict):
            ident = event["eventmw"].get("id")
        usable = isinstance(ident, str) and 0 < len(ident) <= 128
        assert judgement.ids.get(index) == (ident if usable else None)


@given(own.BATCHES)
def test_every_refused_or_warned_event_has_a_note_in_order(events: list[Any]) -> None:
    judgement = judge({"events": events})
    indexes = [note.index for note in judgement.notes]
    assert indexes == sorted(indexes)
    assert judgement.invalid == sorted({note.index for note in judgement.notes if note.status == "invalid"})


def test_a_hostile_body_buys_few_faults() -> None:
    """hazards.md 2.1, «algorithmic cost in validation»."""
    many_events = judge({"events": [1] * 500 + [GOOD]})
    assert many_events.invalid == list(range(500))
    assert [note.fault is not None for note in many_events.notes] == [True] * MAX_EXPLAINED + [False] * (
        500 - MAX_EXPLAINED
    )
    many_faults = judge({"events": [{"client": {}, "system": {"cookies": {str(n): {} for n in range(5000)}}}] * 3})
    assert sum(note.fault is not None for note in many_faults.notes) == MAX_EXPLAINED
    assert {note.index for note in many_faults.notes} == {0, 1, 2}
    assert many_faults.invalid == []


@pytest.mark.parametrize(("when", "late"), [
    (NOW_MS + 300_000, False), (NOW_MS + 300_001, True), (float(NOW_MS + 300_001), True), (0, False),
    ("2021-06-28T20:12:54.832Z", False), ("2021-06-28T20:12:54.833Z", True),
])  # fmt: skip
def test_a_clock_may_be_five_minutes_ahead(when: Any, late: bool) -> None:
    event = {"client": {}, "eventmw": {"timestamp": when}}
    notes = judge({"events": [event]}).notes
    assert [note.fault.code for note in notes if note.fault] == (["future_time"] if late else [])
    assert judge({"events": [event]}, strict=True).invalid == ([0] if late else [])


@given(own.VALUES, st.integers(8, 12))
def test_depth_is_counted_from_the_top_on_every_path(value: Any, max_depth: int) -> None:
    def depth(inner: Any) -> int:
        values = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else None
        return 0 if values is None else 1 + max(map(depth, values), default=0)

    for document in (
        {"events": [{"client": {"a": [[value]]}}]},
        {"events": [{"client": {}, "x": [[[value]]]}]},
        {"events": [GOOD], "x": [[[[value]]]]},
        {"events": [GOOD, [[[value]]]]},
    ):
        if depth(document) > max_depth:
            with pytest.raises(Refused, match=f"at most {max_depth} levels"):
                judge(document, max_depth=max_depth)
        else:
            judge(document, max_depth=max_depth)


@pytest.mark.parametrize(
    "around",
    [
        lambda inside: {"events": [{"client": {"a": inside}}]},
        lambda inside: {"events": [{"client": {}, "x": inside}]},
        lambda inside: {"events": [inside, GOOD]},
        lambda inside: {"events": [GOOD], "x": inside},
    ],
)
def test_the_deepest_that_may_be_and_one_more(around: Callable[[Any], Any]) -> None:
    def levels(value: Any) -> int:
        values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if values is None else 1 + max(map(levels, values), default=0)

    inside: Any = []
    while levels(around(inside)) < 8:
        inside = [inside]
    judge(around(inside), max_depth=8)
    with pytest.raises(Refused, match="at most 8 levels"):
        judge(around([inside]), max_depth=8)


def test_the_number_of_events_is_bounded_before_any_is_looked_at() -> None:
    with pytest.raises(Refused, match=r"at most 2 events in one request, got 3\."):
        judge(b'{"events":[1e999,1e999,1e999]}', max_events=2)


@pytest.mark.parametrize(
    "body",
    [
        b'{"events":[{"client":{"a":"\xff"}}],"events":[{"client":{}}]}',
        b'{"events":[1e400],"events":[{"client":{}}]}',
        b'{"\\u0065vents":[1e400],"events":[{"client":{}}]}',
        b'{"events":[1e400],"even\\u0074s":[{"client":{}}]}',
        b'{"EVENTS":1,"\\u0065\\u0076\\u0065\\u006E\\u0074\\u0073":[1e400],"events":[{"client":{}}]}',
        b'{"x":"\xff","x":1,"events":[{"client":{}}]}',
        b'{"x":1e400,"events":[{"client":{}}]}',
    ],
)
def test_nothing_hides_behind_a_later_key(body: bytes) -> None:
    with pytest.raises(Refused):
        judge(body)


def test_an_envelopes_fault_is_said_in_words() -> None:
    for document, detail in [
        ([], "Expected an object with an array of events, got an array, at the top."),
        ({}, "Expected the key events, which is missing, at the top."),
        ({"events": {}}, "Expected an array of Event Objects, got an object, at /events."),
        ({"events": []}, "Expected an array of Event Objects, got an empty one, at /events."),
    ]:
        with pytest.raises(Refused) as caught:
            judge(document)
        assert caught.value.detail == detail
