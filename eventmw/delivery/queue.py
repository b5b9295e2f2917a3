"""What departs next, and what an answer means: the sends of one tool, from the queue to their ending.

A `SendQueue` is told which sends there are, what the vendor answered and what time it is; it says which batch departs next
and how events end. It knows two kinds of trouble. When a whole request fails (no connection, 401, 429, 5xx), the tool
*stands*: the batch is kept and one probe at a time goes out, each later than the one before. When single sends fail, they
alone are put off or end; and a request that the vendor refuses whole is halved until the bad ones stand alone.

Layer: pure rules; time and chance come in as a `Moment`. Nothing here reads a journal or a socket.
Source: JOURNAL.md «Courier»; the number of failures that makes a batch suspect is ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

from eventmw.contract import BoundTool
from eventmw.delivery.batches import Batch, Rubbish, pack, verdicts
from eventmw.delivery.endings import Ending, Item, Moment, Undecided
from eventmw.effects import DONE, Send, Verdict, dead, retry
from eventmw.http import HttpReply
from eventmw.outcome import OutcomeKind
from eventmw.retry import MAX_RETRY_AFTER_S, backoff_s

Phase = Literal["flowing", "standing", "probing"]

SUSPECT_AFTER: Final = 3
"""A batch that failed this often, while another passed, is itself the trouble. Source: assumption."""

_OVER_CAP: Final = "the tool's backlog is over its cap"


class SendQueue:
    """The sends of one tool. Not thread-safe.

    Attributes:
        phase: ``flowing``, ``standing`` (nothing departs before `probe_at_s`) or ``probing`` (one batch is out to try).
        attempts: how many times in a row the vendor failed since it last answered.
        last_error: why the tool stands, "" while it flows.
        probe_at_s: monotonic seconds; 0.0 while it flows.
        flying: the batches that departed and were not judged yet.
    """

    def __init__(self, tool: BoundTool, *, dry_run: bool = False) -> None:
        self.phase: Phase = "flowing"
        self.attempts = 0
        self.last_error = ""
        self.probe_at_s = 0.0
        self.flying: set[Batch] = set()
        self._tool = tool
        self._rules = tool.delivery
        self._window = 1 if tool.delivery.ordered else max(1, tool.delivery.window)
        self._undecided = Undecided(tool.delivery, "dry_run" if dry_run else "delivered")
        self._waiting: deque[Send] = deque()
        self._waiting_again: deque[Send] = deque()  # of parked events: they failed alone, and may again
        self._waiting_bytes = 0
        self._ready: deque[Batch] = deque()
        self._stuck: deque[Batch] = deque()
        self._suspects: deque[Batch] = deque()
        self._suspects_turn = True
        self._probe: Batch | None = None
        self._shed_bytes = 0

    def __len__(self) -> int:
        """Return how many sends are undecided, those in flight included."""
        return len(self._undecided)

    @property
    def endings(self) -> deque[Ending]:
        """What was decided and is not committed yet; whoever commits it empties the list."""
        return self._undecided.endings

    def has_room(self) -> bool:
        """Return whether more should be read ahead."""
        rules = self._rules
        count = len(self._waiting) + len(self._waiting_again)
        return count < rules.max_batch_items and self._waiting_bytes < rules.max_batch_bytes

    def add(self, item: Item, sends: Sequence[Send], now: Moment) -> None:
        """Queue an event's sends, of which there is at least one."""
        if self._shed_bytes > 0 and not item.parked:
            self._shed_bytes -= item.size
            self._undecided.end(item, "backlog_full", _OVER_CAP)
        elif self.phase != "flowing" and not item.parked and self._undecided.is_too_old(item, now):
            self._undecided.end(item, "expired", self.last_error)
        else:
            own = self._undecided.add(item, sends)
            self._waiting_bytes += sum(map(self._size, own))
            (self._waiting_again if item.parked else self._waiting).extend(own)

    def end(self, item: Item, kind: OutcomeKind, reason: str) -> None:
        """End an event of which nothing is to be sent."""
        self._shed_bytes -= item.size
        self._undecided.end(item, kind, reason)

    def shed(self, size: int, now: Moment) -> None:
        """End the oldest events, about `size` bytes of them, as ``backlog_full``; what is not here yet ends as it comes.

        Nothing is done while something is in flight, which may still arrive, or while an earlier call is not through: the
        caller asks again.
        """
        if self.flying or self.endings or self._shed_bytes > 0:
            return
        self._shed_bytes = size
        for item in self._undecided.oldest_first():
            if self._shed_bytes <= 0:
                break
            self._shed_bytes -= item.size
            self._undecided.end(item, "backlog_full", _OVER_CAP)
        self._leave_out_ended(now)

    def forget_waiting(self, now: Moment) -> list[Item]:
        """Let go of every event of which nothing is in flight, without an ending, and return them."""
        flying = {self._undecided.owner(send) for batch in self.flying for send in batch.sends}
        gone = [item for item in self._undecided.oldest_first() if item not in flying]
        for item in gone:
            self._undecided.forget(item)
        self._leave_out_ended(now)
        return gone

    def _size(self, send: Send) -> int:
        return send.size or self._undecided.owner(send).size

    def next(self, now: Moment) -> Batch | None:
        """Return the batch that departs now, or None when nothing may."""
        if self.phase == "flowing":
            batch = self._pick(now) if len(self.flying) < self._window else None
        elif self.phase == "standing" and now.monotonic_s >= self.probe_at_s and not self.flying:
            batch = self._pick_probe(now)
        else:
            batch = None
        if batch is not None:
            self.flying.add(batch)
            for item in {self._undecided.owner(send) for send in batch.sends}:
                item.attempts += 1
        return batch

    def _pick(self, now: Moment) -> Batch | None:
        """Return a suspect and a good batch in turn, one suspect in flight at a time: each may take its whole time-out."""
        self._suspects_turn = not self._suspects_turn
        if self._suspects_turn:
            return self._pick_suspect(now) or self._pick_good(now)
        return self._pick_good(now) or self._pick_suspect(now)

    def _pick_suspect(self, now: Moment) -> Batch | None:
        if any(batch.suspect for batch in self.flying):
            return None
        while self._waiting_again and not self._suspects:
            self._suspects.extend(self._pack(self._pop(self._waiting_again), now, suspect=True))
        return self._suspects.popleft() if self._suspects else None

    def _pick_good(self, now: Moment) -> Batch | None:
        while self._waiting and not self._ready:
            self._ready.extend(self._pack(self._pop(self._waiting), now))
        return self._ready.popleft() if self._ready else None

    def _pop(self, waiting: deque[Send]) -> Sequence[Send]:
        most = self._rules.max_batch_items
        if len(waiting) > most:
            sends = [waiting.popleft() for _ in range(most)]
        else:
            sends = list(waiting)
            waiting.clear()
        if self._waiting or self._waiting_again:
            self._waiting_bytes -= sum(map(self._size, sends))
        else:
            self._waiting_bytes = 0
        return sends

    def _pick_probe(self, now: Moment) -> Batch | None:
        self._undecided.expire(now, self.last_error)
        self._leave_out_ended(now)
        self._probe = self._pick_stuck(now) or self._pick_good(now) or self._pick_suspect(now)
        if self._probe is not None:
            self.phase = "probing"
        return self._probe

    def _pick_stuck(self, now: Moment) -> Batch | None:
        """Return the batch that failed first, until it is suspect; then another: a new one, or whichever failed least.

        When there is no other that was not tried as often, a large one becomes two: one of them may pass. What is returned
        stays among the stuck until the vendor answers.
        """
        if not self._stuck or self._rules.ordered or self._stuck[0].failures < SUSPECT_AFTER:
            return self._stuck[0] if self._stuck else None
        other = (self._pick_good(now) or self._pick_suspect(now)) if self._may_hold_more() else None
        if other is not None:
            return other
        if all(batch.failures >= SUSPECT_AFTER for batch in self._stuck):
            self._halve_largest(now)
        return min(self._stuck, key=lambda batch: batch.failures, default=None)

    def _halve_largest(self, now: Moment) -> None:
        largest = max(self._stuck, key=lambda batch: len(batch.sends))
        if len(largest.sends) > 1:
            self._stuck.remove(largest)
            self._stuck.extend(self._narrowed(largest.sends, largest, now))

    def _may_hold_more(self) -> bool:
        """Return whether the stuck may grow: enough that bad batches do not hide a good one, not the whole backlog."""
        sends = [send for batch in self._stuck for send in batch.sends]
        most, rules = self._window + 1, self._rules
        return len(sends) < most * rules.max_batch_items and sum(map(self._size, sends)) < most * rules.max_batch_bytes

    def answered(self, batch: Batch, reply: HttpReply, now: Moment) -> None:
        """Judge the vendor's answer by the tool's ``verdict``."""
        try:
            given = verdicts(self._tool, batch, reply)
        except Rubbish as error:
            self.bury(batch, str(error), now)
        else:
            self.judged(batch, given, now)

    def bury(self, batch: Batch, reason: str, now: Moment) -> None:
        """End what is undecided of a batch as ``tool_error``: nothing can be made of its answer."""
        self.flying.discard(batch)
        for send in batch.sends:
            if send in self._undecided:
                self._undecided.decide(send, dead(reason), now, "tool_error")
        self._vendor_answers(batch)
        self._leave_out_ended(now)

    def failed(self, batch: Batch, reason: str, now: Moment) -> None:
        """Take note that there was no answer."""
        self.judged(batch, [retry(reason)] * len(batch.sends), now)

    def passed(self, batch: Batch, now: Moment) -> None:
        """Take the batch as delivered: a dry run has no answers to judge."""
        self.judged(batch, [DONE] * len(batch.sends), now)

    def judged(self, batch: Batch, given: Sequence[Verdict], now: Moment) -> None:
        """Act on the verdicts: ``len(given) == len(batch.sends)``."""
        self.flying.discard(batch)
        if all(verdict.kind == "retry" for verdict in given):
            self._trouble(batch, given, now)
            return
        self._vendor_answers(batch)
        refused: list[Send] = []
        held: list[Send] = []
        for send, verdict in zip(batch.sends, given, strict=True):
            match verdict.kind:
                case "refused" if len(batch.sends) > 1:
                    refused.append(send)
                case "retry" if self._rules.ordered and not batch.suspect:
                    held.append(send)
                case _:
                    self._undecided.decide(send, verdict, now)
        narrowed = self._narrowed(refused, batch, now)
        (self._suspects if batch.suspect else self._ready).extendleft(reversed(narrowed))
        if held:
            self._stuck.extend(self._pack(held, now))
            self._stand([verdict for verdict in given if verdict.kind == "retry"], now)

    def _narrowed(self, sends: Sequence[Send], batch: Batch, now: Moment) -> list[Batch]:
        """Pack again what a batch's refusal left open: by halves when that is all of it."""
        if not sends:
            return []
        if len(sends) < len(batch.sends):
            return self._pack(sends, now, suspect=batch.suspect)
        middle = len(sends) // 2
        first, second = sends[:middle], sends[middle:]
        return self._pack(first, now, suspect=batch.suspect) + self._pack(second, now, suspect=batch.suspect)

    def _pack(self, sends: Sequence[Send], now: Moment, *, suspect: bool = False, failures: int = 0) -> list[Batch]:
        batches = pack(
            self._tool,
            sends,
            lambda send, reason: self._undecided.decide(send, dead(reason), now, "tool_error"),
        )
        for batch in batches:
            batch.suspect, batch.failures = suspect, failures
        return batches

    def _trouble(self, batch: Batch, given: Sequence[Verdict], now: Moment) -> None:
        """Stand still, unless it is the batch that is the trouble: then break it up, and put off what fails alone."""
        batch.failures += 1
        if not batch.suspect or self.phase != "flowing":
            if batch not in self._stuck:
                self._stuck.append(batch)
            self._stand(given, now, probed=batch is self._probe)
        elif len(batch.sends) > 1:
            self._suspects.extendleft(reversed(self._narrowed(batch.sends, batch, now)))
        else:
            self._undecided.decide(batch.sends[0], given[0], now)

    def _stand(self, given: Sequence[Verdict], now: Moment, *, probed: bool = False) -> None:
        if self.phase == "flowing" or probed:
            self.attempts += 1
            self.phase, self._probe = "standing", None
        rules = self._rules
        wait_s = backoff_s(self.attempts, first_s=rules.first_backoff_s, max_s=rules.max_backoff_s, random=now.chance)
        asked_s = min(max(verdict.after_s or 0.0 for verdict in given), MAX_RETRY_AFTER_S)
        self.probe_at_s = max(self.probe_at_s, now.monotonic_s + max(wait_s, asked_s))
        self.last_error = given[0].reason

    def _vendor_answers(self, batch: Batch) -> None:
        """Flow again when this was the probe. Batches that kept failing meanwhile are suspect, the others are not."""
        if batch is not self._probe:
            return
        self.phase, self._probe = "flowing", None
        self.attempts, self.probe_at_s, self.last_error, self._shed_bytes = 0, 0.0, "", 0
        for stuck in reversed(self._stuck):
            if stuck is batch:
                continue
            stuck.suspect = stuck.failures >= SUSPECT_AFTER
            (self._suspects if stuck.suspect else self._ready).appendleft(stuck)
        self._stuck.clear()

    def _leave_out_ended(self, now: Moment) -> None:
        """Take the sends of events that are gone out of everything that waits."""
        self._waiting = deque(send for send in self._waiting if send in self._undecided)
        self._waiting_again = deque(send for send in self._waiting_again if send in self._undecided)
        self._waiting_bytes = sum(map(self._size, (*self._waiting, *self._waiting_again)))
        self._ready = self._rest_of(self._ready, now)
        self._stuck = self._rest_of(self._stuck, now)
        self._suspects = self._rest_of(self._suspects, now)

    def _rest_of(self, batches: Sequence[Batch], now: Moment) -> deque[Batch]:
        rest: deque[Batch] = deque()
        for batch in batches:
            sends = [send for send in batch.sends if send in self._undecided]
            if len(sends) == len(batch.sends):
                rest.append(batch)
            elif sends:
                rest.extend(self._pack(sends, now, suspect=batch.suspect, failures=batch.failures))
        return rest
