"""Periods, and buckets over changes of the clock. The years' changes are those of the IANA database."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.query.periods import (
    DAY_MS,
    LENGTHS_MS,
    Interval,
    Period,
    bucket_end,
    bucket_number,
    bucket_start,
    bucket_starts,
    moment_of,
    start_of,
    stretches,
    words_of,
    zone_of,
)
from tests import query_model as model


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


NOW = ms("2024-03-13T12:34:56.789Z")


@pytest.mark.parametrize(
    ("words", "zone", "begin", "end"),
    [
        ("minus_5_minutes", "UTC", "2024-03-13T12:29:56.789Z", None),
        ("minus_1_hour", "UTC", "2024-03-13T11:34:56.789Z", None),
        ("minus_30_seconds", "UTC", "2024-03-13T12:34:26.789Z", None),
        ("minus_7_days", "America/New_York", "2024-03-06T12:34:56.789Z", None),  # 7 times 24 hours, whatever clocks did
        ("minus_2_weeks", "UTC", "2024-02-28T12:34:56.789Z", None),
        ("today", "UTC", "2024-03-13T00:00Z", None),
        ("today", "Pacific/Auckland", "2024-03-14T00:00+13:00", None),
        ("yesterday", "Europe/Berlin", "2024-03-12T00:00+01:00", "2024-03-13T00:00+01:00"),
        ("this_week", "UTC", "2024-03-11T00:00Z", None),
        ("last_week", "America/New_York", "2024-03-04T00:00-05:00", "2024-03-11T00:00-04:00"),  # a week of 167 hours
        ("this_month", "UTC", "2024-03-01T00:00Z", None),
        ("last_month", "UTC", "2024-02-01T00:00Z", "2024-03-01T00:00Z"),
        ("this_year", "Asia/Kolkata", "2024-01-01T00:00+05:30", None),
        ("last_year", "UTC", "2023-01-01T00:00Z", "2024-01-01T00:00Z"),
    ],
)
def test_words(words: str, zone: str, begin: str, end: str | None) -> None:
    assert words_of(words, zone_of(zone), NOW) == Period(ms(begin), NOW + 1 if end is None else ms(end))


@pytest.mark.parametrize("words", ["", "tomorrow", "minus_1_month", "minus_-1_days", "minus_99999_weeks", "last_day"])
def test_what_is_no_period(words: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        words_of(words, zone_of("UTC"), NOW)


def test_times_without_a_zone_are_of_the_querys() -> None:
    berlin = zone_of("Europe/Berlin")
    assert moment_of("2024-07-01", berlin) == ms("2024-06-30T22:00Z")
    assert moment_of("2024-07-01T00:00-04:00", berlin) == ms("2024-07-01T04:00Z")
    assert moment_of(1.0, berlin) == 1
    for wrong in (-1, 0.5, 253_402_300_800_000, "0001-01-01", "9999-12-31T23:59:59-11:00"):
        with pytest.raises(ValueError):
            moment_of(wrong, berlin)


@pytest.mark.parametrize("name", ["", "Mars", "../UTC", "Europe", "x" * 5000, "UTC\x00", "C:\\"])
def test_what_is_no_zone(name: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        zone_of(name)


@pytest.mark.parametrize(
    ("zone", "day", "begins"),
    [
        ("Europe/Berlin", "2024-03-31", "2024-03-30T23:00Z"),
        ("America/Havana", "2024-03-10", "2024-03-10T05:00Z"),  # midnight is left out: it begins at 01:00
        ("America/Havana", "2024-11-03", "2024-11-03T04:00Z"),  # midnight comes twice: the first
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00Z"),  # the day before it was left out
    ],
)
def test_days_begin_where_clocks_change(zone: str, day: str, begins: str) -> None:
    assert start_of(datetime.fromisoformat(day).date(), zone_of(zone)) == ms(begins)


def test_stretches_of_a_year() -> None:
    found = stretches(zone_of("Europe/Berlin"), Period(ms("2024-01-01T00:00Z"), ms("2025-01-01T00:00Z")))
    assert [(one.until_ms, one.offset_ms // 3_600_000) for one in found] == [
        (ms("2024-03-31T01:00Z"), 1),
        (ms("2024-10-27T01:00Z"), 2),
        (None, 1),
    ]


@given(model.ZONES, model.MOMENTS, model.MOMENTS, st.floats(0, 1))
def test_stretches_say_what_each_clock_says(name: str, one: int, other: int, share: float) -> None:
    begin, end = sorted([one, other])
    at = begin + int((end - begin) * share)
    zone = zone_of(name)
    offset = next(
        stretch.offset_ms
        for stretch in stretches(zone, Period(begin, end + 1))
        if stretch.until_ms is None or at < stretch.until_ms
    )
    clock = datetime.fromtimestamp(at // 1000, UTC).astimezone(zone).utcoffset()
    assert clock is not None
    assert offset == clock.total_seconds() * 1000


def test_the_numbers_of_buckets() -> None:
    utc = zone_of("UTC")
    assert bucket_start("hour", 5, utc) == 5
    assert bucket_start("day", 19_782, utc) == ms("2024-02-29T00:00Z")
    assert bucket_start("week", 0, utc) == ms("1969-12-29T00:00Z")
    assert bucket_start("month", 2024 * 12 + 11, utc) == ms("2024-12-01T00:00Z")


def test_half_an_hour_that_the_clocks_make_is_a_bucket_of_its_own() -> None:
    """Lord Howe's clocks change by half an hour: the bucket begins with the change, and not half an hour before it."""
    zone = zone_of("Australia/Lord_Howe")
    change = ms("2026-04-04T15:00:00Z")  # 02:00+11:00 becomes 01:30+10:30
    assert bucket_start("hour", change - 1_800_000, zone) == change
    assert bucket_start("hour", change - model.HOUR_MS, zone) == change - model.HOUR_MS
    assert bucket_start("hour", change + 1_800_000, zone) == change + 1_800_000
    assert bucket_start("minute", change - 60_000, zone) == change - 60_000


@given(
    st.sampled_from(["minute", "hour", "day", "week", "month"]),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "America/Sao_Paulo"]
    ),
    st.integers(ms("1990-01-01T00:00Z"), ms("2030-01-01T00:00Z")),
    st.integers(1, 60),
    st.floats(0, 1, exclude_max=True),
)
def test_the_buckets_of_a_period_follow_each_other(
    interval: Interval, name: str, begin: int, count: int, share: float
) -> None:
    zone = zone_of(name)
    period = Period(begin, begin + count * LENGTHS_MS.get(interval, 30 * DAY_MS))
    starts = [*bucket_starts(interval, period, zone)]
    assert starts[0] <= begin < bucket_end(interval, starts[0], zone)
    assert [bucket_end(interval, one, zone) for one in starts[:-1]] == starts[1:]
    at = begin + int((period.to_ms - begin) * share)
    found = bucket_start(interval, bucket_number(interval, at, zone), zone)
    assert found in starts
    assert found <= at < bucket_end(interval, found, zone)
