"""A lane: one tool's way through the journal, from its place to its Outcomes.

It reads ahead from the lease, asks the judge of duplicates and the dispatcher about each event, gives what is to be sent
to its `SendQueue`, and commits how events end. Everything is synchronous and in small steps (`intake` and `settle` are
iterators that pause after each event), so that whoever drives it decides when to rest.

Layer: input and output on the journal only; no thread, no event loop, no socket.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from eventmw.clock import Clock
from eventmw.contract import BoundTool
from eventmw.delivery.batches import check_sizes
from eventmw.delivery.duplicates import Duplicates
from eventmw.delivery.endings import Ended, Ending, Item, Moment
from eventmw.delivery.queue import Phase, SendQueue
from eventmw.delivery.settlement import Settlement, plain
from eventmw.effects import Send
from eventmw.errors import told
from eventmw.event import Event
from eventmw.journal import Entry, Key, Lease, Parked, Reading, ToolStats
from eventmw.outcome import Outcome, OutcomeKind
from eventmw.retry import MAX_RETRY_AFTER_S

log = logging.getLogger("eventmw.delivery.courier")

PARKED_CAP: Final = 5000
"""Parked items of one tool, past which it reads no further. Source: JOURNAL.md «State»."""

_MAX_READ: Final = 64
_MAX_ENDINGS: Final = 500
_MAX_REPORTS: Final = 100
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

    def events(self, record: bytes) -> Iterator[Event]:
        """Return a record's events one by one; raises for a record that cannot be read."""
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


@dataclass(frozen=True, slots=True)
class LaneState:
    """How a lane is doing, for stats. ``next_probe_ms`` is wall time, or None while the tool flows."""

    phase: Phase
    attempts: int
    next_probe_ms: int | None
    in_flight: int
    last_error: str


