"""The courier's thread over a real journal and real vendors: lanes that do not touch each other, and nothing that ends it."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from eventmw.clock import SystemClock
from eventmw.contract import Delivery, consumer
from eventmw.delivery.courier import THREAD_NAME, Courier
from eventmw.delivery.duplicates import WINDOW_MS
from eventmw.delivery.outbound import Outbound
from eventmw.delivery.transport import Transport
from eventmw.effects import Order
from eventmw.errors import JournalDown
from eventmw.event import Event
from eventmw.http import HttpReply, HttpRequest
from eventmw.journal import Commit, Entry, Lease, Position
from eventmw.journal.memory import MemoryJournal
from eventmw.outcome import Outcome
from eventmw.record import Erased
from eventmw.vendor import HANG, RESET, Vendor
from tests.delivering import Batching, JsonDispatcher, append, payloads, record

QUICK = Delivery(first_backoff_s=0.01, max_backoff_s=0.05, timeout_s=10.0)
PATIENCE_S = 20.0


@dataclass
class Site:
    """A journal, tools, and the couriers made for them; all of them stop at the end."""

    tools: list[Any]
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    outcomes: list[Outcome] = field(default_factory=list)
    transport: Callable[[], Transport] = Outbound

    def courier(self, journal: Any = None, **options: Any) -> Courier:
        dispatcher = JsonDispatcher(self.tools)
        self.journal.register([tool.id for tool in dispatcher.tools])
        options.setdefault("on_outcome", self.outcomes.append)
        return Courier(journal or self.journal, dispatcher, self.transport, SystemClock(), **options)

    @contextmanager
    def running(self, journal: Any = None, **options: Any) -> Iterator[Courier]:
        courier = self.courier(journal, **options)
        courier.start()
        try:
            yield courier
        finally:
            courier.stop(0.0)

    def append(self, *ids: str) -> None:
        append(self.journal, ids, SystemClock().now_ms())

    def counts(self, tool: str = "batching") -> dict[str, int]:
        stats = next(stats for stats in self.journal.stats().tools if stats.tool == tool)
        return {kind: count for (kind, _), count in stats.counts.items()}


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"in vain waited until {what}"
        time.sleep(0.005)


def arrived(vendor: Vendor) -> list[str]:
    return [name for arrival in vendor.arrivals for name in payloads_of(arrival.body)]


def payloads_of(body: bytes) -> list[str]:
    return payloads(HttpRequest("POST", "http://vendor.invalid/", (), body))


def test_what_is_appended_arrives_and_is_counted_once() -> None:
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        with site.running() as courier:
            site.append("a", "b", "drop-1")
            site.append("a", "c")
            assert courier.drain(PATIENCE_S)
            assert sorted(arrived(vendor)) == ["a", "b", "c"]
            assert site.counts() == {"delivered": 3, "dropped": 1, "duplicate": 1}
            assert courier.state()["batching"].phase == "flowing"
            assert courier.stop(PATIENCE_S)
        assert courier.state() == {}
        assert sorted(outcome.kind for outcome in site.outcomes) == ["delivered"] * 3 + ["dropped", "duplicate"]
        assert not any(thread.name == THREAD_NAME for thread in threading.enumerate())


def test_a_vendor_that_is_dead_or_hangs_delays_no_other_lane() -> None:
    with Vendor(HANG) as hanging, Vendor(RESET) as dead, Vendor() as good:
        site = Site(
            [
                Batching(hanging.url, id="hanging", delivery=QUICK),
                Batching(dead.url, id="dead", delivery=QUICK),
                Batching(good.url, id="good", delivery=QUICK),
            ],
        )
        with site.running() as courier:
            for seq in range(20):
                site.append(f"e{seq}")
            until(lambda: site.counts("good") == {"delivered": 20}, "the good vendor has everything")
            until(lambda: courier.state()["dead"].attempts > 2, "the dead one was probed")
            assert courier.state()["dead"].last_error == "the connection was lost: 127.0.0.1"
            assert courier.state()["hanging"].in_flight > 0
            assert not courier.drain(0.05)
            dead.answer_with(200)
            until(lambda: site.counts("dead") == {"delivered": 20}, "the dead vendor has recovered")


def test_a_vendor_that_fails_for_a_while_has_it_all_in_the_end() -> None:
    with Vendor([500, 429, RESET, 503, 200, 500]) as vendor:
        site = Site([Batching(vendor.url, delivery=replace(QUICK, ordered=True), per_request=2)])
        with site.running() as courier:
            site.append("a", "b", "c", "d", "e")
            assert courier.drain(PATIENCE_S)
            assert list(dict.fromkeys(arrived(vendor))) == ["a", "b", "c", "d", "e"]
            assert site.counts() == {"delivered": 5}


def test_whoever_is_told_that_a_tool_stands_is_told_that_it_flows(caplog: pytest.LogCaptureFixture) -> None:
    with Vendor([500, 200]) as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        with caplog.at_level(logging.WARNING), site.running() as courier:
            site.append("a")
            assert courier.drain(PATIENCE_S)
            until(lambda: "tool batching flows again" in caplog.text, "it is said that it flows")
    stands, flows = (record for record in caplog.records if record.name == "eventmw.delivery.courier")
    assert stands.getMessage().startswith("tool batching stands still and will try again: ")
    assert (stands.levelno, flows.levelno) == (logging.WARNING, logging.WARNING)


def test_what_a_vendor_refuses_is_logged_once_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    with Vendor([422, 422, 422, 410]) as vendor:
        site = Site([Batching(vendor.url, delivery=replace(QUICK, ordered=True), per_request=1)])
        with caplog.at_level(logging.WARNING), site.running() as courier:
            site.append("a", "b", "c", "d")
            assert courier.drain(PATIENCE_S)
        assert len(site.outcomes) == 4
    logged = [record for record in caplog.records if "buries events" in record.getMessage()]
    assert [record.levelno for record in logged] == [logging.WARNING] * 2
    assert logged[0].getMessage() == (
        "tool batching buries events as rejected, which `eventmw dead list` shows: HTTP 422"
    )
    assert "410" in logged[1].getMessage()


def test_what_is_in_flight_at_the_end_of_grace_goes_out_again() -> None:
    with Vendor(HANG) as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        with site.running() as courier:
            site.append("a")
            vendor.wait_for(1)
            assert not courier.stop(0.05)
        vendor.answer_with(200)
        with site.running() as courier:
            assert courier.drain(PATIENCE_S)
        assert arrived(vendor) == ["a", "a"]
        assert site.counts() == {"delivered": 1}


def test_stopping_waits_for_the_answer_and_commits_it() -> None:
    answered = threading.Event()
    with Vendor(lambda _: 200 if answered.wait(PATIENCE_S) else 500) as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        with site.running() as courier:
            site.append("a")
            vendor.wait_for(1)
            threading.Timer(0.05, answered.set).start()
            assert courier.stop(PATIENCE_S)
        assert site.counts() == {"delivered": 1}


def test_a_dry_run_sends_nothing() -> None:
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        with site.running(dry_run=True) as courier:
            site.append("a", "drop-1", "unpackable")
            assert courier.drain(PATIENCE_S)
        assert vendor.arrivals == []
        assert site.counts() == {"dry_run": 1, "dropped": 1, "tool_error": 1}


def test_consumers_are_called_until_they_return() -> None:
    calls: list[str] = []

    @consumer("crm", delivery=QUICK)
    def crm(event: Event) -> None:
        calls.append(event.id)
        if len(calls) < 3:
            raise ConnectionError(event.id)

    site = Site([crm])
    with site.running() as courier:
        site.append("a")
        assert courier.drain(PATIENCE_S)
    assert calls == ["a", "a", "a"]
    assert site.counts("crm") == {"delivered": 1}


def test_an_idle_courier_takes_no_turns() -> None:
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        with site.running() as courier:
            site.append("a")
            assert courier.drain(PATIENCE_S)
            time.sleep(0.1)  # the append's linger may not be over
            turns = courier.turns()
            time.sleep(0.2)
            assert courier.turns() == turns
            site.append("b")
            vendor.wait_for(2)
            until(lambda: site.counts() == {"delivered": 2}, "the second is settled")
            assert turns < courier.turns() <= turns + 4, "one for the append, one for the answer, and a little"


def test_each_append_after_a_quiet_wakes_the_courier() -> None:
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        with site.running() as courier:
            assert courier.drain(PATIENCE_S)
            for n in range(1, 5):
                site.append(f"e{n}")
                vendor.wait_for(n)
                until(lambda n=n: site.counts() == {"delivered": n}, "it is settled")  # type: ignore[misc] # bound now


class SharedJournal:
    """A memory journal that, like one on disk, is told nothing when another process appends."""

    durability = "journaled"

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    def on_append(self, wake: object) -> None:
        """Never call it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


