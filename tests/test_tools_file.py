"""File: JSON Lines, many in one append."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.contract import bind
from eventmw.effects import Send, Write
from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.tools import File

PROPERTIES = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()))


def event(ident: str, properties: object = None) -> Event:
    return Event(id=ident, name="n", timestamp_ms=1, recorded_ms=2, properties=properties or {}, cookies={"sid": "s"})  # type: ignore[arg-type]


def written(tool: File, events: list[Event]) -> Write:
    bound = bind(tool)
    sends = [effect for one in events for effect in bound.handle(one) if isinstance(effect, Send)]
    (packed,) = bound.pack(sends)
    assert list(packed.items) == sends
    assert isinstance(packed.request, Write)
    return packed.request


@given(st.lists(PROPERTIES, min_size=1, max_size=20))
def test_each_event_is_a_line_and_all_are_one_append(contents: list[Any]) -> None:
    order = written(File("events.jsonl"), [event(f"e{at}", one) for at, one in enumerate(contents)])
    assert order.path == "events.jsonl"
    assert order.data.endswith(b"\n")
    lines = [json.loads(line) for line in order.data.split(b"\n")[:-1]]
    assert [line["properties"] for line in lines] == contents
    assert [line["id"] for line in lines] == [f"e{at}" for at in range(len(contents))]


def test_cookies_are_written_only_when_asked_for() -> None:
    assert b"cookies" not in written(File("x"), [event("e")]).data
    assert json.loads(written(File("x", cookies=True), [event("e")]).data)["cookies"] == {"sid": "s"}


def test_a_path_object_is_a_path(tmp_path: Path) -> None:
    assert written(File(tmp_path / "a.jsonl"), [event("e")]).path == str(tmp_path / "a.jsonl")


@pytest.mark.parametrize("path", ["", "-", "folder/", "a\0b"])
def test_what_names_no_file_is_told_at_the_start(path: str) -> None:
    with pytest.raises(ConfigError, match="must name a file"):
        File(path)


def test_order_is_kept() -> None:
    assert bind(File("x")).delivery.ordered
    assert list(bind(File("x")).pack([])) == []
