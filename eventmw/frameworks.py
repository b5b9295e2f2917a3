"""What frameworks do with a wrapped application: where its attributes are, and which commands would serve it without us.

A command such as ``fastapi run`` looks through a module for an object of the framework's own class. It never finds the
wrapper, so it serves the application inside, and events get 404. That is known when the application is wrapped: the
command's own module is on the call stack, because it imports the site's.

Layer: input and output. Imports no framework: classes are known by their names.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Final

log = logging.getLogger("eventmw")


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework whose applications can keep their type.

    Attributes:
        name: for messages.
        kind: the full name of its application's class.
        form: the line that adds the middleware and keeps the application what it is.
        command: what runs a site, or "".
        finder: the module in which that command looks for the application, or "".
    """

    name: str
    kind: str
    form: str
    command: str = ""
    finder: str = ""


_ADDED: Final = "app.add_middleware(EventsMiddleware, path=…)"

# FastAPI's application is Starlette's as well, so it comes first.
FRAMEWORKS: Final = (
    Framework("FastAPI", "fastapi.applications.FastAPI", _ADDED, "fastapi run", "fastapi_cli.discover"),
    Framework("Starlette", "starlette.applications.Starlette", _ADDED),
    Framework(
        "Flask",
        "flask.app.Flask",
        "app.wsgi_app = EventsMiddleware(app.wsgi_app, path=…)",
        "flask run",
        "flask.cli",
    ),
    Framework(
        "Quart",
        "quart.app.Quart",
        "app.asgi_app = EventsMiddleware(app.asgi_app, path=…)",
        "quart run",
        "quart.cli",
    ),
    Framework(
        "Litestar",
        "litestar.app.Litestar",
        "app.asgi_handler = EventsMiddleware(app.asgi_handler, path=…)",
        "litestar run",
        "litestar.cli._utils",
    ),
)

_SERVING: Final = frozenset({"run", "dev"})
"""Words of a command line that serve a site; ``flask routes`` and others import it as well."""

_LITESTAR_ROUTES: Final = "litestar._asgi"
"""Where Litestar puts together what a route runs through."""


def framework_of(app: object) -> Framework | None:
    """Return whose application an object is, or None."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(app).__mro__}
    return next((framework for framework in FRAMEWORKS if framework.kind in names), None)


def warn_of_bare_site(app: object) -> None:
    """Log that events would get 404, when `app` is wrapped in a way, or by a command, that never calls the wrapper."""
    import inspect  # noqa: PLC0415 - costly, and not needed before a site is wrapped

    callers = set(_modules(inspect.currentframe()))
    if any(module.startswith(_LITESTAR_ROUTES) for module in callers):
        _warn(
            "EventsMiddleware is in Litestar's `middleware`, which runs for requests to existing routes only: events get "
            "404. Write app.asgi_handler = EventsMiddleware(app.asgi_handler, path=…) after app = Litestar(…)"
        )
    framework = framework_of(app)
    if framework and framework.finder in callers and not _SERVING.isdisjoint(sys.argv):
        _warn(
            f"`{framework.command}` serves the {framework.name} object that it finds, not the EventsMiddleware(…) around "
            f"it: events get 404. Write {framework.form}, which leaves `app` a {framework.name}"
        )


@cache
def _warn(text: str) -> None:
    """Log a text once in this process: Litestar wraps each route."""
    log.warning("%s", text)


def _modules(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield str(frame.f_globals.get("__name__", ""))
        frame = frame.f_back


def no_attribute(wrapper: object, app: object, name: str) -> str:
    """Return what to say of an attribute that the wrapper lacks: where the application inside has it, if it does.

    Nothing is forwarded: the wrapper would still be no instance of the framework's class, so commands and type checks that
    look for one would go past it, and the site would run without it.
    """
    import inspect  # noqa: PLC0415 - costly, and only for an error

    said = f"{type(wrapper).__name__!r} object has no attribute {name!r}"
    # Properties are not called: some make what they return.
    if name.startswith("_") or inspect.getattr_static(app, name, None) is None:
        return said
    framework = framework_of(app)
    keeps = "" if framework is None else f". {framework.form} leaves `app` a {framework.name}"
    return f"{said}; the {type(app).__name__} inside has it: app.app.{name}{keeps}"
