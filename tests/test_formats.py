"""Times and addresses as senders write them."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.formats import LATEST_MS, from_iso, is_http_date, is_ip, is_origin, is_timestamp, to_iso
from tests import strategies as own

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.integers(0, LATEST_MS))
def test_a_time_survives_its_iso_form(milliseconds: int) -> None:
    assert from_iso(to_iso(milliseconds)) == milliseconds
    assert len(to_iso(milliseconds)) == len("2021-06-28T20:07:54.832Z")


@given(st.datetimes(min_value=datetime(1970, 1, 3), max_value=datetime(9999, 12, 29), timezones=ZONES))
def test_zones_are_minded_and_microseconds_cut_off(moment: datetime) -> None:
    whole = moment - timedelta(microseconds=moment.microsecond % 1000)
    assert from_iso(moment.isoformat()) == (whole - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2021-06-28T20:07:54.832Z", 1_624_910_874_832),
        ("2021-06-28T20:07:54.8329Z", 1_624_910_874_832),
        ("2021-06-28T20:07:54", 1_624_910_874_000),
        ("2021-06-28", 1_624_838_400_000),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999Z", LATEST_MS),
    ],
)
def test_iso_forms(text: str, milliseconds: int) -> None:
    assert from_iso(text) == milliseconds
    assert is_timestamp(text)


@pytest.mark.parametrize(
    "text",
    ["", "noon", "2021-02-30", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00+00:01", "10000-01-01",
     "9999-12-31T23:59:59.999-00:01", "0001-01-01T00:00:00+23:59", "2021-06-28T25:00:00Z", "1624910874832", " 2021-06-28"],
)  # fmt: skip
def test_no_times(text: str) -> None:
    assert not is_timestamp(text)
    with pytest.raises(ValueError):
        from_iso(text)


@given(own.VALUES)
def test_other_types_are_not_judged(value: Any) -> None:
    """JSON Schema draft 2020-12: a format says nothing of other types."""
    if not isinstance(value, str):
        assert is_ip(value)
        assert is_timestamp(value)


@given(st.text(max_size=20) | st.ip_addresses().map(str))
def test_an_ip_is_what_the_standard_library_reads(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        assert not is_ip(text)
    else:
        assert is_ip(text) == ("%" not in text)


@pytest.mark.parametrize("text", ["fe80::1%eth0", "1.2.3", "01.2.3.4", "1.2.3.4:80", "[::1]", "", "localhost"])
def test_no_addresses(text: str) -> None:
    assert not is_ip(text)


def test_http_dates() -> None:
    """RFC 9110 5.6.7: only IMF-fixdate is to be generated."""
    assert is_http_date("Sun, 06 Nov 1994 08:49:37 GMT")
    for text in (
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT\r\nx: y",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        "",
    ):
        assert not is_http_date(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((good, True) for good in ("https://a.example", "http://localhost:8000", "http://[::1]:80", "null", 7, None)),
        *(
            (bad, False)
            for bad in ("", "*", "a.example", "https://", "https://a.example/", "https://A.example", "http://[")
        ),
        *(
            (bad, False)
            for bad in ("ftp://a.example", "https://a.example:x", "https://a.example\n", "https://a.example?b")
        ),
    ],
)
def test_an_origin_is_as_browsers_send_it(value: object, expected: bool) -> None:
    """RFC 6454 6.2: scheme, host and port, and nothing else; other types are not judged here."""
    assert is_origin(value) is expected
