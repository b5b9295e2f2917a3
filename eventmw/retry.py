"""When to try again: jittered exponential back-off and ``Retry-After``.

Layer: pure rules; randomness comes in as an argument.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_S: Final = 3600.0
"""A vendor that asks for more than an hour is probed each hour. Source: assumption."""


def backoff_s(attempt: int, *, first_s: float, max_s: float, random: float) -> float:
    """Return the seconds to wait before attempt number `attempt` (1 is the first retry).

    "Equal jitter": half of the exponential step for certain, half by chance, so that retries of many senders spread out
    and none comes at once. ``first_s / 2 <= result <= max_s`` for ``attempt >= 1`` and ``0 <= random < 1``.
    """
    step = min(max_s, first_s * 2.0 ** min(attempt - 1, 62))
    return step / 2 + step / 2 * random


def retry_after_s(value: str | None, date: str | None = None) -> float | None:
    """Return the seconds that a ``Retry-After`` field asks for, between 0 and an hour, or None when it says nothing usable.

    The field is a number of seconds or an HTTP date; a date is read against the answer's own ``Date`` field, so that
    neither clock has to be right. Source: RFC 9110 10.2.3.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), MAX_RETRY_AFTER_S))
    then, now = _http_date(text), _http_date(date or "")
    if then is None or now is None:
        return None
    return min(max((then - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
