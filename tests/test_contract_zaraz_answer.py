"""The Zaraz dialect, PROTOCOLS.md 2.2: the answer. Each case through both gateways, the same to the last byte."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw import Execute, Fetch, Return, SetCookie, tool
from eventmw.effects import Effect
from eventmw.event import Event
from tests import strategies as own
from tests.contract import (
    EMPTY,
    GOOD,
    MIXED,
    ONE,
    REPLY,
    keeper,
    refused,
)
from tests.gateways import both


@tool("first", answers=True)
def first(_event: Event) -> list[Effect]:
    return [Fetch("https://a.example", {"method": "POST"}), Execute("a()"), Return({"n": 1}), SetCookie("a", "1")]


@tool("second", answers=True)
def second(_event: Event) -> list[Effect]:
    return [
        Fetch("https://b.example"),
        Execute("b()"),
        Return(None),
        SetCookie("b", None),
        SetCookie("c", "3", path="/", domain="example.com", expires="Wed, 21 Oct 2015 07:28:00 GMT",
                  max_age_s=10**9, secure=True, http_only=False, same_site="None"),
    ]  # fmt: skip


def test_the_four_keys_and_their_shapes() -> None:
    """2.2: `[url, init]`, JavaScript texts, values by tool id, cookies by name; nothing is set on the answer itself."""
    with both(tools=[first, second]) as pair:
        answer = pair.post(ONE)
    REPLY.validate(answer.json)
    assert answer.json["results"] == [
        {
            "fetch": [["https://a.example", {"method": "POST"}], ["https://b.example", {}]],
            "execute": ["a()", "b()"],
            "return": {"first": {"n": 1}, "second": None},
            "cookies": {
                "a": {"value": "1", "opts": {}},
                "b": {"value": None, "opts": {}},
                "c": {
                    "value": "3",
                    "opts": {
                        "path": "/",
                        "domain": "example.com",
                        "expires": "Wed, 21 Oct 2015 07:28:00 GMT",
                        "max_age": 31_536_000,
                        "secure": True,
                        "http_only": False,
                        "same_site": "None",
                    },
                },
            },
        },
    ]
    assert answer.header("set-cookie") is None


@tool("raiser", answers=True)
def raiser(event: Event) -> None:
    raise RuntimeError(event.name)


@tool("flood", answers=True)
def flood(_event: Event) -> Any:
    while True:
        yield Execute("x()")


@tool("rubbish", answers=True)
def rubbish(_event: Event) -> Any:
    return [Execute("lost()"), "not an effect"]


@tool("unfit", answers=True)
def unfit(_event: Event) -> Any:
    return [
        Fetch("http://[::1"),
        Fetch("https://x", {"a": {1, object()}}),  # what a careless owner may yield
        SetCookie("a", "b; Domain=evil"),
        SetCookie("a\r\nx", "b"),
        SetCookie(5, "b"),  # type: ignore[arg-type]  # as above
        SetCookie("a", "b", secure="yes"),  # type: ignore[arg-type]  # as above
        Return(float("nan")),
        Return("\ud800"),
    ]


def test_a_tool_that_fails_changes_nobody_elses_result_and_no_status() -> None:
    """2.2: a failing, slow or refusing tool changes nobody else's result and never the status code."""
    with both(tools=[first]) as pair:
        alone = pair.post(ONE).json["results"]
    with both(tools=[raiser, flood, first, rubbish, unfit]) as pair:
        answer = pair.post(ONE)
    assert (answer.status, answer.json["results"]) == (200, alone)


def test_some_refused_and_others_not() -> None:
    """2.2: 200, the refused have an empty Result Object, their problem in the receipt, and Eventmw-Rejected."""
    with both(tools=[first]) as pair:
        answer = pair.post(MIXED)
    REPLY.validate(answer.json)
    assert answer.status == 200
    assert answer.header("eventmw-rejected") == "1"
    assert [result == EMPTY for result in answer.json["results"]] == [False, True, False]
    (entry,) = answer.entries
    assert entry == {
        "index": 1,
        "id": f"{answer.receipt['id']}-1",
        "status": "invalid",
        "code": "type",
        "path": "/events/1/client",
        "schema_path": "/$defs/event/properties/client/type",
        "message": "expected an object, got a number",
    }


@pytest.mark.parametrize("options", [{"batch": "atomic"}, {"receipt": False}, {"envelope": "array"}])
def test_no_refusal_is_ever_silent(options: dict[str, Any]) -> None:
    """2.2: these refuse the whole request instead."""
    kept: list[Event] = []
    with both(tools=[keeper(kept)], **options) as pair:
        problem = refused(pair.post(MIXED), "rejected_events")
        assert not kept
        assert [error["index"] for error in problem["errors"]] == [1]
        answer = pair.post(ONE)
    body = answer.json
    assert body == {"batch": body, "receipt": {"results": [EMPTY]}, "envelope": [EMPTY]}[next(iter(options))]


def test_a_full_receipt_lists_every_event_and_tool() -> None:
    """2.2: `receipt="full"`."""

    @tool("buys", when="purchase")
    def buys(_event: Event) -> None: ...

    events = [{"client": {"__zarazTrack": "purchase"}}, GOOD, {"client": 1}, {"client": {"__zarazTrack": ""}}]
    with both(tools=[buys], receipt="full") as pair:
        answer = pair.post({"events": events})
    REPLY.validate(answer.json)
    ident = answer.receipt["id"]
    assert [(entry["index"], entry["id"], entry["status"], entry.get("tools")) for entry in answer.entries] == [
        (0, f"{ident}-0", "accepted", {"buys": "queued"}),
        (1, f"{ident}-1", "accepted", {"buys": "filtered"}),
        (2, f"{ident}-2", "invalid", None),
        (3, f"{ident}-3", "warned", {"buys": "filtered"}),
    ]


@given(own.payloads(own.BATCHES), st.sampled_from(["brief", "full"]))
def test_one_result_for_each_event_in_order_and_a_receipt_that_adds_up(document: Any, receipt: Any) -> None:
    """2.2: `results` has exactly one Result Object for each Event Object, in the same order."""

    @tool("echo", answers=True)
    def echo(event: Event) -> Return:
        return Return(event.id)

    with both(tools=[echo], receipt=receipt, journal="memory") as pair:
        answer = pair.post(document)
    if answer.status != 200:
        refused(answer, "no_valid_event")
        return
    REPLY.validate(answer.json)
    results, summary = answer.json["results"], answer.receipt
    assert len(results) == len(document["events"]) == summary["accepted"] + summary["rejected"]
    bad = {entry["index"] for entry in answer.entries if entry["status"] == "invalid"}
    assert len(bad) == summary["rejected"]
    assert answer.header("eventmw-rejected") == (str(len(bad)) if bad else None)
    for index, (result, event) in enumerate(zip(results, document["events"], strict=True)):
        if index in bad:
            assert result == EMPTY
        else:
            own_id = (event.get("eventmw") or {}).get("id")
            as_text = own_id if isinstance(own_id, str) else msgspec.json.encode(own_id).decode()
            expected = f"{summary['id']}-{index}" if own_id in (None, "", []) else as_text
            assert result == EMPTY | {"return": {"echo": expected}}
