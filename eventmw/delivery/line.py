"""The line: which batch of one tool departs next.

Batches are *ready*, *flying*, *stuck* (they failed as a whole, and are kept while the tool stands), or *suspects*: those
that failed while others passed, and those of parked events. One suspect is in flight at a time, beside good ones: each may
take its whole time-out. Where events of one key are to stay in order, no batch overtakes an undecided one that shares a key.

Layer: pure rules. It knows nothing of answers; that is the queue's.
Source: JOURNAL.md «Courier»; the number of failures that makes a batch suspect is ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from eventmw.contract import BoundTool, pack_singly
from eventmw.delivery.batches import Batch, pack
from eventmw.delivery.endings import Moment, Undecided
from eventmw.delivery.order import first_free, free, in_line
from eventmw.delivery.readahead import ReadAhead
from eventmw.effects import Send, dead

SUSPECT_AFTER: Final = 3
"""A batch that failed this often, while another passed, is itself the trouble. Source: assumption."""


class Fill:
    """Finds the sends that fill a request: only the tool's ``pack``, which is pure, knows the limits.

    A request is full when ``pack`` makes two of its sends and one more like the last. ``pack`` is asked once how many of one
    send fit, and from that many on whenever some more have come.
    """

    __slots__ = ("_look_at", "_once", "_tool")

    def __init__(self, tool: BoundTool) -> None:
        self._tool = tool
        self._once = 0
        self._look_at = 0

    def full(self, sends: Sequence[Send]) -> Sequence[Send]:
        """Return those of the sends that are in full requests."""
        if self._tool.pack is pack_singly:
            return sends
        if not self._once:
            alike = self._packed([replace(sends[0]) for _ in range(self._tool.delivery.max_batch_items)])
            self._once = self._look_at = len(alike[0]) if alike else len(sends)
        if len(sends) < self._look_at:
            return ()
        found = [send for part in self._packed(sends) if self._is_full(part) for send in part]
        # When what fits differs from send to send, or sends of many people come, do not look at each one that comes.
        self._look_at = self._once if found else len(sends) + max(1, len(sends) // 8)
        return found

    def begin(self) -> None:
        """Begin anew, with sends that have just come."""
        self._look_at = self._once

    def _is_full(self, part: Sequence[Send]) -> bool:
        return len(self._packed([*part, replace(part[-1])])) > 1

    def _packed(self, sends: Sequence[Send]) -> list[Sequence[Send]]:
        try:
            return [tuple(one.items) for one in islice(self._tool.pack(tuple(sends)), len(sends) + 1) if one.items]
        except BaseException:  # noqa: BLE001 - what is wrong with a pack shows when it is packed in earnest
            return []


class Line:
    """The batches of one tool. Not thread-safe.

    Attributes:
        ahead: what is not packed yet.
        flying: the batches that departed and were not judged yet.
        in_haste: new sends do not wait for more to be packed with them.
        stuck: the batches that failed as a whole since the tool stands; those out to try again are in `flying` as well.
    """

    def __init__(self, tool: BoundTool, undecided: Undecided) -> None:
        self._tool = tool
        self._rules = tool.delivery
        self._window = 1 if tool.delivery.ordered else max(1, int(tool.delivery.window))
        self._undecided = undecided
        self.ahead = ReadAhead(tool.delivery, self._size)
        self.flying: set[Batch] = set()
        self.stuck: list[Batch] = []
        self._ready: deque[Batch] = deque()
        self._suspects: deque[Batch] = deque()
        self._suspects_turn = True
        self._fill = Fill(tool)
        self.in_haste = False

    def _size(self, send: Send) -> int:
        return send.size or self._undecided.owner(send).size

    def next(self, now: Moment) -> Batch | None:
        """Return the batch that departs now, a suspect and a good one in turn; None when the window is full or none may."""
        if len(self.flying) >= self._window:
            return None
        self._suspects_turn = not self._suspects_turn
        if self._suspects_turn:
            return self._next_suspect(now, now.monotonic_s) or self._next_good(now)
        return self._next_good(now) or self._next_suspect(now, now.monotonic_s)

    def next_due_s(self, now: Moment) -> float | None:
        """Return the monotonic seconds at which the next suspect that waits, or new sends that linger, may depart."""
        times = [suspect.not_before_s for suspect in self._suspects]
        if self.ahead.new:
            times.append(self.ahead.linger_until_s)
        return min((at_s for at_s in times if at_s > now.monotonic_s), default=None)

    def _departing(self, now: Moment, *, lingering: bool) -> Sequence[Send]:
        """Take the new sends that wait for no more to be packed with them."""
        ahead, rules = self.ahead, self._rules
        if not lingering or self.in_haste or now.monotonic_s >= ahead.linger_until_s or not ahead.has_room():
            self._fill.begin()
            return ahead.take_new()
        full = self._fill.full(ahead.new)
        # Where order counts, what came before a full request goes with it.
        return ahead.take_new() if full and (rules.ordered or rules.order_key is not None) else ahead.take_out(full)

    def next_probe(self, now: Moment) -> Batch | None:
        """Return the batch that is tried while nothing else departs; None when there is none.

        It is the one that failed first, until it is suspect; then another: a new one, or whichever failed least. When there
        is no other that was not tried as often, a large one becomes two: one of them may pass.
        """
        probe = self._next_stuck(now)
        return probe or self._next_good(now, lingering=False) or self._next_suspect(now)

    def _next_stuck(self, now: Moment) -> Batch | None:
        if not self.stuck or self._rules.ordered or self.stuck[0].failures < SUSPECT_AFTER:
            return self.stuck[0] if self.stuck else None
        other = (self._next_good(now, lingering=False) or self._next_suspect(now)) if self.may_hold_more() else None
        if other is not None:
            return other
        if all(batch.failures >= SUSPECT_AFTER for batch in free(self.stuck)):
            self._halve_largest(now)
        return min(free(self.stuck), key=lambda batch: batch.failures, default=None)

    def _next_suspect(self, now: Moment, now_s: float = float("inf")) -> Batch | None:
        if not (self._suspects or self.ahead.again) or any(batch.suspect for batch in self.flying):
            return None
        while (batch := first_free(self._suspects, now_s=now_s)) is None and self.ahead.again:
            self._suspects.extend(self.pack(self.ahead.take_again(), now, suspect=True))
        if batch is not None:
            self._suspects.remove(batch)
        return batch

    def _next_good(self, now: Moment, *, lingering: bool = True) -> Batch | None:
        if self._ready and self._rules.order_key is None:
            return self._ready.popleft()
        before = (*self.flying, *self.stuck, *self._suspects)
        while (batch := first_free(self._ready, before)) is None and self.ahead.new and not self._is_crowded():
            if not (sends := self._departing(now, lingering=lingering)):
                return None
            self._ready.extend(self.pack(sends, now))
        if batch is not None:
            self._ready.remove(batch)
        return batch

    def _is_crowded(self) -> bool:
        """Return whether enough is ready and held back by its keys: to look further would hold ever more in memory."""
        return sum(len(batch.sends) for batch in self._ready) >= self._rules.max_batch_items

    def may_hold_more(self) -> bool:
        """Return whether more may be put by: enough that bad batches do not hide a good one, not the whole backlog."""
        sends = [send for batch in (*self.stuck, *self._suspects) for send in batch.sends]
        most, rules = self._window + 1, self._rules
        return len(sends) < most * rules.max_batch_items and sum(map(self._size, sends)) < most * rules.max_batch_bytes

    def keep_stuck(self, batch: Batch) -> None:
        """Keep a batch that failed as a whole."""
        if batch not in self.stuck:
            self.stuck.append(batch)

    def release_stuck(self, passed: Batch, now: Moment) -> None:
        """Put the stuck back in line, since the vendor answers.

        When one passed that had not failed before, those that kept failing are suspects. When one passed that had, it was
        the vendor: nobody is, and what was broken up meanwhile is packed together again.
        """
        stuck, self.stuck = [batch for batch in self.stuck if batch is not passed], []
        if passed.failed and not self._rules.ordered:
            stuck = self._whole_again([send for batch in stuck for send in batch.sends], now)
        else:
            for batch in stuck:
                batch.suspect = batch.failures >= SUSPECT_AFTER
        self._suspects.extendleft(batch for batch in reversed(stuck) if batch.suspect)
        self._ready.extendleft(batch for batch in reversed(stuck) if not batch.suspect)

    def _whole_again(self, sends: Sequence[Send], now: Moment) -> list[Batch]:
        batches: list[Batch] = []
        for parked in (True, False):
            some = [send for send in sends if self._undecided.owner(send).parked is parked]
            for at in range(0, len(some), self._rules.max_batch_items):
                batches += self.pack(some[at : at + self._rules.max_batch_items], now, suspect=parked)
        return batches

    def set_aside(self, batch: Batch, until_s: float) -> None:
        """Put a batch among the suspects, to be tried again whole at that time (monotonic seconds)."""
        batch.suspect, batch.not_before_s = True, until_s
        self._suspects.append(batch)

    def put_first(self, batches: Sequence[Batch], like: Batch) -> None:
        """Put parts of a batch where it would be."""
        (self._suspects if like.suspect else self._ready).extendleft(reversed(batches))

    def narrowed(self, sends: Sequence[Send], batch: Batch, now: Moment, failures: int = 0) -> list[Batch]:
        """Pack again what a batch left open: by halves when that is all of it."""
        if len(sends) < len(batch.sends):
            return self.pack(sends, now, suspect=batch.suspect)
        middle = len(sends) // 2
        halves = (sends[:middle], sends[middle:])
        return [part for half in halves for part in self.pack(half, now, suspect=batch.suspect, failures=failures)]

    def _halve_largest(self, now: Moment) -> None:
        largest = max(self.stuck, key=lambda batch: len(batch.sends))
        if len(largest.sends) > 1:
            at = self.stuck.index(largest)
            # Each half is tried once before others are.
            self.stuck[at : at + 1] = self.narrowed(largest.sends, largest, now, SUSPECT_AFTER - 1)

    def pack(self, sends: Sequence[Send], now: Moment, *, suspect: bool = False, failures: int = 0) -> list[Batch]:
        """Return the batches the tool makes of sends; one that cannot be packed ends as ``tool_error``."""
        batches: Sequence[Batch] = pack(
            self._tool, sends, lambda send, reason: self._undecided.decide(send, dead(reason), now, "tool_error")
        )
        if self._rules.order_key is not None:
            line = in_line(batches, sends, self._key)
            if line is None:  # with fewer sends it will be one: a batch of one send is always in order
                middle = len(sends) // 2
                left = [[send for send in half if send in self._undecided] for half in (sends[:middle], sends[middle:])]
                return [
                    batch for half in left if half for batch in self.pack(half, now, suspect=suspect, failures=failures)
                ]
            batches = line
        for batch in batches:
            batch.suspect, batch.failures = suspect, failures
            if self._rules.order_key is not None:
                batch.keys = frozenset(key for send in batch.sends if (key := self._key(send)) is not None)
        return list(batches)

    def _key(self, send: Send) -> int | None:
        item = self._undecided.owner(send)
        return None if item.parked else item.order_key

    def leave_out_ended(self, now: Moment) -> None:
        """Take the sends of events that are gone out of everything that waits."""
        self.ahead.keep(self._undecided.__contains__)
        self._ready = deque(self._rest_of(self._ready, now))
        self.stuck = self._rest_of(self.stuck, now)
        self._suspects = deque(self._rest_of(self._suspects, now))

    def _rest_of(self, batches: Iterable[Batch], now: Moment) -> list[Batch]:
        rest: list[Batch] = []
        for batch in batches:
            sends = [send for send in batch.sends if send in self._undecided]
            if len(sends) == len(batch.sends):
                rest.append(batch)
            elif sends:
                rest.extend(self.pack(sends, now, suspect=batch.suspect, failures=batch.failures))
        return rest
