"""How tracked events are recorded, and how records become events again.

A record's body is ``{"context": {…}, "events": [{…}, …]}``: what the server found out about the request, and the events as
they were sent. All that can be worked out from these two is worked out anew each time an event is made.

Layer: pure. Source: PROTOCOLS.md 3.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from eventmw.event import Device, Event, Page, Record
from eventmw.formats import is_absent
from eventmw.jsdates import time_ms
from eventmw.protocols.eventbunker.accept import PREDEFINED
from eventmw.protocols.eventbunker.generated import generated, page_address
from eventmw.record import ERASED, Erased

NAME: Final = "eventbunker"

MARKER: Final = b'{"event_name":0}'
"""What erasing leaves of an event: the door accepts no name that is a number. Shorter than the smallest event."""

_ERASED: Final = {"event_name": 0}
_METRIC: Final = "metric_name"


class Context(msgspec.Struct, omit_defaults=True, gc=False, frozen=True):
    """What the server adds to a request: of the sender's connection, and of the key.

    Attributes:
        customer: the customer that the key is bound to; every event of the request is theirs.
        ip: the sender's address.
        user_agent, referer: the header fields of these names.
        place: where that address is, by the file `geoip`: ``country``, ``region``, ``city`` and so on.
        language: the language that the header field ``Accept-Language`` likes best.
        hints: a browser's client hints; see `eventmw.http.client_hints`.
        ids: the ids of the events of a request with an Idempotency-Key: one for each index, "" for a refused event.
            Empty: each id follows from the record's; see `event_id`.
    """

    customer: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    referer: str | None = None
    place: dict[str, str] = {}
    language: str | None = None
    hints: dict[str, str] = {}
    ids: list[str] = []


class _Body(msgspec.Struct, gc=False):
    events: list[msgspec.Raw]
    context: Context = Context()


_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_body = msgspec.json.Decoder(_Body).decode


def body_of(context: Context, events: Iterable[bytes | msgspec.Raw]) -> bytes:
    """Return the body of a record."""
    return b'{"context":%b,"events":[%b]}' % (_encode(context), b",".join(map(bytes, events)))


def taken_apart(body: bytes) -> tuple[Context, Sequence[msgspec.Raw]]:
    """Return the context of a record's body, and the bytes of each event.

    Raises:
        msgspec.DecodeError: it is no body of a record.
    """
    decoded = _decode_body(body)
    return decoded.context, decoded.events


def event_id(record_id: str, index: int) -> str:
    """Return the ``unique_req_id`` of the event at an index of its request: 32 hexadecimal digits, first the record's."""
    return hashlib.sha256(f"{record_id}-{index}".encode()).hexdigest()[:32] if index else record_id


class Reader:
    """The dialect as the engine sees it. Stateless."""

    name = NAME

    def events(self, record: Record) -> Iterator[Event | Erased]:
        """Return the events of a record, made one at a time; `ERASED` in the place of one whose person was erased."""
        context, raws = taken_apart(record.body)
        for ordinal, raw in enumerate(raws):
            fields = _decode(raw)
            yield ERASED if fields == _ERASED else _event(fields, context, record, index_of(record, ordinal))

    def single(self, record: Record, ordinal: int) -> Record:
        """Return a record that holds just one of the events; its id stays the same."""
        context, raws = taken_apart(record.body)
        return record._replace(indexes=(index_of(record, ordinal),), body=body_of(context, [raws[ordinal]]))


def index_of(record: Record, ordinal: int) -> int:
    """Return at which index of its request the event stood that is at an ordinal of its record."""
    return ordinal if record.indexes is None else record.indexes[ordinal]


def _event(fields: Mapping[str, Any], context: Context, record: Record, index: int) -> Event:
    """Return the event of one valid object, which stood at `index` of its request."""
    added = generated(fields, context.user_agent, context.referer, context.ip, context.place, hints=context.hints)
    properties = {name: value for name, value in fields.items() if name not in PREDEFINED} | added
    if _METRIC in properties and (metric := _text(properties.pop(_METRIC))) is not None:
        properties[_METRIC] = metric
    name, customer, happened_ms = facts_of(fields, context, record)
    page = _page(fields, context)
    return Event(
        id=context.ids[index] if context.ids else event_id(record.id, index),
        name=name,
        properties=properties,
        timestamp_ms=happened_ms,
        recorded_ms=record.recorded_ms,
        user_id=customer,
        device=Device(context.ip, context.user_agent, context.language),
        page=page,
        client={**fields, **added},
        system=_system(context, page),
        dialect=NAME,
    )


def facts_of(fields: Mapping[str, Any], context: Context, record: Record) -> tuple[str, str | None, int]:
    """Return an event's name, whose it is, and when it happened in milliseconds: by these events are found again."""
    when: Any = fields.get("timestamp")
    happened_ms = record.recorded_ms if is_absent(when) else time_ms(when)
    return fields["event_name"], customer_of(fields.get("customer_identifier"), context.customer), happened_ms


def customer_of(said: Any, of_key: str | None) -> str | None:
    """Return whose event it is: as it says, else as the key says."""
    return said if type(said) is str and said else (_text(said) or of_key)


def _text(value: Any) -> str | None:
    """Return a text as it is, of a number or a boolean its JSON text; None of what counts as absent."""
    if isinstance(value, str):
        return value or None
    return None if is_absent(value) else _encode(value).decode()


def _page(fields: Mapping[str, Any], context: Context) -> Page:
    """Return the page as far as it is known, so that tools find it where other events have it."""
    referrer = fields.get("referrer")
    return Page(page_address(fields, context.referer), None, referrer if isinstance(referrer, str) else None)


def _system(context: Context, page: Page) -> dict[str, Any]:
    device = {
        "ip": context.ip,
        "user-agent": context.user_agent,
        "language": context.language,
        "client-hints": context.hints or None,
    }
    return {
        "cookies": {},
        "device": {name: value for name, value in device.items() if value is not None},
        "page": {name: value for name, value in (("url", page.url), ("referrer", page.referrer)) if value is not None},
    }
