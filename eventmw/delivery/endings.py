"""How events end at one tool: which sends are undecided, what their verdicts amount to, and the ending that follows.

An event may want several sends. It ends when the last of them is decided, by the worst of their verdicts: dead before retry
before done. So each event has exactly one ending at a time: for good (`Ended`), or until it is due again (`Postponed`).

Layer: pure rules; time and chance come in as a `Moment`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from eventmw.delivery.rules import Delivery
from eventmw.effects import DONE, Send, Verdict
from eventmw.errors import told
from eventmw.journal import Key
from eventmw.outcome import OutcomeKind
from eventmw.retry import MAX_RETRY_AFTER_S, backoff_s

_RANK: Final = {"done": 0, "retry": 1, "later": 1, "dead": 2, "refused": 2}

_SOONEST_S: Final = 0.1
"""A consumer that asks for no pause at all must not keep the courier busy with one event."""


class Moment(NamedTuple):
    """Now, and a throw of the dice (0 to below 1) for jitter."""

    monotonic_s: float
    wall_ms: int
    chance: float


@dataclass(slots=True, eq=False)
class Item:
    """One event on its way to one tool.

    Attributes:
        record: the record that holds the event, at `ordinal`; None: it holds just this event, or cannot be read.
        size: about how many bytes of the record are this event's.
        attempts: how many requests carried it, those before it was parked included.
        parked: it is among the journal's parked items.
        order_key: events of one key depart in order; None: nobody waits for it.
        sends, undecided, verdict, buried_as: kept by `Undecided`.
    """

    key: Key
    event_id: str
    recorded_ms: int
    record: bytes
    ordinal: int | None
    size: int
    attempts: int = 0
    parked: bool = False
    order_key: int | None = None
    sends: Sequence[Send] = ()
    undecided: int = 0
    verdict: Verdict = DONE
    buried_as: OutcomeKind = "rejected"


class Failure(NamedTuple):
    """The last thing that went wrong at a tool, and when (wall time, milliseconds since 1970)."""

    reason: str
    at_ms: int


class Ended(NamedTuple):
    """This event ended at this tool, for good."""

    item: Item
    kind: OutcomeKind
    reason: str = ""


class Postponed(NamedTuple):
    """This event waits, by itself, until `due_ms` (wall time, milliseconds since 1970)."""

    item: Item
    due_ms: int
    reason: str


Ending = Ended | Postponed


class Undecided:
    """The events of one tool that have no ending yet. Not thread-safe.

    Sends are told apart by identity: two may be equal. A send in here is held by its item, so its ``id`` is its own.

    Attributes:
        failure: the last thing that went wrong, None before anything did.
        endings: what was decided and is not committed yet, in that order; whoever commits them empties the list.
        held_bytes: the size of the records that these events keep in memory, each counted once.
    """

    def __init__(self, rules: Delivery, success: OutcomeKind) -> None:
        self.failure: Failure | None = None
        self.endings: deque[Ending] = deque()
        self.held_bytes = 0
        self._rules = rules
        self._success: OutcomeKind = success
        self._owners: dict[int, Item] = {}
        self._held: Counter[int] = Counter()  # by identity: a record of many events is one object

    def __len__(self) -> int:
        return len(self._owners)

    def __contains__(self, send: Send) -> bool:
        return id(send) in self._owners

    def owner(self, send: Send) -> Item:
        """Return the event that wants this send."""
        return self._owners[id(send)]

    def oldest_first(self) -> list[Item]:
        """Return all events in here, in the order in which they were recorded."""
        return sorted(set(self._owners.values()), key=lambda item: (item.recorded_ms, item.key))

    def add(self, item: Item, sends: Iterable[Send]) -> Sequence[Send]:
        """Take in an event, and return its sends as they are known from now on."""
        own: list[Send] = []
        for send in sends:
            # A tool may well yield one object twice, or a constant for every event.
            single = replace(send) if send in self else send
            self._owners[id(single)] = item
            own.append(single)
        item.sends, item.undecided, item.verdict, item.buried_as = own, len(own), DONE, "rejected"
        self._hold(item.record)
        return own

    def _hold(self, record: bytes) -> None:
        if not self._held[id(record)]:
            self.held_bytes += len(record)
        self._held[id(record)] += 1

    def _let_go(self, record: bytes) -> None:
        self._held[id(record)] -= 1
        if not self._held[id(record)]:
            del self._held[id(record)]
            self.held_bytes -= len(record)

    def decide(self, send: Send, verdict: Verdict, now: Moment, buried_as: OutcomeKind = "rejected") -> None:
        """Take a verdict for one send; with the last one of its event comes the ending."""
        item = self._owners.pop(id(send))
        if verdict.kind != "done":
            self.failure = Failure(verdict.reason, now.wall_ms)
        if _RANK[verdict.kind] > _RANK[item.verdict.kind]:
            item.verdict, item.buried_as = verdict, buried_as
        item.undecided -= 1
        if item.undecided == 0:
            self._let_go(item.record)
            try:
                ending = self._ending(item, now)
            except Exception as error:  # noqa: BLE001 - rules or a verdict that nobody can reckon with lose no event
                ending = Ended(item, "tool_error", f"putting it off {told(error)}")
            self.endings.append(ending)

    def end(self, item: Item, kind: OutcomeKind, reason: str) -> None:
        """End an event now, whatever is known of its sends."""
        self.forget(item)
        self.endings.append(Ended(item, kind, reason))

    def forget(self, item: Item) -> None:
        """Let go of an event without an ending."""
        gone = [send for send in item.sends if self._owners.pop(id(send), None) is not None]
        if gone:
            self._let_go(item.record)

    def expire(self, now: Moment, reason: str) -> None:
        """End the events that are past the give-up age."""
        for item in self.oldest_first():
            if self.is_too_old(item, now):
                self.end(item, "expired", reason)

    def is_too_old(self, item: Item, now: Moment) -> bool:
        """Return whether an event is past the give-up age."""
        return now.wall_ms - item.recorded_ms > 1000 * self._rules.give_up_s

    def _ending(self, item: Item, now: Moment) -> Ending:
        verdict = item.verdict
        if verdict.kind == "done":
            return Ended(item, self._success)
        if verdict.kind not in {"retry", "later"}:
            return Ended(item, item.buried_as, verdict.reason)
        if self.is_too_old(item, now):
            return Ended(item, "expired", verdict.reason)
        asked_s = min(verdict.after_s or 0.0, MAX_RETRY_AFTER_S)
        if verdict.kind == "later":
            return Postponed(item, now.wall_ms + round(1000 * max(_SOONEST_S, asked_s)), verdict.reason)
        rules = self._rules
        wait_s = backoff_s(
            max(1, item.attempts),
            first_s=rules.first_backoff_s,
            max_s=rules.max_backoff_s,
            random=now.chance,
        )
        return Postponed(item, now.wall_ms + round(1000 * max(wait_s, asked_s)), verdict.reason)
