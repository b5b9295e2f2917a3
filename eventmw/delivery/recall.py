"""What the judge of duplicates must know before the first event is judged.

A repetition must not go out whose first was delivered before the start, maybe by another process. So the judge's index is
kept beside the log from time to time, and whoever leads next reads it, and then the records that came after it; not the
whole window, which may be a day of events. While nothing is settled for any tool there is nothing to tell: each lane will
read the log, and judge it in order.

Layer: input and output on the journal only. Everything in here runs on the courier's loop.
Source: JOURNAL.md «Duplicates».
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from eventmw.clock import Clock
from eventmw.delivery.dispatcher import Dispatcher
from eventmw.delivery.duplicates import WINDOW_MS, Duplicates
from eventmw.delivery.pacer import Pacer
from eventmw.journal import Entry, Key, Lease
from eventmw.record import Erased

log = logging.getLogger("eventmw.delivery.courier")

SAVE_S: Final = 15.0
"""How often the index is kept: a start reads at most the records of so many seconds again."""

_HEAD: Final = "duplicates"
_PAGE: Final = 16


class Recall:
    """Tells a judge what was judged before, and keeps what it knows."""

    def __init__(
        self, lease: Lease, dispatcher: Dispatcher, duplicates: Duplicates, pacer: Pacer, clock: Clock
    ) -> None:
        self._lease = lease
        self._dispatcher = dispatcher
        self._duplicates = duplicates
        self._pacer = pacer
        self._clock = clock
        self._kept: dict[int, int] = {}
        self._is_whole = False

    async def begin(self, over: asyncio.Event) -> None:
        """Restore the index, then judge what was settled after it was kept. Lanes wait for this."""
        since_ms = self._clock.now_ms() - WINDOW_MS
        mark = self._restore()
        while not over.is_set():
            entries, mark = self._lease.recall(mark, _PAGE)
            if not entries:
                self._is_whole = True
                return
            for entry in entries:
                if entry.recorded_ms >= since_ms:
                    await self._judge(entry)
            await self._pacer.breathe()
            await asyncio.sleep(0)  # a slow disk uses no slice up, and the journal's chores are due all the same

    async def run(self) -> None:
        """Keep the index every `SAVE_S` seconds, for ever."""
        while True:
            await asyncio.sleep(SAVE_S)
            self.save()

    def save(self) -> None:
        """Keep what changed: full generations stay as they are. The mark is read first, so nothing before it is missing.

        An index that `begin` has not brought to its end is not kept: it would pass for one that knows everything.
        """
        if not self._is_whole:
            return
        mark, parts = self._lease.reached(), self._duplicates.parts()
        if parts == self._kept:
            return
        for number, used in parts.items():
            if self._kept.get(number) != used:
                self._lease.keep(f"{_HEAD}-{number}", self._duplicates.part(number))
        self._lease.keep(_HEAD, b" ".join(b"%d" % number for number in parts) + b"\n" + mark)
        for number in self._kept.keys() - parts.keys():
            self._lease.keep(f"{_HEAD}-{number}", None)
        self._kept = parts

    def _restore(self) -> bytes:
        """Restore the index, if it is kept and whole. Returns the mark up to which it knows everything."""
        head = self._lease.kept(_HEAD)
        if head is None:
            return b""
        numbers, _, mark = head.partition(b"\n")
        parts = [self._lease.kept(f"{_HEAD}-{int(number)}") for number in numbers.split()]
        try:
            self._duplicates.restore([part for part in parts if part is not None])
        except ValueError as error:
            log.warning("the index of ids is read anew from the log: %s", error)
            return b""
        self._kept = self._duplicates.parts()
        return mark if None not in parts else b""

    async def _judge(self, entry: Entry) -> None:
        try:
            credential = self._dispatcher.credential(entry.record)
            for ordinal, event in enumerate(self._dispatcher.events(entry.record)):
                if not isinstance(event, Erased):
                    self._duplicates.first(credential, event.id, Key(entry.position, ordinal), entry.recorded_ms)
                await self._pacer.breathe()
        except Exception as error:  # noqa: BLE001 - the lanes bury what cannot be read
            log.debug("a record could not be recalled: %s", type(error).__name__)
