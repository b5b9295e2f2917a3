"""The journal: an append-only log of accepted requests, a place in it for each tool, parked items and dead letters.

This module is the protocol that every journal keeps; `memory` is one. One conformance suite runs over all of them.
Layer: vocabulary: the protocol and its words; what keeps it stands beside it. The records are bytes here: nothing in a
journal knows what an event is.

Words: a *record* is one accepted request with ``events`` events; a *key* names one event in the log; a tool's *place* is the
contiguous prefix that is settled for it, plus the events settled beyond it. *Parked* is one event that waits for its next
attempt; a *dead letter* is one event that will not be tried again unless someone asks. *Settled* is an event that ended, is
parked or is a dead letter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol

Rewrite = Callable[[bytes, Mapping[str, Any]], bytes | None]
"""Takes a record and a person; returns the record without the person, of the same length, with as many events in the same
places; or None when the person is not in it."""

Durability = Literal["memory", "journaled", "replicated"]

DEAD_EVICTED: Final = ("dead_evicted", "")
"""Counted for each dead letter of a tool that left because the journal's room for them was full."""

ERASED: Final = ("erased", "")
"""Counted for each event whose person was erased before the tool had it."""

MOST_READ_BYTES: Final = 1024 * 1024
"""Bytes of records after which one reading ends: what is read ahead is held in memory, for each tool."""

SKIPPED: Final = ("dropped", "skipped")
"""Counted for each event that was passed over because someone moved a tool's place to the end."""


FAILURES: Final = "failures"
"""The name under which the holder of a lease keeps what went wrong last at each tool."""


def failures_in(kept: bytes | None) -> dict[str, tuple[str, int]]:
    """Return the last failure of each tool, (reason, wall time in milliseconds), out of what was kept as `FAILURES`."""
    try:
        found: Any = json.loads(kept or b"{}")
        return {str(tool): (str(reason), int(at_ms)) for tool, (reason, at_ms) in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}  # written by another version


class Position(NamedTuple):
    """Where a record stands: `stream` names its writer, `seq` counts that writer's records from 1 without gaps."""

    stream: str
    seq: int


class Key(NamedTuple):
    """One event in the log: its record's position and its ordinal among that record's kept events, from 0."""

    position: Position
    ordinal: int


class Entry(NamedTuple):
    """One record as it stands in the log.

    ``recorded_ms`` is wall time at accept, milliseconds since 1970; ``stamp`` is monotonic nanoseconds at accept, for order
    between streams of one boot.
    """

    position: Position
    recorded_ms: int
    stamp: int
    events: int
    record: bytes


class Reading(NamedTuple):
    """One record handed to a tool, with the ordinals that are settled for it (done, parked or dead) already."""

    entry: Entry
    settled: frozenset[int]


@dataclass(frozen=True, slots=True)
class Parked:
    """One event that waits. ``record`` is a copy that holds just this event; ``due_ms`` is wall time in milliseconds."""

    key: Key
    record: bytes
    attempts: int
    due_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that was buried. ``record`` is a copy that holds just this event; ``outcome`` is an OutcomeKind."""

    tool: str
    key: Key
    record: bytes
    outcome: str
    reason: str
    attempts: int
    buried_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One step of one tool, carried out whole or not at all. Repeating it changes nothing.

    A step in which nothing is new is passed over whole, its counts included: every event is settled already, and each one
    that is parked is parked just so. Counts therefore need the events they count beside them.

    Attributes:
        settled: events that ended, by whatever Outcome; events in `park` and `dead` need not stand again.
        park: events that wait for another attempt; replaces a parked item with the same key, also one in `unpark`.
        unpark: parked items that ended; in `settled` they need not stand again.
        dead: events that are buried; one that was parked is no more, and an older letter of the same event is replaced.
        counts: Outcomes, counted as (kind, reason) → how many.
    """

    settled: Sequence[Key] = ()
    park: Sequence[Parked] = ()
    unpark: Sequence[Key] = ()
    dead: Sequence[DeadLetter] = ()
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStats:
    """Where one tool stands.

    The backlog is what is not settled: events, the records that have any of these, the bytes of those records, and when the
    oldest was recorded. Parked items and dead letters are not in it.
    """

    tool: str
    backlog_records: int
    backlog_events: int
    backlog_bytes: int
    oldest_ms: int | None
    parked: int
    dead: int
    counts: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalStats:
    """The journal as a whole.

    ``records`` and ``events`` are those kept now, the consumed ones among them; ``bytes`` is what counts against
    ``cap_bytes``: these records and the parked copies. ``appended_*`` count since it was opened. ``tools`` are those that
    are registered. ``leader_pid`` and ``heartbeat_ms`` tell who moves the places, and when it last showed that it does.
    """

    durability: Durability
    records: int
    events: int
    bytes: int
    cap_bytes: int
    appended_records: int
    appended_events: int
    tools: Sequence[ToolStats]
    leader_pid: int | None = None
    heartbeat_ms: int | None = None


