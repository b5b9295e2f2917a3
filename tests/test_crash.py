"""A sample of every level of the crash harness, and its positive controls. ``python -m benchmarks crash`` runs all of it.

What needs strace says so where it is missing; the rest runs anywhere.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.crash import controls, cuts, faults, full, havoc, simulated, strace, walks
from tests.crash.actor import TOOLS
from tests.crash.driver import Driver
from tests.crash.exact import Yard
from tests.crash.nursery import Nursery
from tests.crash.proxy import Proxy
from tests.crash.served import KINDS
from tests.crash.sink import Sink
from tests.crash.stage import Play, staged
from tests.crash.tally import Tally

needs_strace = pytest.mark.skipif(bool(strace.missing()), reason=strace.missing() or "strace is there")


def in_pairs(*jobs: Callable[[], None]) -> None:
    """Do two jobs at once: most of their time is waiting."""
    failed: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def told(tally: Tally) -> str:
    return "\n".join([tally.line(), *tally.failures])


# L0


@pytest.mark.parametrize("seed", range(8))
def test_a_walk_through_a_world_of_journals(seed: int) -> None:
    world = walks.walk(seed)
    assert world.steps > walks.STEPS


class Steps(RuleBasedStateMachine):
    """The same world; here Hypothesis chooses the steps, and finds the shortest walk that fails."""

    def __init__(self) -> None:
        super().__init__()
        self.world = simulated.World()

    numbers = st.integers(0, simulated.ACTORS - 1)
    tools = st.sampled_from(TOOLS)
    fates = st.lists(st.sampled_from(walks.FATES), max_size=6)

    @rule(number=numbers, events=st.integers(1, 4), size=st.sampled_from([10, 3000]))
    def append(self, number: int, events: int, size: int) -> None:
        self.world.append(number, events, size)

    @rule(number=numbers)
    def lead_and_read(self, number: int) -> None:
        if self.world.leader is None:
            self.world.lead(number)
        for tool in TOOLS:
            self.world.read(tool, 100)

    @rule(tool=tools, fates=fates)
    def settle(self, tool: str, fates: list[str]) -> None:
        self.world.settle(tool, fates)

    @rule(tool=tools, fates=fates)
    def unpark(self, tool: str, fates: list[str]) -> None:
        self.world.unpark(tool, fates)

    @rule(number=numbers)
    def kill(self, number: int) -> None:
        self.world.kill(number)

    @rule()
    def chores(self) -> None:
        self.world.chores()

    @rule(number=numbers)
    def look(self, number: int) -> None:
        self.world.look(number)

    def teardown(self) -> None:
        try:
            self.world.end()
        finally:
            self.world.close()


TestSteps: Any = Steps.TestCase
TestSteps.settings = settings(max_examples=10, stateful_step_count=25, suppress_health_check=list(HealthCheck))


# L1


@needs_strace
def test_a_kill_at_any_call_loses_nothing(tmp_path: Path) -> None:
    tallies = [Tally("L1"), Tally("L1")]

    def job(number: int) -> Callable[[], None]:
        def run() -> None:
            with Yard(tmp_path / str(number)) as yard:
                for seed in range(1 + 5 * number, 6 + 5 * number):
                    for point in yard.points(seed)[:10]:
                        yard.carry_out(point, tallies[number])

        return run

    in_pairs(job(0), job(1))
    for tally in tallies:
        assert tally.sound, told(tally)
        assert tally.points == 50
        assert tally.kills > 50
        assert tally.acknowledged > 50


# L2


def test_workers_that_are_killed_under_load_lose_nothing(tmp_path: Path) -> None:
    tallies = [Tally("L2"), Tally("L2")]
    casts = [Play(kind="prefork-2", seed=1, ordered=True), Play(kind="gunicorn-preload-2", seed=2, events=3)]

    def job(number: int) -> Callable[[], None]:
        return lambda: _ignore(havoc.report(casts[number], tmp_path / str(number), tallies[number], hurts=8))

    in_pairs(job(0), job(1))
    for tally in tallies:
        assert tally.sound, told(tally)
        assert tally.kills > 3
        assert tally.acknowledged > 50


def _ignore(_: object) -> None:
    """Make a statement of an expression."""


def test_nothing_is_lost_and_nothing_comes_twice_when_nobody_is_hurt(tmp_path: Path) -> None:
    with staged(Play(journal="memory", kind="prefork-2"), tmp_path / "x") as stage:
        with stage.driver as driver:
            driver.wait_for(50)
        assert stage.has_settled()
        stage.server.stop()
        found = stage.audited([])
    assert found.sound, found.faults()
    assert found.acknowledged >= 50
    assert (found.unknown, found.duplicates) == (0, 0)


def test_the_harness_finds_what_a_journal_in_memory_loses(tmp_path: Path) -> None:
    cast = Play(journal="memory", kind="uvicorn-1")
    with staged(cast, tmp_path / "x") as stage:
        stage.sink.moods("v", [503] * 1000)
        with stage.driver as driver:
            driver.wait_for(20)
            found = list(havoc._kill(stage.server.workers()))
        assert not stage.has_settled(1.0)
        assert len(stage.audited([hurt.at for hurt in found]).lost) > 0


# L3


@needs_strace
def test_a_power_cut_at_any_call_loses_nothing(tmp_path: Path) -> None:
    tallies = [Tally("L3"), Tally("L3")]

    def job(number: int) -> Callable[[], None]:
        def run() -> None:
            with Nursery() as nursery:
                for seed in range(1 + 4 * number, 5 + 4 * number):
                    cuts.report(nursery, seed, tmp_path / str(seed), tallies[number], every=6, by_chance=2)

        return run

    in_pairs(job(0), job(1))
    for tally in tallies:
        assert tally.sound, told(tally)
    assert sum(tally.points for tally in tallies) > 1200


# L4


@needs_strace
def test_calls_that_fail_make_no_false_acknowledgement(tmp_path: Path) -> None:
    tally = Tally("L4")
    with Yard(tmp_path) as yard:
        for seed in (1, 2):
            for fault in faults.faults(yard, seed)[:: 40 // seed]:
                faults.carry_out(yard, fault, tally)
    assert tally.sound, told(tally)
    assert tally.points > 5


def test_a_bad_network_loses_nothing(tmp_path: Path) -> None:
    tally = Tally("L4")
    havoc.report(Play(seed=3, bad_network=True), tmp_path / "x", tally, hurts=2)
    assert tally.sound, told(tally)


@pytest.mark.parametrize("kind", full.FILE_SYSTEMS[:1])
def test_a_full_disk_stops_the_door_and_nothing_else(kind: str, tmp_path: Path) -> None:
    if why := full.missing(kind):
        pytest.skip(why)
    tally = Tally("L4")
    full.report(kind, tmp_path / "x", tally)
    assert tally.sound, told(tally)


# L5


def test_a_wall_clock_that_jumps_loses_nothing(tmp_path: Path) -> None:
    tally = Tally("L5")
    havoc.report(Play(seed=4, fake_clock=True, ordered=True), tmp_path / "x", tally, hurts=4)
    assert tally.sound, told(tally)


# The controls


@needs_strace
@pytest.mark.parametrize("control", controls.CONTROLS, ids=[control.broken for control in controls.CONTROLS])
def test_a_build_that_is_broken_on_purpose_is_found(control: controls.Control, tmp_path: Path) -> None:
    assert controls.caught(control, tmp_path / "x"), f"the harness did not notice that {control.what}"


def test_a_slow_look_by_the_rule_is_in_order(tmp_path: Path) -> None:
    """So that what finds the rule missing does not find the slowness that makes it show."""
    [control] = [control for control in controls.CONTROLS if control.broken == "no-horizon"]
    assert not list(control.look("slow-horizon", tmp_path))


# The pieces


def test_the_proxy_carries_breaks_and_says_so(tmp_path: Path) -> None:
    """The harness's own network: the driver has no ids to ask for at the sink, so the sink's answers are what is seen."""
    from http.client import HTTPConnection, HTTPException

    whole, broken = 0, 0
    with Sink() as sink, Proxy(sink.port, 7) as proxy:
        for _ in range(60):
            connection = HTTPConnection("127.0.0.1", proxy.port, timeout=5)
            try:
                for _ in range(5):
                    connection.request("POST", "/x", b'{"events":[]}')
                    whole += connection.getresponse().status == 200
            except (OSError, HTTPException):
                broken += 1
            connection.close()
    assert whole > 40
    assert broken > 10
    assert 0 < len(proxy.breaks) <= broken


def test_the_sink_answers_as_it_is_told() -> None:
    from http.client import HTTPConnection

    with Sink() as sink:
        sink.moods("x", [500, 429, "slow:0.01"])
        connection = HTTPConnection("127.0.0.1", sink.port, timeout=5)
        event = {"id": "k", "properties": {"who": "1.1"}}
        said: list[int] = []
        for _ in range(4):
            import json

            connection.request("POST", "/x", json.dumps({"events": [event]}))
            answer = connection.getresponse()
            answer.read()
            said.append(answer.status)
        connection.close()
        assert said == [500, 429, 200, 200]
        assert sink.count("x") == 4
        found = sink.arrivals("x")
        assert [arrival.answered for arrival in found] == [False, False, True, True]
        assert {(arrival.who, arrival.key, arrival.sound) for arrival in found} == {("1.1", "k", False)}
        assert sink.count("x") == 0


def test_a_driver_without_a_server_knows_nothing(tmp_path: Path) -> None:
    with Sink() as nobody:
        port = nobody.port
    with Driver(port, tmp_path / "log", clients=2) as driver:
        threading.Event().wait(0.3)
    assert set(driver.fates().values()) == {"unknown"}


def test_every_server_of_the_campaign_is_of_a_kind() -> None:
    assert all(name == kind.name for name, kind in KINDS.items())
    assert len(list(itertools.chain(KINDS))) >= 6
