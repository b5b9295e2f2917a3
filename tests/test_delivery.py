"""The send queue: what departs, what answers mean, how trouble is told from the one batch that is the trouble."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.contract import BoundTool, Delivery, bind
from eventmw.delivery.batches import Batch
from eventmw.delivery.endings import Ended, Item, Moment, Postponed
from eventmw.delivery.line import SUSPECT_AFTER
from eventmw.delivery.queue import SendQueue
from eventmw.effects import DONE, Packed, Send, Verdict, dead, refused, retry
from eventmw.http import HttpReply, HttpRequest
from eventmw.journal import Key, Position
from tests.delivering import NOW_MS, Batching, payloads, placed

RULES = Delivery(window=2, first_backoff_s=1.0, max_backoff_s=8.0, give_up_s=3600.0)
ORDERED = replace(RULES, ordered=True)


def now(passed_s: float = 0.0) -> Moment:
    return Moment(1000.0 + passed_s, NOW_MS + round(1000 * passed_s), 0.5)


def item(name: str, seq: int = 1) -> Item:
    return Item(Key(Position("s", seq), 0), name, NOW_MS, b"", 0, 10)


def queue_of(*names: str, rules: Delivery = RULES, per_request: int = 3, dry_run: bool = False) -> SendQueue:
    queue = SendQueue(bind(Batching(per_request=per_request, delivery=rules)), dry_run=dry_run)
    for seq, name in enumerate(names):
        queue.add(item(name, seq), (Send(name),), now())
    return queue


def depart(queue: SendQueue, passed_s: float = 0.0) -> list[Batch]:
    batches: list[Batch] = []
    while (batch := queue.next(now(passed_s))) is not None:
        batches.append(batch)
    return batches


def one(queue: SendQueue, passed_s: float = 0.0) -> Batch:
    batch = queue.next(now(passed_s))
    assert batch is not None
    return batch


def carried(batches: Iterable[Batch]) -> list[list[str]]:
    return [payloads(batch.order) for batch in batches]


def ends(queue: SendQueue) -> list[tuple[str, str, str]]:
    """Take the endings: (event, Outcome or "postponed", reason)."""
    taken = list(queue.endings)
    queue.endings.clear()
    return [
        (end.item.event_id, end.kind if isinstance(end, Ended) else "postponed", placed(end.reason)) for end in taken
    ]


def test_what_is_queued_when_a_slot_frees_is_packed_together() -> None:
    queue = queue_of("a", "b", "c", "d", "e", "f", "g")
    first, second = depart(queue)
    assert carried([first, second]) == [["a", "b", "c"], ["d", "e", "f"]], "the window is two"
    queue.add(item("h"), (Send("h"),), now())
    queue.judged(first, [DONE] * 3, now())
    assert carried(depart(queue)) == [["g"]], "packed already when the window was full"
    queue.judged(second, [DONE] * 3, now())
    assert carried(depart(queue)) == [["h"]]
    assert ends(queue) == [(name, "delivered", "") for name in "abcdef"]


def test_an_ordered_tool_has_one_request_in_flight() -> None:
    queue = queue_of("a", "b", "c", "d", rules=ORDERED)
    (first,) = depart(queue)
    queue.answered(first, HttpReply(200), now())
    assert carried(depart(queue)) == [["d"]]


def test_a_refused_request_is_halved_until_the_bad_one_stands_alone() -> None:
    queue = queue_of("a", "bad", "c", "d", per_request=4)
    sent: list[list[str]] = []
    while (batch := queue.next(now())) is not None:
        sent.append(payloads(batch.order))
        queue.answered(batch, HttpReply(400 if "bad" in sent[-1] else 200), now())
    assert sent == [["a", "bad", "c", "d"], ["a", "bad"], ["a"], ["bad"], ["c", "d"]]
    assert sorted(ends(queue)) == [
        ("a", "delivered", ""),
        ("bad", "rejected", "HTTP 400"),
        ("c", "delivered", ""),
        ("d", "delivered", ""),
    ]


def test_verdicts_for_single_items_end_and_put_off_just_these() -> None:
    queue = queue_of("a", "b", "c")
    batch = one(queue)
    queue.judged(batch, [DONE, retry("busy", 30.0), dead("no such user")], now())
    postponed = next(end for end in queue.endings if isinstance(end, Postponed))
    assert postponed.due_ms == NOW_MS + 30_000
    assert ends(queue) == [("a", "delivered", ""), ("b", "postponed", "busy"), ("c", "rejected", "no such user")]
    assert queue.circuit.phase == "flowing"


def test_several_refused_among_others_are_sent_again_without_them() -> None:
    queue = queue_of("a", "b", "c", "d", per_request=4)
    queue.judged(one(queue), [DONE, refused("?"), refused("?"), DONE], now())
    again = one(queue)
    assert payloads(again.order) == ["b", "c"]
    assert [name for name, *_ in ends(queue)] == ["a", "d"]


@pytest.mark.parametrize("rules", [RULES, ORDERED], ids=["window", "ordered"])
def test_whole_pack_trouble_keeps_the_pack_and_probes_one_at_a_time(rules: Delivery) -> None:
    queue = queue_of("a", "b", rules=rules)
    batch = one(queue)
    queue.answered(batch, HttpReply(503), now())
    assert (queue.circuit.phase, queue.circuit.attempts, queue.circuit.last_error) == ("standing", 1, "HTTP 503")
    queue.add(item("c", 9), (Send("c"),), now())
    assert depart(queue, 0.7) == [], "back-off: three quarters of a second with this throw of the dice"
    probe = one(queue, 0.75)
    assert probe is batch
    assert queue.circuit.phase == "probing"
    assert depart(queue, 5.0) == [], "one probe at a time"
    queue.failed(probe, "no answer in time", now(5.0))
    assert (queue.circuit.attempts, queue.circuit.probe_at_s) == (2, 1005.0 + 1.5)
    queue.answered(one(queue, 6.5), HttpReply(200), now(6.5))
    assert (queue.circuit.phase, queue.circuit.attempts, queue.circuit.last_error, queue.circuit.probe_at_s) == (
        "flowing",
        0,
        "",
        0.0,
    )
    assert carried(depart(queue, 6.5)) == [["c"]]


def test_retry_after_is_a_lower_bound() -> None:
    queue = queue_of("a")
    reply = HttpReply(429, {"retry-after": "120"})
    queue.answered(one(queue), reply, now())
    assert depart(queue, 119.9) == []
    assert len(depart(queue, 120.0)) == 1


def fail_until_suspect(queue: SendQueue, toxic: str) -> float:
    """Answer 500 to the batch with `toxic` until a probe takes another; return when that is."""
    passed_s = 0.0
    for _ in range(SUSPECT_AFTER):
        batch = one(queue, passed_s)
        assert toxic in payloads(batch.order)
        queue.answered(batch, HttpReply(500), now(passed_s))
        passed_s += 8.0
    return passed_s


def test_when_another_batch_passes_the_first_was_the_trouble() -> None:
    queue = queue_of("a", "toxic", "c", "d", per_request=3, rules=replace(RULES, window=1))
    passed_s = fail_until_suspect(queue, "toxic")
    other = one(queue, passed_s)
    assert payloads(other.order) == ["d"]
    queue.answered(other, HttpReply(200), now(passed_s))
    assert queue.circuit.phase == "flowing"
    sent: list[list[str]] = []
    while (batch := queue.next(now(passed_s))) is not None:
        sent.append(payloads(batch.order))
        queue.answered(batch, HttpReply(500 if "toxic" in sent[-1] else 200), now(passed_s))
    assert sent == [["a", "toxic", "c"], ["a"], ["toxic", "c"], ["toxic"], ["c"]]
    assert sorted(ends(queue)) == [
        ("a", "delivered", ""),
        ("c", "delivered", ""),
        ("d", "delivered", ""),
        ("toxic", "postponed", "HTTP 500"),
    ]


def test_an_ordered_tool_is_never_overtaken_by_a_probe() -> None:
    queue = queue_of("toxic", "b", per_request=1, rules=ORDERED)
    passed_s = fail_until_suspect(queue, "toxic")
    assert payloads(one(queue, passed_s).order) == ["toxic"]


def test_one_suspect_in_flight_at_a_time_and_good_batches_beside_it() -> None:
    queue = queue_of("x", "y", per_request=1)
    for passed_s in (0.0, 8.0, 16.0):
        for batch in depart(queue, passed_s):
            queue.answered(batch, HttpReply(500), now(passed_s))
    for passed_s in (24.0, 32.0):  # x failed thrice; y is tried until it has, too
        queue.answered(one(queue, passed_s), HttpReply(500), now(passed_s))
    for name in "abc":
        queue.add(item(name), (Send(name),), now())
    passing = one(queue, 40.0)
    assert payloads(passing.order) == ["a"]
    queue.answered(passing, HttpReply(200), now(40.0))
    flying = [name for batch in depart(queue, 40.0) for name in payloads(batch.order)]
    assert len(set(flying) & {"x", "y"}) == 1
    assert len(set(flying) & {"b", "c"}) == 1


def test_a_suspect_never_flies_beside_another() -> None:
    queue = queue_of(per_request=1, rules=replace(RULES, window=4))
    for name in "xyz":
        queue.add(replace_parked(item(name)), (Send(name),), now())
    assert carried(depart(queue)) == [["x"]]


def test_a_suspect_that_waits_is_another_batch_to_try() -> None:
    queue = queue_of("toxic", per_request=1, rules=replace(RULES, window=1))
    queue.answered(one(queue), HttpReply(500), now())
    queue.add(replace_parked(item("again")), (Send("again"),), now())
    for passed_s in (8.0, 16.0):
        queue.answered(one(queue, passed_s), HttpReply(500), now(passed_s))
    assert payloads(one(queue, 24.0).order) == ["again"]


def test_an_event_ends_when_its_last_send_is_decided_by_the_worst_verdict() -> None:
    queue = queue_of()
    whole = item("e")
    queue.add(whole, (Send("1"), Send("2"), Send("3")), now())
    batch = one(queue)
    queue.judged(batch, [DONE, dead("no"), retry("later")], now())
    assert ends(queue) == [("e", "rejected", "no")]
    assert len(queue) == 0


def test_sends_that_are_one_object_are_told_apart() -> None:
    queue = queue_of()
    send = Send("same")
    queue.add(item("e", 1), (send, send), now())
    queue.add(item("f", 2), (send,), now())
    batch = one(queue)
    assert payloads(batch.order) == ["same"] * 3
    queue.judged(batch, [DONE] * 3, now())
    assert ends(queue) == [("e", "delivered", ""), ("f", "delivered", "")]


def test_what_failed_is_given_up_at_the_give_up_age() -> None:
    queue = queue_of("a", "b")
    queue.judged(one(queue), [DONE, retry("busy")], now(3601.0))
    assert ends(queue) == [("a", "delivered", ""), ("b", "expired", "busy")]


def test_while_the_tool_stands_what_waits_expires_and_what_is_young_stays() -> None:
    queue = queue_of("a", "b")
    queue.answered(one(queue), HttpReply(503), now())
    young = replace_age(item("young"), 1800)
    queue.add(young, (Send("young"),), now())
    queue.add(replace_age(item("old"), -4000), (Send("old"),), now())
    assert ends(queue) == [("old", "expired", "HTTP 503")]
    assert payloads(one(queue, 3601.0).order) == ["young"]
    assert ends(queue) == [("a", "expired", "HTTP 503"), ("b", "expired", "HTTP 503")]


def replace_age(event: Item, later_s: float) -> Item:
    event.recorded_ms += round(1000 * later_s)
    return event


def test_an_old_event_that_was_never_tried_is_tried() -> None:
    """A replay of last week's events must not bury them all."""
    queue = queue_of()
    queue.add(replace_age(item("old"), -1_000_000), (Send("old"),), now())
    queue.answered(one(queue), HttpReply(200), now())
    assert ends(queue) == [("old", "delivered", "")]


