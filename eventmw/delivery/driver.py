"""A driver: turns one lane on the event loop, sends what departs, and is patient with a journal that fails.

Layer: input and output. Everything in here runs on the courier's loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from eventmw.clock import Clock
from eventmw.delivery.batches import Batch, Rubbish, asked_of
from eventmw.delivery.dispatcher import Dispatcher
from eventmw.delivery.duplicates import Duplicates
from eventmw.delivery.holds import WATCH, Watch
from eventmw.delivery.jobs import Job
from eventmw.delivery.lane import Lane
from eventmw.delivery.pacer import Pacer
from eventmw.delivery.settlement import plain
from eventmw.delivery.transport import BEHALF, LOAD, Load, Transport, TransportError
from eventmw.effects import Call
from eventmw.journal import Journal
from eventmw.outcome import Outcome
from eventmw.retry import backoff_s

log = logging.getLogger("eventmw.delivery.courier")

SURVEY_S: Final = 5.0
"""How often the backlogs of tools that stand are looked at."""

MAX_PAUSE_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a shift works with; the same for every shift of a courier."""

    journal: Journal
    dispatcher: Dispatcher
    transport: Transport
    clock: Clock
    duplicates: Duplicates
    pacer: Pacer
    watch: Watch
    dry_run: bool = False
    on_outcome: Callable[[Outcome], object] | None = None
    survey_s: float = SURVEY_S
    jobs: Sequence[Job] = ()


