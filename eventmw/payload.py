"""The payload of one event that Python code sends: what `track` says, in the shape that a sender would post.

Layer: pure rules. Light on purpose: a cron job that tracks one event imports this, and not the whole door.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from eventmw.errors import InvalidEvent
from eventmw.jsontext import encode_exactly


def payload(
    name: str,
    properties: Mapping[str, Any] | None = None,
    *,
    ecommerce: bool = False,
    system: Mapping[str, Any] | None = None,
    id: str | None = None,  # noqa: A002 - the protocol's word
    timestamp: datetime | str | float | None = None,
) -> bytes:
    """Return the payload of one event, as a sender would post it.

    Raises:
        InvalidEvent: the properties are no mapping, or one of them cannot be written as JSON.
    """
    given: object = properties
    if given is not None and not isinstance(given, Mapping):
        raise InvalidEvent(
            f"the properties of {name!r} must be a mapping such as {{'value': 9.5}}, got {type(given).__name__}"
        )
    event: dict[str, Any] = {"client": {**(properties or {}), "__zarazTrack": name}}
    if ecommerce:
        event["client"]["__zarazEcommerce"] = True
    if system is not None:
        event["system"] = system
    own = {"id": id, "timestamp": _written(timestamp)}
    if id is not None or timestamp is not None:
        event["eventmw"] = {key: value for key, value in own.items() if value is not None}
    try:
        return encode_exactly({"events": [event]})
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidEvent(f"the properties of {name!r} must be JSON values: {error}") from error


def _written(timestamp: datetime | str | float | None) -> str | float | None:
    if isinstance(timestamp, datetime):
        return (timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)).isoformat()
    return timestamp