def test_over_the_cap_the_oldest_end_first_and_what_comes_after_them() -> None:
    queue = queue_of("a", "b", "c", per_request=2, rules=replace(RULES, window=1))
    queue.answered(one(queue), HttpReply(503), now())
    queue.shed(20 + 15, now())
    assert ends(queue) == [(name, "backlog_full", "the tool's backlog is over its cap") for name in "abc"]
    queue.shed(1000, now())  # too early: of the first call five bytes are left
    for name in "xyz":
        queue.add(item(name), (Send(name),), now())
    assert [name for name, *_ in ends(queue)] == ["x"]
    assert payloads(one(queue, 9.0).order) == ["y", "z"]


def test_what_needs_no_send_counts_as_shed_too() -> None:
    queue = queue_of("a")
    queue.answered(one(queue), HttpReply(503), now())
    queue.shed(25, now())
    queue.end(item("filtered"), "filtered", "when")
    queue.end(item("filtered too"), "filtered", "when")
    queue.add(item("b"), (Send("b"),), now())
    assert [kind for _, kind, _ in ends(queue)] == ["backlog_full", "filtered", "filtered"]


def test_a_vendor_that_works_again_ends_the_shedding() -> None:
    queue = queue_of("a", "b", per_request=1, rules=replace(RULES, window=1))
    queue.answered(one(queue), HttpReply(503), now())
    queue.shed(1000, now())
    queue.add(replace_parked(item("again")), (Send("again"),), now())
    queue.answered(one(queue, 9.0), HttpReply(200), now(9.0))
    queue.add(item("c"), (Send("c"),), now())
    assert [(name, kind) for name, kind, _ in ends(queue)] == [
        ("a", "backlog_full"),
        ("b", "backlog_full"),
        ("again", "delivered"),
    ]


