"""An ASGI site with every API, see `tests.sites.api`."""

from __future__ import annotations

from starlette.applications import Starlette

from eventmw.asgi import EventsMiddleware
from tests.sites import api

app = EventsMiddleware(Starlette(), **api.settings())
