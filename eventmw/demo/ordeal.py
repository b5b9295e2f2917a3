"""What is promised of a site whose processes are killed, and whether it was kept.

Layer: pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordeal:
    """All that was seen of it. Events are named by their ids.

    Attributes:
        sent: the events.
        acknowledged: those that were answered with 200.
        again: how many requests broke off or were refused, and were sent once more.
        taken: event → how many requests brought it to the vendor and were answered with 200.
        changed: events that came to the vendor twice, and not the same.
        waiting: events that no tool has got when the time is up.
    """

    sent: Sequence[str]
    acknowledged: frozenset[str]
    again: int
    taken: Mapping[str, int]
    changed: frozenset[str]
    waiting: int

    @property
    def lost(self) -> frozenset[str]:
        """The events that were acknowledged and did not come to the vendor."""
        return self.acknowledged - self.taken.keys()

    @property
    def duplicates(self) -> int:
        """How many times an event came that had come before."""
        return sum(times - 1 for times in self.taken.values())


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of what is shown: a number in words, and why the promise was not kept, or "" when it was."""

    label: str
    number: int
    words: str
    trouble: str


def facts(ordeal: Ordeal) -> Sequence[Fact]:
    """Return what is promised: everything sent is acknowledged in the end, nothing of that is lost, repeats are the same."""
    return (
        Fact("acknowledged", len(ordeal.acknowledged), f"of {len(ordeal.sent)} sent", _unanswered(ordeal)),
        Fact("delivered", len(ordeal.taken), "different events at the vendor", _strange(ordeal)),
        Fact("lost", len(ordeal.lost), "acknowledged and not delivered", _lost(ordeal)),
        Fact("duplicates", ordeal.duplicates, "came again, each with the same id and content", _changed(ordeal)),
    )


def troubles(ordeal: Ordeal) -> Iterator[str]:
    """Return a sentence for each promise that was not kept."""
    return (f"killed and restarted, {fact.label}: {fact.trouble}" for fact in facts(ordeal) if fact.trouble)


def _unanswered(ordeal: Ordeal) -> str:
    left = len(ordeal.sent) - len(ordeal.acknowledged)
    return f"{left} of {len(ordeal.sent)} were never answered with 200, however often they were sent" if left else ""


def _strange(ordeal: Ordeal) -> str:
    strangers = len(ordeal.taken.keys() - set(ordeal.sent))
    return f"{strangers} came that nobody sent" if strangers else ""


def _lost(ordeal: Ordeal) -> str:
    if not ordeal.lost:
        return ""
    return f"{len(ordeal.lost)} acknowledged events did not come to the vendor; the journal holds {ordeal.waiting}"


def _changed(ordeal: Ordeal) -> str:
    return f"{len(ordeal.changed)} came again with another content" if ordeal.changed else ""
