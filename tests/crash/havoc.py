"""L2: a served site under load, whose workers are killed at random; and what must hold afterwards."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.audit import Arrival, Audit, audit
from tests.crash.driver import Driver
from tests.crash.served import KINDS, Served
from tests.crash.sink import Mood, Sink
from tests.crash.site import IN_FLIGHT
from tests.crash.tally import Tally

QUIET_S = 10.0
"""Without an arrival for so long, nothing more will come: a courier looks for the lease each second."""
SLACK_S = 1.0
"""What lies in a socket when its sender dies is read a moment later: an arrival may seem to be after the kill."""

_MOODS: Sequence[Mood] = (200, 200, 200, 200, 500, 429, "reset", "slam", "slow:0.2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Havoc:
    """One round: what serves, how it delivers, and how many kills in what pace."""

    kind: str = "prefork-2"
    seed: int = 0
    kills: int = 15
    pace_s: float = 0.4
    ordered: bool = False
    clients: int = 4
    events: int = 1
    broken: str = ""
    journal: str = "file"


@dataclass(slots=True)
class Round:
    """What came of a round."""

    audit: Audit
    kills: int
    recovery_s: float
    stop_s: float | None
    faults: list[str] = field(default_factory=list)


@contextmanager
def stage(havoc: Havoc, folder: Path, before: Sequence[str] = ()) -> Iterator[tuple[Sink, Served, Driver]]:
    """Have the sink, the server and the driver ready; the driver is not started."""
    folder.mkdir(parents=True)
    with Sink(str(folder / "sink.log")) as sink:
        environ = {
            "CRASH_SINK": sink.url("v"),
            "CRASH_DATA": str(folder / "data"),
            "CRASH_JOURNAL": havoc.journal,
            "CRASH_ORDERED": str(int(havoc.ordered)),
            "CRASH_BROKEN": havoc.broken,
        }
        with Served(KINDS[havoc.kind], environ, folder / "said", before=before) as server:
            log = folder / "driver.log"
            yield sink, server, Driver(server.port, log, clients=havoc.clients, events=havoc.events)


def play(havoc: Havoc, folder: Path) -> Round:
    """Play one round: load and kills, then quiet, an orderly stop, and a second start that has nothing to do."""
    chance = random.Random(havoc.seed)
    with stage(havoc, folder) as (sink, server, driver):
        sink.moods("v", [chance.choice(_MOODS) for _ in range(chance.choice([0, 20, 200]))])
        with driver:
            time.sleep(0.3)
            hurts = [hurt for _ in range(havoc.kills) for hurt in _hurt(server, chance, havoc.pace_s)]
            time.sleep(0.3)
        if not server.running:
            server.start()
        breaks, kills = [at for at, _ in hurts], sum(killed for _, killed in hurts)
        loaded = time.monotonic()
        drained = settled(sink, driver)
        recovery_s = max(time.monotonic() - loaded, _worst_gap(folder / "driver.log", breaks))
        stop_s = server.stop()
        before = len(sink.arrivals("v", keep=True))
        server.start()
        time.sleep(1.5)
        server.stop()
        arrivals = sink.arrivals("v")
        found = audited(havoc, driver, arrivals, breaks)
    faults = [] if drained else ["deliveries stopped before all was there"]
    faults += [] if len(arrivals) == before else [f"a second start delivered {len(arrivals) - before} events again"]
    faults += [] if stop_s is not None else ["it did not stop in order"]
    return Round(found, kills, recovery_s, stop_s, faults)


def audited(havoc: Havoc, driver: Driver, arrivals: Sequence[Arrival], breaks: Sequence[float]) -> Audit:
    """Audit a round."""
    return audit(driver.fates(), arrivals, breaks=breaks, ordered=havoc.ordered, in_flight=IN_FLIGHT, slack_s=SLACK_S)


def report(havoc: Havoc, folder: Path, tally: Tally) -> Round:
    """Play a round and count it; the folder of one that failed is kept."""
    found = play(havoc, folder)
    how = f"{havoc} in {folder}"
    tally.add(found.audit, how, points=found.kills, kills=found.kills, recovery_s=found.recovery_s)
    for fault in found.faults:
        tally.fail(f"{fault}: {how}")
    if found.audit.sound and not found.faults:
        shutil.rmtree(folder)
    return found


def settled(sink: Sink, driver: Driver, quiet_s: float = QUIET_S) -> bool:
    """Wait until everything that was acknowledged has arrived; False when nothing came for `quiet_s` seconds before."""
    acked = {name for name, fate in driver.fates().items() if fate == "acked"}
    came, since = 0, time.monotonic()
    while time.monotonic() - since < quiet_s:
        arrivals = sink.arrivals("v", keep=True)
        if acked <= {arrival.who for arrival in arrivals if arrival.answered}:
            return True
        if len(arrivals) > came:
            came, since = len(arrivals), time.monotonic()
        time.sleep(0.1)
    return False


def _hurt(server: Served, chance: random.Random, pace_s: float) -> Iterator[tuple[float, bool]]:
    """Do one thing to the workers; yields when it was, and whether that was a kill."""
    time.sleep(pace_s * chance.uniform(0.2, 1.8))
    if not server.running:
        server.start()
    workers = server.workers()
    if not workers:
        return
    one = chance.choice(workers)
    match chance.choice(["one", "one", "one", "all", "stop", "stop then kill", "end then kill"]):
        case "one":
            yield from _kill([one])
        case "all":
            yield from _kill(workers)
        case "stop":
            _signal(one, signal.SIGSTOP)
            yield time.monotonic(), False
            time.sleep(chance.uniform(0.1, 3.0))
            _signal(one, signal.SIGCONT)
            yield time.monotonic(), False  # answers came too late meanwhile
        case "stop then kill":
            _signal(one, signal.SIGSTOP)
            time.sleep(chance.uniform(0.1, 1.5))
            yield from _kill([one])
        case "end then kill":
            _signal(one, signal.SIGTERM)
            time.sleep(chance.uniform(0.0, 0.3))
            yield from _kill([one])


def _kill(pids: Sequence[int]) -> Iterator[tuple[float, bool]]:
    for pid in pids:
        if _signal(pid, signal.SIGKILL):
            yield time.monotonic(), True


def _signal(pid: int, number: signal.Signals) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def _worst_gap(log: Path, breaks: Sequence[float]) -> float:
    """Return the longest time from a kill to the next acknowledgement that anybody got."""
    acks = sorted(at for _, fate, at in map(json.loads, log.read_text().splitlines()) if fate == "acked")
    gaps = [next((at - kill for at in acks if at >= kill), 0.0) for kill in breaks]
    return max(gaps, default=0.0)
