"""The event that Python code sends: what `track` is given, in the shape that a sender would post.

Layer: pure rules. Light on purpose: a cron job that tracks one event imports this, and not the whole door.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypedDict, Unpack, cast

from eventmw.errors import InvalidEvent
from eventmw.formats import is_absent
from eventmw.jsontext import encode_exactly


class TrackOptions(TypedDict, total=False):
    """The keyword parameters of every `track` and `atrack`. docs/tracking.md explains each.

    Attributes:
        user_id: whose event it is, as the site names the person; `Event.user_id`, and in the archive `customer_identifier`.
        request: the request that is being handled, from which `system` is filled: cookies, device and page.
        system: the same by hand, in the shape of the seed's ``system`` object; it wins over `request`, key by key.
        ecommerce: whether tools treat it as an e-commerce event.
        id: 1 to 128 characters; a second event with the same id within 24 hours is a duplicate.
        timestamp: when it happened: a datetime (naive is UTC), a text such as ISO 8601, or a number of milliseconds since
            1970, as both APIs read it; None is now.
        project: the name or id of a project of the EventBunker API: the event becomes a row of the archive.
    """

    user_id: str | int | None
    request: object
    system: Mapping[str, Any] | None
    ecommerce: bool
    id: str | None
    timestamp: datetime | str | float | None
    project: str | None


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """One event on its way from Python code to a journal.

    Attributes:
        body: the payload, as a sender would post it to one of the two APIs.
        project: whose archive it goes to; None: an event of the HTTP Events API.
        id: its id, where the payload has no place for one.
        sender: what is known of the person's browser, where the payload has no place for it: texts ``ip``, ``user_agent``,
            ``referer``, ``language``, and ``hints``, its client hints.
    """

    body: bytes
    project: str | None = None
    id: str | None = None
    sender: Mapping[str, Any] = field(default_factory=dict[str, Any])


def own_event(
    name: str, properties: Mapping[str, Any] | None, proxies: int | None, **options: Unpack[TrackOptions]
) -> OwnEvent:
    """Return the event that `track` is given.

    Args:
        name: its name.
        properties: JSON values.
        proxies: how many proxies in front of the site are trusted; None when nobody knows.
        options: see `TrackOptions`.

    Raises:
        InvalidEvent: the properties are no mapping, one of them cannot be written as JSON, or options contradict each other.
        TypeError: there is no such option, or `request` is no request.
    """
    if unknown := next((option for option in options if option not in TrackOptions.__annotations__), None):
        known = ", ".join(sorted(TrackOptions.__annotations__))
        raise TypeError(f"track() got an unexpected keyword argument {unknown!r}; there are {known}")
    given = options.copy()
    request, system = given.pop("request", None), given.pop("system", None)
    if request is not None:
        from eventmw.intake.context import merged, system_of  # noqa: PLC0415 - importing this module stays light

        system = cast("Mapping[str, Any] | None", merged(system_of(request, proxies), system))
    project, user_id = given.pop("project", None), given.pop("user_id", None)
    if project is None:
        properties = _owned(name, properties, "user_id", user_id)
        return OwnEvent(payload(name, properties, system=system, **_of_zaraz(given)))
    if given.get("ecommerce"):
        raise InvalidEvent("an event for a project has no ecommerce: its archive keeps fields, and no kinds of events")
    properties = _owned(name, properties, "customer_identifier", user_id)
    body, sender = _for_project(name, properties, given.get("timestamp"), system)
    return OwnEvent(body, project, given.get("id"), sender)


def _of_zaraz(given: TrackOptions) -> dict[str, Any]:
    options: dict[str, Any] = {**given}
    return {name: options[name] for name in ("ecommerce", "id", "timestamp") if name in options}


def _owned(
    name: str, properties: Mapping[str, Any] | None, key: str, user_id: str | int | None
) -> Mapping[str, Any] | None:
    """Return the properties with whose event it is; ``user_id`` said twice, and differently, is no event of anybody."""
    if user_id is None:
        return properties
    fields = _mapping(name, properties)
    given: object = fields.get(key)
    if not is_absent(given) and (isinstance(given, bool) or str(given) != str(user_id)):
        raise InvalidEvent(f"{name!r} has two users: user_id and the property {key} differ; give one of them")
    return {**fields, key: str(user_id) if key == _CUSTOMER else user_id}


_CUSTOMER: Final = "customer_identifier"


def payload(
    name: str,
    properties: Mapping[str, Any] | None = None,
    *,
    ecommerce: bool = False,
    system: Mapping[str, Any] | None = None,
    id: str | None = None,  # noqa: A002 - the protocol's word
    timestamp: datetime | str | float | None = None,
) -> bytes:
    """Return the payload of one event of the HTTP Events API, as a sender would post it.

    Raises:
        InvalidEvent: the properties are no mapping, or one of them cannot be written as JSON.
    """
    event: dict[str, Any] = {"client": {**_mapping(name, properties), "__zarazTrack": name}}
    if ecommerce:
        event["client"]["__zarazEcommerce"] = True
    if system is not None:
        event["system"] = system
    own = {"id": id, "timestamp": _written(timestamp)}
    if id is not None or timestamp is not None:
        event["eventmw"] = {key: value for key, value in own.items() if value is not None}
    return _encoded(name, {"events": [event]})


def _for_project(
    name: str, properties: Mapping[str, Any] | None, timestamp: datetime | str | float | None, system: object
) -> tuple[bytes, Mapping[str, Any]]:
    """Return the payload of one event of the track API, and what is recorded of the person's browser beside it."""
    fields = {**_mapping(name, properties), "event_name": name}
    if timestamp is not None:
        fields["timestamp"] = _written(timestamp)
    page = _texts(_part(system, "page"))
    device = _part(system, "device")
    known, hints = _texts(device), _texts(_part(device, "client-hints"))
    if "referrer" in page:
        fields.setdefault("referrer", page["referrer"])
    sender = {
        "ip": known.get("ip"),
        "user_agent": known.get("user-agent"),
        "referer": page.get("url"),
        "language": known.get("language"),
        "hints": hints,
    }
    return _encoded(name, fields), {key: value for key, value in sender.items() if value}


def _part(whole: object, name: str) -> object:
    return cast(Mapping[str, object], whole).get(name) if isinstance(whole, Mapping) else None


def _texts(part: object) -> dict[str, str]:
    if not isinstance(part, Mapping):
        return {}
    return {key: value for key, value in cast(Mapping[str, object], part).items() if isinstance(value, str)}


def _mapping(name: str, properties: object) -> Mapping[str, Any]:
    if properties is not None and not isinstance(properties, Mapping):
        raise InvalidEvent(
            f"the properties of {name!r} must be a mapping such as {{'value': 9.5}}, got {type(properties).__name__}"
        )
    return cast(Mapping[str, Any], properties or {})


def _encoded(name: str, value: object) -> bytes:
    try:
        return encode_exactly(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidEvent(f"the properties of {name!r} must be JSON values: {error}") from error


def _written(timestamp: datetime | str | float | None) -> str | float | None:
    if isinstance(timestamp, datetime):
        return (timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)).isoformat()
    return timestamp
