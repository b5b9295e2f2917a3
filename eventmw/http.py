"""HTTP as plain data: what a sender asked, what we answer, what a tool asks of a vendor, what the vendor said.

Layer: vocabulary (standard library only). Nothing here reads or writes a socket.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from eventmw.errors import Misuse

Headers = tuple[tuple[str, str], ...]


# The two that every request of ours needs are named tuples: a frozen dataclass takes four times as long to make.


def language_of(accepted: str) -> str | None:
    """Return the language that an ``Accept-Language`` field likes best, the first of equal ones; None when it names none.

    Source: RFC 9110 12.5.4.
    """
    weight, language = max(map(_weighed, accepted.split(",")), key=lambda one: one[0])
    return language if weight > 0 else None


def _weighed(part: str) -> tuple[float, str]:
    tag, _, quality = (text.strip() for text in part.partition(";"))
    try:
        weight = float(quality.partition("=")[2]) if quality else 1.0
    except ValueError:
        weight = 0.0
    return (weight if weight <= 1 and tag not in {"", "*"} else 0.0), tag


def client_hints(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the client hints of a user agent, as sent: ``ua`` of ``sec-ch-ua``, ``model`` of ``sec-ch-ua-model``.

    Source: WICG, «User-Agent Client Hints» 3.
    """
    return {
        name.removeprefix("sec-ch-").removeprefix("ua-"): value
        for name, value in headers.items()
        if name.startswith("sec-ch-ua")
    }


class RequestHead(NamedTuple):
    """The head of a request that is ours, the same for both gateways.

    ``headers`` has lower-case names; fields that were sent more than once are joined by ``", "`` (RFC 9110 5.3).
    ``peer`` is the address of the connection, or "" when the server does not tell. ``scheme`` is ``http`` or ``https``.
    ``query`` is the query string, percent-encoded as it came; it is read for the calls that take one alone, and else "".
    """

    method: str
    path: str
    headers: Mapping[str, str]
    peer: str = ""
    scheme: str = "http"
    query: str = ""


class Reply(NamedTuple):
    """Our answer: status, ordered header fields with lower-case names, body. ``content-length`` is among the fields."""

    status: int
    headers: Headers
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that a tool wants sent to its vendor.

    ``at_send`` makes further header fields from the seconds since 1970 at the moment of sending, at each attempt anew: a
    tool has no clock, and a signature that is as old as the event would be refused after an outage.

    Raises:
        Misuse: the body is not bytes, the address is not absolute, or the headers are no pairs.

    The representation shows method, host and size only: addresses, fields and bodies carry secrets and people's data.
    """

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""
    at_send: Callable[[int], Headers] | None = None

    def __post_init__(self) -> None:
        url, headers, body = cast(tuple[object, object, object], (self.url, self.headers, self.body))
        if not isinstance(body, bytes):
            kind = type(body).__name__
            raise Misuse(
                f"made an HttpRequest whose body is {kind}, not bytes: write json.dumps(…).encode() or the like"
            )
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise Misuse("made an HttpRequest whose url is no absolute http or https address")
        if not isinstance(headers, tuple | list):
            raise Misuse(
                f"made an HttpRequest whose headers are {type(headers).__name__}, not pairs ((name, value), …)"
            )

    def json(self) -> Any:
        """Return the body, decoded from JSON: for tests.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.body)

    def __repr__(self) -> str:
        parts = urlsplit(self.url)
        return f"<HttpRequest {self.method} {parts.scheme}://{parts.hostname or ''} {len(self.body)} bytes>"


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A vendor's answer. ``headers`` has lower-case names; ``body`` holds at most 64 KiB, the rest is not read."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
