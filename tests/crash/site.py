"""The site that is killed: a page, and eventmw on a path, with a webhook to the sink. All settings are environment variables.

``CRASH_SINK``: its address; ``CRASH_DATA``: the journal's folder; ``CRASH_JOURNAL``: ``file`` or ``memory``;
``CRASH_ORDERED``: ``1`` for delivery in order; ``CRASH_BROKEN``: see `tests.crash.broken`; ``CRASH_CLOCK``: see
`tests.crash.skewed`.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.types import Receive, Scope, Send

from eventmw import asgi, wsgi
from eventmw.contract import Delivery
from eventmw.tools import Webhook
from tests.crash import broken
from tests.crash.driver import PATH
from tests.crash.skewed import skew

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

faulthandler.register(signal.SIGUSR1, all_threads=True)  # a round that does not settle asks what everybody does
logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(process)d %(name)s %(message)s")
BATCH, WINDOW = 20, 4
ORDERED = os.environ.get("CRASH_ORDERED") == "1"
IN_FLIGHT = BATCH * WINDOW


def settings() -> dict[str, Any]:
    """Return what the middleware is told."""
    delivery = Delivery(ordered=ORDERED, window=WINDOW, timeout_s=3.0, first_backoff_s=0.05, max_backoff_s=0.5)
    return {
        "path": PATH,
        "tools": [Webhook(os.environ["CRASH_SINK"], batch=BATCH, delivery=delivery)],
        "data_dir": os.environ["CRASH_DATA"],
        "journal": os.environ.get("CRASH_JOURNAL", "file"),
    }


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the page."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"page"})


def wsgi_site(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer the page."""
    start_response("200 OK", [("content-length", "4")])
    return [b"page"]


def __getattr__(name: str) -> object:
    """Build what a server asks for: ``app`` for ASGI, ``wsgi_app`` for WSGI."""
    if name not in {"app", "wsgi_app"}:
        raise AttributeError(name)
    skew(Path(os.environ["CRASH_CLOCK"]))
    breakage = broken.breakage(os.environ.get("CRASH_BROKEN", ""))
    breakage.before()
    built = (
        asgi.EventsMiddleware(site, **settings()) if name == "app" else wsgi.EventsMiddleware(wsgi_site, **settings())
    )
    breakage.after(built.runtime)
    globals()[name] = built
    return built
