"""Erasing a person, or what a call of ``/v1/delete`` means, from a record: what is left in the places of the events.

A record keeps its length and its events their ordinals, because places in the log point at both. An event that goes is
replaced by its dialect's marker, which no sender can ever have sent: the door asks for an object, or a name that is text.
The browser's address goes with it, and of a tracked event all that the server found out about its sender.

Layer: assembly, pure. Source: assumption; RFC 8259 2 allows the blanks after a JSON text that fill the length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from eventmw import record as records
from eventmw.archive.rows import project_of
from eventmw.event import USER_FIELDS, Record
from eventmw.protocols.eventbunker import NAME as EVENTBUNKER
from eventmw.protocols.eventbunker import events as tracked
from eventmw.protocols.zaraz import events
from eventmw.selection import Selection

PERSON_FIELDS: Final = (*USER_FIELDS, "email")
"""Where events name a person, unless the owner says otherwise."""

MARKER: Final = b'{"client":0}'
"""What stands in the place of an erased event. It is shorter than the smallest event that is accepted."""

_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode = msgspec.json.Decoder(Any).decode
_decode_event = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Person:
    """Someone whose events are to go.

    Attributes:
        fields: where events name a person: a track property such as ``user_id``, or a dotted path from the top of the
            event, such as ``system.cookies.uid``. Of a tracked event, a field, or a dotted path into one; its
            ``customer_identifier`` is the one that it has, also when it comes from the key.
        value: what stands there, exactly; of a number, its JSON text.
    """

    fields: Sequence[str]
    value: str

    def as_json(self) -> dict[str, Any]:
        """Return the person as a journal hands it on."""
        return {"fields": list(self.fields), "value": self.value}


Meant = Person | Selection


def rewrite(record: bytes, meant: Mapping[str, Any]) -> bytes | None:
    """Do as `erase` does, for a journal: who is meant is said as `Person.as_json` or `Selection.as_json` say it."""
    return erase(record, Selection(**meant) if "project" in meant else Person(**meant))


class _Dialect(Protocol):
    """How the records of one dialect are taken apart and put together."""

    def raws(self, record: Record) -> Sequence[bytes]:
        """Return the bytes of each event."""
        ...

    def is_meant(self, raw: bytes, record: Record, meant: Meant) -> bool:
        """Return whether an event is to go."""
        ...

    def without(self, record: Record, raws: Sequence[bytes | None]) -> Record:
        """Return the record with markers in the places of None, and with nothing that tells of who sent them."""
        ...


class _Zaraz:
    def raws(self, record: Record) -> Sequence[bytes]:
        return [bytes(raw) for raw in events.raw_events(record.body)]

    def is_meant(self, raw: bytes, record: Record, meant: Meant) -> bool:  # noqa: ARG002 - as the Protocol has it
        return isinstance(meant, Person) and _names(raw, meant, inside=("client",))

    def without(self, record: Record, raws: Sequence[bytes | None]) -> Record:
        body = events.payload(MARKER if raw is None else raw for raw in raws)
        return record._replace(client_ip=record.client_ip and "", body=body, browser={})


class _Tracked:
    def raws(self, record: Record) -> Sequence[bytes]:
        return [bytes(raw) for raw in tracked.taken_apart(record.body)[1]]

    def is_meant(self, raw: bytes, record: Record, meant: Meant) -> bool:
        if raw == tracked.MARKER:
            return False
        context = tracked.taken_apart(record.body)[0]
        if isinstance(meant, Selection):
            facts = tracked.facts_of(_decode_event(raw), context, record)
            return project_of(record.credential) == meant.project and meant.holds(*facts, record.recorded_ms)
        # What the key says of the customer holds for every event.
        is_customers = context.customer == meant.value and "customer_identifier" in meant.fields
        return is_customers or _names(raw, meant)

    def without(self, record: Record, raws: Sequence[bytes | None]) -> Record:
        context = tracked.taken_apart(record.body)[0]
        gone = {tracked.index_of(record, ordinal) for ordinal, raw in enumerate(raws) if raw in {None, tracked.MARKER}}
        ids = ["" if index in gone else ident for index, ident in enumerate(context.ids)]
        rest = tracked.Context(context.customer, ids=ids) if len(gone) < len(raws) else tracked.Context()
        body = tracked.body_of(rest, [tracked.MARKER if raw is None else raw for raw in raws])
        return record._replace(body=body)


_zaraz: Final = _Zaraz()
_tracked: Final = _Tracked()
_UNREADABLE: Final = (records.UnreadableRecord, msgspec.DecodeError, KeyError)


def _dialect_of(record: Record) -> _Dialect:
    return _tracked if record.dialect == EVENTBUNKER else _zaraz


def erase(record: bytes, meant: Meant) -> bytes | None:
    """Return a record without the events that are meant, None when there are none: ``len(result) == len(record)``.

    A record that cannot be read is left alone: nobody can say whose it is, and no tool is ever given it.
    """
    try:
        decoded = records.decode(record)
        dialect = _dialect_of(decoded)
        raws = dialect.raws(decoded)
        kept = [None if dialect.is_meant(raw, decoded, meant) else raw for raw in raws]
        if kept == raws:
            return None
        return records.encode(dialect.without(decoded, kept)).ljust(len(record))
    except _UNREADABLE:
        return None


def events_of(record: bytes, meant: Meant) -> int:
    """Return how many events of a record are meant; 0 when it cannot be read."""
    try:
        decoded = records.decode(record)
        dialect = _dialect_of(decoded)
        return sum(dialect.is_meant(raw, decoded, meant) for raw in dialect.raws(decoded))
    except _UNREADABLE:
        return 0


def _names(event: bytes, person: Person, *, inside: tuple[str, ...] = ()) -> bool:
    """Return whether the JSON of an event names the person; a field without dots stands `inside` that path."""
    return any(person.value in _texts(_at(event, _path(field, inside))) for field in person.fields)


def _path(field: str, inside: tuple[str, ...]) -> Sequence[str]:
    return tuple(field.split(".")) if "." in field else (*inside, field)


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
