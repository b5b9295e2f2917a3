"""The runtime: one site's engine, journal and courier, and the way of a request through them.

Layer: input and output. It knows nothing of ASGI or WSGI: the gateways drive an `Exchange`, which is synchronous, and wait
for one future.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from eventmw import forks, lifetimes, opening
from eventmw import record as records
from eventmw.archive import ARCHIVE
from eventmw.assembly import assembled
from eventmw.clock import Clock, SystemClock
from eventmw.config import DEFAULT_DATA_DIR, Config
from eventmw.delivery.transport import Transport
from eventmw.errors import JournalFull, Refused, told
from eventmw.event import Record
from eventmw.eventbunker.pool import CallPool, manage_pool
from eventmw.forks import HeldOff, LateLock
from eventmw.intake.door import ANONYMOUS, Door, Visit, Visitor
from eventmw.intake.keyed import Keys, NoKeys
from eventmw.intake.rates import Rates, sender_of
from eventmw.intake.recent import Recent
from eventmw.journal import Journal, Position
from eventmw.lifetimes import THREAD_NAME, caretaker
from eventmw.logs import printable
from eventmw.protocols.eventbunker import AnyName, Names
from eventmw.protocols.zaraz import Accepted
from eventmw.watching.eventlog import name_records
from eventmw.watching.watch import Watch

if TYPE_CHECKING:
    from eventmw.control.server import ControlServer
    from eventmw.delivery.courier import Courier
    from eventmw.delivery.jobs import Job
    from eventmw.watching.delivery import WatchedDelivery

log = logging.getLogger("eventmw")

_LANDING_S: Final = 1.0
"""How long the end of a process waits for vendors' answers to what is on its way."""

_ARCHIVE_REST_S: Final = 0.0005
"""How long the archive's writer leaves the interpreter's lock alone after each hundred rows."""


def _never() -> bool:
    return False


def _as_it_is(api: Any) -> Any:
    return api


class Counted(Protocol):
    """What became of each event of a request, as far as it is counted."""

    @property
    def accepted(self) -> int:
        """How many events are accepted."""
        ...


class Keepable(Protocol):
    """An accepted request, of whatever dialect."""

    @property
    def record(self) -> Record:
        """What the journal keeps."""
        ...

    @property
    def judgement(self) -> Counted:
        """What became of its events."""
        ...


class Identified(Protocol):
    """An accepted request whose events have ids of their own."""

    duplicates: Sequence[int]
    """Where the indexes are put of events that are known already."""

    @property
    def record(self) -> Record:
        """What the journal keeps."""
        ...

    @property
    def own_ids(self) -> Sequence[tuple[str, int]]:
        """The id and the index of each event that has one."""
        ...


