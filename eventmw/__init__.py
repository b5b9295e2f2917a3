"""eventmw: one middleware around any Python site, ASGI or WSGI, that takes events and delivers them to your tools.

::

    from eventmw import EventsMiddleware, env
    from eventmw.tools import GA4

    app = EventsMiddleware(app, path="/zaraz/api", tools=[GA4("G-ABC123", api_secret=env("GA4_SECRET"))])

This module imports nothing heavy: no asyncio, no jsonschema, no server library. What a gateway needs is imported when one
is made.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Self, Unpack, cast

from eventmw.version import VERSION

if TYPE_CHECKING:
    from eventmw import asgi, wsgi
    from eventmw.config import Limits, Settings
    from eventmw.contract import Delivery, consumer, tool
    from eventmw.current import atrack, track
    from eventmw.effects import Drop, Execute, Fetch, Packed, Return, Send, SetCookie, Verdict
    from eventmw.errors import (
        ConfigError,
        EventmwError,
        InvalidEvent,
        JournalDown,
        JournalFull,
        NoSite,
        Reject,
        RetryAfter,
    )
    from eventmw.event import Device, Event, Page, Receipt
    from eventmw.http import HttpReply, HttpRequest
    from eventmw.outcome import Outcome
    from eventmw.secret import Secret, env
    from eventmw.site import Site as _Site  # what comes back has these methods
    from eventmw.tracker import Tracker
else:
    _Site = object

__version__ = VERSION

# Where each name lives. They are looked up when they are first asked for (PEP 562), so that a process that imports this
# package, and perhaps tracks nothing, pays for nothing.
_HOMES: Final = {
    "config": ("Limits",),
    "contract": ("Delivery", "consumer", "tool"),
    "current": ("atrack", "track"),
    "effects": ("Drop", "Execute", "Fetch", "Packed", "Return", "Send", "SetCookie", "Verdict"),
    "errors": (
        "ConfigError",
        "EventmwError",
        "InvalidEvent",
        "JournalDown",
        "JournalFull",
        "NoSite",
        "Reject",
        "RetryAfter",
    ),
    "event": ("Device", "Event", "Page", "Receipt"),
    "http": ("HttpReply", "HttpRequest"),
    "outcome": ("Outcome",),
    "secret": ("Secret", "env"),
    "tracker": ("Tracker",),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ConfigError",
    "Delivery",
    "Device",
    "Drop",
    "Event",
    "EventmwError",
    "EventsMiddleware",
    "Execute",
    "Fetch",
    "HttpReply",
    "HttpRequest",
    "InvalidEvent",
    "JournalDown",
    "JournalFull",
    "Limits",
    "NoSite",
    "Outcome",
    "Packed",
    "Page",
    "Receipt",
    "Reject",
    "RetryAfter",
    "Return",
    "Secret",
    "Send",
    "SetCookie",
    "Tracker",
    "Verdict",
    "atrack",
    "consumer",
    "env",
    "tool",
    "track",
]


def __getattr__(name: str) -> Any:
    """Look a public name up where it lives."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"eventmw.{_HOME_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Name what is public, looked up or not."""
    return sorted({*globals(), *__all__})


class EventsMiddleware(_Site):
    """Wrap a site, ASGI or WSGI. What comes back is the gateway that fits: `eventmw.asgi` or `eventmw.wsgi`.

    Everything after `app` is keyword-only, and can be set in TOML (`from_config`) and by environment (``EVENTMW_PATH``, …).

    Args:
        app: the site. ASGI and WSGI are told apart by coroutine markers, then by the number of positional arguments.
        path: the public, full path of the HTTP Events API, such as ``/zaraz/api``; None answers nothing.
        mounted: all paths are below the prefix at which a server or framework mounts the site (``root_path``,
            ``SCRIPT_NAME``), whatever that is, and also without one. False: they are public and full, prefix included.
        eventbunker_path: the public, full path below which the EventBunker API is answered, such as ``/eb``, where
            ``/eb/post`` takes events; needs the extra ``eventbunker``. None answers nothing.
        archive: where tracked events are kept for questions: an address such as ``postgresql+psycopg://…``. A text,
            `Secret` or `env` name; None: a SQLite file in `data_dir`.
        geoip: a file in MaxMind's format (``.mmdb``), by which tracked events get ``_country``, ``_city`` and so on.
        tools: where events go, in the order of their effects in a Result Object. See `eventmw.tools` and `tool`.
        consumers: own functions that are called at least once for each event. See `consumer`.
        data_dir: the folder for what eventmw keeps; also where ``eventmw stats`` and its kin find this process.
        archive_days: how many days tracked events stay in the archive, by when they happened; None: for ever.
        journal: ``memory``: events are answered from memory and lost with the process; the receipt says so.
        courier: ``thread`` delivers in a thread of this process.
        batch: ``independent`` accepts the valid events of a request, ``atomic`` refuses it when one is not.
        receipt: ``brief`` lists exceptions, ``full`` every event and what becomes of it at each tool, False none.
        envelope: ``object`` answers ``{"results": […], "receipt": …}``, ``array`` the bare list.
        strict: what only earns a warning refuses an event.
        keys: name → key, or a list of keys; then every request needs one. Texts, `Secret` or `env` names.
        allowed_origins: browser origins other than the site's own, exact, such as ``https://shop.example`` or, of an app,
            ``capacitor://localhost``.
        trusted_proxies: how many proxies in front append to ``X-Forwarded-For``.
        person_fields: where events name a person, for ``eventmw erase``: properties, or paths (``system.cookies.uid``).
        frame_ancestors: whose pages may show a chart in a frame: ``'self'``, ``'none'``, or origins such as
            ``https://*.shop.example``. See docs/charts.md.
        limits: see `Limits`.
        on_outcome: called by the courier with each `Outcome`; what it raises is logged and harms nothing.
        dry_run: do everything but send.
        logs: ``logging`` says what happens on the logger ``eventmw.events``, ``json`` as lines of JSON on stderr, ``off``
            not at all. See `eventmw.logs`.
        tracebacks: how much is shown of what your tools and consumers raise: ``masked``, ``full`` or ``off``. See
            `eventmw.tracebacks`.
        metrics_path: the public, full path of the figures for Prometheus; needs the extra ``metrics``, and a key.
        metrics_key: what Prometheus sends as its bearer token; without it any of `keys` opens the figures.
        ready_path: the public, full path that answers 200 while events can be kept, else 503 and why; to anybody.

    Raises:
        ConfigError: with every problem of the configuration.
        TypeError: `app` is neither ASGI nor WSGI by its looks; wrap it with the class of its kind.
    """

    def __new__(cls, app: Any, **options: Unpack[Settings]) -> Self:
        """Return the gateway for this site."""
        return cast(Self, _gateway_for(app)(app, **options))

    if TYPE_CHECKING:

        def __call__(self, *request: Any, **named: Any) -> Any:
            """Answer or pass on a request: (scope, receive, send), or (environ, start_response)."""

    @classmethod
    def from_config(cls, app: Any, path: str | os.PathLike[str]) -> Self:
        """Wrap a site with the settings of a TOML file.

        Args:
            app: the site.
            path: the file. Its keys are the parameters of this class; ``[[tools]]`` tables have a ``type`` each.

        Raises:
            ConfigError: with every problem of the file.
        """
        return cast(Self, _gateway_for(app).from_config(app, path))


def _gateway_for(app: object) -> type[asgi.EventsMiddleware | wsgi.EventsMiddleware]:
    if _looks_like_asgi(app):
        from eventmw import asgi  # noqa: PLC0415 - brings asyncio

        return asgi.EventsMiddleware
    from eventmw import wsgi  # noqa: PLC0415 - as above

    return wsgi.EventsMiddleware


def _looks_like_asgi(app: object) -> bool:
    """Tell by coroutine markers, by positional arity (3 is ASGI, 2 is WSGI), and else by what the arguments are called.

    Raises:
        TypeError: neither tells.
    """
    if not callable(app):
        raise TypeError(f"an ASGI or WSGI application is callable, and {type(app).__name__} is not")
    # An instance may hold its __call__ itself, or in a slot; a class is called to make an instance.
    called = cast(Callable[..., Awaitable[object]], type(app).__call__ if isinstance(app, type) else app.__call__)
    if _is_coroutine(app) or _is_coroutine(called):
        return True
    if _library_of(app) in _WSGI_LIBRARIES:
        return False
    arity, names = _arguments(app)
    if arity in {2, 3}:
        return arity == 3  # noqa: PLR2004 - scope, receive, send
    if arity is None and names[:1] in (["scope"], ["environ"]):
        return names[0] == "scope"
    raise TypeError(
        f"{getattr(app, '__name__', type(app).__name__)} does not show whether it is ASGI or WSGI{_advice(arity, names)}; "
        "wrap it with eventmw.asgi.EventsMiddleware or eventmw.wsgi.EventsMiddleware",
    )


_WSGI_LIBRARIES: Final = frozenset({"werkzeug", "webob"})
"""Libraries that know WSGI alone. Their decorators (``Request.application``, ``wsgify``) hide an application's arguments."""


def _library_of(app: object) -> str:
    """Return the package in which the code is that a call of `app` runs first."""
    module: object = getattr(app, "__globals__", {}).get("__name__") or type(app).__module__
    return str(module).partition(".")[0]


def _advice(arity: int | None, names: list[str]) -> str:
    """Return what else an object with these arguments may be."""
    if names == ["scope"]:
        return " (an ASGI 2 application: wrap asgiref.compatibility.guarantee_single_callable(app) instead)"
    if arity == 0:
        return " (a function without arguments may be a factory: call it, and wrap what it returns)"
    return ""


def _is_coroutine(app: Callable[..., object]) -> bool:
    """Tell by the language's mark, or by the one that asyncio and asgiref put on plain functions before Python 3.12."""
    import inspect  # noqa: PLC0415 - costly, and not needed before a site is wrapped

    return inspect.iscoroutinefunction(app) or getattr(app, "_is_coroutine", None) is not None


def _arguments(app: Callable[..., object]) -> tuple[int | None, list[str]]:
    """Return how many arguments without defaults a call takes by position, and their names; None when it may take more."""
    import inspect  # noqa: PLC0415 - as above

    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return None, []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [spec.name for spec in parameters if spec.kind in positional and spec.default is spec.empty]
    takes_more = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    return None if takes_more else len(names), names
