"""A site under a real WSGI server, for the tests of commands: ``python -m tests.cli_site DATA_DIR``. Prints its port."""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from eventmw import Delivery, Event, EventsMiddleware, Execute, HttpRequest, Send, consumer, tool

STEPS = threading.Semaphore(0)


@consumer("crm")
def crm(_event: Event) -> None:
    """Take everything."""


@consumer("slow", delivery=Delivery(ordered=True))
def slow(event: Event) -> None:
    if event.name == "wait":
        STEPS.acquire()


@tool("broken", when=["oops"])
def broken(_event: Event) -> None:
    raise ValueError("always")


@tool("hook", when=["out"])
def hook(_event: Event) -> Send:
    return Send(HttpRequest("POST", "http://127.0.0.1:9/nobody", (), b""))


@tool("page", when=["page"], answers=True)
def page(_event: Event) -> Execute:
    return Execute("console.log('hi')")


def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/step":
        STEPS.release(1000)
    start_response("404 Not Found", [("content-type", "text/plain")])
    return [b"the site's own page"]


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(data_dir: str, *keys: str) -> None:
    app = EventsMiddleware(
        site,
        path="/zaraz/api",
        tools=[broken, hook, page],
        consumers=[crm, slow],
        data_dir=data_dir,
        keys=keys or None,
    )
    with make_server("127.0.0.1", 0, app, server_class=_Server, handler_class=_Quiet) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
