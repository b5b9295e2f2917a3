"""Which records some tool has settled something of, in pages, with marks that outlive their leader.

A mark says for each stream how far one has come, as JSON.

Layer: input and output. Not thread-safe: the leader's lock is around it.
Source: JOURNAL.md «Duplicates».
"""

from __future__ import annotations

import time
from itertools import islice

import msgspec

from eventmw.journal import Entry
from eventmw.journal.files.ledger import Ledger
from eventmw.journal.files.sources import Horizon, Merge, Sources


class Recalling:
    """The way through what was begun. Who goes on where the last page ended does not start afresh."""

    def __init__(self, sources: Sources, ledger: Ledger) -> None:
        self._sources = sources
        self._ledger = ledger
        self._mark: bytes | None = None
        self._seen: dict[str, int] = {}
        self._merge = Merge(sources, lambda _: 0)

    def page(self, after: bytes, limit: int) -> tuple[list[Entry], bytes]:
        """Return at most `limit` records after a mark, and the mark after them."""
        if self._mark != after:
            self._begin(after)
        self._sources.follow()
        horizon = Horizon(time.monotonic_ns(), self._reached())
        entries = [found.entry for found in islice(self._merge.take(horizon), limit)]
        self._seen.update(dict[str, int](entry.position for entry in entries))
        self._mark = msgspec.json.encode(self._seen)
        return entries, self._mark

    def end(self) -> bytes:
        """Return the mark after all of them."""
        return msgspec.json.encode(self._reached())

    def _begin(self, after: bytes) -> None:
        begin: dict[str, int] = msgspec.json.decode(after, type=dict[str, int]) if after else {}
        self._seen = dict(begin)
        self._merge = Merge(
            self._sources, lambda sid: max(begin.get(sid, 0), self._sources.all[sid].segments.base().seq)
        )

    def _reached(self) -> dict[str, int]:
        furthest: dict[str, int] = {}
        for place in self._ledger.tools.values():
            for sid, reach in place.reaches.items():
                furthest[sid] = max(furthest.get(sid, 0), reach.total.seq, *reach.beyond)
        return furthest
