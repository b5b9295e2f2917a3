"""Taking in: from a tool's place in the journal, through the judge of duplicates and the tool itself, into its queue.

It reads the log ahead, and the parked events that are due, as far as there is room; what a tool does not want, what repeats
another event, what was erased and what cannot be read ends here. Everything is synchronous and in small steps, one event
each, so that whoever drives it decides when to rest.

Layer: input and output on the journal only; no thread, no event loop, no socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from eventmw.clock import Clock
from eventmw.contract import BoundTool
from eventmw.delivery.batches import check_sizes
from eventmw.delivery.duplicates import Duplicates
from eventmw.delivery.endings import Item, Moment
from eventmw.delivery.order import key_of
from eventmw.delivery.queue import SendQueue
from eventmw.delivery.watch import Watch
from eventmw.effects import Send
from eventmw.errors import told
from eventmw.event import Event
from eventmw.journal import Entry, Key, Lease, Parked, Reading
from eventmw.outcome import OutcomeKind
from eventmw.record import Erased
from eventmw.retry import MAX_RETRY_AFTER_S

_MAX_READ: Final = 64
_MAX_ENDINGS: Final = 500
_MAX_EXPIRING: Final = 50
_END: Final = object()
_UNREADABLE: Final = "the record cannot be read"


class Dispatch(Protocol):
    """What one tool wants for one event: sends, or the Outcome at once when there is nothing to send."""

    @property
    def sends(self) -> Sequence[Send]:
        """What is to be sent; empty when there is nothing."""
        ...

    @property
    def outcome(self) -> OutcomeKind | None:
        """How the event ends when nothing is to be sent."""
        ...

    @property
    def reason(self) -> str:
        """Why, in a few words without values."""
        ...


class Dispatcher(Protocol):
    """What the courier asks of the engine. All of it is pure."""

    @property
    def tools(self) -> Sequence[BoundTool]:
        """The tools that are configured."""
        ...

    def events(self, record: bytes) -> Iterator[Event | Erased]:
        """Return a record's events one by one, `ERASED` in the place of one whose person was erased.

        Raises for a record that cannot be read.
        """
        ...

    def single(self, record: bytes, ordinal: int) -> bytes:
        """Return a record that holds just this event."""
        ...

    def credential(self, record: bytes) -> str:
        """Return the name of the key that sent the record."""
        ...

    def dispatch(self, tool: BoundTool, event: Event, /) -> Dispatch:
        """Return what the tool wants for this event."""
        ...


class Intake:
    """One tool's way in. Lives as long as its lease; not thread-safe.

    Attributes:
        live: events that were taken in, and are not committed yet.
        crowded: too many events are parked: nothing more is read.
        closed: the tool is switched off: nothing is read, but to end what is over the cap of its backlog.
    """

    def __init__(
        self,
        tool: BoundTool,
        dispatcher: Dispatcher,
        lease: Lease,
        duplicates: Duplicates,
        clock: Clock,
        *,
        queue: SendQueue,
        watch: Watch,
    ) -> None:
        self.live: set[Key] = set()
        self.crowded = False
        self.closed = False
        self._tool = tool
        self._rules = tool.delivery
        self._dispatcher = dispatcher
        self._lease = lease
        self._duplicates = duplicates
        self._clock = clock
        self._queue = queue
        self._watch = watch
        self._landed: set[Key] = set()  # committed since the log was read: what was read does not know it
        self._longest_wait_ms = 1000 * max(tool.delivery.max_backoff_s, MAX_RETRY_AFTER_S)
        # One wanted event keeps its whole record in memory, which may hold a thousand that are not wanted.
        self._most_held_bytes = tool.delivery.max_batch_bytes * (1 + max(1, tool.delivery.window))
        self._readings: deque[Reading] = deque()
        self._reading: Iterator[None] | None = None
        self._read_at_once = 1
        self._exhausted = False
        self._now = self.moment()

    def moment(self) -> Moment:
        """Return now."""
        return Moment(self._clock.monotonic_s(), self._clock.now_ms(), self._clock.random())

    def read(self) -> Iterator[None]:
        """Read ahead while there is room, one event a step."""
        if self._lease.dirty(self._tool.id):
            self._let_go()
        self._exhausted = False
        yield from self._take_parked()
        while self._reads_on():
            if self._reading is None:
                self._reading = self._open_next()
            self._exhausted = self._reading is None
            if self._reading is None:
                return
            if next(self._reading, _END) is _END:
                self._reading = None
            yield

    def is_hungry(self) -> bool:
        """Return whether `read` stopped for another reason than that the log was at its end."""
        return not self._exhausted and self._reads_on()

    def is_done(self) -> bool:
        """Return whether nothing is in memory, nothing is due, and the last look at the log found nothing."""
        return self._exhausted and not self.live and not self._is_due()

    def landed(self, keys: Sequence[Key]) -> None:
        """Take note that these events were committed."""
        self.live.difference_update(keys)
        self._landed.update(keys)

    def due_in_ms(self) -> int | None:
        """Return in how many milliseconds the next parked event is to be taken in, or None when none is."""
        due_ms = self._lease.next_due_ms(self._tool.id) if self._takes_parked() else None
        if due_ms is None:
            return None
        wait_ms = due_ms - self._horizon_ms()
        # What is due already is in memory, or there is no room for it: then the next answer goes on with it.
        return wait_ms if wait_ms > 0 or not self.live else None

    def expire_parked(self) -> None:
        """End parked events that are past the give-up age: while the tool stands, they are not tried."""
        now = self.moment()
        for parked in self._lease.due(self._tool.id, self._horizon_ms(), _MAX_EXPIRING):
            if parked.key in self.live:
                continue
            item = _parked_item(parked)
            event = self._event_of(item, parked)
            if event is not None and self._queue.is_too_old(item, now):
                self._end(item, "expired", parked.reason)

    def _reads_on(self) -> bool:
        if self.crowded or len(self._queue.endings) >= _MAX_ENDINGS or (self.closed and not self._queue.is_shedding()):
            return False
        return self._queue.has_room() and (self._reading is not None or self._queue.held_bytes < self._most_held_bytes)

    def _open_next(self) -> Iterator[None] | None:
        if not self._readings:
            self._readings.extend(self._lease.read(self._tool.id, self._read_at_once))
            self._watch.renew()
            self._landed.clear()
        if not self._readings:
            return None
        reading = self._readings.popleft()
        room = self._rules.max_batch_bytes // max(1, len(reading.entry.record))
        self._read_at_once = min(max(1, room), _MAX_READ)
        return self._work_through(reading)

    def _work_through(self, reading: Reading) -> Iterator[None]:
        """Take in one record's events, one a step; what cannot be decoded ends as ``tool_error`` with the record's bytes."""
        entry, seen, trouble = reading.entry, 0, _UNREADABLE
        self._now = self.moment()
        try:
            credential = self._dispatcher.credential(entry.record)
            for event in islice(self._dispatcher.events(entry.record), entry.events):
                if self._is_open(reading, seen):
                    self._take(entry, seen, event, credential)
                seen += 1
                yield
        except Exception as error:  # noqa: BLE001 - a damaged record must not stop the lane
            trouble = f"{_UNREADABLE}: {type(error).__name__}"
        copy = entry.record
        for ordinal in range(seen, entry.events):
            if self._is_open(reading, ordinal):
                item = Item(Key(entry.position, ordinal), "", entry.recorded_ms, copy, None, 1)
                self._end(item, "tool_error", trouble)
                copy = b""  # once is enough: it may be a mebibyte and hold a thousand events

    def _is_open(self, reading: Reading, ordinal: int) -> bool:
        """Return whether an event is still to be taken in: it may be in flight since before the place was moved back."""
        if ordinal in reading.settled:
            return False
        key = Key(reading.entry.position, ordinal)
        return key not in self.live and key not in self._landed

    def _take(self, entry: Entry, ordinal: int, event: Event | Erased, credential: str) -> None:
        position, key = entry.position, Key(entry.position, ordinal)
        size = max(1, len(entry.record) // entry.events)
        item = Item(key, "", entry.recorded_ms, entry.record, ordinal, size)
        if isinstance(event, Erased):
            self._end(item, "erased", "")
            return
        item.event_id = event.id
        if self._duplicates.repeats(credential, event.id, position, ordinal, entry.recorded_ms):
            self._end(item, "duplicate", "")
        else:
            self._dispatch(item, event)

    def _take_parked(self) -> Iterator[None]:
        if self.closed or not self._takes_parked() or not self._is_due():
            return
        most = len(self.live) + self._rules.max_batch_items
        for parked in self._lease.due(self._tool.id, self._horizon_ms(), most):
            if not self._queue.has_room():
                return
            if parked.key not in self.live:
                self._take_again(parked)
            yield

    def _take_again(self, parked: Parked) -> None:
        item = _parked_item(parked)
        event = self._event_of(item, parked)
        if event is not None:
            self._now = self.moment()
            self._dispatch(item, event)

    def _event_of(self, item: Item, parked: Parked) -> Event | None:
        """Return the event of a parked item, whose id and time are filled in; None when it ended here."""
        try:
            event = next(iter(self._dispatcher.events(parked.record)))
        except Exception as error:  # noqa: BLE001 - as above
            self._end(item, "tool_error", f"{_UNREADABLE}: {type(error).__name__}")
            return None
        if isinstance(event, Erased):
            self._end(item, "erased", "")
            return None
        item.event_id, item.recorded_ms = event.id, event.recorded_ms
        return event

    def _dispatch(self, item: Item, event: Event) -> None:
        if self.closed:  # what is shed of a tool that is switched off is not shown to it
            self._end(item, "backlog_full", "the tool is switched off, and its backlog is over its cap")
            return
        what = "handle"
        try:
            wanted = self._dispatcher.dispatch(self._tool, event)
            check_sizes(wanted.sends)
            what = "order_key"
            if wanted.sends:
                if self._rules.order_key is not None:
                    item.order_key = key_of(self._rules.order_key, event)
                self._queue.add(item, wanted.sends, self._now)
        except BaseException as error:  # noqa: BLE001 - a tool harms only itself, whatever it raises
            self._end(item, "tool_error", f"{what} {told(error)}")
            return
        if wanted.sends:
            self.live.add(item.key)
        else:
            self._end(item, wanted.outcome or "filtered", wanted.reason)

    def _end(self, item: Item, kind: OutcomeKind, reason: str) -> None:
        self.live.add(item.key)
        self._queue.end(item, kind, reason)

    def _let_go(self) -> None:
        """Forget what was read ahead: someone moved the place, and what is still wanted will be read again."""
        self.live.difference_update(_keys(self._queue.forget_waiting(self.moment())))
        self._readings.clear()
        self._landed.clear()
        self._reading = None

    def _takes_parked(self) -> bool:
        return self._queue.circuit.phase == "flowing" or not len(self._queue)

    def _is_due(self) -> bool:
        due_ms = self._lease.next_due_ms(self._tool.id)
        return due_ms is not None and due_ms <= self._horizon_ms()

    def _horizon_ms(self) -> int:
        """Return the wall time up to which parked items are due.

        It is now, unless the next one is further away than any wait is long: then the clock went back since it was parked.
        """
        now_ms, due_ms = self._clock.now_ms(), self._lease.next_due_ms(self._tool.id)
        return now_ms if due_ms is None or due_ms - now_ms <= self._longest_wait_ms else due_ms


def _parked_item(parked: Parked) -> Item:
    return Item(parked.key, "", 0, parked.record, None, len(parked.record), parked.attempts, parked=True)


def _keys(items: Iterable[Item]) -> Iterator[Key]:
    return (item.key for item in items)
