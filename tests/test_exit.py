"""A process that ends in an orderly way delivers what it holds in memory, and says what it could not."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT, environment, until

EVENTS = 300
SITE = """
import eventmw
from eventmw.tools import File, Webhook

tools = [File({out!r}), Webhook("http://127.0.0.1:9/nobody", id="away")][:{tools}]
options = dict(path="/e", tools=tools, data_dir={folder!r}, limits=eventmw.Limits(exit_grace_s={grace}))
"""
ASGI = "from starlette.applications import Starlette\napp = eventmw.EventsMiddleware(Starlette(), **options)\n"
WSGI = "from flask import Flask\napp = Flask('x')\napp.wsgi_app = eventmw.EventsMiddleware(app.wsgi_app, **options)\n"
SERVERS = {
    "uvicorn": (ASGI, ["uvicorn", "exit_site:app", "--port"]),
    "hypercorn": (ASGI, ["hypercorn", "exit_site:app", "--bind"]),
    "gunicorn": (WSGI, ["gunicorn", "exit_site:app", "--bind"]),
}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def post(port: int, body: bytes) -> int | None:
    """Return the status, or None while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/e", body)
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def run_and_end(folder: Path, server: str, *, tools: int = 1, grace: float = 5.0) -> tuple[int, str]:
    """Start a site, post events, end it at once by SIGTERM; return how many events came, and what it logged."""
    app, command = SERVERS[server]
    out, port = folder / "out.jsonl", free_port()
    (folder / "exit_site.py").write_text(SITE.format(out=str(out), tools=tools, folder=str(folder), grace=grace) + app)
    where = str(port) if command[-1] == "--port" else f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", *command, where],
        cwd=folder,
        env=environment(PYTHONPATH=f"{ROOT}:{folder}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        body = json.dumps({"events": [{"client": {"n": number}} for number in range(EVENTS)]}).encode()
        assert until(lambda: post(port, body)) == 200
        process.send_signal(signal.SIGTERM)
        _, logged = process.communicate(timeout=30)
    finally:
        process.kill()
    return len(out.read_text().splitlines()) if out.exists() else 0, logged


@pytest.mark.parametrize("server", SERVERS)
def test_what_was_accepted_is_delivered_before_an_orderly_end(tmp_path: Path, server: str) -> None:
    delivered, _ = run_and_end(tmp_path, server)
    assert delivered == EVENTS


def test_what_is_lost_with_the_process_is_said(tmp_path: Path) -> None:
    delivered, logged = run_and_end(tmp_path, "uvicorn", tools=2, grace=1.0)
    assert delivered == EVENTS
    assert f"the process ends, and {EVENTS} events for tool away with it" in logged
