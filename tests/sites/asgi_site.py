"""A small ASGI site, bare or wrapped (WRAP=1)."""

from __future__ import annotations

import asyncio
import hashlib
import json

from starlette.types import Receive, Scope, Send

from eventmw.asgi import EventsMiddleware
from tests.sites import pages


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["type"], scope.get("path"):
        case "lifespan", _:
            await _lifespan(receive, send)
        case "websocket", _:
            await _echo(receive, send)
        case _, "/":
            await _page(send, 200, pages.FRONT)
        case _, "/stream":
            await _stream(send)
        case _, "/upload":
            await _upload(receive, send)
        case _, "/kept":
            await _page(send, 200, json.dumps(wrapped.stats()["records"]).encode())
        case _:
            await _page(send, 404, b"no such page")


async def _lifespan(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": message["type"] + ".complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def _echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def _page(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", pages.HTML.encode()), (b"x-site", b"1"), (b"x-site", b"2")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for piece in pages.PIECES:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0.1)
    await send({"type": "http.response.body", "body": b""})


async def _upload(receive: Receive, send: Send) -> None:
    digest, size, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        chunk = message.get("body", b"")
        digest.update(chunk)
        size += len(chunk)
        more = message.get("more_body", False)
    await _page(send, 200, pages.echo(size, digest))


wrapped = EventsMiddleware(site, **pages.SETTINGS)
app = wrapped if pages.WRAPPED else site
