"""A Django site in one file that takes events at /zaraz/api.

Run it:      uvicorn --app-dir examples django_site:application        (ASGI)
        or:  gunicorn --chdir examples django_site:wsgi_application    (WSGI)
Try it:      sh examples/seed_payloads.sh http://127.0.0.1:8000/zaraz/api
See:         one line for each event on the server's output

In a project of your own, the line belongs into asgi.py or wsgi.py, around ``application``.
"""

from django.conf import settings  # type: ignore[import-untyped]
from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]
from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
from django.urls import path  # type: ignore[import-untyped]

from eventmw import EventsMiddleware
from eventmw.tools import Console


def front(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<h1>Hello from Django</h1>")


urlpatterns = [path("", front)]

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for this example",  # noqa: S106 - it signs nothing
)

application = EventsMiddleware(get_asgi_application(), path="/zaraz/api", tools=[Console()])
wsgi_application = EventsMiddleware(get_wsgi_application(), path="/zaraz/api", tools=[Console()])