def replace_parked(event: Item) -> Item:
    event.parked = True
    return event


def test_parked_events_go_in_batches_of_their_own_and_never_make_the_tool_stand() -> None:
    queue = queue_of("new")
    for name in ("again", "toxic"):
        queue.add(replace_parked(item(name)), (Send(name),), now())
    sent: list[list[str]] = []
    while (batch := queue.next(now())) is not None:
        sent.append(payloads(batch.order))
        queue.answered(batch, HttpReply(500 if "toxic" in sent[-1] else 200), now())
    assert sorted(sent) == [["again"], ["again", "toxic"], ["new"], ["toxic"]]
    assert queue.circuit.phase == "flowing"
    assert {name: kind for name, kind, _ in ends(queue)} == {
        "again": "delivered",
        "new": "delivered",
        "toxic": "postponed",
    }


def test_when_nothing_else_is_there_to_try_a_large_batch_becomes_two() -> None:
    queue = queue_of("good", "toxic", per_request=2)
    passed_s = fail_until_suspect(queue, "toxic")
    half = one(queue, passed_s)
    assert payloads(half.order) == ["good"]
    queue.answered(half, HttpReply(200), now(passed_s))
    assert [(name, kind) for name, kind, _ in ends(queue)] == [("good", "delivered")]
    assert payloads(one(queue, passed_s).order) == ["toxic"]


