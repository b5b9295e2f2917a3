"""``/v1/delete`` beside what goes on: another worker leads, events come while it works, and nothing in flight is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eventmw import Event, EventsMiddleware, Send, tool
from eventmw.archive.store import Archive
from eventmw.eventbunker.delete import DeleteCall, Erasing
from eventmw.testing import with_keys
from tests.archiving import rows
from tests.calls import Answer, ask_wsgi
from tests.eventbunker import BASE, DELETE, ELSEWHERE, HEADER, KEYS, POST, WRITE
from tests.running import until

PATH = f"{BASE}/v1/delete"
ZOE = b"zoe-4711"
Open = Callable[..., "Worker"]


@tool("broken")
def broken(event: Event) -> Send:
    """Make a dead letter of each event."""
    raise ValueError(event.id)


def no_site(environ: Any, start_response: Any) -> Any:
    raise AssertionError("not ours")


@dataclass(frozen=True)
class Worker:
    app: Any
    folder: Path

    def ask(self, path: str, header: str, key: str, body: object) -> Answer:
        return ask_wsgi(self.app, "POST", path, json.dumps(body).encode(), [(header, key)])

    def track(self, name: str, key: str = WRITE) -> None:
        body = {"event_name": name, "customer_identifier": ZOE.decode()}
        assert self.ask(POST, HEADER, key, body).status == 200

    def delete(self, body: object) -> Any:
        answer = self.ask(PATH, "x-eventbunker-delete-key", DELETE, body)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)["deleted"]

    @property
    def archive(self) -> Archive:
        archive: Archive = self.app.runtime.stores.archive
        return archive

    def rows(self) -> list[str]:
        """Return the names of the archive's events of all projects, sorted."""
        self.archive.open()
        return sorted(row["event_name"] for row in rows(self.archive))

    def recorded(self) -> list[str]:
        """Return the names of the events that the journal can still give anybody."""
        runtime = self.app.runtime
        found = [event for entry in runtime.journal.scan() for event in runtime.engine.events(entry.record)]
        return sorted(event.name for event in found if isinstance(event, Event))


@pytest.fixture(params=["sqlite", "postgresql"])
def archive(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else str(request.getfixturevalue("postgres"))


@pytest.fixture
def opened(tmp_path: Path, archive: str | None) -> Iterator[Open]:
    """Give what opens the same site once more, as one more worker would."""
    with ExitStack() as stack:

        def one() -> Worker:
            folder = tmp_path / "data"
            options: dict[str, Any] = {"archive": archive, "journal": "file", "tools": [broken]}
            app = EventsMiddleware(no_site, path="/z", eventbunker_path=BASE, data_dir=str(folder), **options)
            with_keys(app, KEYS)
            stack.callback(app.close, 0.0)
            return Worker(app, folder)

        yield one


def test_a_worker_that_does_not_lead_deletes_what_all_of_them_hold(opened: Open) -> None:
    leader, other = opened(), opened()
    leader.track("of.the.leader")
    until(lambda: leader.app.stats()["tools"]["broken"]["dead"] == 1)
    other.track("of.the.other")
    other.track("theirs", ELSEWHERE)
    until(lambda: len(leader.rows()) == 3)
    until(lambda: leader.app.stats()["tools"]["broken"]["dead"] == 3)
    body = {"customer_identifier": ZOE.decode()}
    deleted = other.delete(body)
    assert deleted == {"archive": 2, "journal": 2, "parked": 0, "dead_letters": 2}
    assert other.delete(body) == dict.fromkeys(deleted, 0)
    assert leader.delete(body) == dict.fromkeys(deleted, 0)
    assert leader.rows() == leader.recorded() == ["theirs"]


@dataclass(frozen=True)
class Then:
    """A real journal; something happens as soon as it has erased."""

    journal: Erasing
    happens: Callable[[], None]

    def erase(self, meant: Mapping[str, Any], /) -> Mapping[str, int]:
        erased = self.journal.erase(meant)
        self.happens()
        return erased


@pytest.mark.parametrize(
    "body",
    [
        {"everything": True},
        {"customer_identifier": ZOE.decode()},
        {"event_name": "buy"},
        {"time_period": {"from": "2021-01-01", "to": "2100-01-01"}},
    ],
)
def test_an_event_that_comes_between_journal_and_archive_is_new_in_both(opened: Open, body: object) -> None:
    worker = opened()
    worker.track("buy")
    until(lambda: worker.rows() == ["buy"])
    until(lambda: worker.app.stats()["tools"]["broken"]["dead"] == 1)
    now_ms = worker.app.runtime.clock.now_ms

    def comes() -> None:
        begun = now_ms()
        until(lambda: now_ms() > begun)
        worker.track("buy")
        until(lambda: "buy" in worker.recorded())

    call = DeleteCall(Then(worker.app.runtime.journal, comes), worker.archive, now_ms)
    answer = json.loads(call.answer(KEYS[DELETE], json.dumps(body).encode()).body)
    assert answer["deleted"] == {"archive": 1, "journal": 1, "parked": 0, "dead_letters": 1}
    until(lambda: worker.rows() == ["buy"])
    assert worker.recorded() == ["buy"]
    assert worker.archive.names("p1") == ["buy"]


def _is_past(worker: Worker, moment_ms: int) -> bool:
    now_ms: int = worker.app.runtime.clock.now_ms()
    return now_ms > moment_ms


@pytest.mark.parametrize("body", [{"event_name": "buy"}, {"time_period": {"from": "2021-01-01"}}])
def test_what_waits_for_the_archive_never_becomes_a_row(opened: Open, body: object) -> None:
    """Whatever of it the filler holds in memory at that moment."""
    worker = opened()
    for _ in range(5):
        for _ in range(20):
            worker.track("buy")
        until(partial(_is_past, worker, worker.app.runtime.clock.now_ms()))
        assert worker.delete(body)["journal"] == 20
    worker.track("last")
    until(lambda: "last" in worker.rows())
    assert worker.rows() == worker.recorded() == ["last"]


def test_no_file_holds_the_value_afterwards(opened: Open, archive: str | None) -> None:
    worker = opened()
    worker.track("buy")
    until(lambda: worker.rows() == ["buy"])

    def holding() -> list[str]:
        files = [path for path in worker.folder.rglob("*") if path.is_file()]
        return [path.name for path in files if ZOE in path.read_bytes()]

    assert holding() != []
    worker.delete({"customer_identifier": ZOE.decode()})
    assert holding() == []
    assert archive is not None or list(worker.folder.rglob("archive.sqlite3")) != [], "SQLite's file was looked at"
