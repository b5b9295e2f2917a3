"""What an answer means: the sends of one tool, from the queue to their ending.

A `SendQueue` is told which sends there are, what the vendor answered and what time it is; it says which batch departs next
and how events end. It tells three kinds of trouble apart:

- The vendor fails: a whole request fails (no connection, 401, 429, 5xx), and no other passed while it was under way. The
  tool *stands*, see `eventmw.delivery.circuit`.
- One batch fails as a whole while others pass. It alone is put off, tried once more, then broken up.
- Single sends fail, or a request is refused whole. They alone are put off or end; a refused request is halved until the bad
  ones stand alone.

Layer: pure rules; time and chance come in as a `Moment`. Nothing here reads a journal or a socket.
Source: JOURNAL.md «Courier».
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from eventmw.contract import BoundTool
from eventmw.delivery.batches import Batch, Rubbish, verdicts
from eventmw.delivery.circuit import Circuit
from eventmw.delivery.endings import Ending, Failure, Item, Moment, Undecided
from eventmw.delivery.line import Line
from eventmw.delivery.rate import Rate
from eventmw.effects import DONE, Send, Verdict, dead, retry
from eventmw.http import HttpReply
from eventmw.outcome import OutcomeKind

_OVER_CAP: Final = "the tool's backlog is over its cap"


class SendQueue:
    """The sends of one tool. Not thread-safe.

    Attributes:
        circuit: whether the vendor is asked at all.
        wakes_at_s: monotonic seconds at which something departs that the last call of `next` held back: by the rate, the
            circuit, or a batch's own pause. None: nothing happens by itself.
    """

    def __init__(self, tool: BoundTool, *, dry_run: bool = False) -> None:
        self.circuit = Circuit(tool.delivery)
        self.wakes_at_s: float | None = None
        self._tool = tool
        self._rules = tool.delivery
        self._undecided = Undecided(tool.delivery, "dry_run" if dry_run else "delivered")
        self._line = Line(tool, self._undecided)
        per_s = tool.delivery.rate_per_s
        self._rate = None if per_s is None or dry_run else Rate(per_s)
        self._answers = 0
        self._shed_bytes = 0

    def __len__(self) -> int:
        """Return how many sends are undecided, those in flight included."""
        return len(self._undecided)

    @property
    def endings(self) -> deque[Ending]:
        """What was decided and is not committed yet; whoever commits it empties the list."""
        return self._undecided.endings

    @property
    def failure(self) -> Failure | None:
        """The last thing that went wrong."""
        return self._undecided.failure

    def note_failure(self, reason: str, now: Moment) -> None:
        """Remember what went wrong last, whether or not the tool stands because of it."""
        self._undecided.failure = Failure(reason, now.wall_ms)

    @property
    def flying(self) -> set[Batch]:
        """The batches that departed and were not judged yet."""
        return self._line.flying

    def has_room(self) -> bool:
        """Return whether more should be read ahead."""
        return self._line.ahead.has_room()

    @property
    def held_bytes(self) -> int:
        """The size of the records that undecided events keep in memory: a whole record for one event of a thousand."""
        return self._undecided.held_bytes

    def add(self, item: Item, sends: Sequence[Send], now: Moment) -> None:
        """Queue an event's sends, of which there is at least one."""
        if self._shed_bytes > 0 and not item.parked:
            self._shed_bytes -= item.size
            self._undecided.end(item, "backlog_full", _OVER_CAP)
        elif self.circuit.phase != "flowing" and not item.parked and self.is_too_old(item, now):
            self._undecided.end(item, "expired", self.circuit.last_error)
        else:
            until_s = self._linger_until_s(item, now)
            self._line.ahead.add(self._undecided.add(item, sends), again=item.parked, linger_until_s=until_s)

    def _linger_until_s(self, item: Item, now: Moment) -> float:
        """Return the monotonic seconds until which an event may wait for others, by its age: a backlog does not wait."""
        linger_s = self._rules.linger_s
        left_s = linger_s - (now.wall_ms - item.recorded_ms) / 1000
        return now.monotonic_s + min(max(left_s, 0.0), linger_s)  # a clock that went back makes nobody wait longer

    def hurry(self, *, on: bool) -> None:
        """Send what lingers, and what comes, without waiting for more; until it is switched off."""
        self._line.in_haste = on

    def end(self, item: Item, kind: OutcomeKind, reason: str) -> None:
        """End an event of which nothing is to be sent."""
        self._shed_bytes -= item.size
        self._undecided.end(item, kind, reason)

    def is_too_old(self, item: Item, now: Moment) -> bool:
        """Return whether an event is past the give-up age."""
        return self._undecided.is_too_old(item, now)

    def is_shedding(self) -> bool:
        """Return whether the events that come next are to end as ``backlog_full``."""
        return self._shed_bytes > 0

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
        self._line.leave_out_ended(now)

    def forget_waiting(self, now: Moment) -> list[Item]:
        """Let go of every event of which nothing is in flight, without an ending, and return them."""
        flying = {self._undecided.owner(send) for batch in self.flying for send in batch.sends}
        gone = [item for item in self._undecided.oldest_first() if item not in flying]
        for item in gone:
            self._undecided.forget(item)
        self._line.leave_out_ended(now)
        return gone

    def next(self, now: Moment) -> Batch | None:
        """Return the batch that departs now, or None when nothing may; then see `wakes_at_s`."""
        self.wakes_at_s = None
        wait_s = 0.0 if self._rate is None else self._rate.wait_s(now.monotonic_s)
        if wait_s > 0:
            self.wakes_at_s = now.monotonic_s + wait_s if self._undecided else None
            return None
        batch = self._next_flowing(now) if self.circuit.phase == "flowing" else self._next_probe(now)
        if batch is not None:
            self._depart(batch, now)
        return batch

    def _next_flowing(self, now: Moment) -> Batch | None:
        batch = self._line.next(now)
        if batch is None:
            self.wakes_at_s = self._line.next_due_s(now)
        return batch

    def _next_probe(self, now: Moment) -> Batch | None:
        circuit = self.circuit
        if circuit.phase == "probing" or self.flying or not self._undecided:
            return None
        if now.monotonic_s < circuit.probe_at_s:
            self.wakes_at_s = circuit.probe_at_s
            return None
        self._undecided.expire(now, circuit.last_error)
        self._line.leave_out_ended(now)
        batch = self._line.next_probe(now)
        if batch is not None:
            circuit.try_with(batch)
        return batch

    def _depart(self, batch: Batch, now: Moment) -> None:
        self.flying.add(batch)
        batch.answers = self._answers
        if self._rate is not None:
            self._rate.take(now.monotonic_s)
        for item in {self._undecided.owner(send) for send in batch.sends}:
            item.attempts += 1

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
        self._vendor_answers(batch, now)
        self._line.leave_out_ended(now)

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
        self._vendor_answers(batch, now)
        refused: list[Send] = []
        held: list[Send] = []
        for send, verdict in zip(batch.sends, given, strict=True):
            match verdict.kind:
                case "refused" if len(batch.sends) > 1:
                    refused.append(send)
                case "retry" | "later" if self._rules.ordered and not batch.suspect:
                    held.append(send)
                case _:
                    self._undecided.decide(send, verdict, now)
        if refused:
            self._line.put_first(self._line.narrowed(refused, batch, now), batch)
        if held:
            self._line.stuck.extend(self._line.pack(held, now))
            self._stand(batch, [verdict for verdict in given if verdict.kind in {"retry", "later"}], now)

    def _trouble(self, batch: Batch, given: Sequence[Verdict], now: Moment) -> None:
        """Stand still, unless the batch is the trouble: then put it off, break it up, and put off what fails alone."""
        batch.failures += 1
        batch.failed = True
        self.note_failure(given[0].reason, now)
        if self.circuit.phase == "flowing" and batch.suspect:
            self._break_up(batch, given, now)
        elif self._is_alone(batch, given):
            self._line.set_aside(batch, now.monotonic_s + self.circuit.backoff_s(batch.failures, now))
        else:
            self._line.keep_stuck(batch)
            self._stand(batch, given, now)

    def _is_alone(self, batch: Batch, given: Sequence[Verdict]) -> bool:
        """Return whether the vendor answered others since this batch departed, and asks for no pause."""
        return (
            self.circuit.phase == "flowing"
            and self._answers > batch.answers
            and all(verdict.after_s is None for verdict in given)
            and self._line.may_hold_more()
        )

    def _break_up(self, batch: Batch, given: Sequence[Verdict], now: Moment) -> None:
        if len(batch.sends) > 1:
            self._line.put_first(self._line.narrowed(batch.sends, batch, now), batch)
        else:
            self._undecided.decide(batch.sends[0], given[0], now)

    def _stand(self, batch: Batch, given: Sequence[Verdict], now: Moment) -> None:
        self.circuit.trip(batch, given[0].reason, max(verdict.after_s or 0.0 for verdict in given), now)

    def _vendor_answers(self, batch: Batch, now: Moment) -> None:
        """Take note that the vendor answers; when this was the probe, the tool flows again."""
        self._answers += 1
        if batch is self.circuit.probe:
            self.circuit.close()
            self._shed_bytes = 0
            self._line.release_stuck(batch, now)
