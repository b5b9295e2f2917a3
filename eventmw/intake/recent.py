"""The ids that this process knows to be durable: what lets the door say ``duplicate``.

Layer: input and output (it keeps state between requests). The courier is the judge of duplicates; this is only for the
receipt, so it may forget.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

WINDOW_MS: Final = 24 * 3600 * 1000
MAX_IDS: Final = 100_000


class Recent:
    """A bounded memory of (credential, event id). Thread-safe."""

    def __init__(self) -> None:
        self._seen_ms: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, credential: str, ids: Iterable[tuple[str, int]], now_ms: int) -> list[int]:
        """Take in the ids of a request that is now durable; return the indexes of those that were known already."""
        known: list[int] = []
        with self._lock:
            for ident, index in ids:
                first_ms = self._seen_ms.get((credential, ident))
                if first_ms is not None and now_ms - first_ms < WINDOW_MS:
                    known.append(index)
                else:
                    self._seen_ms[(credential, ident)] = now_ms
            while len(self._seen_ms) > MAX_IDS:
                self._seen_ms.popitem(last=False)
        return known
