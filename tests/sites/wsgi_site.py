"""A small WSGI site, bare or wrapped (WRAP=1)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

from eventmw.wsgi import EventsMiddleware
from tests.sites import pages


def site(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    match environ["PATH_INFO"]:
        case "/":
            return _page(start_response, "200 OK", pages.FRONT)
        case "/stream":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return _stream()
        case "/upload":
            return _upload(environ, start_response)
        case "/kept":
            return _page(start_response, "200 OK", json.dumps(wrapped.stats()["records"]).encode())
        case _:
            return _page(start_response, "404 Not Found", b"no such page")


def _page(start_response: StartResponse, status: str, body: bytes) -> Iterable[bytes]:
    start_response(status, [("Content-Type", pages.HTML), ("X-Site", "1"), ("X-Site", "2")])
    return [body]


def _stream() -> Iterator[bytes]:
    for piece in pages.PIECES:
        yield piece
        time.sleep(0.1)


def _upload(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    digest, size = hashlib.sha256(), 0
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left and (chunk := environ["wsgi.input"].read(min(left, 64 * 1024))):
        digest.update(chunk)
        size += len(chunk)
        left -= len(chunk)
    return _page(start_response, "200 OK", pages.echo(size, digest))


wrapped = EventsMiddleware(site, **pages.SETTINGS)
app = wrapped if pages.WRAPPED else site
