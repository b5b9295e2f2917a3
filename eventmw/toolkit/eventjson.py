"""The shape of an event for people and machines outside: what File, Webhook and Console write.

Layer: pure rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

from eventmw.event import Device, Event, Page
from eventmw.formats import to_iso

_DEVICE: Final = tuple(field.name for field in fields(Device))
_PAGE: Final = tuple(field.name for field in fields(Page))
_device = attrgetter(*_DEVICE)
_page = attrgetter(*_PAGE)


def as_json(event: Event, *, cookies: bool = False) -> dict[str, Any]:
    """Return the event as a JSON object whose keys are always the same, but for ``cookies``.

    The shape::

        {"id", "name", "kind", "timestamp", "recorded", "user_id", "properties", "device", "page", "dialect"}

    ``timestamp`` is when it happened and ``recorded`` when it was accepted, ISO 8601 in UTC with milliseconds.
    ``user_id`` is a string or null. ``device`` and ``page`` hold only what the sender said.

    Args:
        event: the event.
        cookies: add ``cookies``, name → value. They let whoever reads them act as the visitor, so they are left out
            unless they are asked for.
    """
    body: dict[str, Any] = {
        "id": event.id,
        "name": event.name,
        "kind": event.kind,
        "timestamp": to_iso(event.timestamp_ms),
        "recorded": to_iso(event.recorded_ms),
        "user_id": event.user_id,
        "properties": event.properties,
        "device": _present(_DEVICE, _device(event.device)),
        "page": _present(_PAGE, _page(event.page)),
        "dialect": event.dialect,
    }
    return body | {"cookies": event.cookies} if cookies else body


def _present(names: Iterable[str], values: Iterable[str | None]) -> dict[str, str]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}
