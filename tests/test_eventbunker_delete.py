"""``/v1/delete``: through both gateways, over journal, parked events, dead letters and archive, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from eventmw import Delivery, Event, HttpRequest, Send, asgi, consumer, tool, wsgi
from eventmw.errors import JournalDown
from eventmw.keys import Key
from eventmw.testing import FixedKeys, with_keys
from tests.calls import Answer, ask_asgi, ask_wsgi
from tests.eventbunker import ANN, BASE, DELETE, ELSEWHERE, HEADER, KEYS, POST, QUERY, WRITE
from tests.running import run, until

PATH = f"{BASE}/v1/delete"
HEADERS = {"write": HEADER, "query": "x-eventbunker-query-key", "delete": "x-eventbunker-delete-key"}
OF_ZOE, QUERY_ELSEWHERE = "eb_delete_zoe", "eb_query_elsewhere"
ALL_KEYS = {
    **KEYS,
    OF_ZOE: Key(id="k7", kind="delete", account_id="a", project_id="p1", customer="zoe"),
    QUERY_ELSEWHERE: Key(id="k8", kind="query", account_id="a", project_id="p2"),
}
Site = asgi.EventsMiddleware | wsgi.EventsMiddleware


@tool("broken")
def broken(event: Event) -> Send:
    """Make a dead letter of each event."""
    raise ValueError(event.id)


@consumer("away", delivery=Delivery(first_backoff_s=0.05, max_backoff_s=0.1))
def away(event: Event) -> None:
    """Have each purchase parked; what passes beside it shows that not all fails."""
    if event.name == "buy":
        raise OSError(event.id)


@tool("vendor")
def vendor(event: Event) -> Send:
    """Want each event sent to nobody, so that the tool stands still."""
    return Send(HttpRequest("POST", "http://127.0.0.1:9/", body=event.id.encode()))


async def _bare_asgi(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("not ours")


def _bare_wsgi(*_: Any) -> Any:
    raise AssertionError("not ours")


class Asked:
    """One site, and what is asked of it."""

    def __init__(self, gateway: str, folder: Path, archive: str | None, journal: str = "file") -> None:
        options: dict[str, Any] = {
            "path": "/z", "eventbunker_path": BASE, "data_dir": str(folder), "archive": archive, "journal": journal,
            "tools": [broken, vendor], "consumers": [away],
        }  # fmt: skip
        self.folder = folder
        self._asks: Callable[..., Answer] = ask_asgi if gateway == "asgi" else ask_wsgi
        self.app: Site = (
            asgi.EventsMiddleware(_bare_asgi, **options)
            if gateway == "asgi"
            else wsgi.EventsMiddleware(_bare_wsgi, **options)
        )
        self.keys: FixedKeys = with_keys(self.app, ALL_KEYS)

    def ask(self, path: str, kind: str, key: str, body: object) -> Answer:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._asks(self.app, "POST", path, text, [(HEADERS[kind], key)])

    def track(self, body: object, key: str = WRITE) -> None:
        assert self.ask(POST, "write", key, body).status == 200

    def rows(self, key: str = QUERY) -> list[str]:
        """Return the names of the events that the archive holds of a key's project, sorted."""
        question = {"time_period": {"from": "2021-01-01"}}
        answer = self.ask(f"{BASE}/v1/query/json", "query", key, question)
        assert answer.status == 200, answer.body
        return sorted(row["event_name"] for row in json.loads(answer.body)["rows"])

    def delete(self, body: object, key: str = DELETE) -> dict[str, int]:
        answer = self.ask(PATH, "delete", key, body)
        assert answer.status == 200, answer.body
        given = json.loads(answer.body)
        assert list(given) == ["project_id", "deleted"]
        assert given["project_id"] == "p1"
        deleted: dict[str, int] = given["deleted"]
        assert list(deleted) == ["archive", "journal", "parked", "dead_letters"]
        return deleted

    def state(self) -> Mapping[str, Any]:
        tools: Mapping[str, Any] = self.app.stats()["tools"]
        return tools

    def fill(self) -> None:
        """Have four of zoe's events, one of bob and one of another project everywhere: rows, dead letters, parked."""
        self.track({"event_name": "buy", "customer_identifier": "zoe-4711", "timestamp": "2021-06-26T14:48:00.000"})
        self.track(
            [{"event_name": "look", "customer_identifier": "zoe-4711"}, {"event_name": "look", "mail": "bob-0815"}]
        )
        self.track(
            [
                {"event_name": "a", "customer_identifier": "zoe-4711"},
                {"event_name": "b", "customer_identifier": "zoe-4711"},
            ]
        )
        self.track({"event_name": "theirs", "customer_identifier": "zoe-4711"}, ELSEWHERE)
        until(lambda: self.rows() == ["a", "b", "buy", "look", "look"])
        until(lambda: self.rows(QUERY_ELSEWHERE) == ["theirs"])
        until(lambda: self.state()["broken"]["dead"] == 6)
        until(lambda: self.state()["away"]["parked"] == 1)

    def bytes_of(self, value: bytes) -> list[str]:
        return [path.name for path in self.folder.rglob("*") if path.is_file() and value in path.read_bytes()]


