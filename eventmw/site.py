"""What both gateways offer the site's own code: track, stats, close.

Layer: gateways.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NoReturn, Unpack
from weakref import WeakSet

from eventmw.config import Config
from eventmw.errors import JournalDown, told
from eventmw.event import Receipt
from eventmw.events_api import EventsApi
from eventmw.exchange import Api, Exchange
from eventmw.frameworks import no_attribute
from eventmw.http import RequestHead
from eventmw.incoming import FIELDS, Fields, head_of_environ, head_of_scope
from eventmw.intake.paths import Endings, FirstLook, PrefixHint, tails
from eventmw.payload import TrackOptions, own_event
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
        number: counts the sites of this process.
        entries: public path → where requests to an API below `eventbunker_path` come in.
        pages: public path → what is answered beside the APIs.
    """

    # Not at run time: Litestar's command resolves the annotations of whatever object it meets in a module.
    if TYPE_CHECKING:
        runtime: Runtime
        number: int
        exchange: Callable[[RequestHead], Exchange]
        _tails: Container[object]
        _known: Endings | frozenset[str | None]
        entries: Mapping[str, Entry]
        pages: Mapping[str, Page]

    def _set_up(self, config: Config) -> None:
        self.runtime = Runtime(config)
        self.exchange = self._exchanges(EventsApi(self.runtime))
        self._path = config.path
        self._mounted = config.mounted
        self.entries = {} if config.eventbunker_path is None else self._eventbunker()
        self.pages = {page.path: page for page in pages_of(self.runtime)}
        self._hint = PrefixHint({} if config.mounted else self._settings_of_paths())
        self._look_first()
        self.number = next(_numbers)
        sites.add(self)

    if not TYPE_CHECKING:  # type checkers report a name that is not here by themselves

        def __getattr__(self, name: str) -> NoReturn:
            """Say where an attribute of the wrapped application is."""
            raise AttributeError(no_attribute(self, vars(self).get("app"), name), name=name, obj=self)

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
        paths = [path for path in (self._path, *self.entries, *self.pages) if path is not None]
        shown = frozenset[str | None]({None}).union(*map(tails, paths))
        self._known = Endings(paths) if self._mounted else shown
        self._tails = FirstLook(self._first_request)

    def _settings_of_paths(self) -> Mapping[str, tuple[str, str]]:
        """Return each path of ours with the setting that gives it, and that setting's value."""
        config = self.runtime.config
        names = ("path", "metrics_path", "ready_path")
        found = {path: (name, path) for name in names if (path := getattr(config, name)) is not None}
        below = config.eventbunker_path or ""
        return found | dict.fromkeys(self.entries, ("eventbunker_path", below))

    def passed_by(self, prefix: str, path: str) -> None:
        """Note a request that is the site's although its path looked like ours, or is the first of all."""
        further = self._hint.look(prefix, path)
        self._tails = self._known | further if further and isinstance(self._known, frozenset) else self._known

    def may_be_ours(self, path: str) -> bool:
        """Return whether a request with this path, with or without its prefix, has to be looked at."""
        return path in self._tails

    def _second_look(self, _path: object) -> None:
        self._tails = self._known

    def _first_request(self, path: object) -> None:
        # A lifespan has no path and knows no prefix, so the first request after it is looked at once more.
        self._tails = self._known if path is not None else FirstLook(self._second_look)
        try:
            self.runtime.awake()
        except Exception as error:  # noqa: BLE001 - a machine out of threads must not cost the site a request
            log.warning("commands will not find this process: %s", told(error))

    def track(self, name: str, properties: Mapping[str, Any] | None = None, **options: Unpack[TrackOptions]) -> Receipt:
        """Send one event from the site's own code, through the same pipeline as any other. Blocks until it is kept.

        Args:
            name: the event's name.
            properties: JSON values; each key is a track property.
            options: whose event it is, the request, and more; see `eventmw.payload.TrackOptions`.

        Raises:
            InvalidEvent: it breaks the schema, or there is no such project.
            JournalFull: no room (the HTTP answer would be 503).
            JournalDown: it could not be kept within `Limits.append_timeout_s` seconds.
            TypeError: `request` is no request, or there is no such option.
        """
        config = self.runtime.config
        event = own_event(name, properties, config.trusted_proxies, **options)
        return Tracking.of(self.runtime, event).result(config.limits.append_timeout_s)

    async def atrack(
        self, name: str, properties: Mapping[str, Any] | None = None, **options: Unpack[TrackOptions]
    ) -> Receipt:
        """Do as `track` does, without blocking the event loop."""
        import asyncio  # noqa: PLC0415 - a WSGI site does without

        from eventmw.waiting import wait  # noqa: PLC0415 - needs asyncio

        config = self.runtime.config
        event = own_event(name, properties, config.trusted_proxies, **options)
        if event.project is None:
            tracking = Tracking.of(self.runtime, event)
        else:  # its project is looked up in a database
            tracking = await asyncio.to_thread(Tracking.of, self.runtime, event)
        timeout_s = config.limits.append_timeout_s
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
        sites.discard(self)
        return self.runtime.close(grace_s)


_numbers: Final = count()

sites: Final[WeakSet[Site]] = WeakSet()
"""The wrapped sites of this process, as long as something else refers to them."""
