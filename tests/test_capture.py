"""`eventmw.testing.captured`: what it offers, and what of the owner's it leaves as it is. Whole suites: test_pytest_plugin."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from eventmw import ConfigError, EventsMiddleware, HttpReply, HttpRequest, Outcome, Send, Verdict, consumer, tool
from eventmw.effects import DONE, Fetch
from eventmw.event import Event
from eventmw.http import Headers
from eventmw.secret import Secret
from eventmw.site import is_open
from eventmw.testing import Captured, FrozenClock, captured
from eventmw.tools import File, Webhook

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0LTEyMzQ1Njc4"


def site(**options: Any) -> Any:
    return EventsMiddleware(lambda _environ, _start: [], **{"path": "/z", **options})


@pytest.fixture
def events() -> Iterator[Captured]:
    with captured() as events:
        yield events


def test_what_a_consumer_tracks_is_delivered_by_the_same_call(events: Captured) -> None:
    @consumer("echo", when="first")
    def echo(event: Event) -> None:
        app.track("second", {"of": event.id})

    seen: list[str] = []
    app = site(consumers=[echo, consumer("seen")(lambda event: seen.append(event.name))])
    app.track("first")
    events.deliver()
    assert sorted(seen) == ["first", "second"]
    assert [event.name for event in events.sent()] == ["first", "second"]


def test_consumers_run_in_the_thread_of_the_test(events: Captured) -> None:
    threads: list[threading.Thread] = []
    app = site(consumers=[consumer("crm")(lambda _: threads.append(threading.current_thread()))])
    app.track("x")
    events.deliver()
    assert threads == [threading.current_thread()]


def test_beside_a_running_loop_they_have_a_thread_without_one(events: Captured) -> None:
    """Django's ORM, for one, refuses to work where a loop runs."""
    loops: list[bool] = []

    def has_loop(_event: Event) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            loops.append(False)
        else:
            loops.append(True)

    async def test() -> None:
        app.track("x")
        events.deliver()

    app = site(consumers=[consumer("crm")(has_loop)])
    asyncio.run(test())
    assert loops == [False]


@pytest.mark.parametrize("kind", ["sync", "async", "on_outcome", "at_send", "pack", "verdict", "when"])
def test_whatever_of_the_owner_raises_is_raised(events: Captured, kind: str) -> None:
    def fail(*_: object) -> Any:
        raise LookupError(kind)

    async def fail_later(_event: Event) -> None:
        await asyncio.sleep(0)
        fail()

    class Mine:
        id = "mine"
        when = staticmethod(fail) if kind == "when" else None

        def handle(self, event: Event) -> Iterator[Send]:
            yield Send(HttpRequest("POST", "https://x.example", at_send=fail if kind == "at_send" else None))

    class Packing(Mine):
        pack = staticmethod(fail)

    class Judging(Mine):
        verdict = staticmethod(fail)

    app = site(
        tools=[{"pack": Packing(), "verdict": Judging()}.get(kind, Mine())],
        consumers={"sync": [consumer("c")(fail)], "async": [consumer("c")(fail_later)]}.get(kind, []),
        on_outcome=fail if kind == "on_outcome" else None,
    )
    app.track("x")
    with pytest.raises(LookupError, match=kind):
        events.deliver()
    assert any("called by eventmw" in note for error in events.errors for note in error.__notes__)


def test_several_are_raised_together() -> None:
    def fail(event: Event) -> None:
        raise LookupError(event.name)

    with pytest.RaisesGroup(LookupError, LookupError), captured() as events:
        app = site(consumers=[consumer("one")(fail), consumer("two")(fail)])
        app.track("x")
        events.deliver()


def test_an_error_that_nobody_saw_is_raised_at_the_end_and_hides_no_other() -> None:
    @tool("door", answers=True)
    def door(event: Event) -> Fetch:
        raise LookupError("no bell")

    with pytest.raises(LookupError, match="no bell"), captured():
        site(tools=[door]).track("x")
    with pytest.raises(AssertionError, match="the test's own"), captured():
        site(tools=[door]).track("x")
        raise AssertionError("the test's own")
    with captured() as events:
        site(tools=[door]).track("x")
        assert len(events.errors) == 1


