"""``eventmw check``: configurations in files and in modules, and payloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack, cast

import pytest

from eventmw import Secret, env
from eventmw.cli.risks import journal_warnings, settings_of, warnings
from eventmw.config import Config, Settings
from eventmw.tools import GA4, Console, File, Webhook
from tests.eventbunker import REPAIRED, SEED, track, tracking
from tests.running import run

GOOD = """
path = "/zaraz/api"
keys = {shop = "0123456789abcdef0"}

[[tools]]
type = "ga4"
measurement_id = "G-ABC123"
api_secret = {env = "GA4_SECRET"}

[[tools]]
type = "webhook"
url = "https://hooks.example/T0/very-secret-path?token=abc"
secret = "hook-signing-secret"
"""

BAD = """
path = "/"
surprise = 1
keys = ["short"]
limits = {max_events = 0}

[[tools]]
type = "nonsense"
"""


@pytest.fixture
def good(tmp_path: Path) -> str:
    path = tmp_path / "eventmw.toml"
    path.write_text(GOOD)
    return str(path)


def test_what_is_active_and_no_secret_of_it(good: str) -> None:
    ran = run("check", good, GA4_SECRET="the-real-one")
    assert ran.code == 0
    assert ran.lines[0] == "The configuration is valid."
    assert "Tool     ga4 (GA4): measurement_id = G-ABC123, api_secret = env(GA4_SECRET)" in ran.lines
    assert "Tool     webhook (Webhook): url = https://hooks.example/••••, secret = ••••" in ran.lines
    assert "Keys     shop" in ran.lines
    for secret in ("the-real-one", "very-secret", "hook-signing", "0123456789"):
        assert secret not in ran.out + run("check", good, "--json", GA4_SECRET="the-real-one").out


def test_a_missing_secret_is_a_problem(good: str) -> None:
    ran = run("check", good)
    assert (ran.code, ran.out) == (1, "")
    assert "GA4_SECRET, which is not set" in ran.err


def test_all_problems_at_once(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BAD)
    ran = run("check", str(tmp_path / "bad.toml"))
    assert ran.code == 1
    assert ran.err.startswith("5 problems; a site would not start with this:")
    for words in ("no tool type 'nonsense'", "no setting 'surprise'", "path / is", "shorter than 16", "max_events"):
        assert words in ran.err
    assert len(run("check", str(tmp_path / "bad.toml"), "--json").json["problems"]) == 5


@pytest.mark.parametrize("text", ["path = ", "tools = 3"])
def test_a_file_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    assert run("check", str(tmp_path / "bad.toml")).code == 1


@pytest.mark.parametrize("source", ["mysite.py", "mysite"])
def test_a_module_without_an_object_is_told_how_to_name_one(tmp_path: Path, source: str) -> None:
    (tmp_path / "mysite.py").write_text("")
    ran = run("check", source, cwd=tmp_path)
    assert (ran.code, "write mysite:app" in ran.err) == (1, True)


def test_a_misspelt_variable_is_a_warning(good: str) -> None:
    ran = run("check", good, GA4_SECRET="x", EVENTMW_DRYRUN="1")
    assert ran.code == 0
    assert "EVENTMW_DRYRUN sets nothing: did you mean EVENTMW_DRY_RUN?" in ran.out


def test_without_an_argument_it_is_the_file_here(tmp_path: Path, good: str) -> None:
    assert run("check", cwd=Path(good).parent, GA4_SECRET="x").code == 0
    (tmp_path / "empty").mkdir()
    assert run("check", cwd=tmp_path / "empty").code == 2
    assert run("check", str(tmp_path / "missing.toml")).code == 1


PAYLOAD = (
    '{"events": [{"client": {"__zarazTrack": "a"}}, {"client": 3}, {"client": {}, "system": {"device": {"ip": "x"}}}]}'
)


def test_each_event_of_a_payload_is_judged(good: str) -> None:
    ran = run("check", good, "--payload", "-", stdin=PAYLOAD, GA4_SECRET="x")
    assert ran.code == 1
    assert "event 0: accepted, a; ga4 queued, webhook queued" in ran.lines
    assert "event 1: refused" in ran.lines
    assert any(line.startswith("  /events/1/client: expected ") for line in ran.lines)
    assert any(line.startswith("  /events/2/system/device/ip: expected ") for line in ran.lines)
    judged = run("check", good, "--payload", "-", "--json", stdin=PAYLOAD, GA4_SECRET="x").json["payload"]
    assert judged["refused"] == 1
    assert [event["verdict"] for event in judged["events"]] == ["accepted", "refused", "accepted"]
    assert [event["name"] for event in judged["events"]] == ["a", None, ""]


def test_a_payload_that_is_fine(good: str) -> None:
    ran = run("check", good, "--payload", "-", stdin='{"events": [{"client": {}}]}', GA4_SECRET="x")
    assert ran.code == 0
    assert "event 0: accepted, (no name); ga4 queued, webhook queued" in ran.lines


@pytest.mark.parametrize("body", ["{", "[]", '{"events": []}', '{"events": [{}]}'])
def test_a_payload_that_is_none(good: str, body: str) -> None:
    ran = run("check", good, "--payload", "-", stdin=body, GA4_SECRET="x")
    assert ran.code == 1
    assert "The payload would be refused: " in ran.out


TRACKED = '[{"event_name": "a"}, {"event_name": "a b"}, {"event_name": "c", "_ip": "x"}]'


def test_tracked_events_are_judged_when_asked_for(good: str) -> None:
    """As the track API judges: the same words at the same places."""
    ran = run("check", good, "--payload", "-", "--eventbunker", stdin=TRACKED, GA4_SECRET="x")
    assert ran.code == 1
    assert "event 0: accepted, a; ga4 queued, webhook queued" in ran.lines
    assert "event 1: refused" in ran.lines
    with tracking() as pair:
        answers = track(pair, TRACKED.encode()).json
    words = [f"  {detail['path']}: {detail['message']}" for entry in answers for detail in entry.get("details", ())]
    assert len(words) == 2
    assert set(words) <= set(ran.lines)
    judged = run("check", good, "--payload", "-", "--eventbunker", "--json", stdin=TRACKED, GA4_SECRET="x").json[
        "payload"
    ]
    assert (judged["refused"], judged["problem"]) == (2, None)
    assert [event["name"] for event in judged["events"]] == ["a", None, None]


def test_a_tracked_event_that_is_fine(good: str) -> None:
    ran = run("check", good, "--payload", "-", "--eventbunker", stdin=REPAIRED.decode(), GA4_SECRET="x")
    assert ran.code == 0
    assert "event 0: accepted, my_first_event_name; ga4 queued, webhook queued" in ran.lines


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (SEED.decode(), "Expected a comma or a closing bracket after a value at line 8, column 1."),
        ("{}", "the top: expected the key event_name, which is missing"),
        ("[]", "the top: expected an array of at least one event, got an empty one"),
        ('{"events": [{"client": {}}]}', "/events: "),
        ("[" * 40 + "]" * 40, "expected at most 32 levels of nesting, got more"),
    ],
)
def test_a_tracked_event_that_is_none(good: str, body: str, words: str) -> None:
    ran = run("check", good, "--payload", "-", "--eventbunker", stdin=body, GA4_SECRET="x")
    assert ran.code == 1
    assert "The payload would be refused: " in ran.out
    assert "nested" in words or "The payload would be refused: Body JSON validation failed." in ran.out
    assert words in ran.out


def test_which_payload_is_said_of_a_payload(good: str) -> None:
    assert run("check", good, "--eventbunker", GA4_SECRET="x").code == 2


SITES = """
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from eventmw import EventsMiddleware, asgi
from eventmw.tools import Console

