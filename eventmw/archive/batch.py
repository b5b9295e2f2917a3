"""What is on its way from the journal into the archive: events that are to be rows, and how the others ended.

Layer: input and output. Nothing in here waits; everything that takes long goes a step at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from eventmw import record as records
from eventmw.archive import ARCHIVE
from eventmw.archive.rows import DIALECT, project_of, row_of
from eventmw.archive.tables import Row
from eventmw.delivery.admission import UNREADABLE
from eventmw.delivery.dispatcher import Dispatcher
from eventmw.event import Event, Record
from eventmw.journal import Commit, DeadLetter, Entry, Key, Parked, Position, Reading
from eventmw.outcome import OutcomeKind
from eventmw.record import Erased

MAX_ROWS: Final = 2000
MAX_BYTES: Final = 4 * 1024 * 1024
"""A batch ends with the record that reaches one of these. It is held in memory."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How one event ended. ``letter`` is a copy of it that is to be buried; `parked`: it was tried again."""

    key: Key
    kind: OutcomeKind
    reason: str = ""
    letter: bytes | None = None
    parked: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that is to become a row, and where it stands: at `ordinal` in `record`."""

    key: Key
    row: Row
    record: bytes
    ordinal: int
    parked: bool = False


class Batch:
    """What was read and is not settled yet.

    Attributes:
        waiting: what is to become rows.
        ended: what is to be settled.
        seqs: stream → the records of it, in order.
        bytes, events: how much was read.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.waiting: list[Waiting] = []
        self.ended: list[Ended] = []
        self.seqs: dict[str, list[int]] = {}
        self.bytes = self.events = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be read."""
        return self.events >= MAX_ROWS or self.bytes >= MAX_BYTES

    def take_again(self, parked: Parked) -> None:
        """Take up a dead letter that somebody wants to be tried again."""
        self.events += 1
        self.bytes += len(parked.record)
        try:
            decoded = records.decode(parked.record)
            event = next(self._dispatcher.events(parked.record))
        except Exception as error:  # noqa: BLE001 - as in `take`
            self.ended.append(Ended(parked.key, "tool_error", _unreadable(error), parked.record, parked=True))
        else:
            self._add(parked.key, event, decoded, parked.record, 0, parked=True)

    def take(self, reading: Reading, is_written: Callable[[Position], bool]) -> Iterator[None]:
        """Take in one record's events, one a step; those of a record that is in the archive already are done."""
        entry = reading.entry
        wanted = [ordinal for ordinal in range(entry.events) if ordinal not in reading.settled]
        self.events += len(wanted)
        self.bytes += len(entry.record)
        self.seqs.setdefault(entry.position.stream, []).append(entry.position.seq)
        try:
            decoded = records.decode(entry.record)
        except Exception as error:  # noqa: BLE001 - a damaged record must not stop the archive
            self._bury(entry, wanted, _unreadable(error))
        else:
            if decoded.dialect != DIALECT:
                self._end(entry, wanted, "filtered", "dialect")
            elif is_written(entry.position):
                self._end(entry, wanted, "delivered")
            else:
                yield from self._read_events(entry, decoded, wanted)
        yield

    def _read_events(self, entry: Entry, decoded: Record, wanted: Sequence[int]) -> Iterator[None]:
        seen, still_open, trouble = 0, frozenset(wanted), UNREADABLE
        try:
            for event in islice(self._dispatcher.events(entry.record), entry.events):
                if seen in still_open:
                    self._add(Key(entry.position, seen), event, decoded, entry.record, seen)
                seen += 1
                yield
        except Exception as error:  # noqa: BLE001 - as above
            trouble = _unreadable(error)
        self._bury(entry, [ordinal for ordinal in wanted if ordinal >= seen], trouble)

    def _add(
        self, key: Key, event: Event | Erased, decoded: Record, record: bytes, ordinal: int, *, parked: bool = False
    ) -> None:
        if isinstance(event, Erased):
            self.ended.append(Ended(key, "erased", parked=parked))
            return
        row = row_of(event, project_of(decoded.credential))
        self.waiting.append(Waiting(key, row, record, ordinal, parked))

    def _end(self, entry: Entry, ordinals: Iterable[int], kind: OutcomeKind, reason: str = "") -> None:
        self.ended += [Ended(Key(entry.position, ordinal), kind, reason) for ordinal in ordinals]

    def _bury(self, entry: Entry, ordinals: Iterable[int], reason: str) -> None:
        copy = entry.record
        for ordinal in ordinals:
            self.ended.append(Ended(Key(entry.position, ordinal), "tool_error", reason, copy))
            copy = b""  # once is enough, as in the lanes

    def set_aside(self, reasons: Mapping[int, str]) -> None:
        """End what cannot be a row: ``reasons`` has the places in `waiting`, and why."""
        single = self._dispatcher.single
        for index, reason in reasons.items():
            one = self.waiting[index]
            why = f"the database refuses it: {reason}"
            self.ended.append(Ended(one.key, "rejected", why, single(one.record, one.ordinal), one.parked))
        self.waiting = [one for index, one in enumerate(self.waiting) if index not in reasons]

    def note_rows(self) -> None:
        """End what waited: it is in the database."""
        self.ended += [Ended(one.key, "delivered", parked=one.parked) for one in self.waiting]
        self.waiting = []


def step_of(ended: Sequence[Ended], now_ms: int) -> Commit:
    """Return the step that settles events."""
    return Commit(
        settled=[one.key for one in ended if one.letter is None and not one.parked],
        unpark=[one.key for one in ended if one.letter is None and one.parked],
        dead=[
            DeadLetter(ARCHIVE, one.key, one.letter, one.kind, one.reason, 1, now_ms)
            for one in ended
            if one.letter is not None
        ],
        counts=Counter((one.kind, one.reason) for one in ended),
    )


def _unreadable(error: Exception) -> str:
    return f"{UNREADABLE}: {type(error).__name__}"
