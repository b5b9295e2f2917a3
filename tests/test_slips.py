"""Slips that people make when they write tools and consumers: explained at their own line, and refused at start when possible."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import eventmw
from eventmw import (
    ConfigError,
    Drop,
    EventsMiddleware,
    HttpRequest,
    Outcome,
    Reject,
    RetryAfter,
    Return,
    Send,
)
from eventmw.contract import bind
from eventmw.effects import DONE, Packed, Verdict, dead
from eventmw.engine import Engine
from eventmw.event import Event
from eventmw.http import HttpReply
from eventmw.testing import an_event, deliver

# Type checkers would find most of these slips: people who have none are who make them.
as_tool: Any = eventmw.tool
as_consumer: Any = eventmw.consumer
Delivery: Any = eventmw.Delivery
Site: Any = EventsMiddleware

REQUEST = HttpRequest("POST", "https://vendor.example/x")
VALUE = "anna@example.com"


def forgets_send(_event: Any) -> Any:
    return REQUEST


def returns_a_dict(event: Any) -> Any:
    return {"text": event.properties["value"]}


def returns_text(event: Any) -> Any:
    return event.properties["value"]


def returns_dicts(event: Any) -> Any:
    return [{"text": event.properties["value"]}]


def returns_none_inside(_event: Any) -> Any:
    return [Send(REQUEST), None]


def yields_a_request(_event: Any) -> Any:
    yield Send(REQUEST)
    yield REQUEST


def yields_a_class(_event: Any) -> Any:
    yield Drop


def yields_a_list(_event: Any) -> Any:
    yield [Send(REQUEST)]


def yields_a_verdict(_event: Any) -> Any:
    yield dead("no")


def yields_packed(_event: Any) -> Any:
    yield Packed(REQUEST, ())


def yields_nothing_and_returns(_event: Any) -> Any:
    if _event is None:
        yield
    return Send(REQUEST)


def returns_a_coroutine(_event: Any) -> Any:
    async def work() -> None: ...

    return work()


def returns_a_number(_event: Any) -> Any:
    return 7


def answers_without_saying_so(_event: Any) -> Any:
    yield Return(1)


def sends_a_dict(_event: Any) -> Any:
    yield Send({"a": VALUE})


def rejects(_event: Any) -> Any:
    raise Reject("not for me")


SLIPS: list[tuple[Callable[[Any], Any], str, str]] = [
    (forgets_send, "returned HttpRequest where effects were expected", "Send(HttpRequest(…))"),
    (returns_a_dict, "returned dict where effects were expected", "Drop(reason)"),
    (returns_text, "returned str where effects were expected", "Send(HttpRequest(…))"),
    (returns_dicts, "returned a list whose item 1 is dict where an effect was expected", "Send(HttpRequest(…))"),
    (returns_none_inside, "returned a list whose item 2 is NoneType where", "leave it out"),
    (yields_a_request, "yielded HttpRequest where an effect was expected", "Send(HttpRequest(…))"),
    (yields_a_class, "yielded the class Drop where", "write Drop(…)"),
    (yields_a_list, "yielded list where", "yield from"),
    (yields_a_verdict, "yielded Verdict where", "yield Drop(reason)"),
    (yields_packed, "yielded Packed where", "yield Send(…)"),
    (yields_nothing_and_returns, "returned Send after a yield, which Python throws away", "yield it"),
    (returns_a_coroutine, "returned coroutine where", "plain def"),
    (returns_a_number, "returned int where", "Send("),
    (answers_without_saying_so, "yielded Return, but the tool does not have answers = True", "answers"),
    (sends_a_dict, "yielded Send(dict), but the tool has no pack()", "give the tool a pack()"),
    (rejects, "raised Reject, which is for consumers", "Drop(reason)"),
]


class OwnTool:
    """A tool as a class, whose handle has one of the slips."""

    id = "own"

    def __init__(self, slip: Callable[[Any], Any]) -> None:
        self.slip = slip

    def handle(self, event: Event) -> Any:
        return self.slip(event)


@pytest.mark.parametrize("as_class", [False, True], ids=["function", "class"])
@pytest.mark.parametrize(("slip", "what", "advice"), SLIPS, ids=[slip.__name__ for slip, _, _ in SLIPS])
def test_what_a_tool_gives_wrong_is_explained_at_its_line(
    slip: Callable[[Any], Any], what: str, advice: str, *, as_class: bool
) -> None:
    bound = bind(OwnTool(slip) if as_class else as_tool("own")(slip))
    dispatch = Engine([bound], []).dispatch(bound, an_event("purchase", {"value": VALUE}))
    assert dispatch.outcome == "tool_error"
    assert f"handle {what}" in dispatch.reason
    assert advice in dispatch.reason
    assert VALUE not in dispatch.reason
    # A value that was returned comes from no line: then it is the function's own.
    assert re.search(rf"\(test_slips\.py:\d+ in ({slip.__name__}|handle)[:)]", dispatch.reason)


def test_the_line_is_that_of_the_yield() -> None:
    bound = bind(as_tool("own")(yields_a_request))
    line = yields_a_request.__code__.co_firstlineno + 2
    assert f"(test_slips.py:{line} in yields_a_request)" in Engine([bound], []).dispatch(bound, an_event()).reason


@pytest.mark.parametrize("given", [None, Send(REQUEST), Drop("no")], ids=["None", "Send", "Drop"])
def test_a_handle_may_return_one_effect_or_none(given: Any) -> None:
    bound = bind(OwnTool(lambda _event: given))
    assert Engine([bound], []).dispatch(bound, an_event()).outcome != "tool_error"


def test_a_slip_of_an_answering_tool_is_told_from_the_request_too(caplog: pytest.LogCaptureFixture) -> None:
    bound = bind(as_tool("own", answers=True)(returns_a_dict))
    engine = Engine([bound], [])
    for _ in range(3):
        engine.answer(an_event("purchase", {"value": VALUE}), lambda: False)
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("tool own, in the request: handle returned dict where effects were expected")


class Vendor:
    """A tool whose pack and verdict give back what they are told to."""

    id = "vendor"

    def __init__(self, packed: Any = None, judged: Any = None) -> None:
        self.packed, self.judged = packed, judged

    def handle(self, event: Event) -> Any:
        yield Send(event.id)

    def pack(self, items: Sequence[Send]) -> Any:
        return self.packed(items) if self.packed else [Packed(REQUEST, items)]

    def verdict(self, reply: HttpReply, items: Sequence[Send]) -> Any:
        return self.judged(items) if self.judged else [DONE] * len(items)


def _yields_request(_items: Any) -> Iterator[Any]:
    yield REQUEST


PACKS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda items: Packed(REQUEST, items), "returned Packed where requests were expected: yield it"),
    (lambda _: None, "returned NoneType where requests were expected: yield Packed(request, items)"),
    (lambda _: REQUEST, "returned HttpRequest where requests were expected"),
    (lambda _: {"a": 1}, "returned dict where requests were expected"),
    (lambda _: [REQUEST], "yielded HttpRequest where Packed(request, items) was expected"),
    (_yields_request, "yielded HttpRequest where Packed(request, items) was expected"),
    (lambda items: [Packed("x", items)], "yielded Packed with str where its HttpRequest was expected"),  # type: ignore[arg-type]
    (lambda _: [Packed(REQUEST, 5)], "yielded Packed whose items are int"),  # type: ignore[arg-type]
]
VERDICTS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda _: True, "returned bool where a list with one Verdict for each of its 1 items was expected"),
    (lambda _: None, "returned NoneType where a list"),
    (lambda _: DONE, "returned Verdict where a list"),
    (lambda _: "done", "returned str where a list"),
    (lambda _: [], "returned 0 verdicts for 1 items"),
    (lambda _: [DONE, DONE], "returned more verdicts than its 1 items"),
    (lambda _: [True], "returned bool where a Verdict was expected"),
    (lambda _: [Verdict], "returned the class Verdict where a Verdict was expected"),
]


@pytest.mark.parametrize(
    ("vendor", "part", "words"),
    [
        *((Vendor(packed=given), "pack", words) for given, words in PACKS),
        *((Vendor(judged=given), "verdict", words) for given, words in VERDICTS),
    ],
)
def test_what_pack_and_verdict_give_wrong_is_explained_at_their_line(vendor: Vendor, part: str, words: str) -> None:
    from eventmw.delivery.queue import SendQueue
    from tests.test_delivery import depart, item, now

    queue = SendQueue(bind(vendor))
    queue.add(item("a"), (Send("a"),), now())
    for batch in depart(queue):
        queue.answered(batch, HttpReply(200), now())
    (ending,) = queue.endings
    assert ending.reason.startswith(f"{part} {words}")
    assert re.search(r"\(test_slips\.py:\d+ in (pack|verdict|_yields_request)\)$", ending.reason)


async def awaits(_event: Any) -> Any: ...


async def awaits_and_yields(_event: Any) -> Any:
    yield


def yields(_event: Any) -> Any:
    yield


def takes_none() -> Any: ...


def takes_two(_event: Any, _other: Any) -> Any: ...


def takes_a_keyword(_event: Any, *, db: Any) -> Any: ...


class AClass:
    def __call__(self, _event: Any) -> Any: ...


class AwaitsWhenCalled:
    async def __call__(self, _event: Any) -> Any: ...


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: as_consumer("c")(takes_none), "consumer c: the function takes no argument (test_slips.py:"),
    (lambda: as_consumer("c")(takes_two), "takes (_event, _other) (test_slips.py:"),
    (lambda: as_consumer("c")(takes_a_keyword), "takes (_event, *, db) (test_slips.py:"),
    (lambda: as_consumer("c")(AClass), "is the class AClass, and a function was expected"),
    (lambda: as_consumer("c")(yields), "has a yield (test_slips.py:"),
    (lambda: as_consumer("c")(awaits_and_yields), "is an async generator (test_slips.py:"),
    (lambda: as_consumer("c")(5), "is int, and a function was expected"),
    (lambda: as_tool("t")(awaits), "tool t: the function is async def (test_slips.py:"),
    (lambda: as_tool("t")(awaits_and_yields), "is an async generator"),
    (lambda: as_tool("t")(AwaitsWhenCalled()), "is async def"),
    (lambda: as_tool("t")(takes_two), "write def takes_two(event)"),
    (lambda: as_tool("t")(AClass), "is the class AClass"),
    (lambda: as_tool("t", when=takes_two)(yields), "when takes (_event, _other)"),
    (lambda: as_tool("t", when=awaits)(yields), "when is async def"),
    (lambda: as_tool("t", when=yields)(yields), "when has a yield"),
    (lambda: as_tool("t", delivery=Delivery(order_key=takes_none))(yields), "order_key takes no argument"),
    (lambda: _own(handle=awaits), "handle is async def"),
    (lambda: _own(handle=takes_two), "handle takes (_event, _other)"),
    (lambda: _own(pack=takes_two), "pack takes (_event, _other)"),
    (lambda: _own(verdict=yields), "verdict takes (_event)"),
    (lambda: _own(verdict=None), "verdict must be a method, and is None"),
    (lambda: yields, "the function yields (test_slips.py:"),
    (lambda: OwnTool, "write OwnTool(…)"),
]


def _own(**parts: Any) -> Any:
    own: Any = OwnTool(yields)
    for name, part in parts.items():
        setattr(own, name, part)
    return own


@pytest.mark.parametrize(("make", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_functions_that_cannot_be_called_as_they_will_be_are_refused_at_start(make: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bind(make())
    assert words in str(caught.value)


def test_all_of_them_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Site(
            lambda _environ, _start: [],
            tools=[as_tool("t")(awaits), as_tool("u", when=takes_two)(yields)],
            consumers=[as_consumer("c")(takes_none)],
            on_outcome=awaits,
            tracebacks="some",
        )
    assert len(caught.value.problems) == 5


def injected(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args, None)

    return wrapper


@pytest.mark.parametrize(
    "function",
    [
        awaits,
        AClass(),
        AwaitsWhenCalled(),
        injected(takes_two),
        functools.partial(takes_two, None),
        functools.partial(awaits),
        lambda event, more=None: (event, more),
        lambda *_: None,
        print,
        [].append,
    ],
)
def test_what_can_be_called_is_taken(function: Any) -> None:
    assert bind(as_consumer("c")(function)).id == "c"


@pytest.mark.parametrize("decorator", [as_tool, as_consumer])
def test_a_decorator_without_its_id_is_told_at_once(decorator: Any) -> None:
    with pytest.raises(ConfigError, match=r"needs an id \(test_slips\.py:\d+ in yields\): write @\w+\(\"yields\"\)"):
        decorator(yields)


# What consumers do, over a whole site.


def outcomes_of(function: Callable[[Any], Any], **options: Any) -> list[Outcome]:
    found: list[Outcome] = []
    app = EventsMiddleware(
        lambda _environ, _start: [],
        consumers=[as_consumer("crm", **options)(function)],
        on_outcome=found.append,
    )
    try:
        app.track("purchase", {"value": VALUE})
        deliver(app)
    finally:
        app.close(0)
    return found


def sync_and_async(does: Callable[[Any], Any]) -> list[Callable[[Any], Any]]:
    def waits_for_nothing(event: Any) -> Any:
        return does(event)

    async def is_awaited(event: Any) -> Any:
        return does(event)

    return [waits_for_nothing, is_awaited]


def gives_up(_event: Any) -> Any:
    raise Reject("no such customer")


def gives_up_in_a_group(_event: Any) -> Any:
    raise ExceptionGroup("unhandled errors in a TaskGroup", [Reject("no such customer")])


@pytest.mark.parametrize("function", [*sync_and_async(gives_up), *sync_and_async(gives_up_in_a_group)])
def test_a_consumer_gives_an_event_up(function: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        (outcome,) = outcomes_of(function)
    assert (outcome.kind, outcome.reason) == ("rejected", "no such customer")
    assert "Traceback" not in caplog.text, "it is no failure"


def iter_nothing() -> Iterator[int]:
    yield from ()


RETURNED = [
    (dead("no"), "returned Verdict, which nothing reads: raise Reject(reason)"),
    ([DONE], "returned Verdict, which nothing reads"),
    (Reject("no"), "returned Reject, which nothing reads"),
    (RetryAfter, "returned the class RetryAfter, which nothing reads"),
    (Send(REQUEST), "returned Send, which nothing reads: effects are what a tool returns"),
    (iter_nothing(), "returned generator, of which nothing has run"),
]


@pytest.mark.parametrize(("returned", "words"), RETURNED, ids=[words for _, words in RETURNED])
@pytest.mark.parametrize("kind", [0, 1], ids=["sync", "async"])
def test_what_a_consumer_returns_in_vain_is_explained_and_does_its_work_once(
    returned: Any, words: str, kind: int
) -> None:
    calls: list[Any] = []

    def does(event: Any) -> Any:
        calls.append(event)
        return returned

    (outcome,) = outcomes_of(sync_and_async(does)[kind])
    assert outcome.kind == "tool_error"
    assert f"the consumer {words}" in outcome.reason
    assert "(test_slips.py:" in outcome.reason
    assert len(calls) == 1


@pytest.mark.parametrize("returned", [None, True, False, 0, "done", {"a": 1}, [1], ()])
def test_what_else_a_consumer_returns_means_done(returned: Any) -> None:
    assert [outcome.kind for outcome in outcomes_of(lambda _event: returned)] == ["delivered"]
