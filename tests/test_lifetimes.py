"""A wrapped site lives and dies like any other object: it starts beside its first request, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eventmw import Drop, asgi, tool, wsgi
from eventmw.control.sockets import folder_of, found
from eventmw.event import Event
from eventmw.lifetimes import THREAD_NAME, caretaker
from eventmw.runtime import Runtime
from eventmw.site import sites
from eventmw.testing import RecordingTransport, record
from eventmw.tools import Webhook
from tests.running import ROOT, until
from tests.test_forks import forked

ONE = b'{"events": [{"client": {"__zarazTrack": "a"}}]}'
GATEWAYS = {"asgi": asgi.EventsMiddleware, "wsgi": wsgi.EventsMiddleware}


async def asgi_site(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def wsgi_site(_environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


@tool("keeper")
def keeper(_event: Event) -> Drop:
    return Drop("kept")


def made(gateway: str, folder: Path, **options: Any) -> Any:
    site: Any = asgi_site if gateway == "asgi" else wsgi_site
    return GATEWAYS[gateway](
        site, **{"path": "/e", "tools": [keeper], "data_dir": str(folder), "journal": "file"} | options
    )


def ask(app: Any, path: str = "/page", body: bytes = b"") -> int:
    """Send one request; return the status."""
    if isinstance(app, wsgi.EventsMiddleware):
        statuses: list[str] = []
        environ = {
            "REQUEST_METHOD": "POST" if body else "GET",
            "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
            "REMOTE_ADDR": "127.0.0.1",
        }
        b"".join(app(environ, lambda status, *_: statuses.append(status)))  # type: ignore[arg-type]
        return int(statuses[0][:3])
    return asyncio.run(asked(app, path, body))


async def asked(app: Any, path: str, body: bytes) -> int:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST" if body else "GET",
        "path": path,
        "headers": [],
        "query_string": b"",
    }
    await app({**scope, "client": ("127.0.0.1", 1), "scheme": "http"}, receive, send)
    return int(sent[0]["status"])


def of_ours() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("eventmw"))


def descriptors() -> list[str]:
    open_now: list[str] = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            open_now.append(str(path.readlink()).partition(":")[0])
        except OSError:
            continue  # that of the listing itself
    return sorted(open_now)


@contextmanager
def nothing_left() -> Iterator[None]:
    """Check that after a while every thread of ours and every descriptor is gone that was not there before."""
    gc.collect()
    for other in [*sites]:  # what earlier tests of this process still hold
        other.close(0)
    until(lambda: not of_ours())
    before = descriptors()
    yield
    until(lambda: not of_ours())
    until(lambda: descriptors() == before)


@pytest.mark.parametrize("eventbunker", [False, True])
@pytest.mark.parametrize("journal", ["file", "memory"])
@pytest.mark.parametrize("how", ["dropped", "closed", "left"])
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_nothing_of_a_site_is_left_behind(
    tmp_path: Path, gateway: str, how: str, journal: str, eventbunker: bool
) -> None:
    """By reference count alone: the garbage collector is off."""
    options: dict[str, Any] = {"eventbunker_path": "/eb"} if eventbunker else {}
    with nothing_left():
        gc.disable()
        try:
            app = made(gateway, tmp_path / "data", journal=journal, **options)
            assert (ask(app), ask(app, "/e", ONE)) == (200, 200)
            until(lambda: len(of_ours()) > 1)
            if how == "closed":
                assert app.close()
                assert not of_ours()
            elif how == "left":
                with app as same:
                    assert same is app
                assert not of_ours()
            del app
            until(lambda: not of_ours())
        finally:
            gc.enable()
    assert found(folder_of(tmp_path / "data")) == []


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_closed_site_serves_its_pages_and_starts_nothing(tmp_path: Path, gateway: str) -> None:
    for visited in (False, True):
        app = made(gateway, tmp_path / str(visited))
        if visited:
            ask(app)
        app.close()
        assert (ask(app), ask(app, "/e", ONE), ask(app)) == (200, 503, 200)
        assert not of_ours()


@pytest.mark.parametrize("journal", ["file", "memory"])
def test_the_end_of_a_lifespan_gives_all_back_and_the_next_request_takes_it_again(tmp_path: Path, journal: str) -> None:
    with nothing_left():
        transport = RecordingTransport()
        app = made("asgi", tmp_path, journal=journal, tools=[Webhook("https://hook.example/x")], eventbunker_path="/eb")
        record(app, transport)
        for turn in (1, 2):
            asyncio.run(through_a_lifespan(app))
            assert not of_ours()
            assert len(transport.requests) == turn
            assert found(folder_of(tmp_path)) == []
        assert ask(app, "/e", ONE) == 200  # outside of any lifespan
        until(lambda: len(transport.requests) == 3)
        app.close()


async def through_a_lifespan(app: Any) -> None:
    told: asyncio.Queue[Any] = asyncio.Queue()
    begun = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "lifespan.startup.complete":
            begun.set()

    life = asyncio.create_task(app({"type": "lifespan"}, told.get, send))
    await told.put({"type": "lifespan.startup"})
    await begun.wait()
    assert await asked(app, "/page", b"") == 200
    assert await asked(app, "/e", ONE) == 200
    await asyncio.to_thread(until, lambda: app.stats()["tools"]["webhook"]["backlog_events"] == 0)
    await told.put({"type": "lifespan.shutdown"})
    await life


def test_what_a_dropped_site_had_on_the_disk_is_delivered_by_the_next(tmp_path: Path) -> None:
    app = made("wsgi", tmp_path, tools=[Webhook("https://hook.example/x")], courier="off")
    assert ask(app, "/e", ONE) == 200
    del app
    until(lambda: not of_ours())
    again = made("wsgi", tmp_path, tools=[Webhook("https://hook.example/x")])
    transport = record(again)
    ask(again)
    until(lambda: transport.requests)
    again.close()


def test_what_is_lost_with_a_dropped_site_in_memory_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from eventmw import Limits

    app = made(
        "wsgi", tmp_path, journal="memory", tools=[Webhook("https://hook.example/x")], limits=Limits(exit_grace_s=0.2)
    )
    record(app, RecordingTransport(lambda _: 500))
    assert ask(app, "/e", ONE) == 200
    with caplog.at_level(logging.WARNING):
        del app
        until(lambda: not of_ours())
    assert "a site ends, and 1 events for tool webhook with it: journal='memory'" in caplog.text


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_journal_in_memory_makes_no_folder(tmp_path: Path, gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVENTMW_DATA_DIR")
    with GATEWAYS[gateway](
        asgi_site if gateway == "asgi" else wsgi_site, path="/e", tools=[keeper], journal="memory"
    ) as app:
        assert ask(app) == 200
        assert not of_ours(), "there is nothing to do before the first event"
        assert ask(app, "/e", ONE) == 200
        until(lambda: app.stats()["tools"]["keeper"]["outcomes"])
    assert list(tmp_path.iterdir()) == []


def test_commands_find_a_site_in_memory_in_a_folder_that_is_there_or_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = made("wsgi", tmp_path / "named", journal="memory")
    ask(named)
    assert not (tmp_path / "named").exists()
    ask(named, "/e", ONE)
    until(lambda: named.runtime.socket)
    named.close()
    (tmp_path / "eventmw-data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVENTMW_DATA_DIR")
    there = wsgi.EventsMiddleware(wsgi_site, path="/e", tools=[keeper], journal="memory")
    ask(there)
    until(lambda: there.runtime.socket)
    there.close()


def test_sites_of_one_process_share_the_thread_that_looks_after_them(tmp_path: Path) -> None:
    apps = [made("wsgi", tmp_path / "data", tools=[]) for _ in range(3)]
    for app in apps:
        ask(app, "/e", ONE)
    until(lambda: len(found(folder_of(tmp_path / "data"))) == 3)
    assert of_ours().count(THREAD_NAME) == 1
    for app in apps:
        app.close()
    assert not of_ours()


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_site_starts_in_a_thread_of_its_own(tmp_path: Path, gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    start = Runtime.start

    def noted(runtime: Runtime) -> None:
        started.append(threading.current_thread().name)
        start(runtime)

    monkeypatch.setattr(Runtime, "start", noted)
    for path, body in (("/page", b""), ("/e", ONE)):
        app = made(gateway, tmp_path / str(len(body)))
        ask(app, path, body)
        until(lambda: started)
        assert started == [THREAD_NAME]
        monkeypatch.setattr(Runtime, "start", start)
        app.close()
        monkeypatch.setattr(Runtime, "start", noted)
        started.clear()


def test_without_tools_nothing_runs_before_the_first_event(tmp_path: Path) -> None:
    app = made("wsgi", tmp_path, tools=[])
    ask(app)
    assert not of_ours()
    ask(app, "/e", ONE)
    until(of_ours)
    app.close()


def test_a_site_that_is_dropped_in_a_forked_child_ends_nothing_of_its_parent(tmp_path: Path) -> None:
    apps = [made("wsgi", tmp_path)]
    ask(apps[0], "/e", ONE)
    until(lambda: apps[0].runtime.socket)

    def drop() -> None:
        apps.clear()
        gc.collect()
        assert caretaker.kept == set()

    assert forked(drop) == 0
    assert found(folder_of(tmp_path)) != []
    assert ask(apps[0], "/e", ONE) == 200
    apps[0].close()


EXIT = """
import gc, sys
sys.path.insert(0, {root!r})
from tests.test_lifetimes import ONE, ask, made
from pathlib import Path
kept = [made(gateway, Path({folder!r}, str(number)), journal=journal)
        for number, (gateway, journal) in enumerate([("asgi", "file"), ("wsgi", "memory"), ("wsgi", "file")])]
