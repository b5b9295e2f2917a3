"""How often one tool's vendor is asked: so many requests a second, a few of them at once.

Layer: pure rules; time is an argument. Source: the generic cell rate algorithm, ITU-T I.371, annex A.
"""

from __future__ import annotations

from typing import Final

BURST_S: Final = 0.1
"""As many requests may go at once as this time's worth, and at least one. Source: assumption."""

_NS: Final = 1_000_000_000


class Rate:
    """Lets `per_s` requests a second go on average. Not thread-safe.

    In any T seconds at most ``burst + T * per_s`` requests go. Whole nanoseconds: sums of fractions would drift, and hold
    back the last request of a burst.

    Attributes:
        burst: requests that may go at once after a pause.
    """

    __slots__ = ("_due_ns", "_slack_ns", "_step_ns", "burst")

    def __init__(self, per_s: float) -> None:
        self.burst = max(1, int(per_s * BURST_S))
        self._step_ns = max(1, round(_NS / per_s))
        self._slack_ns = self._step_ns * (self.burst - 1)
        self._due_ns = 0

    def wait_s(self, now_s: float) -> float:
        """Return the seconds, on a monotonic clock, after which the next request may go; 0 when it may go now."""
        return max(0, self._due_ns - self._slack_ns - round(now_s * _NS)) / _NS

    def take(self, now_s: float) -> None:
        """Count a request that goes now."""
        self._due_ns = max(self._due_ns, round(now_s * _NS)) + self._step_ns
