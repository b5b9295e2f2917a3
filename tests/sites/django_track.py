"""What happens in a Django project by settings, run as a script in a process of its own; prints what was seen as JSON.

It is told by its arguments what to do: `tests.test_track_django` has the questions and the answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import django  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-untyped]

from eventmw.tools import File

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests only",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    MIDDLEWARE=["eventmw.django.EventsMiddleware"],
    EVENTMW={
        "path": "/zaraz/api",
        "tools": [File(Path(os.environ["DATA_DIR"], "out.jsonl"))],
        "ready_path": "/ready",
        "journal": "memory",
        "data_dir": Path(os.environ["DATA_DIR"]),
        "trusted_proxies": 1,
        "mounted": os.environ.get("MOUNTED") == "1",
    },
)
django.setup()

from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]  # noqa: E402
from django.core.wsgi import get_wsgi_application  # type: ignore[import-untyped]  # noqa: E402
from django.db import transaction  # type: ignore[import-untyped]  # noqa: E402
from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]  # noqa: E402
from django.urls import path  # type: ignore[import-untyped]  # noqa: E402

import eventmw  # noqa: E402
from eventmw.site import Site, sites  # noqa: E402
from tests.calls import SEED, ask_asgi, ask_wsgi  # noqa: E402
from tests.running import until  # noqa: E402
from tests.visitors import environ_of, scope_of  # noqa: E402


def seen(request: Any) -> Any:
    eventmw.track("seen", request=request, user_id="u-1")
    return HttpResponse("ok")


async def aseen(request: Any) -> Any:
    await eventmw.atrack("seen", request=request, user_id="u-1")
    return HttpResponse("ok")


def order(request: Any, fails: int) -> Any:
    try:
        with transaction.atomic():
            transaction.on_commit(lambda: eventmw.track("order", {"fails": fails}))
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    return HttpResponse("ok")


urlpatterns = [path("café x", seen), path("acafé x", aseen), path("order/<int:fails>", order)]


def shown(site: Site) -> list[Any]:
    entries = site.runtime.journal.scan(None, 100)
    events: list[Any] = [event for entry in entries for event in site.runtime.engine.events(entry.record)]
    return [[event.name, event.user_id, dict(event.properties), event.system] for event in events]


def track_in_a_command() -> Any:
    """No request came, so that nothing has made the site yet."""
    assert not sites
    eventmw.track("nightly", {"n": 1})
    [site] = sites
    return shown(site)


def rollback() -> Any:
    app = get_wsgi_application()
    for fails in (1, 0):
        assert ask_wsgi(app, "GET", f"/order/{fails}").status == 200
    [site] = sites
    return shown(site)


def requests() -> Any:
    wsgi, asgi = get_wsgi_application(), get_asgi_application()
    list(wsgi(environ_of(), lambda *_: None))
    ask_asgi(asgi, "GET", "/shop/acafé x", **{k: v for k, v in scope_of(path="/shop/acafé x").items() if k not in {"method", "path", "headers"}},
             headers=[(name.decode(), value.decode("latin-1")) for name, value in scope_of()["headers"]])  # fmt: skip
    by_hand = HttpRequest()
    by_hand.META["HTTP_USER_AGENT"] = "by hand"
    eventmw.track("by hand", request=by_hand)
    [site] = sites
    return shown(site)


def prefixes() -> Any:
    wsgi, asgi = get_wsgi_application(), get_asgi_application()
    [site] = sites
    assert ask_wsgi(wsgi, "GET", "/nothing").status == 404
    until(lambda: site.runtime.socket)  # a request of any kind wakes what runs beside the site
    cases = [("", "/zaraz/api"), ("/shop", "/zaraz/api"), ("/shop", "/ready"), ("", "/shop/zaraz/api"), ("/shop", "/x")]
    return [
        [
            ask_wsgi(wsgi, "POST", "/", SEED, SCRIPT_NAME=prefix, PATH_INFO=below).status,
            asyncio.run(_asgi(asgi, prefix, below)),
        ]
        for prefix, below in cases
    ]


async def _asgi(app: Any, prefix: str, below: str) -> int:
    return await asyncio.to_thread(lambda: ask_asgi(app, "POST", prefix + below, SEED, root_path=prefix).status)


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
