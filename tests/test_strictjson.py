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
from eventmw.strictjson import (
    MAX_DIGITS,
    ValueFaultError,
    check_digits,
    decode,
    decode_part,
    deeper_than,
    object_in,
    splittable,
    without_bom,
)
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
        (b'{"a": 1,}', "Expected a name in double quotes at line 1, column 9."),
        (b'{"a": 1, \n }', "Expected a name in double quotes at line 2, column 2."),
        (b"[1, ]", "Expected a value at line 1, column 5."),
        (b"[1,,2]", "Expected a value at line 1, column 4."),
        (b'{"a": }', "Expected a value at line 1, column 7."),
        (b"{1: 2}", "Expected a name in double quotes at line 1, column 2."),
        (b'{\n "a" 1}', "Expected a colon after a name at line 2, column 6."),
        (b'{"a": 1 "b": 2}', "Expected a comma or a closing bracket after a value at line 1, column 9."),
        (b"[1 2]", "Expected a comma or a closing bracket after a value at line 1, column 4."),
        (b"[1] x", "Expected the end, got more at line 1, column 5."),
        (b"", "Expected a value at line 1, column 1."),
        (b'["a', "Expected the closing double quote of the text that begins at line 1, column 2."),
        (b'["a\nb"]', "Expected an escape such as \\n in a text, got a control character at line 1, column 4."),
        (b'["\\x"]', "Expected an escape that JSON has after the backslash at line 1, column 3."),
        (b'["\\u12"]', "Expected four hexadecimal digits after \\u at line 1, column 4."),
        ("[]".encode("utf-16"), "Expected UTF-8, got UTF-16 or UTF-32."),
        ("[]".encode("utf-16-be"), "Expected UTF-8, got UTF-16 or UTF-32."),
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
    whole = b'{"events": [\n{"a": 1,}]}'
    with pytest.raises(Refused, match="line 2, column 9"):
        decode_part(msgspec.Raw(b'{"a": 1,}'), whole)


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        (b'{"a":[0,NaN]}', "invalid_json", "/a/1"),
        (b'{"a":-Infinity}', "invalid_json", "/a"),
        (b'{"a/b":{"~":1e999}}', "number_too_large", "/a~1b/~0"),
        (b'{"a":' + b"1" * (MAX_DIGITS + 1) + b"}", "number_too_large", "/a"),
        (b'{"a":' + b"1" * 3 * MAX_DIGITS + b"}", "number_too_large", "/a"),
        (b'{"a":"\xff"}', "invalid_json", "/a"),
        (b'{"a":"\xed\xa0\xbc"}', "invalid_json", "/a"),
        (b'{"a":{"\xff":1}}', "invalid_json", "/a"),
    ],
)
def test_a_value_that_is_at_fault_is_named(text: bytes, code: str, path: str) -> None:
    """PROTOCOLS.md 2.1: the fault is the value's, not the document's."""
    with pytest.raises(ValueFaultError) as caught:
        decode_part(splittable(text, 10_000), text)
    assert (caught.value.code, caught.value.path) == (code, path)
    with pytest.raises(ValueFaultError):
        decode_part(splittable(text, 10_000), text, explain=False)


def test_what_the_decoder_cannot_hold_is_too_deep() -> None:
    text = b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    with pytest.raises(ValueFaultError) as caught:
        decode_part(text, text)
    assert caught.value.code == "too_deep"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'"a\\ud83c"', "a\ufffd"),
        (b'"\\udf89\\ud83c\\ud83c\\udf89"', "\ufffd\ufffd\U0001f389"),
        (b'"\\\\ud83c \\\\\\ud83c"', "\\ud83c \\\ufffd"),
        (b'{"\\uD83C":1}', {"\ufffd": 1}),
        (b'"\\ud83c\\n"', "\ufffd\n"),
        (b'["NaN", "-Infinity", "\\"NaN"]', ["NaN", "-Infinity", '"NaN']),
    ],
)
def test_a_lone_surrogate_becomes_the_replacement_character(text: bytes, value: Any) -> None:
    assert decode_part(splittable(text, 32), text) == value


@pytest.mark.parametrize(
    "text", [b"[5NaN]", b"[NaN5]", b"[--Infinity]", b"[-NaN]", b"[NaNx]", b"[Infinity.5]", b'["a"NaN]']
)
def test_no_word_becomes_part_of_a_number(text: bytes) -> None:
    with pytest.raises(Refused) as caught:
        splittable(text, 32)
    assert caught.value.code == "invalid_json"


def flat(value: Any, levels: int) -> Any:
    """Return a value with 0 in place of what has so many containers around it."""
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return 0
    if isinstance(value, dict):
        return {key: flat(inner, levels - 1) for key, inner in value.items()}
    return [flat(inner, levels - 1) for inner in value]


@given(own.VALUES, st.integers(1, 4), st.integers(60, 70), st.sampled_from([b"[0,%b]", b'{"]":%b}', b"[%b]"]))
def test_what_is_too_deep_is_cut_out_and_checked(value: Any, wide: int, deep: int, around: bytes) -> None:
    inner = json.dumps(value).encode()
    for _ in range(deep):
        inner = around % inner
    body = b"[%b]" % b",".join([inner] * wide + [b"[" * 20_000 + b"]" * 20_000])
    cut = json.loads(splittable(body, 8))
    assert cut[:-1] == [flat(json.loads(inner), 63)] * wide
    assert deeper_than(cut[-1], 8)


@pytest.mark.parametrize("text", [b"%b1%b", b"%b%b", b'%b{"a":1}%b', b"%b[0],[]%b"])
@pytest.mark.parametrize("broken", [(0, 1), (1, 0), (-1, 0), (0, -1)])
def test_broken_brackets_are_found_at_any_depth(text: bytes, broken: tuple[int, int]) -> None:
    opened, closed = (20_000 + more for more in broken)
    with pytest.raises(Refused):
        splittable(text % (b"[" * opened, b"]" * closed), 8)


def test_half_a_million_levels_cost_linear_time() -> None:
    """Counted, not timed: every byte goes into one part that is checked."""
    body = b"[" * 500_000 + b"]" * 500_000
    assert len(splittable(body, 32)) == 2 * 64 + 1


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
