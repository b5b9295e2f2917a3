"""What a server costs by itself: sites that read the body and give a constant answer, over ASGI and over WSGI.

The answer is one that eventmw gives, to the byte; how long the body is tells whether it had one event or a hundred.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_EMPTY: Final = b'{"fetch":[],"execute":[],"return":{},"cookies":{}}'
_IDENT: Final = "01994d2b3c4d7e5f8a9b0c1d2e3f4a5b"
_LARGE: Final = 2_000
"""Bytes of a body that has a hundred events."""


def _answer(count: int) -> tuple[bytes, Sequence[tuple[str, str]]]:
    receipt = {"id": _IDENT, "time_recorded": 1624910874832, "durability": "memory", "accepted": count, "rejected": 0}
    body = b'{"results":[%b],"receipt":%b}' % (b",".join([_EMPTY] * count), msgspec.json.encode(receipt))
    return body, (
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    )


_ONE, _HUNDRED = _answer(1), _answer(100)
_RAW: Final = {body: [(name.encode(), value.encode()) for name, value in headers] for body, headers in (_ONE, _HUNDRED)}


async def over_asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, and answer."""
    assert scope["type"] == "http"
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    body, _ = _ONE if size < _LARGE else _HUNDRED
    await send({"type": "http.response.start", "status": 200, "headers": _RAW[body]})
    await send({"type": "http.response.body", "body": body})


def over_wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read the body, and answer."""
    size = len(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    body, headers = _ONE if size < _LARGE else _HUNDRED
    start_response("200 OK", list(headers))
    return [body]
