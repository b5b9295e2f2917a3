"""docs/testing.md: every block runs, as the suite of a shop."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eventmw.testing import Captured

PAGE = (Path(__file__).parent.parent / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES = {name: code for language, name, code in BLOCKS if language == "python"}

DJANGO = {
    "shop/__init__.py": "",
    "shop/urls.py": """
from django.http import HttpResponse
from django.urls import path


def buy(request):
    from eventmw.django import site

    site().track("purchase", {"value": 200})
    return HttpResponse("thanks")


urlpatterns = [path("buy", buy)]
""",
    "shop/wsgi.py": """
from django.core.wsgi import get_wsgi_application

from eventmw import EventsMiddleware, consumer


@consumer("orders")
def orders(event):
    from django.contrib.auth.models import User

    User.objects.create(username=event.name)


application = EventsMiddleware(get_wsgi_application(), path="/zaraz/api", consumers=[orders])
""",
    "shop/asgi.py": """
from django.core.asgi import get_asgi_application

from eventmw import EventsMiddleware

application = EventsMiddleware(get_asgi_application(), path="/zaraz/api")
""",
    "wrapped.py": """
SECRET_KEY = "only for tests"
ROOT_URLCONF = "shop.urls"
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
WSGI_APPLICATION = "shop.wsgi.application"
""",
    "by_settings.py": """
from wrapped import *

MIDDLEWARE = ["eventmw.django.EventsMiddleware", *MIDDLEWARE]
EVENTMW = {"path": "/zaraz/api"}
WSGI_APPLICATION = "django.core.wsgi.get_wsgi_application"
""",
    # What the page says beside its blocks.
    "shop/tests_more.py": """
from django.contrib.auth.models import User
from django.test import Client as Bare
from django.test import TestCase, override_settings

from eventmw.errors import ConfigError
from eventmw.testing import captured
from eventmw.testing.django import AsyncClient, Client

EVENT = {"events": [{"client": {"__zarazTrack": "seen"}}]}
JSON = {"content_type": "application/json"}


class WrappedTest(TestCase):
    client_class = Client
    async_client_class = AsyncClient

    def setUp(self):
        self.events = self.enterContext(captured())

    def test_a_bare_client_never_gets_there(self):
        self.assertEqual(Bare().post("/zaraz/api", EVENT, **JSON).status_code, 404)
        self.assertEqual(self.client.post("/zaraz/api", EVENT, **JSON).status_code, 200)
        self.assertEqual(self.client.get("/nothing").status_code, 404)

    async def test_an_async_client(self):
        self.assertEqual((await self.async_client.post("/zaraz/api", EVENT, **JSON)).status_code, 200)
        self.assertEqual((await self.async_client.get("/nothing")).status_code, 404)
        self.events.assert_sent("seen")

    def test_a_consumer_is_in_the_transaction_of_the_test(self):
        User.objects.create(username="other")
        self.client.post("/zaraz/api", EVENT, **JSON)
        self.events.deliver()
        self.assertEqual(User.objects.count(), 2)

    @override_settings(WSGI_APPLICATION="django.core.wsgi.WSGIHandler")
    def test_an_application_that_is_not_wrapped_is_told(self):
        with self.assertRaisesRegex(ConfigError, "is not wrapped by eventmw"):
            self.client.get("/nothing")
""",
    "shop/tests_override.py": """
from tempfile import TemporaryDirectory

from django.test import Client, TestCase, override_settings

from eventmw.django import site
from eventmw.errors import ConfigError
from eventmw.testing import captured
from eventmw.testing import django as wrapped

EVENT = {"events": [{"client": {"__zarazTrack": "seen"}}]}
JSON = {"content_type": "application/json"}


