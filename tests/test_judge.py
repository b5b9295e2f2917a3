"""The judgement of a whole payload: bounds, strictness, and what it costs a hostile sender."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.errors import Refused
from eventmw.jsontext import encode
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
        if isinstance(ident, bool | int | float):
            ident = encode(ident).decode()
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


DAY_MS = 86_400_000


@pytest.mark.parametrize(("when", "codes"), [
    (NOW_MS + DAY_MS, []), (NOW_MS + DAY_MS + 1, ["future_time"]), (float(NOW_MS + DAY_MS + 1), ["future_time"]),
    ("2021-06-29T20:07:54.832Z", []), ("2021-06-29T20:07:54.833Z", ["future_time"]),
    (946_684_800_000, []), (946_684_799_999, ["past_time"]), ("1999-12-31T23:59:59.999Z", ["past_time"]),
    (NOW_MS // 1000, ["time_unit"]), (NOW_MS / 1000, ["time_unit"]), (str(NOW_MS // 1000), ["time_unit"]),
    (NOW_MS * 1000, ["time_unit"]), (NOW_MS * 1_000_000, ["time_unit"]), (str(NOW_MS), []), (0, ["time_unit", "past_time"]),
    (5_000_000_000, ["time_unit", "future_time"]), ("", []), (None, []), ([], []),
])  # fmt: skip
def test_a_time_that_looks_wrong_is_warned_of(when: Any, codes: list[str]) -> None:
    """PROTOCOLS.md 2.1: before 2000, more than a day ahead, not in milliseconds."""
    event = {"client": {}, "eventmw": {"timestamp": when}}
    notes = judge({"events": [event]}).notes
    assert [note.fault.code for note in notes if note.fault] == codes
    assert {note.status for note in notes} <= {"warned"}
    assert judge({"events": [event]}, strict=True).invalid == ([0] if codes else [])


GOOD_TEXT = b'{"client":{"__zarazTrack":"good"}}'
AT_FAULT = {
    b"NaN": "invalid_json", b"-Infinity": "invalid_json", b"Infinity": "invalid_json", b'"\xff"': "invalid_json",
    b'"\xed\xa0\xbc"': "invalid_json", b'{"\xff":1}': "invalid_json", b"1e999": "number_too_large", b"-1e999": "number_too_large",
    b"1" * 4001: "number_too_large", b"1" * 9000: "number_too_large", b"[" * 40 + b"]" * 40: "too_deep",
    b"[" * 5_000 + b"]" * 5_000: "too_deep", b'{"a":' * 5_000 + b"1" + b"}" * 5_000: "too_deep",
}  # fmt: skip
PLACES = [
    b'{"client":{"v":%b}}',
    b'{"client":{},"system":{"x":%b}}',
    b'{"client":{},"eventmw":{"x":%b}}',
    b'{"client":{},"x":[%b]}',
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", AT_FAULT)
@pytest.mark.parametrize("frame", [b'{"events":[%b]}', b'\xef\xbb\xbf { "x": "\\ud83c", "events" : [ %b ] }'])
def test_a_value_at_fault_refuses_its_event_alone(value: bytes, place: bytes, frame: bytes) -> None:
    """PROTOCOLS.md 2.1, on both ways through the judge."""
    judgement = judge(frame % b",".join([GOOD_TEXT, place % value, GOOD_TEXT]))
    assert judgement.invalid == [1]
    (note,) = judgement.notes
    assert note.fault is not None
    assert note.fault.code == AT_FAULT[value]
    assert note.fault.path.startswith("/events/1")


@pytest.mark.parametrize("value", [b'"\\ud83c"', b'{"\\uDC00":1}', b'["\\udf89\\ud83c"]'])
@pytest.mark.parametrize("place", PLACES)
def test_half_a_character_is_replaced_with_a_warning(value: bytes, place: bytes) -> None:
    body = b'{"events":[%b,%b]}' % (GOOD_TEXT, place % value)
    judgement = judge(body)
    assert judgement.is_rewritten
    ((index, code),) = [(note.index, note.fault.code) for note in judgement.notes if note.fault]
    assert (index, code) == (1, "lone_surrogate")
    assert "\ufffd" in str(decode(bytes(judgement.raws[1])))
    assert judge(body, strict=True).invalid == [1]


@pytest.mark.parametrize(
    ("value", "code"),
    [(b"NaN", "invalid_json"), (b"1e999", "number_too_large"), (b'"\xff"', "invalid_json"), (b"1" * 4001, "number_too_large"),
     (b"[" * 40 + b"]" * 40, "too_deep"), (b"[" * 5000 + b"]" * 5000, "too_deep")],
)  # fmt: skip
def test_around_the_events_it_refuses_all(value: bytes, code: str) -> None:
    with pytest.raises(Refused) as caught:
        judge(b'{"x":%b,"events":[%b]}' % (value, GOOD_TEXT))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "broken", [b"{", b'{"client":{"v":"\\x"}}', b'{"client":{"v":01}}', b'{"client":{,}}', b'{"client":{"v":"\n"}}']
)
@pytest.mark.parametrize(
    "beside", [GOOD_TEXT, b'{"client":{"v":NaN}}', b'{"client":{"v":"\xff"}}', b'{"client":{"v":"\\ud83c"}}']
)
def test_broken_syntax_refuses_all_whatever_stands_beside(broken: bytes, beside: bytes) -> None:
    for body in (b'{"events":[%b,%b]}' % (beside, broken), b'{"events":[%b]} x' % beside):
        with pytest.raises(Refused) as caught:
            judge(body)
        assert caught.value.code == "invalid_json"


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
        is_too_deep = False
        try:
            notes = judge(document, max_depth=max_depth).notes
            is_too_deep = any(note.fault is not None and note.fault.code == "too_deep" for note in notes)
        except Refused as refused:
            is_too_deep = refused.code == "too_deep"
        assert is_too_deep == (depth(document) > max_depth)


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

    def told(document: Any) -> list[str]:
        try:
            notes = judge(document, max_depth=8).notes
        except Refused as refused:
            return [refused.detail]
        return [note.fault.message for note in notes if note.fault is not None]

    assert not any("at most 8 levels" in words for words in told(around(inside)))
    (words,) = told(around([inside]))
    assert "at most 8 levels" in words


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
        b'{"x":{"events":[{"client":{}}]},"events":[1e400],"events":[{"client":{}}]}',
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
