"""A server that forks its workers without exec, after the site was imported: ``python -m tests.sites.forking PORT [used]``.

With ``used`` the parent has tracked an event before it forks, so that its threads run and it leads the journal.
"""

from __future__ import annotations

import os
import signal
import socketserver
import sys
from types import FrameType
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from tests.sites.delivering_wsgi import app

WORKERS = 2


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(port: str, *how: str) -> None:
    server = Server(("127.0.0.1", int(port)), Quiet)
    server.set_app(app)
    if "used" in how:
        app.track("parent", id="parent")
    children = [fork(server) for _ in range(WORKERS)]

    def end(_number: int, _frame: FrameType | None) -> None:
        for child in children:
            os.kill(child, signal.SIGTERM)
        for child in children:
            os.waitpid(child, 0)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        signal.pause()


def fork(server: Server) -> int:
    child = os.fork()
    if child == 0:
        server.serve_forever()
    return child


if __name__ == "__main__":
    main(*sys.argv[1:])
