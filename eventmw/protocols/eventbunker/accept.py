"""The schema's verdict on one event, faster: by checks on its decoded form.

Layer: pure rules. `eventmw.schema` is the authority and gives all words; a differential test holds this equal to it.

Source: PROTOCOLS.md 3.1. An array may hold texts, numbers or booleans, but no nulls: so says the service's own page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final, cast

from eventmw.formats import LATEST_MS, is_absent
from eventmw.jsdates import is_js_time
from eventmw.protocols.eventbunker.generated import GENERATED
from eventmw.strictjson import object_in

MAX_NAME: Final = 256
"""Characters of an event's name: it is part of a database's keys, and those have an end. Source: assumption."""

RESERVED: Final = frozenset({"unique_req_id", "time_recorded", "project_id"}) | GENERATED
"""Names that only the server sets."""

MAX_TIME: Final = LATEST_MS * 1_000_000 + 999_999
"""The last nanosecond that a time may be."""

PREDEFINED: Final = frozenset({"event_name", "timestamp", "customer_identifier"})
"""Fields that are more than fields: the event's name, its time, and whose it is."""

_NAMED: Final = ("event_name", "timestamp", "customer_identifier", "metric_name", *sorted(RESERVED))
"""Fields that the schema knows by name."""

_name = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_NAME}}}").fullmatch
_NUMBERS: Final = frozenset({int, float})
_ALONE: Final = frozenset({str, bool})
"""Types that share an array with no other; numbers of both types do."""

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def is_valid(event: Any) -> bool:
    """Return what the schema says of a decoded JSON value, exactly.

    Most of it is done without a step of the interpreter for each field, since every request waits for it.
    """
    fields = object_in(event)
    if fields is None or not _is_name(fields.get("event_name")) or not RESERVED.isdisjoint(fields):
        return False
    for name, check in _CHECKS:
        if name in fields and not check(fields[name]):
            return False
    values = fields.values()
    if not _SCALARS.issuperset(map(type, values)):
        for value in values:
            if type(value) not in _SCALARS and not _is_nested(value):
                return False
    return True


def _is_name(value: Any) -> bool:
    return type(value) is str and _name(value) is not None


def _is_text(value: Any) -> bool:
    return type(value) in _SCALARS or value == []


def _is_time(value: Any) -> bool:
    if type(value) is int or type(value) is float:
        return 0 <= value <= MAX_TIME
    return is_absent(value) or (type(value) is str and is_js_time(value))


_CHECKS: Final[Sequence[tuple[str, Callable[[Any], bool]]]] = (
    ("timestamp", _is_time),
    ("customer_identifier", _is_text),
    ("metric_name", _is_text),
)


def _is_nested(value: Any) -> bool:
    """Return whether an array or an object may be a field."""
    if isinstance(value, list):
        return _is_even(cast(Any, value))
    return _SCALARS.issuperset(map(type, value.values())) or all(
        type(inner) in _SCALARS or (type(inner) is list and _is_even(inner)) for inner in value.values()
    )


def _is_even(values: Any) -> bool:
    """Return whether all in an array are texts, all numbers, or all booleans."""
    kinds = set(map(type, values))
    return kinds <= _NUMBERS or (len(kinds) == 1 and kinds <= _ALONE)


def refused_part(event: Any, most: int) -> Any:
    """Return the part of an event that the schema refuses: of that it says the same, in a time that has an end.

    The authority takes its time for every field and every member of an array, and its verdict on one does not hang on the
    others. So it is given only fields that are wrong, at most `most` of a kind, and of an array one value of each type.
    """
    fields = object_in(event)
    if fields is None:
        return event
    free = (
        (name, _refused_value(value, most))
        for name, value in fields.items()
        if name not in _NAMED and type(value) not in _SCALARS and not _is_nested(value)
    )
    named = {name: fields[name] for name in _NAMED if name in fields}
    return named | dict(islice(free, most))


def _refused_value(value: Any, most: int) -> Any:
    inside = object_in(value)
    if inside is None:
        return _one_of_each(value)
    wrong = (
        (name, _one_of_each(inner))
        for name, inner in inside.items()
        if type(inner) not in _SCALARS and not (isinstance(inner, list) and _is_even(cast(Any, inner)))
    )
    return dict(islice(wrong, most))


def _one_of_each(value: Any) -> Any:
    """Return an array's first value of each type; anything else as it is."""
    if not isinstance(value, list):
        return value
    found: dict[type[object], object] = {}
    for inner in cast(list[object], value):
        found.setdefault(type(inner), inner)
    return list(found.values())
