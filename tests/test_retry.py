"""When to try again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmw.retry import MAX_RETRY_AFTER_S, backoff_s, retry_after_s

CHANCE = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10_000), st.floats(0.001, 100), st.floats(100, 10_000), CHANCE)
def test_backing_off_is_bounded(attempt: int, first_s: float, max_s: float, chance: float) -> None:
    wait_s = backoff_s(attempt, first_s=first_s, max_s=max_s, random=chance)
    assert first_s / 2 <= wait_s <= max_s


@given(st.integers(1, 100), CHANCE)
def test_backing_off_never_shrinks(attempt: int, chance: float) -> None:
    first, second = (backoff_s(n, first_s=1, max_s=60, random=chance) for n in (attempt, attempt + 1))
    assert first <= second


def test_backing_off_doubles() -> None:
    assert [backoff_s(n, first_s=1, max_s=60, random=0.0) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff_s(1, first_s=1, max_s=60, random=0.5) == 0.75


DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        (None, None, None),
        ("120", None, 120.0),
        (" 120 ", None, 120.0),
        ("0", None, 0.0),
        ("99999999999999", None, MAX_RETRY_AFTER_S),
        ("-1", None, None),
        ("1.5", None, None),
        ("²", None, None),
        ("soon", None, None),
        ("", None, None),
        ("Wed, 21 Oct 2015 07:28:30 GMT", DATE, 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", DATE, 0.0),
        ("Thu, 22 Oct 2015 07:28:00 GMT", DATE, MAX_RETRY_AFTER_S),
        ("Wed, 21 Oct 2015 07:28:30 GMT", None, None),
        ("Wed, 21 Oct 2015 07:28:30 GMT", "junk", None),
        ("Wed, 21 Oct 2015 07:28:30 -0000", DATE, 30.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 -0000", 30.0),
    ],
)
def test_retry_after(value: str | None, date: str | None, seconds: float | None) -> None:
    """RFC 9110 10.2.3."""
    assert retry_after_s(value, date) == seconds


ODD = st.text(alphabet="0123456789 :,+-WedOctGMT", max_size=40)


@given(ODD | st.text(max_size=30), ODD | st.just(DATE) | st.none())
@example("Wed, 21 Oct 2015 07:28:00 +9999", DATE)
@example("Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359")
def test_whatever_a_vendor_writes_is_bounded(value: str, date: str | None) -> None:
    seconds = retry_after_s(value, date)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)), st.integers(0, 3600))
def test_two_dates_are_their_difference(now: datetime, seconds: int) -> None:
    start = int(now.replace(tzinfo=UTC).timestamp())
    moments = [datetime.fromtimestamp(start + offset, UTC) for offset in (0, seconds)]
    date, later = (format_datetime(moment, usegmt=True) for moment in moments)
    assert retry_after_s(later, date) == seconds
