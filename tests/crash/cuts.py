"""L3 on the journal: lives are recorded, and every disk that a power cut could have left is opened by the real journal.

``python -m tests.crash.cuts SCENARIO MOST SCRATCH RECORDING…`` judges in a process of its own, and prints the outcome as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from eventmw.config import Config
from eventmw.runtime import Runtime
from eventmw.tools import Webhook
from tests.crash import strace
from tests.crash.nursery import Nursery
from tests.crash.power.cut import Finding, Outcome, judge, states
from tests.crash.scenario import Scenario
from tests.crash.served import ROOT
from tests.crash.subject import INSIDE, names

FAR_MS = 2**60
SCRATCH = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")


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


def judged(scenario: Scenario, recordings: Sequence[Path], *, most: int = 10**9, by_chance: int = 4) -> Outcome:
    """Open every disk of some recordings, in another process."""
    command = [
        sys.executable,
        "-m",
        "tests.crash.cuts",
        scenario.as_json(),
        str(most),
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
    first, again = _owed(folder), _owed(folder)
    if missing := first - again:
        raise RuntimeError(f"opened a second time, it has lost {sorted(missing)[:3]}")
    return first


def _owed(folder: Path) -> set[str]:
    runtime = Runtime(Config(tools=[Webhook(INSIDE)], data_dir=str(folder), journal="file"))
    journal = runtime.journal
    lease = journal.lead()
    assert lease is not None, "nobody else holds the lease"
    found: set[str] = set()
    while readings := lease.read("webhook", 1000):
        for reading in readings:
            in_order = names(runtime, reading.entry.record)
            found.update(name for ordinal, name in enumerate(in_order) if ordinal not in reading.settled)
    for parked in lease.due("webhook", FAR_MS, 10**6):
        found.update(names(runtime, parked.record))
    for letter in journal.dead_letters():
        found.update(names(runtime, letter.record))
    lease.close()
    journal.close()
    return found


def _main(scenario: Scenario, most: int, by_chance: int, recordings: Sequence[Path]) -> None:
    cuts = states(recordings, scenario.data, seed=scenario.seed, by_chance=by_chance)
    scratch = SCRATCH / f"crash-{Path(scenario.folder).name}-{scenario.seed}-{id(scenario)}"
    scratch.mkdir(parents=True)
    try:
        print(json.dumps(asdict(judge(cuts, owed, scratch, most=most))))
    finally:
        subprocess.run(["rm", "-rf", str(scratch)], check=True)


if __name__ == "__main__":
    _scenario, _most, _by_chance, *_logs = sys.argv[1:]
    _main(Scenario.from_json(_scenario), int(_most), int(_by_chance), [Path(log) for log in _logs])