def test_a_batch_that_lost_some_of_its_events_is_packed_again() -> None:
    queue = queue_of("a", "b", "c", rules=ORDERED)
    queue.answered(one(queue), HttpReply(503), now())
    queue.shed(10, now())
    assert payloads(one(queue, 9.0).order) == ["b", "c"]


def test_forgetting_leaves_what_is_in_flight() -> None:
    queue = queue_of("a", "b", "c", "d", per_request=1)
    flying = depart(queue)
    assert [event.event_id for event in queue.forget_waiting(now())] == ["c", "d"]
    for batch in flying:
        queue.answered(batch, HttpReply(200), now())
    assert depart(queue) == []
    assert ends(queue) == [("a", "delivered", ""), ("b", "delivered", "")]


def test_a_dry_run_ends_as_one() -> None:
    queue = queue_of("a", dry_run=True)
    queue.passed(one(queue), now())
    assert ends(queue) == [("a", "dry_run", "")]


def test_reading_ahead_is_bounded_in_items_and_bytes() -> None:
    queue = queue_of(rules=replace(RULES, max_batch_items=2, max_batch_bytes=100))
    queue.add(item("a"), (Send("a"),), now())
    assert queue.has_room()
    queue.add(item("b"), (Send("b"),), now())
    assert not queue.has_room()
    queue = queue_of(rules=replace(RULES, max_batch_items=50, max_batch_bytes=100))
    queue.add(item("a"), (Send("a", size=100),), now())
    assert not queue.has_room()
    depart(queue)
    assert queue.has_room()