def test_a_consumer_cannot_deliver(events: Captured) -> None:
    app = site(consumers=[consumer("again")(lambda _: events.deliver())])
    app.track("x")
    with pytest.raises(RuntimeError, match="a consumer cannot call it"):
        events.deliver()


def test_a_test_that_is_interrupted_leaves_nothing() -> None:
    """Ctrl-C while a consumer is at work."""

    async def hang(_event: Event) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        await asyncio.sleep(3600)

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), captured() as events:
        site(consumers=[consumer("hang")(hang)]).track("x")
        events.deliver()
    assert set(threading.enumerate()) == before


def test_an_answer_in_which_the_vendor_refuses(events: Captured) -> None:
    class Picky:
        id = "picky"

        def handle(self, event: Event) -> Iterator[Send]:
            yield Send(HttpRequest("POST", "https://x.example"))

        def verdict(self, reply: HttpReply, items: Sequence[Send]) -> list[Verdict]:
            return [Verdict("dead", reply.body.decode()) if reply.body else DONE for _ in items]

    app = site(tools=[Picky()])
    events.fail("picky", status=200, body="unknown currency", times=1)
    app.track("one")
    events.deliver()
    app.track("two")
    events.deliver()
    assert [(letter.event.name, letter.reason) for letter in events.dead_letters] == [("one", "unknown currency")]
    assert [(outcome.tool, outcome.kind) for outcome in events.outcomes] == [
        ("picky", "rejected"),
        ("picky", "delivered"),
    ]


