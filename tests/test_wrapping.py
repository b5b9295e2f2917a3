"""`eventmw.EventsMiddleware` picks the gateway by the site it is given, in every way that a framework adds middleware."""

from __future__ import annotations

import functools
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import falcon
import falcon.asgi
import flask
import litestar
import pytest
import quart
import werkzeug
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse as FastText
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import eventmw
from eventmw import asgi, wsgi
from tests.calls import SEED, Answer, ask_asgi, ask_wsgi

PATH = "/zaraz/api"
Wrap = Callable[..., Any]
ROOT = Path(__file__).parent.parent


# Sites: each shows "page" at /.


async def asgi_function(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


def wsgi_function(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"page"]


def asgi_without_a_marker(scope: Any, receive: Any, send: Any) -> Any:
    return asgi_function(scope, receive, send)


def configured(settings: str, scope: Any, receive: Any, send: Any, debug: bool = False) -> Any:
    return asgi_function(scope, receive, send)


def wsgi_configured(environ: Any, start_response: Any, *, debug: bool) -> Any:
    return wsgi_function(environ, start_response)


@functools.wraps(wsgi_function)
def wsgi_decorated(*args: Any) -> Any:
    return wsgi_function(*args)


def hides(*given: Any) -> Any:
    return wsgi_function(*given)


class AsyncCall:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi_function(scope, receive, send)

    async def method(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi_function(scope, receive, send)


class SyncCall:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return wsgi_function(environ, start_response)

    def method(self, environ: Any, start_response: Any) -> list[bytes]:
        return wsgi_function(environ, start_response)


class SyncCallOfThree:
    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        return asgi_function(scope, receive, send)


class WsgiClass:
    """PEP 3333's second example: calling the class is the application."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        self.body = wsgi_function(environ, start_response)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.body)


def of_flask() -> flask.Flask:
    app = flask.Flask(__name__)
    app.add_url_rule("/", view_func=lambda: "page")
    return app


def of_quart() -> quart.Quart:
    app = quart.Quart(__name__)

    @app.route("/")
    async def page() -> str:
        return "page"

    return app


def of_fastapi() -> FastAPI:
    app = FastAPI()

    @app.get("/", response_class=FastText)
    async def page() -> str:
        return "page"

    return app


async def _page(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("page")


def of_starlette(**options: Any) -> Starlette:
    return Starlette(routes=[Route("/", _page)], **options)


def of_litestar() -> litestar.Litestar:
    @litestar.get("/", media_type="text/plain")
    async def page() -> str:
        return "page"

    return litestar.Litestar([page])


class _Falcon:
    def on_get(self, _request: Any, response: Any) -> None:
        response.text = "page"


class _AsyncFalcon:
    async def on_get(self, _request: Any, response: Any) -> None:
        response.text = "page"


def of_falcon(kind: Any, resource: Any) -> Any:
    app = kind()
    app.add_route("/", resource)
    return app


ASGI_SITES: dict[str, Callable[[], Any]] = {
    "function": lambda: asgi_function,
    "function without a marker": lambda: asgi_without_a_marker,
    "partial": lambda: functools.partial(configured, "settings"),
    "partial of an object": lambda: functools.partial(AsyncCall()),
    "object": AsyncCall,
    "method": lambda: AsyncCall().method,
    "object of three": SyncCallOfThree,
    "wrapped already": lambda: asgi.EventsMiddleware(asgi_function),
    "Starlette": of_starlette,
    "FastAPI": of_fastapi,
    "Litestar": of_litestar,
    "Falcon": lambda: of_falcon(falcon.asgi.App, _AsyncFalcon()),
    "Quart": of_quart,
}
WSGI_SITES: dict[str, Callable[[], Any]] = {
    "function": lambda: wsgi_function,
    "decorated": lambda: wsgi_decorated,
    "partial": lambda: functools.partial(wsgi_configured, debug=True),
    "object": SyncCall,
    "method": lambda: SyncCall().method,
    "class": lambda: WsgiClass,
    "wrapped already": lambda: wsgi.EventsMiddleware(wsgi_function),
    "Flask": of_flask,
    "Flask's wsgi_app": lambda: of_flask().wsgi_app,
    "Falcon": lambda: of_falcon(falcon.App, _Falcon()),
}


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {"path": PATH, "data_dir": str(tmp_path)}


@pytest.fixture
def wrap(options: dict[str, Any]) -> Iterator[Wrap]:
    made: list[Any] = []

    def wrap(app: Any, kind: Any = eventmw.EventsMiddleware, **more: Any) -> Any:
        made.append(kind(app, **(options | more)))
        return made[-1]

    yield wrap
    for site in made:
        site.close()


def check(front: Answer, ours: Answer) -> None:
    assert (front.status, front.body) == (200, b"page")
    assert (ours.status, b'"results"' in ours.body) == (200, True)


@pytest.mark.parametrize("name", ASGI_SITES)
def test_asgi_sites(name: str, wrap: Wrap) -> None:
    app = wrap(ASGI_SITES[name]())
    assert type(app) is asgi.EventsMiddleware
    check(ask_asgi(app, "GET", "/"), ask_asgi(app, "POST", PATH, SEED))


@pytest.mark.parametrize("name", WSGI_SITES)
def test_wsgi_sites(name: str, wrap: Wrap) -> None:
    app = wrap(WSGI_SITES[name]())
    assert type(app) is wsgi.EventsMiddleware
    check(ask_wsgi(app, "GET", "/"), ask_wsgi(app, "POST", PATH, SEED))


class Wsgified:
    """As webob's ``wsgify`` looks: called with one request by its author, and with two arguments by a server."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        return wsgi_function(*args)


@werkzeug.Request.application
def of_werkzeug(_request: werkzeug.Request) -> werkzeug.Response:
    return werkzeug.Response("page")


def wsgi_forwarding(environ: Any, *more: Any) -> Any:
    return wsgi_function(environ, *more)


def asgi_forwarding(scope: Any, *more: Any) -> Any:
    return asgi_function(scope, *more)


@pytest.mark.parametrize(
    ("told_by", "gateway"),
    [
        (of_werkzeug, wsgi),
        (type("wsgify", (Wsgified,), {"__module__": "webob.dec"})(), wsgi),
        (wsgi_forwarding, wsgi),
        (asgi_forwarding, asgi),
    ],
)
def test_a_site_that_hides_its_arguments_is_told_by_its_library_or_their_names(
    told_by: Any, gateway: Any, wrap: Wrap
) -> None:
    app = wrap(told_by)
    assert type(app) is gateway.EventsMiddleware
    ask = ask_asgi if gateway is asgi else ask_wsgi
    check(ask(app, "GET", "/"), ask(app, "POST", PATH, SEED))


@pytest.mark.parametrize(
    ("app", "words"),
    [(lambda: asgi_function, "may be a factory: call it"), (lambda scope: None, "an ASGI 2 application")],
)
def test_what_else_an_object_may_be(app: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        eventmw.EventsMiddleware(app, path=PATH)


INSIDE = [
    (of_fastapi, "dependency_overrides", "app.add_middleware(EventsMiddleware, path=…) leaves `app` a FastAPI"),
    (of_fastapi, "url_path_for", "app.add_middleware"),
    (of_starlette, "state", "leaves `app` a Starlette"),
    (of_flask, "test_client", "app.wsgi_app = EventsMiddleware(app.wsgi_app, path=…) leaves `app` a Flask"),
    (of_quart, "test_client", "app.asgi_app = EventsMiddleware(app.asgi_app, path=…) leaves `app` a Quart"),
    (of_litestar, "route_reverse", "app.asgi_handler = EventsMiddleware(app.asgi_handler, path=…) leaves `app` a Lit"),
    (lambda: of_falcon(falcon.App, _Falcon()), "add_route", "app.app.add_route"),
]


@pytest.mark.parametrize(("make", "name", "form"), INSIDE)
def test_an_attribute_of_the_application_inside_is_found_by_the_error(
    make: Any, name: str, form: str, wrap: Wrap
) -> None:
    app = wrap(make())
    with pytest.raises(AttributeError) as caught:
        getattr(app, name)
    assert f"the {type(app.app).__name__} inside has it: app.app.{name}" in str(caught.value)
    assert form in str(caught.value)
    assert not hasattr(app, name)


@pytest.mark.parametrize("name", ["no_such_thing", "__wrapped__", "_is_coroutine"])
def test_an_attribute_that_nothing_has(name: str, wrap: Wrap) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(wrap(of_fastapi()), name)
    assert str(caught.value) == f"'EventsMiddleware' object has no attribute {name!r}"


@pytest.mark.parametrize("make", [of_fastapi, of_flask])
def test_annotations_can_be_resolved(make: Any, wrap: Wrap) -> None:
    """Litestar's command does it with whatever it meets in a module."""
    assert isinstance(typing.get_type_hints(wrap(make())), dict)


@pytest.mark.parametrize("hidden", [hides, lambda scope: asgi_function, lambda *, scope: None, map])
def test_a_site_that_hides_what_it_is(hidden: Any) -> None:
    with pytest.raises(TypeError, match=r"eventmw\.asgi\.EventsMiddleware or eventmw\.wsgi\.EventsMiddleware"):
        eventmw.EventsMiddleware(hidden, path=PATH)


@pytest.mark.parametrize("thing", [None, "module:app", 5])
def test_what_is_no_site(thing: Any) -> None:
    with pytest.raises(TypeError, match="is callable"):
        eventmw.EventsMiddleware(thing, path=PATH)


def test_the_class_of_a_kind_asks_no_questions(wrap: Wrap) -> None:
    app = wrap(hides, wsgi.EventsMiddleware)
    check(ask_wsgi(app, "GET", "/"), ask_wsgi(app, "POST", PATH, SEED))


@pytest.mark.parametrize("make", [of_starlette, of_fastapi])
def test_add_middleware(make: Any, options: dict[str, Any]) -> None:
    app = make()
    app.add_middleware(eventmw.EventsMiddleware, **options)
    check(ask_asgi(app, "GET", "/"), ask_asgi(app, "POST", PATH, SEED))
    close_in(app)


def close_in(app: Any) -> None:
    """Close the middleware of a Starlette site, which makes it, among its own, with the first request."""
    layer = app.middleware_stack
    while type(layer) is not asgi.EventsMiddleware:
        layer = layer.app
    layer.close()


def test_starlettes_list_of_middleware(options: dict[str, Any]) -> None:
    added: Any = Middleware(eventmw.EventsMiddleware, **options)
    app = of_starlette(middleware=[added])
    check(ask_asgi(app, "GET", "/"), ask_asgi(app, "POST", PATH, SEED))
    close_in(app)


def test_below_a_mount_the_path_is_the_public_one(wrap: Wrap) -> None:
    inner = wrap(of_starlette(), path="/shop/zaraz/api")
    app = Starlette(routes=[Mount("/shop", inner)])
    check(ask_asgi(app, "GET", "/shop/"), ask_asgi(app, "POST", "/shop/zaraz/api", SEED))


def test_flasks_own_way(wrap: Wrap) -> None:
    """The Flask object stays what it was, with its test client and its command line."""
    app: Any = of_flask()
    app.wsgi_app = wrap(app.wsgi_app)
    client = app.test_client()
    assert client.get("/").data == b"page"
    assert client.post(PATH, data=SEED).status_code == 200


def test_quarts_own_way(wrap: Wrap) -> None:
    app: Any = of_quart()
    app.asgi_app = wrap(app.asgi_app)
    check(ask_asgi(app, "GET", "/"), ask_asgi(app, "POST", PATH, SEED))


def test_djangos_handlers(tmp_path: Path) -> None:
    """Its settings are global to a process, so it has one of its own."""
    code = f"""
from django.conf import settings
settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="__main__", SECRET_KEY="for tests only")
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("page"))]
import eventmw
from tests.calls import SEED, ask_asgi, ask_wsgi
for ask, app, gateway in ((ask_asgi, get_asgi_application(), "asgi"), (ask_wsgi, get_wsgi_application(), "wsgi")):
    app = eventmw.EventsMiddleware(app, path={PATH!r}, data_dir={str(tmp_path)!r})
    assert type(app).__module__ == "eventmw." + gateway
    assert ask(app, "GET", "/")[::2] == (200, b"page")
    assert ask(app, "POST", {PATH!r}, SEED).status == 200
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=True)
