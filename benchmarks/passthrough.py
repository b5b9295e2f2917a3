"""What a request costs that is not ours: in process, beside the least class that compares one path."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from benchmarks.machine import pinned
from benchmarks.report import Effort, Figure, Report, Spread, Table, shown
from benchmarks.rounds import Samples, cpu_us, interleaved
from eventmw import asgi, wsgi
from eventmw.tools import File

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH: Final = "/zaraz/api"
_BARE, _LEAST, _OURS = "bare", "least class", "eventmw"

_SCOPE: Final[Mapping[str, Any]] = {
    "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
    "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 50_000), "scheme": "http", "method": "GET", "root_path": "",
    "raw_path": b"/", "query_string": b"", "headers": [(b"host", b"shop.example"), (b"accept", b"*/*")], "state": {},
}  # fmt: skip
_ENVIRON: Final[Mapping[str, Any]] = {
    "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "QUERY_STRING": "", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "shop.example", "HTTP_ACCEPT": "*/*", "REMOTE_ADDR": "127.0.0.1",
    "wsgi.url_scheme": "http",
}  # fmt: skip


async def _asgi_site(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing: what is measured is the way here."""


def _wsgi_site(_environ: WSGIEnvironment, _start_response: StartResponse) -> Iterable[bytes]:
    return ()


class LeastAsgi:
    """The least middleware that could have a path of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == PATH:
            raise RuntimeError("not in this benchmark")
        await self.app(scope, receive, send)


class LeastWsgi:
    """The same for WSGI."""

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH:
            raise RuntimeError("not in this benchmark")
        return self.app(environ, start_response)


def _asgi_closure(app: ASGIApp) -> ASGIApp:
    def passes(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["path"] == PATH:
            raise RuntimeError("not in this benchmark")
        return app(scope, receive, send)

    return passes


def _wsgi_closure(app: WSGIApplication) -> WSGIApplication:
    def passes(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH:
            raise RuntimeError("not in this benchmark")
        return app(environ, start_response)

    return passes


def run(effort: Effort) -> Report:
    """Measure both gateways."""
    rounds, calls = effort.interleaved(201), int(effort.of(2_000, quick=200))
    paths = [f"/products/{number}".encode() for number in range(calls)]
    asgi_cases = {
        _BARE: _asgi_site,
        _LEAST: LeastAsgi(_asgi_site),
        _OURS: asgi.EventsMiddleware(_asgi_site, path=PATH),
        "closure": _asgi_closure(_asgi_site),
        'Starlette, Mount("/")': Starlette(routes=[Mount("/", _asgi_site)]),
    }
    wsgi_cases = {
        _BARE: _wsgi_site,
        _LEAST: LeastWsgi(_wsgi_site),
        _OURS: wsgi.EventsMiddleware(_wsgi_site, path=PATH),
        "closure": _wsgi_closure(_wsgi_site),
    }
    with pinned(0):
        by_asgi = interleaved({name: _sample(_drive_asgi, app, paths) for name, app in asgi_cases.items()}, rounds)
        by_wsgi = interleaved({name: _sample(_drive_wsgi, app, paths) for name, app in wsgi_cases.items()}, rounds)
    return Report(
        name="passthrough",
        control="the bare site, and the least class that compares one path (async __call__ for ASGI, __call__ for WSGI)",
        measured=f"{calls:,} calls a sample of a site that answers nothing, for a path that is not ours; thread CPU time. A "
        "call makes its own scope or environ with a path decoded anew, as servers do, in every case alike",
        rounds=rounds,
        tables=[_table("ASGI", by_asgi), _table("WSGI", by_wsgi)],
        figures=[_figure("ASGI", by_asgi), _figure("WSGI", by_wsgi), _first_figure(effort)],
    )


def _sample(drive: Callable[[Any, list[bytes]], None], app: object, paths: list[bytes]) -> Callable[[], float]:
    """Return a case: nanoseconds a call."""
    return lambda: 1000 * cpu_us(lambda: drive(app, paths)) / len(paths)


def _drive_asgi(app: ASGIApp, paths: list[bytes]) -> None:
    calls = _call_all(app, paths)
    try:
        calls.send(None)
    except StopIteration:
        return
    raise RuntimeError("the site waited for something")


async def _call_all(app: ASGIApp, paths: list[bytes]) -> None:
    for path in paths:
        await app({**_SCOPE, "path": path.decode("ascii")}, _receive, _send)


def _drive_wsgi(app: WSGIApplication, paths: list[bytes]) -> None:
    for path in paths:
        app({**_ENVIRON, "PATH_INFO": path.decode("latin-1")}, _start_response)


async def _receive() -> Message:
    return {"type": "http.disconnect"}


async def _send(message: Message) -> None:
    """Take it."""


def _start_response(*_: object) -> Callable[[bytes], object]:
    raise RuntimeError("the site answers nothing")


def _first_figure(effort: Effort) -> Figure:
    """Measure what the first request to a site costs its own thread beyond the second, which is the control.

    Each round makes a site anew, with a tool and a journal in files, so that there is something to start.
    """
    beyond: list[float] = []
    for _ in range(effort.interleaved(21)):
        with tempfile.TemporaryDirectory() as folder:
            app = wsgi.EventsMiddleware(
                _wsgi_site, path=PATH, tools=[File(f"{folder}/out")], journal="file", data_dir=f"{folder}/data"
            )
            first, second = (cpu_us(lambda: _drive_wsgi(app, [b"/"])) for _ in range(2))  # noqa: B023 - called at once
            beyond.append((first - second) / 1000)
            app.close()
    what = "WSGI: the first request of a process beyond the second, in its own thread"
    return Figure(what, "at most", 1.0, "ms", Spread.of(beyond))


def _added(samples: Samples, case: str) -> list[float]:
    return [one - bare for one, bare in zip(samples[case], samples[_BARE], strict=True)]


def _ratios(samples: Samples) -> list[float]:
    return [ours / least for ours, least in zip(_added(samples, _OURS), _added(samples, _LEAST), strict=True)]


def _table(title: str, samples: Samples) -> Table:
    floor = {name: min(values) for name, values in samples.items()}
    least = floor[_LEAST] - floor[_BARE]
    rows = [
        (
            name,
            shown(floor[name]),
            shown(floor[name] - floor[_BARE]),
            str(Spread.of(_added(samples, name))),
            shown((floor[name] - floor[_BARE]) / least),
        )
        for name in samples
    ]
    heads = (
        "case",
        "ns a call (min)",
        "added ns (of minima)",
        "added ns, paired: min / median / max",
        "x least (of minima)",
    )
    return Table(f"{title}: added to a call of the bare site", heads, rows)


def _figure(title: str, samples: Samples) -> Figure:
    what = f"{title}: added by eventmw, to what the least class adds"
    return Figure(what, "at most", 1.5, "x", Spread.of(_ratios(samples)))