@dataclass(frozen=True, slots=True)
class Rubbishing(Batching):
    """A tool whose ``pack`` or ``verdict`` misbehaves in one of many ways."""

    how: str = ""

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:  # noqa: PLR0911 - one for each way
        good = list(Batching.pack(self, items))
        match self.how:
            case "loses":
                return [replace(packed, items=packed.items[1:]) for packed in good]
            case "doubles":
                return good + good
            case "copies":
                return [replace(packed, items=[replace(send) for send in packed.items]) for packed in good]
            case "adds an empty one":
                return [*good, replace(good[0], items=())]
            case "returns text":
                return "rubbish"  # type: ignore[return-value] # that is the point
            case "never ends":
                return iter(lambda: good[0], None)
            case "exits":
                raise SystemExit(1)
        return good

    def verdict(self, reply: HttpReply, items: Sequence[Send]) -> Sequence[Verdict]:
        match self.how:
            case "judges too few":
                return [DONE]
            case "judges by text":
                return ["done"] * len(items)  # type: ignore[list-item] # that is the point
            case "judges nothing":
                return None  # type: ignore[return-value] # that is the point
            case "raises":
                raise KeyError("secret")
            case "interrupts":
                raise KeyboardInterrupt
            case how if how in WRONG:
                return [DONE, WRONG[how]][-len(items) :]
        return Batching.verdict(self, reply, items)


WRONG: dict[str, Any] = {
    "judges without a reason": dead(None),  # type: ignore[arg-type] # what a tool without types may well do
    "judges by an error": dead(ValueError("secret")),  # type: ignore[arg-type] # as above
    "waits for text": retry("busy", "5"),  # type: ignore[arg-type] # as above
    "waits for truth": retry("busy", True),
    "waits for ever": retry("busy", math.inf),
    "waits for nan": retry("busy", math.nan),
    "waits before": retry("busy", -1.0),
}