def test_a_vendor_answers_with_fields_and_json(events: Captured) -> None:
    app = site(tools=[Webhook("https://x.example")])
    events.fail("webhook", status=429, json={"wait": True}, headers={"Retry-After": "100"}, times=1)
    app.track("x")
    events.deliver()
    events.clock.advance(90)
    events.deliver()
    assert len(events.requests("webhook")) == 1
    events.clock.advance(20)
    events.deliver()
    assert len(events.requests("webhook")) == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"error": "nothing"}, "'timeout', 'connection'"),
        ({"times": 0}, "1 or more"),
        ({"json": 1, "body": "x"}, "not with both"),
    ],
)
def test_a_vendor_that_makes_no_sense_is_told(events: Captured, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        events.fail("any", **wrong)


def test_requests_have_the_fields_that_are_made_at_sending(events: Captured) -> None:
    def signed(seconds: int) -> Headers:
        return (("x-at", str(seconds)),)

    app = site(tools=[tool("t")(lambda _: Send(HttpRequest("POST", "https://x.example", at_send=signed)))])
    app.track("x")
    events.clock.advance(5)
    events.deliver()
    [request] = events.requests("t")
    assert request.headers == (("x-at", str(events.clock.now_ms() // 1000)),)
    assert events.sent()[0].requests["t"] == [request]


def test_files_are_not_written(events: Captured, tmp_path: Path) -> None:
    app = site(tools=[File(str(tmp_path / "events.jsonl"))])
    app.track("x")
    assert (
        repr(events.writes("file"))
        == "<file: nothing was written; sent: 'x'; 1 events wait: call deliver() or clock.advance()>"
    )
    events.deliver()
    [write] = events.writes("file")
    assert b'"x"' in write.data
    assert list(tmp_path.iterdir()) == []


def test_settings_stay_and_what_would_leave_the_test_does_not(
    events: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTMW_DRY_RUN", "1")
    outcomes: list[Outcome] = []
    app = site(
        tools=[Webhook("https://x.example")], keys=["0123456789abcdef-key"], batch="atomic", on_outcome=outcomes.append
    )
    body = {"events": [{"client": {}}, {"client": {"__zarazTrack": {}}}]}
    assert Client(app).post("/z", json=body).status_code == 401
    assert Client(app).post("/z", json=body, headers={"x-eventmw-key": "0123456789abcdef-key"}).status_code == 400
    assert [(one.code, one.index, one.reason) for one in events.refused][1:] == [
        ("rejected_events", 0, events.refused[1].reason),
        ("rejected_events", 1, "/events/1/client/__zarazTrack: expected text, got an object"),
    ]
    app.track("x")
    events.deliver()
    assert [outcome.kind for outcome in outcomes] == ["delivered"]
    assert app.config.dry_run is True


def test_the_clock_is_the_tests(events: Captured) -> None:
    own = FrozenClock(86_400_000)
    with captured(clock=own) as inner:
        app = site()
        assert inner.clock is own
        assert app.track("x").recorded_ms == 86_400_000
    assert app.track("x").recorded_ms == events.clock.now_ms()


def test_problems_of_a_configuration_are_told_at_once(events: Captured, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        site(eventbunker_path="/eb", geoip=str(tmp_path / "nothing.mmdb"))


def test_clearing_forgets(events: Captured) -> None:
    app = site(tools=[Webhook("https://x.example")])
    app.track("one")
    events.clear()
    assert repr(events.sent()) == "<no event was sent; nothing was sent>"
    app.track("two")
    events.deliver()
    assert [event.name for event in events.sent()] == ["two"]
    assert len(events.outcomes) == 2


def test_requests_of_many_threads(events: Captured) -> None:
    app = site(tools=[Webhook("https://x.example")])
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: app.track(f"e{number}"), range(100)))
    events.deliver()
    assert len(events.sent()) == 100
    assert {event.outcomes["webhook"].kind for event in events.sent()} == {"delivered"}


def test_a_property_is_compared_as_json_does(events: Captured) -> None:
    site().track("x", {"flag": True, "count": 1, "nothing": None})
    events.assert_sent("x", flag=True, count=1, nothing=None)
    for wrong in ({"flag": 1}, {"count": True}, {"absent": None}):
        with pytest.raises(AssertionError):
            events.assert_sent("x", wrong)


def test_the_nearest_is_the_one_with_the_fewest_differences(events: Captured) -> None:
    app = site()
    for properties in ({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}, {"a": 9}):
        app.track("x", properties)
    with pytest.raises(AssertionError) as failure:
        events.assert_sent("x", a=1, b=3, c=5)
    assert str(failure.value).splitlines()[:3] == [
        "no event 'x' a=1 b=3 c=5 was sent",
        "the nearest is 'x' a=1 b=3 c=4",
        "  c: expected 5, sent 4",
    ]


def test_no_secret_is_in_any_text(events: Captured) -> None:
    app = site(
        tools=[Webhook("https://x.example/hidden-path?token=hidden-token", secret=Secret(SECRET))],
        keys=["hidden-key-of-the-site"],
    )
    app.track("x")
    events.deliver()
    Client(app).post("/z", json={"events": []}, headers={"x-eventmw-key": "hidden-key-of-another"})
    [event] = events.sent()
    texts = (
        events.report(),
        repr(events.requests()),
        repr(event),
        repr(event.requests),
        repr(events.refused),
        repr(event.effects),
    )
    assert not [text for text in texts if "hidden" in text or SECRET[6:] in text]


def test_after_it_a_site_is_as_before(tmp_path: Path) -> None:
    app = site(journal="file", data_dir=str(tmp_path / "real"))
    app.track("real")
    runtime = app.runtime
    with captured() as events:
        assert not is_open(app)
        app.track("captured")
        assert app.runtime is not runtime
    assert app.runtime is runtime
    assert app.stats()["events"] == 1
    assert len(events.sent()) == 1
    app.close()


def test_a_site_that_was_made_in_it_is_real_afterwards(tmp_path: Path) -> None:
    with captured():
        app = site(journal="file", data_dir=str(tmp_path / "real"))
        app.track("captured")
        assert list(tmp_path.iterdir()) == []
    assert not is_open(app)
    assert app.close() is True
    assert list(tmp_path.iterdir()) == []
    assert app.track("real").durability == "journaled"
    assert [path.name for path in tmp_path.iterdir()] == ["real"]
    app.close()


def test_a_misspelt_attribute_of_a_site_is_an_error() -> None:
    with pytest.raises(AttributeError, match="'EventsMiddleware' object has no attribute 'nothing'"):
        _ = site().nothing
