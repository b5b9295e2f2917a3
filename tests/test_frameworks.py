"""Frameworks' own commands run the wrapped site in the README's forms; a form that would leave us out is warned about."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
EVENT = b'{"events": [{"client": {"__zarazTrack": "e"}}]}'
PATIENCE_S = 60.0

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
execute_from_command_line(sys.argv)
"""
SETTINGS = """
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent
SECRET_KEY, ALLOWED_HOSTS, ROOT_URLCONF = "for tests only", ["*"], "urls"
WSGI_APPLICATION = "site_wsgi.application"
"""
FORMS = {
    "wrapped": (
        "",
        "EventsMiddleware(get_wsgi_application(), path='/zaraz/api', data_dir=settings.BASE_DIR / 'events')",
    ),
    "settings": (
        "MIDDLEWARE = ['eventmw.django.EventsMiddleware']; EVENTMW = {'path': '/zaraz/api', 'data_dir': BASE_DIR / 'events'}",
        "get_wsgi_application()",
    ),
}
WSGI = """
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from eventmw import EventsMiddleware
application = {application}
"""
URLS = """
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("front"))]
"""


def command_of(name: str, folder: Path, port: int) -> list[str]:
    """Return the arguments after ``python``, with a port of ours in the place of the framework's own."""
    if name.startswith("django"):
        settings, application = FORMS[name.removeprefix("django-")]
        files = {"settings": SETTINGS + settings, "site_wsgi": WSGI.format(application=application), "urls": URLS}
        for module, code in {**files, "manage": MANAGE}.items():
            (folder / f"{module}.py").write_text(code)
        return ["manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
    file = str(EXAMPLES / f"{name.partition('-')[0]}_site.py")
    return {
        "fastapi-run": ["-m", "fastapi", "run", file, "--host", "127.0.0.1", "--port", str(port)],
        "flask": ["-m", "flask", "--app", file, "run", "--port", str(port)],
        "quart": ["-m", "quart", "--app", file, "run", "--port", str(port)],
        "litestar": [
            "-m", "litestar", "--app-dir", str(EXAMPLES), "--app", "litestar_site:app", "run", "--port", str(port),
        ],
    }[name]  # fmt: skip


@dataclass(slots=True)
class Started:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, method: str, path: str, body: bytes | None = None) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, {"content-type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()

