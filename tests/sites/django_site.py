"""A Django site in one module, served as ``app`` (ASGI or WSGI by DJANGO_INTERFACE), bare or with our middleware (WRAP=1)."""

from __future__ import annotations

import json
import os
from typing import Any

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]
from django.http import HttpResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]

from eventmw import Limits
from eventmw.testing import with_keys
from tests.eventbunker import KEYS
from tests.sites import pages

OURS = ["eventmw.django.EventsMiddleware"] if pages.WRAPPED else []
TOO_BIG_FOR_DJANGO = 20 * 1024
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests only",
    DATA_UPLOAD_MAX_MEMORY_SIZE=TOO_BIG_FOR_DJANGO,
    FORCE_SCRIPT_NAME=os.environ.get("DJANGO_PREFIX"),
    MIDDLEWARE=[
        *OURS,
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    EVENTMW={"path": pages.PATH, "limits": Limits(max_body_bytes=64 * 1024, max_events=3)},
)
django.setup()
if "EVENTMW_EVENTBUNKER_PATH" in os.environ:
    from eventmw.django import site as the_site

    with_keys(the_site(), KEYS)


def front(request: Any) -> Any:
    return HttpResponse(pages.FRONT)


def kept(request: Any) -> Any:
    from eventmw.django import site

    return HttpResponse(json.dumps(site().stats()["records"]))


def track(request: Any) -> Any:
    from eventmw.django import site

    return HttpResponse(site().track("seen", {"page": request.path}, id="one").event_id)


async def atrack(request: Any) -> Any:
    from eventmw.django import site

    return HttpResponse((await site().atrack("seen", id="two")).event_id)


urlpatterns = [path("", front), path("kept", kept), path("track", track), path("atrack", atrack)]


def application() -> Any:
    if os.environ["DJANGO_INTERFACE"] == "asgi":
        from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]

        return get_asgi_application()
    from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]

    return get_wsgi_application()


app = application()
