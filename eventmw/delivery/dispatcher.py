"""What the courier asks of the engine: events out of records, and what each tool wants for each event.

Layer: pure rules; a port: `eventmw.engine` implements it, and never imports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from eventmw.contract import BoundTool
from eventmw.effects import Send
from eventmw.event import Event
from eventmw.outcome import OutcomeKind
from eventmw.record import Erased


class Dispatch(Protocol):
    """What one tool wants for one event: sends, or the Outcome at once when there is nothing to send."""

    @property
    def sends(self) -> Sequence[Send]:
        """What is to be sent; empty when there is nothing."""
        ...

    @property
    def outcome(self) -> OutcomeKind | None:
        """How the event ends when nothing is to be sent."""
        ...

    @property
    def reason(self) -> str:
        """Why, in a few words without values."""
        ...


class Dispatcher(Protocol):
    """What the courier asks of the engine. All of it is pure."""

    @property
    def tools(self) -> Sequence[BoundTool]:
        """The tools that are configured."""
        ...

    def events(self, record: bytes) -> Iterator[Event | Erased]:
        """Return a record's events one by one, `ERASED` in the place of one whose person was erased.

        Raises for a record that cannot be read.
        """
        ...

    def single(self, record: bytes, ordinal: int) -> bytes:
        """Return a record that holds just this event."""
        ...

    def credential(self, record: bytes) -> str:
        """Return the name of the key that sent the record."""
        ...

    def dispatch(self, tool: BoundTool, event: Event, /) -> Dispatch:
        """Return what the tool wants for this event."""
        ...
