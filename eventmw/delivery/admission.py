"""Admission: one event is shown to its tool, and what the tool wants goes into the queue; or it ends here.

The tool's code, and nothing else, runs in a `Hold` here: what reads the journal is ours, and a disk that hangs must not look
like a tool that does.

Layer: input and output (it looks at the clock). It knows nothing of the journal but the names of events.
"""

from __future__ import annotations

from typing import Final

from eventmw.clock import Clock
from eventmw.contract import BoundTool
from eventmw.delivery.batches import check_sizes
from eventmw.delivery.dispatcher import Dispatch, Dispatcher
from eventmw.delivery.endings import Item, Moment
from eventmw.delivery.holds import Watch
from eventmw.delivery.order import key_of
from eventmw.delivery.queue import SendQueue
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

    def __init__(self, tool: BoundTool, dispatcher: Dispatcher, clock: Clock, queue: SendQueue, watch: Watch) -> None:
        self.live: set[Key] = set()
        self.closed = False
        self._tool = tool
        self._dispatcher = dispatcher
        self._clock = clock
        self._queue = queue
        self._watch = watch

    def moment(self) -> Moment:
        """Return now."""
        return Moment(self._clock.monotonic_s(), self._clock.now_ms(), self._clock.random())

    def admit(self, item: Item, event: Event, now: Moment) -> None:
        """Show an event to the tool, and queue what it wants sent."""
        if self.closed:
            self.end(item, "backlog_full", "the tool is switched off, and its backlog is over its cap")
            return
        wanted = self._asked(item, event)
        if wanted is None:
            return
        if not wanted.sends:
            self.end(item, wanted.outcome or "filtered", wanted.reason)
            return
        try:
            self._queue.add(item, wanted.sends, now)
        except Exception as error:  # noqa: BLE001 - rules that nobody can reckon with lose no event
            self.end(item, "tool_error", self._tool.troubles.note("queueing it", error))
        else:
            self.live.add(item.key)

    def _asked(self, item: Item, event: Event) -> Dispatch | None:
        """Return what the tool wants; None when it failed, and the event ended here."""
        what, order_key = "handle", self._tool.delivery.order_key
        try:
            with self._watch.holding(self._tool.id, "handle"):
                wanted = self._dispatcher.dispatch(self._tool, event)
                check_sizes(wanted.sends)
                what = "order_key"
                if order_key is not None and wanted.sends:
                    item.order_key = key_of(order_key, event)
        except BaseException as error:  # noqa: BLE001 - a tool harms only itself, whatever it raises
            self.end(item, "tool_error", self._tool.troubles.note(what, error, self._code_of(what)))
            return None
        return wanted

    def _code_of(self, what: str) -> object:
        return self._tool.delivery.order_key if what == "order_key" else self._tool.written

    def end(self, item: Item, kind: OutcomeKind, reason: str) -> None:
        """End an event of which nothing is to be sent."""
        self.live.add(item.key)
        if kind == "tool_error":
            self._queue.note_failure(reason, self.moment())
        self._queue.end(item, kind, reason)
