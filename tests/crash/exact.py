"""L1: the subject is killed at one exact system call, lives again until all is delivered, and is audited.

Every call that a run of a scenario makes is a point: the K-th of its kind in a thread. Two kinds of plan: the working
subject is killed (``work``), or a subject that takes over after such a kill is killed as well (``takeover``).
"""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from tests.crash import marks, strace
from tests.crash.audit import Audit, audit
from tests.crash.nursery import Life, Nursery
from tests.crash.scenario import Scenario
from tests.crash.sink import Mood, Sink
from tests.crash.tally import Tally

Victim = Literal["work", "takeover"]
SLACK_S = 0.5
"""What lies in a socket when its sender dies is read a moment later: an arrival may seem to be after the kill."""

_FIRST_KILL = ("fdatasync", 3)
"""Where the first life ends when it is the second that is looked at."""

_MOODS: Sequence[Mood] = (200, 200, 200, 400, 500, 429, 503, "reset", "slam", "slow:0.05")


@dataclass(frozen=True, slots=True)
class Point:
    """One point: which scenario, whose life, and at which call it ends."""

    seed: int
    victim: Victim
    call: str
    when: int


class Yard:
    """What points are carried out with: a nursery, a sink and a folder, for a ``with`` statement."""

    def __init__(self, folder: Path, *, broken: str = "", journal: str = "file") -> None:
        self.folder = folder
        self._broken, self._journal = broken, journal
        self.nursery, self.sink = Nursery(), Sink()
        self._number = 0

    def __enter__(self) -> Self:
        self.nursery.__enter__()
        self.sink.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.sink.__exit__()
        self.nursery.__exit__()

    def points(self, seed: int) -> list[Point]:
        """Return every point of a scenario, as one run of it shows them, in an order that its seed mixes."""
        found: list[Point] = []
        for victim in ("work", "takeover"):
            calls = self.calls(seed, victim)
            found += [Point(seed, victim, call, when) for call in calls for when in range(1, calls[call] + 1)]
        random.Random(seed).shuffle(found)
        return found

    def carry_out(self, point: Point, tally: Tally) -> Audit | None:
        """Kill, live again, audit; None when the subject did not come to an end."""
        scenario = self.fresh(point.seed)
        lives = self._lives(scenario, point)
        arrivals = self.sink.arrivals(Path(scenario.folder).name)
        how = f"{point} in {scenario.folder}"
        kills = sum(life.killed for life in lives)
        if wrong := [life for life in lives if life.hung or not (life.killed or life.status == 0)]:
            tally.hang(f"{how}: {wrong}")
            return None
        found = audit(
            marks.fates(scenario.marks),
            arrivals,
            buried=marks.named(scenario.marks, "buried"),
            breaks=[life.ended for life in lives if life.killed],
            ordered=scenario.ordered,
            slack_s=SLACK_S,
            in_flight=scenario.window * scenario.batch,
        )
        tally.add(found, how, kills=kills, recovery_s=lives[-1].seconds)
        if found.sound:
            shutil.rmtree(scenario.folder)
        return found

    def _lives(self, scenario: Scenario, point: Point) -> list[Life]:
        killing = strace.killing(point.call, point.when)
        lives = [self.nursery.live(scenario, killing if point.victim == "work" else strace.killing(*_FIRST_KILL))]
        if point.victim == "takeover":
            lives.append(self.nursery.live(scenario.then("work"), killing))
        if lives[-1].killed or not scenario.closes:
            lives.append(self.nursery.live(scenario.then("drain").then("drain")))
        return lives

    def calls(self, seed: int, victim: Victim, which: Sequence[str] = strace.KILLED_AT) -> Counter[str]:
        """Return how often at most one thread makes each call."""
        scenario = self.fresh(seed)
        if victim == "takeover":
            self.nursery.live(scenario, strace.killing(*_FIRST_KILL))
            scenario = scenario.then("work")
        log = Path(scenario.folder) / "calls"
        self.nursery.live(scenario, ("-e", f"trace={','.join(which)}"), log=log)
        each = Counter(re.findall(r"^(\d+) +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))
        self.sink.arrivals(Path(scenario.folder).name)
        shutil.rmtree(scenario.folder)
        most: Counter[str] = Counter()
        for (_, call), count in each.items():
            most[call] = max(most[call], count)
        return most

    def fresh(self, seed: int) -> Scenario:
        """Return a scenario in a folder of its own, with a vendor of its own whose moods follow from the seed."""
        self._number += 1
        name = f"p{self._number}"
        chance = random.Random(seed)
        self.sink.moods(name, [chance.choice(_MOODS) for _ in range(chance.choice([0, 0, 4, 12]))])
        folder = self.folder / name
        return Scenario.of(seed, folder, self.sink.url(name), broken=self._broken, journal=self._journal)
