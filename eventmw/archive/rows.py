"""Rows out of events, and how far a stream of records is in the archive.

Layer: pure rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

import msgspec

from eventmw.event import Event

DIALECT: Final = "eventbunker"
"""Events of this dialect are rows; no other's are."""

NUL: Final = "\0"
NUL_SIGN: Final = "\u2400"
"""What is kept for U+0000: its picture, U+2400. PostgreSQL has no place for the character in any text, and SQLite's JSON
functions end a text at it, so that ``a`` and ``a\\0b`` would be one value. Source: assumption."""

_METRIC: Final = "metric_name"
_encode = msgspec.json.encode
_NUL_ESCAPE: Final = rb"\u0000"
_is_special = re.compile(rb"\\u0000|[0-9][eE]\+?[0-9]").search


class Span(NamedTuple):
    """The records of one stream whose events are rows: from `first` to `seq`, both included."""

    first: int
    seq: int

    def holds(self, seq: int) -> bool:
        """Return whether it is one of them."""
        return self.first <= seq <= self.seq


def grown(span: Span | None, seqs: Iterable[int]) -> Span | None:
    """Return a span after more records were written, in order.

    A gap begins a new one: records that were skipped (a place was moved to the end, a tool was forgotten) are no rows, and
    a replay must find that they are not. What lies before the span leaves it as it is.
    """
    for seq in seqs:
        if span is None or seq > span.seq + 1:
            span = Span(seq, seq)
        elif seq == span.seq + 1:
            span = Span(span.first, seq)
    return span


def project_of(credential: str) -> str:
    """Return the project of a record's credential, which is ``<project id>/<key id>``."""
    return credential.partition("/")[0]


def row_of(event: Event, project_id: str) -> dict[str, Any]:
    """Return the row of an event, column → value; ``fields`` is a mapping of JSON values still."""
    fields: Mapping[str, Any] = event.properties
    metric = fields.get(_METRIC)
    if isinstance(metric, str):
        fields = {name: value for name, value in fields.items() if name != _METRIC}
    return {
        "project_id": project_id,
        "event_id": event.id,
        "time_ms": event.timestamp_ms,
        "recorded_ms": event.recorded_ms,
        "event_name": event.name,
        "customer_identifier": event.user_id,
        "metric_name": metric if isinstance(metric, str) else None,
        "fields": fields,
    }


def as_stored(text: str) -> str:
    """Return a text as it is kept: with the picture of U+0000 in its place."""
    return text.replace(NUL, NUL_SIGN)


def for_sqlite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as SQLite keeps it: without U+0000, and with ``fields`` as JSON text, every number as it was sent."""
    text = _encode(row["fields"])
    if _NUL_ESCAPE in text:
        text = _encode(_all_stored(row["fields"]))
    return _columns(row) | {"fields": text.decode()}


def for_postgresql(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as PostgreSQL can keep it: without U+0000, and with ``fields`` as JSON text.

    Numbers of jsonb are decimal and have no exponent: one that had is written out with a point, so that it stays a float.
    """
    text = _encode(row["fields"])
    if _is_special(text):
        text = _written(_all_stored(row["fields"])).encode()
    return _columns(row) | {"fields": text.decode()}


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: as_stored(value) if isinstance(value, str) else value for name, value in row.items()}


def _all_stored(value: Any) -> Any:
    match value:
        case str():
            return as_stored(value)
        case list() | tuple():
            return [_all_stored(member) for member in cast(Iterable[object], value)]
        case Mapping():
            members: dict[str, object] = {}
            for name, member in cast(Mapping[str, object], value).items():
                key = as_stored(name)
                while key in members:  # of two names that differ in this alone, none may push the other out
                    key += NUL_SIGN
                members[key] = _all_stored(member)
            return members
        case _:
            return value


def _written(value: object) -> str:
    match value:
        case float() if "e+" in repr(value):
            return f"{Decimal(repr(value)):f}.0"
        case list():
            return f"[{','.join(map(_written, cast(Iterable[object], value)))}]"
        case dict():
            members = cast(Mapping[str, object], value)
            return f"{{{','.join(f'{_written(name)}:{_written(member)}' for name, member in members.items())}}}"
        case _:
            return _encode(value).decode()
