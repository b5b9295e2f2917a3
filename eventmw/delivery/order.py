"""Order within a key: the events of one person are first sent as they were recorded, those of others beside them.

A batch has the keys of its events. It may depart when none of them is in a batch that was made before it and is not decided:
in flight, waiting, or kept because it failed. Where a tool's ``pack`` mixes the events of one key so that no order of the
batches would be right, it is asked again with fewer.

Layer: pure rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import Any

from eventmw.delivery.batches import Batch
from eventmw.delivery.rules import OrderKey
from eventmw.effects import Send
from eventmw.errors import Misuse
from eventmw.event import Event


def key_of(order_key: OrderKey, event: Event) -> int | None:
    """Return a number that is the same for events of one key, or None for an event that stands alone.

    Two keys may share a number, which holds one of them back for a moment and loses nothing.

    Raises:
        Misuse: the function gave something else than text, a whole number or None.
        Exception: whatever the function raised.
    """
    if order_key is None:
        return None
    if isinstance(order_key, str):
        value: Any = event.properties.get(order_key)
        return None if value is None else hash(value if isinstance(value, str | int | float) else repr(value))
    given: object = order_key(event)
    if given is None:
        return None
    if not isinstance(given, str | int):
        raise Misuse(f"order_key gave {type(given).__name__} where text, a whole number or None was expected")
    return hash(given)


def first_free(line: Iterable[Batch], before: Iterable[Batch] = (), now_s: float = inf) -> Batch | None:
    """Return the first batch of a line that may depart, or None: it waits for no time and for none of its keys."""
    return next(free(line, before, now_s), None)


def free(line: Iterable[Batch], before: Iterable[Batch] = (), now_s: float = inf) -> Iterator[Batch]:
    """Return those batches of a line that may depart: none of their keys is in one that stands before them."""
    held: set[int] = set()
    for batch in before:
        held |= batch.keys
    for batch in line:
        if batch.not_before_s <= now_s and held.isdisjoint(batch.keys):
            yield batch
        held |= batch.keys


def in_line(
    batches: Sequence[Batch], sends: Sequence[Send], key: Callable[[Send], int | None]
) -> Sequence[Batch] | None:
    """Return the batches of `sends` so that one after the other keeps each key's order, or None when none does so.

    Within a batch the order is the tool's own.
    """
    rank = {id(send): at for at, send in enumerate(sends)}
    line = sorted(batches, key=lambda batch: min(rank[id(send)] for send in batch.sends))
    latest: dict[int, int] = {}
    for batch in line:
        ranks: dict[int, list[int]] = {}
        for send in batch.sends:
            if (own := key(send)) is not None:
                ranks.setdefault(own, []).append(rank[id(send)])
        if any(min(mine) < latest.get(own, 0) for own, mine in ranks.items()):
            return None
        latest.update((own, max(mine)) for own, mine in ranks.items())
    return line
