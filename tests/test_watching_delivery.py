"""Deliveries, watched: real couriers behind both gateways, and what is said and counted of each thing they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventmw import Delivery, HttpRequest, Send, consumer, tool
from eventmw.delivery.outbound import Outbound
from eventmw.delivery.transport import TransportError
from eventmw.errors import JournalDown
from eventmw.event import Event
from eventmw.journal import Commit, Key, Parked
from eventmw.journal.memory import MemoryJournal
from eventmw.testing import RecordingTransport, deliver, record
from eventmw.tools import File
from eventmw.watching.delivery import WatchedDelivery
from eventmw.watching.eventlog import EventLog
from eventmw.watching.tally import Tally
from eventmw.watching.watch import Watch
from tests.delivering import Batching, StandingClock, append
from tests.eventlog import captured, everything, fields
from tests.gateways import Pair, both
from tests.running import until
from tests.test_watching_requests import counted, watched

SECRET = "do-not-tell"


@tool("hook", when=lambda event: event.name != "other")
def hook(event: Any) -> Send:
    request = HttpRequest(
        "POST", f"https://me:{SECRET}@vendor.example/{SECRET}?k={SECRET}", (("x", SECRET),), SECRET.encode()
    )
    return Send(request)


@tool("broken")
def broken(_: Any) -> Send:
    raise KeyError(SECRET)


def delivered(pair: Pair, *names: str, ecommerce: bool = False) -> list[Any]:
    """Send one event of each name through both gateways, wait for the couriers, and return what was said."""
    client = {"__zarazEcommerce": True} if ecommerce else {}
    with captured() as records:
        pair.post({"events": [{"client": {"__zarazTrack": name, "value": SECRET, **client}} for name in names]})
        for site in pair.sites:
            deliver(site)
    assert SECRET not in everything(records)
    return records


def answering(pair: Pair, answer: Callable[[], Any]) -> None:
    for site in pair.sites:
        record(site, RecordingTransport(lambda _: answer()))


def test_what_a_delivery_says() -> None:
    with watched(tools=[hook]) as pair:
        records = delivered(pair, "x", "other")
        assert counted(pair)["deliveries", "hook", "200"] == 1
        ids = [
            event.id
            for site in pair.sites
            for event in site.runtime.engine.events(site.runtime.journal.scan()[0].record)
            if isinstance(event, Event) and event.name == "x"
        ]
    handed = fields(records, "action_triggered")
    assert [(line["tool"], line["sends"], line["level"]) for line in handed] == [("hook", 1, "DEBUG")] * 2
    assert sorted(line["event_id"] for line in handed) == sorted(ids)
    (sent, _) = fields(records, "client_request")
    assert sent.pop("duration_ms") >= 0
    assert sent == {
        "level": "INFO",
        "event_type": "client_request",
        "tool": "hook",
        "kind": "http",
        "host": "vendor.example",
        "method": "POST",
        "status": 200,
        "sends": 1,
        "attempt": 1,
    }
    outcomes = [line["outcomes"] for line in fields(records, "outcomes")]
    assert sum(line.get("delivered", 0) for line in outcomes) == 2
    assert sum(line.get("filtered", 0) for line in outcomes) == 2


def test_an_ecommerce_event_has_its_own_type() -> None:
    with watched(tools=[hook]) as pair:
        records = delivered(pair, "purchase", ecommerce=True)
    assert fields(records, "action_triggered") == []
    assert len(fields(records, "ecommerce_triggered")) == 2


def test_a_batch_is_one_request() -> None:
    with watched(tools=[Batching(per_request=3)]) as pair:
        records = delivered(pair, *(f"n{number}" for number in range(5)))
        assert counted(pair)["deliveries", "batching", "200"] == 2
    assert sorted(line["sends"] for line in fields(records, "client_request")) == [2, 2, 3, 3]


def has_failed(site: Any) -> bool:
    lane = site.stats()["tools"]["hook"]["lane"]
    return lane is not None and lane["attempts"] > 0


@pytest.mark.parametrize(
    ("answer", "label", "words"),
    [
        (503, "503", None),
        (TransportError("no connection: vendor.example"), "error", "no connection: vendor.example"),
        (RuntimeError(SECRET), "error", "RuntimeError"),
    ],
)
def test_a_vendor_that_fails_and_comes_back(answer: Any, label: str, words: str | None) -> None:
    with watched(tools=[hook]) as pair:
        for site in pair.sites:
            record(site, RecordingTransport([answer]))
        with captured() as records:
            pair.post({"events": [{"client": {"__zarazTrack": "x"}}]})
            for site in pair.sites:
                until(lambda site=site: has_failed(site))  # type: ignore[misc]
            pair.advance(3600)
            for site in pair.sites:
                site.runtime.courier.wake()
                deliver(site)
        numbers = counted(pair)
        assert (numbers["deliveries", "hook", label], numbers["deliveries", "hook", "200"]) == (1, 1)
    assert SECRET not in everything(records)
    said = fields(records, "client_request")
    assert sorted((line["attempt"], line["level"]) for line in said) == [(1, "WARNING")] * 2 + [(2, "INFO")] * 2
    assert {line.get("error") for line in said if line["level"] == "WARNING"} == {words}


def test_a_tool_that_raises_is_a_component_error_with_an_event() -> None:
    with watched(tools=[broken]) as pair:
        records = delivered(pair, "a", "b")
        ids = {letter.key.ordinal for letter in pair.behind_wsgi.runtime.journal.dead_letters()}
        assert ids == {0, 1}
        assert counted(pair)["component_errors", "broken", "delivery"] == 2
    said = fields(records, "component_error")
    assert sum(line["count"] for line in said) in {2, 4}  # the second event may be committed by itself, and soon after
    assert said[0]["where"] == "delivery"
    assert said[0]["event_id"].endswith("-0")
    assert said[0]["reason"].startswith("handle raised KeyError (test_watching_delivery.py:")
    assert {line["level"] for line in fields(records, "outcomes")} == {"WARNING"}


def test_an_answer_that_the_tool_cannot_judge_is_one_too() -> None:
    with watched(tools=[Batching()]) as pair:
        answering(pair, lambda: 207)
        records = delivered(pair, "x")
    (said, _) = fields(records, "component_error")
    assert said["reason"].startswith("verdict raised")


def test_files_and_functions_have_no_host(tmp_path: Path) -> None:
    @consumer("crm", delivery=Delivery(first_backoff_s=0.01))
    def crm(_: Any) -> None:
        """Take it."""

    path = tmp_path / f"{SECRET}.jsonl"
    with both(tools=[File(path)], consumers=[crm], logs="logging") as pair:
        for site in pair.sites:
            site.runtime.transport = Outbound
        records = delivered(pair, "x")
    assert len(path.read_text().splitlines()) == 2
    said = [
        {name: line.get(name) for name in ("tool", "kind", "host", "status")}
        for line in fields(records, "client_request")
    ]
    assert sorted(said, key=str)[::2] == [
        {"tool": "crm", "kind": "function", "host": None, "status": None},
        {"tool": "file", "kind": "file", "host": None, "status": None},
    ]


def test_the_lag_is_the_age_of_what_was_taken_up() -> None:
    clock, tally, journal = StandingClock(), Tally(), MemoryJournal()
    journal.register(["a"])
    inner = journal.lead()
    assert inner is not None
    lease = WatchedDelivery(Watch(None, tally), clock).lease(inner)
    append(journal, ["x", "y"], recorded_ms=clock.now_ms() - 5000)
    assert [reading.entry.events for reading in lease.read("a", 10)] == [2]
    assert tally.as_json()["gauges"] == [[["courier_lag", "a"], 5.0]]
    assert lease.read("a", 10) == []
    assert tally.as_json()["gauges"] == [[["courier_lag", "a"], 0.0]]


def test_a_watched_lease_is_the_lease() -> None:
    """Everything that is not told of goes straight through, and what fails is not told of."""
    journal = MemoryJournal()
    journal.register(["a"])
    inner = journal.lead()
    assert inner is not None
    tally = Tally()
    lease = WatchedDelivery(Watch(EventLog(), tally), StandingClock()).lease(inner)
    append(journal, ["x"])
    (reading,) = lease.read("a", 1)
    key = Key(reading.entry.position, 0)
    lease.commit("a", Commit(park=[Parked(key, b"x", 1, 5, "HTTP 500")]))
    assert (lease.next_due_ms("a"), [parked.key for parked in lease.due("a", 5, 1)]) == (5, [key])
    assert lease.dirty("a") is False
    journal.seek("a", to="end")
    assert lease.dirty("a") is True
    lease.sync()
    assert lease.lost() is False
    lease.close()
    assert lease.lost() is True
    with captured() as records, pytest.raises(JournalDown):
        lease.commit("a", Commit(unpark=[key], counts={("delivered", ""): 1}))
    assert records == []
