"""Rows out of events, their JSON, and spans of records: pure rules."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from eventmw.archive.rows import NUL, NUL_SIGN, Span, for_postgresql, for_sqlite, grown, project_of
from tests.archiving import row

TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.just(NUL), max_size=6)
SCALARS = st.none() | st.booleans() | st.integers() | st.integers(10**25, 10**40) | st.floats(allow_nan=False) | TEXTS
FINITE = SCALARS.filter(lambda value: value not in (float("inf"), float("-inf")))
FIELDS = st.dictionaries(
    TEXTS, FINITE | st.lists(FINITE, max_size=3) | st.dictionaries(TEXTS, FINITE, max_size=3), max_size=4
)


def signed(value: Any) -> Any:
    match value:
        case str():
            return value.replace(NUL, NUL_SIGN)
        case list():
            return [signed(member) for member in value]
        case dict():
            return {signed(name): signed(member) for name, member in value.items()}
        case _:
            return value


def typed(value: Any) -> Any:
    match value:
        case list():
            return [typed(member) for member in value]
        case dict():
            return {name: typed(member) for name, member in value.items()}
        case _:
            return type(value), value


@given(FIELDS)
def test_sqlite_keeps_every_value_but_nul(fields: dict[str, Any]) -> None:
    found = json.loads(for_sqlite(row("a", fields=fields))["fields"])
    if len(signed(fields)) == len(fields):  # else two names differ in this character alone, and both are there
        assert typed(found) == typed(signed(fields))
    assert len(found) == len(fields)
    assert NUL not in json.dumps(found, ensure_ascii=False)
    assert "\\u0000" not in json.dumps(found).replace("\\\\", "")


@given(FIELDS)
def test_both_databases_keep_the_same_texts(fields: dict[str, Any]) -> None:
    one = row("a", customer_identifier="u\0v", fields=fields)
    on_sqlite, on_postgresql = for_sqlite(one), for_postgresql(one)
    assert on_sqlite["customer_identifier"] == on_postgresql["customer_identifier"] == "u\u2400v"
    assert json.loads(on_sqlite["fields"]).keys() == json.loads(on_postgresql["fields"]).keys()


@given(FIELDS)
def test_postgresql_gets_no_nul_and_no_large_exponent(fields: dict[str, Any]) -> None:
    text = for_postgresql(row("a", fields=fields))["fields"]
    found = json.loads(text, parse_float=lambda digits: float(digits) if "e+" not in digits.lower() else None)
    assert NUL not in str(found)
    if signed(fields).keys() == {*found}:  # else two names differ in this character alone, and both are there
        assert len(found) == len(fields)
    if NUL not in json.dumps(fields, ensure_ascii=False) and "\\u0000" not in json.dumps(fields):
        assert typed(found) == typed(fields)


@given(st.lists(st.integers(1, 12)))
def test_a_span_holds_only_what_was_written(seqs: list[int]) -> None:
    span = grown(None, seqs)
    if span is not None:
        assert {*range(span.first, span.seq + 1)} <= {*seqs}
        assert span.seq == max(seqs)


def test_a_gap_begins_a_new_span() -> None:
    assert grown(Span(1, 5), [6, 7]) == Span(1, 7)
    assert grown(Span(1, 5), [7]) == Span(7, 7)
    assert grown(Span(4, 5), [1, 2, 5]) == Span(4, 5)
    assert grown(None, []) is None


def test_the_project_is_the_credentials_first_part() -> None:
    assert project_of("p1/key-1") == "p1"
