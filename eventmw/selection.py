"""Which tracked events are to go: what a call of ``/v1/delete`` means, and journal and archive are told.

Layer: pure rules.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Tracked events of one project that are to go: those that meet everything that is set; with nothing set, all.

    Attributes:
        project: whose they are. Events of other projects, and those of the other API, stay.
        made_ms: when it was asked for. Events that were recorded later are new, and stay: the journal is done before the
            archive is, and both have to mean the same.
        customer: whom they are of.
        event_name: their name.
        since_ms, until_ms: from when on they happened, and before when.
    """

    project: str
    made_ms: int
    customer: str | None = None
    event_name: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the selection as a journal hands it on."""
        return asdict(self)

    def holds(self, name: str, customer: str | None, time_ms: int, recorded_ms: int) -> bool:
        """Return whether an event of the project is meant."""
        return (
            recorded_ms <= self.made_ms
            and self.event_name in {None, name}
            and self.customer in {None, customer}
            and (self.since_ms is None or self.since_ms <= time_ms)
            and (self.until_ms is None or time_ms < self.until_ms)
        )
