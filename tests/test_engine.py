"""The engine: one Outcome for each event and tool, whatever the tool does, and the same events every time."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw import record as records
from eventmw.contract import FunctionTool, bind
from eventmw.effects import Drop, Effect, Execute, Fetch, Return, Send, SetCookie
from eventmw.engine import MAX_EFFECTS, Engine
from eventmw.event import Event, Record
from eventmw.http import HttpRequest
from eventmw.outcome import OUTCOME_KINDS
from eventmw.protocols.zaraz import Judge, Options, Zaraz
from eventmw.results import EMPTY
from eventmw.testing import an_event
from tests import strategies as own

ZARAZ = Zaraz(Judge(max_events=1000, max_depth=32, strict=False), Options())


class Awkward:
    def __str__(self) -> str:
        raise RuntimeError("no words for it")


REQUEST = HttpRequest("POST", "https://x.example")


def raising(_event: Event) -> Any:
    raise RuntimeError


def raising_late(_event: Event) -> Any:
    yield Send(REQUEST)
    raise RecursionError


def flooding(_event: Event) -> Any:
    while True:
        yield Send(REQUEST)


WANTED: dict[str, tuple[Any, str | None]] = {
    "raises": (raising, "tool_error"),
    "raises late": (raising_late, "tool_error"),
    "floods": (flooding, "tool_error"),
    "text": (lambda _: "rubbish", "tool_error"),
    "number": (lambda _: 5, "tool_error"),
    "list of rubbish": (lambda _: [Send(REQUEST), None], "tool_error"),
    "a class": (lambda _: [Send], "tool_error"),
    "endless rubbish": (lambda _: iter(int, 1), "tool_error"),
    "awkward drop": (lambda _: Drop(Awkward()), "tool_error"),  # type: ignore[arg-type]  # what a careless owner may write
    "nothing": (lambda _: None, "filtered"),
    "empty": (lambda _: [], "filtered"),
    "drop": (lambda _: Drop("not mine"), "dropped"),
    "drop of a number": (lambda _: Drop(5), "dropped"),  # type: ignore[arg-type]  # as above
    "drop and answer": (lambda _: [Execute("x()"), Drop("not mine")], "dropped"),
    "answer": (lambda _: [Fetch("https://x"), Return(1), SetCookie("a", "b")], "answered"),
    "send": (lambda _: Send(REQUEST), None),
    "send and drop": (lambda _: [Drop("x"), Send(REQUEST)], None),
    "as many as may be": (lambda _: [Send(REQUEST)] * MAX_EFFECTS, None),
    "one more": (lambda _: [Send(REQUEST)] * (MAX_EFFECTS + 1), "tool_error"),
}
WHENS: dict[str, tuple[Any, bool]] = {
    "all": (None, True),
    "name": ("test", True),
    "other name": ("other", False),
    "names": (["a", "test"], True),
    "no names": ([], False),
    "true": (lambda _: True, True),
    "false": (lambda _: False, False),
}


@pytest.mark.parametrize("want", WANTED)
@pytest.mark.parametrize("when", WHENS)
def test_every_pair_ends_in_sends_or_in_one_outcome(want: str, when: str) -> None:
    function, kind = WANTED[want]
    condition, matches = WHENS[when]
    tool = bind(FunctionTool("odd", function, when=condition, answers=True))
    dispatch = Engine([tool], []).dispatch(tool, an_event(id="e-1"))
    assert dispatch.outcome == (kind if matches else "filtered")
    assert bool(dispatch.sends) == (dispatch.outcome is None)
    assert dispatch.outcome is None or dispatch.outcome in OUTCOME_KINDS
    assert isinstance(dispatch.reason, str)
    assert len(dispatch.reason) <= 200
    assert all(send.event_id == "e-1" for send in dispatch.sends)


@pytest.mark.parametrize(("wanted", "words"), [
    (Fetch("https://x"), "handle returned a list whose item 1 is Fetch, but the tool does not have answers = True"),
    (Send({"a": 1}), "handle returned a list whose item 1 is Send(dict), but the tool has no pack()"),
    ("rubbish", "handle returned a list whose item 1 is str where an effect was expected"),
])  # fmt: skip
def test_a_tool_that_is_written_wrong_is_told_how(wanted: Any, words: str) -> None:
    tool = bind(FunctionTool("odd", lambda _: [wanted]))
    dispatch = Engine([tool], []).dispatch(tool, an_event())
    assert dispatch.outcome == "tool_error"
    assert dispatch.reason.startswith(words)


def test_a_tool_that_raises_is_told_where() -> None:
    tool = bind(FunctionTool("odd", raising))
    reason = Engine([tool], []).dispatch(tool, an_event()).reason
    assert re.fullmatch(r"handle raised RuntimeError \(test_engine\.py:[0-9]+ in raising: raise RuntimeError\)", reason)


def test_a_tool_that_ends_the_process_at_the_door_adds_nothing() -> None:
    def leaving(_event: Event) -> Any:
        raise SystemExit

    tools = [
        bind(FunctionTool("odd", leaving, answers=True)),
        bind(FunctionTool("good", lambda _: Return(1), answers=True)),
    ]
    assert json.loads(Engine(tools, []).answer(an_event(), lambda: False))["return"] == {"good": 1}


@pytest.mark.parametrize("condition", [raising, lambda _: Awkward().__str__()])
def test_a_condition_that_raises_is_the_tools_error(condition: Any) -> None:
    tool = bind(FunctionTool("odd", lambda _: Send(REQUEST), when=condition))
    engine = Engine([tool], [])
    assert engine.dispatch(tool, an_event()).outcome == "tool_error"
    assert engine.decisions(an_event()) == {"odd": "tool_error"}


RUBBISH = st.sampled_from([None, 5, "x", b"x", object(), Send, Awkward(), {"a": 1}])
EFFECTS: st.SearchStrategy[Effect] = st.sampled_from(
    [
        Send(REQUEST),
        Drop("y"),
        Fetch("https://x"),
        Fetch("http://["),
        Execute("x()"),
        Return(1),
        Return(object()),
        SetCookie("a", "b"),
    ]
)


@given(st.lists(EFFECTS | RUBBISH, max_size=5))
def test_any_mixture_ends_in_one_outcome(wanted: list[Any]) -> None:
    tool = bind(FunctionTool("odd", lambda _: wanted, answers=True))
    dispatch = Engine([tool], []).dispatch(tool, an_event())
    good = all(isinstance(effect, Effect) for effect in wanted)
    assert bool(dispatch.sends) == (dispatch.outcome is None)
    assert (dispatch.outcome == "tool_error") == (not good)


@given(st.lists(st.lists(EFFECTS | RUBBISH, max_size=4), max_size=4))
def test_a_tool_changes_no_other_tools_result(wanted: list[list[Any]]) -> None:
    def tool(number: int) -> Any:
        return bind(FunctionTool(f"t{number}", lambda _: wanted[number], answers=True))

    tools = [tool(number) for number in range(len(wanted))]
    together = json.loads(Engine(tools, []).answer(an_event(), lambda: False))
    alone = [json.loads(Engine([tool], []).answer(an_event(), lambda: False)) for tool in tools]
    assert together["fetch"] == [fetch for result in alone for fetch in result["fetch"]]
    assert together["execute"] == [code for result in alone for code in result["execute"]]
    assert together["return"] == {ident: value for result in alone for ident, value in result["return"].items()}
    assert together["cookies"] == {name: cookie for result in alone for name, cookie in result["cookies"].items()}


def test_past_the_budget_the_remaining_tools_are_passed_over() -> None:
    asked: list[str] = []

    def asking(ident: str) -> Any:
        def function(_event: Event) -> Return:
            asked.append(ident)
            return Return(1)

        return bind(FunctionTool(ident, function, answers=True))

    answer = Engine([asking("a"), asking("b")], []).answer(an_event(), lambda: bool(asked))
    assert (asked, json.loads(answer)["return"]) == (["a"], {"a": 1})
    assert Engine([asking("c")], []).answer(an_event(), lambda: True) == EMPTY


def test_only_answering_tools_run_at_the_door() -> None:
    engine = Engine(
        [
            bind(FunctionTool("quiet", lambda _: Return(1))),
            bind(FunctionTool("loud", lambda _: Return(2), answers=True)),
        ],
        [],
    )
    assert json.loads(engine.answer(an_event(), lambda: False))["return"] == {"loud": 2}


def test_a_failure_is_logged_without_what_was_in_it(caplog: pytest.LogCaptureFixture) -> None:
    def leaking(event: Event) -> Any:
        raise ValueError(event.properties["card"])

    tool = bind(FunctionTool("leaky", leaking, answers=True))
    engine = Engine([tool], [])
    event = an_event("x", {"card": "4111111111111111"})
    engine.answer(event, lambda: False)
    assert "4111" not in engine.dispatch(tool, event).reason
    assert "leaky" in caplog.text
    assert "ValueError" in caplog.text
    assert "4111" not in caplog.text


def record(events: list[Any], indexes: tuple[int, ...] | None = None) -> bytes:
    body = json.dumps({"events": events}).encode()
    return records.encode(
        Record(id="a" * 32, recorded_ms=5, dialect="zaraz", credential="shop", indexes=indexes, body=body)
    )


@given(own.GOOD_BATCHES, st.booleans())
def test_an_event_is_a_function_of_its_record(events: list[Any], some_were_refused: bool) -> None:
    engine = Engine([], [ZARAZ])
    indexes = tuple(range(3, 3 + len(events))) if some_were_refused else None
    whole = record(events, indexes)
    made = list(engine.events(whole))
    assert made == list(engine.events(whole))
    assert len(made) == len(events)
    for ordinal, event in enumerate(made):
        assert isinstance(event, Event)
        ident = events[ordinal].get("eventmw", {}).get("id")
        if ident is not None and not isinstance(ident, str):
            ident = msgspec.json.encode(ident).decode()
        assert event.id == (ident or f"{'a' * 32}-{ordinal + (3 if some_were_refused else 0)}")
        single = engine.single(whole, ordinal)
        assert list(engine.events(single)) == [event], "what is parked gives the same event"
        assert engine.single(single, 0) == single
    assert engine.credential(whole) == "shop"


def test_a_record_of_an_unknown_dialect_is_unreadable() -> None:
    with pytest.raises(records.UnreadableRecord, match="no dialect named zaraz"):
        list(Engine([], []).events(record([])))
