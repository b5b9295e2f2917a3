"""The two schemas' verdicts on an Event Object, faster: by types on its bytes, and by checks on its decoded form.

Layer: pure rules. `eventmw.schema` is the authority and gives all words; a differential test holds this equal to it.

`usual` only ever says yes. Its types forbid unknown keys, so that every byte of an accepted event has been decoded
strictly (a decoder skips over what it does not know), and they bound the nesting of properties, so that an accepted
event is never too deep. Everything unusual falls to the slow way in `judge`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct, field

from eventmw.formats import IPV4_PATTERN, LATEST_MS, is_absent, is_ip
from eventmw.jsdates import is_js_time
from eventmw.protocols.zaraz.system import SECTIONS, near_miss
from eventmw.strictjson import object_in
from eventmw.times import EARLIEST_MS

MAX_ID: Final = 128
"""Characters of a sender's event id."""

MAX_ID_NUMBER: Final = 1e100
"""A sender's event id that is a number lies below it, so that its text is no longer than an id may be."""

MAX_TIME: Final = LATEST_MS * 1_000_000 + 999_999
"""The last nanosecond that a time may be."""

# Property values, nested to two containers below `client`: `products: [{…}]` and the like. Numbers beyond 64 bits fall
# to the slow way, which keeps them exactly.
_Scalar = None | bool | int | float | str
_Inner = _Scalar | list[_Scalar] | dict[str, _Scalar]
_Value = _Scalar | list[_Inner] | dict[str, _Inner]

# Absent fields stand for values that pass, so that a check need not ask whether they are there.
_SIZE: Final = "1x1"
_IP: Final = "127.0.0.1"
_URL: Final = "https://x"


class _Device(Struct, forbid_unknown_fields=True, gc=False, frozen=True):
    ip: str = _IP
    resolution: str = _SIZE
    viewport: str = _SIZE
    language: str = ""
    user_agent: str = field(name="user-agent", default="")


class _Page(Struct, forbid_unknown_fields=True, gc=False, frozen=True):
    url: str = _URL
    referrer: str = _URL
    title: str = ""
    encoding: str = ""


class _System(Struct, forbid_unknown_fields=True, gc=False, frozen=True):
    device: _Device = _Device()
    page: _Page = _Page()
    cookies: dict[str, str] | None = None


class _Own(Struct, forbid_unknown_fields=True, gc=False, frozen=True):
    id: Annotated[str, Meta(min_length=1, max_length=MAX_ID)] = ""
    timestamp: Annotated[int, Meta(ge=EARLIEST_MS, le=LATEST_MS)] = EARLIEST_MS


NO_OWN: Final = _Own()
"""What stands for an absent ``eventmw``; null is not absent."""


class Usual(Struct, forbid_unknown_fields=True, gc=False, frozen=True):
    """An Event Object as nearly every sender writes it."""

    client: dict[str, _Value]
    system: _System = _System()
    eventmw: _Own = NO_OWN


class UsualPayload(Struct, forbid_unknown_fields=True, gc=False, frozen=True):
    """A payload of nothing but such events."""

    events: list[Usual]


_decode = msgspec.json.Decoder(Usual).decode
_decode_payload = msgspec.json.Decoder(UsualPayload).decode

_SIZE_PATTERN: Final = "[0-9]{1,5}x[0-9]{1,5}"
_size = re.compile(rf"{_SIZE_PATTERN}\Z").match
# One pattern over three texts is cheaper than three. None of them can hold a blank and match; an empty one is absent.
_device = re.compile(rf"(?:{IPV4_PATTERN})? (?:{_SIZE_PATTERN})? (?:{_SIZE_PATTERN})?\Z").match

# Between these two lie exactly the texts that start with https:// and a letter (or one of [ \\ ] ^ _ `): two comparisons
# instead of a pattern. The rest is left to the authority.
_URL_FROM: Final = "https://A"
_URL_BELOW: Final = "https://{"

_NOT_USUAL: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def usual(raw: bytes | msgspec.Raw) -> Usual | None:
    """Return the event when it is surely valid, with nothing to advise; None means "ask the authority"."""
    try:
        event = _decode(raw)
    except _NOT_USUAL:
        return None
    return event if _is_usual(event) else None


