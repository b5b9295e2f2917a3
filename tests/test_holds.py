"""Code of a tool that keeps the courier's thread: told, interrupted, switched off; and nothing of it lost."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from eventmw.clock import SystemClock
from eventmw.contract import Consumer, consumer
from eventmw.delivery.holds import LONG_S, WATCH, Hold, Stepped, Watch, What
from eventmw.delivery.transport import BEHALF
from eventmw.delivery.watchdog import INTERRUPT_AFTER, TELL_AFTER, THREAD_NAME, where
from eventmw.effects import Effect, Packed, Send, Verdict
from eventmw.errors import TookTooLong
from eventmw.event import Event
from eventmw.http import HttpReply
from eventmw.journal import Commit, Key, Parked
from eventmw.journal.memory import MemoryJournal
from eventmw.outcome import Outcome
from eventmw.vendor import Vendor
from tests.delivering import Batching, append, record
from tests.running import ROOT
from tests.test_courier import PATIENCE_S, QUICK, Site, until

LOOK_S = 0.02
"""So that a watchdog interrupts within a second."""


def spin() -> None:
    """Never end, whatever is caught on the way."""
    while True:
        try:
            spin.__name__  # noqa: B018 - a step of Python
        except Exception:
            continue


def sleep() -> None:
    time.sleep(2 * LONG_S)


def compute() -> None:
    until_s = time.thread_time() + 2 * LONG_S
    while time.thread_time() < until_s:
        pass


@pytest.mark.parametrize(("work", "how"), [(sleep, "waited"), (compute, "computed")])
def test_a_long_stretch_is_told_once_with_what_to_do(
    work: Callable[[], None], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(look_s=None)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with watch.holding("crm", "handle"):
                work()
        with watch.holding("crm", "verdict"):
            work()
    first, second = caplog.messages
    assert re.match(r"handle of tool crm kept all deliveries of this process waiting for \d+\.\d+ s", first)
    assert f"in which it {how}: handle only says" in first
    assert second.startswith("verdict of tool crm")


def test_what_is_short_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(look_s=None)
    with caplog.at_level(logging.WARNING), watch.holding("crm", "handle"):
        pass
    assert caplog.messages == []


def test_a_process_that_keeps_the_interpreter_busy_blames_no_tool() -> None:
    """A thread that waits for the interpreter's lock looks for it every 5 ms, so it sleeps many times, not once."""
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            sum(range(1000))

    def judged() -> str:
        watch = Watch(look_s=None)
        with watch.holding("crm", "handle") as hold:
            began_s, cpu_s = time.monotonic(), time.thread_time()
            while time.monotonic() - began_s < 3 * LONG_S and time.thread_time() - cpu_s < LONG_S / 2:
                sum(range(1000))
            return watch.how(time.perf_counter_ns() - hold._since_ns)

    threads = [threading.Thread(target=busy) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        # Thrice: a machine without a free core looks for the lock less often.
        assert any(judged() != "waited" for _ in range(3))
    finally:
        over.set()
        for thread in threads:
            thread.join()


def hanging(kind: What, work: Callable[[], None]) -> tuple[Watch, BaseException | None]:
    """Have a fresh thread work and hang: CPython 3.11 cannot interrupt one that was ever refused a thread, as tests are."""

    def hang() -> tuple[Watch, BaseException | None]:
        watch = Watch(look_s=LOOK_S)
        try:
            with watch.holding("crm", kind):
                work()
        except TookTooLong as error:
            return watch, error
        finally:
            watch.stop()
        return watch, None

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(hang).result()


def test_an_endless_loop_is_told_interrupted_and_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        watch, error = hanging("handle", spin)
    assert error is not None
    assert list(watch.off) == ["crm"]
    assert watch.off["crm"].startswith(f"its handle did not end within {INTERRUPT_AFTER * LOOK_S:g} s")
    assert f"handle of tool crm has not come back for {TELL_AFTER * LOOK_S:g} s" in caplog.text
    assert "test_holds.py" in caplog.text
    assert "in spin" in caplog.text


def test_a_call_that_waits_in_c_is_switched_off_when_it_returns() -> None:
    watch, error = hanging("handle", lambda: time.sleep((INTERRUPT_AFTER + 10) * LOOK_S))
    assert error is not None
    assert "crm" in watch.off


def test_what_comes_back_in_time_is_not_hit_by_what_was_meant_for_it() -> None:
    """The interruption is set, and the code returns before Python raises it."""
    watch = Watch(look_s=None)
    with watch.holding("crm", "handle") as hold:
        hold.hit_s = 30.0
    for _ in range(1000):
        spin.__name__  # noqa: B018 - a step of Python
    assert watch.hold is None
    assert "crm" in watch.off


FORGIVEN = """
import sys
from eventmw.delivery.holds import Watch
from tests.threadless import without_threads
if sys.argv[1] == "refused":
    with without_threads():
        try:
            __import__("threading").Thread(target=print).start()
        except RuntimeError:
            pass
watch = Watch(look_s=None)
with watch.holding("crm", "handle") as hold:
    hold.hit_s = 30.0
__import__("time").sleep(0.2)
sys.setprofile(lambda *_: None)
print(sorted([3, 1, 2], key=lambda one: one))
"""


@pytest.mark.parametrize("how", ["plain", "refused"])
def test_after_an_interruption_a_process_can_be_traced(how: str) -> None:
    """CPython 3.11 went round and round in its first step under a tracer."""
    ran = subprocess.run(
        [sys.executable, "-c", FORGIVEN, how], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout == "[1, 2, 3]\n"


def test_the_watchdog_is_there_while_there_is_something_to_watch() -> None:
    def dogs() -> int:
        return sum(thread.name == THREAD_NAME and thread.is_alive() for thread in threading.enumerate())

    until(lambda: dogs() == 0, "those of other tests ended")
    watch = Watch(look_s=0.001)
    assert dogs() == 0
    with watch.holding("crm", "handle"):
        assert dogs() == 1
    until(lambda: dogs() == 0, "after a quiet while it ends by itself")
    with watch.holding("crm", "handle"):
        assert dogs() == 1, "and comes again"
    watch.stop()
    until(lambda: dogs() == 0, "it was stopped")
    with watch.holding("crm", "handle"):
        assert dogs() == 0, "for good"


def test_a_place_names_the_owners_line_and_the_innermost() -> None:
    assert where(None) == ""

    def frame(file: str, line: int, name: str, back: Any) -> Any:
        return SimpleNamespace(f_code=SimpleNamespace(co_filename=file, co_name=name), f_lineno=line, f_back=back)

    own = frame(str(Hold.begin.__code__.co_filename), 1, "ours", None)
    theirs = frame("/site/crm.py", 12, "push", own)
    assert where(theirs) == "crm.py:12 in push"
    assert where(frame("/lib/socket.py", 707, "readinto", theirs)) == "crm.py:12 in push (socket.py:707 in readinto)"
    assert where(own) == "holds.py:1 in ours"


# ── awaiting step by step


def awaiting(work: Callable[[], Awaitable[Any]], watch: Watch | None = None) -> Any:
    async def main() -> Any:
        own = watch or Watch(look_s=None)
        return await Stepped(work(), lambda: own.holding("crm", "the async consumer"))

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main())


def test_a_stepped_coroutine_does_what_it_does_without() -> None:
    async def work() -> list[object]:
        seen: list[object] = [await asyncio.sleep(0.001, "slept")]
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append("timed out")
        seen.append(await asyncio.create_task(asyncio.sleep(0, "task")))
        return seen

    assert awaiting(work) == ["slept", "timed out", "task"]


def test_what_a_stepped_coroutine_raises_comes_out() -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        awaiting(work)


def test_a_coroutine_that_blocks_the_loop_is_told_and_one_that_awaits_is_not(caplog: pytest.LogCaptureFixture) -> None:
    async def blocks() -> None:
        await asyncio.sleep(0)
        sleep()

    with caplog.at_level(logging.WARNING):
        awaiting(lambda: asyncio.sleep(2 * LONG_S))
        assert caplog.messages == []
        awaiting(blocks)
    assert "the async consumer of tool crm kept all deliveries" in caplog.text
    assert "made a plain def, it runs in a thread of its own" in caplog.text


# ── the whole courier


@dataclass(frozen=True, slots=True)
class Misbehaving(Batching):
    """Does something odd in one of its parts, once it gets an event named ``odd``."""

    where: str = "handle"
    what: Callable[[], None] = spin

    def handle(self, event: Event) -> Iterable[Effect]:
        if event.name == "odd" and self.where == "handle":
            self.what()
        return Batching.handle(self, event)

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
        if any("odd" in item.payload for item in items) and self.where == "pack":
            self.what()
        return Batching.pack(self, items)

    def verdict(self, reply: HttpReply, items: Sequence[Send]) -> Sequence[Verdict]:
        if any("odd" in item.payload for item in items) and self.where == "verdict":
            self.what()
        return Batching.verdict(self, reply, items)


@dataclass
class Telling:
    """An ``on_outcome`` that does something odd, once."""

    what: Callable[[], None]
    told: list[Outcome] = field(default_factory=list)

    def __call__(self, outcome: Outcome) -> None:
        self.told.append(outcome)
        if len(self.told) == 1:
            self.what()


@pytest.mark.parametrize("part", ["handle", "pack", "verdict"])
def test_a_tool_that_never_comes_back_is_switched_off_and_the_others_deliver(
    part: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Vendor() as vendor, caplog.at_level(logging.ERROR):
        site = Site(
            [Misbehaving(vendor.url, id="odd", where=part, delivery=QUICK), Batching(vendor.url, delivery=QUICK)]
        )
        with site.running(look_s=LOOK_S) as courier:
            site.append("odd-1", "a")
            until(lambda: site.counts() == {"delivered": 2}, "the other tool has delivered")
            until(lambda: courier.state()["odd"].phase == "off", "it is switched off")
            site.append("b")
            until(lambda: site.counts() == {"delivered": 3}, "the other tool goes on")
            assert courier.state()["odd"].last_error.startswith(f"its {part} did not end within")
            assert not courier.drain(0.05), "and what the tool did not get is not forgotten"
            stats = next(stats for stats in site.journal.stats().tools if stats.tool == "odd")
            assert stats.backlog_events + stats.dead + site.counts("odd").get("delivered", 0) == 3
        assert "tool odd is switched off, and its events wait in the journal" in caplog.text
        with site.running() as again:
            again_state = again.state
            until(lambda: again_state() and again_state()["odd"].phase == "flowing", "a new start tries it again")


def consuming(body: Callable[[], None]) -> Consumer:
    async def push(event: Event) -> None:
        await asyncio.sleep(0)
        if event.name == "odd":
            body()

    return consumer("odd", delivery=QUICK)(push)


def test_an_async_consumer_that_never_comes_back_is_switched_off_and_keeps_its_event() -> None:
    with Vendor() as vendor:
        site = Site([consuming(spin), Batching(vendor.url, delivery=QUICK)])
        with site.running(look_s=LOOK_S) as courier:
            site.append("odd-1")
            until(lambda: courier.state().get("odd") and courier.state()["odd"].phase == "off", "it is switched off")
            site.append("a")
            until(lambda: site.counts() == {"delivered": 2}, "the other tool goes on")
            stats = next(stats for stats in site.journal.stats().tools if stats.tool == "odd")
            assert stats.backlog_events == 2


def test_an_on_outcome_that_never_comes_back_is_not_called_any_more(caplog: pytest.LogCaptureFixture) -> None:
    telling = Telling(spin)
    with Vendor() as vendor, caplog.at_level(logging.ERROR):
        site = Site([Batching(vendor.url, delivery=QUICK)])
        with site.running(look_s=LOOK_S, on_outcome=telling) as courier:
            site.append("a")
            until(lambda: site.counts() == {"delivered": 1}, "it is delivered")
            site.append("b", "c")
            assert courier.drain(PATIENCE_S)
        assert site.counts() == {"delivered": 3}
        assert len(telling.told) == 1
        assert "on_outcome did not come back; nothing is told to it until the process starts anew" in caplog.text


@pytest.mark.parametrize("part", ["handle", "pack", "verdict", "the async consumer", "on_outcome"])
def test_a_tool_that_blocks_is_told_once_and_delivers(part: str, caplog: pytest.LogCaptureFixture) -> None:
    with Vendor() as vendor, caplog.at_level(logging.WARNING):
        odd: Any = Misbehaving(vendor.url, id="odd", where=part, what=sleep, delivery=QUICK)
        tools = [consuming(sleep) if part == "the async consumer" else odd]
        site = Site(tools)
        options = {"on_outcome": Telling(sleep)} if part == "on_outcome" else {}
        with site.running(**options) as courier:
            site.append("odd-1", "odd-2", "a")
            assert courier.drain(PATIENCE_S)
        assert site.counts("odd") == {"delivered": 3}
    told = [message for message in caplog.messages if "kept all deliveries of this process waiting" in message]
    assert len(told) == 1
    assert told[0].startswith(part)


def test_a_tool_that_blocks_lets_the_others_go_on_between_its_events() -> None:
    """The pause of each event uses no slice up, so 30 of them would be one stretch."""
    order: list[str] = []

    def slow(event: Event) -> Iterator[Send]:
        order.append("slow")
        time.sleep(0.03)
        yield Send(event.id)

    with Vendor() as vendor:
        tool = Misbehaving(vendor.url, id="a-slow", delivery=QUICK)
        slow_tool = SlowTool(vendor.url, id="a-slow", handling=slow, delivery=tool.delivery)
        site = Site([slow_tool, Batching(vendor.url, id="quick", delivery=QUICK)])
        with site.running(on_outcome=lambda outcome: order.append(outcome.tool)) as courier:
            site.append(*(f"e-{seq}" for seq in range(30)))
            assert courier.drain(PATIENCE_S)
    assert order.index("quick") < 29, "the other tool did not wait for all of them"


@dataclass
class HangingDisk:
    """A memory journal whose lease hangs in one of its methods, once: a disk that does not answer for a while."""

    journal: MemoryJournal
    method: str
    hangs_s: float
    hung: int = 0

    def lead(self) -> Any:
        lease = self.journal.lead()
        return None if lease is None else _HangingLease(lease, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)


@dataclass
class _HangingLease:
    lease: Any
    disk: HangingDisk

    def __getattr__(self, name: str) -> Any:
        if name == self.disk.method and not self.disk.hung:
            self.disk.hung += 1
            time.sleep(self.disk.hangs_s)
        return getattr(self.lease, name)


@pytest.mark.parametrize("method", ["read", "dirty", "next_due_ms", "due", "settled"])
def test_a_disk_that_hangs_blames_no_tool(method: str, caplog: pytest.LogCaptureFixture) -> None:
    with Vendor() as vendor, caplog.at_level(logging.WARNING):
        site = Site([Batching(vendor.url, delivery=QUICK)])
        site.journal.register(["batching"])
        site.append("a")
        site.append("a", "b")
        park(site.journal, "p")
        disk = HangingDisk(site.journal, method, (INTERRUPT_AFTER + 10) * LOOK_S)
        with site.running(disk, look_s=LOOK_S) as courier:
            assert courier.drain(PATIENCE_S)
            assert courier.state()["batching"].phase == "flowing"
        assert disk.hung == 1
        assert site.counts() == {"delivered": 3, "duplicate": 1}
    assert caplog.messages == []


def park(journal: MemoryJournal, *ids: str) -> None:
    """Have events parked that are due."""
    append(journal, ids, SystemClock().now_ms())
    [*_, entry] = journal.scan()
    keys = [Key(entry.position, ordinal) for ordinal in range(len(ids))]
    lease = journal.lead()
    assert lease is not None
    copies = (record([ident], entry.recorded_ms) for ident in ids)
    for tool in journal.stats().tools:
        lease.commit(tool.tool, Commit(park=[Parked(*both, 1, 1, "") for both in zip(keys, copies, strict=True)]))
    lease.close()


@pytest.mark.parametrize("parked", [(), ("odd-4", "odd-5")])
def test_a_tool_that_never_comes_back_is_waited_for_once(parked: Sequence[str]) -> None:
    """Each would take as long as the first. What the tool is not shown is not ended either, parked or not."""
    with Vendor() as vendor:
        site = Site([Misbehaving(vendor.url, id="odd", delivery=QUICK)])
        site.journal.register(["odd"])
        if parked:
            park(site.journal, *parked)
        with site.running(look_s=LOOK_S) as courier:
            site.append("odd-1", "odd-2", "odd-3")
            until(lambda: courier.state().get("odd") and courier.state()["odd"].phase == "off", "it is switched off")
            until(lambda: site.counts("odd"), "what it had is committed")
        assert site.counts("odd") == {"tool_error": 1}


@dataclass(frozen=True, slots=True)
class SlowTool(Batching):
    handling: Callable[[Event], Iterator[Send]] = lambda event: iter(())

    def handle(self, event: Event) -> Iterable[Effect]:
        return self.handling(event)


def test_a_backlog_over_its_cap_ends_without_the_tool_that_is_off() -> None:
    with Vendor() as vendor:
        rules = Batching(delivery=QUICK).delivery
        site = Site([Misbehaving(vendor.url, id="odd", delivery=type(rules)(backlog_bytes=1000, max_batch_items=5))])
        with site.running(look_s=LOOK_S, survey_s=0.02) as courier:
            site.append("odd-1")
            until(lambda: courier.state().get("odd") and courier.state()["odd"].phase == "off", "it is switched off")
            for seq in range(100):
                site.append(f"e{seq:02}")
            until(lambda: site.counts("odd").get("backlog_full", 0) > 80, "its oldest events are dead letters")
            assert vendor.arrivals == []


def test_a_task_knows_what_watches_it() -> None:
    assert WATCH.get().off == {}
    assert BEHALF.get() == ""