def test_what_other_processes_append_is_found() -> None:
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        with site.running(SharedJournal(site.journal)) as courier:
            assert courier.drain(PATIENCE_S)
            site.append("a")
            vendor.wait_for(1)


def test_a_burst_is_packed_and_wakes_the_courier_seldom() -> None:
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK, per_request=100)])
        with site.running() as courier:
            assert courier.drain(PATIENCE_S)
            for seq in range(200):
                site.append(f"e{seq}")
            assert courier.drain(PATIENCE_S)
        assert len(arrived(vendor)) == 200
        assert len(vendor.arrivals) < 100


def test_a_second_courier_waits_and_takes_over_and_knows_what_was_delivered() -> None:
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        with site.running() as first:
            site.append("a")
            assert first.drain(PATIENCE_S)
            with site.running() as second:
                until(first.state, "the first leads")
                assert second.state() == {}
                assert first.stop(PATIENCE_S)
                site.append("a", "b")
                assert second.drain(PATIENCE_S)
        assert arrived(vendor) == ["a", "b"]
        assert site.counts() == {"delivered": 2, "duplicate": 1}


def test_a_place_that_is_moved_back_is_delivered_again_when_woken() -> None:
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        with site.running() as courier:
            site.append("a", "b")
            assert courier.drain(PATIENCE_S)
            assert site.journal.seek("batching", to="start") == 2
            courier.wake()
            until(lambda: len(arrived(vendor)) == 4, "they came again")


