"""What both gateways offer the site's own code: track, stats, close.

Layer: gateways.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Container, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from eventmw import lifetimes
from eventmw.config import Config
from eventmw.errors import JournalDown, told
from eventmw.event import Receipt
from eventmw.events_api import EventsApi
from eventmw.exchange import Api, Exchange
from eventmw.http import RequestHead
from eventmw.incoming import FIELDS, Fields, head_of_environ, head_of_scope
from eventmw.intake.paths import FirstLook, tails
from eventmw.payload import payload
from eventmw.runtime import Runtime
from eventmw.tracking import Tracking
from eventmw.watching.pages import Page, pages_of
from eventmw.watching.requests import WatchedExchange

log = logging.getLogger("eventmw")


@dataclass(frozen=True, slots=True)
class Entry:
    """Where requests to one API below `eventbunker_path` come in.

    Attributes:
        path: public and full.
        exchange: makes the exchange of a request from its head.
        fields: the header fields that belong to that head.
        takes_query: whether the query string does.
    """

    path: str
    exchange: Callable[[RequestHead], Exchange]
    fields: Fields = FIELDS
    takes_query: bool = False

    def of_environ(self, environ: Mapping[str, Any], scheme: str) -> Exchange:
        """Return the exchange of a request that a WSGI environ, or Django's ``request.META``, describes."""
        query = environ.get("QUERY_STRING", "") if self.takes_query else ""
        return self.exchange(head_of_environ(environ, scheme, self.fields.environ, query))

    def of_scope(self, scope: MutableMapping[str, Any]) -> Exchange:
        """Return the exchange of a request that an ASGI scope describes."""
        query = scope.get("query_string", b"").decode("latin-1") if self.takes_query else ""
        return self.exchange(head_of_scope(scope, self.fields.raw, query))


