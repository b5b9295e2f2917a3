"""A Flask site. Layer: the site's own; one line of it is about events."""

from __future__ import annotations

from typing import Any

from flask import Flask, request

from eventmw import EventsMiddleware
from eventmw.demo.tools import tools_of

site = Flask(__name__)


@site.get("/")
def front() -> str:
    """Show the front page."""
    return "<!doctype html><title>Shop</title><h1>A Flask shop</h1>\n"


@site.post("/orders")
def order() -> tuple[dict[str, str], int]:
    """Take an order from a form."""
    return {"ordered": request.form["item"]}, 201


@site.get("/stats")
def stats() -> Any:
    """Show where the events of this process stand."""
    return application.stats()


application = EventsMiddleware(site, path="/zaraz/api", eventbunker_path="/eb", tools=tools_of("flask"), receipt="full")
