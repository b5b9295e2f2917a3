"""Filling requests within limits of count and bytes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eventmw.effects import Send
from eventmw.toolkit.packing import batches

SIZES = st.lists(st.integers(0, 120), max_size=60)


@given(SIZES, st.integers(1, 8), st.integers(1, 200), st.integers(0, 30))
def test_every_send_is_in_one_list_in_order_and_within_the_limits(
    sizes: list[int], max_items: int, max_bytes: int, frame: int
) -> None:
    items = [Send(index, size=size) for index, size in enumerate(sizes)]
    made = list(batches(items, max_items=max_items, max_bytes=max_bytes, frame=frame))
    assert [item for batch in made for item in batch] == items
    for batch in made:
        assert 1 <= len(batch) <= max_items
        used = frame + sum(item.size for item in batch) + len(batch) - 1
        assert used <= max_bytes or len(batch) == 1


@given(SIZES, st.integers(1, 8), st.integers(1, 200))
def test_no_list_ends_early(sizes: list[int], max_items: int, max_bytes: int) -> None:
    items = [Send(index, size=size) for index, size in enumerate(sizes)]
    made = list(batches(items, max_items=max_items, max_bytes=max_bytes))
    for batch, following in pairwise(made):
        used = sum(item.size for item in batch) + len(batch) - 1
        assert len(batch) == max_items or used + 1 + following[0].size > max_bytes