class Lane:
    """One tool's way through the journal. Lives as long as its lease; not thread-safe.

    Attributes:
        queue: what is to be sent and what is decided of it.
    """

    def __init__(
        self,
        tool: BoundTool,
        dispatcher: Dispatcher,
        lease: Lease,
        duplicates: Duplicates,
        clock: Clock,
        *,
        dry_run: bool = False,
        on_outcome: Callable[[Outcome], object] | None = None,
    ) -> None:
        self.tool = tool
        self.queue = SendQueue(tool, dry_run=dry_run)
        self._dispatcher = dispatcher
        self._lease = lease
        self._duplicates = duplicates
        self._clock = clock
        self._settlement = Settlement(tool.id, dispatcher.single, clock, on_outcome)
        self._live: set[Key] = set()  # taken in, and not committed yet
        self._landed: set[Key] = set()  # committed since the log was read: what was read does not know it
        self._longest_wait_ms = 1000 * max(tool.delivery.max_backoff_s, MAX_RETRY_AFTER_S)
        self._readings: deque[Reading] = deque()
        self._reading: Iterator[None] | None = None
        self._read_at_once = 1
        self._exhausted = False
        self._crowded = False
        self._reported: set[str] = set()
        self._now = self.moment()

    def moment(self) -> Moment:
        """Return now."""
        return Moment(self._clock.monotonic_s(), self._clock.now_ms(), self._clock.random())

    def state(self) -> LaneState:
        """Return how the lane is doing. May be called from any thread."""
        queue = self.queue
        wait_s = queue.probe_at_s - self._clock.monotonic_s()
        probe_ms = None if queue.phase == "flowing" else self._clock.now_ms() + max(0, round(1000 * wait_s))
        return LaneState(queue.phase, queue.attempts, probe_ms, len(queue.flying), queue.last_error)

    def wait_s(self) -> float | None:
        """Return for how long nothing will happen by itself: until a probe or a parked item is due. None: for ever."""
        waits: list[float] = []
        if self.queue.phase == "standing" and not self.queue.flying:
            waits.append(self.queue.probe_at_s - self._clock.monotonic_s())
        due_ms = self._lease.next_due_ms(self.tool.id) if self._takes_parked() else None
        # What is due already is in memory, or there is no room for it: then the next answer goes on with it.
        if due_ms is not None and ((wait_ms := due_ms - self._horizon_ms()) > 0 or not self._live):
            waits.append(wait_ms / 1000)
        return max(0.0, min(waits)) if waits else None

    def intake(self) -> Iterator[None]:
        """Read ahead while there is room, one event a step."""
        if self._lease.dirty(self.tool.id):
            self._let_go()
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
        """Return whether `intake` stopped for another reason than that the log was at its end."""
        return not self._exhausted and self._reads_on()

    def is_idle(self) -> bool:
        """Return whether nothing is in memory, nothing is due, and the last look at the log found nothing."""
        return self._exhausted and not self._live and self._settlement.is_empty() and not self._is_due()

    def settle(self) -> Iterator[None]:
        """Prepare the commit of what was decided, one ending a step; `commit` carries it out."""
        endings = self.queue.endings
        while endings and not self._settlement.is_full():
            ending = self._settle(endings[0])
            endings.popleft()
            if isinstance(ending, Ended) and ending.kind == "tool_error":
                self._report(ending.reason)
            yield

    def _settle(self, ending: Ending) -> Ending:
        try:
            self._settlement.add(ending)
        except Exception as error:  # noqa: BLE001 - an ending that cannot be written must not lose its event
            ending = Ended(ending.item, "tool_error", f"settling it {told(error)}")
            self._settlement.add(ending)
        return ending

    def commit(self) -> bool:
        """Commit what was settled. Returns whether there was anything."""
        keys = self._settlement.commit(self._lease)
        self._live.difference_update(keys)
        self._landed.update(keys)
        return bool(keys)

    def survey(self, stats: ToolStats) -> None:
        """Look at how far behind the tool is: over its cap while it stands, its oldest events end."""
        self._crowded = stats.parked >= PARKED_CAP
        over = stats.backlog_bytes - self.tool.delivery.backlog_bytes
        # What is decided and not committed yet is still in these figures.
        if over > 0 and self.queue.phase == "standing" and self._settlement.is_empty():
            self.queue.shed(over, self.moment())

    def wants_survey(self) -> bool:
        """Return whether `survey` could change anything."""
        return self._crowded or self.queue.phase == "standing" or self._lease.next_due_ms(self.tool.id) is not None

    def _reads_on(self) -> bool:
        return not self._crowded and self.queue.has_room() and len(self.queue.endings) < _MAX_ENDINGS

    def _open_next(self) -> Iterator[None] | None:
        if not self._readings:
            self._readings.extend(self._lease.read(self.tool.id, self._read_at_once))
            self._landed.clear()
        if not self._readings:
            return None
        reading = self._readings.popleft()
        room = self.tool.delivery.max_batch_bytes // max(1, len(reading.entry.record))
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
        return key not in self._live and key not in self._landed

    def _take(self, entry: Entry, ordinal: int, event: Event, credential: str) -> None:
        position, key = entry.position, Key(entry.position, ordinal)
        size = max(1, len(entry.record) // entry.events)
        item = Item(key, event.id, entry.recorded_ms, entry.record, ordinal, size)
        if self._duplicates.repeats(credential, event.id, key, entry.recorded_ms):
            self._end(item, "duplicate", "")
        else:
            self._dispatch(item, event)

    def _take_parked(self) -> Iterator[None]:
        if not self._takes_parked() or not self._is_due():
            return
        most = len(self._live) + self.tool.delivery.max_batch_items
        for parked in self._lease.due(self.tool.id, self._horizon_ms(), most):
            if not self.queue.has_room():
                return
            if parked.key not in self._live:
                self._take_again(parked)
            yield

    def _take_again(self, parked: Parked) -> None:
        item = Item(parked.key, "", 0, parked.record, None, len(parked.record), parked.attempts, parked=True)
        try:
            event = next(iter(self._dispatcher.events(parked.record)))
        except Exception as error:  # noqa: BLE001 - as above
            self._end(item, "tool_error", f"{_UNREADABLE}: {type(error).__name__}")
            return
        item.event_id, item.recorded_ms = event.id, event.recorded_ms
        self._now = self.moment()
        self._dispatch(item, event)

    def _dispatch(self, item: Item, event: Event) -> None:
        try:
            wanted = self._dispatcher.dispatch(self.tool, event)
            check_sizes(wanted.sends)
            if wanted.sends:
                self.queue.add(item, wanted.sends, self._now)
        except BaseException as error:  # noqa: BLE001 - a tool harms only itself, whatever it raises
            self._end(item, "tool_error", f"handle {told(error)}")
            return
        if wanted.sends:
            self._live.add(item.key)
        else:
            self._end(item, wanted.outcome or "filtered", wanted.reason)

    def _end(self, item: Item, kind: OutcomeKind, reason: str) -> None:
        self._live.add(item.key)
        self.queue.end(item, kind, reason)

    def _let_go(self) -> None:
        """Forget what was read ahead: someone moved the place, and what is still wanted will be read again."""
        self._live.difference_update(item.key for item in self.queue.forget_waiting(self.moment()))
        self._readings.clear()
        self._landed.clear()
        self._reading = None

    def _takes_parked(self) -> bool:
        return self.queue.phase == "flowing" or not len(self.queue)

    def _is_due(self) -> bool:
        due_ms = self._lease.next_due_ms(self.tool.id)
        return due_ms is not None and due_ms <= self._horizon_ms()

    def _horizon_ms(self) -> int:
        """Return the wall time up to which parked items are due.

        It is now, unless the next one is further away than any wait is long: then the clock went back since it was parked.
        """
        now_ms, due_ms = self._clock.now_ms(), self._lease.next_due_ms(self.tool.id)
        return now_ms if due_ms is None or due_ms - now_ms <= self._longest_wait_ms else due_ms

    def _report(self, reason: str) -> None:
        """Log a kind of trouble once: a tool that fails on every event must not fill the disk."""
        if reason not in self._reported and len(self._reported) < _MAX_REPORTS:
            self._reported.add(reason)
            log.error("tool %s buries events, which `eventmw dead list` shows: %s", self.tool.id, plain(reason))
