"""Endings become commits: each event of a tool is counted as exactly one Outcome, in the commit that moves its place.

Layer: input and output (it writes to the lease of a journal). It knows neither tools nor vendors.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from eventmw.clock import Clock
from eventmw.contract import BoundTool
from eventmw.delivery.endings import Ended, Ending, Item, Postponed
from eventmw.delivery.holds import ON_OUTCOME, Watch
from eventmw.errors import TookTooLong
from eventmw.journal import Commit, DeadLetter, Key, Lease, Parked
from eventmw.outcome import BURIED, Outcome
from eventmw.tracebacks import Tracebacks

log = logging.getLogger("eventmw.delivery.courier")

MAX_STEP: Final = 100
"""Endings in one commit at most: it is carried out without a pause. Source: assumption."""

_MAX_REASONS: Final = 200
"""Different (Outcome, reason) pairs that are counted for one tool; what a vendor says may not grow the journal's state."""

_REASON_CHARS: Final = 600
"""What is kept with a parked event or a dead letter: an exception in one line, with its place and source line."""

_COUNTED_CHARS: Final = 200

Single = Callable[[bytes, int], bytes]
"""Make a record that holds just one event: (record, ordinal) → record."""


class Settlement:
    """What one tool has decided and not committed yet.

    A commit that failed is repeated as it was before anything else is committed, so a journal that did carry it out, and
    could not say so, counts nothing twice.
    """

    def __init__(
        self,
        tool: BoundTool,
        single: Single,
        clock: Clock,
        on_outcome: Callable[[Outcome], object] | None,
        watch: Watch,
    ) -> None:
        self._tool = tool.id
        self._mode: Tracebacks = tool.troubles.mode
        self._single = single
        self._clock = clock
        self._on_outcome = on_outcome
        self._watch = watch
        self._reasons: set[tuple[str, str]] = set()
        self._step: tuple[Commit, list[Outcome]] | None = None
        self._clear()

    def _clear(self) -> None:
        self._settled: list[Key] = []
        self._park: list[Parked] = []
        self._unpark: list[Key] = []
        self._dead: list[DeadLetter] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._outcomes: list[Outcome] = []
        self._size = 0

    def is_full(self) -> bool:
        """Return whether it should be committed before more is added."""
        return self._size >= MAX_STEP

    def is_empty(self) -> bool:
        """Return whether there is nothing to commit."""
        return self._step is None and not self._size

    def add(self, ending: Ending) -> None:
        """Take in one ending. A copy of the event is made here when it is parked or buried."""
        item = ending.item
        match ending:
            case Ended():
                self._end(ending)
                if item.parked:
                    self._unpark.append(item.key)
            case Postponed():
                reason = plain(ending.reason)
                self._park.append(Parked(item.key, self._copy(item), item.attempts, ending.due_ms, reason))
        if not item.parked:
            self._settled.append(item.key)
        self._size += 1

    def _end(self, ending: Ended) -> None:
        item, kind, reason = ending.item, ending.kind, plain(ending.reason)
        if kind in BURIED:
            now_ms = self._clock.now_ms()
            copy = self._copy(item)
            self._dead.append(DeadLetter(self._tool, item.key, copy, kind, reason, item.attempts, now_ms))
        self._counts[self._countable(kind, reason)] += 1
        if self._on_outcome is not None:
            self._outcomes.append(Outcome(self._tool, item.event_id, kind, reason))

    def _copy(self, item: Item) -> bytes:
        if item.ordinal is None:
            return item.record
        try:
            return self._single(item.record, item.ordinal)
        except Exception as error:  # noqa: BLE001 - rather a copy that is too large than none
            log.warning("tool %s: an event is kept with its whole record: %s", self._tool, type(error).__name__)
            return item.record

    def _countable(self, kind: str, reason: str) -> tuple[str, str]:
        pair = (kind, reason[:_COUNTED_CHARS])
        if pair not in self._reasons and len(self._reasons) >= _MAX_REASONS:
            return kind, "other"
        self._reasons.add(pair)
        return pair

    def commit(self, lease: Lease) -> Sequence[Key]:
        """Carry out what was added, then tell `on_outcome`. Returns the events it was about.

        Raises:
            JournalDown: the journal cannot write now. Nothing is lost: call it again.
        """
        if self._step is None:
            if not self._size:
                return ()
            self._step = self._gather()
        commit, outcomes = self._step
        lease.commit(self._tool, commit)
        self._step = None
        self._tell(outcomes)
        return [*commit.settled, *commit.unpark, *(parked.key for parked in commit.park)]

    def _gather(self) -> tuple[Commit, list[Outcome]]:
        commit = Commit(
            settled=self._settled,
            park=self._park,
            unpark=self._unpark,
            dead=self._dead,
            counts=self._counts,
        )
        outcomes = self._outcomes
        self._clear()
        return commit, outcomes

    def _tell(self, outcomes: list[Outcome]) -> None:
        if self._on_outcome is None or ON_OUTCOME in self._watch.off:
            return
        troubles = self._watch.troubles
        troubles.mode = self._mode
        with self._watch.holding(ON_OUTCOME, "on_outcome"):
            for outcome in outcomes:
                try:
                    self._on_outcome(outcome)
                except TookTooLong:
                    log.critical("on_outcome did not come back; nothing is told to it until the process starts anew")
                    break
                except BaseException as error:  # noqa: BLE001 - the owner's function must not stop deliveries
                    troubles.note("on_outcome", error, self._on_outcome)


def plain(reason: str) -> str:
    """Return a tool's or vendor's text as one short line: control characters could forge lines of a log."""
    if len(reason) <= _REASON_CHARS and reason.isprintable():
        return reason
    return "".join(char if char.isprintable() else " " for char in reason[:_REASON_CHARS])
