"""How Event Objects become events: the liberal reading of ``system``, and the bytes taken apart one event at a time.

Layer: pure. Source: PROTOCOLS.md 2.1; the seed's table of system keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from eventmw import strictjson
from eventmw.event import Device, Event, Kind, Page, Record
from eventmw.formats import from_iso, ip_of
from eventmw.record import ERASED, Erased

_RESERVED: Final = frozenset({"__zarazTrack", "__zarazEcommerce"})
_DEVICE: Final = ("ip", "resolution", "viewport", "language", "user-agent")
_PAGE: Final = ("url", "title", "referrer", "encoding")
_ERASED: Final = {"client": 0}
"""What erasing leaves of an Event Object: the door accepts no event whose ``client`` is a number."""
_NO_DEVICE: Final = Device()
_NO_PAGE: Final = Page()
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

    The track property ``user_id`` names the person, for tools that have a field for it. Source: assumption.
    """
    client, own, system = (
        as_object(value.get("client")),
        as_object(value.get("eventmw")),
        as_object(value.get("system")),
    )
    device, page = _read(system.get("device"), _DEVICE), _read(system.get("page"), _PAGE)
    if record.client_ip is not None and "ip" not in device:
        device = {**device, "ip": record.client_ip}
    device = _with_one_spelling(device)
    cookies = _texts(as_object(system.get("cookies")))
    name = client.get("__zarazTrack", "")
    return Event(
        id=own.get("id") or f"{record.id}-{index}",
        name=name,
        kind=_kind(name, client),
        properties=_properties(client),
        timestamp_ms=_time(own.get("timestamp"), record.recorded_ms),
        recorded_ms=record.recorded_ms,
        user_id=_text(client.get("user_id")),
        cookies=cookies,
        device=_device(device) if device else _NO_DEVICE,
        page=_page(page) if page else _NO_PAGE,
        client=client,
        system={**system, "cookies": cookies, "device": device, "page": page},
        dialect=record.dialect,
    )


def _with_one_spelling(device: dict[str, Any]) -> dict[str, Any]:
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
    if client.get("__zarazEcommerce") is True:
        return "ecommerce"
    return "pageview" if name == "Pageview" else "event"


def _time(value: Any, recorded_ms: int) -> int:
    if value is None:
        return recorded_ms
    return from_iso(value) if isinstance(value, str) else int(value)


def as_object(value: Any) -> dict[str, Any]:
    """Return an object as it is; null, ``[]`` and every other kind count as an empty one."""
    part: dict[str, Any] = value
    return part if type(part) is dict else {}


def _has_only_texts(part: Mapping[str, Any]) -> bool:
    """Return whether there is nothing to read liberally, as in nearly every event."""
    for inner in part.values():  # noqa: SIM110 - a generator takes twice as long
        if type(inner) is not str:
            return False
    return True


def _read(value: Any, known: Sequence[str]) -> dict[str, Any]:
    """Return an object with its known keys read as texts, or left out; unknown keys are handed on as they are."""
    part = as_object(value)
    if _has_only_texts(part):
        return part
    texts = _texts({key: part[key] for key in known if key in part})
    return {key: inner for key, inner in part.items() if key not in known} | texts


def _texts(part: dict[str, Any]) -> dict[str, str]:
    """Return the texts of an object; numbers and booleans become theirs, null, ``[]`` and all else are left out."""
    if _has_only_texts(part):
        return part
    return {key: text for key, inner in part.items() if (text := _text(inner)) is not None}


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return _encode(value).decode()
    return None
