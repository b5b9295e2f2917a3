"""Order within a key: no first delivery overtakes another of its key, keys do not wait for each other, nothing starves."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmw.contract import Delivery, bind
from eventmw.delivery.batches import Batch
from eventmw.delivery.endings import Ended, Item, Postponed
from eventmw.delivery.line import SUSPECT_AFTER
from eventmw.delivery.order import first_free, in_line, key_of
from eventmw.delivery.queue import SendQueue
from eventmw.effects import DONE, Packed, Send, Verdict, dead, refused, retry
from eventmw.errors import Misuse
from eventmw.event import Event
from eventmw.http import HttpReply, HttpRequest
from tests.delivering import Batching, payloads
from tests.test_delivery import depart, item, now

RULES = Delivery(window=3, order_key="user", first_backoff_s=1.0, max_backoff_s=8.0, give_up_s=3600.0)


def event(**properties: Any) -> Event:
    return Event(id="e", name="n", timestamp_ms=1, recorded_ms=1, user_id="u1", properties=properties)


def batch(*keys: int) -> Batch:
    return Batch(HttpRequest("GET", "http://vendor.invalid/"), (Send(""),), keys=frozenset(keys))


def test_a_property_names_the_key_and_events_without_it_stand_alone() -> None:
    assert key_of(None, event(user="a")) is None
    assert key_of("user", event()) is None
    assert key_of("user", event(user=None)) is None
    assert key_of("user", event(user="a")) == key_of("user", event(user="a", other=1))
    assert key_of("user", event(user="a")) != key_of("user", event(user="b"))
    assert key_of("user", event(user=["a", {"b": 1}])) == key_of("user", event(user=["a", {"b": 1}]))


def test_a_function_names_the_key() -> None:
    assert key_of(lambda one: one.user_id, event()) == hash("u1")
    assert key_of(lambda _: None, event()) is None
    assert key_of(lambda _: 7, event()) == 7
    with pytest.raises(Misuse, match="order_key gave list where text, a whole number or None was expected"):
        key_of(lambda _: [], event())  # type: ignore[arg-type, return-value] # that is the point


def test_a_batch_waits_for_every_earlier_one_that_shares_a_key() -> None:
    first, second, third, alone = batch(1, 2), batch(2, 3), batch(3), batch()
    assert first_free([first, second]) is first
    assert first_free([second, third], [first]) is None, "the third waits for the second, which waits for the first"
    assert first_free([second, third, alone], [first]) is alone
    later = batch(9)
    later.not_before_s = 5.0
    assert first_free([later, batch(9), third], now_s=4.0) is third


def sends_of(keys: Iterable[int]) -> tuple[list[Send], dict[int, int]]:
    sends = [Send(str(at)) for at, _ in enumerate(keys)]
    return sends, {id(send): key for send, key in zip(sends, keys, strict=True)}


@given(st.data(), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_a_line_keeps_the_order_of_each_key_or_is_none(data: st.DataObject, keys: list[int]) -> None:
    sends, key = sends_of(keys)
    into = [data.draw(st.integers(0, 3)) for _ in sends]
    groups = [[send for send, group in zip(sends, into, strict=True) if group == wanted] for wanted in range(4)]
    batches = [Batch(HttpRequest("GET", "http://v.invalid/"), group) for group in groups if group]
    line = in_line(batches, sends, lambda send: key[id(send)])
    if line is None:
        assert len(batches) > 1, "one batch is always in line"
        return
    assert sorted(map(id, line)) == sorted(map(id, batches))
    for wanted in set(keys):
        ranks = [{int(send.payload) for send in one.sends if key[id(send)] == wanted} for one in line]
        ranks = [one for one in ranks if one]
        assert all(max(before) < min(after) for before, after in itertools.pairwise(ranks))


def fifo(sends: Sequence[Send]) -> Iterable[Sequence[Send]]:
    return [sends[at : at + 3] for at in range(0, len(sends), 3)]


def by_parity(sends: Sequence[Send]) -> Iterable[Sequence[Send]]:
    """Mix keys as GA4's pack does, which has one request for each visitor and address."""
    number = [int(send.payload.rpartition("-")[2]) for send in sends]
    return [[send for send, n in zip(sends, number, strict=True) if n % 2 == parity] for parity in (1, 0)]


