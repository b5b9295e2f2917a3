"""The pytest plugin in suites of real sites, each run by a pytest of its own, as an owner runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

# Sites as their owners write them: module-global with the default settings, which would make ``eventmw-data`` here.
SITES = {
    "flask_factory": """
        from flask import Flask, current_app
        from eventmw import EventsMiddleware
        from eventmw.tools import GA4, Webhook

        def create_app():
            app = Flask(__name__)
            app.wsgi_app = EventsMiddleware(
                app.wsgi_app, path="/zaraz/api",
                tools=[GA4("G-ABC123", api_secret="s3cret-of-ga4"), Webhook("https://hook.example/token-of-hook")],
            )

            @app.post("/buy")
            def buy():
                current_app.wsgi_app.track("purchase", {"value": 20})
                return "ok"

            return app
    """,
    "fastapi_global": """
        from fastapi import FastAPI
        from eventmw import EventsMiddleware, consumer
        from eventmw.tools import Webhook

        seen = []

        @consumer("audit", when="signup")
        async def audit(event):
            seen.append(event.properties)

        app = FastAPI()
        app.add_middleware(
            EventsMiddleware, path="/zaraz/api", tools=[Webhook("https://hook.example")], consumers=[audit]
        )

        @app.get("/")
        async def front():
            return "hi"
    """,
    "quart_global": """
        from quart import Quart
        from eventmw import EventsMiddleware

        app = Quart(__name__)
        app.asgi_app = EventsMiddleware(app.asgi_app, path="/zaraz/api")

        @app.post("/buy")
        async def buy():
            await app.asgi_app.atrack("purchase", {"value": 20})
            return "ok"
    """,
    "litestar_global": """
        from litestar import Litestar, get
        from eventmw import EventsMiddleware

        @get("/")
        async def front() -> str:
            return "hi"

        app = EventsMiddleware(Litestar([front]), path="/zaraz/api")
    """,
    "plain_wsgi": """
        from eventmw import EventsMiddleware

        def site(environ, start_response):
            start_response("200 OK", [])
            return [b"hi"]

        app = EventsMiddleware(site, path="/zaraz/api", eventbunker_path="/eb", keys=["0123456789abcdef-key"])
    """,
}

TESTS = {
    "test_flask_factory": """
        import pytest
        from flask_factory import create_app

        @pytest.fixture
        def app():
            return create_app()  # before the fixture of the events

        @pytest.mark.parametrize("number", range(3))
        def test_a_view_tracks(app, eventmw_events, number):
            assert eventmw_events.sent() == []
            app.test_client().post("/buy")
            [event] = eventmw_events.sent("purchase")
            assert (event.name, event.properties, event.user_id) == ("purchase", {"value": 20}, None)
            assert event.receipt.durability == "memory"
            assert event.timestamp.timestamp() == eventmw_events.clock.now_ms() / 1000
            assert event.requests["webhook"][0].json()["events"][0]["name"] == "purchase"
            assert list(event.requests) == ["ga4", "webhook"]
            assert event.outcomes == {}
            eventmw_events.deliver()
            assert event.outcomes["ga4"].kind == "delivered"
            [request] = eventmw_events.requests("ga4")
            assert request.json()["events"][0]["params"]["value"] == 20
            assert len(eventmw_events.requests()) == 2

        def test_a_factory_called_in_the_test(eventmw_events):
            app = create_app()
            app.test_client().post("/zaraz/api", json={"events": [{"client": {"__zarazTrack": "cart_add"}}] * 2})
            assert [event.name for event in eventmw_events.sent("cart_*")] == ["cart_add"] * 2
            assert len(eventmw_events.receipts) == 2

        def test_a_vendor_that_fails(app, eventmw_events):
            eventmw_events.fail("ga4", status=503, times=2)
            eventmw_events.fail("webhook", error="timeout")
            app.test_client().post("/buy")
            eventmw_events.deliver()
            eventmw_events.deliver()  # the clock stands still: nothing becomes due
            assert len(eventmw_events.requests("ga4")) == 1
            for sent in (2, 3, 3):
                eventmw_events.clock.advance(600)
                eventmw_events.deliver()
                assert len(eventmw_events.requests("ga4")) == sent
            [event] = eventmw_events.sent()
            assert event.outcomes.keys() == {"ga4"}
            eventmw_events.recover("webhook")
            eventmw_events.clock.advance(600)
            eventmw_events.deliver()
            assert event.outcomes["webhook"].kind == "delivered"

        def test_a_vendor_that_refuses(app, eventmw_events):
            eventmw_events.fail("webhook", status=400, json={"error": "no"})
            app.test_client().post("/buy")
            eventmw_events.deliver()
            [letter] = eventmw_events.dead_letters
            assert (letter.tool, letter.event.name, letter.outcome, letter.attempts) == ("webhook", "purchase", "rejected", 1)
            eventmw_events.fail("gA4")  # a site with it might be made later
            with pytest.raises(LookupError, match="no tool has the id 'gA4'; the tools are: ga4, webhook"):
                eventmw_events.deliver()
            with pytest.raises(LookupError, match="ga4, webhook"):
                eventmw_events.requests("other")
            with pytest.raises(LookupError, match="ga4, webhook"):
                eventmw_events.sent()[0].requests["other"]
    """,
    "test_fastapi_global": """
        import pytest
        from fastapi.testclient import TestClient
        from fastapi_global import app, seen

        BODY = {"events": [{"client": {"__zarazTrack": "signup", "plan": "pro"}}]}

        @pytest.mark.parametrize("number", range(3))
        def test_the_stack_is_built_by_the_first_request(eventmw_events, number):
            seen.clear()
            with TestClient(app) as client:
                assert client.get("/").json() == "hi"
                assert client.post("/zaraz/api", json=BODY).json()["receipt"]["accepted"] == 1
            eventmw_events.assert_sent("signup", plan="pro")
            assert seen == []
            eventmw_events.deliver()
            assert seen == [{"plan": "pro"}]
            assert [event.name for event in eventmw_events.calls("audit")] == ["signup"]

        def test_without_a_lifespan(eventmw_events):
            assert TestClient(app).post("/zaraz/api", json=BODY).status_code == 200
            assert len(eventmw_events.sent()) == 1

        @pytest.fixture(scope="module")
        def client():
            with TestClient(app) as client:  # ends after the last capture
                yield client

        def test_a_client_that_lasts(client, eventmw_events):
            assert client.post("/zaraz/api", json=BODY).status_code == 200
            assert len(eventmw_events.sent()) == 1
    """,
    "test_quart_global": """
        import asyncio
        from quart_global import app

        def test_it(eventmw_events):
            async def talk():
                client = app.test_client()
                await client.post("/buy")
                await client.post("/zaraz/api", json={"events": [{"client": {"__zarazTrack": "seen"}}]})
                eventmw_events.deliver()  # also where a loop runs

            asyncio.run(talk())
            assert [event.name for event in eventmw_events.sent()] == ["purchase", "seen"]
    """,
    "test_litestar_global": """
        from litestar.testing import TestClient
        from litestar_global import app

        def test_it(eventmw_events):
            with TestClient(app) as client:
                assert client.get("/").text == "hi"
                assert client.post("/zaraz/api", json={"events": [{"client": {}}]}).status_code == 200
            assert len(eventmw_events.sent()) == 1
    """,
    "test_plain_wsgi": """
        import unittest
        import pytest
        from werkzeug.test import Client
        from plain_wsgi import app
        from eventmw import EventsMiddleware
        from eventmw.testing import captured

        KEY = {"authorization": "Bearer 0123456789abcdef-key"}
        BODY = {"events": [{"client": {"__zarazTrack": "seen"}}, {"client": {"__zarazTrack": {}}}]}

        def test_both_apis_and_what_they_refuse(eventmw_events):
            client = Client(app)
            assert client.post("/zaraz/api", json=BODY).status_code == 401
            assert client.post("/zaraz/api", json=BODY, headers=KEY).status_code == 200
            key = eventmw_events.key("write", customer="ann")
            assert client.post("/eb/post", json={"event_name": "bought", "price": 9.5},
                               headers={"x-eventbunker-write-key": key}).status_code == 200
            assert client.post("/eb/post", json={"event_name": "no name"},
                               headers={"x-eventbunker-write-key": key}).status_code == 400
            with pytest.raises(ValueError):
                app.track("x", id="x" * 129)
            assert [(event.name, event.user_id, event.dialect) for event in eventmw_events.sent()] == [
                ("seen", None, "zaraz"), ("bought", "ann", "eventbunker")]
            door, event, tracked, own = eventmw_events.refused
            assert (door.code, door.status, door.name, door.where) == ("unauthorized", 401, None, "/zaraz/api")
            assert (event.code, event.status, event.index, event.event) == ("type", 200, 1, BODY["events"][1])
            assert (tracked.code, tracked.name, tracked.where) == ("invalid_body", "no name", "/eb/post")
            assert (own.where, own.name) == ("track", "x")

        def test_the_archive_answers(eventmw_events):
            client, key = Client(app), eventmw_events.key("query")
            client.post("/eb/post", json={"event_name": "bought", "price": 9.5},
                        headers={"x-eventbunker-write-key": eventmw_events.key()})
            eventmw_events.deliver()
            asked = client.post("/eb/v1/query/json", headers={"x-eventbunker-query-key": key}, json={
                "time_period": "minus_5_minutes", "computations": [{"field_name": "price", "function": "sum"}]})
            assert asked.json["rows"] == [{"sum_price": 9.5}]

        class OfUnittest(unittest.TestCase):
            def setUp(self):
                self.events = self.enterContext(captured())

            def test_it(self):
                app.track("seen")
                self.events.assert_sent("seen")

        @pytest.mark.usefixtures("eventmw_events")
        class MarkedOfUnittest(unittest.TestCase):
            def test_it(self):
                app.track("seen")

        def test_asked_for_late(request):
            events = request.getfixturevalue("eventmw_events")
            app.track("seen")
            assert len(events.sent()) == 1

        def test_an_inner_capture_has_its_own(eventmw_events):
            app.track("outer")
            with captured() as inner:
                app.track("inner")
                assert [event.name for event in inner.sent()] == ["inner"]
            app.track("outer again")
            assert [event.name for event in eventmw_events.sent()] == ["outer", "outer again"]

        def test_a_site_may_be_closed(eventmw_events):
            app.track("seen")
            app.close()
            assert len(eventmw_events.sent()) == 1

        @pytest.mark.parametrize("time", range(2))
        def test_a_site_that_was_closed_is_open_in_the_next_test(eventmw_events, time):
            app.track("seen")
            assert len(eventmw_events.sent()) == 1
            app.close()

        def test_a_site_that_was_running_runs_on(tmp_path):
            with EventsMiddleware(lambda environ, start_response: [], path="/y", data_dir=tmp_path) as site:
                site.track("real")
                running = site.runtime
                with captured():
                    site.track("captured")
                    site.close()
                assert site.runtime is running
                assert site.track("real again").durability == "journaled"
    """,
}

ORDER = """
    import random

    def pytest_collection_modifyitems(items):
        random.Random(1).shuffle(items)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for a suite of an owner, who has set nothing."""
    for name in [name for name in os.environ if name.startswith("EVENTMW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return pytester


def ran(suite: pytest.Pytester, *args: str) -> pytest.RunResult:
    """Run a suite, with every warning an error, and without plugins that owners hardly have and that take seconds to load."""
    without = ("-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "no:xdist")
    return suite.runpytest_subprocess("-q", *without, "-W", "error", *args, timeout=100)


def left(suite: pytest.Pytester) -> set[str]:
    """Return what stands in the folder beside the suite and what the outer pytest writes."""
    names = {path.name for path in suite.path.iterdir() if path.suffix != ".py"} - {"stdout", "stderr"}
    return {name for name in names if not name.startswith("runpytest-")}


def test_sites_of_every_kind_in_any_order(suite: pytest.Pytester) -> None:
    suite.makepyfile(**SITES, **TESTS)
    suite.makeconftest(ORDER)
    result = ran(suite)
    result.assert_outcomes(passed=23)
    assert left(suite) == set()


BROKEN = """
    import pytest
    from flask_factory import create_app
    from werkzeug.test import Client
    from eventmw import EventsMiddleware, Send, consumer, tool

    @tool("picky")
    def picky(event):
        if event.name == "boom":
            raise KeyError("no price")
        if event.name == "odd":
            return Send("text")

    @tool("bell", when="doorbell", answers=True)
    def bell(event):
        raise OSError("no bell")

    @consumer("crm", when="crash")
    def crm(event):
        raise LookupError("no such customer")

    app = EventsMiddleware(lambda environ, start_response: [], path="/zaraz/api", tools=[picky, bell], consumers=[crm])

    def send(*events):
        Client(app).post("/zaraz/api", json={"events": [{"client": client} for client in events]})

    def test_nothing(eventmw_events):
        assert eventmw_events.sent("purchase")

    def test_another(eventmw_events):
        send({"__zarazTrack": "signup", "plan": "pro"}, {"__zarazTrack": ["purchase"]})
        assert eventmw_events.sent("purchase")

    def test_difference(eventmw_events):
        send({"__zarazTrack": "purchase", "value": 20, "currency": "EUR"}, {"__zarazTrack": "purchase", "value": True})
        eventmw_events.assert_sent("purchase", value=200, currency="EUR", user_id="u1")

    def test_unwanted(eventmw_events):
        send({"__zarazTrack": "purchase", "value": 20})
        eventmw_events.assert_not_sent("purchase", value=20)

    def test_not_delivered(eventmw_events):
        send({"__zarazTrack": "seen"})
        assert eventmw_events.requests("picky")

    def test_consumer_raises(eventmw_events):
        app.track("crash")
        eventmw_events.deliver()

    def test_tool_raises(eventmw_events):
        app.track("boom")
        eventmw_events.deliver()

    def test_tool_breaks_its_contract(eventmw_events):
        app.track("odd")
        eventmw_events.deliver()

    def test_raised_and_never_looked_at(eventmw_events):
        app.track("doorbell")

    def test_looked_at(eventmw_events):
        app.track("crash")
        eventmw_events.deliver(raise_errors=False)
        [error] = eventmw_events.errors
        assert "no such customer" in str(error)

    def test_two_requests(eventmw_events):
        shop = create_app()
        for value in (1, 2):
            shop.wsgi_app.track("purchase", {"value": value}, system={"device": {"user-agent": f"browser {value}"}})
        one, other = (event.requests["ga4"][0] for event in eventmw_events.sent())
        assert one == other
