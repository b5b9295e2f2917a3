"""The capture: every site of the process keeps and delivers for one test, and then as before.

While it lasts, each site has a runtime of the test's own: the owner's settings, tools and consumers, with a journal in
memory, a still clock, and vendors that record. The runtime that a site had is put aside with what it holds, and comes back.

Deliveries happen in `Captured.deliver` alone, so that a test sees the same each time: the lanes' event loop stands still in
between, and no thread is left. Sync consumers run in the thread of the test, where its database transaction is.

Layer: gateways.
"""

from __future__ import annotations

import asyncio
import fnmatch
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

from eventmw import record as records
from eventmw.config import Config
from eventmw.effects import Call, Write
from eventmw.errors import Refused, Reject, RetryAfter
from eventmw.event import Event, Receipt
from eventmw.http import HttpRequest
from eventmw.keys import Key, KeyKind
from eventmw.outcome import Outcome
from eventmw.runtime import Keepable, Runtime
from eventmw.site import Site, all_sites, put_aside, runtime_makers, take_back
from eventmw.testing import sent as told
from eventmw.testing.parts import FrozenClock
from eventmw.testing.runtime import CapturedRuntime
from eventmw.testing.sent import DeadEvent, Explained, PerTool, RefusedEvent, SentEvent, UnknownTool
from eventmw.testing.vendors import CallerPool, Trouble, Vendors, script

T = TypeVar("T")

_WAKE_S: Final = 0.5
PATIENCE_S: Final = 10.0
"""How long deliveries may take without any of the owner's functions at work. A test that waits longer has found a bug."""

_DELIBERATE: Final = (Reject, RetryAfter)
"""What a consumer raises on purpose: an answer, and no bug to show."""


class _Kept(NamedTuple):
    """An accepted request: the runtime that keeps it, and what the site knows of it."""

    runtime: CapturedRuntime
    accepted: Keepable


