"""Strict JSON: PROTOCOLS.md 2.1, and what hazards.md 2.1 lists of bytes coming in."""

from __future__ import annotations

import json
import math
import sys
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmw.errors import Refused
from eventmw.strictjson import MAX_DIGITS, check_digits, decode, deeper_than, object_in, without_bom
from tests import strategies as own


def strict_by_the_standard_library(body: bytes) -> Any:
    """Decode as the standard library would, with what it lets pass refused."""

    def refuse(_: str) -> None:
        raise ValueError

    def finite(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise ValueError
        return float(digits)

    value = json.loads(body.decode(), parse_constant=refuse, parse_float=finite)
    json.dumps(value, ensure_ascii=False).encode()
    return value


@given(own.VALUES)
def test_what_is_json_comes_back_exactly(value: Any) -> None:
    assert decode(json.dumps(value).encode()) == value
    assert decode(json.dumps(value, ensure_ascii=False, indent=2).encode()) == value


@given(st.binary(max_size=30) | st.text(alphabet='[]{}:,"\\u0dD89eE+-. \n', max_size=20).map(str.encode))
@example(b'"\\ud83d\\ude00"')
@example(b'"\\ud800"')
@example(b'"Infinity"')
def test_it_refuses_what_the_standard_library_refuses(body: bytes) -> None:
    try:
        expected = strict_by_the_standard_library(body)
    except ValueError:
        with pytest.raises(Refused) as caught:
            decode(body)
        assert caught.value.code in {"invalid_json", "number_too_large"}
    else:
        assert decode(body) == expected


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"a": 1,}', "Expecting property name enclosed in double quotes at line 1, column 9."),
        (b'{\n "a" 1}', "Expecting ':' delimiter at line 2, column 6."),
        (b"[1] x", "Extra data at line 1, column 5."),
        (b"", "Expecting value at line 1, column 1."),
        (b"NaN", "Expected a JSON number, got NaN, which JSON does not have, at line 1, column 1."),
        (
            b'{"NaN":\n ["\\\\", -Infinity]}',
            "Expected a JSON number, got -Infinity, which JSON does not have, at line 2, column 9.",
        ),
        (
            b'["\\ud83d\\ude00 \\\\ud800",\n "\\udc00"]',
            "Expected complete \\uXXXX escapes, got a surrogate without its partner at line 2, column 3.",
        ),
        (b'"\\ud800"', "Expected complete \\uXXXX escapes, got a surrogate without its partner at line 1, column 2."),
        (b'{\n"a": "\xff"}', "Expected UTF-8, got other bytes at line 2, column 7."),
        (b"1e999", "Expected numbers within a double's range and integers of at most 4,000 digits, got a larger one."),
        (b"[" * 100_000, "The body is nested more deeply than anything that is accepted here."),
    ],
)
def test_a_refusal_says_what_was_expected_and_where(body: bytes, detail: str) -> None:
    with pytest.raises(Refused) as caught:
        decode(body)
    assert caught.value.detail == detail


@pytest.mark.parametrize("levels", range(900, sys.getrecursionlimit() + 200, 25))
def test_no_depth_gets_past_as_another_error(levels: int) -> None:
    for body in (b"[" * levels + b"x", b'{"a":' * levels, b"[" * levels + b"]" * levels):
        with suppress(Refused):
            decode(body)


def test_places_are_those_of_the_whole_document() -> None:
    whole = b'{"events": [\n{"a": "\xff"}]}'
    with pytest.raises(Refused, match="line 2, column 8"):
        decode(msgspec.Raw(b'{"a": "\xff"}'), whole=whole)


@pytest.mark.parametrize("before", [*range(3), MAX_DIGITS - 1, MAX_DIGITS, MAX_DIGITS + 1, 2 * MAX_DIGITS + 1])
@pytest.mark.parametrize("digits", [1, MAX_DIGITS - 1, MAX_DIGITS, MAX_DIGITS + 1, 3 * MAX_DIGITS])
@pytest.mark.parametrize("sign", [b"", b"-"])
def test_a_long_integer_is_found_wherever_it_stands(before: int, digits: int, sign: bytes) -> None:
    body = b'["' + b"x" * before + b'",' + sign + b"1" * digits + b"]"
    if digits > MAX_DIGITS:
        with pytest.raises(Refused) as caught:
            check_digits(body)
        assert caught.value.code == "number_too_large"
    else:
        check_digits(body)


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b"1" * 9000 + b'"',
        b"0." + b"1" * 9000,
        b"1e" + b"1" * 9000,
        b"\xef\xbb\xbf[1]",
        b"[" * 100_000 + b"1" * 9000,
        b"x" + b"1" * 9000,
        b"\xff" + b"1" * 9000,
    ],
)
def test_other_long_digits_are_left_to_the_decoder(body: bytes) -> None:
    check_digits(body)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(own.VALUES, st.integers(0, 6))
def test_depth_counts_containers(value: Any, levels: int) -> None:
    assert deeper_than(value, levels) == (depth(value) > levels)


def test_small_parts() -> None:
    assert without_bom(b"\xef\xbb\xbf{}") == without_bom(b"{}") == b"{}"
    assert object_in({"a": 1}) == {"a": 1}
    assert object_in([]) is None