cycle = made("wsgi", Path({folder!r}, "cycle"))
cycle.app = lambda *request: cycle and []
for app in kept:
    ask(app, "/e", ONE)
cycle.track("x")
del cycle
"""


def test_the_interpreter_ends_in_silence_with_sites_that_nobody_closed(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXIT.format(root=str(ROOT), folder=str(tmp_path))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0
    # The script whose event nobody has delivered is told so: by whom it will be.
    said = [line for line in ran.stderr.splitlines() if "this process ends before its events are delivered" not in line]
    assert said == []


FACTORIES = '''
"""The app factory and the fixture of Flask's and Starlette's own documentation of tests."""
import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from eventmw import EventsMiddleware

def create_app(tmp):
    app = Flask(__name__)
    app.get("/")(lambda: "hello")
    app.wsgi_app = EventsMiddleware(app.wsgi_app, path="/zaraz/api", data_dir=str(tmp / "eventmw-data"))
    return app

@pytest.fixture
def client(tmp_path):
    return create_app(tmp_path).test_client()

@pytest.mark.parametrize("n", range(300))
def test_flask(client, n):
    body = {"events": [{"client": {"__zarazTrack": "a"}}]} if n % 3 == 0 else None
    assert client.get("/").data == b"hello"
    assert body is None or client.post("/zaraz/api", json=body).status_code == 200
    open(__file__).close()  # any test that opens a file

@pytest.mark.parametrize("journal", ["file", "memory"])
@pytest.mark.parametrize("more", [{}, {"eventbunker_path": "/eb"}])
@pytest.mark.parametrize("life", [False, True])
@pytest.mark.parametrize("n", range(15))
def test_starlette(tmp_path, journal, more, life, n):
    site = Starlette(routes=[Route("/", lambda _: PlainTextResponse("hello"))])
    app = EventsMiddleware(site, path="/zaraz/api", journal=journal, data_dir=str(tmp_path / "d"), **more)
    client = TestClient(app)
    for _ in range(2):  # the same app, opened again
        if life:
            with client:
                assert client.get("/").text == "hello"
        else:
            assert client.get("/").text == "hello"
    open(__file__).close()
'''


def test_three_hundred_fixtures_with_an_app_factory_pass_with_few_descriptors(tmp_path: Path) -> None:
    (tmp_path / "test_factories.py").write_text(FACTORIES)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_factories.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "420 passed" in ran.stdout
    assert "WARNING" not in ran.stdout + ran.stderr