class Lease(Protocol):
    """The right to move tools' places. At most one holder per journal. Every method is synchronous and does not block.

    For a tool that is not registered (any more) there is nothing to read and nothing due, and a commit changes nothing.

    Raises:
        JournalDown: by every method that reads or moves something, once the lease is closed or lost.
    """

    def read(self, tool: str, max_records: int) -> list[Reading]:
        """Return the next records for `tool`, in order, each once per lease; an empty list when there are none now.

        Fewer than `max_records` come when they are large: with those that reach `MOST_READ_BYTES` it is enough.
        A record of which every event is settled already is passed over.
        """
        ...

    def due(self, tool: str, now_ms: int, n: int) -> list[Parked]:
        """Return up to `n` parked items that are due, the longest due first. They stay parked until a commit says else."""
        ...

    def next_due_ms(self, tool: str) -> int | None:
        """Return when the next parked item is due, or None when none is parked."""
        ...

    def commit(self, tool: str, step: Commit) -> None:
        """Carry out one step of a tool.

        Raises:
            ValueError: a key names an event that the log never held. Nothing was changed.
        """
        ...

    def settled(self, tool: str, key: Key) -> bool:
        """Return whether an event ended, is parked or is buried for a tool. What is not kept any more is."""
        ...

    def dirty(self, tool: str) -> bool:
        """Return whether the tool's place was moved from outside (``seek``) since its last ``read``; reading clears it.

        After a move, reading starts again at the place: events that are in flight come once more unless they are settled.
        """
        ...

    def recall(self, after: bytes, limit: int) -> tuple[list[Entry], bytes]:
        """Return records of which some tool has settled something, in log order, and a mark after them.

        Args:
            after: a mark from an earlier call or an earlier lease; b"" begins with the oldest record that is kept.
            limit: at most so many.
        """
        ...

    def reached(self) -> bytes:
        """Return the mark after the last record of which some tool has settled something."""
        ...

    def keep(self, name: str, data: bytes | None) -> None:
        """Keep bytes for the next holder of the lease, under a name of letters, digits and ``-``; None removes them.

        They are a convenience: what cannot be kept is not, and a journal that ends with its process keeps nothing.
        """
        ...

    def kept(self, name: str) -> bytes | None:
        """Return what was kept under a name, if it is there."""
        ...

    def note(self, name: str, text: str) -> None:
        """Note a short text under a name. It is as durable as a commit, and never lost before a commit that came later."""
        ...

    def noted(self, name: str) -> str | None:
        """Return the text that was noted under a name; None when there is none."""
        ...

    def sync(self) -> None:
        """Make every commit so far as durable as this journal makes records."""
        ...

    def tend(self) -> None:
        """Do the journal's chores: take over from the dead, retire what is consumed, obey commands. Call it often.

        Raises:
            JournalDown: they could not all be done; the next call goes on.
        """
        ...

    def lost(self) -> bool:
        """Return whether the right has gone to another holder."""
        ...

    def close(self) -> None:
        """Give the right back."""
        ...


