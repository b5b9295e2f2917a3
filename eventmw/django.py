"""Django's own middleware: the lesser form, for those who cannot wrap ``application``.

::

    MIDDLEWARE = ["eventmw.django.EventsMiddleware", ...]  # first
    EVENTMW = {"path": "/zaraz/api", "tools": [GA4("G-ABC123", api_secret=env("GA4_SECRET"))]}

By the time Django calls a middleware under ASGI it has read the body (no early 413, no 408), under WSGI it cannot read one
that is chunked (411), and its signals and handlers run around us. ``EventsMiddleware(get_wsgi_application(), …)`` has
none of these limits.

Layer: gateways. Source: docs.djangoproject.com, «Middleware», «Asynchronous support».
"""

# Django ships no types: what is used of it is described by `_Request`.
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any, Final, Protocol, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings  # type: ignore[import-untyped]
from django.core.exceptions import RequestDataTooBig  # type: ignore[import-untyped]
from django.core.signals import setting_changed  # type: ignore[import-untyped]
from django.http import HttpResponse  # type: ignore[import-untyped]
from django.http.request import RawPostDataException, UnreadablePostError  # type: ignore[import-untyped]

from eventmw.errors import ConfigError
from eventmw.exchange import LOOKUP_S, Exchange
from eventmw.forks import LateLock
from eventmw.http import Reply
from eventmw.incoming import head_of_environ
from eventmw.intake.body import too_large
from eventmw.intake.paths import public_path
from eventmw.settings import complete
from eventmw.site import Site
from eventmw.waiting import wait
from eventmw.watching.pages import Page

SETTING: Final = "EVENTMW"


class _Request(Protocol):
    """What is looked at of a ``django.http.HttpRequest``."""

    META: dict[str, Any]
    path: str
    path_info: str
    method: str
    scheme: str
    body: bytes


class DjangoSite(Site):
    """The site behind the settings; see `site`.

    Raises:
        ConfigError: with every problem of the settings.
    """

    def __init__(self) -> None:
        options = getattr(settings, SETTING, None)
        if not isinstance(options, dict):
            raise ConfigError([f'Django\'s settings need {SETTING} = {{"path": "/zaraz/api", "tools": […]}}'])
        self._set_up(complete(cast(Any, options)))


_made: list[DjangoSite | None] = [None]
"""The site of the settings, None until it is asked for, and on top one for each ``override_settings`` that is in force."""

_making = LateLock()  # a site may connect to a database while it is made


def site() -> DjangoSite:
    """Return the site of the settings in force, for ``site().track("purchase", {…})`` in views, commands and tasks.

    Raises:
        ConfigError: with every problem of the settings, when it is first asked for.
    """
    if (found := _made[-1]) is not None:
        return found
    with _making:
        if (found := _made[-1]) is None:
            found = _made[-1] = DjangoSite()
        return found


def made() -> DjangoSite | None:
    """Return the site of the settings in force when there is one already."""
    return _made[-1]


def _on_setting_changed(*, setting: str, enter: bool, **_: object) -> None:
    """Follow ``override_settings(EVENTMW=…)``: its site lasts as long as the override, and then the one before is back.

    Source: docs.djangoproject.com, «Signals», ``django.test.signals.setting_changed``.
    """
    if setting != SETTING:
        return
    with _making:
        if enter:
            _made.append(None)
            return
        ended = _made.pop()
        if not _made:  # the override began before this module was imported
            _made.append(None)
    if ended is not None:
        ended.close(0)


setting_changed.connect(_on_setting_changed)  # pyright: ignore[reportUnknownMemberType] - as said at the top


class EventsMiddleware:
    """The entry for Django's ``MIDDLEWARE``, sync and async. Put it first: it needs no session and checks origins itself.

    Args:
        get_response: what Django calls next. A request that is not ours is passed to it untouched.
        find_site: returns the site whose paths are answered; it is asked at each request, as settings change in tests.

    Raises:
        ConfigError: with every problem of the settings.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[_Request], Any], find_site: Callable[[], Site] = site) -> None:
        self.get_response = get_response
        self._find_site = find_site
        find_site()  # at start, when the problems of the settings are to be seen
        self._async = iscoroutinefunction(get_response)  # pyright: ignore[reportDeprecated] - 3.11 has no other
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request: _Request) -> HttpResponse | Awaitable[HttpResponse]:
        """Answer a request on our path; pass everything else."""
        ours = self._find_site()
        if not ours.may_be_ours(request.path_info):
            return self.get_response(request)
        prefix = request.META.get("SCRIPT_NAME", "")
        path = request.path_info if ours.config.mounted else public_path(prefix, request.path)
        if path == ours.config.path:
            exchange = ours.exchange(head_of_environ(request.META, request.scheme))
        elif (entry := ours.entries.get(path)) is not None:
            exchange = entry.of_environ(request.META, request.scheme)
        elif (page := ours.pages.get(path)) is not None:
            return self._show(page, request)
        else:
            ours.passed_by(prefix, request.path)
            return self.get_response(request)
        return self._aanswer(exchange, request) if self._async else self._answer(exchange, request)

    def _show(self, page: Page, request: _Request) -> HttpResponse | Awaitable[HttpResponse]:
        def show() -> HttpResponse:
            return _response(page.answer(head_of_environ(request.META, request.scheme)), request)

        return sync_to_async(show, thread_sensitive=False)() if self._async else show()

    def _answer(self, exchange: Exchange, request: _Request) -> HttpResponse:
        if (looking := exchange.lookup()) is not None:
            wait_for([looking], LOOKUP_S)
        kept = self._submit(exchange, request)
        if isinstance(kept, Reply):
            return _response(kept, request)
        try:
            kept.exception(exchange.api.patience_s)
        except TimeoutError:
            return _response(exchange.late(), request)
        return _response(exchange.settle(kept), request)

    async def _aanswer(self, exchange: Exchange, request: _Request) -> HttpResponse:
        if (looking := exchange.lookup()) is not None:
            await wait(looking, LOOKUP_S)
        kept = self._submit(exchange, request)
        if isinstance(kept, Reply):
            return _response(kept, request)
        in_time = await wait(kept, exchange.api.patience_s)
        return _response(exchange.settle(kept) if in_time else exchange.late(), request)

    def _submit(self, exchange: Exchange, request: _Request) -> Reply | Future[Any]:
        return exchange.open() or self._read(exchange, request) or exchange.submit()

    def _read(self, exchange: Exchange, request: _Request) -> Reply | None:
        if "HTTP_TRANSFER_ENCODING" in request.META and not hasattr(request, "scope"):
            return exchange.refuse(
                "length_required", "Expected Content-Length: Django reads no chunked body under WSGI."
            )
        try:
            body = request.body
        except RequestDataTooBig:
            limit = min(exchange.api.max_body_bytes, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
            return exchange.refuse("body_too_large", too_large(limit).detail)
        except UnreadablePostError:
            return exchange.gone()
        except RawPostDataException:
            return exchange.refuse(
                "internal_error", "Another middleware has consumed the body; eventmw's must be the first in MIDDLEWARE."
            )
        return exchange.feed(body)


def _response(reply: Reply, request: _Request) -> HttpResponse:
    body = b"" if request.method == "HEAD" else reply.body
    response = HttpResponse(body, status=reply.status, headers=dict(reply.headers))
    if not reply.body:
        del response["content-type"]  # Django gives every response one
    return response
