"""The query language: a JSON object → a frozen `Query`, or every mistake in it with its JSON Pointer.

Layer: pure rules; the present is an argument. The published schema ``eventbunker-query`` decides about shapes; what none
can say (a field's kind, a zone, a period) is `eventmw.query.reading`'s. Nothing of SQL is known.

Source: the seed API's query page (time_period, group_by, computations, filters, order_by); PROTOCOLS.md 3.3; else ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any, Final, cast

from eventmw import strictjson
from eventmw.errors import Fault, Refused
from eventmw.pauses import pause
from eventmw.query.question import Filter, Query
from eventmw.query.reading import Reading
from eventmw.schema import MAX_SHOWN, Authority, pointer, published

SCHEMA: Final = "eventbunker-query"

_ANY_MS: Final = 1 << 40
"""A present, where it does not matter which."""


def parse(document: object, now_ms: int) -> Query:
    """Return the query that a decoded JSON value is, asked at the time `now_ms`.

    Raises:
        Refused: ``invalid_query`` (400), with the faults that could be found at once, at most `MAX_SHOWN` and one more
            that stands for the rest; ``query_too_large`` (400), there are too many values in its filters.
    """
    faults = [*islice(_shape_faults(document), MAX_SHOWN + 1)]
    if not faults:
        reading = Reading(cast(Mapping[str, Any], document), now_ms, faults)
        query = reading.query()
        if not faults:
            return query
    first = faults[0]
    detail = f"{first.message[0].upper()}{first.message[1:]}, at {first.path or 'the top'}."
    raise Refused("invalid_query", detail, faults=tuple(faults[:MAX_SHOWN]), omitted=max(0, len(faults) - MAX_SHOWN))


def parse_text(body: bytes, now_ms: int) -> Query:
    """Return the query that a JSON text is.

    Raises:
        Refused: it is no JSON (``invalid_json`` and its kin), or no query (``invalid_query``).
    """
    strictjson.check_digits(body)
    return parse(strictjson.decode(body), now_ms)


def filters_of(wanted: Mapping[str, Any]) -> tuple[Filter, ...]:
    """Return a key's own filter as filters: each value has to equal.

    Raises:
        Refused: a name or a value cannot be used; whoever asks sees nothing then.
    """
    return tuple(
        one
        for name, value in wanted.items()
        for one in parse({"filters": [{"field_name": name, "op": "equals", "value": value}]}, _ANY_MS).filters
    )


@cache
def _authority() -> Authority:
    return Authority(published(SCHEMA))


def _shape_faults(document: object) -> Iterator[Fault]:
    for fault in _authority().faults(document):
        if fault.code != "additionalProperties":
            yield fault
    yield from unknown_keys(document, published(SCHEMA))


def unknown_keys(value: object, schema: Mapping[str, Any], at: tuple[str | int, ...] = ()) -> Iterator[Fault]:
    """Return a fault for each key that an object may not have, at the key: the validator would tell none of them."""
    if isinstance(value, Mapping):
        known: Mapping[str, Any] = schema.get("properties", {})
        for key, inner in cast(Mapping[str, object], value).items():
            if key in known:
                yield from unknown_keys(inner, known[key], (*at, key))
            elif "additionalProperties" in schema:
                expected = f"expected one of the keys {', '.join(known)}, got another key"
                yield Fault(None, pointer((*at, key)), pointer(("additionalProperties",)), "unknown_key", expected)
    elif isinstance(value, list) and "items" in schema:
        for place, inner in enumerate(islice(cast(list[object], value), schema.get("maxItems"))):
            pause()
            yield from unknown_keys(inner, schema["items"], (*at, place))