class Runtime:
    """Everything that one wrapped site shares between its requests. Building it starts no thread.

    Args:
        config: the validated configuration.

    Attributes:
        clock: time and chance; `refit` replaces it.
        transport: makes the courier's transport; `refit` replaces it.
        around: is put around each API of the site as it is made; tests see by it what is refused.
        is_closed: whether `close` was called.
        journal: where records are kept.
        engine: the tools and the dialects.
        stores: the databases behind the EventBunker API; None without `eventbunker_path`.
        archive: where tracked events become rows; None as above.
        watch: is told what happens, when logs or metrics are set.
        keys: the keys of the EventBunker API; there are none without `eventbunker_path`.
        projects: judges what the site's own code tracks into a project; None as above.
        names: counts the names of each project's events; as it is here, it takes all.
        calls: where the calls of the EventBunker API are answered.
        managing: where those are that make and revoke keys.
        polite: whether the courier yields to a site in this process; a worker has none.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        limits = config.limits
        self.door = Door(
            keys=config.named_keys,
            allowed_origins=config.allowed_origins,
            trusted_proxies=config.trusted_proxies,
            max_body_bytes=limits.max_body_bytes,
        )
        name_records()
        self.watch = Watch.wanted(config.logs, figures=config.metrics_path is not None)
        self.zaraz, self.engine = assembled(config, self.watch.at_the_door if self.watch else None)
        self.polite = True
        self.is_closed = False
        self.around: Callable[[Any], Any] = _as_it_is
        self.clock: Clock = SystemClock()
        self.transport: Callable[[], Transport] = partial(
            opening.transport, reads_agents=config.eventbunker_path is not None
        )
        self.journal: Journal = opening.journal(config)
        self.stores = opening.stores(config)
        self.archive = None if self.stores is None else self.stores.archive
        with suppress(JournalFull):  # it says so, and takes nothing before there is room for them
            self.journal.register([tool.id for tool in self.engine.tools] + ([ARCHIVE] if self.archive else []))
        self.recent, self.rates = Recent(), self._fresh_rates()
        self.keys: Keys = NoKeys() if self.stores is None else self.stores.ring
        self.names: Names = AnyName() if self.stores is None else self.stores.names
        self.projects = opening.projects(config, self.stores, self)
        self.calls, self.managing = CallPool(), manage_pool()
        self.is_dropped = False
        self._courier: Courier | None = None
        self._asked = self._started = self._is_whole = False
        self._said = self._serves = False
        self._control: ControlServer | None = None
        self._making = LateLock()
        self._imports = self.transport  # until a test puts another one there
        if forks.is_patched():
            opening.import_ahead()
        lifetimes.join(self)
        with suppress(RuntimeError):  # the interpreter is ending already
            lifetimes.heed_exit()

    def leave_parent_behind(self) -> None:
        """Begin anew in a forked child: it has no courier thread, and the lock may have been held when it was forked."""
        self._making = LateLock()
        if self._control is not None:
            self._control.after_fork()  # before the last reference to its sockets goes
        self._courier = self._control = None
        self._asked = self._started = self._is_whole = False
        self.recent, self.rates = Recent(), self._fresh_rates()
        self.calls, self.managing = CallPool(), manage_pool()
        if self.archive is not None:
            self.archive.leave_parent_behind()
        if self.watch is not None:
            self.watch.start_afresh()

    def _fresh_rates(self) -> Rates | None:
        limits = self.config.limits
        return Rates(limits.requests_per_s, limits.burst) if limits.requests_per_s else None

    @property
    def delivered_by(self) -> Literal["site", "worker"]:
        """What delivers the events of this site; see `eventmw.Receipt`."""
        return "site" if self.config.courier == "thread" else "worker"

    @property
    def courier(self) -> Courier:
        """The courier of this process, made when it is first asked for."""
        with self._making:
            if self._courier is None:
                with HeldOff():
                    from eventmw.delivery.courier import Courier  # noqa: PLC0415 - asyncio is needed by no site without events

                self._courier = Courier(
                    self.journal,
                    self.engine,
                    self.transport,
                    self.clock,
                    dry_run=self.config.dry_run,
                    on_outcome=self.config.on_outcome,
                    watched=self.watched_delivery(),
                    polite=self.polite,
                    jobs=self._jobs(),
                )
            return self._courier

    def refit(self, *, clock: Clock | None = None, transport: Callable[[], Transport] | None = None) -> None:
        """Replace the clock, the transport or both, also while the courier delivers: it stops, and starts again with them.

        What is in flight has `_LANDING_S` seconds to come back; what did not goes out again.

        Raises:
            RuntimeError: the site is closed; or another process or site delivers what its journal holds, so another
                transport would get nothing.
        """
        if self.is_closed:
            raise RuntimeError("this site is closed, so nothing of it can be replaced any more: wrap the site anew")
        if was_started := self._asked or self._started:
            caretaker.call()  # what is starting has started then
        if (courier := self._courier) is not None:
            courier.stop(_LANDING_S)
        delivers = transport is None or self._may_deliver()
        self.clock = clock or self.clock
        self.transport = transport if transport and delivers else self.transport
        self._courier = None
        self._asked = self._started = self._is_whole = False
        if was_started:
            self.start()
        if not delivers:
            raise RuntimeError(
                f"another process or site delivers the events in {self.config.data_dir!r}, so another transport here would "
                "get none of them: give this site a data_dir of its own, or journal='memory'"
            )

    def _may_deliver(self) -> bool:
        """Return whether the journal's lease is free. Call it while the courier does not run."""
        lease = self.journal.lead()
        if lease is not None:
            lease.close()
        return lease is not None

    def _jobs(self) -> list[Job]:
        if self.archive is None:
            return []
        from eventmw.archive.filler import Filler  # noqa: PLC0415 - no other site has its libraries
        from eventmw.delivery.loop import sleep  # noqa: PLC0415 - asyncio is needed by no site without events

        self.archive.sleep = sleep
        self.archive.rest_s = _ARCHIVE_REST_S if self.polite else 0.0
        lasting = self.journal.durability != "memory"
        return [Filler(self.archive, lasting=lasting, days=self.config.archive_days)]

    def watched_delivery(self) -> WatchedDelivery | None:
        """Return what has a courier watched, when logs or metrics are set."""
        from eventmw.watching.delivery import WatchedDelivery  # noqa: PLC0415 - as above

        return None if self.watch is None else WatchedDelivery(self.watch, self.clock)

    def start(self) -> None:
        """Start the courier's thread in this process, when it must run here, and the control channel; once a process.

        A system that gives no more threads costs no request anything: each one tries again.
        """
        if self._is_whole or self.is_closed or (self.is_dropped and self.journal.durability != "memory"):
            return
        with suppress(RuntimeError):
            caretaker.keep(self)
        if self.stores is not None:
            self.stores.awake()
        shown = not self._shows() or self.show()  # first: a command that comes at once finds the process
        if self.config.courier == "thread" and (
            self.engine.tools or self.archive or self.journal.durability != "memory"
        ):
            try:
                if self.transport is self._imports:
                    opening.import_ahead()
                self.courier.start()
            except RuntimeError as error:
                self._wait_for_threads(error)
                return
        self._started = True
        self._is_whole = self._asked = shown

    def _start_soon(self) -> None:
        """Have the process's own thread start what runs beside the site. No request waits for that."""
        if self._asked or self.is_closed:
            return
        self._asked = True
        try:
            caretaker.keep(self)
            caretaker.do(self.start)
        except RuntimeError as error:
            self._wait_for_threads(error)

    def _wait_for_threads(self, error: RuntimeError) -> None:
        self._asked = False
        if not self._said:
            log.error("events are kept, and delivered once the courier gets a thread: %s", error)
        self._said = True

    def awake(self) -> None:
        """Do what the first request of any kind in a process asks for.

        A journal on disk may hold events from before a restart, or of a process that ends, which must be delivered though no
        new one comes. A journal in memory is empty: nothing runs before the first event, but that commands find the process.
        Without tools there is nothing to deliver: then all waits for the first event.
        """
        self._serves = True
        forks.notice()
        if self.stores is None and not self.engine.tools:
            return
        if self.journal.durability != "memory":
            self._start_soon()
        elif self.stores is not None or Path(self.config.data_dir).exists():
            with suppress(RuntimeError):  # no threads: the first event tries again
                caretaker.keep(self)
                caretaker.do(self._awake_in_memory)

    def _awake_in_memory(self) -> None:
        if self.is_closed or self.is_dropped:
            return
        if self.stores is not None:
            self.stores.awake()
        if Path(self.config.data_dir).exists():
            self.show()

    def _shows(self) -> bool:
        """Return whether commands may find this process: a journal in memory makes no folder that its owner did not name."""
        config = self.config
        return (
            self.journal.durability != "memory" or config.data_dir != DEFAULT_DATA_DIR or Path(config.data_dir).exists()
        )

    def finish(self) -> None:
        """Deliver what this process holds in memory, for at most `Limits.exit_grace_s` seconds; say what is lost.

        Of a journal on disk, wait a moment for what is on its way, so that it does not go out again after a restart.
        A courtesy at the end of a process: nothing relies on it, and a process that is killed does not get here.
        """
        is_script = self._asked and not (self._serves or self.is_closed)  # it has kept an event, and answers nobody
        self._land("the process")
        if is_script and self.journal.durability != "memory":
            self._say_what_waits()

    def _land(self, what: str) -> None:
        grace_s = self.config.limits.exit_grace_s
        if self.journal.durability != "memory":
            if self._courier is not None and self._started:
                self._courier.stop(min(_LANDING_S, grace_s))
                self._started = self._is_whole = self._asked = False  # the process may go on
            return
        if self._asked and not self._started:  # it ends before the thread got to it
            caretaker.call(self.start)
        if self._courier is None or not self._started or self._courier.drain(grace_s):
            return
        for tool in self.journal.stats().tools:
            if waiting := tool.backlog_events + tool.parked:
                log.warning("%s ends, and %d events for tool %s with it: journal='memory'", what, waiting, tool.tool)

    def rest(self) -> None:
        """Deliver as at the end of the process, and give back every thread, descriptor and socket.

        The next request starts all again. The lifespan of a site ends so, which may begin once more.
        """
        if self not in caretaker.kept:
            return
        caretaker.call()  # what is starting has started then
        self._land("the process")
        if self._courier is not None:
            self._courier.stop()
        self._give_back()
        self.journal.rest(_LANDING_S)
        if self.stores is not None:
            self.stores.rest()
        self.calls, self.managing = CallPool(), manage_pool()
        self._asked = self._started = self._is_whole = False
        caretaker.settle()

    def drop(self) -> None:
        """Give everything back soon, in a thread of its own: the site is gone. Takes no lock: a finaliser calls it."""
        self.is_dropped = True
        if self in caretaker.kept:
            caretaker.note(self._end_beside)

    def _end_beside(self) -> None:
        try:
            threading.Thread(target=self._end, name=f"{THREAD_NAME}-end", daemon=True).start()
        except RuntimeError:  # no more threads
            self._end()

    def _end(self) -> None:
        """Give back what a dropped site held. What it has on the disk is delivered by the next process that opens it."""
        try:
            self._land("a site")
            self._close_start()
            self.journal.close(_LANDING_S)
            self._let_go()
        except Exception as error:  # noqa: BLE001 - nobody can do anything about it
            log.warning("a site that was dropped could not give back all: %s", told(error))
        finally:
            caretaker.note(lambda: caretaker.kept.discard(self))

    def _close_start(self) -> None:
        """Let nothing of this site start any more, and wait for what is starting: nobody would end it later."""
        self.is_closed = True
        if self in caretaker.kept:
            caretaker.call()

    def _give_back(self) -> None:
        """End the threads that answer calls and commands."""
        self.calls.close()
        self.managing.close()
        control, self._control = self._control, None
        if control is not None:
            control.close()
        caretaker.kept.discard(self)

    def _let_go(self) -> None:
        """Stop, for good."""
        if self._courier is not None:
            self._courier.stop()
        self._give_back()
        self.journal.leave()
        if self.stores is not None:
            self.stores.close()

    def _say_what_waits(self) -> None:
        """Log how many events a script leaves behind: it may be the only process of its site, and nothing else would say so.

        A process that served requests is followed by the next one, as at any restart.
        """
        stats = self.journal.stats()
        waiting = {tool.tool: count for tool in stats.tools if (count := tool.backlog_events + tool.parked)}
        if waiting and stats.leader_pid in {None, os.getpid()}:
            log.warning(
                "this process ends before its events are delivered: %s. They are kept in %s, and delivered once the site or "
                "`eventmw worker` runs there. A script that is to deliver them itself calls close() first",
                ", ".join(f"{count} for {printable(tool)}" for tool, count in waiting.items()),
                self.config.data_dir,
            )

    def show(self) -> bool:
        """Open the control channel, by which commands and `eventmw.Tracker` find this process. Returns whether it opens."""
        from eventmw.control.operations import Operations  # noqa: PLC0415 - as above
        from eventmw.control.server import ControlServer  # noqa: PLC0415 - not needed before the first event

        if self._control is None:
            self._control = ControlServer(self.config.data_dir, Operations(self))
        return self._control.start()

    def append(self, accepted: Keepable) -> Future[Position]:
        """Keep the record of an accepted request.

        Raises:
            JournalFull: no room.
            JournalDown: it cannot be written now.
        """
        forks.notice()
        if not self._asked:
            self._start_soon()
        record, events = accepted.record, accepted.judgement.accepted
        watch, stamp = self.watch, self.clock.stamp_ns()
        since_s = 0.0 if watch is None else watch.now_s()
        kept = self.journal.append(records.encode(record), events=events, recorded_ms=record.recorded_ms, stamp=stamp)
        if watch is not None:
            watch.appending(kept, events, since_s)
        return kept

    def accept(self, body: bytes, visit: Visit) -> Accepted:
        """Judge a payload and run the answering tools within their time.

        Raises:
            Refused: nothing, or not enough, of it is accepted.
        """
        clock, engine = self.clock, self.engine
        now_ms = clock.now_ms()
        over_budget = self._budget() if engine.answering else _never
        return self.zaraz.accept(body, visit, (clock.new_id(now_ms), now_ms), engine, over_budget)

    def _budget(self) -> Callable[[], bool]:
        deadline_s = self.clock.monotonic_s() + self.config.limits.answer_budget_s
        return lambda: self.clock.monotonic_s() > deadline_s

    def remember(self, accepted: Identified) -> None:
        """Note which of the events that have ids, and are now durable, were known to be so already."""
        record = accepted.record
        accepted.duplicates = self.recent.remember(record.credential, accepted.own_ids, record.recorded_ms)

    def remember_receipt(self, accepted: Accepted) -> None:
        """Note the receipt of a request that is now durable: another event may come with an id made of it."""
        record = accepted.record
        self.recent.remember_receipt(record.credential, record.id, accepted.numbered, record.recorded_ms)

    def check_rate(self, rates: Rates, visit: Visitor) -> None:
        """Count a request against its sender's rate.

        Raises:
            Refused: 429.
        """
        sender = sender_of(visit.address) if visit.credential == ANONYMOUS else "\0" + visit.credential
        wait_s = rates.wait_s(sender, self.clock.monotonic_s())
        if wait_s > 0:
            seconds = str(int(wait_s) + 1)
            detail = f"Expected fewer requests from one sender; the next may come in {seconds} s."
            raise Refused("rate_limited", detail, headers=(("retry-after", seconds),))

    def stats(self) -> Mapping[str, Any]:
        """Return where everything stands, as JSON values: the journal, and the courier's lanes when it runs."""
        from eventmw.control.standing import as_json  # noqa: PLC0415 - only people ask

        lanes = self._courier.state() if self._courier else {}
        return as_json(self.journal.stats(), lanes, not_ready=self.not_ready(), stores=self._troubles())

    def part(self) -> Mapping[str, Any]:
        """Return what others need of `stats`: all, or what only this process knows, when it shares its journal.

        To count what stands in a folder takes a while, in a process of the site; who asks counts it once for all.
        """
        from eventmw.control.standing import part_as_json  # noqa: PLC0415 - as above

        if self.journal.durability == "memory":
            return self.stats()
        lanes = self._courier.state() if self._courier else {}
        return part_as_json(
            lanes, cap_bytes=self.config.journal_bytes, not_ready=self.not_ready(), stores=self._troubles()
        )

    def not_ready(self) -> str:
        """Return "" when events would be kept now and the stores are sound, else one sentence why not."""
        try:
            return printable(self.journal.ready()) or next(filter(None, self._troubles().values()), "")
        except Exception as error:  # noqa: BLE001 - a journal that cannot even say is not ready
            log.warning("the journal could not say whether it is ready: %s", told(error))
            return "the journal cannot be asked"

    def _troubles(self) -> Mapping[str, str]:
        return {} if self.stores is None else self.stores.troubles()

    def figures(self) -> Mapping[str, Any]:
        """Return what this process adds to the figures for Prometheus, as JSON values: ``{"stats", "ident", "tally"}``.

        ``stats`` is its `part`.
        """
        return {"stats": self.part(), **(self.watch.figures() if self.watch else {})}

    @property
    def socket(self) -> Path | None:
        """The socket on which this process answers commands, once it does."""
        return self._control.path if self._control else None

    def close(self, grace_s: float) -> bool:
        """Take no more records, deliver for at most `grace_s` seconds, stop. Returns whether all was delivered."""
        if self._asked and grace_s > 0:  # what nobody has started to deliver is started for the time that there is
            caretaker.call(self.start)
        self._close_start()
        self.journal.close(grace_s)
        drained = not self._asked if self._courier is None else self._courier.drain(grace_s)
        self._let_go()
        caretaker.settle()
        return drained
