"""The courier: a thread with an event loop in which each tool has a lane of its own.

A lane whose vendor is slow, dead or hostile delays no other lane, and nothing that goes wrong in here ends the thread: a
journal that fails is tried again, with back-off, until it works. Deliveries are at least once: what was in flight when the
process died goes out again, under the same event ids.

Layer: input and output. Logs to ``eventmw.delivery.courier``: never a payload, an address or a secret.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Final

from eventmw.clock import Clock
from eventmw.delivery import loop
from eventmw.delivery.dispatcher import Dispatcher
from eventmw.delivery.driver import SURVEY_S, Work
from eventmw.delivery.duplicates import Duplicates
from eventmw.delivery.holds import Watch
from eventmw.delivery.jobs import Job
from eventmw.delivery.lane import LaneState
from eventmw.delivery.pacer import Pacer
from eventmw.delivery.shift import Shift
from eventmw.delivery.transport import Transport
from eventmw.delivery.watchdog import LOOK_S
from eventmw.journal import Journal
from eventmw.outcome import Outcome
from eventmw.retry import backoff_s
from eventmw.watching.delivery import WatchedDelivery

log = logging.getLogger("eventmw.delivery.courier")

THREAD_NAME: Final = "eventmw-courier"
LEAD_POLL_S: Final = 1.0
_STOP_POLL_S: Final = 0.2
_MAX_PAUSE_S: Final = 30.0
_HANDOVER_GRACE_S: Final = 10.0
_JOIN_MARGIN_S: Final = 5.0


class Courier:
    """Delivers what a journal holds. Any number may look at one journal: the holder of its lease works, the others wait.

    Args:
        journal: where records come from and places are kept.
        dispatcher: the engine, or whatever turns records into events and events into sends.
        transport_factory: makes the transport; called on the courier's loop.
        clock: time and chance.
        dry_run: dispatch and pack, and send nothing; events end as ``dry_run``.
        on_outcome: called on the courier's thread after each commit; it must be quick, and what it raises is logged.
        polite: work in slices with rests between them; False where there is no site in the process.
        survey_s: seconds between looks at the backlogs of tools that stand.
        look_s: seconds between looks of the watchdog; see `eventmw.delivery.watchdog`.
        watched: is put around what the courier works with, so that what it does is seen.
        jobs: what the holder of the lease does beside the tools, such as filling the archive.
    """

    def __init__(
        self,
        journal: Journal,
        dispatcher: Dispatcher,
        transport_factory: Callable[[], Transport],
        clock: Clock,
        *,
        dry_run: bool = False,
        on_outcome: Callable[[Outcome], object] | None = None,
        polite: bool = True,
        survey_s: float = SURVEY_S,
        look_s: float = LOOK_S,
        watched: WatchedDelivery | None = None,
        jobs: Sequence[Job] = (),
    ) -> None:
        self._journal = journal
        self._jobs = tuple(jobs)
        self._watched = watched
        self._dispatcher = watched.dispatcher(dispatcher) if watched else dispatcher
        self._transport_factory = transport_factory
        self._clock = clock
        self._dry_run = dry_run
        self._on_outcome = on_outcome
        self._polite = polite
        self._survey_s = survey_s
        self._look_s = look_s
        self._off: dict[str, str] = {}
        self._duplicates = Duplicates()
        self._starting = threading.Lock()  # never waited for: a thread that starts is a greenlet where they are patched
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._grace_s = 0.0
        self._drained = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._shift: Shift | None = None

    def start(self) -> None:
        """Start the thread, unless it runs. After a fork the child has none, so it may start its own.

        Raises:
            RuntimeError: the system gives no more threads.
        """
        if not self._starting.acquire(blocking=False):
            return  # another thread is starting it
        try:
            if self._is_alive():
                return
            self._stopping = threading.Event()
            self._loop = self._shift = None
            self._thread = thread = threading.Thread(
                target=self._live, args=(self._stopping,), name=THREAD_NAME, daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                self._thread = None
                raise
        finally:
            self._starting.release()

    def stop(self, grace_s: float = 0.0) -> bool:
        """Send nothing more, wait at most `grace_s` seconds for what is in flight, commit, and give the lease back.

        Returns whether everything in flight came back. What did not goes out again at the next start.
        """
        self._grace_s = grace_s
        self._stopping.set()
        if self._stop is not None:
            self._call_soon(self._stop.set)
        thread = self._thread
        if thread is not None and thread.ident is not None and thread is not threading.current_thread():
            thread.join(grace_s + _JOIN_MARGIN_S)
            return self._drained and not thread.is_alive()
        return self._drained

    def run(self, stop: threading.Event, *, grace_s: float = 10.0) -> bool:
        """Deliver in the calling thread until `stop` is set; return as `Courier.stop` does. For ``eventmw worker``."""
        self._grace_s = grace_s
        self._live(stop, watched=True)
        return self._drained

    def drain(self, timeout_s: float) -> bool:
        """Wait until every tool has nothing left that can be delivered now; False when that took too long.

        A tool that stands still because its vendor fails has something left.
        """
        deadline = time.monotonic() + timeout_s
        while (running := self._loop) is None and time.monotonic() < deadline and self._is_alive():
            time.sleep(0.005)
        if running is None or not self._is_alive():
            return False
        with suppress(TimeoutError, CancelledError, RuntimeError):
            waiting = asyncio.run_coroutine_threadsafe(self._wait_drained(), running)
            try:
                waiting.result(max(0.0, deadline - time.monotonic()))
            finally:
                waiting.cancel()
            return True
        return False

    def wake(self) -> None:
        """Have every lane look for work: someone moved a place or revived dead letters."""
        if (shift := self._shift) is not None:
            self._call_soon(shift.kick)

    def state(self) -> dict[str, LaneState]:
        """Return how each tool's lane is doing; empty while another process holds the lease."""
        shift = self._shift
        return {} if shift is None else shift.state()

    def turns(self) -> int:
        """Return how many times lanes have looked for work since the lease came."""
        shift = self._shift
        return 0 if shift is None else shift.turns()

    def _is_alive(self) -> bool:
        """Return whether the thread runs, or is being started."""
        thread = self._thread
        return thread is not None and (thread.ident is None or thread.is_alive())

    def _call_soon(self, function: Callable[[], object]) -> None:
        if (running := self._loop) is not None:
            with suppress(RuntimeError):  # it is closed already
                running.call_soon_threadsafe(function)

    def _live(self, stopping: threading.Event, *, watched: bool = False) -> None:
        """Run loops until told to stop: a loop that dies, of whatever, is followed by another."""
        while not stopping.is_set():
            try:
                loop.run(self._main(stopping, watched=watched))
            except BaseException as error:
                if threading.current_thread() is threading.main_thread():
                    raise
                log.critical("the courier starts again after %s", type(error).__name__, exc_info=True)
                stopping.wait(LEAD_POLL_S)

    async def _main(self, stopping: threading.Event, *, watched: bool) -> None:
        stop = self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        watcher = asyncio.create_task(_watch(stopping, stop)) if watched else None
        if stopping.is_set():  # `Courier.stop` came before there was anything to tell
            stop.set()
        work = Work(
            journal=self._journal,
            dispatcher=self._dispatcher,
            transport=self._watched.transport(self._transport_factory())
            if self._watched
            else self._transport_factory(),
            clock=self._clock,
            duplicates=self._duplicates,
            pacer=Pacer(polite=self._polite),
            watch=Watch(look_s=self._look_s, off=self._off),
            dry_run=self._dry_run,
            on_outcome=self._on_outcome,
            survey_s=self._survey_s,
            jobs=self._jobs,
        )
        try:
            await self._serve_on(work, stop)
        finally:
            self._loop = None
            if watcher is not None:
                watcher.cancel()
            work.watch.stop()
            await work.transport.close()

    async def _serve_on(self, work: Work, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                await self._serve(work, stop)
                failures = 0
            except Exception:
                failures += 1
                if failures == 1:
                    log.exception("the courier waits, as the journal failed")
                wait_s = backoff_s(failures, first_s=0.2, max_s=_MAX_PAUSE_S, random=self._clock.random())
                await _wait(stop, wait_s)

    async def _serve(self, work: Work, stop: asyncio.Event) -> None:
        """Work one shift, if this process gets the lease; else wait a second for it."""
        self._journal.register([*(tool.id for tool in work.dispatcher.tools), *(job.id for job in work.jobs)])
        lease = self._journal.lead()
        if lease is None:
            await _wait(stop, LEAD_POLL_S)
            return
        try:
            shift = self._shift = Shift(work, self._watched.lease(lease) if self._watched else lease)
            ending = asyncio.create_task(_pass_on(stop, shift.over))
            try:
                await shift.run()
            finally:
                ending.cancel()
                self._drained = await shift.land(self._grace_s if stop.is_set() else _HANDOVER_GRACE_S)
        finally:
            self._shift = None
            lease.close()

    async def _wait_drained(self) -> None:
        while (shift := self._shift) is None or not await shift.has_drained():  # noqa: ASYNC110 - rare, and bounded
            await asyncio.sleep(0.01)


async def _pass_on(event: asyncio.Event, to: asyncio.Event) -> None:
    await event.wait()
    to.set()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


async def _watch(stopping: threading.Event, stop: asyncio.Event) -> None:
    """Notice that `stopping` was set: a signal handler may set an event, and may not call into a loop."""
    while not stopping.is_set():  # noqa: ASYNC110 - it is a thread's event
        await asyncio.sleep(_STOP_POLL_S)
    stop.set()
