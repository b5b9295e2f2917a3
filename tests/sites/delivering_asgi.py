"""An ASGI site that delivers to a vendor, see `tests.sites.delivering`."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from eventmw.asgi import EventsMiddleware
from tests.sites import delivering


def front(_request: object) -> PlainTextResponse:
    return PlainTextResponse("the site")


app = EventsMiddleware(Starlette(routes=[Route("/", front)]), **delivering.settings())
