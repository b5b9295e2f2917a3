"""What comes in: the head of a request that is ours, and whether its body came whole.

Layer: pure rules. All gateways give the same `RequestHead` for the same request.

Source: ASGI HTTP message format 2.5; PEP 3333.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

from eventmw.event import BROWSER_FIELDS, PRIVACY_FIELDS
from eventmw.http import RequestHead

# The header fields that we look at; all others are not even decoded.
_NAMES: Final = (
    *BROWSER_FIELDS,
    *PRIVACY_FIELDS,
    "access-control-request-headers",
    "authorization",
    "content-encoding",
    "content-length",
    "host",
    "idempotency-key",
    "origin",
    "sec-fetch-site",
    "transfer-encoding",
    "x-eventmw-key",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
)
_CONTENT_LENGTH: Final = "CONTENT_LENGTH"


class Fields:
    """Which header fields an API looks at, and what they are called by a server.

    Args:
        names: in lower case.
    """

    __slots__ = ("environ", "raw")

    def __init__(self, names: Iterable[str]) -> None:
        known = tuple(names)
        self.raw: Mapping[bytes, str] = {name.encode(): name for name in known}
        self.environ: Mapping[str, str] = {_environ_name(name): name for name in known}

    def and_(self, *names: str) -> Fields:
        """Return these and some more."""
        return Fields((*self.raw.values(), *names))


def _environ_name(name: str) -> str:
    return _CONTENT_LENGTH if name == "content-length" else "HTTP_" + name.upper().replace("-", "_")


FIELDS: Final = Fields(_NAMES)
"""What every API looks at."""

_RAW: Final = FIELDS.raw
_ENVIRON: Final = FIELDS.environ


def head_of_scope(scope: MutableMapping[str, Any], names: Mapping[bytes, str] = _RAW, query: str = "") -> RequestHead:
    """Return the head that an ASGI ``http`` scope describes, with the header fields of these names."""
    headers: dict[str, str] = {}
    raw_headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for raw_name, raw_value in raw_headers:
        if (name := names.get(raw_name)) is not None:
            value = raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    client: tuple[str | None, int | None] | None = scope.get("client")
    peer = (client[0] or "") if client else ""
    return RequestHead(scope["method"], scope["path"], headers, peer, scope.get("scheme", "http"), query)


def head_of_environ(
    environ: Mapping[str, Any], scheme: str, names: Mapping[str, str] = _ENVIRON, query: str = ""
) -> RequestHead:
    """Return the head that a WSGI environ, or Django's ``request.META``, describes, with the fields of these names."""
    headers: dict[str, str] = {name: environ[key] for key, name in names.items() if key in environ}
    # PEP 3333 lets a server write an absent Content-Length as an empty one; the other fields may be sent empty.
    if not environ.get(_CONTENT_LENGTH):
        headers.pop("content-length", None)
    peer = environ.get("REMOTE_ADDR") or ""
    return RequestHead(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), headers, peer, scheme, query)