"""


def test_failures_say_what_happened_and_show_no_secret(suite: pytest.Pytester) -> None:
    suite.makepyfile(flask_factory=SITES["flask_factory"], test_broken=BROKEN)
    result = ran(suite, "-vv")
    result.assert_outcomes(passed=2, failed=9, errors=1)
    parts = re.split(r"^_{3,} (?:ERROR at \w+ of )?(\w+) _{3,}$", result.stdout.str(), flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))

    def said(test: str, *lines: str) -> None:
        for line in lines:
            assert line in texts[test], f"{test} lacks: {line}\n{texts[test]}"

    said("test_nothing", "assert <no event 'purchase' was sent; nothing was sent>")
    said(
        "test_another",
        "<no event 'purchase' was sent; sent: 'signup'; refused: an event without a name by /zaraz/api: maxItems, "
        "/events/1/client/__zarazTrack: expected text, got an array of 1>",
        "sent (1):\n  'signup' plan='pro'",
    )
    said(
        "test_difference",
        "no event 'purchase' value=200 currency='EUR' user_id='u1' was sent",
        "the nearest is 'purchase' value=20 currency='EUR'",
        "  value: expected 200, sent 20",
        "  user_id: expected 'u1', sent None",
    )
    said("test_unwanted", "expected no such event, sent:", "  'purchase' value=20")
    said("test_not_delivered", "<picky: no request went out; sent: 'seen'; 1 events wait: call deliver()")
    said("test_consumer_raises", 'raise LookupError("no such customer")', "the tool or consumer 'crm'")
    said("test_tool_raises", 'raise KeyError("no price")', "'boom' at picky tool_error")
    said("test_tool_breaks_its_contract", "the tool 'picky'", "Send(str)")
    said("test_raised_and_never_looked_at", "OSError: no bell")
    said("test_two_requests", "<HttpRequest POST https://www.google-analytics.com ", "the bodies differ")
    assert not [secret for secret in ("s3cret-of-ga4", "token-of-hook") if secret in result.stdout.str()]


LEAVES = """
    import os
    import threading

    def count():
        import gc
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    def pytest_sessionfinish():
        assert count() == before, f"left behind: {count()}, before: {before}, {threading.enumerate()}"

    def pytest_runtest_logfinish(nodeid):
        global before
        if "[10]" in nodeid:  # every import is done
            before = count()
