"""Every example runs as it is: served by a real server, posted to, and with its own page untouched."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from werkzeug.test import Client

from eventmw import EventsMiddleware, HttpReply
from eventmw.demo.play import ask
from eventmw.demo.servers import GUNICORN, UVICORN, Server, running
from eventmw.demo.story import SIMPLE, SYSTEM
from eventmw.effects import DONE, Drop, Send
from eventmw.errors import ConfigError
from eventmw.settings import complete, from_toml
from eventmw.testing import an_event, deliver, effects_of, record

EXAMPLES = Path(__file__).parent.parent / "examples"
WRITTEN_S = 10.0

SITES = {
    "flask": (*GUNICORN, "--pythonpath", str(EXAMPLES), "flask_site:app"),
    "falcon": (*GUNICORN, "--pythonpath", str(EXAMPLES), "falcon_site:app"),
    "django-wsgi": (*GUNICORN, "--pythonpath", str(EXAMPLES), "django_site:wsgi_application"),
    "django": (*UVICORN, "--app-dir", str(EXAMPLES), "django_site:application"),
    "django-settings": (*UVICORN, "--app-dir", str(EXAMPLES), "django_settings_site:application"),
    "fastapi": (*UVICORN, "--app-dir", str(EXAMPLES), "fastapi_site:app"),
    "starlette": (*UVICORN, "--app-dir", str(EXAMPLES), "starlette_site:app"),
    "litestar": (*UVICORN, "--app-dir", str(EXAMPLES), "litestar_site:app"),
    "quart": (*UVICORN, "--app-dir", str(EXAMPLES), "quart_site:app"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[dict[str, Server]]:
    # Output that is not a terminal waits in a buffer, and the tests read it while the server runs.
    # Nothing is left in the folder of the examples.
    environ = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with running(SITES, folder, environ) as started:
        yield started


def written(log: Path, text: str) -> bool:
    deadline_s = time.monotonic() + WRITTEN_S
    while text not in log.read_text():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("site", SITES)
def test_a_site_takes_the_seeds_payload_and_delivers_it(site: str, servers: dict[str, Server], folder: Path) -> None:
    answer = ask(servers[site], "POST", "/zaraz/api", json.dumps({"events": [{**SIMPLE, "system": SYSTEM}]}).encode())

    assert answer.status == 200
    body = json.loads(answer.body)
    assert body["results"] == [{"fetch": [], "execute": [], "return": {}, "cookies": {}}]
    assert written(
        folder / site / "log", f'event "transaction successful" "{body["receipt"]["id"]}-0" {{"value":"200"}}'
    )


@pytest.mark.parametrize("site", SITES)
def test_a_site_refuses_a_bad_event_with_the_reason(site: str, servers: dict[str, Server]) -> None:
    answer = ask(servers[site], "POST", "/zaraz/api", b'{"events": [{"clinet": {}}]}')

    assert answer.status == 400
    assert json.loads(answer.body)["errors"][0]["message"] == "expected the key client, which is missing"


@pytest.mark.parametrize("site", SITES)
def test_a_sites_own_pages_stay_its_own(site: str, servers: dict[str, Server]) -> None:
    name = {"fastapi": "FastAPI"}.get(site, site.partition("-")[0].title())

    page = ask(servers[site], "GET", "/", b"")
    assert (page.status, page.body) == (200, f"<h1>Hello from {name}</h1>".encode())
    assert ask(servers[site], "GET", "/zaraz", b"").status == 404


def test_fastapi_sends_an_event_from_its_own_code(servers: dict[str, Server], folder: Path) -> None:
    answer = ask(servers["fastapi"], "POST", "/orders/7", b"")

    assert json.loads(answer.body) == {"ordered": 7}
    assert written(folder / "fastapi" / "log", 'event "order placed" "order-7" {"number":7}')


def test_django_sends_an_event_from_a_view(servers: dict[str, Server], folder: Path) -> None:
    assert ask(servers["django-settings"], "GET", "/orders/8", b"").body == b"ordered 8"
    assert written(folder / "django-settings" / "log", 'event "order placed" "order-8" {"number":8}')


def test_the_seed_payloads_by_curl(servers: dict[str, Server]) -> None:
    assert shutil.which("curl"), "this example needs curl: apt-get install curl"
    script = subprocess.run(
        ["sh", EXAMPLES / "seed_payloads.sh", f"{servers['flask'].url}/zaraz/api"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert script.returncode == 0, script.stderr
    assert re.findall(r"^HTTP (\d+)$", script.stdout, re.MULTILINE) == ["200", "200", "200", "200", "400"]


def test_seed_payloads_says_how_it_is_used() -> None:
    script = subprocess.run(
        ["sh", EXAMPLES / "seed_payloads.sh"], capture_output=True, text=True, timeout=10, check=False
    )

    assert script.returncode != 0
    assert "say where to" in script.stderr


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def custom_tool() -> ModuleType:
    return loaded("custom_tool")


def test_the_own_tests_of_the_custom_tool_pass(custom_tool: ModuleType) -> None:
    tests = [name for name in vars(custom_tool) if name.startswith("test_")]
    for name in tests:
        vars(custom_tool)[name]()
    assert len(tests) == 2


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


def test_the_custom_tool_delivers_a_batch_as_segment_wants_it(custom_tool: ModuleType, tmp_path: Path) -> None:
    app = EventsMiddleware(hello, path="/zaraz/api", tools=[custom_tool.Segment("abc123")], data_dir=str(tmp_path))
    transport = record(app)
    two = {"events": [SIMPLE, {"client": {"__zarazTrack": "sign up"}, "eventmw": {"id": "s-1", "timestamp": 0}}]}
    try:
        assert Client(app).post("/zaraz/api", json=two).status_code == 200
        deliver(app)
    finally:
        app.close()

    [request] = transport.requests
    assert request.url == "https://api.segment.io/v1/batch"
    assert dict(request.headers)["authorization"] == "Basic YWJjMTIzOg=="  # the example of Segment's page
    calls = json.loads(request.body)["batch"]
    assert [call["event"] for call in calls] == ["transaction successful", "sign up"]
    assert calls[1]["messageId"] == "s-1"
    assert calls[1]["timestamp"] == "1970-01-01T00:00:00.000Z"
    assert calls[0]["properties"] == {"value": "200"}


def test_the_custom_tool_keeps_within_segments_limits(custom_tool: ModuleType) -> None:
    segment = custom_tool.Segment("abc123")
    around = len(effects_of(segment, an_event("big", {"text": ""}))[0].payload)  # type: ignore[union-attr]
    largest = effects_of(segment, an_event("big", {"text": "x" * (31_999 - around)}))
    too_large = effects_of(segment, an_event("big", {"text": "x" * (32_000 - around)}))

    assert [type(effect) for effect in (*largest, *too_large)] == [Send, Drop]
    packs = list(segment.pack([largest[0]] * 40))
    assert [len(pack.items) for pack in packs] == [15, 15, 10]
    assert all(len(pack.request.body) <= 500_000 for pack in packs)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, "done"), (400, "refused"), (413, "refused"), (401, "retry"), (429, "retry"), (500, "retry"), (302, "retry")],
)
def test_the_custom_tool_reads_segments_answers(custom_tool: ModuleType, status: int, kind: str) -> None:
    item = Send("{}", "e")
    reply = HttpReply(status, {"retry-after": "7"})
    [verdict, _] = custom_tool.Segment("abc123").verdict(reply, [item, item])

    assert verdict.kind == kind
    assert verdict == DONE or kind != "done"
    assert verdict.after_s == (7.0 if kind == "retry" else None)


def test_the_custom_tool_hides_its_key(custom_tool: ModuleType) -> None:
    assert "abc123" not in repr(custom_tool.Segment("abc123"))


def test_the_configuration_file_is_read_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("EVENTS_KEY", "a-key-of-more-than-16")
    for name in ("HOOK_SECRET", "GA4_SECRET", "SEGMENT_WRITE_KEY"):
        monkeypatch.setenv(name, "a secret")

    config = complete(from_toml(EXAMPLES / "eventmw.toml"))
    assert config.path == "/zaraz/api"
    assert config.named_keys == {"key-1": "a-key-of-more-than-16"}
    assert [tool.id for tool in config.bound_tools] == ["webhook", "ga4", "segment"]
    assert (config.limits.max_events, config.limits.requests_per_s, config.trusted_proxies) == (500, 50.0, 1)
    hook = config.bound_tools[0]
    assert hook.matches is not None
    assert [hook.matches(an_event(name)) for name in ("order paid", "refund issued", "sign up")] == [True, True, False]


def test_the_configuration_file_wraps_a_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("EVENTMW_DATA_DIR", str(tmp_path))
    for name in ("EVENTS_KEY", "HOOK_SECRET", "GA4_SECRET", "SEGMENT_WRITE_KEY"):
        monkeypatch.setenv(name, "a-secret-of-more-than-16")

    app = EventsMiddleware.from_config(hello, str(EXAMPLES / "eventmw.toml"))
    client = Client(app)
    assert client.post("/zaraz/api", json={"events": []}).status_code == 401
    assert client.get("/").data == b"hello"


def test_the_configuration_file_names_a_variable_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delenv("EVENTS_KEY", raising=False)

    with pytest.raises(ConfigError, match="EVENTS_KEY"):
        complete(from_toml(EXAMPLES / "eventmw.toml"))


def test_every_example_is_in_the_readme() -> None:
    there = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    assert set(re.findall(r"^\| \[[^]]+\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text(), re.MULTILINE)) == there


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*_site.py")), ids=lambda path: path.stem)
def test_every_site_says_how_it_is_run(path: Path) -> None:
    head = path.read_text().split('"""')[1]
    assert f"{path.stem}:app" in head
    assert "seed_payloads.sh http://127.0.0.1:8000/zaraz/api" in head
    assert any(path.stem in part for command in SITES.values() for part in command)
