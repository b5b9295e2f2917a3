"""Events from the site's own code: from anywhere, with a request, whose they are, into a project's archive."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import eventmw
from eventmw import EventsMiddleware, InvalidEvent, JournalDown, NoSite, Receipt, Tracker
from eventmw.control.sockets import folder_of, found
from eventmw.event import Event
from eventmw.intake.context import SECRET_COOKIES
from eventmw.payload import TrackOptions
from eventmw.site import Site, sites
from tests.calls import ask_asgi, ask_wsgi
from tests.running import until
from tests.visitors import PEER, environ_of, scope_of

ROOT = Path(__file__).parent.parent
Make = Callable[..., Any]


def hello(_environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Other tests of this process may still hold sites of theirs."""
    gc.collect()
    others = list(sites)
    for other in others:
        sites.discard(other)
    yield
    sites.update(others)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Site] = []

    def make(app: Any = hello, **options: Any) -> Any:
        given = {"path": "/z", "journal": "memory", "data_dir": tmp_path / f"data-{len(made)}", **options}
        made.append(EventsMiddleware(app, **given))
        return made[-1]

    yield make
    for site in made:
        site.close(0)


def events_of(site: Site) -> list[Event]:
    entries = site.runtime.journal.scan(None, 100)
    return [
        event for entry in entries for event in site.runtime.engine.events(entry.record) if isinstance(event, Event)
    ]


def names_of(site: Site) -> list[str]:
    return [event.name for event in events_of(site)]


# Which site


def test_the_only_site_is_found(make: Make) -> None:
    site = make()
    assert eventmw.track("sync", {"n": 1}).durability == "memory"
    assert asyncio.run(eventmw.atrack("async")).durability == "memory"
    assert names_of(site) == ["sync", "async"]


def test_without_a_site_the_error_says_what_to_do() -> None:
    with pytest.raises(
        NoSite, match=r"add_middleware.*import the module that wraps the site first, or use eventmw\.Tracker"
    ):
        eventmw.track("x")
    with pytest.raises(NoSite):
        asyncio.run(eventmw.atrack("x"))


def test_a_site_that_is_closed_or_dropped_is_none(make: Make, tmp_path: Path) -> None:
    make().close(0)
    EventsMiddleware(hello, path="/z", journal="memory", data_dir=tmp_path / "dropped")
    site = make()
    assert eventmw.track("x")
    assert names_of(site) == ["x"]


def test_with_several_sites_the_one_whose_request_is_handled(make: Make) -> None:
    def view(_environ: Any, start_response: Any) -> list[bytes]:
        eventmw.track("seen")
        return hello({}, start_response)

    async def aview(request: Any) -> PlainTextResponse:
        await eventmw.atrack("seen", request=request)
        return PlainTextResponse("hello")

    first, second = make(view), make(Starlette(routes=[Route("/", aview)]), path="/y")
    assert ask_wsgi(first, "GET", "/").status == 200
    assert ask_asgi(second, "GET", "/").status == 200
    assert (names_of(first), names_of(second)) == (["seen"], ["seen"])
    with pytest.raises(NoSite, match=r"has 2 wrapped sites \(/y, /z\).*eventmw\.track\(…, site=app\)"):
        eventmw.track("x")
    eventmw.track("given", site=first)
    assert names_of(first) == ["seen", "given"]


def test_sites_that_share_a_journal_are_one(make: Make, tmp_path: Path) -> None:
    """As in a project that wraps its ASGI and its WSGI application, or a notebook cell that is run again."""
    shared = {"journal": "file", "data_dir": tmp_path / "shared"}
    make(**shared)
    second = make(**shared)
    eventmw.track("x")
    assert names_of(second) == ["x"]


def test_add_middleware_is_found_from_its_first_request_on(tmp_path: Path) -> None:
    async def view(request: Request) -> str:
        return (await eventmw.atrack("seen", request=request)).event_id

    def threaded(request: Request) -> str:
        return eventmw.track("seen", request=request).event_id

    app = FastAPI()
    app.add_middleware(EventsMiddleware, path="/z", journal="memory", data_dir=tmp_path)
    app.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: call_next(request))
    app.get("/")(view)
    app.get("/threaded")(threaded)
    with pytest.raises(NoSite, match="at its first request or the start of its lifespan"):
        eventmw.track("too early")
    for path in ("/", "/threaded"):
        assert ask_asgi(app, "GET", path, client=(PEER, 1)).status == 200
    [site] = sites
    seen = [(event.name, event.device.ip, event.page.url) for event in events_of(site)]
    assert seen == [("seen", PEER, f"http://site.example{path}") for path in ("/", "/threaded")]
    site.close(0)


