"""The crash campaign: ``python -m benchmarks crash``: every level of the harness, and one line of what came of it.

Each level runs until it has so many points or so many seconds are over. What fails is printed with what to do to see it
again, and its folder is kept. ``docs/crash.md`` says what each level does.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.machine import describe
from tests.crash import controls, cuts, faults, full, havoc, strace, walks
from tests.crash.exact import Yard
from tests.crash.nursery import Nursery
from tests.crash.served import KINDS, SCRATCH
from tests.crash.stage import Play
from tests.crash.tally import Tally, added

_HURTS: Final = 20
_TELL_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """How far a level goes. ``folder``: where it works; ``seed``: where it begins."""

    points: int
    seconds: float
    jobs: int
    folder: Path
    seed: int


@dataclass(slots=True)
class Budget:
    """What is left of a level's points and seconds, shared by its jobs; and the seeds that they take in turn."""

    campaign: Campaign
    seeds: Iterator[int]
    until: float

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.seeds = itertools.count(campaign.seed)
        self.until = time.monotonic() + campaign.seconds

    def lasts(self, tallies: list[Tally], *, kills: bool = False) -> bool:
        """Return whether there is more to do."""
        done = sum(tally.kills if kills else tally.points for tally in tallies)
        return done < self.campaign.points and time.monotonic() < self.until


Job = Callable[[Budget, Tally, list[Tally], Path], None]


def _l0(budget: Budget, tally: Tally, tallies: list[Tally], _folder: Path) -> None:
    while budget.lasts(tallies):
        walks.report(next(budget.seeds), tally)


def _l1(budget: Budget, tally: Tally, tallies: list[Tally], folder: Path) -> None:
    with Yard(folder) as yard:
        while budget.lasts(tallies):
            for point in yard.points(next(budget.seeds)):
                if not budget.lasts(tallies):
                    return
                yard.carry_out(point, tally)


