"""A WSGI site that delivers to a vendor, see `tests.sites.delivering`."""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from eventmw.wsgi import EventsMiddleware
from tests.sites import delivering


def site(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "8")])
    return [b"the site"]


app = EventsMiddleware(site, **delivering.settings())
