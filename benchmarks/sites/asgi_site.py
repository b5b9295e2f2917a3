"""An ASGI site with eventmw around it. ``BENCH_SINK`` is the address of a local sink; without it there are no tools.

``BENCH_SICK`` is that of a second one, for a tool that wants order and may be ``BENCH_SICK_BYTES`` behind.

Pages of its own: ``/`` a small one, ``/table`` one that is rendered for about a millisecond, ``/-/stats`` eventmw's numbers
as JSON, and ``/-/busy?3``, which keeps a thread computing for three seconds without a rest: what the courier must not be.
"""

from __future__ import annotations

import json
import os
import threading
import time

from starlette.types import Receive, Scope, Send

from eventmw import asgi
from eventmw.contract import Delivery
from eventmw.tools import Webhook

_SMALL = b"<!doctype html><title>Shop</title><p>Good day."


def table() -> bytes:
    """Return a page as a template would make it: 400 rows out of values."""
    rows = (f"<tr><td>{number}<td>Product {number}<td>{number * 1.19:.2f} EUR</tr>" for number in range(1000, 1400))
    return f"<!doctype html><title>Shop</title><table>{''.join(rows)}</table>".encode()


async def site(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer the pages."""
    if scope["type"] != "http":
        return
    match scope["path"]:
        case "/":
            body = _SMALL
        case "/table":
            body = table()
        case "/-/stats":
            body = json.dumps(app.stats()).encode()
        case "/-/busy":
            threading.Thread(target=_spin, args=(float(scope["query_string"]),), daemon=True).start()
            body = b"busy"
        case _:
            body = b"?"
    headers = [(b"content-type", b"text/html"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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