# What it says


@pytest.mark.parametrize("request_of", [scope_of, environ_of])
def test_a_request_fills_in_what_is_known_of_the_person(make: Make, request_of: Any) -> None:
    site = make(trusted_proxies=1)
    eventmw.track("x", request=request_of(), system={"page": {"title": "Shoes"}, "device": {"language": "de"}})
    [event] = events_of(site)
    assert (event.device.ip, event.device.language, event.device.user_agent) == ("198.51.100.1", "de", "Mozilla/5.0")
    assert (event.page.title, event.page.referrer) == ("Shoes", "https://search.example/?q=shoes")
    assert event.page.url == "https://www.shop.example/shop/caf%C3%A9%20x?id=7&b=%20"
    assert event.cookies == {"_ga": "GA1.2.3", "city": "Zürich"}
    assert event.system["device"]["client-hints"]["model"] == '"Pixel 9"'


@pytest.mark.parametrize(("user_id", "seen"), [("u-1", "u-1"), (17, "17"), (None, None)])
def test_whose_event_it_is(make: Make, user_id: Any, seen: str | None) -> None:
    site = make()
    eventmw.track("x", {"value": 1}, user_id=user_id)
    assert events_of(site)[0].user_id == seen


def test_two_users_in_one_event_are_refused(make: Make) -> None:
    make()
    same: list[Any] = ["17", 17, None, ""]
    other: list[Any] = ["u-2", True]
    for given in same:
        eventmw.track("x", {"user_id": given}, user_id=17)
    for given in other:
        with pytest.raises(InvalidEvent, match="has two users") as caught:
            eventmw.track("x", {"user_id": given}, user_id="u-1")
        assert "u-" not in str(caught.value)


def test_an_option_that_is_not_there(make: Make) -> None:
    site = make()
    tracks: list[Any] = [eventmw.track, site.track]
    for track in tracks:
        with pytest.raises(
            TypeError, match=r"track\(\) got an unexpected keyword argument 'user'; there are .*user_id"
        ):
            track("x", user="u-1")
    with pytest.raises(TypeError, match="request must be a request of Django"):
        eventmw.track("x", request=object())


def test_the_receipt_says_that_an_event_came_before(make: Make) -> None:
    make()
    receipts = [eventmw.track("x", id=ident) for ident in ("a", "b", "a")]
    assert [receipt.duplicate for receipt in receipts] == [False, False, True]
    assert not eventmw.track("x").duplicate


@pytest.mark.parametrize(("courier", "by"), [("thread", "site"), ("off", "worker")])
def test_the_receipt_says_what_will_deliver(make: Make, courier: str, by: str) -> None:
    make(courier=courier, journal="file")
    assert eventmw.track("x").delivered_by == by


def test_a_tracker_beside_no_site_says_that_nobody_delivers_now(make: Make, tmp_path: Path) -> None:
    make(journal="file", data_dir=tmp_path / "d").track("x")
    for site in list(sites):
        site.close(5)
    until(lambda: not found(folder_of(tmp_path / "d")))
    with Tracker(tmp_path / "d") as tracker:
        assert tracker.track("x").delivered_by == "nobody"
        with pytest.raises(JournalDown, match="project= needs a running site"):
            tracker.track("x", project="shop")


SCRIPT = """
from eventmw import EventsMiddleware
from eventmw.tools import File
app = EventsMiddleware(lambda e, s: [], path="/z", tools=[File("out.jsonl")])
app.track("a", id="one")
{end}
"""


