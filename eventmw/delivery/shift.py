"""A shift: all lanes on one event loop, for as long as the journal's lease is held.

Layer: input and output. Everything in here runs on the courier's loop, but for `Shift.on_append`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from eventmw.delivery.driver import Driver, Work
from eventmw.delivery.lane import Lane, LaneState
from eventmw.delivery.loop import LEAVE_S
from eventmw.delivery.recall import Recall
from eventmw.delivery.strangers import Strangers
from eventmw.errors import JournalDown, JournalFull
from eventmw.journal import FAILURES, Lease, failures_in

log = logging.getLogger("eventmw.delivery.courier")

LINGER_S: Final = 0.008
"""How long the first append after a quiet while waits for company: a busy site pays for one wake-up in this time."""

POLL_S: Final = 0.25
"""How often an idle courier looks for what other processes wrote; the journal wakes it for its own process only."""

SYNC_S: Final = 0.1
"""How long a commit may wait to be made durable. Source: JOURNAL.md «State»."""

TEND_S: Final = 0.25
"""How often the journal's chores are done: taking over from the dead, retiring what is consumed, obeying commands."""

LEASE_CHECK_S: Final = 1.0


class Shift:
    """All lanes, while the lease is held.

    Attributes:
        over: set when the shift is to end: the courier stops, or the lease is lost.
    """

    def __init__(self, work: Work, lease: Lease) -> None:
        self.over = asyncio.Event()
        self._work = work
        self._lease = lease
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._sync_waits = False
        self._recall = Recall(lease, work.dispatcher, work.duplicates, work.pacer, work.clock)
        self._ids = [*(tool.id for tool in work.dispatcher.tools), *(job.id for job in work.jobs)]
        self._strangers = Strangers(self._ids)
        self._failures: dict[str, str] = {}
        self._drivers = [Driver(work, self._lane(work, lease, tool), self._committed) for tool in work.dispatcher.tools]
        self._jobs = {job.id: job.begin(work, lease, self._committed) for job in work.jobs}

    @staticmethod
    def _lane(work: Work, lease: Lease, tool: Any) -> Lane:
        return Lane(
            tool,
            work.dispatcher,
            lease,
            work.duplicates,
            work.clock,
            dry_run=work.dry_run,
            on_outcome=work.on_outcome,
            watch=work.watch,
        )

    def state(self) -> dict[str, LaneState]:
        """Return how each tool's lane is doing. May be called from any thread."""
        lanes = {driver.lane.tool.id: driver.lane.state() for driver in self._drivers}
        return lanes | {ident: job.state() for ident, job in self._jobs.items()}

    def turns(self) -> int:
        """Return how many times lanes have looked for work. May be called from any thread."""
        return sum(driver.begun for driver in self._drivers)

    def kick(self) -> None:
        """Have every lane look for work now."""
        for driver in self._drivers:
            driver.kick.set()
        for job in self._jobs.values():
            job.kick.set()

    async def run(self) -> None:
        """Work until `over`. Then nothing departs any more; `land` waits for what is under way.

        Raises:
            Exception: the journal failed in a way that no single lane can wait out.
        """
        self._work.journal.on_append(self.on_append)
        shared = self._work.journal.durability != "memory"
        tasks: list[asyncio.Task[None]] = []
        try:
            # Who reads a whole log first must be heard of, obey, and yield, all the same.
            self._begin(tasks, self._watch_lease(), *([self._tend()] if shared else []))
            await self._recall.begin(self.over)
            if not self.over.is_set():
                self._begin(tasks, *(driver.run() for driver in self._drivers))
                self._begin(tasks, *(job.run() for job in self._jobs.values()))
                self._begin(tasks, self._survey(), self._recall.run(), *([self._poll()] if shared else []))
            await self.over.wait()
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            self._work.journal.on_append(None)
            await _cancel(tasks)

    def _begin(self, tasks: list[asyncio.Task[None]], *jobs: Coroutine[Any, Any, None]) -> None:
        for job in jobs:
            tasks.append(self._loop.create_task(job))
            tasks[-1].add_done_callback(lambda _: self.over.set())  # none of them ends by itself

    async def land(self, grace_s: float) -> bool:
        """Wait at most `grace_s` seconds for what is in flight, and commit. Returns whether all of it came back."""
        flights = [flight for driver in self._drivers for flight in driver.flights]
        pending = set[asyncio.Task[None]]()
        if flights:
            _, pending = await asyncio.wait(flights, timeout=grace_s)
            await _cancel(list(pending))
        for driver in self._drivers:
            with _logged(f"tool {driver.lane.tool.id}: the last commit failed, so its events will go out again"):
                await driver.settle()
        landed = [await job.land(grace_s) for job in self._jobs.values()]
        with _logged("the last sync failed"):
            self._lease.sync()
            self._recall.save()
            self._keep_failures()
            self._lease.tend()
        return not pending and all(landed)

    async def has_drained(self) -> bool:
        """Return whether every lane, looking anew, finds nothing to do and has nothing under way."""
        drained = await self._look_anew()
        return self._calmed(is_done=drained and all(driver.lane.is_idle() for driver in self._drivers))

    async def has_settled(self) -> bool:
        """Return whether every lane, looking anew, finds nothing due now; what waits for a later time may be left."""
        drained = await self._look_anew(every_s=0.001)
        return self._calmed(is_done=drained and all(driver.is_resting() for driver in self._drivers))

    def _calmed(self, *, is_done: bool) -> bool:
        """Let events linger again once all is done. Returns whether it is."""
        if is_done:
            for driver in self._drivers:
                driver.lane.queue.hurry(on=False)
        return is_done

    async def _look_anew(self, every_s: float = 0.005) -> bool:
        """Have each lane and each job look for work, and wait for that. Returns whether the jobs found none."""
        marks = [driver.begun for driver in self._drivers]
        for driver in self._drivers:
            driver.lane.queue.hurry(on=True)  # whoever waits for the end waits for no company
        self.kick()
        while any(driver.finished <= mark for driver, mark in zip(self._drivers, marks, strict=True)):  # noqa: ASYNC110
            await asyncio.sleep(every_s)
        return all([await job.has_drained() for job in self._jobs.values()])

    def on_append(self) -> None:
        """Wake the lanes after `LINGER_S`. Called on the appending thread, once for each time it was given away."""
        if os.getpid() != self._pid:
            return  # a forked child must not write to the pipe of its parent's loop
        with suppress(RuntimeError):  # the loop is closed: another shift will look by itself
            self._loop.call_soon_threadsafe(self._loop.call_later, LINGER_S, self._look)

    def _look(self) -> None:
        if not self.over.is_set():
            # First the waker, then the look: what is appended in between is found by one or the other.
            self._work.journal.on_append(self.on_append)
            self.kick()

    def _committed(self) -> None:
        if not self._sync_waits:
            self._sync_waits = True
            self._loop.call_later(SYNC_S, self._sync)

    def _sync(self) -> None:
        self._sync_waits = False
        if self.over.is_set():
            return  # `land` syncs once more
        try:
            self._lease.sync()
        except Exception:
            log.exception("places could not be made durable; trying again")
            self._committed()

    async def _watch_lease(self) -> None:
        while not self._lease.lost():
            # Somebody may have had them forgotten; who leads alone is the only one to say that they are wanted still.
            with suppress(JournalDown, JournalFull):  # then deliveries fail, too, and that is told
                self._work.journal.register(self._ids)
            await asyncio.sleep(LEASE_CHECK_S)
        log.warning("the journal's lease went to another process, or its folder is gone; this one waits for its turn")
        self.over.set()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            self.kick()

    async def _tend(self) -> None:
        failures = 0
        while True:
            try:
                self._lease.tend()
                failures = 0
            except Exception:
                failures += 1
                if failures == 1:
                    log.exception("the journal's chores failed; trying again")
            await asyncio.sleep(TEND_S)

    async def _survey(self) -> None:
        while True:
            await asyncio.sleep(self._work.survey_s)
            with _logged("the journal's figures could not be read"):
                self._keep_failures()
                self._look_at_backlogs()

    def _keep_failures(self) -> None:
        """Keep what went wrong last at each tool, for ``stats`` while no process delivers."""
        states = {tool: state for tool, state in self.state().items() if state.last_failure_ms is not None}
        reasons = {tool: state.last_failure for tool, state in states.items()}
        if reasons and reasons != self._failures:
            self._failures = reasons
            found = {tool: [state.last_failure, state.last_failure_ms] for tool, state in states.items()}
            self._lease.keep(FAILURES, json.dumps({**failures_in(self._lease.kept(FAILURES)), **found}).encode())

    def _look_at_backlogs(self) -> None:
        wanting = [driver for driver in self._drivers if driver.lane.wants_survey()]
        if not wanting and self._work.journal.durability == "memory":
            return  # nobody else has tools in there
        stats = {tool.tool: tool for tool in self._work.journal.stats().tools}
        self._strangers.look(stats.values())
        for driver in wanting:
            if (tool := stats.get(driver.lane.tool.id)) is not None:
                driver.lane.survey(tool)
                driver.kick.set()


class _logged:  # noqa: N801 - reads as a statement: with _logged("…")
    """Go on after an exception, and say so."""

    def __init__(self, message: str) -> None:
        self._message = message

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        log.error("%s: %s", self._message, _named(error))
        return True


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:  # a transport of somebody else's may not heed it
        await asyncio.wait(tasks, timeout=LEAVE_S)
