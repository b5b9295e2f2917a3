"""Test clients for a Django site whose ``application`` is wrapped.

``django.test.Client`` calls Django's own handler and never looks at ``wsgi.py`` or ``asgi.py``, so a site that is wrapped
there answers 404 to it on our paths. These clients ask the wrapped application first::

    from eventmw.testing.django import Client

    class ShopTest(TestCase):
        client_class = Client

With the settings form, where our middleware is in ``MIDDLEWARE``, they do what Django's own clients do.

Layer: gateways. Source: docs.djangoproject.com, «Testing tools», «Advanced testing topics».
"""

# Django ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUntypedBaseClass=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings  # type: ignore[import-untyped]
from django.core.servers.basehttp import get_internal_wsgi_application  # type: ignore[import-untyped]
from django.test import client  # type: ignore[import-untyped]
from django.utils.module_loading import import_string  # type: ignore[import-untyped]

from eventmw.django import SETTING, EventsMiddleware
from eventmw.errors import ConfigError
from eventmw.site import Site

_INNER: Final = ("app", "application", "wsgi_app", "asgi_app", "wrapped")
"""The attributes under which middleware commonly keeps what it wraps."""

_MAX_LAYERS: Final = 20


def wsgi_site() -> Site | None:
    """Return the site around the application that ``WSGI_APPLICATION`` names; None with the settings form.

    Raises:
        ConfigError: there is none.
    """
    return _site_in(get_internal_wsgi_application(), f"WSGI_APPLICATION = {settings.WSGI_APPLICATION!r}")


def asgi_site() -> Site | None:
    """Return the site around the application that ``ASGI_APPLICATION`` names, or ``asgi.application`` beside ``wsgi.py``.

    Raises:
        ConfigError: there is none.
    """
    named = getattr(settings, "ASGI_APPLICATION", None)
    name = str(named or str(settings.WSGI_APPLICATION).replace(".wsgi.", ".asgi."))
    return _site_in(import_string(name), f"ASGI_APPLICATION = {name!r}")


def _site_in(application: object, setting: str) -> Site | None:
    for layer in _layers(application):
        if isinstance(layer, Site):
            return layer
    if hasattr(settings, SETTING):
        return None
    raise ConfigError(
        [
            f"{setting} is not wrapped by eventmw.EventsMiddleware, and the settings have no {SETTING}: no path is answered"
        ]
    )


def _layers(application: object) -> Iterator[object]:
    layer: object | None = application
    for _ in range(_MAX_LAYERS):
        if layer is None:
            return
        yield layer
        layer = next((inner for name in _INNER if (inner := getattr(layer, name, None)) is not None), None)


class _Handler(client.ClientHandler):  # type: ignore[misc]  # Django has no types
    def get_response(self, request: Any) -> Any:
        site = wsgi_site()
        inner = super().get_response
        return inner(request) if site is None else EventsMiddleware(inner, lambda: site)(request)


class _AsyncHandler(client.AsyncClientHandler):  # type: ignore[misc]  # as above
    async def get_response_async(self, request: Any) -> Any:
        site = asgi_site()
        inner = super().get_response_async
        if site is None:
            return await inner(request)
        answer: Any = EventsMiddleware(inner, lambda: site)(request)
        return await answer


class Client(client.Client):  # type: ignore[misc]  # as above
    """``django.test.Client`` for a site whose ``wsgi.py`` has the wrapped application."""

    def __init__(self, enforce_csrf_checks: bool = False, *args: Any, **named: Any) -> None:
        super().__init__(enforce_csrf_checks, *args, **named)
        self.handler = _Handler(enforce_csrf_checks)


class AsyncClient(client.AsyncClient):  # type: ignore[misc]  # as above
    """``django.test.AsyncClient`` for a site whose ``asgi.py`` has the wrapped application."""

    def __init__(self, enforce_csrf_checks: bool = False, *args: Any, **named: Any) -> None:
        super().__init__(enforce_csrf_checks, *args, **named)
        self.handler = _AsyncHandler(enforce_csrf_checks)