def bare(environ, start_response):
    return []

plain = EventsMiddleware(bare, path="/found-plain", tools=[Console()])
flask = Flask(__name__)
flask.wsgi_app = EventsMiddleware(flask.wsgi_app, path="/found-flask", tools=[Console()])
starlette = Starlette(middleware=[Middleware(EventsMiddleware, path="/found-starlette", tools=[Console()])])
outer = Starlette(middleware=[Middleware(asgi.EventsMiddleware, path="/found-outer", tools=[Console()])])

class Around:
    def __init__(self, app):
        self.app = app
    def __call__(self, environ, start_response):
        return self.app(environ, start_response)

around = Around(Around(plain))
"""


@pytest.mark.parametrize(
    ("name", "path"),
    [("plain", "plain"), ("flask", "flask"), ("starlette", "starlette"), ("outer", "outer"), ("around", "plain")],
)
def test_a_site_in_a_module(tmp_path: Path, name: str, path: str) -> None:
    (tmp_path / "shop.py").write_text(SITES)
    ran = run("check", f"shop:{name}", cwd=tmp_path, PYTHONWARNINGS="")
    assert ran.code == 0, ran.err
    assert f"Path     /found-{path}" in ran.lines


DJANGO = """
from django.conf import settings
from django.core.{kind} import get_{kind}_application

