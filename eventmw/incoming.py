"""What comes in: the head of a request that is ours, and whether its body came whole.

Layer: gateways, no input or output. All gateways give the same `RequestHead` for the same request.

Source: ASGI HTTP message format 2.5; PEP 3333.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

from eventmw.http import RequestHead

# The header fields that we look at; all others are not even decoded.
_NAMES: Final = (
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
_RAW_NAMES: Final[Mapping[bytes, str]] = {name.encode(): name for name in _NAMES}
_CONTENT_LENGTH: Final = "CONTENT_LENGTH"
_ENVIRON_NAMES: Final[Mapping[str, str]] = {
    (_CONTENT_LENGTH if name == "content-length" else "HTTP_" + name.upper().replace("-", "_")): name for name in _NAMES
}


def head_of_scope(scope: MutableMapping[str, Any]) -> RequestHead:
    """Return the head that an ASGI ``http`` scope describes."""
    headers: dict[str, str] = {}
    raw_headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for raw_name, raw_value in raw_headers:
        if (name := _RAW_NAMES.get(raw_name)) is not None:
            value = raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    client: tuple[str | None, int | None] | None = scope.get("client")
    peer = (client[0] or "") if client else ""
    return RequestHead(scope["method"], scope["path"], headers, peer, scope.get("scheme", "http"))


def head_of_environ(environ: Mapping[str, Any], scheme: str) -> RequestHead:
    """Return the head that a WSGI environ, or Django's ``request.META``, describes."""
    headers: dict[str, str] = {name: environ[key] for key, name in _ENVIRON_NAMES.items() if key in environ}
    # PEP 3333 lets a server write an absent Content-Length as an empty one; the other fields may be sent empty.
    if not environ.get(_CONTENT_LENGTH):
        headers.pop("content-length", None)
    peer = environ.get("REMOTE_ADDR") or ""
    return RequestHead(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), headers, peer, scheme)