"""

HUNDRED = """
    import pytest
    from werkzeug.test import Client
    from flask_factory import create_app
    from plain_wsgi import app as plain

    @pytest.fixture
    def app():
        return create_app()

    @pytest.mark.parametrize("number", range(100))
    def test_it(app, eventmw_events, number):
        app.test_client().post("/buy")
        if number % 10 == 0:
            key = eventmw_events.key()
            Client(plain).post("/eb/post", json={"event_name": "x"}, headers={"x-eventbunker-write-key": key})
            Client(plain).post("/eb/post", json={"event_name": "x"}, headers={"x-eventbunker-write-key": "eb_write_x"})
        eventmw_events.deliver()
        assert len(eventmw_events.requests()) == 2
"""


def test_a_hundred_tests_leave_nothing(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = suite.mkdir("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    suite.makepyfile(flask_factory=SITES["flask_factory"], plain_wsgi=SITES["plain_wsgi"], test_hundred=HUNDRED)
    suite.makeconftest(LEAVES)
    result = ran(suite)
    result.assert_outcomes(passed=100)
    assert result.ret == 0, result.stderr.str()
    assert list(temporary.iterdir()) == []
    assert left(suite) == {"temporary"}


NOT_USED = """
    import json
    import sys

    def pytest_sessionfinish():
        mine = sorted(name for name in sys.modules if name.split(".")[0] == "eventmw")
        with open("loaded.json", "w") as file:
            json.dump({"ours": mine, "aiohttp": "aiohttp" in sys.modules, "asyncio": "asyncio" in sys.modules}, file)
