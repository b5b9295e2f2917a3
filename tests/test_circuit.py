"""The circuit breaker, and what may open it: a vendor that fails, never one bad batch among good ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.contract import Delivery
from eventmw.delivery.batches import Batch
from eventmw.delivery.circuit import Circuit
from eventmw.delivery.line import SUSPECT_AFTER
from eventmw.effects import Send, retry
from eventmw.http import HttpReply, HttpRequest
from eventmw.retry import MAX_RETRY_AFTER_S
from tests.delivering import payloads
from tests.test_delivery import RULES, depart, ends, item, now, one, queue_of

A_BATCH = Batch(HttpRequest("GET", "http://vendor.invalid/"), (Send("a"),))


def test_closed_open_half_open_and_closed_again() -> None:
    circuit = Circuit(RULES)
    assert Circuit(RULES).phase == "flowing"
    circuit.trip(A_BATCH, "HTTP 503", 0.0, now())
    assert (circuit.phase, circuit.probe_at_s, circuit.last_error) == ("standing", 1000.75, "HTTP 503")
    circuit.try_with(A_BATCH)
    assert (circuit.phase, circuit.probe) == ("probing", A_BATCH)
    circuit.trip(A_BATCH, "HTTP 502", 0.0, now(1.0))
    assert (circuit.phase, circuit.attempts, circuit.probe_at_s) == ("standing", 2, 1002.5)
    circuit.try_with(A_BATCH)
    circuit.close()
    assert (circuit.phase, circuit.attempts, circuit.last_error, circuit.probe_at_s) == ("flowing", 0, "", 0.0)


def test_a_straggler_neither_ends_the_probe_nor_counts_as_another_attempt() -> None:
    circuit = Circuit(RULES)
    circuit.trip(None, "HTTP 503", 0.0, now())
    circuit.try_with(A_BATCH)
    other = Batch(A_BATCH.order, (Send("b"),))
    circuit.trip(other, "no answer in time", 0.0, now(9.0))
    assert (circuit.phase, circuit.attempts, circuit.probe) == ("probing", 1, A_BATCH)


@given(st.lists(st.tuples(st.floats(0.0, 1e9), st.floats(0.0, 1e4)), min_size=1, max_size=20))
def test_what_the_vendor_asks_for_is_kept_up_to_an_hour(failures: list[tuple[float, float]]) -> None:
    circuit, passed_s = Circuit(RULES), 0.0
    for asked_s, pause_s in failures:
        passed_s += pause_s
        circuit.trip(A_BATCH, "busy", asked_s, now(passed_s))
        wait_s = circuit.probe_at_s - now(passed_s).monotonic_s
        assert wait_s >= min(asked_s, MAX_RETRY_AFTER_S) - 1e-6
        assert wait_s <= max(MAX_RETRY_AFTER_S, RULES.max_backoff_s) + 1e-6
        circuit.try_with(A_BATCH)


def test_one_bad_batch_among_good_ones_does_not_stop_the_others() -> None:
    queue = queue_of("toxic", *"abcdefg", per_request=1)
    sent: list[str] = []
    passed_s = 0.0
    while queue:
        batches = depart(queue, passed_s)
        for batch in sorted(batches, key=lambda batch: "toxic" in payloads(batch.order)):  # others pass meanwhile
            sent += payloads(batch.order)
            queue.answered(batch, HttpReply(500 if "toxic" in payloads(batch.order) else 200), now(passed_s))
            assert queue.circuit.phase == "flowing"
        if not batches:
            assert queue.wakes_at_s is not None
            passed_s = queue.wakes_at_s - 1000.0
    assert sent.count("toxic") == 2, "put off once, then put off for good: it is parked"
    assert {name: kind for name, kind, _ in ends(queue)} == {
        "toxic": "postponed",
        **dict.fromkeys("abcdefg", "delivered"),
    }


def test_a_large_bad_batch_among_good_ones_is_broken_up_at_its_second_failure() -> None:
    queue = queue_of("a", "toxic", "c", "d", "e", per_request=3)
    bad, good = depart(queue)
    queue.answered(good, HttpReply(200), now())
    queue.answered(bad, HttpReply(500), now())
    assert queue.circuit.phase == "flowing"
    assert depart(queue) == [], "it waits by itself"
    assert queue.wakes_at_s == 1000.75
    queue.answered(one(queue, 0.75), HttpReply(500), now(0.75))
    sent: list[list[str]] = []
    while (batch := queue.next(now(0.75))) is not None:
        sent.append(payloads(batch.order))
        queue.answered(batch, HttpReply(500 if "toxic" in sent[-1] else 200), now(0.75))
    assert sent == [["a"], ["toxic", "c"], ["toxic"], ["c"]]
    assert queue.circuit.phase == "flowing"


@pytest.mark.parametrize("reply", [HttpReply(429, {"retry-after": "7"}), HttpReply(503, {"retry-after": "7"})])
def test_a_vendor_that_asks_for_a_pause_gets_it_whoever_passed_meanwhile(reply: HttpReply) -> None:
    queue = queue_of("a", "b", "c", per_request=1)
    first, second = depart(queue)
    queue.answered(first, HttpReply(200), now())
    queue.answered(second, reply, now())
    assert (queue.circuit.phase, queue.circuit.probe_at_s) == ("standing", 1007.0)


def test_when_nobody_passed_since_it_departed_the_vendor_is_the_trouble() -> None:
    queue = queue_of("a", "b", "c", per_request=1)
    first, second = depart(queue)
    queue.answered(first, HttpReply(200), now())
    third = one(queue)
    queue.answered(second, HttpReply(500), now())
    assert (queue.circuit.phase, queue.circuit.attempts) == ("flowing", 0), "the first passed meanwhile"
    queue.answered(third, HttpReply(500), now())
    assert (queue.circuit.phase, queue.circuit.attempts) == ("standing", 1), "and since the third departed, nobody did"


def test_too_many_bad_batches_among_good_ones_are_the_vendors_trouble_after_all() -> None:
    rules = replace(RULES, max_batch_items=2)
    queue = queue_of(rules=rules, per_request=2)
    failures = 0
    for at in range(100):
        for name in (f"a{at}", f"b{at}", f"c{at}", f"d{at}"):
            queue.add(item(name, at), (Send(name),), now())
        batches = depart(queue)
        if queue.circuit.phase != "flowing" or len(batches) < 2:
            break
        queue.answered(batches[0], HttpReply(200), now())
        queue.answered(batches[1], HttpReply(500), now())
        failures += 1
    assert queue.circuit.phase == "standing"
    assert failures <= 1 + (rules.window + 1) * rules.max_batch_items, "what is put off is bounded"


def test_a_tool_that_stands_with_nothing_left_to_try_waits_for_nothing() -> None:
    queue = queue_of("a", rules=replace(RULES, window=1))
    queue.answered(one(queue), HttpReply(503), now())
    assert queue.next(now(4000.0)) is None
    assert ends(queue) == [("a", "expired", "HTTP 503")]
    assert queue.next(now(4000.0)) is None
    assert queue.wakes_at_s is None, "it would be asked again and again, at once"
    queue.add(item("b"), (Send("b"),), now())
    young = item("c")
    young.recorded_ms += 4_000_000
    queue.add(young, (Send("c"),), now(4000.0))
    assert payloads(one(queue, 4000.0).order) == ["c"], "and the next event is the probe"
    assert queue.circuit.phase == "probing"


def test_waiting_for_the_rate_is_not_standing() -> None:
    queue = queue_of("a", "b", "c", rules=replace(RULES, rate_per_s=2.0), per_request=1)
    first = one(queue)
    assert queue.next(now()) is None
    assert (queue.circuit.phase, queue.wakes_at_s) == ("flowing", 1000.5)
    second = one(queue, 0.5)
    queue.answered(first, HttpReply(503), now(0.5))
    queue.answered(second, HttpReply(503), now(0.5))
    assert depart(queue, 0.9) == [], "a probe waits for both"
    assert len(depart(queue, 3.0)) == 1


def test_a_dry_run_knows_no_rate() -> None:
    queue = queue_of("a", "b", rules=replace(RULES, rate_per_s=0.001), per_request=1, dry_run=True)
    assert len(depart(queue)) == 2


def test_suspects_of_a_vendor_that_never_answers_are_tried_in_turn() -> None:
    """No pass, no suspicion: two batches that always fail take turns once both failed as often."""
    queue = queue_of("x", "y", per_request=1, rules=replace(RULES, window=1))
    tried: list[str] = []
    for step in range(2 * SUSPECT_AFTER + 2):
        batch = one(queue, 10.0 * step)
        tried += payloads(batch.order)
        queue.judged(batch, [retry("no")], now(10.0 * step))
    assert tried == ["x"] * SUSPECT_AFTER + ["y"] * SUSPECT_AFTER + ["x", "y"]


def test_the_rules_say_all_that_is_wrong_with_them() -> None:
    with pytest.raises(Exception, match="cannot start") as caught:
        Delivery(ordered=True, order_key="user", rate_per_s=0, window=-1, connect_timeout_s=float("nan"))
    for words in ("rate_per_s=…", "window=…", "connect_timeout_s=…", "leave order_key out"):
        assert words in str(caught.value)
    for key in ("", 3, ["user"]):
        with pytest.raises(Exception, match="the name of a property or a function"):
            Delivery(order_key=key)  # type: ignore[arg-type] # that is the point
    assert Delivery(rate_per_s=0.5, order_key=lambda event: event.user_id, connect_timeout_s=1).window == 4


def test_after_a_long_outage_nobody_is_suspect_and_what_was_broken_up_goes_together() -> None:
    rules = replace(RULES, max_batch_items=8, give_up_s=1e9)
    queue = queue_of(rules=rules, per_request=4)
    names = iter(f"e-{at}" for at in range(10_000))
    step = 0
    for step in range(400):
        while queue.has_room():
            name = next(names)
            queue.add(item(name, step), (Send(name),), now(60.0 * step))
        for batch in depart(queue, 60.0 * step):
            queue.answered(batch, HttpReply(503), now(60.0 * step))
    assert [len(payloads(one(queue, 1e6).order))] == [1], "hours of failing have broken everything up"
    (probe,) = queue.flying
    queue.answered(probe, HttpReply(200), now(1e6))
    assert queue.circuit.phase == "flowing"
    batches = depart(queue, 1e6)
    assert len(batches) == rules.window
    sizes: list[int] = []
    while batches:
        for batch in batches:
            sizes.append(len(batch.sends))
            queue.answered(batch, HttpReply(200), now(1e6))
        batches = depart(queue, 1e6)
    assert max(sizes) == 4
    assert sum(sizes) / len(sizes) > 3, "full requests again"
    assert not queue
