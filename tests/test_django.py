"""`eventmw.django` in a real Django under real servers: settings are global to a process, so each site has its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventmw import Limits
from eventmw.events_api import EventsApi
from eventmw.exchange import Exchange
from eventmw.http import RequestHead
from eventmw.runtime import Runtime
from eventmw.settings import complete
from tests.eventbunker import REPAIRED, SHOP, WRITE
from tests.eventbunker import SEED as EB_SEED
from tests.servers import Server, chunk, errors_in, head, running, without_date
from tests.sites import pages

ROOT = Path(__file__).parent.parent
SEED = b'{"events": [{"client": {"__zarazTrack": "transaction successful", "value": "200"}}]}'
TOO_MANY = b'{"events": [%b]}' % b",".join([b'{"client": {}}'] * 4)
SERVERS = {"asgi": "uvicorn-h11", "wsgi": "gunicorn-gthread"}


def serving(interface: str, folder: Path, wrap: str) -> contextlib.AbstractContextManager[Server]:
    return running(SERVERS[interface], folder, app="tests.sites.django_site", WRAP=wrap, DJANGO_INTERFACE=interface)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(request.param, tmp_path_factory.mktemp("django"), "1") as server:
        yield server
    assert errors_in(server.log) == []


def kept(server: Server) -> int:
    return int(server.ask("GET", "/kept").body)


@contextlib.contextmanager
def nothing_kept(server: Server) -> Iterator[None]:
    before = kept(server)
    yield
    assert kept(server) == before


def test_the_seeds_payload(server: Server) -> None:
    """No CSRF token, no session: we answer before a view, and before Django's own middleware."""
    before = kept(server)
    answer = server.ask("POST", pages.PATH, SEED)
    assert (answer.status, len(json.loads(answer.body)["results"])) == (200, 1)
    assert (answer.get("content-type"), answer.get("cache-control")) == ("application/json", "no-store")
    assert kept(server) == before + 1


@pytest.mark.parametrize(
    ("method", "body", "fields"),
    [
        ("POST", b"{", {}),
        ("POST", TOO_MANY, {}),
        ("POST", SEED, {"Origin": "https://evil.example"}),
        ("POST", SEED, {"Content_Encoding": "br"}),
        ("POST", SEED, {"Idempotency_Key": "x" * 256}),
        ("POST", b"\x1f\x8b", {"Content_Encoding": "gzip"}),
        ("GET", b"", {}),
        ("PUT", SEED, {}),
    ],
)
def test_answers_are_those_of_the_other_gateways(
    server: Server, method: str, body: bytes, fields: dict[str, str]
) -> None:
    runtime = Runtime(complete({"path": pages.PATH, "limits": Limits(max_body_bytes=64 * 1024, max_events=3)}))
    headers = {name.lower().replace("_", "-"): value for name, value in fields.items()}
    exchange = Exchange(EventsApi(runtime), RequestHead(method, pages.PATH, {"host": "site.example", **headers}))
    expected = exchange.open() or exchange.feed(body) or exchange.submit()
    assert not hasattr(expected, "done")
    with nothing_kept(server):
        answer = server.ask(method, pages.PATH, body, **fields)
    assert (answer.status, answer.body) == (expected.status, expected.body)
    ours = {name for name, _ in expected.headers}
    assert sorted(field for field in answer.headers if field[0] in ours) == sorted(expected.headers)


@pytest.mark.parametrize("interface", SERVERS)
def test_tracking(interface: str, tmp_path: Path) -> None:
    """PROTOCOLS.md 3.1, through Django's own middleware: taken, refused, and the preflight."""
    arguments = {"app": "tests.sites.django_site", "WRAP": "1", "DJANGO_INTERFACE": interface}
    with running(SERVERS[interface], tmp_path, **arguments, EVENTMW_EVENTBUNKER_PATH="/eb") as server:
        shown = {"X_EventBunker_Write_Key": WRITE}
        taken = server.ask("POST", "/eb/post", REPAIRED, **shown)
        assert (taken.status, [*json.loads(taken.body)]) == (200, ["unique_req_id", "time_recorded"])
        assert kept(server) == 1
        assert server.ask("POST", "/eb/post", EB_SEED, **shown).status == 400
        refused = server.ask("POST", "/eb/post", REPAIRED)
        assert json.loads(refused.body)["error"] == "Invalid x-eventbunker-write-key"
        preflight = server.ask("OPTIONS", "/eb/post", Origin=SHOP)
        assert (preflight.status, preflight.get("access-control-allow-origin")) == (204, SHOP)
        assert server.ask("POST", pages.PATH, SEED).status == 200
        assert server.ask("GET", "/").body == pages.FRONT
        assert kept(server) == 2


