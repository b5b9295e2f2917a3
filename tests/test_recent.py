"""The ids that this process knows to be durable."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventmw.intake.recent import MAX_IDS, MAX_RECEIPTS, WINDOW_MS, Recent

STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.lists(st.sampled_from("xyz"), max_size=4), st.integers(0, WINDOW_MS)),
    max_size=12,
)


@given(STEPS)
def test_it_knows_what_came_within_a_day_from_the_same_sender(steps: list[tuple[str, list[str], int]]) -> None:
    recent, first, now_ms = Recent(), dict[tuple[str, str], int](), 0
    for credential, ids, gap_ms in steps:
        now_ms += gap_ms
        expected: list[int] = []
        for index, ident in enumerate(ids):
            since = first.get((credential, ident))
            if since is not None and now_ms - since < WINDOW_MS:
                expected.append(index)
            else:
                first[(credential, ident)] = now_ms
        assert recent.remember(credential, [(ident, index) for index, ident in enumerate(ids)], now_ms) == expected


def test_memory_is_bounded_and_the_oldest_are_forgotten() -> None:
    recent = Recent()
    recent.remember("a", ((str(number), number) for number in range(MAX_IDS + 1)), 0)
    assert recent.remember("a", [("0", 7)], 0) == []
    assert recent.remember("a", [(str(MAX_IDS), 7)], 0) == [7]


RECEIPT = "0123456789abcdef" * 2


def test_it_knows_the_ids_that_events_got_from_their_receipt() -> None:
    recent = Recent()
    recent.remember_receipt("a", RECEIPT, range(2), 0)
    recent.remember_receipt("b", RECEIPT, (5,), 0)
    ids = [f"{RECEIPT}-0", f"{RECEIPT}-1", f"{RECEIPT}-2", f"{RECEIPT}-01", f"{RECEIPT}-5", RECEIPT]
    assert recent.remember("a", [(ident, index) for index, ident in enumerate(ids)], WINDOW_MS - 1) == [0, 1]
    assert recent.remember("b", [(f"{RECEIPT}-5", 0), (f"{RECEIPT}-0", 1)], 1) == [0]


def test_a_receipt_is_forgotten_after_a_day_or_when_there_are_too_many() -> None:
    recent = Recent()
    recent.remember_receipt("a", RECEIPT, range(1), 0)
    assert recent.remember("a", [(f"{RECEIPT}-0", 0)], WINDOW_MS) == []
    recent.remember_receipt("b", RECEIPT, range(1), 0)
    for number in range(MAX_RECEIPTS):
        recent.remember_receipt("c", f"{number:032x}", range(1), 0)
    assert recent.remember("b", [(f"{RECEIPT}-0", 0)], 1) == []
