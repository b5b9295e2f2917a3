"""Filling requests: how many sends go into one, within a vendor's limits of count and bytes.

Layer: pure rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eventmw.effects import Send


def batches(items: Iterable[Send], *, max_items: int, max_bytes: int, frame: int = 0) -> Iterator[list[Send]]:
    """Yield the sends in order, in lists that fit: every send is in exactly one, none is empty.

    A list's bytes are the sends' ``size``, one byte between two of them, and `frame` for what stands around them. A send
    that is larger than `max_bytes` by itself is alone in its list.
    """
    chosen: list[Send] = []
    used = frame - 1
    for item in items:
        cost = item.size + 1
        if chosen and (len(chosen) == max_items or used + cost > max_bytes):
            yield chosen
            chosen, used = [], frame - 1
        chosen.append(item)
        used += cost
    if chosen:
        yield chosen
