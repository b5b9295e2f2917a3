"""Revival: parked events that are due again, and those that grow too old while their tool stands.

Layer: input and output on the journal only; no thread, no event loop, no socket.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from eventmw.clock import Clock
from eventmw.contract import BoundTool
from eventmw.delivery.admission import UNREADABLE, Admission
from eventmw.delivery.dispatcher import Dispatcher
from eventmw.delivery.endings import Item
from eventmw.delivery.queue import SendQueue
from eventmw.event import Event
from eventmw.journal import Lease, Parked
from eventmw.record import Erased
from eventmw.retry import MAX_RETRY_AFTER_S

_MAX_EXPIRING: Final = 50
"""Parked events that one look at the give-up age takes, without a pause. Source: assumption."""


class Revival:
    """The parked events of one tool. Lives as long as its lease; not thread-safe."""

    def __init__(
        self,
        tool: BoundTool,
        dispatcher: Dispatcher,
        lease: Lease,
        clock: Clock,
        *,
        queue: SendQueue,
        admission: Admission,
    ) -> None:
        self._tool = tool
        self._dispatcher = dispatcher
        self._lease = lease
        self._clock = clock
        self._queue = queue
        self._admission = admission
        self._longest_wait_ms = 1000 * max(tool.delivery.max_backoff_s, MAX_RETRY_AFTER_S)

    def read(self) -> Iterator[None]:
        """Take in what is due while there is room, one event a step."""
        admission = self._admission
        if admission.closed or not self._takes_parked() or not self.is_due():
            return
        most = len(admission.live) + self._tool.delivery.max_batch_items
        for parked in self._lease.due(self._tool.id, self._horizon_ms(), most):
            if admission.closed or not self._queue.has_room():
                return
            if parked.key not in admission.live:
                item = _item(parked)
                if (event := self._event_of(item)) is not None:
                    admission.admit(item, event, admission.moment())
            yield

    def expire(self) -> None:
        """End parked events that are past the give-up age: while the tool stands, they are not tried."""
        admission, now = self._admission, self._admission.moment()
        for parked in self._lease.due(self._tool.id, self._horizon_ms(), _MAX_EXPIRING):
            if parked.key not in admission.live:
                item = _item(parked)
                if self._event_of(item) is not None and self._queue.is_too_old(item, now):
                    admission.end(item, "expired", parked.reason)

    def due_in_ms(self) -> int | None:
        """Return in how many milliseconds the next one is to be taken in, or None when none is."""
        due_ms = self._lease.next_due_ms(self._tool.id) if self._takes_parked() else None
        if due_ms is None:
            return None
        wait_ms = due_ms - self._horizon_ms()
        # What is due already is in memory, or there is no room for it: then the next answer goes on with it.
        return wait_ms if wait_ms > 0 or not self._admission.live else None

    def is_due(self) -> bool:
        """Return whether any is due."""
        due_ms = self._lease.next_due_ms(self._tool.id)
        return due_ms is not None and due_ms <= self._horizon_ms()

    def _event_of(self, item: Item) -> Event | None:
        """Return the event of a parked item, whose id and time are filled in; None when it ended here."""
        try:
            event = next(iter(self._dispatcher.events(item.record)))
        except Exception as error:  # noqa: BLE001 - a damaged record must not stop the lane
            self._admission.end(item, "tool_error", f"{UNREADABLE}: {type(error).__name__}")
            return None
        if isinstance(event, Erased):
            self._admission.end(item, "erased", "")
            return None
        item.event_id, item.recorded_ms = event.id, event.recorded_ms
        return event

    def _takes_parked(self) -> bool:
        return self._queue.circuit.phase == "flowing" or not len(self._queue)

    def _horizon_ms(self) -> int:
        """Return the wall time up to which parked items are due.

        It is now, unless the next one is further away than any wait is long: then the clock went back since it was parked.
        """
        now_ms, due_ms = self._clock.now_ms(), self._lease.next_due_ms(self._tool.id)
        return now_ms if due_ms is None or due_ms - now_ms <= self._longest_wait_ms else due_ms


def _item(parked: Parked) -> Item:
    return Item(parked.key, "", 0, parked.record, None, len(parked.record), parked.attempts, parked=True)
