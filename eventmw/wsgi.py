"""The WSGI gateway.

Layer: gateways. It reads the body, waits for one future, and writes the answer; everything else exists once, in the
runtime. A request that is not ours is passed by identity: the same environ and start_response, and the site's own iterable.

Source: PEP 3333.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Unpack

from eventmw.config import Settings
from eventmw.exchange import Exchange
from eventmw.http import Reply
from eventmw.incoming import head_of_environ
from eventmw.intake.paths import is_ours
from eventmw.journal import Position
from eventmw.settings import complete, from_toml
from eventmw.site import Site

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_CHUNK_BYTES: Final = 64 * 1024
_STATUS: Final = {int(status): f"{status.value} {status.phrase}" for status in HTTPStatus}


class EventsMiddleware(Site):
    """Wraps a WSGI site; see `eventmw.EventsMiddleware` for the parameters."""

    def __init__(self, app: WSGIApplication, **options: Unpack[Settings]) -> None:
        self.app = app
        self._set_up(complete(options))

    @classmethod
    def from_config(cls, app: WSGIApplication, path: str) -> EventsMiddleware:
        """Wrap a site with the settings of a TOML file; see `eventmw.EventsMiddleware.from_config`."""
        return cls(app, **from_toml(path))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request on our path; pass everything else by identity."""
        if environ.get("PATH_INFO", "") in self._tails and (reply := self._reply_to(environ)) is not None:
            return _write(reply, start_response, environ["REQUEST_METHOD"])
        return self.app(environ, start_response)

    def _reply_to(self, environ: WSGIEnvironment) -> Reply | None:
        """Answer when the whole path is ours; None when it is the site's."""
        # A WSGI prefix is never part of PATH_INFO. Our path is ASCII, so the detour by latin-1 changes nothing.
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        if is_ours(self._path, "", path):
            return self._answer(environ)
        if (page := self.page_at("", path)) is not None:
            return page.answer(head_of_environ(environ, environ["wsgi.url_scheme"]))
        return None

    def _answer(self, environ: WSGIEnvironment) -> Reply:
        exchange = self.exchange(head_of_environ(environ, environ["wsgi.url_scheme"]))
        reply = exchange.open() or self._read(exchange, environ) or exchange.submit()
        return reply if isinstance(reply, Reply) else self._settle(exchange, reply)

    def _settle(self, exchange: Exchange, kept: Future[Position]) -> Reply:
        try:
            kept.exception(self.runtime.config.limits.append_timeout_s)
        except TimeoutError:
            return exchange.late()
        return exchange.settle(kept)

    def _read(self, exchange: Exchange, environ: WSGIEnvironment) -> Reply | None:
        """Read the body and not a byte beyond it. Its time is looked at between reads: a read cannot be interrupted here."""
        limits, left, input_ends = self.runtime.config.limits, exchange.length, environ.get("wsgi.input_terminated")
        if left is None:
            if not input_ends:
                return _unread(exchange, environ)
            left = limits.max_body_bytes + 1  # one byte more than may come is enough to know
        read, deadline_s = environ["wsgi.input"].read, time.monotonic() + limits.body_timeout_s
        try:
            while left > 0 and (chunk := read(min(_CHUNK_BYTES, left))):
                if (reply := exchange.feed(chunk)) is not None:
                    return reply
                if time.monotonic() > deadline_s:
                    return exchange.too_slow()
                left -= len(chunk)
        except (OSError, ValueError):  # the latter is what a closed file raises
            return exchange.gone()
        # Where the server itself ends the input, `submit` counts what came; else only a sender that left ends it early.
        return None if input_ends or left <= 0 else exchange.gone()


def _unread(exchange: Exchange, environ: WSGIEnvironment) -> Reply | None:
    """Refuse chunks that nobody ends; without them and without a length there is no body."""
    if "HTTP_TRANSFER_ENCODING" not in environ:
        return None
    return exchange.refuse("length_required", "Expected Content-Length: this server does not end chunked bodies.")


def _write(reply: Reply, start_response: StartResponse, method: str) -> Iterable[bytes]:
    start_response(_STATUS[reply.status], list(reply.headers))
    # An answer to HEAD has no body, and waitress leaves that to the application.
    return [] if method == "HEAD" else [reply.body]
