"""Many audits added up, and the one line that is read of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from tests.crash.audit import Audit

_KEPT = 50


@dataclass(slots=True)
class Tally:
    """The sum over a level's points. ``failures`` has what to do to see each again, at most 50 of them."""

    level: str
    points: int = 0
    kills: int = 0
    acknowledged: int = 0
    unknown: int = 0
    lost: int = 0
    phantom: int = 0
    corrupt: int = 0
    duplicates: int = 0
    duplicates_after_key: int = 0
    unexplained: int = 0
    over_bound: int = 0
    inversions: int = 0
    hung: int = 0
    worst_recovery_s: float = 0.0
    failures: list[str] = field(default_factory=list)

    def add(self, audit: Audit, how: str, *, points: int = 1, kills: int = 0, recovery_s: float = 0.0) -> None:
        """Count one audit in; `how` says how to repeat it."""
        self.points += points
        self.kills += kills
        self.acknowledged += audit.acknowledged
        self.unknown += audit.unknown
        self.lost += len(audit.lost)
        self.phantom += len(audit.phantom)
        self.corrupt += len(audit.corrupt)
        self.duplicates += audit.duplicates
        self.duplicates_after_key += audit.duplicates_after_key
        self.unexplained += len(audit.unexplained)
        self.over_bound += audit.over_bound
        self.inversions += audit.inversions
        self.worst_recovery_s = max(self.worst_recovery_s, recovery_s)
        if not audit.sound:
            self.fail(f"{audit.faults()}: {how}")

    def hang(self, how: str) -> None:
        """Count a subject that did not come to an end."""
        self.hung += 1
        self.fail(f"hung: {how}")

    def fail(self, what: str) -> None:
        """Keep a failure."""
        if len(self.failures) < _KEPT:
            self.failures.append(what)

    @property
    def sound(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def line(self) -> str:
        """Return the line. What should never be is only said when it is, but for what the line always says."""
        said = (
            f"{self.level}: points {self.points:,}, kills {self.kills:,}, acknowledged {self.acknowledged:,}, "
            f"unknown {self.unknown:,}, lost {self.lost:,}, phantom {self.phantom:,}, corrupt {self.corrupt:,}, "
            f"duplicates {self.duplicates:,} before and {self.duplicates_after_key:,} after the key, "
            f"worst recovery {self.worst_recovery_s:.2f} s"
        )
        rare = {
            "unexplained duplicates": self.unexplained,
            "duplicates over the bound": self.over_bound,
            "inversions": self.inversions,
            "hung": self.hung,
        }
        return said + "".join(f", {name} {count:,}" for name, count in rare.items() if count)


def added(level: str, tallies: Iterable[Tally]) -> Tally:
    """Return the sum of some tallies; of recoveries, the worst."""
    total = Tally(level)
    for tally in tallies:
        for name in _SUMS:
            setattr(total, name, getattr(total, name) + getattr(tally, name))
        total.worst_recovery_s = max(total.worst_recovery_s, tally.worst_recovery_s)
        for failure in tally.failures:
            total.fail(failure)
    return total


_SUMS = tuple(spec.name for spec in fields(Tally) if spec.type == "int")
