"""Admission: one event is shown to its tool, and what the tool wants goes into the queue; or it ends here.

Layer: input and output (it looks at the clock). It knows nothing of the journal but the names of events.
"""

from __future__ import annotations

from typing import Final

from eventmw.clock import Clock
from eventmw.contract import BoundTool
from eventmw.delivery.batches import check_sizes
from eventmw.delivery.dispatcher import Dispatcher
from eventmw.delivery.endings import Item, Moment
from eventmw.delivery.order import key_of
from eventmw.delivery.queue import SendQueue
from eventmw.errors import told
from eventmw.event import Event
from eventmw.journal import Key
from eventmw.outcome import OutcomeKind

UNREADABLE: Final = "the record cannot be read"


class Admission:
    """The way of one tool's events into its queue. Not thread-safe.

    Attributes:
        live: events that were taken in, and are not committed yet.
        closed: the tool is switched off: it is shown nothing, and what comes is what its backlog has too much of.
    """

    def __init__(self, tool: BoundTool, dispatcher: Dispatcher, clock: Clock, queue: SendQueue) -> None:
        self.live: set[Key] = set()
        self.closed = False
        self._tool = tool
        self._dispatcher = dispatcher
        self._clock = clock
        self._queue = queue

    def moment(self) -> Moment:
        """Return now."""
        return Moment(self._clock.monotonic_s(), self._clock.now_ms(), self._clock.random())

    def admit(self, item: Item, event: Event, now: Moment) -> None:
        """Show an event to the tool, and queue what it wants sent."""
        if self.closed:
            self.end(item, "backlog_full", "the tool is switched off, and its backlog is over its cap")
            return
        what, order_key = "handle", self._tool.delivery.order_key
        try:
            wanted = self._dispatcher.dispatch(self._tool, event)
            check_sizes(wanted.sends)
            what = "order_key"
            if wanted.sends:
                if order_key is not None:
                    item.order_key = key_of(order_key, event)
                self._queue.add(item, wanted.sends, now)
        except BaseException as error:  # noqa: BLE001 - a tool harms only itself, whatever it raises
            self.end(item, "tool_error", f"{what} {told(error)}")
            return
        if wanted.sends:
            self.live.add(item.key)
        else:
            self.end(item, wanted.outcome or "filtered", wanted.reason)

    def end(self, item: Item, kind: OutcomeKind, reason: str) -> None:
        """End an event of which nothing is to be sent."""
        self.live.add(item.key)
        self._queue.end(item, kind, reason)