def test_starting_twice_is_starting_once() -> None:
    site = Site([Batching(delivery=QUICK)])
    with site.running() as courier:
        courier.start()
        assert sum(thread.name == THREAD_NAME for thread in threading.enumerate()) == 1


def test_stopping_what_never_ran_is_fine() -> None:
    courier = Site([Batching(delivery=QUICK)]).courier()
    assert courier.stop(0.0)
    assert not courier.drain(0.0)
    courier.wake()


def test_a_worker_delivers_in_the_calling_thread() -> None:
    stop = threading.Event()
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)], outcomes=[])
        site.journal.register(["batching"])
        site.append("a")
        courier = site.courier(polite=False, on_outcome=lambda _: stop.set())
        threading.Timer(PATIENCE_S, stop.set).start()
        assert courier.run(stop, grace_s=PATIENCE_S)
        assert arrived(vendor) == ["a"]


class FailingJournal:
    """A memory journal whose calls fail as told: what a dying disk does to the courier."""

    def __init__(self, journal: MemoryJournal, fails: dict[str, int]) -> None:
        self._journal = journal
        self._fails = fails

    def _fail(self, name: str) -> None:
        if self._fails.get(name, 0) > 0:
            self._fails[name] -= 1
            raise JournalDown(f"{name}: the disk is away")

    def lead(self) -> Lease | None:
        self._fail("lead")
        lease = self._journal.lead()
        return None if lease is None else FailingLease(lease, self._fail)  # and the rest is passed on

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


class FailingLease:
    def __init__(self, lease: Lease, fail: Callable[[str], None]) -> None:
        self._lease = lease
        self._fail = fail

    def commit(self, tool: str, step: Commit) -> None:
        self._fail("commit")
        self._lease.commit(tool, step)

    def read(self, tool: str, max_records: int) -> Any:
        self._fail("read")
        return self._lease.read(tool, max_records)

    def sync(self) -> None:
        self._fail("sync")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lease, name)


