"""The judge of duplicates against a naive one that remembers everything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.delivery.duplicates import CAPACITY, WINDOW_MS, Duplicates
from eventmw.journal import Key, Position

HOUR_MS = 3600 * 1000
NOW_MS = 1_790_000_000_000


def at(seq: int, ordinal: int = 0) -> Key:
    return Key(Position("s", seq), ordinal)


def repeats(judge: Duplicates, credential: str, event_id: str, key: Key, recorded_ms: int) -> bool:
    return judge.first(credential, event_id, key, recorded_ms) is not None


def test_the_second_of_one_sender_is_a_duplicate_and_the_first_never_becomes_one() -> None:
    judge = Duplicates()
    assert not repeats(judge, "shop", "order-1", at(5, 0), NOW_MS)
    assert repeats(judge, "shop", "order-1", at(9, 0), NOW_MS + 1)
    assert repeats(judge, "shop", "order-1", at(5, 1), NOW_MS), "twice in one record"
    assert not repeats(judge, "shop", "order-1", at(5, 0), NOW_MS), "a replay of the first, or a tool that lags"
    assert repeats(judge, "shop", "order-1", at(9, 0), NOW_MS + 1), "the judgement stands"


def test_ids_of_two_senders_are_two_ids() -> None:
    judge = Duplicates()
    assert not repeats(judge, "anonymous", "order-1", at(1, 0), NOW_MS)
    assert not repeats(judge, "shop", "order-1", at(2, 0), NOW_MS)
    assert not repeats(judge, "shopo", "rder-1", at(3, 0), NOW_MS), "where the name ends is part of the key"


def test_the_window_is_24_hours_between_the_records_and_its_end_belongs_to_it() -> None:
    judge = Duplicates()
    assert not repeats(judge, "shop", "a", at(1, 0), NOW_MS)
    assert repeats(judge, "shop", "a", at(2, 0), NOW_MS + WINDOW_MS)
    assert not repeats(judge, "shop", "a", at(3, 0), NOW_MS + WINDOW_MS + 1)
    assert repeats(judge, "shop", "a", at(4, 0), NOW_MS + WINDOW_MS + 2), "the third opened a window of its own"
    assert not repeats(judge, "shop", "a", at(1, 0), NOW_MS), (
        "a tool a day behind is told the same as the first one was"
    )


def test_a_million_ids_take_less_than_forty_bytes_each() -> None:
    judge = Duplicates()
    for seq in range(2 * CAPACITY // 16):
        repeats(judge, "anonymous", f"id-{seq}", at(seq, 0), NOW_MS)
    tables = list(judge._generations)
    size = sum(
        len(memoryview(column)) * column.itemsize
        for table in tables
        for column in (table._marks, table._times, table._places)
    )
    assert len(judge) == 2 * CAPACITY // 16
    assert size / len(judge) < 40


ids = st.sampled_from(["a", "b", "c", "d", "e", "f"])
steps = st.lists(st.tuples(ids, st.integers(0, 40)), max_size=60)


@given(steps)
def test_like_a_naive_judge_while_nothing_has_to_be_forgotten(log: list[tuple[str, int]]) -> None:
    judge = Duplicates(capacity=1000, generations=2)
    firsts: dict[str, list[int]] = {}
    for seq, (ident, hours) in enumerate(log):
        now_ms = NOW_MS + hours * HOUR_MS
        near = any(abs(now_ms - first_ms) <= WINDOW_MS for first_ms in firsts.get(ident, ()))
        assert repeats(judge, "x", ident, at(seq, 0), now_ms) == near
        if not near:
            firsts.setdefault(ident, []).append(now_ms)


@given(steps)
def test_a_second_tool_hears_the_same_however_far_it_lags(log: list[tuple[str, int]]) -> None:
    judge = Duplicates(capacity=1000, generations=2)
    record = [(ident, at(seq), NOW_MS + hours * HOUR_MS) for seq, (ident, hours) in enumerate(log)]
    leading = [repeats(judge, "x", ident, key, when) for ident, key, when in record]
    lagging = [repeats(judge, "x", ident, key, when) for ident, key, when in record]
    assert leading == lagging


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 4), st.integers(1, 12))
def test_memory_is_bounded_and_the_latest_are_remembered(log: list[int], generations: int, per_generation: int) -> None:
    capacity = generations * per_generation
    judge = Duplicates(capacity=capacity, generations=generations)
    known: list[int] = []
    for seq, ident in enumerate(log):
        repeated = repeats(judge, "x", str(ident), at(seq, 0), NOW_MS)
        assert len(judge) <= capacity
        if repeated:
            assert ident in known, "never a duplicate of nothing: that would lose the event"
        else:
            assert ident not in known[len(known) - (capacity - per_generation) :] or capacity == per_generation
            known.append(ident)


def test_a_generation_that_is_too_old_gives_its_room_back() -> None:
    judge = Duplicates(capacity=8, generations=4)
    for seq in range(4):
        repeats(judge, "x", str(seq), at(seq, 0), NOW_MS)
    repeats(judge, "x", "late", at(9, 0), NOW_MS + WINDOW_MS + 1)
    assert len(judge) == 1


def test_what_is_restored_judges_as_before() -> None:
    judge = Duplicates(capacity=40, generations=4)
    for n in range(35):
        repeats(judge, "shop", f"order-{n}", at(n, 0), NOW_MS + n)
    other = Duplicates(capacity=40, generations=4)
    other.restore(judge.part(number) for number in judge.parts())
    assert other.parts() == judge.parts() == {1: 10, 2: 10, 3: 10, 4: 5}
    for n in range(45):
        assert repeats(other, "shop", f"order-{n}", at(100 + n, 0), NOW_MS + n) is (n < 35)


@pytest.mark.parametrize("damaged", [b"", b"short", b"x" * 40])
def test_what_is_damaged_is_not_restored(damaged: bytes) -> None:
    judge = Duplicates(capacity=40, generations=4)
    repeats(judge, "shop", "order-1", at(1, 0), NOW_MS)
    whole = judge.part(1)
    for bad in (damaged, whole[:-3]):
        with pytest.raises(ValueError, match="table"):
            judge.restore([whole, bad])
    assert repeats(judge, "shop", "order-1", at(2, 0), NOW_MS), "what it knew it still knows"


def test_a_table_of_another_size_is_not_restored() -> None:
    judge = Duplicates(capacity=40, generations=4)
    repeats(judge, "shop", "order-1", at(1, 0), NOW_MS)
    with pytest.raises(ValueError, match="slots was expected"):
        Duplicates(capacity=80, generations=4).restore([judge.part(1)])
