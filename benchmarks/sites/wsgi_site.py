"""A WSGI site with eventmw around it. ``BENCH_SINK`` is the address of a local sink; without it there are no tools."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from benchmarks.sites.asgi_site import tools
from eventmw import wsgi

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def site(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer a small page, and eventmw's numbers on ``/-/stats``."""
    body = json.dumps(app.stats()).encode() if environ["PATH_INFO"] == "/-/stats" else b"Good day."
    start_response("200 OK", [("content-type", "text/html"), ("content-length", str(len(body)))])
    return [body]


app = wsgi.EventsMiddleware(site, path="/zaraz/api", tools=tools())
