"""What both gateways offer the site's own code: track, stats, close.

Layer: gateways.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack
from weakref import WeakMethod, WeakSet, finalize

from eventmw import lifetimes
from eventmw.config import Config
from eventmw.errors import JournalDown, told
from eventmw.event import Receipt
from eventmw.events_api import EventsApi
from eventmw.exchange import Api, Exchange
from eventmw.forks import LateLock
from eventmw.frameworks import no_attribute
from eventmw.http import RequestHead
from eventmw.incoming import FIELDS, Fields, head_of_environ, head_of_scope
from eventmw.intake.paths import Endings, FirstLook, PrefixHint, tails
from eventmw.lifetimes import caretaker
from eventmw.payload import TrackOptions, own_event
from eventmw.runtime import Runtime
from eventmw.settings import warn_of_variables
from eventmw.tracking import Tracking
from eventmw.watching.eventlog import name_records
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
        number: counts the sites of this process.
        entries: public path → where requests to an API below `eventbunker_path` come in.
        pages: public path → what is answered beside the APIs.
    """

    _closed = False

    # Not at run time: Litestar's command resolves the annotations of whatever object it meets in a module.
    if TYPE_CHECKING:
        config: Config
        runtime: Runtime
        number: int
        exchange: Callable[[RequestHead], Exchange]
        _tails: Container[object]
        _known: Endings | frozenset[str | None]
        entries: Mapping[str, Entry]
        pages: Mapping[str, Page]
        _end: finalize[[], Site]

    def _set_up(self, config: Config) -> None:
        name_records()
        warn_of_variables(config)
        caretaker.make_room()
        self.config = config
        self._path = config.path
        self._mounted = config.mounted
        self.number = next(_numbers)
        if not lifetimes.sites_open_late:
            self._use(runtime_makers[-1](config))
        sites.add(self)

    def _use(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._end_with(runtime)
        self.exchange = self._exchanges(EventsApi(runtime))
        self.entries = {} if self.config.eventbunker_path is None else self._eventbunker()
        self.pages = {page.path: page for page in pages_of(runtime)}
        self._hint = PrefixHint({} if self._mounted else self._settings_of_paths())
        self._look_first()

    def _end_with(self, runtime: Runtime) -> None:
        # What runs beside the site refers to the runtime alone: the site goes with its last reference, and this is called.
        self._end = finalize(self, runtime.drop)
        self._end.atexit = False

    if not TYPE_CHECKING:  # type checkers report a name that is not here by themselves

        def __getattr__(self, name: str) -> Any:
            """Make the runtime of a site that has none; else say where an attribute of the wrapped application is.

            A site has no runtime when it was made while sites open late, or when a test has put it aside.
            """
            if name not in _OF_RUNTIME or "config" not in vars(self):
                raise AttributeError(no_attribute(self, vars(self).get("app"), name), name=name, obj=self)
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
        paths = [path for path in (self._path, *self.entries, *self.pages) if path is not None]
        shown = frozenset[str | None]({None}).union(*map(tails, paths))
        self._known = Endings(paths) if self._mounted else shown
        notice = WeakMethod(self._first_request)  # else site and tails would refer to each other

        def noticed(path: object) -> None:
            if (first := notice()) is not None:
                first(path)

        self._tails = FirstLook(noticed)

    def _settings_of_paths(self) -> Mapping[str, tuple[str, str]]:
        """Return each path of ours with the setting that gives it, and that setting's value."""
        config = self.config
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

        Every thread, descriptor and socket is given back. The site's own requests go on; its events are refused with 503.
        Nobody has to call it: a site that is dropped gives all back by itself, as the end of an ASGI lifespan does.
        ``with EventsMiddleware(…) as app:`` calls it at the end.
        """
        self._closed = True
        return not is_open(self) or self.runtime.close(grace_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_numbers: Final = count()

sites: Final[WeakSet[Site]] = WeakSet()
"""The wrapped sites of this process, as long as something else refers to them."""

runtime_makers: Final[list[Callable[[Config], Runtime]]] = [Runtime]
"""The last one makes the runtime of a site; `eventmw.testing.captured` puts its own on top."""

_OF_RUNTIME: Final = ("runtime", "exchange", "entries", "pages", "_end", "_hint", "_known", "_tails", "_closed")
"""The attributes that serving with a runtime sets. A site without one has none of them, and makes one when asked."""

_opening: Final = LateLock()


def is_open(site: Site) -> bool:
    """Return whether a site has a runtime now; else its next use makes one."""
    return "runtime" in vars(site)


def is_closed(site: Site) -> bool:
    """Return whether its owner has closed it."""
    return site._closed  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as below


def serve_with(site: Site, runtime: Runtime) -> None:
    """Serve with this runtime from the next request on."""
    site._use(runtime)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of this module, and no business of its owner


def put_aside(site: Site) -> Mapping[str, Any]:
    """Take the runtime out of a site. Returns its parts, for `take_back`; the next use of the site makes another runtime."""
    if is_open(site):
        site._end.detach()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above
    return {name: vars(site).pop(name) for name in _OF_RUNTIME if name in vars(site)}


def take_back(site: Site, parts: Mapping[str, Any]) -> None:
    """Put in what `put_aside` returned, in the place of what is there now."""
    put_aside(site)
    vars(site).update(parts)
    if is_open(site):
        site._end_with(site.runtime)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above


def all_sites() -> list[Site]:
    """Return the wrapped sites of this process, although another thread may be making one."""
    while True:
        with suppress(RuntimeError):  # it grew meanwhile
            return list(sites)