class Driver:
    """Drives one lane on the loop: turns, flights, and patience with a journal that fails.

    Attributes:
        kick: set to have the lane look for work.
        flights: the requests under way.
        begun, finished: turns, counted from 1.
    """

    def __init__(self, work: Work, lane: Lane, committed: Callable[[], None]) -> None:
        self.lane = lane
        self.kick = asyncio.Event()
        self.flights: set[asyncio.Task[None]] = set()
        self.begun = 0
        self.finished = 0
        self._work = work
        self._committed = committed
        self._failures = 0
        self._stood = False

    async def run(self) -> None:
        """Take turns for ever."""
        while True:
            self.kick.clear()
            try:
                if not await self._turn():
                    await self._rest(self.lane.wait_s())
            except Exception as error:  # noqa: BLE001 - one lane's trouble must not end the thread
                await self._pause(error)
            else:
                self._failures = 0

    def is_resting(self) -> bool:
        """Return whether nothing is under way, and nothing is due before the clock moves or the lane is kicked."""
        if self.flights or self.kick.is_set() or self.begun != self.finished or self.lane.queue.endings:
            return False
        wait_s = self.lane.wait_s()
        return wait_s is None or wait_s > 0

    async def _turn(self) -> bool:
        """Read, depart, commit. Returns whether there is more to do at once."""
        self.begun += 1
        self._heed_watch()
        lane, pacer = self.lane, self._work.pacer
        steps = lane.intake()
        while self._take_in(steps):
            self._heed_watch()  # before the next event: it would be waited for as long
            await pacer.breathe()
        pacer.make_room()
        while True:
            if lane.queue.endings:  # what is answered is committed before its room in the window is used anew
                await self.settle()
            if (batch := self._next()) is None:
                break
            self._depart(batch)
            await pacer.breathe()
        await self.settle()
        self._heed_watch()
        self.finished = self.begun
        return bool(lane.queue.endings) or lane.is_hungry()

    def _take_in(self, steps: Iterator[None]) -> bool:
        """Take events in for one slice. Returns whether there are more."""
        pacer = self._work.pacer
        pacer.begin()
        for _ in steps:
            if pacer.is_over():
                return True
        pacer.end()
        return False

    def _next(self) -> Batch | None:
        lane = self.lane
        if lane.off:
            return None
        with self._work.watch.holding(lane.tool.id, "pack"):
            return lane.queue.next(lane.moment())

    def _heed_watch(self) -> None:
        """Switch the tool off when its code had to be interrupted."""
        lane, why = self.lane, self._work.watch.off.get(self.lane.tool.id)
        if why and not lane.off:
            lane.switch_off(why)
            log.critical("tool %s is switched off, and its events wait in the journal: %s", lane.tool.id, why)

    async def settle(self) -> None:
        """Commit what was decided, in small steps."""
        lane, pacer = self.lane, self._work.pacer
        while True:
            for _ in lane.settle():
                if pacer.is_over():
                    await pacer.breathe()
            pacer.make_room()
            if lane.commit():
                self._committed()
            if not lane.queue.endings:
                return

    def _depart(self, batch: Batch) -> None:
        if self._work.dry_run:
            self.lane.queue.passed(batch, self.lane.moment())
            return
        flight = asyncio.get_running_loop().create_task(self._fly(batch))
        self.flights.add(flight)
        flight.add_done_callback(self.flights.discard)

    async def _fly(self, batch: Batch) -> None:
        BEHALF.set(self.lane.tool.id)
        WATCH.set(self._work.watch)
        LOAD.set(Load(len(batch.sends), batch.failures + 1))
        try:
            await self._exchange(batch)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever an answer does, its events end and the lane goes on
            reason = self.lane.tool.troubles.note("judging the answer", error, self.lane.tool.verdict)
            self.lane.queue.bury(batch, reason, self.lane.moment())
        self._report()
        self.kick.set()

    async def _exchange(self, batch: Batch) -> None:
        lane, rules = self.lane, self.lane.tool.delivery
        self._work.pacer.make_room()
        try:
            reply = await self._work.transport.send(
                batch.order, timeout_s=rules.timeout_s, connect_timeout_s=rules.connect_timeout_s
            )
        except TransportError as error:
            self._not_sent(batch, error)
        except BaseException as error:
            if _is_cancelled():
                raise
            # A transport of somebody else's may raise anything.
            reason = lane.tool.troubles.note("the transport", error)
            lane.queue.failed(batch, reason, lane.moment())
        else:
            self._work.pacer.make_room()  # the answers of several requests may have come at once
            with self._work.watch.holding(lane.tool.id, "verdict"):
                lane.queue.answered(batch, reply, lane.moment())

    def _not_sent(self, batch: Batch, error: TransportError) -> None:
        """Act on a failed order: a consumer may have asked for a verdict, and what the owner's code raised is logged."""
        queue, tool, now = self.lane.queue, self.lane.tool, self.lane.moment()
        if error.raised is None:
            queue.failed(batch, str(error), now)
        elif (asked := asked_of(error.raised) if isinstance(batch.order, Call) else None) is not None:
            queue.judged(batch, [asked] * len(batch.sends), now)
        else:
            reason = tool.troubles.note(error.what, error.raised, error.function)
            if isinstance(error.raised, Rubbish):  # calling it again would do its work a second time
                queue.bury(batch, reason, now)
            else:
                queue.failed(batch, reason, now)

    def _report(self) -> None:
        """Say once that a tool begins to stand, and once that it flows again."""
        queue = self.lane.queue
        stands = queue.circuit.phase != "flowing"
        if stands and not self._stood:
            log.warning(
                "tool %s stands still and will try again: %s", self.lane.tool.id, plain(queue.circuit.last_error)
            )
        elif self._stood and not stands:
            # As loud as the other line: whoever saw that one is to see this one.
            log.warning("tool %s flows again", self.lane.tool.id)
        self._stood = stands

    async def _rest(self, wait_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self.kick.wait()

    async def _pause(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            log.error("tool %s waits, as the journal failed: %s", self.lane.tool.id, f"{type(error).__name__}: {error}")
        await asyncio.sleep(
            backoff_s(self._failures, first_s=0.1, max_s=MAX_PAUSE_S, random=self._work.clock.random()),
        )


def _is_cancelled() -> bool:
    """Return whether it is our own task that is being cancelled, and not somebody's function that says so."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