class Site:
    """The part of a gateway that the site's own code uses. Everything is thread-safe.

    Attributes:
        config: the validated settings.
        runtime: the engine, journal and courier behind this site.
        exchange: makes the exchange of a request to the HTTP Events API from its head.
        entries: public path → where requests to an API below `eventbunker_path` come in.
        pages: public path → what is answered beside the APIs.
    """

    config: Config
    runtime: Runtime
    exchange: Callable[[RequestHead], Exchange]
    _tails: Container[object]
    entries: Mapping[str, Entry]
    pages: Mapping[str, Page]

    def _set_up(self, config: Config) -> None:
        self.config = config
        self._path = config.path
        if not lifetimes.sites_open_late:
            self._use(runtime_makers[-1](config))
        sites.add(self)

    def _use(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.exchange = self._exchanges(EventsApi(runtime))
        self.entries = {} if self.config.eventbunker_path is None else self._eventbunker()
        self.pages = {page.path: page for page in pages_of(runtime)}
        self._look_first()

    if not TYPE_CHECKING:  # a checker would take every misspelt attribute for one of these

        def __getattr__(self, name: str) -> Any:
            """Make the runtime of a site that has none: it was put aside, or made while sites open late."""
            if name not in _OF_RUNTIME or "config" not in vars(self):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            with _opening:
                if name not in vars(self):
                    self._use(runtime_makers[-1](self.config))
            return vars(self)[name]

    def _exchanges(self, api: Api[Any, Any]) -> Callable[[RequestHead], Exchange]:
        api = self.runtime.around(api)
        watch = self.runtime.watch
        return partial(Exchange, api) if watch is None else partial(WatchedExchange, api, watch)

    def _eventbunker(self) -> Mapping[str, Entry]:
        from eventmw.eventbunker.apis import apis_of  # noqa: PLC0415 - not needed without its path

        return {
            api.path: Entry(api.path, self._exchanges(api), FIELDS.and_(*api.header_names), api.takes_query)
            for api in apis_of(self.runtime)
        }

    def _look_first(self) -> None:
        """Have the next request of any kind wake the runtime: the first, or the first after the site's lifespan ended."""
        paths = (self._path, *self.entries, *self.pages)
        self._tails = FirstLook(frozenset[str | None]({None}).union(*map(tails, paths)), self._first_request)

    def _first_request(self, known: frozenset[str | None]) -> None:
        self._tails = known
        try:
            self.runtime.awake()
        except Exception as error:  # noqa: BLE001 - a machine out of threads must not cost the site a request
            log.warning("commands will not find this process: %s", told(error))

    def track(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        ecommerce: bool = False,
        system: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 - the protocol's word
        timestamp: datetime | str | int | None = None,
    ) -> Receipt:
        """Send one event from the site's own code, through the same pipeline as any other. Blocks until it is kept.

        Args:
            name: the event's name.
            properties: JSON values; each key is a track property.
            ecommerce: whether tools treat it as an e-commerce event.
            system: device, page and cookies of the person, in the shape of the seed's ``system`` object.
            id: 1 to 128 characters; a second event with the same id within 24 hours is a duplicate.
            timestamp: when it happened: a datetime (naive is UTC), ISO 8601, or milliseconds since 1970; None is now.

        Raises:
            InvalidEvent: it breaks the schema.
            JournalFull: no room (the HTTP answer would be 503).
            JournalDown: it could not be kept within `Limits.append_timeout_s` seconds.
        """
        body = payload(name, properties, ecommerce=ecommerce, system=system, id=id, timestamp=timestamp)
        return Tracking.of(self.runtime, body).result(self.runtime.config.limits.append_timeout_s)

    async def atrack(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        ecommerce: bool = False,
        system: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 - the protocol's word
        timestamp: datetime | str | int | None = None,
    ) -> Receipt:
        """Do as `track` does, without blocking the event loop."""
        from eventmw.waiting import wait  # noqa: PLC0415 - needs asyncio

        body = payload(name, properties, ecommerce=ecommerce, system=system, id=id, timestamp=timestamp)
        tracking = Tracking.of(self.runtime, body)
        timeout_s = self.runtime.config.limits.append_timeout_s
        if not await wait(tracking.future, timeout_s):
            raise JournalDown(f"the event could not be kept within {timeout_s:g} s")
        tracking.future.result(0)
        return tracking.receipt()

    def stats(self) -> Mapping[str, Any]:
        """Return where everything stands in this process, as JSON values; ``eventmw stats`` prints the same."""
        return self.runtime.stats()

    def close(self, grace_s: float = 5.0) -> bool:
        """Take no more events, deliver for at most `grace_s` seconds, and stop. Returns whether all was delivered.

        Nobody has to call it: what is not delivered stays in the journal as long as that lasts.
        """
        return not is_open(self) or self.runtime.close(grace_s)


sites: Final[WeakSet[Site]] = WeakSet()
"""The wrapped sites of this process, as long as something else refers to them."""

runtime_makers: Final[list[Callable[[Config], Runtime]]] = [Runtime]
"""The last one makes the runtime of a site; `eventmw.testing.captured` puts its own on top."""

_OF_RUNTIME: Final = ("runtime", "exchange", "entries", "pages", "_tails")
"""The attributes that serving with a runtime sets. A site without one has none of them, and makes one when asked."""

_opening: Final = threading.RLock()


def is_open(site: Site) -> bool:
    """Return whether a site has a runtime now; else its next use makes one."""
    return "runtime" in vars(site)


def serve_with(site: Site, runtime: Runtime) -> None:
    """Serve with this runtime from the next request on."""
    site._use(runtime)  # noqa: SLF001 - of this module, and no business of the site's owner


def put_aside(site: Site) -> Mapping[str, Any]:
    """Take the runtime out of a site. Returns its parts, for `take_back`; the next use of the site makes another runtime."""
    return {name: vars(site).pop(name) for name in _OF_RUNTIME if name in vars(site)}


def take_back(site: Site, parts: Mapping[str, Any]) -> None:
    """Put in what `put_aside` returned, in the place of what is there now."""
    put_aside(site)
    vars(site).update(parts)
