"""L3 on the journal: lives are recorded, and every disk that a power cut could have left is opened by the real journal.

``python -m tests.crash.cuts SCENARIO EVERY CHANCES RECORDING…`` judges in a process of its own, and prints the outcome as JSON.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tests.crash import strace
from tests.crash.left import left
from tests.crash.nursery import Nursery
from tests.crash.power.cut import Finding, Outcome, judge, states
from tests.crash.scenario import Scenario
from tests.crash.served import ROOT, SCRATCH
from tests.crash.skewed import reboot
from tests.crash.tally import Tally


def plan(seed: int, folder: Path, *, broken: str = "") -> list[tuple[Scenario, Sequence[str]]]:
    """Return the lives of one seed: one life; one that is killed and one that takes over; or one whose syncs or writes fail."""
    chance = random.Random(seed)
    first = replace(
        Scenario.of(seed, folder, broken=broken),
        vendor=chance.choice(["good", "away", "flaky", "flaky"]),
        size=chance.choice([20, 200, 1000]),
    )
    match chance.choice(["one", "killed", "failed sync", "failed write"]):
        case "one":
            return [(first, ())]
        case "killed":
            return [(first, _inject("fdatasync:signal=KILL", chance)), (first.then("work"), ())]
        case "failed sync":
            return failed_sync(first, chance.randint(2, 12))
        case _:
            return [(first, _inject("pwrite64:error=ENOSPC", chance)), (first.then("work"), ())]


def failed_sync(first: Scenario, when: int) -> list[tuple[Scenario, Sequence[str]]]:
    """Return a life in which one sync of a thread fails, and the one after it."""
    return [(first, ("-e", f"inject=fdatasync:error=EIO:when={when}")), (first.then("work"), ())]


def _inject(what: str, chance: random.Random) -> Sequence[str]:
    return ("-e", f"inject={what}:when={chance.randint(2, 12)}")


def report(nursery: Nursery, seed: int, folder: Path, tally: Tally, *, every: int = 1, by_chance: int = 4) -> Outcome:
    """Record the lives of a seed, judge every disk, and count it."""
    lives = plan(seed, folder)
    outcome = judged(lives[-1][0], recorded(nursery, lives), every=every, by_chance=by_chance)
    tally.points += outcome.states
    tally.kills += outcome.states
    tally.acknowledged += outcome.acknowledged
    for finding in outcome.findings:
        tally.lost += len(finding.lost)
        tally.fail(f"{finding} of seed {seed} in {folder}")
    if not outcome.findings:
        shutil.rmtree(folder)
    return outcome


def recorded(nursery: Nursery, lives: Sequence[tuple[Scenario, Sequence[str]]]) -> list[Path]:
    """Record lives on one folder, one after the other; each may have something injected. Returns the recordings."""
    logs: list[Path] = []
    for scenario, inject in lives:
        log = Path(scenario.folder) / f"calls-{scenario.life}"
        log.parent.mkdir(parents=True, exist_ok=True)
        life = nursery.live(scenario, (*strace.recording(), *inject), log=log, timeout_s=60)
        if life.hung or not (life.killed or life.status == 0):
            raise RuntimeError(f"{scenario} ended with {life}: {scenario.said.read_text()[-2000:]}")
        logs.append(log)
    return logs


def judged(scenario: Scenario, recordings: Sequence[Path], *, every: int = 1, by_chance: int = 4) -> Outcome:
    """Open every disk of some recordings, in another process."""
    command = [
        sys.executable,
        "-m",
        "tests.crash.cuts",
        scenario.as_json(),
        str(every),
        str(by_chance),
        *map(str, recordings),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-4000:])
    said = json.loads(done.stdout)
    said["findings"] = tuple(Finding(**{**each, "lost": tuple(each["lost"])}) for each in said["findings"])
    return Outcome(**said)


def owed(folder: Path) -> Collection[str]:
    """Return the events that a journal would still deliver, or has buried. Opened twice, it must say the same."""
    first, again = left(folder), left(folder)
    there = first.owed | first.buried
    if missing := there - again.owed - again.buried:
        raise RuntimeError(f"opened a second time, it has lost {sorted(missing)[:3]}")
    return there


def _main(scenario: Scenario, every: int, by_chance: int, recordings: Sequence[Path]) -> None:
    reboot(scenario.life + 1)
    cuts = states(recordings, scenario.data, seed=scenario.seed, by_chance=by_chance)
    scratch = SCRATCH / f"crash-{Path(scenario.folder).name}-{scenario.seed}-{id(scenario)}"
    scratch.mkdir(parents=True)
    try:
        print(json.dumps(asdict(judge(cuts, owed, scratch, every=every))))
    finally:
        subprocess.run(["rm", "-rf", str(scratch)], check=True)


if __name__ == "__main__":
    _scenario, _every, _by_chance, *_logs = sys.argv[1:]
    _main(Scenario.from_json(_scenario), int(_every), int(_by_chance), [Path(log) for log in _logs])
