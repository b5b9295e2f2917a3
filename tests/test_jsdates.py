"""Times as JavaScript's Date reads them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.formats import LATEST_MS, to_iso
from eventmw.jsdates import from_js, is_js_time

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
REFUSED = [
    "", "noon", " 2021-06-26", "2021-06-26\n", "20210626", "2021-W25-6", "2021-177", "2021-13-01", "2021-00-01", "2021-06-00",
    "2021-06-26T14", "2021-06-26T24:00:01Z", "2021-06-26T14:60Z", "2021-06-26T14:48:60Z", "2021-06-26T25:00Z", "2021-06-26T14:48:00.Z",
    "2021-06-26T14:48:00+24:00", "2021-06-26T14:48:00+09:60", "2021-06-26T14:48:00+9:00", "2021-06-26T14:48:00 Z",
    "1624718880000", "-000001-01-01", "0000-01-01", "Sat, 26 Jun 2021 14:48:00 CEST", "32 Jan 2021", "２０２１-06-26",
    # What Date.parse takes and we do not: such days, times before 1970, after 9999, and forms of some browsers alone.
    "2021-02-29", "2021-02-30", "31 Feb 2021", "1969-12-31T23:59:59.999Z", "26 Jun 50", "+010000-01-01T00:00:00Z", "9999-12-31T24:00:00Z",
    "6/26/2021", "2021/06/26", "2021-6-26", "Sat Jun 26 14:48:00 2021", "x" * 10_000, "2021-06-26T14:48:00." + "1" * 200 + "Z",
]  # fmt: skip


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
def test_whatever_is_read_a_browser_reads_alike() -> None:
    """Held against V8 over texts that are nearly times; a day that there is not is the one thing that V8 would move on."""
    texts: set[str] = set(TAKEN)

    @given(st.lists(PIECES, min_size=1, max_size=9).map("".join))
    def collect(text: str) -> None:
        if is_js_time(text):
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
    assert dict(zip(asked, json.loads(done.stdout), strict=True)) == {text: from_js(text) for text in asked}
