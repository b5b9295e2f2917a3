"""`eventmw.track` and `eventmw.atrack`: an event from anywhere in the site, without holding the wrapper.

Nothing is noted when a request passes: which site is meant is found out when an event is tracked.

Layer: gateways.
"""

from __future__ import annotations

import gc
import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Final, Unpack

from eventmw.errors import NoSite
from eventmw.event import Receipt
from eventmw.payload import TrackOptions
from eventmw.site import Site, all_sites, is_closed

_GATEWAYS: Final = frozenset({"eventmw.asgi", "eventmw.wsgi"})


def track(
    name: str,
    properties: Mapping[str, Any] | None = None,
    *,
    site: Site | None = None,
    **options: Unpack[TrackOptions],
) -> Receipt:
    """Send one event from anywhere in the site's own code, through the same pipeline as any other. Blocks until it is kept.

    In Django, call it when the transaction is committed: ``transaction.on_commit(lambda: eventmw.track(…))``.

    Args:
        name: the event's name.
        properties: JSON values; each key is a track property.
        site: what ``EventsMiddleware(…)`` returned, where one process has several; None: `current_site`.
        options: whose event it is, the request, and more; see `eventmw.payload.TrackOptions` and docs/tracking.md.

    Raises:
        NoSite: this process has no wrapped site, or several.
        InvalidEvent: it breaks the schema, or there is no such project.
        JournalFull: no room (the HTTP answer would be 503).
        JournalDown: it could not be kept within `Limits.append_timeout_s` seconds.
        TypeError: `request` is no request, or there is no such option.
    """
    return (site or current_site()).track(name, properties, **options)


async def atrack(
    name: str,
    properties: Mapping[str, Any] | None = None,
    *,
    site: Site | None = None,
    **options: Unpack[TrackOptions],
) -> Receipt:
    """Do as `track` does, without blocking the event loop."""
    return await (site or current_site()).atrack(name, properties, **options)


def current_site() -> Site:
    """Return the wrapped site whose request this thread or task handles, else the only one of this process.

    Sites that share a journal in files are one, and the latest stands for them. Django's, by settings, is made when needed.

    Raises:
        NoSite: there is none, or more than one.
    """
    found = _living()
    if not found:
        return _of_django()
    if len(found) > 1 and (handling := _handling()) is not None:
        return handling
    if len(found) > 1:
        del found
        gc.collect()  # a site that a test or a notebook has dropped may still be waiting for it
        found = _living()
    if len(found) == 1:
        return found[0]
    paths = ", ".join(sorted(str(site.runtime.config.path) for site in found))
    raise NoSite(
        f"this process has {len(found)} wrapped sites ({paths}), and none of them is calling this code: give the one that "
        "is meant, as eventmw.track(…, site=app), or call app.track(…) on it"
    )


def _living() -> Sequence[Site]:
    """Return the sites of this process, of those that share a journal the latest."""
    by_journal: dict[object, Site] = {}
    for site in sorted((site for site in all_sites() if not is_closed(site)), key=lambda site: site.number):
        config = site.runtime.config
        by_journal[os.path.realpath(config.data_dir) if config.journal == "file" else site.number] = site
    return tuple(by_journal.values())


def _handling() -> Site | None:
    """Return the innermost wrapper that is calling this code.

    It is on the call stack, of a coroutine as well; not in a thread pool or a task of its own.
    """
    for frame in _frames():
        if frame.f_globals.get("__name__") in _GATEWAYS and isinstance(site := frame.f_locals.get("self"), Site):
            return site
    return None


def _frames() -> Iterator[FrameType]:
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def _of_django() -> Site:
    """Return the site of Django's settings, which management commands and Celery workers make here.

    Raises:
        NoSite: there are no such settings.
    """
    if "django.conf" in sys.modules:
        settings = sys.modules["django.conf"].settings
        if (settings.configured or "DJANGO_SETTINGS_MODULE" in os.environ) and hasattr(settings, "EVENTMW"):
            from eventmw.django import site  # noqa: PLC0415 - needs Django

            return site()
    raise NoSite(
        "this process has no wrapped site. With app.add_middleware(EventsMiddleware, …) the framework makes it at its first "
        "request or the start of its lifespan: track later, or wrap the application as app = EventsMiddleware(app, …). In "
        "a command or a task, import the module that wraps the site first, or use eventmw.Tracker(data_dir)"
    )