settings.configure(
    ROOT_URLCONF=__name__, SECRET_KEY="k", MIDDLEWARE=["eventmw.django.EventsMiddleware"], EVENTMW={{"path": "/found-django"}}
)
urlpatterns = []
application = get_{kind}_application()
"""


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_a_django_site_by_settings(tmp_path: Path, kind: str) -> None:
    (tmp_path / "shop.py").write_text(DJANGO.format(kind=kind))
    ran = run("check", "shop:application", cwd=tmp_path, PYTHONWARNINGS="")
    assert ran.code == 0, ran.err
    assert "Path     /found-django" in ran.lines


def test_modules_that_cannot_be_checked(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SITES)
    (tmp_path / "broken.py").write_text(
        "from eventmw import EventsMiddleware\nEventsMiddleware(lambda e, s: [], path='/')"
    )
    for source, words in {
        "shop:bare": "no EventsMiddleware was found",
        "shop:missing": "cannot be imported: AttributeError",
        "missing:app": "cannot be imported: ModuleNotFoundError",
        "broken:app": "path / is the site's own front page",
    }.items():
        ran = run("check", source, cwd=tmp_path, PYTHONWARNINGS="")
        assert ran.code == 1
        assert words in ran.err


def test_risky_choices_are_named() -> None:
    def risks(**settings: Unpack[Settings]) -> str:
        return "\n".join(warnings(Config(**cast(Any, settings))))

    hook = Webhook("http://hooks.example/x", insecure=True)
    assert "no path is set" in risks(tools=[Console()])
    assert "go nowhere" in risks(path="/x-7f3a")
    assert "dry_run" in risks(path="/x-7f3a", dry_run=True)
    assert "easy to guess" in risks(path="/zaraz/api")
    assert "easy to guess" not in risks(path="/zaraz/api", keys=["0123456789abcdef0"])
    assert "easy to guess" not in risks(path="/x-7f3a")
    assert "lost when the process ends" in risks(path="/x-7f3a", journal="memory")
    assert "lost when the process ends" not in risks(path="/x-7f3a")
    assert "plain http to hooks.example" in risks(path="/x", tools=[hook])
    assert "plain http" not in risks(path="/x", tools=[Webhook("http://127.0.0.1:9/x")])


def test_settings_are_shown_and_secrets_masked() -> None:
    tool = GA4("G-ABC123", api_secret=Secret("do-not-show"), debug=True)
    assert settings_of(tool) == {"measurement_id": "G-ABC123", "api_secret": "••••", "debug": True}
    assert settings_of(GA4("G-ABC123", api_secret=env("X")))["api_secret"] == "env(X)"
    assert settings_of(object()) == {}


def test_own_tools_are_found_beside_the_file_and_in_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text(
        "from eventmw import tool\n\n\n@tool('own')\ndef own(event):\n    return None\n"
    )
    (tmp_path / "eventmw.toml").write_text('path = "/events-4f2a"\n\n[[tools]]\ntype = "beside:own"\n')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file, folder in ((tmp_path / "eventmw.toml", elsewhere), (Path("eventmw.toml"), tmp_path)):
        ran = run("check", str(file), cwd=folder)
        assert (ran.code, ran.err) == (0, "")
        assert "own" in ran.out


def test_a_folder_that_does_not_exist_is_a_warning(tmp_path: Path) -> None:
    there, missing = File(tmp_path / "a.jsonl", id="a"), File(tmp_path / "no" / "b.jsonl", id="b")
    told = [
        warning
        for warning in warnings(Config(path="/q", tools=[there, missing, File("c.jsonl", id="c")]))
        if "folder" in warning
    ]
    assert told == [f"File: there is no folder {tmp_path / 'no'}; make it before the start, or b can write nothing."]


def test_where_a_journal_on_disk_would_lie() -> None:
    assert [*journal_warnings("file", "/proc/eventmw")] == []
    (words,) = journal_warnings("file", "/dev/shm/eventmw")
    assert words.startswith("data_dir /dev/shm/eventmw is in memory (tmpfs)")
    assert [words[:18] for words in journal_warnings("memory", "/dev/shm/eventmw")] == ['journal = "memory"']


def test_what_operators_watch_is_shown_without_its_key(tmp_path: Path) -> None:
    path = tmp_path / "eventmw.toml"
    path.write_text(
        'logs = "json"\nmetrics_path = "/m-7f3a"\nmetrics_key = "0123456789abcdef0"\nready_path = "/r-7f3a"\n'
    )
    ran = run("check", str(path))
    assert "Logs     json, as eventmw.events" in ran.lines
    assert "Metrics  /m-7f3a, to who shows metrics_key" in ran.lines
    assert "Ready    /r-7f3a, to anybody" in ran.lines
    shown = run("check", str(path), "--json")
    assert (shown.json["metrics_path"], shown.json["ready_path"], shown.json["logs"]) == ("/m-7f3a", "/r-7f3a", "json")
    assert "0123456789" not in ran.out + shown.out


def test_the_eventbunker_api_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "eventmw.toml"
    path.write_text('eventbunker_path = "/eb"\narchive = "postgresql+psycopg://shop:do-not-show@db.example/shop"\n')
    ran = run("check", str(path))
    assert "Track    /eb/post, to who shows a write key" in ran.lines
    assert "Archive  postgresql+psycopg://shop@db.example/shop, for ever" in ran.lines
    assert "Places   none, since geoip is not set" in ran.lines
    assert "Frames   charts in pages of 'self'" in ran.lines
    assert "none needed" not in ran.out
    assert "go nowhere" not in ran.out
    assert "Calls    below /eb/v1, to who shows a key of their kind" in ran.lines
    assert "nothing is answered" not in ran.out
    shown = run("check", str(path), "--json")
    assert shown.json["eventbunker_path"] == "/eb"
    assert "do-not-show" not in ran.out + ran.err + shown.out


def test_both_apis_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "eventmw.toml"
    path.write_text(
        'path = "/x-7f3a"\neventbunker_path = "/eb"\narchive_days = 400\nframe_ancestors = ["https://a.example"]\n'
        'allowed_origins = ["https://b.example"]\n'
    )
    ran = run("check", str(path))
    assert "Keys     none needed at /x-7f3a" in ran.lines
    assert "Origins  the site's own, https://b.example at /x-7f3a" in ran.lines
    assert "Archive  archive.sqlite3 in data_dir, for 400 days" in ran.lines
    assert "Frames   charts in pages of https://a.example" in ran.lines
    assert "events of /x-7f3a are accepted and go nowhere; tracked ones go to the archive." in ran.out
    shown = run("check", str(path), "--json").json
    assert (shown["archive_days"], shown["frame_ancestors"]) == (400, ["https://a.example"])


def test_an_archive_that_is_none_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "eventmw.toml"
    path.write_text(f'eventbunker_path = "/eb"\narchive = "mysql://u:s3cret@db/x"\ngeoip = "{tmp_path}/missing.mmdb"\n')
    ran = run("check", str(path))
    assert ran.code == 1
    assert "archive must be SQLite or PostgreSQL, not mysql" in ran.err
    assert "missing.mmdb cannot be read" in ran.err
    assert "s3cret" not in ran.err


def test_a_geoip_file_is_told_of_beside_other_problems(tmp_path: Path) -> None:
    path = tmp_path / "eventmw.toml"
    path.write_text(f'eventbunker_path = "/eb"\ngeoip = "{tmp_path}/missing.mmdb"\nbatch = "some"\n')
    ran = run("check", str(path))
    assert ran.err.startswith("2 problems;"), ran.err
    assert "missing.mmdb cannot be read" in ran.err
    assert "batch" in ran.err


def test_a_geoip_file_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "eventmw.toml"
    path.write_text(f'eventbunker_path = "/eb"\ngeoip = "{tmp_path}/missing.mmdb"\n')
    ran = run("check", str(path))
    assert ran.code == 1
    assert "missing.mmdb cannot be read: No such file or directory" in ran.err
