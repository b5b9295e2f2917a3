"""L2, and the network of L4 and the clock of L5: a served site under load whose workers are hurt at random."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.audit import Audit
from tests.crash.sink import Mood
from tests.crash.stage import QUIET_S, VENDOR, Play, Stage, staged
from tests.crash.tally import Tally

_MOODS: Sequence[Mood] = (200, 200, 200, 200, 400, 500, 429, "reset", "slam", "slow:0.2")
_HALF_A_DAY_S = 11 * 3600
KILLS = ("one", "one", "one", "all", "stop", "stop then kill", "end then kill")


@dataclass(frozen=True, slots=True)
class Hurt:
    """Something that was done, when, and whether it was a kill."""

    at: float
    kill: bool = True


@dataclass(slots=True)
class Round:
    """What came of a round. ``stop_s``: how long an orderly stop took; None: it had to be killed."""

    audit: Audit
    kills: int
    recovery_s: float
    stop_s: float | None
    faults: list[str] = field(default_factory=list)


def play(
    cast: Play, folder: Path, *, hurts: int, pace_s: float = 0.4, kills: Sequence[str] = KILLS, quiet_s: float = QUIET_S
) -> Round:
    """Play one round: load and hurts, then quiet, an orderly stop, and a second start that has nothing to do."""
    chance = random.Random(cast.seed)
    with staged(cast, folder) as stage:
        stage.sink.moods(VENDOR, [chance.choice(_MOODS) for _ in range(chance.choice([0, 20, 200]))])
        with stage.driver:
            stage.driver.wait_for(1)
            done = [hurt for _ in range(hurts) for hurt in _hurt(stage, chance, pace_s, kills)]
            time.sleep(0.3)
        if not stage.server.running:
            stage.server.start()
        loaded = time.monotonic()
        faults = [] if stage.has_settled(quiet_s) else ["deliveries stopped before all was there"]
        recovery_s = max(time.monotonic() - loaded, _worst_gap(folder / "driver.log", done))
        stop_s, before = stage.server.stop(), stage.arrived()
        stage.server.start()
        time.sleep(1.5)
        stage.server.stop()
        if again := stage.arrived() - before:
            faults.append(f"a second start delivered {again} events again")
        if stop_s is None:
            faults.append("it did not stop in order")
        found = stage.audited([hurt.at for hurt in done])
    return Round(found, sum(hurt.kill for hurt in done), recovery_s, stop_s, faults)


def report(
    cast: Play, folder: Path, tally: Tally, *, hurts: int, pace_s: float = 0.4, kills: Sequence[str] = KILLS
) -> Round:
    """Play a round and count it; the folder of one that failed is kept."""
    found = play(cast, folder, hurts=hurts, pace_s=pace_s, kills=kills)
    how = f"{cast}, {hurts} hurts, in {folder}"
    tally.add(found.audit, how, points=hurts, kills=found.kills, recovery_s=found.recovery_s)
    for fault in found.faults:
        tally.fail(f"{fault}: {how}")
    if found.audit.sound and not found.faults:
        shutil.rmtree(folder)
    return found


def _hurt(stage: Stage, chance: random.Random, pace_s: float, kills: Sequence[str]) -> Iterator[Hurt]:
    """Wait while they serve, then do one thing to the workers."""
    if not stage.server.running:
        stage.server.start()
    time.sleep(pace_s * chance.uniform(0.2, 1.8))
    if stage.play.fake_clock:
        stage.set_clock(chance.randint(-_HALF_A_DAY_S, _HALF_A_DAY_S))
    if workers := stage.server.workers():
        yield from _do(chance.choice(kills), workers, chance)


def _do(what: str, workers: Sequence[int], chance: random.Random) -> Iterator[Hurt]:
    one = chance.choice(workers)
    match what:
        case "one":
            yield from _kill([one])
        case "all":
            yield from _kill(workers)
        case "stop":
            _signal(one, signal.SIGSTOP)
            yield Hurt(time.monotonic(), kill=False)
            time.sleep(chance.uniform(0.1, 3.0))
            _signal(one, signal.SIGCONT)
            yield Hurt(time.monotonic(), kill=False)  # answers came too late meanwhile
        case "stop then kill":
            _signal(one, signal.SIGSTOP)
            time.sleep(chance.uniform(0.1, 1.5))
            yield from _kill([one])
        case "end then kill":
            _signal(one, signal.SIGTERM)
            yield Hurt(time.monotonic(), kill=False)  # it may end by itself, with a request under way
            time.sleep(chance.uniform(0.0, 0.3))
            yield from _kill([one])


def _kill(pids: Sequence[int]) -> Iterator[Hurt]:
    for pid in pids:
        if _signal(pid, signal.SIGKILL):
            yield Hurt(time.monotonic())


def _signal(pid: int, number: signal.Signals) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def _worst_gap(log: Path, hurts: Sequence[Hurt]) -> float:
    """Return the longest time from a kill to the next acknowledgement that anybody got."""
    acks = sorted(at for _, fate, at in map(json.loads, log.read_text().splitlines()) if fate == "acked")
    gaps = [next((at - hurt.at for at in acks if at >= hurt.at), 0.0) for hurt in hurts if hurt.kill]
    return max(gaps, default=0.0)
