"""The WSGI gateway.

Layer: gateways. It reads the body, waits for one future, and writes the answer; everything else exists once, in the
runtime. A request that is not ours is passed by identity: the same environ and start_response, and the site's own iterable.

Source: PEP 3333.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from concurrent.futures import Future, wait
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Unpack

from werkzeug.exceptions import ClientDisconnected
from werkzeug.wsgi import get_input_stream

from eventmw.config import Settings
from eventmw.exchange import LOOKUP_S, Exchange
from eventmw.frameworks import warn_of_bare_site
from eventmw.http import Reply
from eventmw.incoming import head_of_environ
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
        warn_of_bare_site(app)
        self._set_up(complete(options))

    @classmethod
    def from_config(cls, app: WSGIApplication, path: str | os.PathLike[str]) -> EventsMiddleware:
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
        prefix, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
        if not self._mounted and path[:1] in {"", "/"}:
            path = prefix + path
        if path == self._path:
            return self._answer(self.exchange(head_of_environ(environ, environ["wsgi.url_scheme"])), environ)
        if (entry := self.entries.get(path)) is not None:
            return self._answer(entry.of_environ(environ, environ["wsgi.url_scheme"]), environ)
        if (page := self.pages.get(path)) is not None:
            return page.answer(head_of_environ(environ, environ["wsgi.url_scheme"]))
        self.passed_by(prefix, path)
        return None

    def _answer(self, exchange: Exchange, environ: WSGIEnvironment) -> Reply:
        if (looking := exchange.lookup()) is not None:
            wait([looking], LOOKUP_S)
        reply = exchange.open() or self._read(exchange, environ) or exchange.submit()
        return reply if isinstance(reply, Reply) else self._settle(exchange, reply)

    def _settle(self, exchange: Exchange, kept: Future[Any]) -> Reply:
        try:
            kept.exception(exchange.api.patience_s)
        except TimeoutError:
            return exchange.late()
        return exchange.settle(kept)

    def _read(self, exchange: Exchange, environ: WSGIEnvironment) -> Reply | None:
        """Read the whole body. Its time is looked at between reads: a read itself cannot be interrupted here."""
        if "HTTP_TRANSFER_ENCODING" in environ and not environ.get("wsgi.input_terminated"):
            detail = "Expected Content-Length: this server does not end chunked bodies."
            return exchange.refuse("length_required", detail)
        limits = self.runtime.config.limits
        left, deadline_s = limits.max_body_bytes + 1, time.monotonic() + limits.body_timeout_s
        read = get_input_stream(environ).read
        try:
            # One byte more than may come is enough to know. Servers block until they have all that is asked for.
            while chunk := read(min(_CHUNK_BYTES, left)):
                if (reply := exchange.feed(chunk)) is not None:
                    return reply
                if time.monotonic() > deadline_s:
                    return exchange.too_slow()
                left -= len(chunk)
        except (ClientDisconnected, OSError, ValueError):  # the last is what a closed file raises
            return exchange.gone()
        return None


def _write(reply: Reply, start_response: StartResponse, method: str) -> Iterable[bytes]:
    start_response(_STATUS[reply.status], list(reply.headers))
    # An answer to HEAD has no body, and waitress leaves that to the application.
    return [] if method == "HEAD" else [reply.body]