def test_a_journal_that_fails_is_tried_again_and_counts_nothing_twice(caplog: pytest.LogCaptureFixture) -> None:
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        failing = FailingJournal(site.journal, {"lead": 2, "read": 2, "commit": 2, "sync": 1})
        with caplog.at_level(logging.ERROR), site.running(failing) as courier:
            site.append("a", "drop-1")
            assert courier.drain(PATIENCE_S)
            assert courier.stop(PATIENCE_S)
        assert arrived(vendor) == ["a"]
        assert site.counts() == {"delivered": 1, "dropped": 1}
        assert "the courier waits, as the journal failed" in caplog.text
        assert "tool batching waits, as the journal failed" in caplog.text


class OddTransport:
    """A transport of somebody else's, which raises what it should not."""

    def __init__(self, errors: list[Exception]) -> None:
        self._errors = errors

    async def send(self, order: Order, *, timeout_s: float, connect_timeout_s: float = 2.0) -> HttpReply:
        if self._errors:
            raise self._errors.pop()
        return HttpReply(200)

    async def close(self) -> None:
        raise OSError("it cannot even be closed")


def test_a_transport_that_raises_anything_is_trouble_and_not_the_end() -> None:
    errors: list[Exception] = [KeyError("x"), RuntimeError("y")]
    site = Site([Batching(delivery=QUICK)], transport=lambda: OddTransport(errors))
    with site.running() as courier:
        site.append("a")
        assert courier.drain(PATIENCE_S)
    assert site.counts() == {"delivered": 1}


class ReplyOf:
    """Answers with what is no answer: judging it fails wherever a tool or the courier looks at it."""

    def __init__(self, odd: object) -> None:
        self._odd = odd

    async def send(self, order: Order, *, timeout_s: float, connect_timeout_s: float = 2.0) -> HttpReply:
        if isinstance(order, HttpRequest) and order.url.endswith("/odd"):
            if isinstance(self._odd, BaseException):
                raise self._odd
            return self._odd  # type: ignore[return-value] # that is the point
        return HttpReply(200)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("raised", [SystemExit(1), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_a_transport_that_wants_to_end_the_process_makes_just_its_tool_stand(raised: BaseException) -> None:
    tools = [Batching("http://a.invalid/odd", id="odd", delivery=QUICK), Batching("http://a.invalid/", delivery=QUICK)]
    site = Site(tools, transport=lambda: ReplyOf(raised))
    with site.running() as courier:
        site.append("a", "b")
        until(lambda: "odd" in courier.state() and courier.state()["odd"].attempts > 1, "the tool was tried again")
        assert courier.state()["odd"].last_error.startswith(f"the transport raised {type(raised).__name__}")
        until(lambda: site.counts() == {"delivered": 2}, "the other tool has delivered")


def test_an_answer_that_cannot_be_judged_ends_its_events_and_the_lane_goes_on() -> None:
    tools = [Batching("http://a.invalid/odd", id="odd", delivery=QUICK), Batching("http://a.invalid/", delivery=QUICK)]
    site = Site(tools, transport=lambda: ReplyOf(None))
    with site.running() as courier:
        site.append("a", "b")
        assert courier.drain(PATIENCE_S)
        site.append("c")
        assert courier.drain(PATIENCE_S)
        assert site.counts("odd") == {"tool_error": 3}
        assert site.counts() == {"delivered": 3}
        assert courier.state()["odd"].in_flight == 0


def test_a_backlog_over_its_cap_is_buried_while_the_vendor_is_down_and_nobody_else_notices() -> None:
    with Vendor(503) as down, Vendor() as good:
        site = Site(
            [
                Batching(down.url, id="down", delivery=replace(QUICK, backlog_bytes=1000, max_batch_items=5)),
                Batching(good.url, id="good", delivery=QUICK),
            ],
        )
        with site.running(survey_s=0.02) as courier:
            for seq in range(100):
                site.append(f"e{seq:02}")
            until(lambda: site.counts("good") == {"delivered": 100}, "the good vendor has everything")
            until(lambda: site.counts("down").get("backlog_full", 0) > 80, "the oldest were buried")
            down.answer_with(200)
            assert courier.drain(PATIENCE_S)
        counts = site.counts("down")
        assert counts["backlog_full"] + counts["delivered"] == 100
        assert "e99" in arrived(down)


class _CountingDispatcher(JsonDispatcher):
    """Counts how often records are read."""

    reads = 0

    def events(self, record: bytes) -> Iterator[Event | Erased]:
        self.reads += 1
        return super().events(record)


@pytest.mark.parametrize("settled", [False, True], ids=["nothing settled", "something settled"])
def test_what_was_judged_before_is_recalled_and_only_that(settled: bool) -> None:
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        dispatcher = _CountingDispatcher(site.tools)
        site.journal.register(["batching"])
        site.append("a")
        if settled:
            with site.running() as before:
                assert before.drain(PATIENCE_S)
        site.append("b") if settled else site.append("a", "b")
        courier = Courier(site.journal, dispatcher, Outbound, SystemClock())
        courier.start()
        try:
            assert courier.drain(PATIENCE_S)
        finally:
            courier.stop(0.0)
        assert sorted(arrived(vendor)) == ["a", "b"]
        assert dispatcher.reads == 2, (
            "each record once: recalled when something of it is settled, else read by the lane"
        )


def test_a_large_record_is_worked_through_in_slices() -> None:
    with Vendor() as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK, per_request=500)])
        with site.running() as courier:
            site.append(*(f"drop-{seq}" for seq in range(1000)))
            assert courier.drain(PATIENCE_S)
        assert site.counts() == {"dropped": 1000}


