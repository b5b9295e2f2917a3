"""Console: a line for each event, and no way to forge one."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from eventmw.contract import bind
from eventmw.effects import Send, Write
from eventmw.event import Event
from eventmw.tools import Console


def printed(tool: Console, *events: Event) -> str:
    bound = bind(tool)
    sends = [effect for event in events for effect in bound.handle(event) if isinstance(effect, Send)]
    (packed,) = bound.pack(sends)
    assert isinstance(packed.request, Write)
    assert packed.request.path == "-"
    assert list(packed.items) == sends
    assert [send.size for send in sends] == [len(send.payload) for send in sends]
    return packed.request.data.decode()


def event(name: str = "transaction successful", ident: str = "e1", **properties: object) -> Event:
    return Event(id=ident, name=name, timestamp_ms=1624910874832, recorded_ms=1624910874832, properties=properties)


def test_a_line_for_people() -> None:
    line = '2021-06-28T20:07:54.832Z event "transaction successful" "e1" {"value":"200"}\n'
    assert printed(Console(), event(value="200")) == line


def test_json_lines() -> None:
    lines = printed(Console(json=True), event(value="200"), event("second")).splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["transaction successful", "second"]


@given(st.text(), st.text(min_size=1), st.dictionaries(st.text(), st.text()), st.booleans())
@example('x\n2021-06-28T20:07:54.832Z event "paid"', "i\r", {"\x1b[2J": "\u2028\u202e\x9b"}, False)
def test_nothing_in_an_event_makes_a_second_line_or_moves_the_cursor(
    name: str, ident: str, properties: Any, as_json: bool
) -> None:
    text = printed(Console(json=as_json), event(name, ident, extra=properties))
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    assert all(unicodedata.category(char) not in {"Cc", "Zl", "Zp"} for char in text[:-1])


def test_nothing_to_write_is_no_order() -> None:
    assert list(bind(Console()).pack([])) == []