def rubbishing(how: str) -> BoundTool:
    return bind(Rubbishing(how=how, delivery=RULES))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("loses", "pack yielded a request without items (test_delivery.py)"),
        (
            "doubles",
            "pack did not give back each of its items exactly once (the same objects, not copies) (test_delivery.py)",
        ),
        (
            "copies",
            "pack did not give back each of its items exactly once (the same objects, not copies) (test_delivery.py)",
        ),
        ("adds an empty one", "pack yielded a request without items (test_delivery.py)"),
        (
            "returns text",
            "pack returned str where requests were expected: yield Packed(request, items) (test_delivery.py)",
        ),
        (
            "never ends",
            "pack did not give back each of its items exactly once (the same objects, not copies) (test_delivery.py)",
        ),
        ("exits", "pack raised SystemExit (test_delivery.py)"),
        ("judges too few", "verdict returned 1 verdicts for 2 items (test_delivery.py)"),
        (
            "judges by text",
            "verdict returned str where a Verdict was expected, such as DONE or dead(reason) (test_delivery.py)",
        ),
        (
            "judges nothing",
            "verdict returned NoneType where a list with one Verdict for each of its 2 items was expected: return [DONE] * len(items), or [dead(reason)] * len(items) (test_delivery.py)",
        ),
        ("raises", "verdict raised KeyError: 'secret' (test_delivery.py)"),
        ("interrupts", "verdict raised KeyboardInterrupt (test_delivery.py)"),
        ("judges without a reason", "verdict returned a Verdict whose reason is NoneType, not text (test_delivery.py)"),
        ("judges by an error", "verdict returned a Verdict whose reason is ValueError, not text (test_delivery.py)"),
        (
            "waits for text",
            "verdict returned a Verdict whose after_s is str, not None or a number of seconds (test_delivery.py)",
        ),
        (
            "waits for truth",
            "verdict returned a Verdict whose after_s is bool, not None or a number of seconds (test_delivery.py)",
        ),
        (
            "waits for ever",
            "verdict returned a Verdict whose after_s is not finite, not None or a number of seconds (test_delivery.py)",
        ),
        (
            "waits for nan",
            "verdict returned a Verdict whose after_s is not finite, not None or a number of seconds (test_delivery.py)",
        ),
        (
            "waits before",
            "verdict returned a Verdict whose after_s is negative, not None or a number of seconds (test_delivery.py)",
        ),
    ],
)
def test_rubbish_buries_the_events_and_loses_none(how: str, reason: str) -> None:
    queue = SendQueue(rubbishing(how))
    for name in ("a", "b"):
        queue.add(item(name), (Send(name),), now())
    for batch in depart(queue):
        queue.answered(batch, HttpReply(200), now())
    assert ends(queue) == [("a", "tool_error", reason), ("b", "tool_error", reason)]
    assert len(queue) == 0
    assert queue.circuit.phase == "flowing"


@pytest.mark.parametrize("lazily", [iter, lambda sends: (send for send in sends)], ids=["iterator", "generator"])
def test_items_that_can_be_looked_at_once_are_good_enough(lazily: Any) -> None:
    tool = replace(
        bind(Batching(delivery=RULES)),
        pack=lambda sends: [Packed(packed.request, lazily(packed.items)) for packed in Batching().pack(sends)],
    )
    queue = SendQueue(tool)
    for name in ("a", "b", "c", "d"):
        queue.add(item(name), (Send(name),), now())
    for batch in depart(queue):
        queue.answered(batch, HttpReply(200), now())
    assert ends(queue) == [(name, "delivered", "") for name in "abcd"]


def test_groups_of_itertools_may_be_packed_as_they_come() -> None:
    def pack(sends: Sequence[Send]) -> Iterable[Packed]:
        for _, group in groupby(sends, key=lambda send: send.payload[0]):
            yield Packed(HttpRequest("POST", "http://vendor.invalid/"), group)  # type: ignore[arg-type] # as a tool would

    queue = SendQueue(replace(bind(Batching(delivery=RULES)), pack=pack))
    for name in ("a1", "a2", "b1"):
        queue.add(item(name), (Send(name),), now())
    assert [[send.payload for send in batch.sends] for batch in depart(queue)] == [["a1", "a2"], ["b1"]]


def test_a_vendor_that_asks_for_a_year_is_tried_again_within_the_hour() -> None:
    queue = queue_of("a", "b")
    queue.judged(one(queue), [retry("busy", 1e9), DONE], now())
    assert [end.due_ms for end in queue.endings if isinstance(end, Postponed)] == [NOW_MS + 3_600_000]
    queue = queue_of("a")
    queue.judged(one(queue), [retry("busy", 1e300)], now())
    assert queue.circuit.probe_at_s == 1000.0 + 3600.0


