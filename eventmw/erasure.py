"""Erasing a person from a record: whose events go, what is left in their places, and nothing else changed.

A record keeps its length and its events their ordinals, because places in the log point at both. An event that goes is
replaced by `MARKER`, which no sender can ever have sent: the door asks for an object. The browser's address goes with it.

Layer: assembly, pure. Source: assumption; RFC 8259 2 allows the blanks after a JSON text that fill the length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from eventmw import record as records
from eventmw.protocols.zaraz import events

PERSON_FIELDS: Final = ("user_id", "userId", "customer_id", "customerId", "email")
"""Where events name a person, unless the owner says otherwise."""

MARKER: Final = b'{"client":0}'
"""What stands in the place of an erased event. It is shorter than the smallest event that is accepted."""

_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder(Any).decode


@dataclass(frozen=True, slots=True)
class Person:
    """Someone whose events are to go.

    Attributes:
        fields: where events name a person: a track property such as ``user_id``, or a dotted path from the top of the
            event, such as ``system.cookies.uid``.
        value: what stands there, exactly; of a number, its JSON text.
    """

    fields: Sequence[str]
    value: str

    def as_json(self) -> dict[str, Any]:
        """Return the person as a journal hands it on."""
        return {"fields": list(self.fields), "value": self.value}


def rewrite(record: bytes, person: Mapping[str, Any]) -> bytes | None:
    """Do as `erase` does, for a journal: the person is as `Person.as_json` says it."""
    return erase(record, Person(person["fields"], person["value"]))


def erase(record: bytes, person: Person) -> bytes | None:
    """Return a record without a person's events, None when there are none: ``len(result) == len(record)``.

    A record that cannot be read is left alone: nobody can say whose it is, and no tool is ever given it.
    """
    try:
        decoded = records.decode(record)
        raws = [bytes(raw) for raw in events.raw_events(decoded.body)]
        kept = [MARKER if is_of(raw, person) else raw for raw in raws]
    except (records.UnreadableRecord, msgspec.DecodeError, KeyError):
        return None
    if kept == raws:
        return None
    written = records.encode(decoded._replace(client_ip=decoded.client_ip and "", body=events.payload(kept)))
    return written.ljust(len(record))


def is_of(event: bytes, person: Person) -> bool:
    """Return whether an Event Object, as JSON, names the person in any of the fields."""
    return any(person.value in _texts(_at(event, _path(field))) for field in person.fields)


def events_of(record: bytes, person: Person) -> int:
    """Return how many events of a record are the person's; 0 when it cannot be read."""
    try:
        return sum(is_of(bytes(raw), person) for raw in events.raw_events(records.decode(record).body))
    except (records.UnreadableRecord, msgspec.DecodeError, KeyError):
        return 0


def _path(field: str) -> Sequence[str]:
    return tuple(field.split(".")) if "." in field else ("client", field)


def _at(value: bytes, path: Sequence[str]) -> bytes | None:
    """Return the JSON text that stands at a path of object keys."""
    for key in path:
        try:
            inner = _shallow(value).get(key)
        except msgspec.ValidationError:  # it is no object
            return None
        if inner is None:
            return None
        value = bytes(inner)
    return value


def _texts(value: bytes | None) -> Iterator[str]:
    """Return a text, or how a number or a boolean is written: by the sender, and by us."""
    if value is None or value[:1] in {b"{", b"[", b"n"}:
        return
    plain = _decode(value)
    if isinstance(plain, str):
        yield plain
    else:
        yield value.decode()
        yield msgspec.json.encode(plain).decode()
