"""A tool's circuit breaker: whether its vendor is asked at all, and when it is tried again.

===========  ==================  ==============================================================================
the field's  ours, in ``stats``  what it means
===========  ==================  ==============================================================================
closed       ``flowing``         batches depart as the window and the rate allow
open         ``standing``        the vendor failed: nothing departs before `Circuit.probe_at_s`
half-open    ``probing``         one batch is out to try; whatever comes of it closes the circuit or opens it anew
===========  ==================  ==============================================================================

It opens when a whole request fails and no other passed while it was under way, or when the vendor asks for a pause. So one
bad batch among good ones does not open it: see `eventmw.delivery.queue`.

Layer: pure rules; time and chance come in as a `Moment`.
"""

from __future__ import annotations

from typing import Literal

from eventmw.delivery.batches import Batch
from eventmw.delivery.endings import Moment
from eventmw.delivery.rules import Delivery
from eventmw.retry import MAX_RETRY_AFTER_S, backoff_s

Phase = Literal["flowing", "standing", "probing"]


class Circuit:
    """The circuit breaker of one tool. Not thread-safe.

    Attributes:
        phase: ``flowing``, ``standing`` or ``probing``.
        attempts: how many times in a row the vendor failed since it last answered.
        last_error: why the tool stands, "" while it flows.
        probe_at_s: monotonic seconds; 0.0 while it flows.
        probe: the batch that is out to try.
    """

    __slots__ = ("_rules", "attempts", "last_error", "phase", "probe", "probe_at_s")

    def __init__(self, rules: Delivery) -> None:
        self.phase: Phase = "flowing"
        self.attempts = 0
        self.last_error = ""
        self.probe_at_s = 0.0
        self.probe: Batch | None = None
        self._rules = rules

    def try_with(self, batch: Batch) -> None:
        """Send this one out to try: half-open."""
        self.phase, self.probe = "probing", batch

    def close(self) -> None:
        """Flow again: the vendor answers."""
        self.phase, self.probe = "flowing", None
        self.attempts, self.probe_at_s, self.last_error = 0, 0.0, ""

    def trip(self, batch: Batch | None, reason: str, asked_s: float, now: Moment) -> None:
        """Stand still, because a batch failed as a whole: until the back-off is over, and what the vendor asked for.

        What was in flight beside the one that opened it neither ends a probe nor counts as another attempt.
        """
        if self.phase == "flowing" or (batch is not None and batch is self.probe):
            self.attempts += 1
            self.phase, self.probe = "standing", None
        pause_s = max(self.backoff_s(self.attempts, now), min(asked_s, MAX_RETRY_AFTER_S))
        self.probe_at_s = max(self.probe_at_s, now.monotonic_s + pause_s)
        self.last_error = reason

    def backoff_s(self, failures: int, now: Moment) -> float:
        """Return the seconds to wait after so many failures."""
        rules = self._rules
        return backoff_s(failures, first_s=rules.first_backoff_s, max_s=rules.max_backoff_s, random=now.chance)