@pytest.mark.parametrize("interface", SERVERS)
def test_readiness_and_figures(interface: str, tmp_path: Path) -> None:
    key = "the-key-of-prometheus"
    settings = {
        "EVENTMW_READY_PATH": "/zaraz/ready",
        "EVENTMW_METRICS_PATH": "/zaraz/metrics",
        "EVENTMW_METRICS_KEY": key,
    }
    arguments = {"app": "tests.sites.django_site", "WRAP": "1", "DJANGO_INTERFACE": interface, **settings}
    with running(SERVERS[interface], tmp_path, **arguments) as server:
        assert server.ask("POST", pages.PATH, SEED).status == 200
        ready = server.ask("GET", "/zaraz/ready")
        assert (ready.status, ready.body, ready.get("cache-control")) == (200, b"ready\n", "no-store")
        assert server.ask("HEAD", "/zaraz/ready").status == 200
        assert server.ask("GET", "/zaraz/metrics").status == 401
        figures = server.ask("GET", "/zaraz/metrics", Authorization=f"Bearer {key}")
        assert figures.status == 200
        assert b'eventmw_events_total{process="' in figures.body
        assert server.ask("GET", "/zaraz/other").status == 404


def test_head(server: Server) -> None:
    with server.connect() as connection:
        connection.send(head("HEAD", pages.PATH))
        assert connection.answer("HEAD").status == 405
        assert connection.rest() == b""


def test_a_body_too_large_for_us(server: Server) -> None:
    with nothing_kept(server), server.connect() as connection:
        connection.send(head("POST", pages.PATH, length=64 * 1024 + 1) + b" " * (64 * 1024 + 1))
        answer = connection.answer()
    assert (answer.status, json.loads(answer.body)["code"]) == (413, "body_too_large")


def test_a_body_too_large_for_django(server: Server) -> None:
    """DATA_UPLOAD_MAX_MEMORY_SIZE is below our limit here, and Django refuses first; the words name its limit."""
    with nothing_kept(server):
        answer = server.ask("POST", pages.PATH, b" " * (21 * 1024))
    problem = json.loads(answer.body)
    assert (answer.status, problem["code"], "20,480" in problem["detail"]) == (413, "body_too_large", True)


def test_a_chunked_body(server: Server) -> None:
    """Django reads none under WSGI: it would be an empty one."""
    with server.connect() as connection:
        connection.send(head("POST", pages.PATH, Transfer_Encoding="chunked") + chunk(SEED) + b"0\r\n\r\n")
        answer = connection.answer()
    expected = {"asgi": (200, None), "wsgi": (411, "length_required")}[server.kind.interface]
    assert (answer.status, json.loads(answer.body).get("code")) == expected


def test_a_sender_that_leaves(server: Server) -> None:
    with nothing_kept(server):
        with server.connect() as connection:
            connection.send(head("POST", pages.PATH, length=len(SEED) + 1) + SEED)
        assert server.ask("GET", "/").status == 200


@pytest.mark.parametrize(("page", "event_id"), [("/track", b"one"), ("/atrack", b"two")])
def test_the_sites_own_code_has_the_same_site(server: Server, page: str, event_id: bytes) -> None:
    before = kept(server)
    assert server.ask("GET", page).body == event_id
    assert kept(server) == before + 1


@pytest.mark.parametrize("interface", SERVERS)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/nothing"), ("POST", "/"), ("GET", "/zaraz/api/"), ("GET", "//zaraz/api")],
)
def test_other_pages_are_as_without_us(
    bare_and_wrapped: dict[str, list[Server]], interface: str, method: str, path: str
) -> None:
    bare, wrapped = (server.ask(method, path) for server in bare_and_wrapped[interface])
    assert (bare.status, without_date(bare.headers), bare.body) == (
        wrapped.status,
        without_date(wrapped.headers),
        wrapped.body,
    )


@pytest.fixture(scope="module")
def bare_and_wrapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Server]]]:
    folder = tmp_path_factory.mktemp("django")
    with contextlib.ExitStack() as stack:
        yield {
            interface: [stack.enter_context(serving(interface, folder, wrap)) for wrap in "01"] for interface in SERVERS
        }


@pytest.mark.parametrize("interface", SERVERS)
def test_below_a_prefix(interface: str, tmp_path: Path) -> None:
    """The configured path is the public one: a site below ``/zaraz`` sees ``/api``."""
    environment = {"WRAP": "1", "DJANGO_INTERFACE": interface, "DJANGO_PREFIX": "/zaraz"}
    with running(SERVERS[interface], tmp_path, app="tests.sites.django_site", **environment) as server:
        assert server.ask("POST", "/api", SEED).status == 200
        assert server.ask("POST", "/other", SEED).status != 200


@pytest.mark.parametrize(
    ("setting", "words"),
    [("", "settings need EVENTMW"), ("EVENTMW=[]", "settings need EVENTMW"), ("EVENTMW={'path': 'x'}", "start with /")],
)
def test_settings_that_cannot_work(setting: str, words: str) -> None:
    code = f"""
from django.conf import settings
settings.configure({setting})
from eventmw.django import EventsMiddleware
EventsMiddleware(lambda request: None)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 1
    assert "eventmw cannot start" in run.stderr
    assert words in run.stderr


def test_one_site_for_all_threads_of_a_process() -> None:
    code = """
import threading
from django.conf import settings
settings.configure(EVENTMW={"path": "/zaraz/api"})
from eventmw.django import site
found = []
threads = [threading.Thread(target=lambda: found.append(site())) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == 8 and len(set(map(id, found))) == 1
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=True)
