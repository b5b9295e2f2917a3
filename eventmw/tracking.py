"""Events that come from Python code and not through a gateway: judged at the same door, kept in the same journal.

Layer: input and output. The site's own `track` and a `eventmw.Tracker` outside both end here.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Protocol, Self

from eventmw.errors import InvalidEvent, JournalDown, Refused
from eventmw.event import Receipt
from eventmw.intake.door import Visit
from eventmw.journal import Journal, Position
from eventmw.protocols.zaraz import Accepted

TRACKED: Final = "track"
"""The credential of events from Python code."""


class Keeper(Protocol):
    """What judges and keeps: the runtime."""

    journal: Journal

    def accept(self, body: bytes, visit: Visit) -> Accepted:
        """Judge a payload."""
        ...

    def append(self, accepted: Accepted) -> Future[Position]:
        """Hand its record to the journal."""
        ...


@dataclass(frozen=True, slots=True)
class Tracking:
    """One event on its way into the journal."""

    keeper: Keeper
    accepted: Accepted
    future: Future[Position]

    @classmethod
    def of(cls, keeper: Keeper, body: bytes) -> Self:
        """Judge a payload and hand it to the journal.

        Raises:
            InvalidEvent: it is not valid.
            JournalFull: no room.
            JournalDown: it cannot be written now.
        """
        try:
            accepted = keeper.accept(body, Visit(TRACKED, "", None, "", len(body), None))
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
        record = self.accepted.record
        notes = self.accepted.judgement.notes
        return Receipt(
            id=record.id,
            event_id=self.accepted.event_id(0),
            recorded_ms=record.recorded_ms,
            durability=self.keeper.journal.durability,
            warnings=tuple(f"{note.fault.path}: {note.fault.message}" for note in notes if note.fault is not None),
        )
