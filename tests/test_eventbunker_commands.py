"""Tracked events in the commands: what is shown, erased and replayed of them, with a journal on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eventmw import Drop, tool, wsgi
from eventmw.event import Event
from eventmw.testing import deliver, with_keys
from tests.calls import ask_wsgi
from tests.eventbunker import ANN, BASE, HEADER, KEYS, POST, WRITE
from tests.running import run

_AGENT = "curl/8.5.0"


def site(folder: Path, got: list[Event]) -> wsgi.EventsMiddleware:
    @tool("crm")
    def crm(event: Event) -> Drop:
        got.append(event)
        return Drop("kept")

    app = wsgi.EventsMiddleware(lambda *_: [], eventbunker_path=BASE, tools=[crm], journal="file", data_dir=str(folder))
    with_keys(app, KEYS)
    return app


def track(app: wsgi.EventsMiddleware, body: Any, key: str = WRITE) -> Any:
    answer = ask_wsgi(app, "POST", POST, json.dumps(body).encode(), [(HEADER, key), ("user-agent", _AGENT)])
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def filled(folder: Path) -> None:
    """Fill a journal: one event of nobody, three of ann, and one of bob in a request with one of hers."""
    got: list[Event] = []
    app = site(folder, got)
    track(app, {"event_name": "nobodys"})
    track(app, {"event_name": "of-the-key", "price": 5}, ANN)
    track(app, {"event_name": "said", "customer_identifier": "ann"})
    track(app, [{"event_name": "anns", "user_id": "ann"}, {"event_name": "bobs", "user_id": "bob"}])
    deliver(app)
    assert app.close()
    assert [event.name for event in got] == ["nobodys", "of-the-key", "said", "anns", "bobs"]


def test_they_are_shown_where_no_site_runs(tmp_path: Path) -> None:
    filled(tmp_path)
    tailed = run("tail", "--data-dir", str(tmp_path))
    assert len(tailed.lines) == 5
    exported = [json.loads(line) for line in run("export", "--data-dir", str(tmp_path)).lines]
    assert [event["name"] for event in exported] == ["nobodys", "of-the-key", "said", "anns", "bobs"]
    assert [event["user_id"] for event in exported] == [None, "ann", "ann", None, None]
    assert exported[1]["properties"] == {"price": 5, "_ip": "192.0.2.1", "_browser": "curl", "_browser_version": "8.5"}
    assert {event["dialect"] for event in exported} == {"eventbunker"}


def test_a_person_is_erased(tmp_path: Path) -> None:
    """By what the event says, by what its key says, and by the other fields; nothing of the request's sender stays."""
    filled(tmp_path)
    dry = run("erase", "ann", "--dry-run", "--data-dir", str(tmp_path))
    assert dry.out == "There are 3 events in 3 records, 0 parked events, 0 dead letters, 3 rows of the archive.\n"
    erased = run("erase", "ann", "--yes", "--json", "--data-dir", str(tmp_path)).json
    assert (erased["records"], erased["rows"]) == (3, 3)
    assert "Nothing is there of them" in run("erase", "ann", "--yes", "--data-dir", str(tmp_path)).out
    left = [json.loads(line) for line in run("export", "--data-dir", str(tmp_path)).lines]
    assert [event.get("name") for event in left] == ["nobodys", "bobs"]
    assert left[-1]["properties"] == {"user_id": "bob"}, "the address was of whoever sent both"
    # The name of an event, «anns», names nobody, and counts among the project's names.
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"ann" in path.read_bytes().replace(b"anns", b"")]


def test_they_are_replayed_and_the_erased_are_not(tmp_path: Path) -> None:
    filled(tmp_path)
    run("erase", "ann", "--yes", "--data-dir", str(tmp_path))
    assert run("replay", "--tool", "crm", "--yes", "--no-wait", "--data-dir", str(tmp_path)).code == 0
    got: list[Event] = []
    app = site(tmp_path, got)
    deliver(app)
    assert app.close()
    assert [(event.name, event.user_id) for event in got] == [("nobodys", None), ("bobs", None)]


def test_a_setting_that_is_gone_does_not_lose_what_waits(tmp_path: Path) -> None:
    """Events are read with every configuration: the journal outlives the setting."""
    filled(tmp_path)
    run("replay", "--tool", "crm", "--yes", "--no-wait", "--data-dir", str(tmp_path))
    got: list[Event] = []

    @tool("crm")
    def crm(event: Event) -> Drop:
        got.append(event)
        return Drop("kept")

    app = wsgi.EventsMiddleware(lambda *_: [], tools=[crm], journal="file", data_dir=str(tmp_path))
    deliver(app)
    assert app.close()
    assert len(got) == 5
