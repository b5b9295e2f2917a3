"""How a record is written."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmw.event import Record
from eventmw.record import UnreadableRecord, decode, encode
from tests import strategies as own

RECORDS = st.builds(
    Record,
    id=st.text("0123456789abcdef", min_size=32, max_size=32),
    recorded_ms=st.integers(0, 2**53),
    dialect=st.just("zaraz"),
    credential=own.TEXTS,
    client_ip=st.none() | own.ADDRESSES,
    indexes=st.none() | st.lists(st.integers(0, 10**6), max_size=4).map(tuple),
    body=st.binary(max_size=60),
    browser=st.just({}) | st.dictionaries(own.TEXTS, own.TEXTS, max_size=2),
)


@given(RECORDS)
def test_a_record_survives(record: Record) -> None:
    assert decode(encode(record)) == record


@given(RECORDS)
def test_the_body_stands_in_it_as_it_came(record: Record) -> None:
    assert encode(record).endswith(b"\n" + record.body)


@given(st.binary(max_size=80))
@example(b"")
@example(b"\n")
@example(b'[1,"a",0,"z","c",null,null]')
@example(b'[2,"a",0,"z","c",null,null]\n{}')
@example(b'[1,"\xff",0,"z","c",null,null]\n{}')
@example(b'[1,"\\ud800",0,"z","c",null,null]\n{}')
@example(b'[1,"a",0,"z","c",null,[[]]]\n{}')
@example(b"[" * 100_000 + b"\n")
def test_bytes_that_are_no_record_are_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableRecord):
        decode(data)


def test_a_newer_format_is_named() -> None:
    with pytest.raises(UnreadableRecord, match="format 3 is not understood; this version reads formats 1 and 2"):
        decode(b'[3,"a",0,"z","c",null,null]\n{}')


def test_a_record_without_a_browser_is_written_as_before() -> None:
    """An older version beside this one reads it."""
    assert encode(Record("a", 0, "z", "c", "192.0.2.1", None, b"{}")) == b'[1,"a",0,"z","c","192.0.2.1",null]\n{}'
    assert encode(Record("a", 0, "z", "c", None, (1,), b"{}", {"user-agent": "x"})) == (
        b'[2,"a",0,"z","c",null,[1],{"user-agent":"x"}]\n{}'
    )
