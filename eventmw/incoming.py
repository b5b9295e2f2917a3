"""What comes in: the head of a request that is ours, and whether its body came whole.

Layer: gateways, no input or output. All gateways give the same `RequestHead` for the same request.

Source: ASGI HTTP message format 2.5; PEP 3333.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final, cast

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
    for raw_name, raw_value in cast(Iterable[tuple[bytes, bytes]], scope["headers"]):
        name = _RAW_NAMES.get(raw_name)
        if name is not None:
            value = raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    client = cast("tuple[str | None, int | None] | None", scope.get("client"))
    peer = (client[0] or "") if client else ""
    query = cast(bytes, scope.get("query_string", b"")).decode("latin-1")
    return RequestHead(scope["method"], scope["path"], headers, peer, scope.get("scheme", "http"), query)


def head_of_environ(environ: Mapping[str, Any], scheme: str) -> RequestHead:
    """Return the head that a WSGI environ, or Django's ``request.META``, describes."""
    headers: dict[str, str] = {
        name: value for key, name in _ENVIRON_NAMES.items() if (value := environ.get(key)) is not None
    }
    # PEP 3333 lets a server write an absent Content-Length as an empty one; the other fields may be sent empty.
    if not environ.get(_CONTENT_LENGTH):
        headers.pop("content-length", None)
    return RequestHead(
        environ["REQUEST_METHOD"],
        environ.get("PATH_INFO", ""),
        headers,
        environ.get("REMOTE_ADDR") or "",
        scheme,
        environ.get("QUERY_STRING", ""),
    )
