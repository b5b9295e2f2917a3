"""A Django site that takes events at /zaraz/api by its settings alone, for those who cannot wrap ``application``.

Run it:      uvicorn --app-dir examples django_settings_site:application
Try it:      sh examples/seed_payloads.sh http://127.0.0.1:8000/zaraz/api
See:         one line for each event on the server's output

django_site.py shows the better form: here Django has read the whole body before eventmw may refuse it as too large.
"""

from functools import partial

from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.db import transaction  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]

import eventmw
from eventmw.tools import Console


def front(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<h1>Hello from Django</h1>")


def order(request: HttpRequest, number: int) -> HttpResponse:
    track = partial(eventmw.track, "order placed", {"number": number}, id=f"order-{number}", request=request)
    transaction.on_commit(track)  # not before: an order that is rolled back was never placed
    return HttpResponse(f"ordered {number}")


urlpatterns = [path("", front), path("orders/<int:number>", order)]

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for this example",  # noqa: S106 - it signs nothing
    MIDDLEWARE=["eventmw.django.EventsMiddleware", "django.middleware.common.CommonMiddleware"],  # ours first
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    EVENTMW={"path": "/zaraz/api", "tools": [Console()]},
)

application = get_asgi_application()
