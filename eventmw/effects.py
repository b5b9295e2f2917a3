"""Effects: everything a tool may want, as data. What is wanted is carried out elsewhere.

Layer: vocabulary (standard library only).

`Fetch`, `Execute`, `Return` and `SetCookie` are the four keys of the Result Object; `Send` and `Drop` speak to the courier.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from eventmw.event import Event
from eventmw.http import HttpRequest


@dataclass(frozen=True, slots=True)
class Send:
    """Deliver this to the vendor. The tool's own ``pack`` turns payloads into requests.

    Attributes:
        payload: whatever the tool's ``pack`` understands: a JSON value, or an `HttpRequest` for the default ``pack``.
        event_id: the event's id; filled in by the engine.
        size: about how many bytes the payload takes; 0 lets the courier estimate.
    """

    payload: Any
    event_id: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Drop:
    """This event is not for this tool, and `reason` says why. Ends in the Outcome ``dropped``, counted by reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the sender to make a request from the user's browser. `init` has the shape of the Fetch standard's RequestInit."""

    url: str
    init: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Execute:
    """Ask the sender to run this JavaScript in the user's browser. Put data in by templates, never by ``+``."""

    code: str


@dataclass(frozen=True, slots=True)
class Return:
    """Give the sender a JSON value, under the tool's id."""

    value: Any


@dataclass(frozen=True, slots=True)
class SetCookie:
    """Ask the sender to set a cookie for the user; ``value=None`` deletes it.

    ``max_age_s`` is in seconds, at most one year; ``expires`` is an HTTP date. Source: RFC 6265bis for the grammar.
    """

    name: str
    value: str | None
    path: str | None = None
    domain: str | None = None
    expires: str | None = None
    max_age_s: int | None = None
    secure: bool | None = None
    http_only: bool | None = None
    same_site: Literal["Strict", "Lax", "None"] | None = None


Effect = Send | Drop | Fetch | Execute | Return | SetCookie


@dataclass(frozen=True, slots=True)
class Write:
    """Append `data` to the file at `path`; ``-`` is standard output."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """Call the owner's own function with the event."""

    function: Callable[[Event], object | Awaitable[object]]
    event: Event


Order = HttpRequest | Write | Call
"""What a transport can carry out."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One request and the sends it carries. Every send of a ``pack`` call is in exactly one `Packed`."""

    request: Order
    items: Sequence[Send]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the vendor's answer means for one send.

    ``done``: the vendor has it. ``retry``: again later, not before `after_s` seconds when given. ``later``: this send alone
    again, after `after_s` seconds, while the others go on. ``dead``: never, for
    `reason`. ``refused``: the request as a whole was refused; when it carried more than one send, the courier splits it
    to find the bad ones, else it is ``dead``.
    """

    kind: Literal["done", "retry", "later", "dead", "refused"]
    reason: str = ""
    after_s: float | None = None


DONE: Final = Verdict("done")


def retry(reason: str, after_s: float | None = None) -> Verdict:
    """Return the verdict "again later": `after_s` is the vendor's Retry-After in seconds, when it gave one."""
    return Verdict("retry", reason, after_s)


def later(reason: str, after_s: float) -> Verdict:
    """Return the verdict "this send alone, after so many seconds": the vendor is well, and other sends go on."""
    return Verdict("later", reason, after_s)


def dead(reason: str) -> Verdict:
    """Return the verdict "never": this send alone is at fault."""
    return Verdict("dead", reason)


def refused(reason: str) -> Verdict:
    """Return the verdict "not this request": one of its sends is at fault, or the only one is."""
    return Verdict("refused", reason)
