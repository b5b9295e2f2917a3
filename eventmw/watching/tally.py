"""The tally of one process: counters, histograms and gauges, each under a name and its labels' values.

Our own and not prometheus-client's, so that other processes can be asked for theirs as JSON, and so that a
``PROMETHEUS_MULTIPROC_DIR`` of the site's is left alone.

Layer: input and output (it is shared by threads). It knows no names: `eventmw.watching.exposition` has them.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histograms' buckets, in seconds: from an append in memory to a vendor's time-out."""

Series = tuple[str, ...]
"""A name, and the values of its labels in their order."""


class Tally:
    """Counts. Thread-safe; empty again after a fork, since the parent goes on counting what was there."""

    def __init__(self) -> None:
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget everything."""
        self._lock = threading.Lock()
        self._counts: Counter[Series] = Counter()
        self._gauges: dict[Series, float] = {}
        self._buckets: dict[Series, list[int]] = {}
        self._sums: dict[Series, float] = {}

    def count(self, *series: str, by: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[series] += by

    def set(self, *series: str, to: float) -> None:
        """Set a gauge."""
        with self._lock:
            self._gauges[series] = to

    def observe(self, *series: str, seconds: float) -> None:
        """Put one duration into a histogram."""
        place = bisect_left(BOUNDS_S, seconds)
        with self._lock:
            if series not in self._buckets:
                self._buckets[series] = [0] * (len(BOUNDS_S) + 1)
                self._sums[series] = 0.0
            self._buckets[series][place] += 1
            self._sums[series] += seconds

    def as_json(self) -> Mapping[str, Any]:
        """Return everything as JSON values.

        ``{"counts": [[series, n], …], "gauges": [[series, x], …], "histograms": [[series, buckets, sum], …]}``; a series is
        its name and labels; ``buckets`` counts the durations up to each of `BOUNDS_S` and not the one before, then the rest.
        """
        with self._lock:
            return {
                "counts": [[list(series), number] for series, number in self._counts.items()],
                "gauges": [[list(series), value] for series, value in self._gauges.items()],
                "histograms": [
                    [list(series), list(buckets), self._sums[series]] for series, buckets in self._buckets.items()
                ],
            }
