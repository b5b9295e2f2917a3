"""How often one sender may come: the generic cell rate algorithm, one number for each sender.

Layer: input and output (it keeps state between requests); time is an argument. Source: ITU-T I.371, annex A.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from functools import lru_cache
from typing import Final

MAX_SENDERS: Final = 10_000
"""Senders remembered; past it the one that came longest ago is forgotten, so that spoofed ones cannot fill memory."""

_NS: Final = 1_000_000_000


_PREFIX: Final = 64
"""Bits of an IPv6 address that say whose it is: one subscriber has all addresses behind them. Source: RFC 6177; BCP 157."""


@lru_cache(maxsize=4096)
def sender_of(address: str) -> str:
    """Return by what the sender at an address is counted: an IPv4 address whole, an IPv6 address as its /64 network."""
    if ":" not in address:
        return address
    try:
        network = ipaddress.IPv6Network((address, _PREFIX), strict=False)
    except ValueError:
        return address
    return str(network)


class Rates:
    """Admits `requests_per_s` on average and `burst` at once, for each sender. Thread-safe.

    Args:
        requests_per_s: requests a second.
        burst: requests that may come at once.
    """

    # Whole nanoseconds: sums of fractions would drift, and refuse the last request of a burst.
    def __init__(self, requests_per_s: float, burst: int) -> None:
        self._step_ns = max(1, round(_NS / requests_per_s))
        self._slack_ns = self._step_ns * (burst - 1)
        self._due_ns: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, sender: str, now_s: float) -> float:
        """Count one request of a sender; return 0 when it may come in, else the seconds after which it may."""
        now_ns = round(now_s * _NS)
        with self._lock:
            due_ns = max(self._due_ns.pop(sender, now_ns), now_ns)
            early_ns = due_ns - now_ns - self._slack_ns
            self._due_ns[sender] = due_ns if early_ns > 0 else due_ns + self._step_ns
            if len(self._due_ns) > MAX_SENDERS:
                self._due_ns.popitem(last=False)
        return max(early_ns, 0) / _NS