def backwards(sends: Sequence[Send]) -> Iterable[Sequence[Send]]:
    return [[send] for send in reversed(sends)]


@dataclass(frozen=True, slots=True)
class Packing(Batching):
    """Packs as it is told to."""

    how: Callable[[Sequence[Send]], Iterable[Sequence[Send]]] = fifo

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
        for some in self.how(items):
            if some:
                yield next(iter(Batching(per_request=len(some)).pack(some)))


class Vendor:
    """Takes events into its books; answers as drawn."""

    def __init__(self, queue: SendQueue) -> None:
        self.queue = queue
        self.flying: list[Batch] = []
        self.departed: list[str] = []
        self.books: list[str] = []
        self.late: set[str] = set()
        self.passed_s = 0.0

    def depart(self) -> None:
        for one in depart(self.queue, self.passed_s):
            self.flying.append(one)
            self.departed += payloads(one.order)
        keys = Counter(key for one in self.queue.flying for key in one.keys)
        assert not keys or max(keys.values()) == 1, "a key is in one request at a time"

    def answer(self, index: int, verdicts: Sequence[Verdict], *, taken: bool) -> None:
        one = self.flying.pop(index)
        sent = payloads(one.order)
        self.books += [name for name, verdict in zip(sent, verdicts, strict=True) if taken or verdict.kind == "done"]
        self.queue.judged(one, verdicts, now(self.passed_s))
        self.late |= {end.item.event_id for end in self.queue.endings if isinstance(end, Postponed)}

    def finish(self) -> None:
        for _ in range(2000):
            self.depart()
            if self.flying:
                self.answer(0, [DONE] * len(self.flying[0].sends), taken=True)
            elif not len(self.queue):
                return
            else:
                assert self.queue.wakes_at_s is not None, "something starves"
                self.passed_s = max(self.passed_s, self.queue.wakes_at_s - 1000.0)
        raise AssertionError("it does not come to an end")


def keyed(name: str, seq: int, key: int | None) -> Item:
    made = item(name, seq)
    made.order_key = key
    return made


kinds = st.sampled_from([DONE, DONE, retry("later"), dead("no"), refused("?")])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.sampled_from([None, 0, 0, 1, 2, 3]), min_size=1, max_size=5)),
        st.tuples(st.just("depart"), st.none()),
        st.tuples(st.just("answer"), st.sampled_from(["taken", "failed", "lost", "refused", "mixed"])),
        st.tuples(st.just("answer"), st.sampled_from(["taken", "failed", "lost", "refused", "mixed"])),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 2.0, 9.0])),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), script=steps, how=st.sampled_from([fifo, by_parity, backwards]), window=st.integers(1, 4))
def test_first_deliveries_of_one_key_are_never_inverted(
    data: st.DataObject, script: list[tuple[str, Any]], how: Callable[..., Any], window: int
) -> None:
    queue = SendQueue(bind(Packing(how=how, delivery=replace(RULES, window=window, max_batch_items=6))))
    vendor, keys = Vendor(queue), dict[str, int | None]()
    for what, given_ in script:
        match what:
            case "add":
                for key in given_:
                    name = f"e-{len(keys)}"
                    queue.add(keyed(name, len(keys), key), (Send(name),), now(vendor.passed_s))
                    keys[name] = key
            case "depart":
                vendor.depart()
            case "wait":
                vendor.passed_s += given_
            case "answer" if vendor.flying:
                index = data.draw(st.integers(0, len(vendor.flying) - 1))
                count = len(vendor.flying[index].sends)
                match given_:
                    case "taken" | "failed":
                        verdicts = [DONE if given_ == "taken" else retry("HTTP 500")] * count
                    case "lost":
                        verdicts = [retry("no answer in time")] * count
                    case "refused":
                        verdicts = [refused("?")] * count
                    case _:
                        verdicts = [data.draw(kinds) for _ in range(count)]
                vendor.answer(index, verdicts, taken=given_ in {"taken", "lost"})
    vendor.finish()

    def firsts(names: Iterable[str], key: int) -> list[int]:
        return [int(name[2:]) for name in dict.fromkeys(names) if keys[name] == key]

    for key in {key for key in keys.values() if key is not None}:
        departed = firsts(vendor.departed, key)
        assert departed == sorted(departed), "each is first tried after those before it"
        arrived = [name for name in vendor.books if name not in vendor.late]
        assert firsts(arrived, key) == sorted(firsts(arrived, key)), "each first arrives after those before it"