class Journal(Protocol):
    """A journal. Thread-safe; opening it starts no thread."""

    @property
    def durability(self) -> Durability:
        """What has been reached when an append's future is done."""
        ...

    def append(self, record: bytes, *, events: int, recorded_ms: int, stamp: int) -> Future[Position]:
        """Keep a record. The future is done when the record is as durable as this journal makes it.

        Raises:
            JournalFull: over the byte cap.
            JournalDown: it cannot write now, or is closed.
            ValueError: `events` is less than 1.
        """
        ...

    def ready(self) -> str:
        """Return "" when an append would be taken now, else one sentence why it would not.

        Full, closed, a disk that is full or whose last sync failed. It is asked by strangers and by the second: it says no
        path and no value, and looks only at what the journal knows already, so that a disk that hangs cannot hang it. A
        journal that refused a record for want of room is not ready before there is room for as large a one, or it took
        another. It becomes ready by itself: who is not ready is sent no request from which it could learn that it is.
        """
        ...

    def register(self, tools: Sequence[str]) -> None:
        """Make tools known. A new one starts at the end of the log; a known one keeps its place. Idempotent.

        Raises:
            JournalFull: there is no room for that. Appends are refused until there is, and then the tools are known.
            JournalDown: it cannot be done now.
        """
        ...

    def forget(self, tool: str) -> None:
        """End a tool: its place, parked items and counters go; its dead letters stay."""
        ...

    def lead(self) -> Lease | None:
        """Return the right to move places, or None while another holds it."""
        ...

    def on_append(self, wake: Callable[[], None] | None) -> None:
        """Have `wake` called once, from the appending thread, at the next append; None takes it back.

        There is one waker; another replaces it. Set it, read once more, and only then sleep: what was appended before does
        not wake. Nor do ``seek`` and ``revive``.
        """
        ...

    def seek(self, tool: str, *, since_ms: int | None = None, to: Literal["start", "end"] | None = None) -> int:
        """Move a tool's place back to the first record kept that was recorded at or after `since_ms`, or to an end.

        Exactly one of the two is given. A time never moves a place forward, over events that are not settled; ``to="end"``
        does, and counts them as `SKIPPED`. Parked items stay parked, and are not handed out beside that.

        Returns how many settled events are not settled any more: they will be handed to the tool again.

        Raises:
            LookupError: the tool is not registered.
            ValueError: both or none of `since_ms` and `to` were given.
        """
        ...

    def scan(self, after: Position | None = None, limit: int = 1000) -> list[Entry]:
        """Return at most `limit` kept records after a position (None: from the oldest), in log order. Moves nothing."""
        ...

    def dead_letters(self, tool: str | None = None) -> Iterator[DeadLetter]:
        """Return the dead letters of one tool or of all, oldest first."""
        ...

    def revive(self, tool: str, keys: Iterable[Key], now_ms: int) -> int:
        """Park these dead letters again, due now, with no attempts made. Returns how many there were.

        Raises:
            LookupError: the tool is not registered.
        """
        ...

    def drop_dead(self, tool: str, keys: Iterable[Key]) -> int:
        """Throw these dead letters away for good. Returns how many there were."""
        ...

    def erase(self, person: Mapping[str, Any]) -> Mapping[str, int]:
        """Erase a person from records, parked items and dead letters.

        Args:
            person: what the function given to the journal as `rewrite` understands.

        Returns ``{"records": n, "parked": n, "dead": n}``. A second call finds nothing.

        Raises:
            JournalDown: not everything could be erased; call it again.
        """
        ...

    def stats(self) -> JournalStats:
        """Return where everything stands."""
        ...

    def close(self, grace_s: float = 0.0) -> None:
        """Stop taking records; wait at most `grace_s` seconds for appends that are under way. Idempotent.

        Reading and leases go on, so that what was taken can still be delivered.
        """
        ...

    def rest(self, grace_s: float = 0.0) -> None:
        """Wait at most `grace_s` seconds for appends that are under way, and give back threads, files and locks.

        The next call takes them again. What is kept stays.
        """
        ...

    def leave(self) -> None:
        """Let go of every file and lock. Nothing is asked of the journal afterwards; what it keeps stays. Idempotent."""
        ...