@pytest.fixture(params=["asgi", "wsgi"])
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Make = Callable[..., Asked]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Give what makes a site; it is closed at the end."""
    with ExitStack() as stack:

        def made(gateway: str = "wsgi", archive: str | None = None, journal: str = "file") -> Asked:
            asked = Asked(gateway, tmp_path / "data", archive, journal)
            stack.callback(asked.app.close, 0.0)
            return asked

        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def asked(request: pytest.FixtureRequest, gateway: str, make: Make) -> Asked:
    return make(gateway, None if request.param == "sqlite" else str(request.getfixturevalue("postgres")))


def test_a_customer_is_deleted_everywhere_but_in_other_projects(asked: Asked) -> None:
    asked.fill()
    deleted = asked.delete({"customer_identifier": "zoe-4711"})
    assert deleted == {"archive": 4, "journal": 3, "parked": 1, "dead_letters": 4}
    assert asked.rows() == ["look"]
    assert asked.rows(QUERY_ELSEWHERE) == ["theirs"]
    assert asked.delete({"customer_identifier": "zoe-4711"}) == dict.fromkeys(deleted, 0)
    assert asked.ask(PATH, "delete", DELETE, {"everything": True}).status == 200
    assert asked.bytes_of(b"bob-0815") == []


def test_no_replay_and_no_restart_brings_it_back(asked: Asked) -> None:
    asked.fill()
    asked.delete({"everything": True})
    for one in ("archive", "broken"):
        assert run("replay", "--data-dir", str(asked.folder), "--tool", one, "--since", "1h").code == 0
    until(lambda: asked.state()["archive"]["backlog_events"] == asked.state()["broken"]["backlog_events"] == 0)
    assert asked.state()["broken"]["dead"] == 1, "of the other project"
    assert asked.rows() == []
    assert asked.rows(QUERY_ELSEWHERE) == ["theirs"]
    asked.track({"event_name": "new", "customer_identifier": "zoe-4711"})
    until(lambda: asked.rows() == ["new"])


def test_nothing_of_a_person_is_in_the_files(gateway: str, make: Make) -> None:
    asked = make(gateway)
    asked.fill()
    assert asked.bytes_of(b"zoe-4711") != []
    asked.delete({"customer_identifier": "zoe-4711"})
    asked.ask(PATH, "delete", DELETE, {"everything": True})
    shown = [json.loads(line) for line in run("export", "--data-dir", str(asked.folder)).lines]
    assert [event["name"] for event in shown] == ["theirs"], "which is of another project"


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"event_name": "look"}, ["a", "b", "buy"]),
        ({"event_name": "look", "customer_identifier": "zoe-4711"}, ["a", "b", "buy", "look"]),
        ({"time_period": {"from": "2021-06-26T14:48:00", "to": "2021-06-26T14:48:01"}}, ["a", "b", "look", "look"]),
        ({"time_period": {"from": "2021-06-26T16:48:00", "to": "2021-06-26T16:48:01"}, "time_zone": "Europe/Berlin"},
         ["a", "b", "look", "look"]),
        ({"time_period": "minus_5_minutes"}, ["buy"]),
        ({"customer_identifier": "zoe"}, ["a", "b", "buy", "look", "look"]),
        ({"everything": True}, []),
    ],
)  # fmt: skip
def test_what_meets_all_that_is_given_goes(make: Make, body: object, left: list[str]) -> None:
    asked = make("wsgi")
    asked.fill()
    deleted = asked.delete(body)
    assert deleted["archive"] == deleted["dead_letters"] == 5 - len(left)
    assert deleted["parked"] == ("buy" not in left)
    assert asked.rows() == left


def test_a_bound_key_deletes_its_customers_alone(make: Make) -> None:
    asked = make("wsgi")
    asked.track(
        [{"event_name": "hers", "customer_identifier": "zoe"}, {"event_name": "anns", "customer_identifier": "ann"}]
    )
    asked.track({"event_name": "anns"}, ANN)
    until(lambda: len(asked.rows()) == 3)
    assert asked.delete({"everything": True}, OF_ZOE)["archive"] == 1
    assert asked.rows() == ["anns", "anns"]
    refused = asked.ask(PATH, "delete", OF_ZOE, {"customer_identifier": "ann"})
    assert (refused.status, json.loads(refused.body)["details"]) == (
        400,
        [{
            "path": "/customer_identifier",
            "code": "const",
            "message": "expected the customer that the key is bound to, got another text",
        }],
    )  # fmt: skip


@pytest.mark.parametrize("journal", ["file", "memory"])
def test_a_journal_of_either_kind(make: Make, journal: str) -> None:
    asked = make("wsgi", None, journal)
    asked.fill()
    assert asked.delete({"event_name": "buy"}) == {"archive": 1, "journal": 1, "parked": 1, "dead_letters": 1}
    assert asked.rows() == ["a", "b", "look", "look"]


@pytest.mark.parametrize(
    ("body", "path", "code", "message"),
    [
        (b"{", "", "invalid_json", "Expected a name in double quotes at line 1, column 2."),
        ([], "", "type", "expected an object that says which events are to go, got an array"),
        ({}, "", "required",
         "expected at least one of customer_identifier, event_name, time_period, or everything: true, got none"),
        ({"time_zone": "UTC"}, "", "required",
         "expected at least one of customer_identifier, event_name, time_period, or everything: true, got none"),
        ({"everything": False}, "/everything", "const", "expected true, got a boolean"),
        ({"everything": True, "event_name": "x"}, "/everything", "not_wanted",
         "expected everything alone, got it beside event_name"),
        ({"customer_identifier": 7}, "/customer_identifier", "type", "expected text, got a number"),
        ({"event_name": "a b"}, "/event_name", "pattern",
         "expected a name of 1 to 256 letters, digits, `.`, `_` and `-`, got other text"),
        ({"customer": "zoe"}, "/customer", "unknown_key",
         "expected one of the keys customer_identifier, event_name, time_period, time_zone, everything, got another key"),
        ({"time_period": "for ever"}, "/time_period", "pattern",
         "expected a period such as minus_5_minutes, today or last_month, or an object with from and to, got other text"),
        ({"time_period": {"from": 5, "to": 5}}, "/time_period/to", "empty_period",
         "expected a time after the one at from, got one that is not"),
        ({"event_name": "x", "time_period": "today", "time_zone": "Mars"}, "/time_zone", "unknown_zone",
         "expected the IANA name of a time zone, got other text"),
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused_with_its_place(make: Make, body: object, path: str, code: str, message: str) -> None:
    asked = make("wsgi", None, "memory")
    refused = asked.ask(PATH, "delete", DELETE, body)
    assert refused.status == 400
    assert json.loads(refused.body) == {
        "error": "Body JSON validation failed.",
        "details": [{"path": path, "code": code, "message": message}],
    }


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("eb_delete_unknown", "Invalid x-eventbunker-delete-key"),
        (WRITE, "Please use a delete key for delete requests. Invalid x-eventbunker-delete-key"),
        (QUERY, "Please use a delete key for delete requests. Invalid x-eventbunker-delete-key"),
    ],
)
def test_another_key_is_refused(gateway: str, make: Make, key: str, message: str) -> None:
    asked = make(gateway, None, "memory")
    refused = asked.ask(PATH, "delete", key, {"everything": True})
    assert (refused.status, json.loads(refused.body)["error"]) == (401, message)


def test_while_something_cannot_be_deleted_the_answer_is_503(gateway: str, make: Make) -> None:
    away = "postgresql+psycopg://nobody:s3cret@127.0.0.1:1/none"
    asked = make(gateway, away)
    refused = asked.ask(PATH, "delete", DELETE, {"everything": True})
    assert (refused.status, dict(refused.headers)["retry-after"]) == (503, "5")
    assert [one["code"] for one in json.loads(refused.body)["details"]] == ["archive_down"]
    assert b"s3cret" not in refused.body


def test_a_journal_that_cannot_be_changed_leaves_the_archive_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = make("wsgi", None, "memory")
    asked.track({"event_name": "kept"})
    until(lambda: asked.rows() == ["kept"])

    def down(_: object) -> Mapping[str, int]:
        raise JournalDown("a process hangs")

    monkeypatch.setattr(asked.app.runtime.journal, "erase", down)
    refused = asked.ask(PATH, "delete", DELETE, {"everything": True})
    assert (refused.status, json.loads(refused.body)["details"][0]["code"]) == (503, "journal_down")
    assert asked.rows() == ["kept"]