    def wait(self) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.ask("GET", "/")
            except (OSError, HTTPException):
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline_s, self.log.read_text()
                time.sleep(0.1)
            else:
                return


NAMES = ("fastapi-run", "flask", "quart", "litestar", "django-wrapped", "django-settings")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Started]]:
    """Start all of them side by side."""
    sites: dict[str, Started] = {}
    foreign = ("EVENTMW_", "FLASK_", "QUART_", "LITESTAR_", "DJANGO_", "UVICORN_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environ |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    try:
        for name in NAMES:
            folder = tmp_path_factory.mktemp(name)
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command = [sys.executable, *command_of(name, folder, port)]
            log = folder / "log"
            with log.open("wb") as out:
                process = subprocess.Popen(command, cwd=folder, env=environ, stdout=out, stderr=out)
            sites[name] = Started(process, port, log)
        yield sites
    finally:
        for site in sites.values():
            site.process.terminate()
        for site in sites.values():
            try:
                site.process.wait(15)
            except subprocess.TimeoutExpired:
                site.process.kill()
                site.process.wait()


@pytest.mark.parametrize("name", NAMES)
def test_a_frameworks_own_command_runs_the_wrapped_site(name: str, started: dict[str, Started]) -> None:
    site = started[name]
    site.wait()
    assert (site.ask("GET", "/"), site.ask("POST", "/zaraz/api", EVENT)) == (200, 200), site.log.read_text()
    assert "events get 404" not in site.log.read_text()


# Forms that leave us out: what a command does to find an application, without serving it.

FINDERS = {
    "fastapi": "from fastapi_cli.discover import get_import_data; get_import_data(path=Path('of_fastapi.py'))",
    "flask": "from flask.cli import ScriptInfo; ScriptInfo('of_flask').load_app()",
    "quart": "from quart.cli import ScriptInfo; ScriptInfo('of_quart').load_app()",
    "litestar": "from litestar.cli._utils import LitestarEnv; LitestarEnv.from_env('of_litestar:site')",
}
MAKE = {
    "fastapi": "from fastapi import FastAPI; site = FastAPI()",
    "flask": "from flask import Flask; site = Flask('x')",
    "quart": "from quart import Quart; site = Quart('x')",
    "litestar": "from litestar import Litestar; site = Litestar()",
}
KEPT = {
    "fastapi": "site.add_middleware(EventsMiddleware, path='/z')",
    "flask": "site.wsgi_app = EventsMiddleware(site.wsgi_app, path='/z')",
    "quart": "site.asgi_app = EventsMiddleware(site.asgi_app, path='/z')",
    "litestar": "site.asgi_handler = EventsMiddleware(site.asgi_handler, path='/z')",
}
WRAPPED = "app = EventsMiddleware(site, path='/z')"
ADVICE = {
    "fastapi": "app.add_middleware",
    "flask": "app.wsgi_app =",
    "quart": "app.asgi_app =",
    "litestar": "app.asgi_h",
}
IMPORTS = "; ".join(f"import of_{framework}" for framework in FINDERS)


def said_by(folder: Path, run: str, word: str, **sites: str) -> str:
    """Return what is logged while code runs, as if ``word`` stood in its command line, beside modules of these sites."""
    for name, code in sites.items():
        (folder / f"of_{name}.py").write_text(f"from eventmw import EventsMiddleware\n{code}\n")
    before = f"import sys; from pathlib import Path; sys.argv = ['it', {word!r}]; sys.path.insert(0, '.')\n"
    ran = subprocess.run(
        [sys.executable, "-c", before + run],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ran.stderr


def test_a_command_that_would_serve_the_site_without_us_is_warned_about(tmp_path: Path) -> None:
    sites = {framework: f"{make}; {WRAPPED}" for framework, make in MAKE.items()}
    said = said_by(tmp_path, "\n".join(FINDERS.values()), "run", **sites).splitlines()
    for framework, advice in ADVICE.items():
        [line] = [line for line in said if f"`{framework} run` serves the " in line]
        assert "events get 404" in line
        assert advice in line


def test_the_forms_that_keep_the_type_are_not(tmp_path: Path) -> None:
    sites = {framework: f"{make}; {KEPT[framework]}" for framework, make in MAKE.items()}
    assert "404" not in said_by(tmp_path, "\n".join(FINDERS.values()), "run", **sites)


@pytest.mark.parametrize(("run", "word"), [("\n".join(FINDERS.values()), "routes"), (IMPORTS, "run")])
def test_commands_that_serve_nothing_and_servers_that_serve_what_they_are_told_to_are_not(
    run: str, word: str, tmp_path: Path
) -> None:
    sites = {framework: f"{make}; {WRAPPED}" for framework, make in MAKE.items()}
    assert "404" not in said_by(tmp_path, run, word, **sites)


def test_litestars_middleware_runs_for_existing_routes_only(tmp_path: Path) -> None:
    site = (
        "from litestar import Litestar, get; from litestar.middleware import DefineMiddleware\n"
        "@get('/')\nasync def front() -> str: return ''\n"
        "@get('/b')\nasync def second() -> str: return ''\n"
        "app = Litestar([front, second], middleware=[DefineMiddleware(EventsMiddleware, path='/z')])"
    )
    said = said_by(tmp_path, "import of_litestar", "serve", litestar=site)
    assert said.count("Litestar's `middleware`, which runs for requests to existing routes only") == 1
    assert "app.asgi_handler = EventsMiddleware(app.asgi_handler, path=…)" in said
