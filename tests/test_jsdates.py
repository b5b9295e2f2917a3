"""Times as JavaScript's Date reads them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.formats import LATEST_MS, to_iso
from eventmw.jsdates import from_js, is_js_time, time_ms, unit_of

# What Date.parse answers in a zone that is UTC. Source: V8, node 20; the first ones are those of the service's pages.
TAKEN = {
    "2021-06-26T14:48:00.000": 1624718880000,
    "2021-06-26T14:48:00.000Z": 1624718880000,
    "2021-06-26T14:48:00.000+09:00": 1624686480000,
    "2021-06-26T14:48": 1624718880000,
    "2021-06-26T14:48Z": 1624718880000,
    "2021-06-26T14:48:00+0900": 1624686480000,
    "2021-06-26T14:48:00-00:00": 1624718880000,
    "2021-06-26T14:48:00+23:59": 1624632540000,
    "2021-06-26T14:48:00.1Z": 1624718880100,
    "2021-06-26T14:48:00.123456Z": 1624718880123,
    "2021-06-26T23:59:59.999Z": 1624751999999,
    "2021-06-26T24:00:00Z": 1624752000000,
    "2021-06-26": 1624665600000,
    "2021-06": 1622505600000,
    "2021": 1609459200000,
    "2021-06T14:48Z": 1622558880000,
    "2021T14:48Z": 1609512480000,
    "+002021-06-26T14:48:00Z": 1624718880000,
    "2020-02-29": 1582934400000,
    "2021-06-26 14:48:00": 1624718880000,
    "2021-06-26 14:48:00Z": 1624718880000,
    "2021-06-26 14:48:00 +0900": 1624686480000,
    "2021-06-26t14:48:00z": 1624718880000,
    "Sat, 26 Jun 2021 14:48:00 GMT": 1624718880000,
    "Sat, 26 Jun 2021 14:48:00 +0900": 1624686480000,
    "Sat, 26 Jun 2021 14:48:00 -0000": 1624718880000,
    "Sat, 26 Jun 2021 14:48:00": 1624718880000,
    "Sat,26 Jun 2021 14:48:00 GMT": 1624718880000,
    "sat, 26 jun 2021 14:48:00 gmt": 1624718880000,
    "26 Jun 2021 14:48:00 -0500": 1624736880000,
    "26 Jun 2021 14:48 EST": 1624736880000,
    "Sat, 26 Jun 2021 14:48:00 PDT": 1624744080000,
    "Sat, 26 Jun 2021 14:48:00 UT": 1624718880000,
    "Sat, 6 Jun 2021 4:08:00 GMT": 1622952480000,
    "26 Jun 2021": 1624665600000,
    "26 Jun 21 14:48:00 GMT": 1624718880000,
    "26 Jun 49": 2508278400000,
    "Saturday, 26-Jun-21 14:48:00 GMT": 1624718880000,
    "Sat Jun 26 2021 14:48:00 GMT+0900 (Japan Standard Time)": 1624686480000,
    "Sat Jun 26 2021": 1624665600000,
    "June 26, 2021": 1624665600000,
    "Jun 26, 2021 14:48:00": 1624718880000,
}
# What databases and languages print, some of it no form that Date.parse knows. Noon of 29 November 2026, UTC, unless said.
NOON_MS = 1795953600000
PRINTED = {
    "BigQuery": "2026-11-29 12:00:00 UTC",
    "Ruby": "2026-11-29 12:00:00 +0000",
    "GMT": "2026-11-29 12:00:00 GMT",
    "Elixir": "2026-11-29 12:00:00Z",
    "Python": "2026-11-29 12:00:00.000000+00:00",
    "Python, isoformat": "2026-11-29T13:00:00.000001+01:00",
    "PostgreSQL": "2026-11-29 12:00:00+00",
    "PostgreSQL, India": "2026-11-29 17:30:00+05:30",
    "MySQL": "2026-11-29 12:00:00.000000",
    "MySQL, as a number": "20261129120000",
    "SQL Server": "Nov 29 2026 12:00PM",
    "SQL Server, datetimeoffset": "2026-11-29 13:00:00.0000000 +01:00",
    "Oracle": "29-NOV-26 12.00.00.000000 PM",
    "Oracle, with a zone": "29-NOV-26 01.00.00.000000000 PM +01:00",
    "Go": "2026-11-29 12:00:00 +0000 UTC",
    "Go, with the monotonic clock": "2026-11-29 13:00:00.000000001 +0100 CET m=+0.100000001",
    "Go, a zone without letters": "2026-11-29 15:00:00 +0300 +03",
    "Go, UnixDate": "Sun Nov 29 12:00:00 UTC 2026",
    "Go, RubyDate": "Sun Nov 29 13:00:00 +0100 2026",
    "Java, Instant": "2026-11-29T12:00:00.000000000Z",
    "Java, ZonedDateTime": "2026-11-29T12:00:00Z[UTC]",
    "Java, in Berlin": "2026-11-29T13:00+01:00[Europe/Berlin]",
    "Rust, time": "2026-11-29 12:00:00.0 +00:00:00",
    "Swift": "2026-11-29 12:00:00 +0000",
    "PHP, COOKIE": "Sunday, 29-Nov-2026 12:00:00 UTC",
    "JavaScript": "Sun Nov 29 2026 13:00:00 GMT+0100 (Central European Standard Time)",
    "JavaScript, in the US": "November 29, 2026 at 12:00 PM",
    "RFC 1123": "Sun, 29 Nov 2026 12:00:00 GMT",
    "RFC 850": "Sunday, 29-Nov-26 12:00:00 GMT",
    "asctime": "Sun Nov 29 12:00:00 2026",
    "RFC 3339, small": "2026-11-29t12:00:00z",
    "RFC 3339, a blank": "2026-11-29 12:00:00z",
    "comma": "2026-11-29T12:00:00,000Z",
    "nine digits": "2026-11-29T12:00:00.000999999Z",
    "basic": "20261129T120000Z",
    "basic, without a zone": "20261129T1200",
    "a week": "2026-W48-7T12:00:00Z",
    "a week, basic": "2026W487T120000Z",
    "hour": "2026-11-29T12Z",
    "slashes": "2026/11/29 12:00:00",
    "one digit": "2026-11-29 12:00",
    "Apache": "29/Nov/2026:12:00:00 +0000",
    "a shell": "2026-11-29T12:00:00Z\n",
    "seconds": "1795953600",
    "seconds, Python's time.time()": "1795953600.0004",
    "milliseconds": "1795953600000",
    "microseconds": "1795953600000999",
    "nanoseconds": "1795953600000999999",
}
REFUSED = [
    "", "noon", "2021-177", "2021-13-01", "2021-00-01", "2021-06-00", "2021-W54-1", "2021-W25-8",
    "2021-06-26T24:00:01Z", "2021-06-26T14:60Z", "2021-06-26T14:48:60Z", "2021-06-26T25:00Z", "2021-06-26T14:48:00.Z",
    "2021-06-26T14:48:00+24:00", "2021-06-26T14:48:00+09:60", "2021-06-26T14:48:00+9:00", "2021-06-26 13:00 PM", "2021-06-26 0:00 AM",
    "-000001-01-01", "0000-01-01", "Sat, 26 Jun 2021 14:48:00 CEST", "32 Jan 2021", "２０２１-06-26", "12:00", "-1", "1e9", "0x10",
    # Whose day comes first differs between countries; a name does not say how far a zone is ahead.
    "03/04/2026", "6/26/2021", "26/6/2021", "26.6.2021", "06-26-2021", "2021-06-26 14:48:00 CET", "2021-06-26T14:48:00[Europe/Berlin]",
    # What Date.parse takes and we do not: such days, times before 1970, after 9999.
    "2021-02-29", "2021-02-30", "31 Feb 2021", "1969-12-31T23:59:59.999Z", "26 Jun 50", "+010000-01-01T00:00:00Z", "9999-12-31T24:00:00Z",
    "x" * 10_000, "2021-06-26T14:48:00." + "1" * 200 + "Z", "9" * 21, "infinity", "now",
]  # fmt: skip


@pytest.mark.parametrize("printer", PRINTED)
def test_what_databases_and_languages_print_is_read(printer: str) -> None:
    """PROTOCOLS.md 3.1."""
    assert is_js_time(PRINTED[printer])
    assert from_js(PRINTED[printer]) == NOON_MS


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2016-12-31T23:59:60Z", 1483228800000),
        ("2017-01-01T00:59:60+01:00", 1483228800000),
        ("2026-11-29 12:00:00.5+00", NOON_MS + 500),
        ("2026-11-29 12:00:00.123 +0000 UTC", NOON_MS + 123),
        ("Nov 29 2026 12:00AM", NOON_MS - 43_200_000),
        ("Sun Nov  1 12:00:00 2026", NOON_MS - 28 * 86_400_000),
        ("20261129", NOON_MS - 43_200_000),
        ("2021", 1609459200000),
        ("1795953600.25", NOON_MS + 250),
        ("1795953600123.9", NOON_MS + 123),
    ],
)
def test_odd_ones(text: str, milliseconds: int) -> None:
    assert from_js(text) == milliseconds


@pytest.mark.parametrize(
    ("number", "milliseconds", "unit"),
    [
        (1795953600, NOON_MS, "seconds"), (1795953600.25, NOON_MS + 250, "seconds"), (1.001, 1001, "seconds"),
        (NOON_MS, NOON_MS, "milliseconds"), (float(NOON_MS) + 0.5, NOON_MS, "milliseconds"),
        (NOON_MS * 1000 + 1, NOON_MS, "microseconds"), (NOON_MS * 1_000_000 + 1, NOON_MS, "nanoseconds"),
        (99_999_999_999, 99_999_999_999_000, "seconds"), (100_000_000_000, 100_000_000_000, "milliseconds"), (0, 0, "seconds"),
    ],
)  # fmt: skip
def test_numbers_are_told_apart_by_their_size(number: float, milliseconds: int, unit: str) -> None:
    assert (time_ms(number), unit_of(number)) == (milliseconds, unit)
    assert (time_ms(str(number)), unit_of(str(number))) == (milliseconds, unit)


def test_a_date_beyond_the_last_one_in_its_own_zone_is_no_time() -> None:
    with pytest.raises(ValueError, match="after 9999"):
        time_ms("9999-12-31T23:59:59-05:00")


@pytest.mark.parametrize("number", [-1, -0.5, 10**21, 1e300, LATEST_MS * 1_000_000 + 1_000_000])
def test_numbers_that_are_no_time(number: float) -> None:
    with pytest.raises(ValueError, match="a time"):
        time_ms(number)


MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30))
ZONES = st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(MOMENTS, ZONES)
def test_what_is_printed_of_a_moment_is_read_back(moment: datetime, zone: timezone) -> None:
    """Each form with a zone, from the same moment: to the millisecond, or as far as it goes."""
    local = moment.replace(tzinfo=zone)
    if not datetime(1970, 1, 2, tzinfo=UTC) <= local <= datetime(9999, 12, 30, tzinfo=UTC):
        return
    exact = (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    second, minute = exact // 1000 * 1000, exact // 60_000 * 60_000
    year, offset = f"{local.year:04d}", local.strftime("%z")
    colon = f"{offset[:3]}:{offset[3:]}"
    day, month, name = local.strftime("%d"), local.strftime("%b"), local.strftime("%a")
    clock, micro = local.strftime("%H:%M:%S"), local.strftime("%f")
    iso = f"{year}-{local:%m-%d}"
    for text, milliseconds in {
        local.isoformat(): exact,
        str(local): exact,
        f"{iso} {clock}.{micro}{offset[:3]}:{offset[3:]}": exact,
        f"{iso} {clock}.{micro}000 {offset} XYZ m=+0.5": exact,
        f"{iso}T{clock},{micro}{offset}": exact,
        f"{iso}t{clock.lower()}.{micro}{colon}[Europe/Berlin]": exact,
        f"{iso} {clock} {colon}": second,
        f"{iso}T{clock[:5]}{colon}": minute,
        f"{year}{local:%m%d}T{local:%H%M%S}.{micro}{offset}": exact,
        f"{local.isocalendar().year:04d}-W{local.isocalendar().week:02d}-{local.isoweekday()}T{clock}{offset}": second,
        f"{name}, {day} {month} {year} {clock} {offset}": second,
        f"{name} {month} {day} {year} {clock} GMT{offset} (Some Time)": second,
        f"{name} {month} {day} {clock} {offset} {year}": second,
        f"{day}-{month.upper()}-{year} {local:%I.%M.%S}.{micro} {local:%p} {colon}": exact,
        f"{month} {day} {year} {local:%I:%M%p} {colon}": minute,
        f"{day}/{month}/{year}:{clock} {offset}": second,
    }.items():
        assert from_js(text) == milliseconds, text


@given(MOMENTS)
def test_without_a_zone_it_is_utc(moment: datetime) -> None:
    exact = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    year = f"{moment.year:04d}"
    for text, milliseconds in {
        moment.isoformat(): exact,
        str(moment): exact,
        f"{moment.isoformat(sep=' ')} UTC": exact,
        f"{year}/{moment:%m/%d %H:%M:%S}": exact // 1000 * 1000,
        f"{moment:%a %b} {moment.day:2d} {moment:%H:%M:%S} {year}": exact // 1000 * 1000,
        f"{moment:%a %b} {moment.day:2d} {moment:%H:%M:%S} UTC {year}": exact // 1000 * 1000,
    }.items():
        assert from_js(text) == milliseconds, text


@pytest.mark.parametrize("text", TAKEN)
def test_forms_that_are_read(text: str) -> None:
    assert is_js_time(text)
    assert from_js(text) == TAKEN[text]


@pytest.mark.parametrize("text", REFUSED)
def test_forms_that_are_not(text: str) -> None:
    assert not is_js_time(text)


@pytest.mark.parametrize("value", [None, 5, True, [], {}])
def test_other_types_are_not_judged(value: object) -> None:
    assert is_js_time(value)


@given(st.integers(0, LATEST_MS))
def test_every_moment_comes_back(milliseconds: int) -> None:
    """As a Date writes it in JSON, and to the second in its other forms."""
    assert from_js(to_iso(milliseconds)) == milliseconds
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    seconds_ms = milliseconds // 1000 * 1000
    year = f"{moment.year:04d}"
    assert from_js(moment.strftime(f"%a, %d %b {year} %H:%M:%S GMT")) == seconds_ms
    assert from_js(moment.strftime(f"%a %b %d {year} %H:%M:%S GMT+0000 (Coordinated Universal Time)")) == seconds_ms


PIECES = st.sampled_from(
    ["2021", "-06", "-26", "-31", "T", " ", "14:48", "24:00", ":00", ".5", "Z", "+09:00", "+0900", "GMT", "Sat", ",", "26", "Jun", "May",
     "21", "EST", "(x)", "-", "+", "1"]
)  # fmt: skip


@pytest.mark.skipif(shutil.which("node") is None, reason="asks a JavaScript engine")
def test_whatever_a_browser_reads_too_is_read_alike() -> None:
    """Held against V8 over texts that are nearly times; a day that there is not is the one thing that V8 would move on.

    Digits alone are numbers here and years there, but for four and eight of them.
    """
    texts: set[str] = {text for text in {*TAKEN, *PRINTED.values()} if unit_of(text) is None}

    @given(st.lists(PIECES, min_size=1, max_size=9).map("".join))
    def collect(text: str) -> None:
        if is_js_time(text) and unit_of(text) is None:
            texts.add(text)

    collect()
    asked = sorted(texts)
    script = "console.log(JSON.stringify(JSON.parse(require('fs').readFileSync(0)).map(Date.parse)))"
    done = subprocess.run(
        ["node", "-e", script],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TZ": "UTC"},
    )
    answers = dict(zip(asked, json.loads(done.stdout), strict=True))
    assert {text for text in TAKEN if answers[text] is None} == set()
    known = {text: answer for text, answer in answers.items() if answer is not None}
    assert known == {text: from_js(text) for text in known}
