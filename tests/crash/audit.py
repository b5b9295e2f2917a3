"""The auditor: what the driver was told against what the sink saw. A pure function over both logs.

For each event the driver knows one fate, and the sink some arrivals:

* *acked*: a whole 2xx answer with its result. It must arrive and be answered, or lie among the dead letters: else it is
  **lost**.
* *refused*: a whole 4xx answer. It must not arrive: else it is a **phantom**.
* *unknown*: no answer, or a 5xx one. Both are right, and it is counted.

An arrival that is not as it was sent, or that nobody sent, is **corrupt**. A second arrival is a **duplicate**. It is in
order after a break only: the process was killed, or the sink did not answer the first; and no more of them than could be in
flight at that break. All arrivals of an event carry one key, so a sink that drops what it knows keeps no duplicate: arrivals
under a second key are the **duplicates after the key**.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from typing import Literal

from tests.crash.payload import order

Fate = Literal["acked", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """One event in one request that the sink got. ``at`` and ``key``: when (monotonic), and the id a vendor would go by.

    ``answered`` is whether the sink said 2xx, as far as it knows; ``sound`` whether the event is as it was sent.
    """

    who: str
    key: str
    at: float
    answered: bool = True
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Audit:
    """What came of the events of one run. Names are of events, so that a failure can be looked into."""

    acknowledged: int
    refused: int
    unknown: int
    unknown_arrived: int
    lost: tuple[str, ...] = ()
    phantom: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()
    duplicates: int = 0
    duplicates_after_key: int = 0
    unexplained: tuple[str, ...] = ()
    over_bound: int = 0
    inversions: int = 0

    @property
    def sound(self) -> bool:
        """Whether every promise was kept."""
        broken = (self.lost, self.phantom, self.corrupt, self.unexplained)
        return not any(broken) and not (self.duplicates_after_key or self.over_bound or self.inversions)

    def faults(self) -> str:
        """Return what was not kept, for people: at most three names of each kind."""
        named = {"lost": self.lost, "phantom": self.phantom, "corrupt": self.corrupt, "unexplained": self.unexplained}
        counted = {
            "duplicates after the key": self.duplicates_after_key,
            "duplicates over the bound": self.over_bound,
            "inversions": self.inversions,
        }
        said = [f"{len(names)} {kind} ({', '.join(names[:3])})" for kind, names in named.items() if names]
        return "; ".join(said + [f"{count} {kind}" for kind, count in counted.items() if count]) or "nothing"


def audit(
    fates: Mapping[str, Fate],
    arrivals: Iterable[Arrival],
    *,
    breaks: Iterable[float] = (),
    buried: Collection[str] = (),
    ordered: bool = False,
    in_flight: int | None = None,
    slack_s: float = 0.0,
) -> Audit:
    """Compare the two logs.

    Args:
        fates: what the driver knows of each event that it ever sent.
        arrivals: what the sink got, in any order.
        breaks: when the subject was killed or a connection broken; the clock is the arrivals'.
        buried: events among the dead letters.
        ordered: whether first arrivals of one client must come in sequence order.
        in_flight: how many events one break may double; None when that is not known.
        slack_s: how long after a break the sink may still note what was sent before it.
    """
    by_name: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in sorted(arrivals, key=lambda arrival: arrival.at):
        by_name[arrival.who].append(arrival)
    told = {name for name, came in by_name.items() if any(arrival.answered for arrival in came)}
    times = [at + slack_s for at in sorted(breaks)]
    repeats = [pair for came in by_name.values() for pair in pairwise(came)]
    reasons = [((first, again), _breaks_between(times, first, again, slack_s)) for first, again in repeats]
    counts = Counter(fates.values())
    return Audit(
        acknowledged=counts["acked"],
        refused=counts["refused"],
        unknown=counts["unknown"],
        unknown_arrived=sum(fate == "unknown" and name in by_name for name, fate in fates.items()),
        lost=_named(fates, "acked", lambda name: name not in told and name not in buried),
        phantom=_named(fates, "refused", lambda name: name in by_name),
        corrupt=tuple(
            name for name, came in by_name.items() if name not in fates or not all(arrival.sound for arrival in came)
        ),
        duplicates=len(repeats),
        duplicates_after_key=sum(len({arrival.key for arrival in came}) - 1 for came in by_name.values()),
        unexplained=tuple(again.who for (first, again), reason in reasons if first.answered and not reason),
        over_bound=_over_bound([reason for (first, _), reason in reasons if first.answered], in_flight),
        inversions=_inversions(by_name) if ordered else 0,
    )


def _named(fates: Mapping[str, Fate], fate: Fate, is_so: Callable[[str], bool]) -> tuple[str, ...]:
    return tuple(name for name, found in fates.items() if found == fate and is_so(name))


def _breaks_between(times: Sequence[float], first: Arrival, again: Arrival, slack_s: float) -> range:
    """Return the indexes of the breaks between two arrivals; `times` have the slack in them."""
    return range(bisect_left(times, first.at), bisect_right(times, again.at + slack_s))


def _over_bound(reasons: Iterable[range], in_flight: int | None) -> int:
    """Count the repeats for which no break is left, when each break is the reason for `in_flight` of them at most.

    Breaks are filled in order, each with those whose last chance comes first: no other way leaves fewer.
    """
    if in_flight is None:
        return 0
    coming = deque(sorted((reason.start, reason.stop) for reason in reasons if reason))
    waiting: list[int] = []
    over = 0
    for at in range(max((stop for _, stop in coming), default=0)):
        while coming and coming[0][0] == at:
            heappush(waiting, coming.popleft()[1])
        for _ in range(min(in_flight, len(waiting))):
            heappop(waiting)
        while waiting and waiting[0] <= at + 1:
            heappop(waiting)
            over += 1
    return over


def _inversions(by_name: Mapping[str, Sequence[Arrival]]) -> int:
    """Count first arrivals that came before one with a smaller number of the same client."""
    last: dict[str, int] = {}
    inversions = 0
    for name in by_name:  # in the order in which each came first
        client, sequence = order(name)
        inversions += sequence < last.get(client, -1)
        last[client] = max(sequence, last.get(client, -1))
    return inversions
