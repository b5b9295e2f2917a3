"""The Tool contract: what is a tool, its defaults, `@tool` and `@consumer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.contract import Delivery, Tool, bind, consumer, matcher, pack_singly, tool, verdict_by_status
from eventmw.effects import DONE, Call, Drop, Effect, Packed, Send, Verdict
from eventmw.errors import ConfigError
from eventmw.event import Event
from eventmw.http import HttpReply, HttpRequest
from eventmw.testing import an_event, effects_of

ORDERED = Delivery(ordered=True)


class Segment:
    def handle(self, event: Event) -> list[Effect]:
        return [Send(HttpRequest("GET", f"https://x.example/{event.name}"))]


def test_a_class_with_handle_is_a_tool_with_good_defaults() -> None:
    bound = bind(Segment())
    assert isinstance(Segment(), Tool)
    assert (bound.id, bound.answers, bound.matches, bound.delivery) == ("segment", False, None, Delivery())
    assert (bound.pack, bound.verdict) == (pack_singly, verdict_by_status)
    assert effects_of(Segment(), an_event("buy")) == [Send(HttpRequest("GET", "https://x.example/buy"))]


def test_every_optional_part_is_taken() -> None:
    @dataclass(frozen=True)
    class Full:
        id: str = "full-2"
        answers: bool = True
        when: Any = "buy"
        delivery: Delivery = ORDERED

        def handle(self, _event: Event) -> list[Effect]:
            return []

        def pack(self, _items: Any) -> list[Packed]:
            return []

        def verdict(self, _reply: Any, items: Any) -> list[Verdict]:
            return [DONE] * len(items)

    full = Full()
    bound = bind(full)
    assert (bound.id, bound.answers, bound.delivery.ordered) == ("full-2", True, True)
    assert (bound.pack, bound.verdict) == (full.pack, full.verdict)
    assert bound.matches is not None
    assert bound.matches(an_event("buy"))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"id": "Has Blanks"}, "id must be"),
        ({"id": "x" * 65}, "id must be"),
        ({"id": "-x"}, "id must be"),
        ({"id": "a\n"}, "id must be"),
        ({"id": 5}, "id must be"),
        ({"delivery": {"ordered": True}}, "delivery must be an eventmw.contract.Delivery, not dict"),
        ({"pack": "x"}, "pack must be a method"),
        ({"verdict": 5}, "verdict must be a method"),
        ({"when": 5}, "when must be"),
        ({"when": [1]}, "when must be"),
        ({"when": iter(["a"])}, "when must be"),
        ({"handle": None}, "has no handle"),
    ],
)
def test_what_is_wrong_with_a_tool_is_said_at_the_start(attributes: dict[str, Any], words: str) -> None:
    odd = Segment()
    for name, value in attributes.items():
        setattr(odd, name, value)
    with pytest.raises(ConfigError, match=words):
        bind(odd)


def test_all_problems_of_a_tool_are_said_at_once() -> None:
    odd: Any = Segment()
    odd.id, odd.when, odd.pack = "?", 5, 5
    with pytest.raises(ConfigError) as caught:
        bind(odd)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("value", [Segment, object(), "ga4", None, lambda event: None])
def test_what_is_no_tool(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"write Segment\(…\)|has no handle"):
        bind(value)


NAMES = st.sampled_from(["", "a", "b", "buy"])


@given(NAMES, st.lists(NAMES), st.sampled_from([list, tuple, set, frozenset, dict.fromkeys]))
def test_when_is_a_name_or_names_or_a_predicate(name: str, names: list[str], kind: Any) -> None:
    event = an_event(name)
    one, several, asked = matcher("buy"), matcher(kind(names)), matcher(lambda event: event.name < "b")
    assert one is not None
    assert several is not None
    assert asked is not None
    assert (one(event), several(event), asked(event)) == (name == "buy", name in names, name < "b")
    assert matcher(None) is None


REQUEST = HttpRequest("POST", "https://x.example")


def test_the_default_pack_sends_each_request_by_itself() -> None:
    items = [Send(REQUEST), Send(HttpRequest("GET", "https://y.example"))]
    assert list(pack_singly(items)) == [Packed(item.payload, (item,)) for item in items]
    with pytest.raises(TypeError, match=r"Send\(dict\), but the tool has no pack\(\)"):
        list(pack_singly([Send({})]))


@given(st.integers(100, 599), st.integers(0, 5))
def test_the_default_verdict_judges_by_the_status(status: int, n: int) -> None:
    verdicts = verdict_by_status(HttpReply(status), [Send(REQUEST)] * n)
    again = status in {401, 403, 408, 425, 429} or status >= 500
    kind = "done" if 200 <= status < 300 else "retry" if again else "refused"
    assert [verdict.kind for verdict in verdicts] == [kind] * n


def test_retry_after_is_passed_on() -> None:
    (verdict,) = verdict_by_status(HttpReply(429, {"retry-after": "7"}), [Send(REQUEST)])
    assert (verdict.after_s, verdict.reason) == (7.0, "HTTP 429")


def test_a_function_becomes_a_tool() -> None:
    @tool("slack", when="buy", answers=True, delivery=Delivery(window=1))
    def slack(event: Event) -> Any:
        return {"buy": Send(REQUEST), "nothing": None, "several": [Send(REQUEST), Drop("x")]}[
            event.properties.get("want", "buy")
        ]

    bound = bind(slack)
    assert (bound.id, bound.answers, bound.delivery.window) == ("slack", True, 1)
    assert effects_of(slack, an_event("other")) == []
    assert effects_of(slack, an_event("buy")) == [Send(REQUEST)]
    assert effects_of(slack, an_event("buy", {"want": "nothing"})) == []
    assert effects_of(slack, an_event("buy", {"want": "several"})) == [Send(REQUEST), Drop("x")]


def test_a_function_becomes_a_consumer_and_stays_a_function() -> None:
    @consumer("crm", when=["buy"])
    def crm(event: Event) -> str:
        return event.name

    event = an_event("buy")
    assert crm(event) == "buy"
    (send,) = effects_of(crm, event)
    assert send == Send(Call(crm.function, event))
    assert isinstance(send, Send)
    assert list(bind(crm).pack([send])) == [Packed(Call(crm.function, event), (send,))]
    assert effects_of(crm, an_event("other")) == []
