"""The ids that this process knows to be durable: what lets the door say ``duplicate``.

Layer: input and output (it keeps state between requests). The courier is the judge of duplicates; this is only for the
receipt, so it may forget.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Container, Iterable
from typing import Final

WINDOW_MS: Final = 24 * 3600 * 1000
MAX_IDS: Final = 100_000


MAX_RECEIPTS: Final = 10_000
"""Receipts remembered. There is one for each request, and an id that repeats one is rare."""

_numbered = re.compile(r"([0-9a-f]{32})-(0|[1-9][0-9]{0,5})").fullmatch


class Recent:
    """A bounded memory of (credential, event id). Thread-safe."""

    def __init__(self) -> None:
        self._seen_ms: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._receipts: OrderedDict[tuple[str, str], tuple[int, Container[int]]] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, credential: str, ids: Iterable[tuple[str, int]], now_ms: int) -> list[int]:
        """Take in the ids of a request that is now durable; return the indexes of those that were known already."""
        known: list[int] = []
        with self._lock:
            for ident, index in ids:
                first_ms = self._seen_ms.get((credential, ident))
                if self._is_numbered(credential, ident, now_ms) or (
                    first_ms is not None and now_ms - first_ms < WINDOW_MS
                ):
                    known.append(index)
                else:
                    self._seen_ms[(credential, ident)] = now_ms
            while len(self._seen_ms) > MAX_IDS:
                self._seen_ms.popitem(last=False)
        return known

    def first_ms(self, credential: str, ident: str) -> int | None:
        """Return when an id that is known came first, in milliseconds since 1970."""
        with self._lock:
            return self._seen_ms.get((credential, ident))

    def remember_receipt(self, credential: str, receipt_id: str, indexes: Container[int], now_ms: int) -> None:
        """Take in the receipt of a request that is now durable.

        Args:
            credential: whose request it was.
            receipt_id: 32 hexadecimal digits.
            indexes: of its events whose ids are ``<receipt id>-<index>``.
            now_ms: the time, in milliseconds since 1970.
        """
        with self._lock:
            self._receipts[(credential, receipt_id)] = (now_ms, indexes)
            if len(self._receipts) > MAX_RECEIPTS:
                self._receipts.popitem(last=False)

    def _is_numbered(self, credential: str, ident: str, now_ms: int) -> bool:
        """Return whether a sender's own id is the id that an earlier event got from its receipt."""
        if not (found := _numbered(ident)):
            return False
        first_ms, indexes = self._receipts.get((credential, found[1]), (0, ()))
        return int(found[2]) in indexes and now_ms - first_ms < WINDOW_MS