def _l2(budget: Budget, tally: Tally, tallies: list[Tally], folder: Path) -> None:
    kinds = list(KINDS)
    while budget.lasts(tallies, kills=True):
        seed = next(budget.seeds)
        # Every other round is by the server whose workers are back within milliseconds.
        kind = kinds[seed // 2 % len(kinds)] if seed % 2 else "prefork-2"
        cast = Play(kind=kind, seed=seed, ordered=seed % 3 == 0, events=1 + seed % 4)
        havoc.report(cast, folder / str(seed), tally, hurts=_HURTS, pace_s=0.3 if kind.startswith("prefork") else 0.8)


def _l3(budget: Budget, tally: Tally, tallies: list[Tally], folder: Path) -> None:
    with Nursery() as nursery:
        while budget.lasts(tallies):
            seed = next(budget.seeds)
            cuts.report(nursery, seed, folder / str(seed), tally)


def _l4(budget: Budget, tally: Tally, tallies: list[Tally], folder: Path) -> None:
    with Yard(folder) as yard:
        while budget.lasts(tallies):
            seed = next(budget.seeds)
            if seed % 8 == budget.campaign.seed % 8:
                havoc.report(Play(seed=seed, bad_network=True), folder / f"n{seed}", tally, hurts=5)
            for fault in faults.faults(yard, seed):
                if not budget.lasts(tallies):
                    return
                faults.carry_out(yard, fault, tally)


def _l4_full(campaign: Campaign, tally: Tally) -> None:
    """Fill real file systems; once, as it takes a minute."""
    for kind in full.FILE_SYSTEMS:
        if why := full.missing(kind):
            print(f"L4: no full {kind}: {why}", flush=True)
        else:
            full.report(kind, campaign.folder / f"full-{kind}", tally)


def _l5(budget: Budget, tally: Tally, tallies: list[Tally], folder: Path) -> None:
    while budget.lasts(tallies):
        seed = next(budget.seeds)
        havoc.report(Play(seed=seed, fake_clock=True, ordered=seed % 2 == 0), folder / str(seed), tally, hurts=30)


LEVELS: Final[Mapping[str, tuple[Job, int]]] = {
    "L0": (_l0, 20_000),
    "L1": (_l1, 10_000),
    "L2": (_l2, 2_000),
    "L3": (_l3, 20_000),
    "L4": (_l4, 2_000),
    "L5": (_l5, 300),
}
"""Each level, and how many points (L2: kills) it goes for unless it is told."""


def run(name: str, campaign: Campaign) -> Tally:
    """Run a level in several jobs, and return what came of it."""
    job, _ = LEVELS[name]
    budget = Budget(campaign)
    tallies = [Tally(name) for _ in range(campaign.jobs)]
    folders = [campaign.folder / f"{name}-{number}" for number in range(campaign.jobs)]
    threads = [
        threading.Thread(target=_guarded, args=(job, budget, tally, tallies, folder))
        for tally, folder in zip(tallies, folders, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(_TELL_S)
            print(f"… {added(name, tallies).line()}", file=sys.stderr, flush=True)
    total = added(name, tallies)
    if name == "L4":
        _l4_full(campaign, total)
    return total


def _guarded(job: Job, budget: Budget, tally: Tally, tallies: list[Tally], folder: Path) -> None:
    """Have a job that cannot go on say so in its tally."""
    folder.mkdir(parents=True)
    try:
        job(budget, tally, tallies, folder)
    except Exception as error:
        tally.fail(f"the harness stopped: {type(error).__name__}: {error}")


class _Folders:
    """Where levels work. What is killed by itself does so in memory: it need not wait for a disk, nor wear one out."""

    def __init__(self, given: Path | None) -> None:
        self._given = given
        self._made: list[Path] = []

    def of(self, level: str) -> Path:
        """Return a folder for a level."""
        if self._given is not None:
            return self._given / level
        served = level in {"L2", "L5"}
        self._made.append(Path(tempfile.mkdtemp(prefix=f"eventmw-{level}-", dir=None if served else SCRATCH)))
        return self._made[-1]

    def remove(self) -> None:
        """Remove what was made."""
        for folder in self._made:
            shutil.rmtree(folder, ignore_errors=True)


def _controls(folder: Path) -> bool:
    """Look for each broken build; returns whether all were caught."""
    found = {control.broken: controls.caught(control, folder / control.broken) for control in controls.CONTROLS}
    for control in controls.CONTROLS:
        print(f"  {control.what}: {found[control.broken] or 'NOT CAUGHT'}")
    print(f"controls: {sum(map(bool, found.values()))} of {len(found)} caught", flush=True)
    return all(found.values())


def main(arguments: list[str]) -> int:
    """Run the campaign and print it; 1 when a promise was not kept or a control was not caught, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks crash", description=__doc__)
    parser.add_argument(
        "--level", action="append", choices=[*LEVELS, "controls"], help="only this one; may be repeated"
    )
    parser.add_argument(
        "--points", type=int, help="points (L2: kills; L3: disks) of each level; each has its own number"
    )
    parser.add_argument("--seconds", type=float, default=1500.0, help="the most that each level takes (1500)")
    parser.add_argument("--jobs", type=int, default=2, help="how many are carried out at once (2)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument(
        "--folder", type=Path, help="where to work; what failed stays there (kills: memory, servers: disk)"
    )
    chosen = parser.parse_args(arguments)
    if why := strace.missing():
        parser.error(why)
    print("\n".join(f"{key}: {value}" for key, value in describe().items()), flush=True)
    folders = _Folders(chosen.folder)
    sound, tallies = True, list[Tally]()
    for name in chosen.level or [*LEVELS, "controls"]:
        if name == "controls":
            sound &= _controls(folders.of(name))
            continue
        points = chosen.points or LEVELS[name][1]
        where = folders.of(name)
        tally = run(
            name, Campaign(points=points, seconds=chosen.seconds, jobs=chosen.jobs, folder=where, seed=chosen.seed)
        )
        print(tally.line(), *(f"\n  {failure}" for failure in tally.failures), flush=True)
        tallies.append(tally)
    if len(tallies) > 1:
        print(added("all levels", tallies).line())
    if sound := sound and all(tally.sound for tally in tallies):
        folders.remove()
    return 0 if sound else 1
