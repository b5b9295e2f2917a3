"""An ASGI site with eventmw around it. ``BENCH_SINK`` is the address of a local sink; without it there are no tools.

``BENCH_SICK`` is that of a second one, for a tool that wants order and may be ``BENCH_SICK_BYTES`` behind.

Beside `benchmarks.sites.pages` it has ``/-/stats``, eventmw's numbers as JSON, and ``/-/busy?3``, which keeps a thread
computing for three seconds without a rest: what the courier must not be.
"""

from __future__ import annotations

import json
import os
import threading
import time

from starlette.types import Receive, Scope, Send

from benchmarks.sites.pages import answer, page
from eventmw import asgi
from eventmw.contract import Delivery
from eventmw.tools import Webhook


async def site(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer the pages."""
    if scope["type"] != "http":
        return
    match scope["path"]:
        case "/-/stats":
            await answer(json.dumps(app.stats()).encode(), send)
        case "/-/busy":
            threading.Thread(target=_spin, args=(float(scope["query_string"]),), daemon=True).start()
            await answer(b"busy", send)
        case path:
            await page(path, send)


def _spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))


def tools() -> list[Webhook]:
    """Return the tools that the benchmark asks for."""
    sink, sick = os.environ.get("BENCH_SINK"), os.environ.get("BENCH_SICK")
    asked = [Webhook(sink)] if sink else []
    if sick:
        delivery = Delivery(ordered=True, backlog_bytes=int(os.environ["BENCH_SICK_BYTES"]))
        asked.append(Webhook(sick, id="sick", delivery=delivery))
    return asked


app = asgi.EventsMiddleware(site, path="/zaraz/api", tools=tools())
