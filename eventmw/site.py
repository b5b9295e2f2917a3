"""What both gateways offer the site's own code: track, stats, close.

Layer: gateways.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Self
from weakref import WeakMethod, WeakSet, finalize

from eventmw.config import Config
from eventmw.errors import JournalDown, told
from eventmw.event import Receipt
from eventmw.events_api import EventsApi
from eventmw.exchange import Api, Exchange
from eventmw.http import RequestHead
from eventmw.incoming import FIELDS, Fields, head_of_environ, head_of_scope
from eventmw.intake.paths import FirstLook, tails
from eventmw.lifetimes import caretaker
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
        runtime: the engine, journal and courier behind this site.
        exchange: makes the exchange of a request to the HTTP Events API from its head.
        entries: public path → where requests to an API below `eventbunker_path` come in.
        pages: public path → what is answered beside the APIs.
    """

    runtime: Runtime
    exchange: Callable[[RequestHead], Exchange]
    _tails: Container[object]
    entries: Mapping[str, Entry]
    pages: Mapping[str, Page]

    def _set_up(self, config: Config) -> None:
        caretaker.make_room()
        self.runtime = Runtime(config)
        # What runs beside the site refers to the runtime alone: the site goes with its last reference, and this is called.
        finalize(self, self.runtime.drop).atexit = False
        self.exchange = self._exchanges(EventsApi(self.runtime))
        self._path = config.path
        self.entries = {} if config.eventbunker_path is None else self._eventbunker()
        self.pages = {page.path: page for page in pages_of(self.runtime)}
        self._look_first()
        sites.add(self)

    def _exchanges(self, api: Api[Any, Any]) -> Callable[[RequestHead], Exchange]:
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
        notice = WeakMethod(self._first_request)  # else site and tails would refer to each other

        def noticed(known: frozenset[str | None]) -> None:
            if (first := notice()) is not None:
                first(known)

        self._tails = FirstLook(frozenset[str | None]({None}).union(*map(tails, paths)), noticed)

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

        Every thread, descriptor and socket is given back. The site's own requests go on; its events are refused with 503.
        Nobody has to call it: a site that is dropped gives all back by itself, as the end of an ASGI lifespan does.
        ``with EventsMiddleware(…) as app:`` calls it at the end.
        """
        return self.runtime.close(grace_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


sites: Final[WeakSet[Site]] = WeakSet()
"""The wrapped sites of this process, as long as something else refers to them."""
