"""Events that come from Python code and not through a gateway: judged at the same door, kept in the same journal.

Layer: input and output. The site's own `track` and a `eventmw.Tracker` outside both end here.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, Self

from eventmw.errors import InvalidEvent, JournalDown, Refused
from eventmw.event import Receipt
from eventmw.intake.door import Visit
from eventmw.journal import Journal, Position
from eventmw.payload import OwnEvent
from eventmw.protocols import eventbunker
from eventmw.protocols.eventbunker import Tracked
from eventmw.protocols.zaraz import Accepted

TRACKED: Final = "track"
"""The credential of events from Python code."""

NO_PROJECTS: Final = "project= needs a site with eventbunker_path: only its API keeps an archive"


class Projects(Protocol):
    """What judges events for the archive of a project."""

    def accept(self, event: OwnEvent, /) -> Tracked:
        """Judge an event. Raises `InvalidEvent`, `JournalDown` and `Refused`."""
        ...


class Keeper(Protocol):
    """What judges and keeps: the runtime."""

    journal: Journal

    @property
    def delivered_by(self) -> Literal["site", "worker", "nobody"]:
        """What delivers the events; see `eventmw.Receipt`."""
        ...

    @property
    def projects(self) -> Projects | None:
        """What judges events for a project; None without `eventbunker_path`."""
        ...

    def accept(self, body: bytes, visit: Visit) -> Accepted:
        """Judge a payload."""
        ...

    def append(self, accepted: Any) -> Future[Position]:
        """Hand its record to the journal."""
        ...

    def remember(self, accepted: Any) -> None:
        """Note which of its events are known to be durable already."""
        ...


@dataclass(frozen=True, slots=True)
class Tracking:
    """One event on its way into the journal."""

    keeper: Keeper
    accepted: Accepted | Tracked
    future: Future[Position]

    @classmethod
    def of(cls, keeper: Keeper, event: OwnEvent) -> Self:
        """Judge an event and hand it to the journal.

        Raises:
            InvalidEvent: it is not valid, or its project is not there.
            JournalFull: no room.
            JournalDown: it cannot be written now.
        """
        try:
            accepted = _accepted(keeper, event)
        except Refused as refused:
            faults = "; ".join(f"{fault.path}: {fault.message}" for fault in refused.faults)
            raise InvalidEvent(faults or refused.detail) from None
        return cls(keeper, accepted, keeper.append(accepted))

    def result(self, timeout_s: float) -> Receipt:
        """Wait until the event is kept, and return its receipt.

        Raises:
            JournalDown: it could not be kept within `timeout_s` seconds; it may be later.
        """
        try:
            self.future.result(timeout_s)
        except TimeoutError:
            raise JournalDown(f"the event could not be kept within {timeout_s:g} s") from None
        return self.receipt()

    def receipt(self) -> Receipt:
        """Return the receipt, once the future is done."""
        accepted, keeper = self.accepted, self.keeper
        if accepted.own_ids:
            keeper.remember(accepted)
        return Receipt(
            id=accepted.record.id,
            event_id=_event_id(accepted),
            recorded_ms=accepted.record.recorded_ms,
            durability=keeper.journal.durability,
            warnings=_warnings(accepted),
            duplicate=bool(accepted.duplicates),
            delivered_by=keeper.delivered_by,
        )


def _accepted(keeper: Keeper, event: OwnEvent) -> Accepted | Tracked:
    if event.project is None:
        return keeper.accept(event.body, Visit(TRACKED, "", None, "", len(event.body), None))
    if keeper.projects is None:
        raise InvalidEvent(NO_PROJECTS)
    return keeper.projects.accept(event)


def _event_id(accepted: Accepted | Tracked) -> str:
    return accepted.event_id(0) if isinstance(accepted, Accepted) else eventbunker.event_id(accepted.record.id, 0)


def _warnings(accepted: Accepted | Tracked) -> tuple[str, ...]:
    notes = accepted.judgement.notes if isinstance(accepted, Accepted) else ()
    return tuple(f"{note.fault.path}: {note.fault.message}" for note in notes if note.fault is not None)
