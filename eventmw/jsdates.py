"""Times as senders write them, read to milliseconds since 1970 in UTC. Both APIs and `track` share this reader.

Layer: pure rules. Source: ECMA-262 21.4.1.32 «Date Time String Format», RFC 2822 3.3 and 4.3, RFC 3339 5.6, RFC 9110 5.6.7;
V8's ``Date.parse`` for what these leave open (a blank for the T, small letters, an offset without a colon, short years); and
what PostgreSQL, MySQL, SQL Server, Oracle and BigQuery, and the standard libraries of Python, Go, Java, Ruby and PHP, print.

A text that ``Date.parse`` reads as well has the same meaning there when its zone is UTC. Three things that it takes are
refused: a day that its month does not have (it would become one of the next month), times before 1970 or after 9999 (tools
have no word for them), and dates whose order of day and month differs between countries. Source for these: assumption.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from eventmw.formats import LATEST_MS

Unit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]

MAX_LENGTH: Final = 100
"""Characters; a ``Date`` in words, with the name of its zone, has about sixty."""

_UNITS: Final[tuple[tuple[int, Unit, int, int], ...]] = (
    (10**11, "seconds", 1000, 1),
    (10**14, "milliseconds", 1, 1),
    (10**17, "microseconds", 1, 1000),
    (10**21, "nanoseconds", 1, 1_000_000),
)
"""Below which number it counts what, and the factor and divisor to milliseconds. In each of them, the years from 1973 to
5138 are told apart. Source: assumption."""

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

# `+0100 CET` and `m=+0.1` are Go's, `[Europe/Berlin]` is Java's, `(Central European Standard Time)` is JavaScript's.
_ZONE: Final = (
    r"(?: *(?:(?P<zone>Z|UTC?|GMT|[ECMP][SD]T)"
    r"|(?:UTC?|GMT|Z)?(?P<sign>[+-])(?P<ahead_h>[0-9]{2})(?::?(?P<ahead_m>[0-9]{2})(?::?(?P<ahead_s>[0-9]{2}))?)?"
    r"(?: (?:[A-Z]{1,5}|[+-][0-9]{2}(?:[0-9]{2})?))?))?"
    r"(?: m=[+-][0-9]+(?:\.[0-9]+)?)?(?P<region>\[[A-Z0-9_+/:-]{1,60}\])?(?: *\([^()]*\))?"
)
_FRACTION: Final = r"(?:[.,](?P<fraction>[0-9]{1,60}))?"
_HALF: Final = r"(?: ?(?P<half>[AP])\.?M\.?)?"
_TIME: Final = (
    r"(?P<hour>[0-9]{2})(?:(?P<colon>:?)(?P<minute>[0-9]{2})"
    rf"(?:(?P=colon)(?P<second>[0-9]{{2}}){_FRACTION})?)?{_HALF}{_ZONE}"
)
_WORDS_TIME: Final = (
    rf"(?P<hour>[0-9]{{1,2}})(?P<colon>[:.])(?P<minute>[0-9]{{2}})(?:(?P=colon)(?P<second>[0-9]{{2}}){_FRACTION})?"
    rf"{_HALF}{_ZONE}"
)
_DAY_NAME: Final = "(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6},? *)?"
_MONTH_NAME: Final = "(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_FLAGS: Final = re.ASCII | re.IGNORECASE


def _form(date: str, between: str, time: str, after: str = "") -> Callable[[str], re.Match[str] | None]:
    return re.compile(rf"{date}(?:{between}{time})?{after}", _FLAGS).fullmatch


# What nearly every sender writes, and the standard library reads in a tenth of the time that the rest takes. The years at
# both ends are left to the rest, which counts zones in.
_usual: Final = re.compile(
    r"(?:197[1-9]|19[89][0-9]|[2-8][0-9]{3})-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?(?:Z|[+-][0-2][0-9]:[0-5][0-9])?"
).fullmatch

# One after the other, the commonest first.
_forms: Final = (
    _form(r"(?P<year>[0-9]{4}|\+[0-9]{6})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2}))?)?", "(?:[T_]| +)", _TIME),
    _form(
        rf"{_DAY_NAME}(?P<day>[0-9]{{1,2}})(?P<dash>[ /-]) *{_MONTH_NAME}(?P=dash)(?P<year>[0-9]{{4}}|[0-9]{{2}})",
        "(?:,? +(?:at +)?|:)",
        _WORDS_TIME,
        r"(?: *\([^()]*\))?",
    ),
    _form(
        rf"{_DAY_NAME}{_MONTH_NAME} +(?P<day>[0-9]{{1,2}})(?:, *| +)(?P<year>[0-9]{{4}})",
        ",? +(?:at +)?",
        _WORDS_TIME,
        r"(?: *\([^()]*\))?",
    ),
    re.compile(
        rf"{_DAY_NAME}{_MONTH_NAME} +(?P<day>[0-9]{{1,2}}) +{_WORDS_TIME} +(?P<year>[0-9]{{4}})", _FLAGS
    ).fullmatch,
    _form(r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})", "(?:[T_]| +)", _TIME),
    _form(r"(?P<year>[0-9]{4})(?P<dash>[/-])(?P<month>[0-9]{1,2})(?P=dash)(?P<day>[0-9]{1,2})", "(?:[T_]| +)", _TIME),
    _form(r"(?P<year>[0-9]{4})(?P<dash>-?)W(?P<week>[0-9]{2})(?:(?P=dash)(?P<weekday>[1-7]))?", "(?:[T_]| +)", _TIME),
)
_compact: Final = re.compile(r"(?P<date>(?:19|20)[0-9]{6})(?P<time>[0-9]{6})").fullmatch
_number: Final = re.compile(r"[0-9]{1,21}(?:\.[0-9]{1,60})?").fullmatch
_DATES_OF_DIGITS: Final = frozenset({4, 8})
"""How many digits a year alone, and a date without dashes, has: no number of seconds in this century has so few."""


def time_ms(value: str | float) -> int:
    """Return the milliseconds since 1970 of a time; without a zone it is UTC. Finer digits are cut off.

    Args:
        value: a text in one of the forms above, or a number of seconds, milliseconds, microseconds or nanoseconds since
            1970, told apart by their size; also as a text of digits.

    Raises:
        ValueError: it is none of these, there is no such day, or it lies before 1970 or after 9999.
    """
    try:
        return from_js(value) if isinstance(value, str) else _counted(value)
    except OverflowError as error:
        raise ValueError("a time after 9999") from error


def unit_of(value: object) -> Unit | None:
    """Return what a time that is a number, or a text of digits, counts; None of a date."""
    if isinstance(value, str):
        digits = value.strip()
        return _unit(Decimal(digits))[1] if _is_number(digits) else None
    return _unit(value)[1] if isinstance(value, int | float) else None


def _counted(number: float | Decimal) -> int:
    if number < 0:
        raise ValueError("a time before 1970")
    _, unit, factor, divisor = _unit(number)
    if isinstance(number, float) and unit == "seconds":
        number = Decimal(repr(number))  # as it is written: 1.001 s are 1001 ms
    milliseconds = int(number * factor) // divisor
    if milliseconds > LATEST_MS:
        raise ValueError("a time after 9999")
    return milliseconds


def _unit(number: float | Decimal) -> tuple[int, Unit, int, int]:
    return next((row for row in _UNITS if number < row[0]), _UNITS[-1])


def _is_number(text: str) -> bool:
    return _number(text) is not None and len(text) not in _DATES_OF_DIGITS


def from_js(text: str) -> int:
    """Return the milliseconds since 1970 of a time that is a text; see `time_ms`.

    Raises:
        ValueError: as `time_ms`.
    """
    if _usual(text) is not None and (read := _read(text)) is not None:
        return read
    text = text.strip(" \t\r\n")
    if len(text) > MAX_LENGTH:
        raise ValueError("too long for a time")
    if compact := _compact(text):  # MySQL's; as a number it would be of the year 2600
        text = f"{compact['date']}T{compact['time']}"
    if _is_number(text):
        return _counted(Decimal(text))
    found = next((found for form in _forms if (found := form(text)) is not None), None)
    if found is None:
        raise ValueError("not a time in any form that is read here")
    return _from_parts(found.groupdict())


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


Parts = Mapping[str, str | None]


def _from_parts(parts: Parts) -> int:
    moment = _date(parts) + _time_of_day(parts) - _offset(parts)
    # A leap second is the last one of a day in UTC, and counts as the first of the next. Source: POSIX, «Seconds Since the
    # Epoch».
    if parts["second"] == "60" and moment.replace(microsecond=0) - _midnight(moment):
        raise ValueError("there is no such time of day")
    milliseconds = (moment - _EPOCH) // _MILLISECOND
    if not 0 <= milliseconds <= LATEST_MS:
        raise ValueError("a time before 1970 or after 9999")
    return milliseconds


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _date(parts: Parts) -> datetime:
    year = _year(parts["year"] or "")
    if week := parts.get("week"):
        return datetime.combine(
            datetime.fromisocalendar(year, int(week), int(parts["weekday"] or 1)), datetime.min.time(), UTC
        )
    return datetime(year, _month(parts["month"]), int(parts["day"] or 1), tzinfo=UTC)


def _time_of_day(parts: Parts) -> timedelta:
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    if half := parts["half"]:
        if not 1 <= hour <= 12:  # noqa: PLR2004 - a clock's face
            raise ValueError("there is no such time of day")
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    milliseconds = int((parts["fraction"] or "")[:3].ljust(3, "0"))
    past = timedelta(hours=hour, minutes=minute, seconds=second, milliseconds=milliseconds)
    # The day may end with 24:00. Source: ECMA-262 21.4.1.32.
    if minute > 59 or second > 60 or (past > _DAY and second != 60):  # noqa: PLR2004 - a clock
        raise ValueError("there is no such time of day")
    return past


def _year(digits: str) -> int:
    year = int(digits)
    if len(digits) > 2:  # noqa: PLR2004 - digits of a short year
        return year
    return year + (1900 if year >= _MIDDLE else 2000)


def _month(written: str | None) -> int:
    if written is None:
        return 1
    return int(written) if written.isdigit() else _MONTHS[written.lower()]


def _offset(parts: Parts) -> timedelta:
    """Return how far a zone is ahead of UTC."""
    zone, region = parts["zone"], parts["region"]
    if parts["sign"] is not None:
        hours, minutes, seconds = (int(parts[name] or 0) for name in ("ahead_h", "ahead_m", "ahead_s"))
        if hours > 23 or minutes > 59 or seconds > 59:  # noqa: PLR2004 - a clock
            raise ValueError("there is no such zone")
        return timedelta(hours=hours, minutes=minutes, seconds=seconds) * (-1 if parts["sign"] == "-" else 1)
    if zone is None:
        if region is not None and region.upper() not in {"[UTC]", "[GMT]", "[Z]"}:
            raise ValueError("the name of a region does not say how far it is ahead of UTC")
        return timedelta()
    if len(zone) == 3 and (standard := _AMERICAN_H.get(zone[0].lower())) is not None:  # noqa: PLR2004 - EST, PDT
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
