"""The positive controls: builds that are broken on purpose. A harness that does not find every one of them is not believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.crash import cuts, marks, strace
from tests.crash.exact import Point, Yard
from tests.crash.nursery import Nursery
from tests.crash.scenario import Scenario, Vendor
from tests.crash.simulated import World
from tests.crash.tally import Tally

Look = Callable[[str, Path], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Control:
    """One broken build: what is wrong with it, and how the harness looks for it."""

    broken: str
    what: str
    look: Look


def caught(control: Control, folder: Path) -> str:
    """Return the first thing that the harness finds of a broken build; "" when it finds nothing."""
    return next(control.look(control.broken, folder), "")


def _by_kills(call: str) -> Look:
    """Look by exact kills at one call."""

    def look(broken: str, folder: Path) -> Iterator[str]:
        tally = Tally("control")
        with Yard(folder, broken=broken) as yard:
            for seed in range(1, 20):
                for when in range(1, 8):
                    found = yard.carry_out(Point(seed, "work", call, when), tally)
                    if found is not None and found.lost:
                        yield f"{len(found.lost)} acknowledged events lost by a kill at {call} {when} of seed {seed}"

    return look


def _by_power(vendor: Vendor, *, every: int = 5, **more: Any) -> Look:
    """Look by power cuts: after one of so many system calls."""

    def look(broken: str, folder: Path) -> Iterator[str]:
        with Nursery() as nursery:
            for seed in range(1, 17):
                scenario = replace(Scenario.of(seed, folder / str(seed), broken=broken), vendor=vendor, **more)
                outcome = cuts.judged(scenario, cuts.recorded(nursery, [(scenario, ())]), every=every, by_chance=1)
                yield from (_said(outcome.states, finding.lost) for finding in outcome.findings if finding.lost)

    return look


def _by_order(broken: str, _folder: Path) -> Iterator[str]:
    """Look by records that come, one after the other, into two streams while the leader looks at them."""
    world = World()
    try:
        world.lead(0)
        world.actor(0).do("break_", broken)
        for number in range(40):
            world.race("a", 1 + number % 2, 2 - number % 2)
            world.read("a", 100)
    except AssertionError as error:
        yield f"out of order: {error}"
    finally:
        world.close()


def _by_failed_syncs(broken: str, folder: Path) -> Iterator[str]:
    """Look by power cuts after a sync that failed."""
    with Nursery() as nursery:
        for when in range(1, 12):
            scenario = replace(
                Scenario.of(when, folder / str(when), broken=broken), vendor="away", clients=1, requests=8, size=200
            )
            lives = cuts.failed_sync(scenario, when)[:1]
            outcome = cuts.judged(scenario, cuts.recorded(nursery, lives), by_chance=0)
            yield from (_said(outcome.states, finding.lost) for finding in outcome.findings if finding.lost)


def _by_inside_kills(broken: str, folder: Path) -> Iterator[str]:
    """Look by kills between the steps of a leader whose vendor refuses single events for a while."""
    with Nursery() as nursery:
        for number, (seed, when) in enumerate((seed, when) for seed in range(1, 6) for when in range(4, 40, 2)):
            scenario = replace(
                Scenario.of(seed, folder / str(number), broken=broken), vendor="flaky", retain_s=86_400.0
            )
            nursery.live(scenario, strace.killing("pwrite64", when))
            nursery.live(scenario.then("drain"))
            said = marks.read(scenario.marks)
            there = {name for word, name in said if word in {"got", "buried"}}
            if lost := {name for word, name in said if word == "acked"} - there:
                yield f"{len(lost)} acknowledged events lost by a kill at pwrite64 {when} of seed {seed}"


def _said(states: int, lost: tuple[str, ...]) -> str:
    return f"{len(lost)} acknowledged events lost on one of {states} disks"


CONTROLS = (
    Control("no-sync", "nothing is synced", _by_power("away")),
    Control("answer-before-commit", "the answer comes before the commit", _by_kills("fdatasync")),
    Control("done-before-answer", "an event is done before the vendor has answered", _by_kills("sendto")),
    Control("sync-again", "a failed sync is tried again on the same file", _by_failed_syncs),
    Control("place-before-park", "a place moves past an event before it is parked", _by_inside_kills),
    Control(
        "unlink-before-sync",
        "a segment is unlinked before places are durable",
        _by_power("flaky", every=1, size=1000, segment_bytes=4096, closes=True),  # between two steps, for a moment only
    ),
    Control("no-horizon", "what came while the streams were looked at is handed out too", _by_order),
)