class Captured:
    """What the sites of this process do in one test. See `captured`, and docs/testing.md.

    Attributes:
        clock: the still clock of all sites: `FrozenClock.advance` lets a retry become due.
        vendors: records what every tool sends.
        keys: secret → key, made by `key`.
    """

    def __init__(self, clock: FrozenClock | None = None) -> None:
        self.clock = clock or FrozenClock(time.time_ns() // 1_000_000)
        self.keys: dict[str, Key] = {}
        self._pool = CallerPool()
        self.vendors = Vendors(self.clock, self._pool, self.note_error)
        self._runtimes: list[CapturedRuntime] = []
        self._kept: list[_Kept] = []
        self._noted: list[Refused] = []
        self._refused: list[RefusedEvent] = []
        self._outcomes: list[Outcome] = []
        self._errors: list[tuple[str, BaseException]] = []
        self._unseen: list[BaseException] = []
        self._runner: asyncio.Runner | None = None
        self._delivering = threading.Lock()

    # What a test asks.

    def sent(self, name: str | None = None) -> Sequence[SentEvent]:
        """Return the events that the sites accepted, in order, from whichever API and from ``track``.

        Args:
            name: the event's name, or a pattern such as ``cart_*``; None for all.
        """
        events = [event for kept in list(self._kept) for event in self._events(kept)]
        found = [
            event for event in events if name is None or event.name == name or fnmatch.fnmatchcase(event.name, name)
        ]
        missing = "no event was sent" if name is None else f"no event {name!r} was sent"
        return Explained(found, lambda: told.shortly(missing, events, self._refused))

    def requests(self, tool: str | None = None) -> Sequence[HttpRequest]:
        """Return the requests that went out so far to a tool's vendor, each attempt, in order.

        Args:
            tool: the tool's id; None for all tools.

        Raises:
            UnknownTool: no site has a tool of this id.
        """
        found = [order for order in self._orders(tool) if isinstance(order, HttpRequest)]
        return Explained(found, lambda: self._nothing_of(tool, "no request went out"))

    def calls(self, consumer: str) -> Sequence[Event]:
        """Return the events with which a consumer was called so far, each attempt, in order.

        Raises:
            UnknownTool: no site has a consumer of this id.
        """
        found = [order.event for order in self._orders(consumer) if isinstance(order, Call)]
        return Explained(found, lambda: self._nothing_of(consumer, "it was not called"))

    def writes(self, tool: str) -> Sequence[Write]:
        """Return what a tool such as File or Console would have written so far.

        Raises:
            UnknownTool: no site has a tool of this id.
        """
        found = [order for order in self._orders(tool) if isinstance(order, Write)]
        return Explained(found, lambda: self._nothing_of(tool, "nothing was written"))

    @property
    def refused(self) -> Sequence[RefusedEvent]:
        """The events and requests that the sites refused, in order."""
        return Explained(self._refused, lambda: told.shortly("nothing was refused", self.sent(), ()))

    @property
    def receipts(self) -> Sequence[Receipt]:
        """The receipt of each event that was sent, in order."""
        return [event.receipt for event in self.sent()]

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """How events ended at tools so far, one `Outcome` for each pair, in order."""
        return Explained(self._outcomes, lambda: self._nothing_of(None, "no event has ended at a tool"))

    @property
    def dead_letters(self) -> Sequence[DeadEvent]:
        """The events that will not be tried again at a tool."""
        return [
            DeadEvent(
                tool=letter.tool, event=event, outcome=letter.outcome, reason=letter.reason, attempts=letter.attempts
            )
            for runtime in self._runtimes
            for letter in runtime.journal.dead_letters()
            for event in runtime.engine.events(letter.record)
            if isinstance(event, Event)
        ]

    @property
    def errors(self) -> Sequence[BaseException]:
        """What tools and consumers raised so far. A test that looks at them has seen them: its end does not raise them."""
        self._unseen.clear()
        return [error for _, error in self._errors]

    # What a test does.

    def deliver(self, *, raise_errors: bool = True) -> None:
        """Deliver everything that is due now, to the recorded vendors and to consumers.

        What waits for a later attempt, or for a batch to fill, stays: `FrozenClock.advance` lets it become due. Consumers
        run in the calling thread, and async ones on a loop of their own.

        Args:
            raise_errors: False leaves what tools and consumers raise to `errors`, as a running site leaves it to its log.

        Raises:
            Exception: what a tool or consumer raised; an `ExceptionGroup` of several.
            RuntimeError: a consumer called it.
            UnknownTool: no site has the tool whose vendor is to fail.
            TimeoutError: the delivery did not come to rest.
        """
        __tracebackhide__ = True
        for tool in self.vendors.scripts:
            self._check(tool)
        if not self._delivering.acquire(blocking=False):
            raise RuntimeError("deliver() is under way: a consumer cannot call it")
        try:
            self._drive(self._settle)
        finally:
            self._delivering.release()
        if raise_errors:
            self.raise_errors()
        self._unseen.clear()

    def fail(
        self,
        tool: str,
        status: int = 503,
        *,
        times: int | None = None,
        error: Trouble | None = None,
        json: Any = None,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Have a tool's vendor fail, from its next request on.

        Args:
            tool: the tool's id.
            status: of the vendor's answer. Some vendors answer 200 and say in the body what they refuse.
            times: for so many requests; None until `recover`.
            error: ``"timeout"`` or ``"connection"``: there is no answer at all.
            json: the answer's body, as a JSON value.
            body: the answer's body, as it is.
            headers: the answer's header fields, such as ``{"retry-after": "60"}``.

        Raises:
            ValueError: `error`, `times` or the body make no sense.

        The next `deliver` raises `UnknownTool` when no site has a tool of this id: the site may be made after this call.
        """
        self.vendors.scripts[tool] = script(status, error=error, json=json, body=body, headers=headers, times=times)

    def answer(
        self,
        tool: str,
        status: int = 200,
        *,
        times: int | None = None,
        json: Any = None,
        body: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Have a tool's vendor answer so, from its next request on; see `fail`. Without it, a vendor answers 200."""
        self.fail(tool, status, times=times, json=json, body=body, headers=headers)

    def recover(self, tool: str) -> None:
        """Have a tool's vendor answer 200 again, from its next request on."""
        self.vendors.scripts.pop(tool, None)

    def key(
        self,
        kind: KeyKind = "write",
        *,
        project: str = "test",
        customer: str | None = None,
        key_filter: Mapping[str, Any] | None = None,
        origins: Sequence[str] = (),
    ) -> str:
        """Make a key of the EventBunker API that is good in this test, and return the secret that a sender shows.

        Args:
            kind: ``write``, ``query`` or ``delete``.
            project: the id of its project, which is made by being named.
            customer: the one customer that it is bound to; None: all.
            key_filter: field → value that every event must have to be seen through it.
            origins: browser origins whose pages may use it.
        """
        ident = f"test{len(self.keys) + 1}"
        secret = f"eb_{kind}_{ident}"
        self.keys[secret] = Key(
            id=ident,
            kind=kind,
            account_id="test",
            project_id=project,
            customer=customer,
            key_filter=key_filter or {},
            origins=tuple(origins),
        )
        return secret

    def clear(self) -> None:
        """Forget what was sent, refused and delivered so far. What waits for delivery still does."""
        logs: tuple[list[Any], ...] = (self._kept, self._refused, self._outcomes, self._errors, self._unseen)
        for log in (*logs, self.vendors.orders):
            log.clear()

    def assert_sent(self, name: str, properties: Mapping[str, object] | None = None, /, **more: object) -> SentEvent:
        """Check that an event was sent, and return it, the last of several.

        Args:
            name: its name, or a pattern such as ``cart_*``.
            properties: what it must have, beside anything else: properties, or attributes such as ``user_id``.
            more: the same, as keywords.

        Raises:
            AssertionError: none was; the message shows the nearest one, and how it differs.
        """
        __tracebackhide__ = True
        expected = {**(properties or {}), **more}
        events = self.sent(name)
        for event in reversed(events):
            if not told.differences(event, expected):
                return event
        raise AssertionError("\n".join(self._difference(name, events, expected)))

    def assert_not_sent(self, name: str, properties: Mapping[str, object] | None = None, /, **more: object) -> None:
        """Check that no such event was sent; see `assert_sent`.

        Raises:
            AssertionError: one was, and the message shows it.
        """
        __tracebackhide__ = True
        expected = {**(properties or {}), **more}
        found = [event for event in self.sent(name) if not told.differences(event, expected)]
        if found:
            raise AssertionError(
                "\n".join(["expected no such event, sent:", *(f"  {told.described(one)}" for one in found)])
            )

    def report(self) -> str:
        """Return everything that happened in this test, for people."""
        names = {event.id: event.name for event in self.sent()}
        errors = [f"{tool}: {type(error).__name__}: {error}" for tool, error in self._errors]
        parts = [
            told.listed("sent", [told.described(event) for event in self.sent()]) or ["nothing was sent"],
            told.listed("refused", [told.refusal(one) for one in self._refused]),
            told.listed("requests", [f"{tool}: {_order(order)}" for tool, order in self.vendors.orders]),
            told.listed("outcomes", [f"{names.get(one.event_id)!r} at {_outcome(one)}" for one in self._outcomes]),
            told.listed("not delivered yet", [f"{tool}: {count} events" for tool, count in self._waiting().items()]),
            told.listed("raised", errors),
        ]
        return "\n".join(line for part in parts for line in part)

    # What the runtimes report.

    def note_kept(self, runtime: CapturedRuntime, accepted: Keepable) -> None:
        """Take note of an accepted request, and of the events in it that were refused."""
        judgement: Any = accepted.judgement
        where = {"zaraz": runtime.config.path}.get(accepted.record.dialect, runtime.config.eventbunker_path) or ""
        for index in judgement.invalid:
            faults = told.faults_of(judgement, index)
            raw = told.decoded(bytes(judgement.raws[index])) if index < len(judgement.raws) else None
            self._refused.append(told.refused_event(raw, index, faults, ("invalid", 200, "it is not valid"), where))
        self._kept.append(_Kept(runtime, accepted))

    def note_refusal(self, refused: Refused, where: str, body: bytes | None) -> None:
        """Take note of a refusal, once: it passes where it arises, and where it is answered."""
        if any(refused is one for one in self._noted):
            return
        self._noted.append(refused)
        whole = (refused.code, refused.status, refused.detail)
        events = [] if body is None else told.events_in(body)
        for index, event in enumerate(events):
            faults = [fault for fault in refused.faults if fault.index == index or len(events) == 1]
            self._refused.append(told.refused_event(event, index, faults, whole, where))
        if not events:
            self._refused.append(told.refused_event(None, None, refused.faults, whole, where))

    def note_outcome(self, outcome: Outcome) -> None:
        """Take note of how an event ended at a tool. A tool's mistake that raised nothing is an error all the same."""
        self._outcomes.append(outcome)
        if outcome.kind == "tool_error" and all(tool != outcome.tool for tool, _ in self._errors):
            self.note_error(outcome.tool, AssertionError(f"the tool {outcome.tool!r} {outcome.reason}"))

    def note_error(self, tool: str, error: BaseException) -> None:
        """Take note of what the owner's code raised; the same exception of the same tool once."""
        if isinstance(error, _DELIBERATE) or any(error is one for _, one in self._errors):
            return
        seen = [(of, type(one), str(one)) for of, one in self._errors]
        self._errors.append((tool, error))
        if (tool, type(error), str(error)) not in seen:
            error.add_note(f"raised by the tool or consumer {tool!r}, called by eventmw")
            self._unseen.append(error)

    def raise_errors(self) -> None:
        """Raise what tools and consumers raised, if a test has not seen it."""
        __tracebackhide__ = True
        unseen = self._unseen.copy()
        self._unseen.clear()
        if len(unseen) > 1:
            raise BaseExceptionGroup("tools or consumers raised", unseen)
        if unseen:
            raise unseen[0]

    # What `captured` does.

    def make_runtime(self, config: Config) -> Runtime:
        """Return the runtime of a site that is used in this test."""
        runtime = CapturedRuntime(config, self)
        self._runtimes.append(runtime)
        return runtime

    def close(self) -> None:
        """Let go of everything that the test opened."""
        if self._runner is not None:
            with self._delivering:
                self._drive(self._end)
                runner, self._runner = self._runner, None
                thread = threading.Thread(target=runner.close)  # the caller may have a running loop
                thread.start()
                thread.join()
        for runtime in self._runtimes:
            runtime.discard()

    # Deliveries.

    def _drive(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine on the capture's loop, in a thread that ends with it; meanwhile, run consumers here."""
        __tracebackhide__ = True
        runner = self._runner = self._runner or asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self._pool.is_beside = _has_loop()
        calls, failures = self._pool.begin(), list[BaseException]()

        def live() -> None:
            try:
                runner.run(main())
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)
            finally:
                calls.put(None)

        thread = threading.Thread(target=live, name="eventmw-test-delivery", daemon=True)
        try:
            thread.start()
            while (call := _next(calls)) is not None:
                call()
        except BaseException:  # Ctrl-C, or a timeout of pytest's: the loop must stand still before the capture ends
            if (loop := runner.get_loop()).is_running():
                loop.call_soon_threadsafe(_cancel_all, loop)
            raise
        finally:
            thread.join()
        if failures:
            raise failures[0]

    async def _settle(self) -> None:
        """Deliver until nothing is due at any site: what a consumer tracks is delivered as well."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not all([await runtime.settle() for runtime in list(self._runtimes)]):
            if self.vendors.at_work:
                deadline_s = time.monotonic() + PATIENCE_S
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"deliveries did not come to rest within {PATIENCE_S:g} s\n{self.report()}")
            await asyncio.sleep(0.001)

    async def _end(self) -> None:
        for runtime in self._runtimes:
            await runtime.end()
        await self.vendors.close()

    # Words.

    def _events(self, kept: _Kept) -> Iterator[SentEvent]:
        runtime, accepted = kept
        record, judgement = accepted.record, cast(Any, accepted.judgement)
        indexes = range(judgement.count) if record.indexes is None else record.indexes
        for index, event in zip(indexes, runtime.engine.events(records.encode(record)), strict=True):
            if isinstance(event, Event):
                yield self._sent(runtime, event, accepted, index)

    def _sent(self, runtime: CapturedRuntime, event: Event, accepted: Keepable, index: int) -> SentEvent:
        ids = tuple(runtime.bare)
        warnings = tuple(f"{fault.path}: {fault.message}" for fault in told.faults_of(accepted.judgement, index))
        receipt = Receipt(
            id=accepted.record.id,
            event_id=event.id,
            recorded_ms=accepted.record.recorded_ms,
            durability=runtime.journal.durability,
            warnings=warnings,
        )
        return told.as_sent(
            event,
            receipt=receipt,
            requests=PerTool(ids, lambda tool: runtime.requests(event, tool)),
            effects=PerTool(ids, lambda tool: runtime.effects(event, tool)),
            find_outcomes=lambda: {one.tool: one for one in self._outcomes if one.event_id == event.id},
        )

    def _orders(self, tool: str | None) -> list[Any]:
        if tool is not None:
            self._check(tool)
        return [order for owner, order in self.vendors.orders if tool is None or owner == tool]

    def _check(self, tool: str) -> None:
        """Refuse the id of a tool that no site has. While the test has used no site, there is nothing to hold it against."""
        here = {ident for runtime in self._runtimes for ident in runtime.bare}
        if here and tool not in here.union(bound.id for site in all_sites() for bound in site.config.bound_tools):
            raise UnknownTool(tool, here)

    def _waiting(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for runtime in self._runtimes:
            for tool, count in runtime.waiting().items():
                counts[tool] = counts.get(tool, 0) + count
        return counts

    def _nothing_of(self, tool: str | None, missing: str) -> str:
        waiting = {name: count for name, count in self._waiting().items() if tool in (None, name)}
        ends = [_outcome(outcome) for outcome in self._outcomes if tool in (None, outcome.tool)]
        hint = f"{sum(waiting.values())} events wait: call deliver() or clock.advance()" if waiting else ""
        parts = "; ".join(filter(None, (hint, f"outcomes: {', '.join(ends[-3:])}" if ends else "")))
        what = missing if tool is None else f"{tool}: {missing}"
        return told.shortly(what, self.sent(), self._refused, parts)

    def _difference(self, name: str, events: Sequence[SentEvent], expected: Mapping[str, object]) -> list[str]:
        wanted = " ".join((repr(name), *(f"{key}={value!r}" for key, value in expected.items())))
        lines = [f"no event {wanted} was sent"]
        near = told.nearest(events, expected)
        if near is not None:
            event, differences = near
            lines += [f"the nearest is {told.described(event)}", *(f"  {difference}" for difference in differences)]
        return [*lines, *self.report().splitlines()]


@contextmanager
def captured(*, clock: FrozenClock | None = None) -> Generator[Captured]:
    """Capture what every wrapped site of this process does: no network, no folder, a still clock.

    Sites that exist already and sites that are made meanwhile are captured alike, whatever was done with them before. The
    tools and consumers are the owner's own. Afterwards each site is as it was.

    Args:
        clock: the clock of all sites; None: one that stands at the present time.

    Raises:
        Exception: what a tool or consumer raised and the test has not seen.
    """
    events = Captured(clock)
    before: WeakKeyDictionary[Site, Mapping[str, Any]] = WeakKeyDictionary()
    for site in all_sites():
        before[site] = put_aside(site)
    make = events.make_runtime
    runtime_makers.append(make)
    try:
        yield events
        events.raise_errors()
    finally:
        runtime_makers.remove(make)
        for site in all_sites():
            take_back(site, before.get(site, {}))
        events.close()


def _next(calls: SimpleQueue[Callable[[], None] | None]) -> Callable[[], None] | None:
    """Return the next call. A signal that comes just before the wait does not end it, and is heeded at the next wake-up."""
    while True:
        with suppress(Empty):
            return calls.get(timeout=_WAKE_S)


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _order(order: object) -> str:
    match order:
        case Call(event=event):
            return f"called with {event.name!r}"
        case Write(data=data):
            return f"would have written {len(data)} bytes"
        case _:
            return repr(order)


def _outcome(outcome: Outcome) -> str:
    return f"{outcome.tool} {outcome.kind}" + (f" ({outcome.reason})" if outcome.reason else "")