@settings(max_examples=300, deadline=None)
@given(
    events=st.lists(
        st.tuples(st.sampled_from([0, 0, 1, 2]), st.sampled_from([False, False, False, True])), max_size=24
    ),
    down=st.lists(st.booleans(), max_size=60),
    chance=st.randoms(use_true_random=False),
    how=st.sampled_from([fifo, by_parity, backwards]),
)
def test_what_always_breaks_its_request_is_found_and_nothing_overtakes_meanwhile(
    events: list[tuple[int, bool]], down: list[bool], chance: Any, how: Callable[..., Any]
) -> None:
    """A vendor that is down at times, and requests that fail whenever certain events are in them.

    There is other traffic as well, within what is read ahead: without any, nobody could tell such an event from a vendor
    that is down, and its key waits until the give-up age.
    """
    queue = SendQueue(bind(Packing(how=how, delivery=replace(RULES, max_batch_items=40, give_up_s=1e6))))
    vendor, keys = Vendor(queue), dict[str, int]()
    toxic = {f"e-{seq}" for seq, (_, breaks) in enumerate(events) if breaks}
    waiting = [(f"e-{seq}", key) for seq, (key, _) in enumerate(events)]
    times = iter(down)
    good = {f"e-{seq}" for seq in range(len(events))} - toxic
    for turn in range(1000):
        if good <= set(vendor.books) | vendor.late:
            break
        while waiting and queue.has_room():
            name, key = waiting.pop(0)
            queue.add(keyed(name, len(keys), key), (Send(name),), now(vendor.passed_s))
            keys[name] = key
        if queue.has_room() and not vendor.flying:
            queue.add(keyed(f"pulse-{turn}", 10**6 + turn, None), (Send(f"pulse-{turn}"),), now(vendor.passed_s))
        vendor.depart()
        vendor.passed_s += 1.0
        if vendor.flying:
            index = chance.randrange(len(vendor.flying))
            sent = payloads(vendor.flying[index].order)
            fails = next(times, False) or not toxic.isdisjoint(sent)
            vendor.answer(index, [retry("HTTP 500") if fails else DONE] * len(sent), taken=False)
        elif queue.wakes_at_s is not None:
            vendor.passed_s = max(vendor.passed_s, queue.wakes_at_s - 1000.0)
    assert good <= set(vendor.books) | vendor.late, "nothing starves"
    for key in set(keys.values()):
        departed = [int(name[2:]) for name in dict.fromkeys(vendor.departed) if keys.get(name) == key]
        assert departed == sorted(departed), "each is first tried after those before it"
        arrived = [
            int(name[2:]) for name in dict.fromkeys(vendor.books) if keys.get(name) == key and name not in vendor.late
        ]
        assert arrived == sorted(arrived)


@pytest.mark.parametrize("how", [fifo, backwards])
def test_different_keys_fill_the_window(how: Callable[..., Any]) -> None:
    queue = SendQueue(bind(Packing(how=how, delivery=RULES)))
    for seq in range(12):
        queue.add(keyed(f"e-{seq}", seq, seq), (Send(f"e-{seq}"),), now())
    assert len(depart(queue)) == RULES.window


def test_a_key_that_hangs_holds_up_no_other_and_its_own_come_in_order() -> None:
    queue = SendQueue(bind(Packing(per_request=1, how=lambda sends: [[send] for send in sends], delivery=RULES)))
    for seq in range(9):
        queue.add(keyed(f"e-{seq}", seq, seq % 3 if seq < 6 else 0), (Send(f"e-{seq}"),), now())
    flying = depart(queue)
    assert [payloads(one.order) for one in flying] == [["e-0"], ["e-1"], ["e-2"]]
    for one in flying[1:]:
        queue.answered(one, HttpReply(200), now())
    more = depart(queue)
    assert [payloads(one.order) for one in more] == [["e-4"], ["e-5"]], "e-3 waits for e-0"
    queue.answered(flying[0], HttpReply(200), now())
    assert [payloads(one.order) for one in depart(queue)] == [["e-3"]], "and e-6 for e-3"


