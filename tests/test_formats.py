"""Times and addresses as senders write them."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.formats import (
    LATEST_MS,
    NoOrigin,
    check_origin_spelling,
    from_iso,
    ip_of,
    is_http_date,
    is_ip,
    to_iso,
)
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


@pytest.mark.parametrize(
    "text",
    ["", "noon", "2021-02-30", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00+00:01", "10000-01-01",
     "9999-12-31T23:59:59.999-00:01", "0001-01-01T00:00:00+23:59", "2021-06-28T25:00:00Z", "1624910874832", " 2021-06-28"],
)  # fmt: skip
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError):
        from_iso(text)


@given(own.VALUES)
def test_other_types_are_not_judged(value: Any) -> None:
    """JSON Schema draft 2020-12: a format says nothing of other types."""
    if not isinstance(value, str):
        assert is_ip(value)


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


ORIGINS = [
    "https://a.example", "http://localhost:8000", "http://[::1]:8080", "http://a.example:443", "https://xn--mnchen-3ya.example",
    "http://tauri.localhost", "https://localhost", "http://192.0.2.1", "null", "file://",
    "capacitor://localhost", "ionic://localhost", "tauri://localhost", "app://obsidian.md", "vscode-webview://0k3abc",
    "chrome-extension://abcdefghijklmnop", "moz-extension://4ed7f644-c3b5-4bf1-983f-2c8718f52222",
    "safari-web-extension://DC4DA40F-2BEE-45E4-8E3D-75A4D2E3B4A5", "capacitor://localhost:8100",
]  # fmt: skip


@pytest.mark.parametrize("text", ORIGINS)
def test_an_origin_is_as_browsers_and_apps_send_it(text: str) -> None:
    """RFC 6454 6.2: scheme, host and port, and nothing else; apps have schemes of their own."""
    check_origin_spelling(text)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("https://A.example", "https://a.example"),
        ("HTTPS://a.example", "https://a.example"),
        ("Capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://ABC", "chrome-extension://abc"),
        ("NULL", "null"),
        ("https://a.example/", "https://a.example"),
        ("https://a.example/x?y#z", "https://a.example"),
        ("https://a.example?b", "https://a.example"),
        ("capacitor://localhost/", "capacitor://localhost"),
        ("https://a.example:443", "https://a.example"),
        ("https://a.example:0443", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:08080", "http://a.example:8080"),
        ("https://a.example:", "https://a.example"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("https://例え.jp:443/", "https://xn--r8jz45g.jp"),
        ("https://ann:password@a.example", "https://a.example"),
        ("https://a.example.", "https://a.example"),
        (" https://a.example", "https://a.example"),
        ("https://a.example\n", "https://a.example"),
        ("https://a.example\x00", "https://a.example"),
        ("a.example", "https://a.example"),
        ("//a.example", "https://a.example"),
        ("localhost:3000", "http://localhost:3000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]"),
        ("http://[::ffff:192.0.2.1]", "http://[::ffff:c000:201]"),
        ("wss://a.example", "https://a.example"),
        ("file:///index.html", "null"),
        *((bad, "") for bad in ("", "*", "https://*.a.example", "https://*", "*.a.example", "https://", "http://[", "capacitor://")),
        *((bad, "") for bad in ("ftp://a.example", "https://a.example:x", "https://a.example:70000", "https://a.example:0", "https:a")),
        *((bad, "") for bad in ("https://a..example", "https://a%2eexample", "http://127.1", "http://0x7f000001", "http://[fe80::1%eth0]")),
        *((bad, "") for bad in ("https://a.example,https://b.example", "data:text/html,x", "app://bücher", "https://\ud800.example")),
    ],
)  # fmt: skip
def test_what_no_browser_sends_is_said_with_the_right_spelling(text: str, spelling: str) -> None:
    with pytest.raises(NoOrigin) as caught:
        check_origin_spelling(text)
    assert caught.value.spelling == spelling
    assert "password" not in caught.value.advice.replace("user and password", "")


@given(
    st.text(max_size=30)
    | st.sampled_from(ORIGINS).flatmap(lambda good: st.text(max_size=3).map(lambda more: good + more))
)
def test_a_proposed_spelling_is_an_origin(text: str) -> None:
    try:
        check_origin_spelling(text)
    except NoOrigin as problem:
        if problem.spelling:
            check_origin_spelling(problem.spelling)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("::FFFF:C000:0201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
        ("192.0.2.1:443", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        *((text, None) for text in ("", "unknown", "_hidden", "localhost", "1.2.3", "01.2.3.4", "[2001:db8::1", "[::1]x", "unix:")),
    ],
)  # fmt: skip
def test_an_address_has_one_spelling(text: str, address: str | None) -> None:
    """RFC 4291 2.5.5.2 for mapped addresses, RFC 5952 for the form."""
    assert ip_of(text) == address


@given(st.ip_addresses())
def test_every_spelling_of_an_address_is_read_as_the_same(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    one = ip_of(str(address))
    assert one == ip_of(address.exploded) == ip_of(str(address).upper())
    assert ip_of(str(one)) == one
