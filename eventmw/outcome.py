"""Outcomes: how each event ended at each tool. Exactly one for each pair, counted where the place in the log moves.

Layer: vocabulary (standard library only).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

OutcomeKind = Literal[
    "delivered",  # the vendor (or the owner's function) has it
    "answered",  # the tool had nothing to send: what it wanted went out in the Result Object
    "filtered",  # the tool's `when` did not match, or the tool yielded nothing
    "dropped",  # the tool said Drop(reason)
    "duplicate",  # the same id from the same sender within 24 hours
    "erased",  # its person was erased before it was delivered; nothing is left of it
    "dry_run",  # it would have been sent
    "tool_error",  # the tool raised or returned rubbish; a dead letter keeps the event
    "rejected",  # the vendor refused it for good; a dead letter keeps the event
    "expired",  # it could not be delivered within the give-up age; a dead letter keeps the event
    "backlog_full",  # the tool's backlog was over its cap; a dead letter keeps the event
]

OUTCOME_KINDS: Final[tuple[OutcomeKind, ...]] = get_args(OutcomeKind)

BURIED: Final[frozenset[OutcomeKind]] = frozenset({"tool_error", "rejected", "expired", "backlog_full"})
"""Outcomes that leave a dead letter, from which the event can be tried again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one event ended at one tool. ``reason`` is a short text without values from the payload.

    ``event_id`` is "" where none is known: of a record that cannot be read, and of an event that was erased.
    """

    tool: str
    event_id: str
    kind: OutcomeKind
    reason: str = ""
