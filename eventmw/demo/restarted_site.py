"""The Flask site once more, for two workers that are killed. Layer: the site's own; one line of it is about events."""

from __future__ import annotations

from typing import Any

from flask import Flask

from eventmw import EventsMiddleware
from eventmw.demo.tools import tools_of_restarted

site = Flask(__name__)


@site.get("/")
def front() -> str:
    """Show the front page."""
    return "<!doctype html><title>Shop</title><h1>A shop that is killed</h1>\n"


@site.get("/stats")
def stats() -> Any:
    """Show where the events of all workers stand."""
    return application.stats()


application = EventsMiddleware(site, path="/zaraz/api", tools=tools_of_restarted())