def test_a_wait_that_cannot_be_reckoned_with_loses_no_event() -> None:
    queue = queue_of("a", "b")
    queue.judged(one(queue), [WRONG["waits for text"], DONE], now())  # past the checks
    assert ends(queue) == [("a", "tool_error", "putting it off raised TypeError (endings.py)"), ("b", "delivered", "")]
    assert len(queue) == 0


def test_what_is_buried_half_judged_ends_once_and_the_queue_goes_on() -> None:
    queue = queue_of("a", "b", "c", "d")
    first, second = depart(queue)
    queue.judged(first, [DONE, refused("?"), refused("?")], now())
    queue.bury(first, "judging raised", now())
    queue.answered(second, HttpReply(200), now())
    assert ends(queue) == [
        ("a", "delivered", ""),
        ("b", "tool_error", "judging raised"),
        ("c", "tool_error", "judging raised"),
        ("d", "delivered", ""),
    ]
    assert (len(queue), depart(queue), queue.flying) == (0, [], set())


def test_a_probe_that_is_buried_lets_the_tool_flow_again() -> None:
    queue = queue_of("a", "b")
    queue.answered(one(queue), HttpReply(503), now())
    queue.bury(one(queue, 10), "judging raised", now(10))
    assert (queue.circuit.phase, len(queue)) == ("flowing", 0)
    assert [kind for _, kind, _ in ends(queue)] == ["tool_error"] * 2


def test_a_verdict_that_raises_on_the_page_of_an_outage_buries_nothing() -> None:
    queue = SendQueue(rubbishing("raises"))
    queue.add(item("a"), (Send("a"),), now())
    queue.answered(one(queue), HttpReply(502, {}, b"<html>"), now())
    assert (queue.circuit.phase, placed(queue.circuit.last_error)) == (
        "standing",
        "HTTP 502, and verdict raised KeyError: 'secret' (test_delivery.py)",
    )
    assert ends(queue) == []


def test_one_payload_that_cannot_be_packed_takes_no_other_with_it() -> None:
    queue = queue_of("a", "unpackable", "c", "d")
    batches = depart(queue)
    assert sorted(name for batch in batches for name in payloads(batch.order)) == ["a", "c", "d"]
    assert ends(queue) == [
        ("unpackable", "tool_error", "pack raised ValueError: this payload is a secret (delivering.py)")
    ], "a literal of the code is no value"


verdicts = st.sampled_from([DONE, retry("later"), retry("later", 5.0), dead("no"), refused("?")])


@given(
    data=st.data(), ordered=st.booleans(), per_request=st.integers(1, 4), sizes=st.lists(st.integers(1, 3), max_size=12)
)
def test_whatever_the_vendor_says_each_event_ends_once_and_no_send_is_lost(
    data: st.DataObject, ordered: bool, per_request: int, sizes: list[int]
) -> None:
    queue = queue_of(rules=replace(RULES, ordered=ordered), per_request=per_request)
    for seq, size in enumerate(sizes):
        queue.add(item(f"e{seq}", seq), [Send(f"e{seq}/{part}") for part in range(size)], now())
    passed_s, flying = 0.0, list[Batch]()
    for _ in range(30):
        flying += depart(queue, passed_s)
        assert len(flying) <= (1 if ordered else 2)
        assert queue.flying == set(flying)
        if flying:
            batch = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            queue.judged(batch, [data.draw(verdicts) for _ in batch.sends], now(passed_s))
        passed_s += data.draw(st.sampled_from([0.0, 1.0, 10.0]))
    for _ in range(1000):
        flying += depart(queue, passed_s)
        if not flying:
            if queue.circuit.phase == "flowing":
                break
            passed_s += 10.0
            continue
        batch = flying.pop()
        queue.judged(batch, [DONE] * len(batch.sends), now(passed_s))
    assert len(queue) == 0
    ended = Counter(end.item.event_id for end in queue.endings)
    assert ended == Counter(f"e{seq}" for seq in range(len(sizes)))