def test_a_hot_key_does_not_hide_the_others_and_what_is_put_by_is_bounded() -> None:
    queue = SendQueue(
        bind(Packing(how=lambda sends: [[send] for send in sends], delivery=replace(RULES, max_batch_items=4)))
    )
    hot = [f"e-{seq}" for seq in range(4)]
    for seq, name in enumerate(hot):
        queue.add(keyed(name, seq, 7), (Send(name),), now())
    assert [payloads(one.order) for one in depart(queue)] == [["e-0"]]
    queue.add(keyed("e-4", 4, 7), (Send("e-4"),), now())
    queue.add(keyed("e-5", 5, 8), (Send("e-5"),), now())
    assert [payloads(one.order) for one in depart(queue)] == [["e-5"]]
    for seq in range(6, 40):
        if not queue.has_room():
            break
        queue.add(keyed(f"e-{seq}", seq, 7), (Send(f"e-{seq}"),), now())
        depart(queue)
    assert not queue.has_room(), "a hot key fills the read-ahead, and no more than that"
    assert len(queue) <= 2 * 4 + 3 + 2


def test_what_is_broken_up_while_the_tool_stands_keeps_its_order() -> None:
    """No other traffic: parts of the batch are tried until one passes, and none overtakes another of its key."""
    queue = SendQueue(bind(Packing(how=fifo, delivery=replace(RULES, window=1))))
    for seq, key in enumerate([0, 0, 1]):
        queue.add(keyed(f"e-{seq}", seq, key), (Send(f"e-{seq}"),), now())
    sent: list[list[str]] = []
    for turn in range(9):
        (one,) = depart(queue, 10.0 * turn)
        sent.append(payloads(one.order))
        queue.answered(one, HttpReply(500 if "e-0" in sent[-1] else 200), now(10.0 * turn))
        if not len(queue):
            break
    whole = [["e-0", "e-1", "e-2"]] * SUSPECT_AFTER
    assert sent == [*whole, ["e-0"], ["e-2"], ["e-0"], ["e-1"]]
    assert [type(end) for end in queue.endings] == [Ended, Postponed, Ended], "e-0 alone is parked"


def test_a_suspect_does_not_overtake_what_is_in_flight() -> None:
    queue = SendQueue(bind(Packing(how=lambda sends: [[send] for send in sends], delivery=RULES)))
    for seq, key in enumerate([0, 1]):
        queue.add(keyed(f"e-{seq}", seq, key), (Send(f"e-{seq}"),), now())
    first, second = depart(queue)
    queue.answered(second, HttpReply(200), now())
    queue.answered(first, HttpReply(500), now())
    again = keyed("e-9", 9, 0)
    again.parked = True
    queue.add(again, (Send("e-9"),), now())
    queue.add(keyed("e-2", 2, 0), (Send("e-2"),), now())
    assert [payloads(one.order) for one in depart(queue)] == [["e-9"]], (
        "what is parked may go out of order, e-2 may not"
    )


def test_parts_of_parts_keep_their_places() -> None:
    queue = SendQueue(bind(Packing(how=lambda sends: [sends], delivery=replace(RULES, window=1))))
    for seq, key in enumerate([0, 1, 0, 1]):
        queue.add(keyed(f"e-{seq}", seq, key), (Send(f"e-{seq}"),), now())
    taken: list[str] = []
    for turn in range(20):
        (one,) = depart(queue, 10.0 * turn)
        sent = payloads(one.order)
        queue.answered(one, HttpReply(500 if "e-0" in sent else 200), now(10.0 * turn))
        taken += [] if "e-0" in sent else sent
        if not len(queue):
            break
    assert taken == ["e-1", "e-2", "e-3"], "e-3 waits for e-1, whose batch was broken up twice"
