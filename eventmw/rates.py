"""How often one sender may come: the generic cell rate algorithm, one number for each sender.

Layer: input and output (it keeps state between requests); time is an argument. Source: ITU-T I.371, annex A.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

MAX_SENDERS: Final = 10_000
"""Senders remembered; past it the one that came longest ago is forgotten, so that spoofed ones cannot fill memory."""


class Rates:
    """Admits `requests_per_s` on average and `burst` at once, for each sender. Thread-safe.

    Args:
        requests_per_s: requests a second.
        burst: requests that may come at once.
    """

    def __init__(self, requests_per_s: float, burst: int) -> None:
        self._step_s = 1.0 / requests_per_s
        self._slack_s = self._step_s * (burst - 1)
        self._due_s: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, sender: str, now_s: float) -> float:
        """Count one request of a sender; return 0 when it may come in, else the seconds after which it may."""
        with self._lock:
            due_s = max(self._due_s.pop(sender, now_s), now_s)
            early_s = due_s - now_s - self._slack_s
            self._due_s[sender] = due_s if early_s > 0 else due_s + self._step_s
            if len(self._due_s) > MAX_SENDERS:
                self._due_s.popitem(last=False)
        return max(early_s, 0.0)