"""


def test_a_suite_without_the_fixture_pays_nothing(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_other="def test_it(): assert {} == {}")
    suite.makeconftest(NOT_USED)
    ran(suite).assert_outcomes(passed=1)
    loaded = json.loads((suite.path / "loaded.json").read_text())
    allowed = {
        "eventmw",
        "eventmw.version",
        "eventmw.forks",
        "eventmw.lifetimes",
        "eventmw.testing",
        "eventmw.testing.pytest_plugin",
    }
    assert set(loaded["ours"]) <= allowed
    assert not loaded["aiohttp"]


def test_without_the_fixture_a_site_is_as_it_is(suite: pytest.Pytester) -> None:
    """The plugin changes nothing for other tests: the journal is opened, later than without it."""
    suite.makepyfile(
        quart_global=SITES["quart_global"],
        test_it="""
            import pytest
            from pathlib import Path
            from eventmw import ConfigError, EventsMiddleware
            from quart_global import app

            def test_first_use():
                assert not Path("eventmw-data").exists()
                assert app.asgi_app.track("seen").durability == "journaled"
                assert Path("eventmw-data").is_dir()

            def test_a_wrong_folder_is_refused_at_start():
                Path("file").touch()
                with pytest.raises(ConfigError, match="cannot be used"):
                    EventsMiddleware(lambda environ, start_response: [], path="/x", data_dir="file")

            def test_what_a_site_holds_comes_back(eventmw_events):
                app.asgi_app.track("captured")
                assert len(eventmw_events.sent()) == 1

            def test_it_came_back():
                assert app.asgi_app.stats()["events"] == 1
        """,
    )
    ran(suite).assert_outcomes(passed=4)


def test_testing_needs_no_pytest_and_no_hypothesis(tmp_path: Path) -> None:
    (tmp_path / "pytest.py").write_text("raise ImportError('not here')")
    (tmp_path / "hypothesis.py").write_text("raise ImportError('not here')")
    code = """
from eventmw import EventsMiddleware
from eventmw.testing import *
with captured() as events:
    app = EventsMiddleware(lambda environ, start_response: [], path="/x")
    app.track("seen")
    events.assert_sent("seen")
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