def usual_payload(body: bytes) -> Sequence[Usual] | None:
    """Return all events of a payload when all are so; None means "take it apart"."""
    try:
        events = _decode_payload(body).events
    except _NOT_USUAL:
        return None
    for event in events:
        if not _is_usual(event):
            return None
    return events


def _is_usual(event: Usual) -> bool:
    client = event.client
    name = client.get("__zarazTrack", "unnamed")
    if type(name) is not str or not name:
        return False
    if "__zarazEcommerce" in client and type(client["__zarazEcommerce"]) is not bool:
        return False
    system = event.system
    device, page = system.device, system.page
    return (
        (_URL_FROM <= page.url < _URL_BELOW or not page.url)
        and (_URL_FROM <= page.referrer < _URL_BELOW or not page.referrer)
        and (_device(f"{device.ip} {device.resolution} {device.viewport}") is not None or _is_usual_device(device))
    )


def _is_usual_device(device: _Device) -> bool:
    return (
        (not device.resolution or _size(device.resolution) is not None)
        and (not device.viewport or _size(device.viewport) is not None)
        and is_ip(device.ip)
    )


def is_valid(event: Any) -> bool:
    """Return what the request schema says of a decoded Event Object, exactly."""
    whole = object_in(event)
    if whole is None or "client" not in whole:
        return False
    client = object_in(whole["client"])
    if client is None:
        if whole["client"] != []:
            return False
    elif not _is_leaf(client.get("__zarazTrack")):
        return False
    own = whole.get("eventmw")
    return is_absent(own) or _is_own(object_in(own))


def _is_own(own: dict[str, Any] | None) -> bool:
    return own is not None and _is_id(own.get("id")) and _is_time(own.get("timestamp"))


def _is_id(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= MAX_ID
    if type(value) is int or type(value) is float:
        return -MAX_ID_NUMBER < value < MAX_ID_NUMBER
    return _is_leaf(value)


def _is_time(value: Any) -> bool:
    if type(value) is int or type(value) is float:
        return 0 <= value <= MAX_TIME
    return is_absent(value) or (type(value) is str and is_js_time(value))


def needs_no_advice(event: Mapping[str, Any]) -> bool:
    """Return whether the advice schema has nothing to say of a decoded, valid Event Object, exactly."""
    client, system = object_in(event["client"]), object_in(event.get("system"))
    if client is not None and not _is_flag(client.get("__zarazEcommerce")):
        return False
    if system is None:
        return is_absent(event.get("system"))
    return (
        _each(system.get("cookies"), {}, other=_is_leaf)
        and _each(system.get("device"), _DEVICE_CHECKS)
        and _each(system.get("page"), _PAGE_CHECKS)
        and not _has_near_miss(system, "")
        and not any(
            _has_near_miss(part, name) for name in SECTIONS[1:] if (part := object_in(system.get(name))) is not None
        )
    )


def _has_near_miss(part: Mapping[str, Any], section: str) -> bool:
    return any(near_miss(section, key) is not None for key in part)


Check = Callable[[Any], bool]


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or is_absent(value)


def _is_leaf(value: Any) -> bool:
    return not isinstance(value, dict | list) or value == []


def _any(_value: Any) -> bool:
    return True


def _each(part: Any, checks: Mapping[str, Check], *, other: Check = _any) -> bool:
    inside = object_in(part)
    if inside is None:
        return is_absent(part)
    return all(checks.get(key, other)(value) for key, value in inside.items())


def _text_is(check: Check) -> Check:
    return lambda value: value == "" or check(value) if type(value) is str else _is_leaf(value)


def _matches(pattern: str) -> Check:
    found = re.compile(pattern).search
    return lambda value: found(value) is not None


_SIZE_CHECK: Final = _text_is(_matches("^[0-9]{1,5}x[0-9]{1,5}$"))
_URL_CHECK: Final = _text_is(_matches(r"^[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#]"))
_DEVICE_CHECKS: Final[Mapping[str, Check]] = {
    "ip": _text_is(is_ip),
    "resolution": _SIZE_CHECK,
    "viewport": _SIZE_CHECK,
    "language": _is_leaf,
    "user-agent": _is_leaf,
}
_PAGE_CHECKS: Final[Mapping[str, Check]] = {
    "url": _URL_CHECK,
    "referrer": _URL_CHECK,
    "title": _is_leaf,
    "encoding": _is_leaf,
}