@pytest.mark.parametrize(
    ("end", "delivered", "words"),
    [("app.close()", 1, ""), ("", 0, "this process ends before its events are delivered: 1 for file")],
)
def test_a_script_delivers_before_it_ends_or_says_what_it_leaves(
    tmp_path: Path, end: str, delivered: int, words: str
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(end=end)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    out = tmp_path / "out.jsonl"
    lines = out.read_text().splitlines() if out.exists() else []
    if words and lines:  # the machine was quick: then there is nothing to say
        assert not ran.stderr
        return
    assert len(lines) == delivered
    assert (words in ran.stderr) if words else not ran.stderr


# Into a project


@pytest.fixture
def shop(make: Make) -> Any:
    site = make(journal="file", eventbunker_path="/eb")
    store = site.runtime.stores.key_store
    account = store.account()
    site.project, _ = store.create_project(account, "shop")
    for _ in range(2):
        store.create_project(account, "twice")
    return site


def test_an_event_for_a_project_goes_through_the_track_api(shop: Any) -> None:
    for project in ("shop", shop.project.id):
        receipt = eventmw.track(
            "signup",
            {"plan": "pro", "price": 9},
            project=project,
            user_id=17,
            timestamp=datetime(2026, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))),
            request=scope_of(),
            system={"device": {"user-agent": "Mine/1"}},
        )
        assert (len(receipt.event_id), receipt.durability) == (32, "journaled")
    event = events_of(shop)[0]
    assert (event.dialect, event.name, event.user_id) == ("eventbunker", "signup", "17")
    assert (event.properties["plan"], event.properties["price"], event.properties["_ip"]) == ("pro", 9, PEER)
    assert event.timestamp_ms == int(datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp() * 1000)
    assert (event.device.user_agent, event.page.url) == (
        "Mine/1",
        "http://shop.example/shop/caf%C3%A9%20x?id=7&b=%20",
    )
    assert event.properties["_referrer_host"] == "search.example"
    assert (event.properties["_device"], event.device.language) == ("Pixel 9", "fr-CH")


def test_a_projects_events_can_be_asked(shop: Any) -> None:
    eventmw.track("signup", {"price": 9}, project="shop", id="s-1")
    assert eventmw.track("signup", {"price": 9}, project="shop", id="s-1").duplicate
    assert asyncio.run(eventmw.atrack("signup", {"price": 1}, project="shop")).durability == "journaled"
    assert shop.close(30)
    from tests.archiving import rows

    kept = rows(shop.runtime.archive)
    assert sorted((row["event_name"], row["project_id"]) for row in kept) == [("signup", shop.project.id)] * 2


@pytest.mark.parametrize(
    ("properties", "options", "words"),
    [
        ({"a": {"b": {"c": 1}}}, {"project": "shop"}, "/a/b: expected"),
        ({"unique_req_id": "x"}, {"project": "shop"}, "/unique_req_id"),
        ({}, {"project": "shopp"}, "there is no project 'shopp'; there are: shop, twice"),
        ({}, {"project": "twice"}, "several projects are named 'twice'; give the id"),
        ({}, {"project": "shop", "ecommerce": True}, "has no ecommerce"),
        ({"customer_identifier": "b"}, {"project": "shop", "user_id": "a"}, "has two users"),
        ({}, {"project": "shop", "timestamp": 10**30}, "timestamp"),
        ([1], {"project": "shop"}, "must be a mapping"),
    ],
)
def test_what_a_project_does_not_take(shop: Any, properties: Any, options: Any, words: str) -> None:
    with pytest.raises(InvalidEvent, match=words):
        eventmw.track("signup", properties, **options)
    assert events_of(shop) == []


def test_a_project_needs_the_track_api(make: Make) -> None:
    make()
    with pytest.raises(InvalidEvent, match="project= needs a site with eventbunker_path"):
        eventmw.track("x", project="shop")


def test_a_tracker_reaches_a_project_through_the_running_site(shop: Any) -> None:
    shop.track("first")
    shop.runtime.show()
    with Tracker(shop.runtime.config.data_dir) as tracker:
        receipt = tracker.track("renewed", {"price": 9}, project="shop", user_id="u-1", id="r-1", request=environ_of())
        assert isinstance(receipt, Receipt)
        assert receipt.delivered_by == "site"
        assert tracker.track("renewed", {"price": 9}, project="shop", id="r-1").duplicate
        with pytest.raises(InvalidEvent, match="there is no project 'none'"):
            tracker.track("renewed", project="none")
        with pytest.raises(InvalidEvent, match="/_ip"):
            tracker.track("renewed", {"_ip": "x"}, project="shop")
    event = events_of(shop)[1]
    assert (event.user_id, event.device.user_agent, event.device.ip) == ("u-1", "Mozilla/5.0", None)


def test_every_parameter_cookie_and_attribute_is_documented() -> None:
    named = set(re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "tracking.md").read_text()))
    assert set(TrackOptions.__annotations__) <= named
    assert {field.name for field in dataclasses.fields(Receipt)} <= named
    assert {name.lower() for name in named} >= SECRET_COOKIES
