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
_KNOWN: Final = {"device": frozenset({*_DEVICE, "user-agent"}), "page": frozenset(_PAGE)}
"""Keys of each section of ``system`` that an event has a field for."""
_SECTIONS: Final = frozenset({"cookies", "device", "page"})
_device = attrgetter(*_DEVICE)
_page = attrgetter(*_PAGE)


def as_json(event: Event, *, cookies: bool = False) -> dict[str, Any]:
    """Return the event as a JSON object whose keys are always the same, but for ``cookies``, ``system`` and ``extra``.

    The shape::

        {"id", "name", "kind", "timestamp", "recorded", "user_id", "properties", "device", "page", "dialect"}

    ``timestamp`` is when it happened and ``recorded`` when it was accepted, ISO 8601 in UTC with milliseconds.
    ``user_id`` is a string or null. ``device`` and ``page`` hold only what the sender said, keys that this server does not
    know included, and ``device["client-hints"]`` what a browser said in its header fields of that name. Two more keys are
    there only when there is something to say: ``system`` holds what else stood in the sender's ``system``, and ``extra``
    what stood beside ``client``, ``system`` and ``eventmw``.

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
        "device": _unknown(event, "device") | _present(_DEVICE, _device(event.device)),
        "page": _unknown(event, "page") | _present(_PAGE, _page(event.page)),
        "dialect": event.dialect,
    }
    if not _SECTIONS.issuperset(event.system):
        body["system"] = {name: value for name, value in event.system.items() if name not in _SECTIONS}
    if event.extra:
        body["extra"] = event.extra
    if cookies:
        body["cookies"] = event.cookies
    return body


def _unknown(event: Event, section: str) -> dict[str, Any]:
    """Return the keys of a section of ``system`` that the event has no field for."""
    part, known = event.system.get(section), _KNOWN[section]
    return (
        {name: value for name, value in part.items() if name not in known} if part and not known >= part.keys() else {}
    )


def _present(names: Iterable[str], values: Iterable[str | None]) -> dict[str, str]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}
