"""Tracking from outside a site that runs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from eventmw import JournalDown, JournalFull, Tracker
from eventmw.control.inspection import look_into
from eventmw.control.server import ControlServer
from eventmw.control.sockets import folder_of, found, is_answered
from eventmw.errors import InvalidEvent
from tests.running import serving, until


def test_an_event_goes_through_the_running_site(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("first")
        site.live()
        with Tracker(tmp_path) as tracker:
            receipt = tracker.track(
                "renewed",
                {"value": 9.5, "big": 10**30, "name": "Zoë"},
                ecommerce=True,
                system={"page": {"url": "https://shop.example/"}},
                id="renewal-1",
                timestamp=datetime(2026, 5, 1, 12, tzinfo=UTC),
            )
        assert receipt.event_id == "renewal-1"
        assert receipt.durability == "journaled"
        assert receipt.warnings == ()
        event = next(iter(look_into(tmp_path).tail(last=1)))
        assert event is not None
        assert event["id"] == "renewal-1"
        assert event["kind"] == "ecommerce"
        assert event["timestamp"] == "2026-05-01T12:00:00.000Z"
        assert event["page"] == {"url": "https://shop.example/"}
        assert event["properties"]["big"] == 10**30
        assert event["properties"]["name"] == "Zoë"


def test_it_does_not_block_an_event_loop(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("first")
        site.live()

        async def both() -> list[str]:
            tracker = Tracker(tmp_path)
            receipts = await asyncio.gather(tracker.atrack("a", id="a"), tracker.atrack("b", id="b"))
            return [receipt.event_id for receipt in receipts]

        assert asyncio.run(both()) == ["a", "b"]


def test_an_invalid_event_is_told_where_it_is_tracked(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("first")
        site.live()
        with pytest.raises(InvalidEvent, match="/events/0/eventmw/id: expected text of at most 128 characters"):
            Tracker(tmp_path).track("x", id="x" * 129)
        assert Tracker(tmp_path).track("x", system={"device": {"resolution": "big"}}).warnings


@pytest.mark.parametrize("properties", [5, "text", [1]])
def test_properties_that_are_no_mapping_are_told(tmp_path: Path, properties: Any) -> None:
    with pytest.raises(
        InvalidEvent, match=f"the properties of 'x' must be a mapping .*, got {type(properties).__name__}"
    ):
        Tracker(tmp_path).track("x", properties=properties)


def test_nobody_is_live(tmp_path: Path) -> None:
    with pytest.raises(JournalDown, match=f"{tmp_path} has no events: no site") as caught:
        Tracker(tmp_path).track("x")
    assert "--data-dir" not in str(caught.value), "that is an option of the commands"


def test_without_a_site_it_goes_into_the_journal_and_is_delivered_later(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("first")
        site.live()
    with Tracker(tmp_path) as tracker:
        receipts = [tracker.track("renewed", {"n": number}, id=f"renewal-{number}") for number in range(3)]
        with pytest.raises(InvalidEvent, match="/events/0/eventmw/id"):
            tracker.track("x", id="x" * 129)
        assert [receipt.durability for receipt in receipts] == ["journaled"] * 3
        assert len([*(tmp_path / "w").iterdir()]) <= 2, "one stream for all events of a tracker"
    assert not [*(tmp_path / "members").iterdir()]
    with serving(tmp_path) as site:
        site.post("after")
        until(lambda: site.tool("crm")["outcomes"].get("delivered") == 5)
        names = [event["id"] for event in look_into(tmp_path).tail(last=9) if event is not None]
        assert [name for name in names if name.startswith("renewal")] == ["renewal-0", "renewal-1", "renewal-2"]


def test_a_tracker_finds_the_site_when_it_is_there_again(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("first")
        site.live()
    with Tracker(tmp_path) as tracker:
        tracker.track("alone")
        with serving(tmp_path, journal="memory") as site:
            site.post("first")
            site.live()
            until(lambda: tracker.track("together").durability == "memory")


def test_the_data_directory_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTMW_DATA_DIR", str(tmp_path / "there"))
    with pytest.raises(JournalDown, match="there"):
        Tracker().track("x")


def test_a_closed_tracker_sends_nothing(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    tracker.close()
    with pytest.raises(JournalDown, match="closed"):
        tracker.track("x")


def full(_request: object) -> list[object]:
    raise JournalFull("no room")


def taken(_request: object) -> list[object]:
    return [{"id": "1", "event_id": "1-0", "recorded_ms": 5, "durability": "memory", "warnings": ["hm"]}]


def answering(data_dir: Path) -> int:
    return sum(map(is_answered, found(folder_of(data_dir))))


def test_a_process_without_room_is_passed_over_for_another(tmp_path: Path) -> None:
    servers = [ControlServer(tmp_path, full), ControlServer(tmp_path, taken)]
    for number, server in enumerate(servers, 1):
        server.start()
        until(lambda: answering(tmp_path) >= number)  # noqa: B023 - it is called before the next turn
    for _ in range(20):  # which one is asked first is left to chance
        assert Tracker(tmp_path).track("x").warnings == ("hm",)
    servers[1].close()
    until(lambda: len(found(folder_of(tmp_path))) == 1)
    with pytest.raises(JournalFull, match="no room"):
        Tracker(tmp_path).track("x")
    servers[0].close()


def test_importing_it_stays_light() -> None:
    heavy = "asyncio", "jsonschema", "msgspec", "werkzeug", "starlette", "aiohttp", "click", "rich"
    code = f"import sys, eventmw; eventmw.Tracker('x'); print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
