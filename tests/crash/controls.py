"""The positive controls: builds that are broken on purpose. A harness that does not find every one of them is not believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.crash import cuts
from tests.crash.exact import Point, Yard
from tests.crash.nursery import Nursery
from tests.crash.scenario import Scenario
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


def _by_power(broken: str, folder: Path) -> Iterator[str]:
    """Look by power cuts."""
    with Nursery() as nursery:
        for seed in range(1, 6):
            scenario = replace(Scenario.of(seed, folder / str(seed), broken=broken), vendor="away")
            outcome = cuts.judged(scenario, cuts.recorded(nursery, [(scenario, ())]), most=300)
            yield from (_said(outcome.states, finding.lost) for finding in outcome.findings if finding.lost)


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


def _said(states: int, lost: tuple[str, ...]) -> str:
    return f"{len(lost)} acknowledged events lost on one of {states} disks"


CONTROLS = (
    Control("no-sync", "nothing is synced", _by_power),
    Control("answer-before-commit", "the answer comes before the commit", _by_kills("fdatasync")),
    Control("done-before-answer", "an event is done before the vendor has answered", _by_kills("sendto")),
    Control("sync-again", "a failed sync is tried again on the same file", _by_failed_syncs),
)
