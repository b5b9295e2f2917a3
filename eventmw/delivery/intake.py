"""Taking in: from a tool's place in the journal, through the judge of duplicates, to the tool and its queue.

It reads the log ahead as far as there is room; what repeats another event, what was erased and what cannot be read ends
here. Everything is synchronous and in small steps, one event each, so that whoever drives it decides when to rest.

Layer: input and output on the journal only; no thread, no event loop, no socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from eventmw.contract import BoundTool
from eventmw.delivery.admission import UNREADABLE, Admission
from eventmw.delivery.dispatcher import Dispatcher
from eventmw.delivery.duplicates import Duplicates
from eventmw.delivery.endings import Item
from eventmw.delivery.queue import SendQueue
from eventmw.delivery.repetitions import Repetitions
from eventmw.delivery.revival import Revival
from eventmw.event import Event
from eventmw.journal import Entry, Key, Lease, Reading
from eventmw.record import Erased

_MAX_READ: Final = 64
_MAX_ENDINGS: Final = 500
_END: Final = object()


class Intake:
    """One tool's way in. Lives as long as its lease; not thread-safe.

    Attributes:
        crowded: too many events are parked: nothing more is read.
    """

    def __init__(
        self,
        tool: BoundTool,
        dispatcher: Dispatcher,
        lease: Lease,
        duplicates: Duplicates,
        *,
        queue: SendQueue,
        admission: Admission,
        revival: Revival,
    ) -> None:
        self.crowded = False
        self._tool = tool
        self._rules = tool.delivery
        self._dispatcher = dispatcher
        self._lease = lease
        self._duplicates = duplicates
        self._queue = queue
        self._admission = admission
        self._revival = revival
        self._repetitions = Repetitions(tool.id, lease, admission.live, self._repeated)
        self._landed: set[Key] = set()  # committed since the log was read: what was read does not know it
        # One wanted event keeps its whole record in memory, which may hold a thousand that are not wanted.
        self._most_held_bytes = tool.delivery.max_batch_bytes * (1 + max(1, tool.delivery.window))
        self._readings: deque[Reading] = deque()
        self._reading: Iterator[None] | None = None
        self._read_at_once = 1
        self._exhausted = False
        self._now = admission.moment()

    def read(self) -> Iterator[None]:
        """Take in what is parked and due, then read ahead, while there is room: one event a step."""
        if self._lease.dirty(self._tool.id):
            self._let_go()
        self._exhausted = False
        yield from self._revival.read()
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
        return self._exhausted and not self._admission.live and not self._revival.is_due()

    def landed(self, keys: Sequence[Key]) -> None:
        """Take note that these events were committed."""
        self._admission.live.difference_update(keys)
        self._landed.update(keys)
        self._repetitions.landed(keys)

    def _reads_on(self) -> bool:
        if (
            self.crowded
            or self._repetitions.is_full()
            or len(self._queue.endings) >= _MAX_ENDINGS
            or (self._admission.closed and not self._queue.is_shedding())
        ):
            return False
        return self._queue.has_room() and (self._reading is not None or self._queue.held_bytes < self._most_held_bytes)

    def _open_next(self) -> Iterator[None] | None:
        if not self._readings:
            self._readings.extend(self._lease.read(self._tool.id, self._read_at_once))
            self._landed.clear()
        if not self._readings:
            return None
        reading = self._readings.popleft()
        room = self._rules.max_batch_bytes // max(1, len(reading.entry.record))
        self._read_at_once = min(max(1, room), _MAX_READ)
        return self._work_through(reading)

    def _work_through(self, reading: Reading) -> Iterator[None]:
        """Take in one record's events, one a step; what cannot be decoded ends as ``tool_error`` with its record."""
        entry, seen, trouble = reading.entry, 0, UNREADABLE
        self._now = self._admission.moment()
        try:
            credential = self._dispatcher.credential(entry.record)
            for event in islice(self._dispatcher.events(entry.record), entry.events):
                if self._is_open(reading, seen):
                    self._take(entry, seen, event, credential)
                seen += 1
                yield
        except Exception as error:  # noqa: BLE001 - a damaged record must not stop the lane
            trouble = f"{UNREADABLE}: {type(error).__name__}"
        copy = entry.record
        for ordinal in range(seen, entry.events):
            if self._is_open(reading, ordinal):
                item = Item(Key(entry.position, ordinal), "", entry.recorded_ms, copy, None, 1)
                self._admission.end(item, "tool_error", trouble)
                copy = b""  # once is enough: it may be a mebibyte and hold a thousand events

    def _is_open(self, reading: Reading, ordinal: int) -> bool:
        """Return whether an event is still to be taken in: it may be in flight since before the place was moved back."""
        if ordinal in reading.settled:
            return False
        key = Key(reading.entry.position, ordinal)
        return key not in self._admission.live and key not in self._landed

    def _take(self, entry: Entry, ordinal: int, event: Event | Erased, credential: str) -> None:
        key = Key(entry.position, ordinal)
        size = max(1, len(entry.record) // entry.events)
        item = Item(key, "", entry.recorded_ms, entry.record, ordinal, size)
        if isinstance(event, Erased):
            self._admission.end(item, "erased", "")
            return
        item.event_id = event.id
        first = self._duplicates.first(credential, event.id, key, entry.recorded_ms)
        if first is None or not self._repetitions.take(item, first):
            self._admission.admit(item, event, self._now)

    def _repeated(self, item: Item) -> None:
        self._admission.end(item, "duplicate", "")

    def _let_go(self) -> None:
        """Forget what was read ahead: someone moved the place, and what is still wanted will be read again."""
        gone = self._queue.forget_waiting(self._admission.moment())
        self._admission.live.difference_update(item.key for item in gone)
        self._admission.live.difference_update(self._repetitions.let_go())
        self._readings.clear()
        self._landed.clear()
        self._reading = None