class OverrideTest(TestCase):
    def statuses(self, client, *paths):
        return [client.post(path, EVENT, **JSON).status_code for path in paths]

    def test_each_override_takes_effect_and_ends(self):
        with captured() as events:
            outside = site()
            for one in ("/first", "/second", "/third"):
                with override_settings(EVENTMW={"path": one}):
                    inside = site()
                    for client in (self.client, Client()):
                        self.assertEqual(self.statuses(client, one, "/zaraz/api"), [200, 404])
                    with override_settings(EVENTMW={"path": "/inner"}):
                        self.assertEqual(self.statuses(self.client, "/inner", one), [200, 404])
                    self.assertIs(site(), inside)
                for client in (self.client, Client()):
                    self.assertEqual(self.statuses(client, one, "/zaraz/api"), [404, 200])
                self.assertIs(site(), outside)
            self.assertEqual(len(events.sent()), 15)

    @override_settings(EVENTMW={"path": "/of-the-test"})
    def test_as_a_decorator(self):
        with captured():
            self.assertEqual(self.statuses(self.client, "/of-the-test", "/zaraz/api"), [200, 404])

    def test_without_a_capture(self):
        folder = self.enterContext(TemporaryDirectory())
        for one in ("/first", "/second"):
            with override_settings(EVENTMW={"path": one, "data_dir": folder}):
                self.assertEqual(self.statuses(self.client, one, "/zaraz/api"), [200, 404])

    def test_the_problems_of_an_override_are_said_and_end_with_it(self):
        with captured():
            with override_settings(EVENTMW={"path": "no slash"}), self.assertRaisesRegex(ConfigError, "must start with /"):
                self.client.get("/")
            self.assertEqual(self.statuses(self.client, "/zaraz/api"), [200])

    def test_the_client_for_the_other_form_does_as_well(self):
        with captured(), override_settings(WSGI_APPLICATION="django.core.wsgi.WSGIHandler"):
            self.assertEqual(self.statuses(wrapped.Client(), "/zaraz/api", "/nothing"), [200, 404])
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, code in {**FILES, **DJANGO}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    return tmp_path


def run(folder: Path, *command: str, **environment: str) -> str:
    """Run a test command in the folder, where nothing is set and every warning is an error; nothing may be left there."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EVENTMW_")}
    before = {path.name for path in folder.iterdir()}
    ran = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**inherited, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert {path.name for path in folder.iterdir()} - {".hypothesis"} == before
    return ran.stdout + ran.stderr


def test_the_blocks_for_pytest_pass(folder: Path) -> None:
    names = [name for name in FILES if name.startswith("test_")]
    (folder / "shop" / "__init__.py").unlink()  # shop.py is the Flask site
    out = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *names)
    expected = sum(
        len(re.findall(r"^ *def test_", code, re.MULTILINE)) for name, code in FILES.items() if name in names
    )
    assert f"{expected + 1} passed" in out, out  # one of them has two parameters
    assert len(names) == 9


def test_the_block_for_unittest_passes(folder: Path) -> None:
    (folder / "shop" / "__init__.py").unlink()
    assert "Ran 1 test" in run(folder, "unittest", "test_unittest", EVENTMW_JOURNAL="memory")


@pytest.mark.parametrize(
    ("settings", "tests", "count"),
    [
        ("by_settings", ("shop.tests", "shop.tests_override"), 7),
        ("wrapped", ("shop.tests_wrapped", "shop.tests_more"), 5),
    ],
)
def test_the_blocks_for_django_pass(folder: Path, settings: str, tests: tuple[str, ...], count: int) -> None:
    (folder / "shop.py").unlink()
    out = run(
        folder, "django", "test", *tests, DJANGO_SETTINGS_MODULE=settings, PYTHONWARNINGS="error::ResourceWarning"
    )
    assert f"Ran {count} tests" in out, out


def test_the_variables_for_ci_are_settings() -> None:
    (block,) = [code for language, _, code in BLOCKS if language == "yaml"]
    assert re.findall(r'^  (\w+): "?(\w+)"?$', block, re.MULTILINE) == [
        ("EVENTMW_JOURNAL", "memory"),
        ("EVENTMW_DRY_RUN", "1"),
    ]


def test_everything_that_a_capture_offers_is_named() -> None:
    public = {
        name for name in vars(Captured) if not name.startswith(("_", "note_", "raise_errors", "make_runtime", "close"))
    }
    named = set(re.findall(r"\b(\w+)\b", " ".join(re.findall(r"`([^`\n]+)`", PAGE) + list(FILES.values()))))
    assert public <= named, public - named
