"""JSON on its way out: it decodes to what it was, and cannot leave the place it was made for."""

from __future__ import annotations

import json
import unicodedata
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmw.jsontext import encode, for_line, for_script

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
NASTY = "</script>\u2028\u2029\x1b[2J\r\n\x7f\x9b\u202e'\"`${x}&"


@given(VALUES)
@example(NASTY)
@example(10**3999)
def test_every_form_decodes_to_the_value(value: Any) -> None:
    for text in (encode(value).decode(), for_line(value), for_script(value)):
        assert json.loads(text) == value


@given(VALUES)
@example(NASTY)
def test_a_line_holds_nothing_that_moves_a_cursor_or_turns_the_direction(value: Any) -> None:
    for char in for_line(value):
        assert unicodedata.category(char) not in {"Cc", "Zl", "Zp"}
        assert unicodedata.bidirectional(char) not in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(VALUES)
@example(NASTY)
def test_a_script_cannot_be_left(value: Any) -> None:
    assert not set(for_script(value)) & set("<>&'`$\u2028\u2029\r\n")


def test_read_only_mappings_are_objects() -> None:
    assert encode({"a": MappingProxyType({"b": 1})}) == b'{"a":{"b":1}}'


def test_what_is_not_json_is_an_error() -> None:
    with pytest.raises(TypeError, match="a JSON value was expected, not object"):
        encode(object())
