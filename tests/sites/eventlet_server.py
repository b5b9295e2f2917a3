"""eventlet's own server: ``python -m tests.sites.eventlet_server PORT APP``, patched first, as its documentation asks."""

from __future__ import annotations

import contextlib
import io
import sys
from importlib import import_module

import eventlet

with contextlib.redirect_stderr(io.StringIO()):  # it prints a traceback of its own when it looks for locks to replace
    eventlet.monkey_patch()

from eventlet import wsgi


def main(port: str, app: str) -> None:
    wsgi.server(eventlet.listen(("127.0.0.1", int(port))), import_module(app).app, log_output=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
