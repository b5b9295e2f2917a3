"""The Event and what surrounds it: what tools receive, and the record from which an event can always be made again.

Layer: vocabulary (standard library only). An event is a pure function of its record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

Json = None | bool | int | float | str | list[Any] | dict[str, Any]
"""A decoded JSON value. Integers are exact; floats are finite."""

Kind = Literal["event", "pageview", "ecommerce"]

USER_FIELDS: Final = ("user_id", "userId", "customer_id", "customerId", "customer_identifier")
"""Track properties that name the person, the first that is there before the others."""

CLIENT_HINTS: Final = (
    "sec-ch-ua",
    "sec-ch-ua-arch",
    "sec-ch-ua-bitness",
    "sec-ch-ua-form-factors",
    "sec-ch-ua-full-version",
    "sec-ch-ua-full-version-list",
    "sec-ch-ua-mobile",
    "sec-ch-ua-model",
    "sec-ch-ua-platform",
    "sec-ch-ua-platform-version",
    "sec-ch-ua-wow64",
)
"""The header fields of client hints about the device. Source: W3C, «User-Agent Client Hints»."""

PRIVACY_FIELDS: Final = ("sec-gpc", "dnt")
"""Header fields by which a browser says that its user does not want to be followed. Source: W3C, «Global Privacy Control»;
W3C, «Tracking Preference Expression»."""

BROWSER_FIELDS: Final = ("user-agent", "accept-language", *CLIENT_HINTS)
"""Header fields by which a browser says which one it is. Source: WICG, «User-Agent Client Hints» 3."""

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Device:
    """The device an event came from. Source: the seed's table of system keys (``system.device.*``)."""

    ip: str | None = None
    user_agent: str | None = None
    language: str | None = None
    resolution: str | None = None
    viewport: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The page an event came from. Source: the seed's table of system keys (``system.page.*``)."""

    url: str | None = None
    title: str | None = None
    referrer: str | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened, as a tool sees it. Tools share it, so they must not change what is inside.

    Attributes:
        id: stable: the sender's id, or ``<receipt id>-<index>``. The dedup key wherever a vendor has a field for one.
        name: the event's name, "" when the sender gave none.
        kind: ``pageview`` for the name "Pageview", ``ecommerce`` when the sender said so, else ``event``.
        properties: what the sender said of the event, JSON values, without the two reserved keys.
        timestamp_ms: when it happened, UTC, milliseconds since 1970; `recorded_ms` when the sender did not say.
        recorded_ms: when it was accepted, UTC, milliseconds since 1970.
        user_id: the person, as the sender names them, or None; the first of `USER_FIELDS` that an event has.
        cookies: the device's cookies, name → value.
        device, page: what the sender said of them; fields are None when absent.
        client: the sender's whole ``client`` object, for templates (``{{ client.x }}``).
        system: the sender's whole ``system`` object after the liberal reading, unknown keys included.
        dialect: through which door it came, such as ``zaraz``.
        extra: what stood beside ``client``, ``system`` and ``eventmw`` in the sender's event.
    """

    id: str
    name: str
    kind: Kind = "event"
    properties: Mapping[str, Any] = field(default_factory=_nothing)
    timestamp_ms: int
    recorded_ms: int
    user_id: str | None = None
    cookies: Mapping[str, str] = field(default_factory=_nothing)
    device: Device = Device()
    page: Page = Page()
    client: Mapping[str, Any] = field(default_factory=_nothing)
    system: Mapping[str, Any] = field(default_factory=_nothing)
    dialect: str = "zaraz"
    extra: Mapping[str, Any] = field(default_factory=_nothing)

    def derive(self, purpose: str) -> int:
        """Return 64 bits that look random and are a function of this event and `purpose` alone.

        A tool that has to make up an id takes it from here: it runs at the door and again in the courier, and after a
        crash once more, and all runs must agree.
        """
        return int.from_bytes(hashlib.sha256(f"{purpose}\0{self.id}".encode()).digest()[:8], "big")


class Record(NamedTuple):
    """One accepted request as the journal keeps it. A named tuple: one is made in every request.

    Attributes:
        id: the receipt's id, 32 hexadecimal digits.
        recorded_ms: when it was accepted, UTC, milliseconds since 1970.
        dialect: whose reader turns `body` into events.
        credential: the name of the key that was used, or ``anonymous``.
        client_ip: the browser's address when the request came from a browser, else None.
        indexes: the original index of each kept event, or None when all were kept: ``len(indexes) == len(events)``.
        body: the accepted bytes as they came, or the accepted events encoded again when some were refused.
        browser: header fields of a browser's request that fill in what the sender left out: ``user-agent``,
            ``accept-language`` and ``sec-ch-ua…``; empty for other senders.
    """

    id: str
    recorded_ms: int
    dialect: str
    credential: str
    client_ip: str | None = None
    indexes: tuple[int, ...] | None = None
    body: bytes = b""
    browser: Mapping[str, str] = _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What `track` gives back: the event has been kept. What delivers it may still have to run: see `delivered_by`.

    Attributes:
        id: the receipt's id, 32 hexadecimal digits.
        event_id: the event's own id, as tools and vendors see it.
        recorded_ms: when it was accepted, UTC, milliseconds since 1970.
        durability: what had been reached: ``memory``, ``journaled`` or ``replicated``.
        warnings: what looked wrong, one sentence each.
        duplicate: an event with this id was tracked within 24 hours, as far as this process knows: this one is kept, and
            not delivered. What other processes tracked is found out at delivery.
        delivered_by: ``site``: a thread of one of the site's processes, of which this is one, so a script that ends at
            once delivers nothing by itself; ``worker``: an ``eventmw worker`` beside the site; ``nobody``: no process of
            the site runs now, and the next one delivers.
    """

    id: str
    event_id: str
    recorded_ms: int
    durability: str
    warnings: tuple[str, ...] = ()
    duplicate: bool = False
    delivered_by: Literal["site", "worker", "nobody"] = "site"
