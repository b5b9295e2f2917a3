"""A Django site in one file. Layer: the site's own; one line of it is about events."""

# Django ships no types.
# pyright: reportMissingTypeStubs=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
from __future__ import annotations

from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse, JsonResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]

from eventmw import EventsMiddleware
from eventmw.demo.tools import tools_of


def front(_request: HttpRequest) -> HttpResponse:
    """Show the front page."""
    return HttpResponse(b"<!doctype html><title>Shop</title><h1>A Django shop</h1>\n")


def order(request: HttpRequest) -> HttpResponse:
    """Take an order from a form."""
    return JsonResponse({"ordered": request.POST["item"]}, status=201)


def stats(_request: HttpRequest) -> HttpResponse:
    """Show where the events of this process stand."""
    return JsonResponse(application.stats())


urlpatterns = [path("", front), path("orders", order), path("stats", stats)]

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost", "shop.example"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for the demonstration",  # noqa: S106 - it signs nothing
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.gzip.GZipMiddleware"],
)

site = get_asgi_application()
application = EventsMiddleware(
    site, path="/zaraz/api", eventbunker_path="/eb", tools=tools_of("django"), receipt="full"
)
