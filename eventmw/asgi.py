"""The ASGI gateway.

Layer: gateways. It reads the body, waits for one future, and writes the answer; everything else exists once, in the
runtime. A request that is not ours is passed by identity: the same scope, receive and send.

Source: ASGI 3.0 and its HTTP message format 2.5.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final, Unpack

from starlette.types import ASGIApp, Receive, Scope, Send

from eventmw.config import Settings
from eventmw.exchange import LOOKUP_S, Exchange
from eventmw.frameworks import warn_of_bare_site
from eventmw.http import Headers, Reply, RequestHead
from eventmw.incoming import head_of_scope
from eventmw.intake.paths import path_below, public_path
from eventmw.settings import complete, from_toml
from eventmw.site import Site, is_open
from eventmw.waiting import Within, here, wait
from eventmw.watching.pages import Page

log = logging.getLogger("eventmw")


class EventsMiddleware(Site):
    """Wraps an ASGI site; see `eventmw.EventsMiddleware` for the parameters."""

    def __init__(self, app: ASGIApp, **options: Unpack[Settings]) -> None:
        self.app = app
        warn_of_bare_site(app)
        self._set_up(complete(options))

    @classmethod
    def from_config(cls, app: ASGIApp, path: str | os.PathLike[str]) -> EventsMiddleware:
        """Wrap a site with the settings of a TOML file; see `eventmw.EventsMiddleware.from_config`."""
        return cls(app, **from_toml(path))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request on our path; pass everything else by identity."""
        path = scope.get("path")
        if path in self._tails:
            if path is None:
                return await self._live(scope, receive, send)
            if scope.get("type") == "http":
                prefix = scope.get("root_path") or ""
                public = path_below(prefix, path) if self._mounted else public_path(prefix, path)
                if public == self._path:
                    return await _write(await self._answer(self.exchange(head_of_scope(scope)), receive), send)
                if (entry := self.entries.get(public)) is not None:
                    return await _write(await self._answer(entry.of_scope(scope), receive), send)
                if (page := self.pages.get(public)) is not None:
                    return await _write(await _shown(page, head_of_scope(scope)), send)
                self.passed_by(prefix, path)
        # A site returns None, and uvicorn closes the connection of one that does not: that too is the site's own affair.
        return await self.app(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the lifespan by identity; when the site has ended, give back all that runs beside it.

        Nothing is awaited after the site's end: uvicorn goes on as soon as the loop turns, and ends the process by a signal.
        A site that refuses the lifespan, or returns from it at once, has not ended: its next request wakes all again.
        """
        if not _runs_asyncio():
            _warn_of_loop()
        try:
            return await self.app(scope, receive, send)
        finally:
            if scope.get("type") == "lifespan" and is_open(self):
                self.runtime.rest()
                self._look_first()

    async def _answer(self, exchange: Exchange, receive: Receive) -> Reply:
        if not _runs_asyncio():
            _warn_of_loop()
            return exchange.refuse("journal_down", _NO_ASYNCIO)
        turnstile = here().turnstile
        if (looking := exchange.lookup()) is not None:
            await wait(looking, LOOKUP_S)
        if (reply := exchange.open()) is not None:
            return reply
        if turnstile.is_full:
            return exchange.crowded()
        if (place := turnstile.enter()) is not None:
            await place
        if (reply := await self._read(exchange, receive)) is not None:
            return reply
        since_s = turnstile.now_s()
        kept = exchange.submit()
        turnstile.spent(since_s)
        if isinstance(kept, Reply):
            return kept
        in_time = await wait(kept, exchange.api.patience_s)
        return exchange.settle(kept) if in_time else exchange.late()

    async def _read(self, exchange: Exchange, receive: Receive) -> Reply | None:
        """Read the whole body within its time: servers let one drip in for ever."""
        try:
            with Within(self.runtime.config.limits.body_timeout_s):
                while (message := await receive())["type"] != "http.disconnect":
                    reply = exchange.feed(message.get("body", b""))
                    if reply is not None or not message.get("more_body", False):
                        return reply
        except TimeoutError:
            return exchange.too_slow()
        except OSError:
            pass
        return exchange.gone()


_NO_ASYNCIO: Final = "The event loop of this server is not asyncio, which eventmw needs."


def _runs_asyncio() -> bool:
    return asyncio._get_running_loop() is not None  # noqa: SLF001 - the other function raises


@cache
def _warn_of_loop() -> None:
    """Say once what would else be a traceback for each event."""
    log.error(
        "no event can be taken, and each is answered with 503: this server's event loop is not asyncio, which eventmw needs "
        "(hypercorn: -k asyncio or -k uvloop). The site's own requests are passed on"
    )


async def _shown(page: Page, head: RequestHead) -> Reply:
    waits = page.waits and _runs_asyncio()
    return await asyncio.to_thread(page.answer, head) if waits else page.answer(head)


async def _write(reply: Reply, send: Send) -> None:
    try:
        await send({"type": "http.response.start", "status": reply.status, "headers": [*_raw(reply.headers)]})
        await send({"type": "http.response.body", "body": reply.body})
    except OSError:
        # The sender left. ASGI 2.4 lets a server say so by OSError; there is nobody to tell, and nothing is lost.
        return


@lru_cache(maxsize=512)
def _raw(headers: Headers) -> Sequence[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers]
