"""The fast verdict on a tracked event is that of jsonschema over the published schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry

from eventmw.jsdates import is_js_time
from eventmw.protocols.eventbunker.accept import RESERVED, is_valid, refused_part
from eventmw.schema import Authority, pointer, published
from eventmw.testing.strategies import FREE_VALUES, TRACK_NAMES, tracks
from tests import strategies as own

# An authority of the test's own, so that a mistake in `eventmw.schema` shows as well.
CHECKER = FormatChecker(formats=())
CHECKER.checks("eventmw-timestamp")(lambda value: value == "" or is_js_time(value))
TRACK = Draft202012Validator(published("eventbunker-track"), registry=Registry(), format_checker=CHECKER)
WORDS = Authority(published("eventbunker-track"))

# Beside those that come with the package: what is read liberally, names that start with an underscore, odd spellings.
TIMES = st.sampled_from(["2021-06-26T14:48:00.000", "Sat, 26 Jun 2021 14:48:00 GMT", 1624718880, "", None])
FREE = own.TEXTS.filter(lambda name: name not in RESERVED) | st.sampled_from(
    ["_fbp", "_fbc", "_ga", "_id", "__typename", "_", "_anything"]
)
GOOD = tracks() | st.builds(
    lambda free, known: {**free, **known},
    st.dictionaries(FREE, FREE_VALUES, max_size=4),
    st.fixed_dictionaries(
        {"event_name": TRACK_NAMES},
        optional={"timestamp": TIMES, "customer_identifier": own.SCALARS, "metric_name": own.SCALARS | st.just([])},
    ),
)
ODD = [
    *own.ODD_VALUES, [None], [None, None], [1, True], [True, 0], ["a", 1], [1, 1.5], [[1]], [{}], {"a": {}}, {"a": [{}]},
    {"a": {"b": 1}}, {"a": [1, "x"]}, {"a": [[1]]}, {"_a": 1}, {"a": None}, "x" * 256, "x" * 257, "a b", "ä", "x\n",
    "2021-06-26T14:48:00.000", "2021-06-26T14:48:00.000\n", "26 Jun 2021",
]  # fmt: skip
SURPRISES = st.sampled_from(ODD)
KEYS = own.TEXTS | st.sampled_from(
    [
        "event_name",
        "timestamp",
        "customer_identifier",
        "metric_name",
        "unique_req_id",
        "time_recorded",
        "project_id",
        "_ip",
        "_utm_source",
        "_a",
        "_",
        "",
    ]
)
NEARLY = st.builds(
    lambda event, extra: {**event, **extra}, GOOD, st.dictionaries(KEYS, SURPRISES | own.VALUES, max_size=2)
)


@given(GOOD)
def test_good_events_are_good(event: Any) -> None:
    assert is_valid(event)
    assert TRACK.is_valid(event)


@given(NEARLY | own.VALUES | st.dictionaries(KEYS, FREE_VALUES | own.VALUES, max_size=5))
@example({"event_name": "x\n"})
@example({"event_name": "x", "": 1})
def test_the_fast_verdict_is_the_schemas(event: Any) -> None:
    """PROTOCOLS.md 3.1."""
    assert is_valid(event) == TRACK.is_valid(event)
    assert is_valid(event) == WORDS.accepts(event)
    assert is_valid(event) == (not list(WORDS.faults(event))), "every refusal has words"


@pytest.mark.parametrize(
    "place",
    [
        "event_name",
        "timestamp",
        "customer_identifier",
        "metric_name",
        "unique_req_id",
        "time_recorded",
        "project_id",
        "_ip",
        "x",
        "x.y",
    ],
)
def test_every_odd_value_in_every_place(place: str) -> None:
    outer, _, inner = place.partition(".")
    for value in ODD:
        event = {"event_name": "x", outer: {inner: value} if inner else value}
        assert is_valid(event) == TRACK.is_valid(event), event


@given(NEARLY | own.VALUES | st.dictionaries(KEYS, FREE_VALUES | own.VALUES, max_size=8), st.integers(1, 3))
@example({"event_name": "x", "a": [1, 1.5, "x", True, None]}, 3)
@example({"event_name": "x", "a": [None], "c": [None], "b": [None], "d": [None]}, 3)
@example({"event_name": "x", "b": 1, "a": {"b": {}, "c": [1, "x"], "d": 1}, "_a": 1, "_b": 1}, 1)
def test_of_the_refused_part_the_authority_says_the_same(event: Any, most: int) -> None:
    """Of less, in less time: its first faults are those that it has for the whole."""

    def told(instance: Any) -> list[tuple[str, str, str]]:
        return [(fault.path, fault.code, fault.message) for fault in WORDS.faults(instance)]

    of_all = told(event)
    assert told(refused_part(event, 100)) == of_all
    few = told(refused_part(event, most))
    assert set(few) <= set(of_all)
    assert bool(few) == bool(of_all)


@given(st.lists(own.TEXTS.filter(lambda name: name not in RESERVED), unique=True, max_size=8))
def test_faults_stand_in_the_order_of_the_fields(names: list[str]) -> None:
    event = {name: [None] for name in names} | {"event_name": "x", "timestamp": None}
    assert [fault.path for fault in WORDS.faults(event)] == [
        pointer([name]) for name in names if name in event and event[name] == [None]
    ]


def test_a_large_event_costs_the_authority_little() -> None:
    """It takes its time for every field and member, and one request may hold some hundred thousand of them."""
    fields = {f"a{number}": 1 for number in range(1000)}
    for event in (
        {"event_name": "x", **fields, "bad": [1, "x"]},
        {"event_name": "x", "bad": [1] * 1000 + ["x"]},
        {"event_name": "x", "bad": {**fields, "b": {}}},
        {"event_name": "x", **{name: {"a": {}} for name in fields}},
        {"event_name": "x", **{name: [[]] for name in fields}},
        {"event_name": "x", "bad": {name: {} for name in fields}},
    ):
        part = refused_part(event, 25)
        assert len(json.dumps(part)) < 500
        assert not is_valid(part)


@pytest.mark.parametrize(
    ("event", "path", "words"),
    [
        ([], "", "expected an object with the fields of one event, got an array"),
        ({}, "", "expected the key event_name, which is missing"),
        ({"event_name": "a b"}, "/event_name", "expected a name of 1 to 256 characters: a to z, A to Z, digits, `.`, `_` and `-`, got other text"),
        ({"event_name": 5}, "/event_name", "expected a name of 1 to 256 characters: a to z, A to Z, digits, `.`, `_` and `-`, got a number"),
        ({"event_name": "x", "timestamp": True}, "/timestamp", "expected a time such as 2026-11-29T12:00:00Z, or milliseconds since 1970, got a boolean"),
        ({"event_name": "x", "timestamp": "noon"}, "/timestamp", "expected a time such as 2026-11-29T12:00:00Z, or milliseconds since 1970, got other text"),
        ({"event_name": "x", "tags": ["a", 1]}, "/tags", "expected an array of only texts, only numbers or only booleans, got an array with text and a number"),
        ({"event_name": "x", "a": {"b": {}}}, "/a/b", "expected text, a number, a boolean, null or an array, but no object inside an object, got an object"),
        ({"event_name": "x", "a": {"b": [None]}}, "/a/b", "expected an array of only texts, only numbers or only booleans, got an array with null"),
        ({"event_name": "x", "_ip": "y"}, "/_ip", "expected no field of a name that the server sets itself: unique_req_id, time_recorded, project_id, and the fields that it generates, such as _ip, got this one"),
    ],
)  # fmt: skip
def test_the_words_name_the_place_and_no_value(event: Any, path: str, words: str) -> None:
    (fault,) = WORDS.faults(event)
    assert (fault.path, fault.message) == (path, words)
