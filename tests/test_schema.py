"""The published schemas, and the words of the authority."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from eventmw.schema import Authority, kind_of, pointer, published
from tests import strategies as own

NAMES = [
    "zaraz-request",
    "zaraz-advice",
    "zaraz-reply",
    *(f"eventbunker-{it}" for it in ("track", "manage", "query", "delete")),
]


@pytest.mark.parametrize("name", NAMES)
def test_the_published_schemas_are_schemas(name: str) -> None:
    """Draft 2020-12, by its own meta-schema."""
    schema = published(name)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    assert published(name) is schema


@given(st.lists(TEXT := st.text(alphabet="a/~01", max_size=4), max_size=4))
def test_a_pointer_leads_back(parts: list[str]) -> None:
    """RFC 6901: ~0 is ~, ~1 is /."""
    back = [part.replace("~1", "/").replace("~0", "~") for part in pointer(parts).split("/")[1:]]
    assert back == parts


def messages(event: Any) -> list[str]:
    authority = Authority(published("zaraz-request"), ("$defs", "event"))
    return [f"{fault.path}: {fault.message}" for fault in authority.faults(event, at="/events/0", index=0)]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (1, ["/events/0: expected an Event Object, got a number"]),
        ({}, ["/events/0: expected the key client, which is missing"]),
        ({"client": [1]}, ["/events/0/client: expected an object, got an array of 1"]),
        ({"client": {"__zarazTrack": {}}}, ["/events/0/client/__zarazTrack: expected text, got an object"]),
        ({"client": {}, "eventmw": "x"}, ["/events/0/eventmw: expected an object, got text"]),
        ({"client": {}, "eventmw": {"id": {}}}, ["/events/0/eventmw/id: expected text of at most 128 characters, got an object"]),
        (
            {"client": {}, "eventmw": {"id": "x" * 129}},
            ["/events/0/eventmw/id: expected text of at most 128 characters, got 129 characters"],
        ),
        (
            {"client": True, "eventmw": {"timestamp": "noon"}},
            [
                "/events/0/client: expected an object, got a boolean",
                "/events/0/eventmw/timestamp: expected a time such as 2026-11-29T12:00:00Z, or milliseconds since 1970, got other text",
            ],
        ),
    ],
)  # fmt: skip
def test_words(event: Any, expected: list[str]) -> None:
    assert messages(event) == expected


def test_a_fault_names_the_place_in_the_schema() -> None:
    authority = Authority(published("zaraz-request"), ("$defs", "event"))
    (fault,) = authority.faults({"client": 1}, at="/events/7", index=7)
    place: Any = published("zaraz-request")
    for key in fault.schema_path.split("/")[1:]:
        place = place[key]
    assert place == ["object", "array"]
    assert fault.index == 7


@given(own.EVENTS)
def test_accepting_is_having_no_faults(event: Any) -> None:
    authority = Authority(published("zaraz-request"), ("$defs", "event"))
    assert authority.accepts(event) == (not list(authority.faults(event)))


@given(own.VALUES)
def test_every_json_value_has_a_kind(value: Any) -> None:
    assert kind_of(value) in {"a boolean", "an object", "an array", "text", "a number", "null"}


def test_a_kind_of_what_is_not_json() -> None:
    assert kind_of(object()) == "something else"
