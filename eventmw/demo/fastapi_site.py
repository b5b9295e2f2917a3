"""A FastAPI site. Layer: the site's own; one line of it is about events."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from eventmw import EventsMiddleware
from eventmw.demo.tools import tools_of

site = FastAPI()


@site.get("/", response_class=HTMLResponse)
async def front() -> str:
    """Show the front page."""
    return "<!doctype html><title>Shop</title><h1>A FastAPI shop</h1>\n"


@site.post("/orders", status_code=201)
async def order(request: Request) -> dict[str, str]:
    """Take an order from a form."""
    return {"ordered": parse_qs((await request.body()).decode())["item"][0]}


@site.get("/stats")
async def stats() -> Any:
    """Show where the events of this process stand."""
    return application.stats()


application = EventsMiddleware(
    site, path="/zaraz/api", eventbunker_path="/eb", tools=tools_of("fastapi"), receipt="full"
)
