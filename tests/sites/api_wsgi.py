"""A WSGI site with every API, see `tests.sites.api`."""

from __future__ import annotations

from werkzeug.wrappers import Response

from eventmw.wsgi import EventsMiddleware
from tests.sites import api

app = EventsMiddleware(Response("the site", status=404), **api.settings())
