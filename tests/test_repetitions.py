"""Repetitions wait for their first, within bounds."""

from __future__ import annotations

from eventmw.delivery.endings import Item
from eventmw.delivery.repetitions import MOST, Repetitions
from eventmw.journal import Key, Lease
from eventmw.journal.memory import MemoryJournal
from tests.journal_conformance import NOW_MS, delivered, leading, put


class Stage:
    """A journal with two records for the tool ``a``, and its repetitions."""

    def __init__(self) -> None:
        journal = MemoryJournal()
        journal.register(["a"])
        self.first, self.other = Key(put(journal, 1), 0), Key(put(journal, 2, events=2), 0)
        self.lease: Lease = leading(journal)
        self.live: set[Key] = set()
        self.ended: list[Item] = []
        self.waiting = Repetitions("a", self.lease, self.live, self.ended.append)

    def item(self, ordinal: int = 0) -> Item:
        return Item(Key(self.other.position, ordinal), "x", NOW_MS, b"", ordinal, 1)


def test_one_whose_first_is_settled_ends_at_once() -> None:
    stage = Stage()
    stage.lease.commit("a", delivered(stage.first))
    item = stage.item()
    assert stage.waiting.take(item, stage.first)
    assert stage.ended == [item]
    assert stage.waiting.let_go() == []


def test_one_whose_first_is_open_ends_with_it_and_only_with_it() -> None:
    stage = Stage()
    item = stage.item()
    assert stage.waiting.take(item, stage.first)
    assert stage.live == {item.key}
    stage.waiting.landed([stage.other])
    assert stage.ended == []
    stage.waiting.landed([stage.first])
    stage.waiting.landed([stage.first])
    assert stage.ended == [item]


def test_what_waits_is_let_go_and_not_ended() -> None:
    stage = Stage()
    assert stage.waiting.take(stage.item(0), stage.first)
    assert stage.waiting.take(stage.item(1), stage.first)
    assert stage.waiting.let_go() == [stage.item(0).key, stage.item(1).key]
    stage.waiting.landed([stage.first])
    assert stage.ended == []


def test_with_many_that_wait_for_one_in_flight_nothing_more_is_read() -> None:
    stage = Stage()
    stage.live.add(stage.first)
    for number in range(MOST):
        assert not stage.waiting.is_full()
        assert stage.waiting.take(stage.item(number), stage.first)
    assert stage.waiting.is_full()
    stage.waiting.landed([stage.first])
    assert not stage.waiting.is_full()
    assert len(stage.ended) == MOST


def test_while_a_first_is_still_to_be_read_reading_goes_on_and_rather_twice_than_never() -> None:
    stage = Stage()
    for number in range(2 * MOST):
        assert stage.waiting.take(stage.item(number), stage.first)
        assert not stage.waiting.is_full()
    assert not stage.waiting.take(stage.item(2 * MOST), stage.first)
    assert stage.ended == []
