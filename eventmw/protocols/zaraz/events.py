"""How Event Objects become events: the liberal reading of ``system``, and the bytes taken apart one event at a time.

Layer: pure. Source: PROTOCOLS.md 2.1; the seed's table of system keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from eventmw import strictjson
from eventmw.event import USER_FIELDS, Device, Event, Kind, Page, Record
from eventmw.formats import ip_of, is_absent
from eventmw.http import client_hints, language_of
from eventmw.jsdates import time_ms
from eventmw.protocols.zaraz.system import HINTS, as_object, read, text
from eventmw.record import ERASED, Erased

_RESERVED: Final = frozenset({"__zarazTrack", "__zarazEcommerce"})
_ENVELOPE: Final = frozenset({"client", "system", "eventmw"})
_ERASED: Final = {"client": 0}
"""What erasing leaves of an Event Object: the door accepts no event whose ``client`` is a number."""
_USER_FIELDS: Final = frozenset(USER_FIELDS)
_NO_DEVICE: Final = Device()
_NO_PAGE: Final = Page()
_NOTHING: Final[Mapping[str, Any]] = {}
_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Any).decode
_decode_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def raw_events(body: bytes) -> Sequence[msgspec.Raw]:
    """Return the bytes of each Event Object of an accepted payload."""
    return _decode_array(_decode_shallow(strictjson.without_bom(body))["events"])


def payload(raws: Iterable[bytes | msgspec.Raw]) -> bytes:
    """Return a payload of these Event Objects."""
    return b'{"events":[%b]}' % b",".join(map(bytes, raws))


def with_id(raw: msgspec.Raw, ident: str) -> msgspec.Raw:
    """Return the bytes of an Event Object with this event id; all else of it stays as it was written."""
    parts = _decode_shallow(raw)
    own = parts.get("eventmw")
    inside = _decode_shallow(own) if own is not None and type(_decode(own)) is dict else {}
    return msgspec.Raw(_encode({**parts, "eventmw": {**inside, "id": ident}}))


def events(record: Record) -> Iterator[Event | Erased]:
    """Return the events of a record, made one at a time; `ERASED` in the place of one whose person was erased."""
    for ordinal, raw in enumerate(raw_events(record.body)):
        value = as_object(_decode(raw))
        yield ERASED if value == _ERASED else event(value, record, _index(record, ordinal))


def single(record: Record, ordinal: int) -> Record:
    """Return a record that holds just one of the events; its id stays the same."""
    body = payload([raw_events(record.body)[ordinal]])
    return record._replace(indexes=(_index(record, ordinal),), body=body)


def _index(record: Record, ordinal: int) -> int:
    return ordinal if record.indexes is None else record.indexes[ordinal]


def event(value: Mapping[str, Any], record: Record, index: int) -> Event:
    """Return the event of one valid Event Object, which stood at `index` of its request.

    The first of the track properties `USER_FIELDS` names the person, for tools that have a field for it.
    """
    client, own, system = as_object(value.get("client")), as_object(value.get("eventmw")), read(value.get("system"))
    cookies, device, page, rest = system
    if record.client_ip is not None and "ip" not in device:
        device = {**device, "ip": record.client_ip}
    if record.browser:
        device = _filled_in(device, record.browser)
    device = _with_one_spelling(device)
    name = name_of(client)
    return Event(
        id=own_id(own) or f"{record.id}-{index}",
        name=name,
        kind=_kind(name, client),
        properties=_properties(client),
        timestamp_ms=_time(own.get("timestamp"), record.recorded_ms),
        recorded_ms=record.recorded_ms,
        user_id=_user_id(client),
        cookies=cookies,
        device=_device(device) if device else _NO_DEVICE,
        page=_page(page) if page else _NO_PAGE,
        client=client,
        system={**rest, "cookies": cookies, "device": device, "page": page},
        dialect=record.dialect,
        extra=_NOTHING if _ENVELOPE.issuperset(value) else {k: v for k, v in value.items() if k not in _ENVELOPE},
    )


def name_of(client: Mapping[str, Any]) -> str:
    """Return the event's name, "" when it has none."""
    return text(client.get("__zarazTrack")) or ""


def own_id(own: Mapping[str, Any]) -> str | None:
    """Return the sender's event id; of a number its JSON text."""
    return text(own.get("id"))


def is_ecommerce(client: Mapping[str, Any]) -> bool:
    """Return whether the sender made it an e-commerce event, also as forms and PHP write true."""
    value = client.get("__zarazEcommerce")
    return value is True or (value is not None and value is not False and value in _LIKE_TRUE)


_LIKE_TRUE: Final = (1, "1", "true", "True", "TRUE")


def _user_id(client: Mapping[str, Any]) -> str | None:
    if _USER_FIELDS.isdisjoint(client):
        return None
    for field in USER_FIELDS:
        if field in client and (plain := text(client[field])) is not None:
            return plain
    return None


def _filled_in(device: Mapping[str, Any], browser: Mapping[str, str]) -> dict[str, Any]:
    """Return a device with what the browser's own header fields say where the sender says nothing."""
    found: dict[str, Any] = {
        "user-agent": browser.get("user-agent"),
        "language": language_of(browser.get("accept-language", "")),
        HINTS: client_hints(browser),
    }
    return {**{name: value for name, value in found.items() if value}, **device}


def _with_one_spelling(device: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a device with its address as tools, archives and vendors compare it; what is no address stays as it is."""
    given = device.get("ip")
    address = ip_of(given) if given else None
    return device if address is None or address == given else {**device, "ip": address}


def _properties(client: Mapping[str, Any]) -> dict[str, Any]:
    properties = {**client}
    for key in _RESERVED:
        properties.pop(key, None)
    return properties


# By position, in the order of the classes' fields: names take twice as long.
def _device(part: Mapping[str, Any]) -> Device:
    get = part.get
    return Device(get("ip"), get("user-agent"), get("language"), get("resolution"), get("viewport"))


def _page(part: Mapping[str, Any]) -> Page:
    get = part.get
    return Page(get("url"), get("title"), get("referrer"), get("encoding"))


def _kind(name: str, client: Mapping[str, Any]) -> Kind:
    if "__zarazEcommerce" in client and is_ecommerce(client):
        return "ecommerce"
    return "pageview" if name == "Pageview" else "event"


def _time(value: Any, recorded_ms: int) -> int:
    return recorded_ms if is_absent(value) else time_ms(value)