def test_a_forked_child_can_start_its_own() -> None:
    site = Site([Batching(delivery=QUICK)])
    with site.running() as courier:
        assert courier.drain(PATIENCE_S)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # newer Pythons warn of threads, which are the point here
            child = os.fork()
        if child == 0:
            try:
                courier.start()
                os._exit(0 if courier.drain(10.0) and courier.stop(1.0) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        site.append("drop-1")
        assert courier.drain(PATIENCE_S), "the parent's goes on"


class LongMemory:
    """A shared journal whose lease has more to recall than ends; it counts what is done meanwhile."""

    durability = "journaled"

    def __init__(self, journal: MemoryJournal, recorded_ms: int) -> None:
        self._journal = journal
        self._recorded_ms = recorded_ms
        self.pages = 0
        self.tended = 0
        self.asked = 0
        self.kept: list[str] = []
        self.gone = threading.Event()

    def lead(self) -> Any:
        lease = None if self.gone.is_set() else self._journal.lead()
        return None if lease is None else _LongMemoryLease(lease, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def page(self) -> tuple[list[Entry], bytes]:
        self.pages += 1
        return [Entry(Position("x", self.pages), self._recorded_ms, 1, 1, record([f"e-{self.pages}"]))], b"on"


class _LongMemoryLease:
    def __init__(self, lease: Lease, memory: LongMemory) -> None:
        self._lease = lease
        self._memory = memory

    def recall(self, after: bytes, limit: int) -> tuple[list[Entry], bytes]:
        return self._memory.page()

    def tend(self) -> None:
        self._memory.tended += 1

    def keep(self, name: str, data: bytes | None) -> None:
        self._memory.kept.append(name)

    def lost(self) -> bool:
        self._memory.asked += 1
        return self._memory.gone.is_set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lease, name)


@pytest.mark.parametrize("age_ms", [0, 10 * WINDOW_MS], ids=["recent", "old"])
def test_chores_are_done_and_the_lease_is_watched_while_much_is_recalled(age_ms: int) -> None:
    site = Site([Batching(delivery=QUICK)])
    memory = LongMemory(site.journal, SystemClock().now_ms() - age_ms)
    with site.running(memory) as courier:
        until(lambda: memory.tended > 1 and memory.asked > 1, "it is tended, and asked whether it is lost")
        assert courier.state()["batching"].phase == "flowing"
        memory.gone.set()
        until(lambda: courier.state() == {}, "the lease is given back")
        assert courier.stop(PATIENCE_S)
    assert memory.kept == [], "what was recalled to a half is no index"
