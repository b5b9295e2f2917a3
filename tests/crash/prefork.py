"""A server whose workers are replaced within milliseconds, so that they can be killed often.

``python -m tests.crash.prefork PORT WORKERS early|late`` forks workers that each run a real uvicorn server on one listening
socket. ``early``: the site is built before the fork, as by ``gunicorn --preload``; ``late``: in each worker.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
from types import FrameType

import uvicorn


def _work(listening: socket.socket) -> None:
    """Serve until told to stop; never returns."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    app = importlib.import_module("tests.crash.site").app
    config = uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=3, ws="none")
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def main(port: int, workers: int, built: str) -> None:
    """Keep so many workers alive until SIGTERM; then stop them in order."""
    if built == "early":
        _ = importlib.import_module("tests.crash.site").app
    else:
        importlib.import_module("tests.crash.site")
        importlib.import_module("eventmw.delivery.outbound")
    listening = socket.create_server(("127.0.0.1", port), backlog=512, reuse_port=False)
    living: set[int] = set()
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for pid in living:
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    while not stopping or living:
        while len(living) < workers and not stopping:
            if (pid := os.fork()) == 0:
                _work(listening)
                sys.exit(0)  # in order, as a worker of a real server does
            living.add(pid)
        gone, _ = os.waitpid(-1, 0)
        living.discard(gone)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
