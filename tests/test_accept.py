"""The fast verdicts are those of jsonschema over the whole document: same events, same places, same keywords."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry

from eventmw.errors import Refused
from eventmw.formats import is_ip
from eventmw.jsdates import is_js_time
from eventmw.protocols.zaraz.accept import is_valid, needs_no_advice, usual
from eventmw.protocols.zaraz.judge import Judge, Judgement
from eventmw.schema import pointer, published
from eventmw.strictjson import deeper_than
from tests import strategies as own

# An authority of the test's own, so that a mistake in `eventmw.schema` shows as well.
CHECKER = FormatChecker(formats=())
CHECKER.checks("eventmw-timestamp")(lambda value: value == "" or is_js_time(value))
CHECKER.checks("eventmw-ip")(lambda value: value == "" or is_ip(value))
REQUEST = Draft202012Validator(published("zaraz-request"), registry=Registry(), format_checker=CHECKER)
ADVICE = Draft202012Validator(published("zaraz-advice"), registry=Registry(), format_checker=CHECKER)

LONG_AGO_MS = 0
FAR_AHEAD_MS = 253_402_300_799_999
Faults = set[tuple[str, str]]
TIMES = ("_time", "_unit")


def errors_by_event(validator: Draft202012Validator, document: Any) -> dict[int, Faults]:
    found: dict[int, Faults] = {}
    for error in validator.iter_errors(document):
        path = list(error.absolute_path)
        assert path[:1] == ["events"]
        assert isinstance(path[1], int), "the envelope is right in these tests"
        found.setdefault(path[1], set()).add((pointer(path), str(error.validator)))
    return found


def notes_by_event(judgement: Judgement, status: str) -> dict[int, Faults]:
    found: dict[int, Faults] = {}
    for note in judgement.notes:
        if note.status == status and note.fault is not None and not note.fault.schema_path:
            assert note.fault.code in {"past_time", "future_time", "time_unit", "minLength"}, "what no schema can say"
        elif note.status == status:
            assert note.fault is not None
            assert note.fault.index == note.index
            found.setdefault(note.index, set()).add((note.fault.path, note.fault.code))
    return found


def judge(body: bytes, *, strict: bool = False, now_ms: int = FAR_AHEAD_MS) -> Judgement:
    return Judge(max_events=1000, max_depth=32, strict=strict)(body, now_ms)


@given(st.data(), own.payloads(own.BATCHES))
def test_the_judge_agrees_with_jsonschema(data: st.DataObject, document: Any) -> None:
    """PROTOCOLS.md 2.1: `jsonschema` is the authority for verdict and words of both schemas."""
    body = data.draw(own.as_bytes(document))
    refused, advised = errors_by_event(REQUEST, document), errors_by_event(ADVICE, document)
    judgement = judge(body)
    assert judgement.invalid == sorted(refused)
    assert notes_by_event(judgement, "invalid") == refused
    assert notes_by_event(judgement, "warned") == {
        index: faults for index, faults in advised.items() if index not in refused
    }
    assert judgement.accepted == len(document["events"]) - len(refused)


@given(st.data(), own.payloads(own.BATCHES))
def test_strict_makes_advice_decide(data: st.DataObject, document: Any) -> None:
    """PROTOCOLS.md 2.1: `strict=True` makes advice decide."""
    body = data.draw(own.as_bytes(document))
    refused, advised = errors_by_event(REQUEST, document), errors_by_event(ADVICE, document)
    judgement = judge(body, strict=True)
    doubtful = {note.index for note in judgement.notes if note.fault is not None and note.fault.code.endswith(TIMES)}
    assert judgement.invalid == sorted({*refused, *advised, *doubtful})
    assert not notes_by_event(judgement, "warned")


@given(own.EVENTS)
@example({"client": {}, "eventmw": {"id": None}})
@example({"client": {}, "eventmw": {"timestamp": None}})
@example({"client": {}, "eventmw": None})
@example({"client": {}, "eventmw": {"id": 10**100}})
@example({"client": {}, "eventmw": {"timestamp": 253402300799999999999}})
@example({"client": {}, "eventmw": {"timestamp": 253402300800000000000}})
@example({"client": {}, "system": {"device": {"user-agent": "x", "cooKie": "x", "User_Agent": 1}}})
@example({"client": {"__zarazEcommerce": 1}})
@example({"client": {"__zarazEcommerce": 0}})
@example({"client": {}, "system": {"device": {"resolution": "1x1\n"}}})
def test_each_verdict_is_exact_or_a_sure_yes(event: Any) -> None:
    document = {"events": [event]}
    valid, nothing_to_say = REQUEST.is_valid(document), ADVICE.is_valid(document)
    assert is_valid(event) == valid
    if valid:
        assert needs_no_advice(event) == nothing_to_say
    if usual(json.dumps(event).encode()) is not None:
        assert valid
        assert nothing_to_say


PLACES = [
    "client", "client.__zarazTrack", "client.__zarazEcommerce", "client.a", "system", "system.cookies", "system.cookies.a", "system.device",
    *(f"system.device.{key}" for key in ("ip", "resolution", "viewport", "language", "user-agent")), "system.page",
    *(f"system.page.{key}" for key in ("url", "referrer", "title", "encoding")), "eventmw", "eventmw.id", "eventmw.timestamp",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_every_odd_value_in_every_place(place: str) -> None:
    *outer, last = place.split(".")
    for value in own.ODD_VALUES:
        event: Any = {"client": {}}
        inner = event
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = value
        test_each_verdict_is_exact_or_a_sure_yes.hypothesis.inner_test(event)  # type: ignore[attr-defined]  # the bare test


@given(own.GOOD_EVENTS.map(lambda event: json.loads(json.dumps(event))))
def test_good_events_are_good(event: Any) -> None:
    assert is_valid(event)
    assert needs_no_advice(event)


SEED = {
    "client": {"__zarazTrack": "transaction successful", "value": "200"},
    "system": {
        "page": {"url": "https://example.com", "title": "My website"},
        "device": {"language": "en-US", "ip": "192.168.0.1"},
    },
}


@pytest.mark.parametrize(
    "event",
    [
        SEED,
        {"client": {}},
        {"client": {"__zarazTrack": "x", "products": [{"id": 1, "price": 1.5, "tags": None}]}},
        SEED | {"eventmw": {"id": "x" * 128, "timestamp": 1624910874832}},
        {"client": {}, "system": {"page": {"url": "https://a.example/", "referrer": ""}, "device": {"ip": ""}}},
        {
            "client": {},
            "system": {"cookies": {"_ga": "GA1.1"}, "device": {"resolution": "1920x1080", "viewport": "1x1"}},
        },
    ],
)
def test_what_most_senders_send_takes_the_fast_way(event: Any) -> None:
    assert usual(json.dumps(event).encode()) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b'{"client":{"a":"\xff"}}',
        b'{"client":{"a":"\\ud800"}}',
        b'{"client":{"a":NaN}}',
        b'{"client":{"a":1e400}}',
        b'{"client":{}} x',
        b'{"client":{},"other":"\xff"}',
        b'{"client":{"a":' + b"[" * 40 + b"]" * 40 + b"}}",
        b"",
    ],
)
def test_what_is_not_strict_is_never_accepted_fast(raw: bytes) -> None:
    assert usual(raw) is None


@given(st.integers(1, 4), st.integers(0, 40))
def test_an_event_that_is_accepted_fast_is_never_too_deep(width: int, levels: int) -> None:
    value: Any = 1
    for _ in range(levels):
        value = [value] * 1 if width % 2 else {"a": value}
    event = {"client": {"a": value}}
    if usual(json.dumps(event).encode()) is not None:
        assert not deeper_than(event, 8 - 2)


@pytest.mark.parametrize("device", [
    {"ip": "1.2.3.4 1x1", "resolution": ""}, {"ip": "1.2.3.4", "resolution": "1x1 1x1", "viewport": ""},
    {"ip": "", "resolution": "1.2.3.4 1x1"}, {"viewport": "1x1\n"}, {"ip": "1.2.3.4\n"},
])  # fmt: skip
def test_one_pattern_over_three_texts_lets_none_stand_in_for_another(device: dict[str, str]) -> None:
    assert usual(json.dumps({"client": {}, "system": {"device": device}}).encode()) is None


@pytest.mark.parametrize("ip", ["2001:db8::1", "::1", "203.0.113.9"])
def test_an_address_of_either_kind_is_usual(ip: str) -> None:
    assert usual(json.dumps({"client": {}, "system": {"device": {"ip": ip}}}).encode()) is not None


@given(st.data(), own.VALUES | own.payloads(st.just([])) | own.payloads(own.BATCHES))
def test_an_envelope_that_is_none_is_refused_with_the_authoritys_faults(data: st.DataObject, document: Any) -> None:
    """PROTOCOLS.md 2.3: the envelope is wrong → 400."""
    body = data.draw(own.as_bytes(document))
    wrong = [
        (pointer(error.absolute_path), str(error.validator))
        for error in REQUEST.iter_errors(document)
        if list(error.absolute_path) in ([], ["events"])
    ]
    if wrong:
        with pytest.raises(Refused) as caught:
            judge(body)
        assert caught.value.code == "invalid_envelope"
        assert [(fault.path, fault.code) for fault in caught.value.faults] == wrong
    else:
        judge(body)
