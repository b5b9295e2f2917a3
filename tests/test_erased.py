"""An event whose person was erased: what stands in its place, how it ends, and what commands show of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventmw import EventsMiddleware, tool
from eventmw import record as records
from eventmw.cli.dead import _row
from eventmw.cli.tail import _show
from eventmw.control.operations import Operations
from eventmw.effects import Send
from eventmw.event import Event, Record
from eventmw.http import HttpRequest
from eventmw.journal import Commit, DeadLetter, Key
from eventmw.record import ERASED
from eventmw.testing import NOW_MS, RecordingTransport, deliver, freeze, record
from tests.calls import ask_wsgi

BODY = b'{"events":[{"client":{"__zarazTrack":"a"}},{"client":0},{"client":{"__zarazTrack":"b"}}]}'


@tool("crm")
def crm(event: Event) -> Iterator[Send]:
    yield Send(HttpRequest("POST", "https://crm.example/", (), event.name.encode()))


@tool("picky", when="b")
def picky(event: Event) -> Iterator[Send]:
    yield Send(HttpRequest("POST", "https://picky.example/", (), event.name.encode()))


def no_site(environ: Any, start_response: Any) -> list[bytes]:
    raise AssertionError("nothing is asked of the site")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Any]:
    app = EventsMiddleware(no_site, path="/e", tools=[crm, picky], journal="memory", data_dir=str(tmp_path))
    freeze(app)
    yield app
    app.close(0.0)


def keep(app: Any, body: bytes = BODY, events: int = 3) -> bytes:
    written = records.encode(
        Record(id="a" * 32, recorded_ms=NOW_MS, dialect="zaraz", credential="anonymous", body=body)
    )
    app.runtime.journal.append(written, events=events, recorded_ms=NOW_MS, stamp=1).result(1)
    return written


@pytest.mark.parametrize("event", [{"client": 0}, {"client": 0, "system": {}}, {"client": False}])
def test_the_door_accepts_nothing_that_could_be_taken_for_it(app: Any, event: Any) -> None:
    status, _, body = ask_wsgi(app, "POST", "/e", json.dumps({"events": [event]}).encode())
    assert status == 400, body


def test_an_erased_event_is_a_marker_and_its_neighbours_are_what_they_were(app: Any) -> None:
    first, second, third = app.runtime.engine.events(keep(app))
    assert second is ERASED
    assert (first.name, first.id, third.name, third.id) == ("a", "a" * 32 + "-0", "b", "a" * 32 + "-2")
    single = app.runtime.engine.single(keep(app), 1)
    assert list(app.runtime.engine.events(single)) == [ERASED], "what is parked of it stays erased"
    assert repr(ERASED) == "<Erased.ERASED: 'erased'>"


def test_it_ends_as_erased_at_every_tool_and_is_sent_to_none(app: Any) -> None:
    transport: RecordingTransport = record(app)
    keep(app)
    deliver(app)
    assert sorted(request.body for request in transport.requests) == [b"a", b"b", b"b"]
    tools = app.stats()["tools"]
    assert tools["crm"]["outcomes"] == {"delivered": 2, "erased": 1}
    assert tools["picky"]["outcomes"] == {"delivered": 1, "filtered": 1, "erased": 1}
    assert tools["crm"]["dead"] == tools["crm"]["backlog_events"] == 0


def test_two_that_were_erased_do_not_repeat_each_other_when_they_are_recalled(app: Any) -> None:
    keep(app, b'{"events":[{"client":0},{"client":0}]}', 2)
    deliver(app)
    app.runtime.courier.stop(1.0)
    keep(app, b'{"events":[{"client":0}]}', 1)
    app.runtime.courier.start()
    deliver(app)
    assert app.stats()["tools"]["crm"]["outcomes"] == {"erased": 3}


def test_tail_shows_that_there_was_one_and_nothing_else(app: Any, capsys: pytest.CaptureFixture[str]) -> None:
    keep(app)
    shown = [item["event"] for item in Operations(app.runtime)({"op": "tail", "last": 9}) if "event" in item]
    assert [event.get("name") for event in shown] == ["a", None, "b"]
    assert shown[1] == {"erased": True, "recorded": "2021-06-28T20:07:54.832Z"}
    _show(shown[1])
    assert capsys.readouterr().out == "2021-06-28T20:07:54.832Z  (erased)\n"
    for_tool = [
        item["event"] for item in Operations(app.runtime)({"op": "tail", "last": 9, "tool": "picky"}) if "event" in item
    ]
    assert [event.get("name") for event in for_tool] == [None, "b"]


def test_a_dead_letter_that_was_erased_is_listed_as_one(app: Any) -> None:
    keep(app)
    journal = app.runtime.journal
    (entry,) = journal.scan()
    lease = journal.lead()
    for ordinal, body in ((0, b'{"events":[{"client":0}]}'), (2, b"damaged")):
        copy = records.encode(
            Record(id="a" * 32, recorded_ms=NOW_MS, dialect="zaraz", credential="anonymous", body=body)
        )
        letter = DeadLetter("crm", Key(entry.position, ordinal), copy, "rejected", "no", 1, NOW_MS)
        lease.commit("crm", Commit(dead=[letter]))
    lease.close()
    erased, damaged = Operations(app.runtime)({"op": "dead_list"})
    assert (erased["event"], erased["erased"]) == (None, True)
    assert (damaged["event"], damaged["erased"]) == (None, False)
    assert erased["id"] == f"{entry.position.stream}-{entry.position.seq}-0"
    assert _row(erased)[4] == "(erased)"
    assert _row(damaged)[4] == "(cannot be read)"
