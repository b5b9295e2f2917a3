"""Times and addresses as senders write them: what is one, and what it means. Times are milliseconds since 1970, UTC.

Layer: pure rules; the present is always an argument.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, where ISO 8601 with four digits ends."""


def from_iso(text: str) -> int:
    """Return the milliseconds since 1970 of an ISO 8601 time; without a zone it is UTC. Finer digits are cut off.

    Raises:
        ValueError: this is not an ISO 8601 time, or it lies before 1970.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    past = moment - datetime(1970, 1, 1, tzinfo=UTC)
    milliseconds = (past.days * 86_400 + past.seconds) * 1000 + past.microseconds // 1000
    if not 0 <= milliseconds <= LATEST_MS:
        raise ValueError("a time before 1970 or after 9999")
    return milliseconds


def to_iso(milliseconds: int) -> str:
    """Return the ISO 8601 form with milliseconds and ``Z``: ``2021-06-28T20:07:54.832Z``."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_to_the_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=1024)  # the events of one request were recorded together, and most happened just before
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def is_timestamp(value: object) -> bool:
    """Return whether a text is a time that `from_iso` reads; other types are not judged here."""
    if not isinstance(value, str):
        return True
    try:
        from_iso(value)
    except (ValueError, OverflowError):
        return False
    return True


_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4_PATTERN: Final = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_ipv4 = re.compile(IPV4_PATTERN).fullmatch  # ten times as fast as ipaddress, which decides all else


def is_ip(value: object) -> bool:
    """Return whether a text is an IPv4 or IPv6 address without a zone; other types are not judged here."""
    if not isinstance(value, str) or _ipv4(value):
        return True
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value


def is_origin(value: object) -> bool:
    """Return whether a text is an origin as browsers send it, or ``null``; other types are not judged here."""
    if not isinstance(value, str) or value == "null":
        return True
    try:
        parts = urlsplit(value)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return False
    host = parts.netloc.removesuffix(port)
    return parts.scheme in {"http", "https"} and host != "" and value == f"{parts.scheme}://{host.lower()}{port}"


_http_date = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9] GMT",
).fullmatch


def is_http_date(text: str) -> bool:
    """Return whether a text is a date in the form that HTTP wants. Source: RFC 9110 5.6.7, IMF-fixdate."""
    return _http_date(text) is not None
