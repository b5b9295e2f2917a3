"""Times as JavaScript's ``Date`` reads them: the ISO forms, those of RFC 2822, and what a ``Date`` writes of itself.

Layer: pure rules. Source: ECMA-262 21.4.1.32 «Date Time String Format»; RFC 2822 3.3 and 4.3; V8's ``Date.parse`` for what
both leave open (a blank for the T, small letters, an offset without a colon, short years).

Whatever is taken here, ``Date.parse`` takes with the same meaning when its zone is UTC. Three things that it takes are
refused: a day that its month does not have (it would become one of the next month), times before 1970 or after 9999 (tools
have no word for them), and the spellings of one browser alone. Source for these: assumption.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from eventmw.formats import LATEST_MS

MAX_LENGTH: Final = 100
"""Characters; a ``Date`` in words, with the name of its zone, has about sixty."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_MILLISECOND: Final = timedelta(milliseconds=1)

_MIDDLE: Final = 50
"""Short years from here on are of the last century. Source: RFC 2822 4.3."""

_MONTHS: Final[Mapping[str, int]] = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_AMERICAN_H: Final[Mapping[str, int]] = {"e": -5, "c": -6, "m": -7, "p": -8}
"""First letter of a zone in words → hours of its standard time. Source: RFC 2822 4.3."""

_REST: Final = r":(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,60}))?)?"
_OFFSET: Final = "[+-][0-9]{2}:?[0-9]{2}"
_DAY_NAME: Final = "(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? ?)?"
_MONTH_NAME: Final = "(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_WORDS_TIME: Final = (
    rf"(?: (?P<hour>[0-9]{{1,2}}){_REST}(?: (?P<zone>(?:GMT|UTC?)?{_OFFSET}|GMT|UTC?|Z|[ECMP][SD]T))?)?(?: \([^()]*\))?"
)
_FLAGS: Final = re.ASCII | re.IGNORECASE

# What nearly every sender writes, and the standard library reads in a tenth of the time that the rest takes. The years at
# both ends are left to the rest, which counts zones in.
_usual: Final = re.compile(
    r"(?:197[1-9]|19[89][0-9]|[2-8][0-9]{3})-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?(?:Z|[+-][0-2][0-9]:[0-5][0-9])?"
).fullmatch

# One after the other, the commonest first.
_forms: Final = (
    re.compile(
        r"(?P<year>[0-9]{4}|\+[0-9]{6})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2}))?)?"
        rf"(?:T(?P<hour>[0-9]{{2}}){_REST}(?P<zone>Z|{_OFFSET})?)?",
        _FLAGS,
    ).fullmatch,
    re.compile(
        r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
        rf" (?P<hour>[0-9]{{2}}){_REST}(?: ?(?P<zone>Z|{_OFFSET}))?",
        _FLAGS,
    ).fullmatch,
    re.compile(
        rf"{_DAY_NAME}(?P<day>[0-9]{{1,2}})[ -]{_MONTH_NAME}[ -](?P<year>[0-9]{{4}}|[0-9]{{2}}){_WORDS_TIME}", _FLAGS
    ).fullmatch,
    re.compile(
        rf"{_DAY_NAME}{_MONTH_NAME} (?P<day>[0-9]{{1,2}}),? (?P<year>[0-9]{{4}}){_WORDS_TIME}", _FLAGS
    ).fullmatch,
)


def from_js(text: str) -> int:
    """Return the milliseconds since 1970 of a time; without a zone it is UTC. Finer digits are cut off.

    Raises:
        ValueError: this is none of the forms, there is no such day, or it lies before 1970 or after 9999.
    """
    if _usual(text) is not None and (read := _read(text)) is not None:
        return read
    found = (
        next((found for form in _forms if (found := form(text)) is not None), None) if len(text) <= MAX_LENGTH else None
    )
    if found is None:
        raise ValueError("not a time that JavaScript's Date reads")
    parts = found.groupdict()
    milliseconds = (_moment(parts) - _offset(parts["zone"]) - _EPOCH) // _MILLISECOND
    if not 0 <= milliseconds <= LATEST_MS:
        raise ValueError("a time before 1970 or after 9999")
    return milliseconds


def _read(text: str) -> int | None:
    """Return what the standard library reads; it knows no end of the day as 24:00, which is left to the rest."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    past = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - _EPOCH
    return (past.days * 86_400 + past.seconds) * 1000 + past.microseconds // 1000


def _is_moment(text: str) -> bool:
    """Return whether the standard library reads it: a usual form then lies between 1970 and 9999, whatever its zone."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _moment(parts: Mapping[str, str | None]) -> datetime:
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    milliseconds = int((parts["fraction"] or "")[:3].ljust(3, "0"))
    past = timedelta(hours=hour, minutes=minute, seconds=second, milliseconds=milliseconds)
    # The day may end with 24:00. Source: ECMA-262 21.4.1.32.
    if minute > 59 or second > 59 or past > _DAY:  # noqa: PLR2004 - a clock
        raise ValueError("there is no such time of day")
    return datetime(_year(parts["year"] or ""), _month(parts["month"]), int(parts["day"] or 1), tzinfo=UTC) + past


def _year(digits: str) -> int:
    year = int(digits)
    if len(digits) > 2:  # noqa: PLR2004 - digits of a short year
        return year
    return year + (1900 if year >= _MIDDLE else 2000)


def _month(written: str | None) -> int:
    if written is None:
        return 1
    return int(written) if written.isdigit() else _MONTHS[written.lower()]


def _offset(zone: str | None) -> timedelta:
    """Return how far a zone is ahead of UTC."""
    sign = max((zone or "").find("+"), (zone or "").find("-"))
    if zone is not None and sign >= 0:
        hours, minutes = int(zone[sign + 1 : sign + 3]), int(zone[-2:])
        if hours > 23 or minutes > 59:  # noqa: PLR2004 - a clock
            raise ValueError("there is no such zone")
        return timedelta(hours=hours, minutes=minutes) * (-1 if zone[sign] == "-" else 1)
    if zone is not None and len(zone) == 3 and (standard := _AMERICAN_H.get(zone[0].lower())) is not None:  # noqa: PLR2004 - EST, PDT
        return timedelta(hours=standard + (zone[1].lower() == "d"))
    return timedelta()


def is_js_time(value: object) -> bool:
    """Return whether a text is a time that `from_js` reads; other types are not judged here."""
    if not isinstance(value, str):
        return True
    try:
        if _usual(value) is None or not _is_moment(value):
            from_js(value)
    except (ValueError, OverflowError):
        return False
    return True
