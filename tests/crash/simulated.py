"""L0: a world of several journals in one folder, one step after another, against a model that is told everything.

Appends are one after the other, and each is kept before the next begins: so the order in which every tool must get them is
known, and after every kill exactly what was not settled must come again, and nothing else. `tests.crash.walks` takes steps by
chance; in `tests/test_crash.py` Hypothesis chooses them.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eventmw.journal import Commit, DeadLetter, Key, Parked, Position, Reading
from tests.crash.actor import TOOLS, Actor
from tests.crash.served import SCRATCH

RACE_S = 0.002
ACTORS = 3
_KIND = {"done": "delivered", "dead": "rejected"}


@dataclass(slots=True)
class Tool:
    """What the model knows of one tool. ``handed``: log indexes handed out under the present lease."""

    done: set[Key] = field(default_factory=set)
    parked: dict[Key, Parked] = field(default_factory=dict)
    dead: dict[Key, DeadLetter] = field(default_factory=dict)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    handed: list[int] = field(default_factory=list)
    open: list[Key] = field(default_factory=list)

    def settled(self, key: Key) -> bool:
        """Return whether an event is settled."""
        return key in self.done or key in self.parked or key in self.dead


class World:
    """Actors in one folder, and the model. Every method is one step, and checks what can be seen of it."""

    def __init__(self, segment_bytes: int = 4096, retain_s: float = 0.0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="crash-world-", dir=SCRATCH))
        self.actors: dict[int, Actor] = {}
        self.leader: int | None = None
        self.log: list[tuple[Position, bytes, int]] = []
        self.tools = {tool: Tool() for tool in TOOLS}
        self.kills = 0
        self.steps = 0
        self._how = segment_bytes, retain_s

    def close(self) -> None:
        """End everybody, and remove the folder."""
        for number in list(self.actors):
            self.actors.pop(number).kill()
        shutil.rmtree(self.folder)

    def actor(self, number: int) -> Actor:
        """Return an actor; it is started when it is not there."""
        if number not in self.actors:
            self.actors[number] = Actor(self.folder / "data", *self._how)
        return self.actors[number]

    def append(self, number: int, events: int, size: int) -> None:
        """Have a record kept."""
        self.steps += 1
        record = b"%d " % len(self.log) + b"." * size
        found = Position(*self.actor(number).do("append", record, events))
        self.log.append((found, record, events))

    def kill(self, number: int) -> None:
        """Kill an actor; a leader leaves what it had in flight."""
        self.steps += 1
        if number in self.actors:
            self.actors.pop(number).kill()
            self.kills += 1
            self._gone(number)

    def leave(self, number: int) -> None:
        """Have an actor end in order."""
        self.steps += 1
        if number in self.actors:
            self.actors.pop(number).leave()
            self._gone(number)

    def lead(self, number: int) -> None:
        """Ask for the lease: it is to be had exactly when nobody has it."""
        self.steps += 1
        led = self.actor(number).do("lead")
        assert led == (self.leader is None), f"actor {number} leads: {led}; leader was {self.leader}"
        if led:
            self.leader = number
            for tool in self.tools.values():
                tool.handed.clear()
                tool.open.clear()

    def give_up(self) -> None:
        """Have the leader give the lease back."""
        self.steps += 1
        if self.leader is not None:
            self.actors[self.leader].do("give_up")
            self.leader = None

    def read(self, name: str, most: int) -> None:
        """Read on: in order, each once, whole, and, when fewer came than were asked for, everything."""
        self.steps += 1
        if self.leader is None:
            return
        tool = self.tools[name]
        readings: list[Reading] = self.actors[self.leader].do("read", name, most)
        places = {position: at for at, (position, _, _) in enumerate(self.log)}
        for reading in readings:
            self._take(tool, reading, places[reading.entry.position])
        if len(readings) < most:
            missing = [at for at in range(len(self.log)) if at not in tool.handed and self._unsettled(tool, at)]
            assert not missing, f"records {missing} are kept and not settled, and were not handed to {name}"

    def race(self, name: str, first: int, second: int) -> None:
        """Have two records kept, one after the other, while the leader looks at the streams."""
        self.steps += 1
        if self.leader is None or self.leader in {first, second}:
            return
        leader = self.actors[self.leader]
        self.actor(first), self.actor(second)
        leader.begin("read", name, 100)
        time.sleep(RACE_S)
        self.append(first, 1, 10)
        self.append(second, 1, 10)
        places = {position: at for at, (position, _, _) in enumerate(self.log)}
        for reading in leader.answer("read"):
            self._take(self.tools[name], reading, places[reading.entry.position])

    def _take(self, tool: Tool, reading: Reading, at: int) -> None:
        _, record, events = self.log[at]
        assert reading.entry.record == record
        assert reading.entry.events == events
        assert not tool.handed or at > tool.handed[-1], f"record {at} after {tool.handed[-1]}"
        position = reading.entry.position
        settled = {ordinal for ordinal in range(events) if tool.settled(Key(position, ordinal))}
        assert reading.settled == settled, f"record {at}: {set(reading.settled)} are said to be settled, not {settled}"
        assert len(settled) < events, f"record {at} is settled and was handed out"
        tool.handed.append(at)
        tool.open += [Key(position, ordinal) for ordinal in range(events) if ordinal not in settled]

    def settle(self, name: str, fates: Sequence[str]) -> None:
        """Settle some of what was handed out, each event by a fate: ``done``, ``park``, ``dead`` or ``wait``."""
        self.steps += 1
        tool = self.tools[name]
        if self.leader is None:
            return
        chosen = dict(zip(tool.open, fates, strict=False))
        self._commit(name, chosen)
        tool.open = [key for key in tool.open if chosen.get(key, "wait") == "wait"]

    def unpark(self, name: str, fates: Sequence[str]) -> None:
        """Settle some of what is parked, after the leader has told what that is."""
        self.steps += 1
        tool = self.tools[name]
        if self.leader is None:
            return
        due: list[Parked] = self.actors[self.leader].do("due", name)
        assert sorted(item.key for item in due) == sorted(tool.parked)
        self._commit(name, dict(zip(sorted(tool.parked), fates, strict=False)))

    def _commit(self, name: str, chosen: dict[Key, str]) -> None:
        tool = self.tools[name]
        park = [Parked(key, b"copy", 1, self.steps, "why") for key, fate in chosen.items() if fate == "park"]
        dead = [
            DeadLetter(name, key, b"copy", "rejected", "why", 1, 1) for key, fate in chosen.items() if fate == "dead"
        ]
        done = [key for key, fate in chosen.items() if fate == "done"]
        counts = Counter((_KIND[fate], "") for fate in chosen.values() if fate in _KIND)
        if not (park or dead or done):
            return
        unpark = [key for key in done if key in tool.parked]
        assert self.leader is not None
        self.actors[self.leader].do(
            "commit", name, Commit(settled=done, park=park, unpark=unpark, dead=dead, counts=counts)
        )
        for key, fate in chosen.items():
            if fate != "wait":
                tool.parked.pop(key, None)
        tool.done.update(done)
        tool.parked.update({item.key: item for item in park})
        tool.dead.update({letter.key: letter for letter in dead})
        tool.counts.update(counts)

    def chores(self) -> None:
        """Have the leader take over, retire, obey and sync."""
        self.steps += 1
        if self.leader is not None:
            self.actors[self.leader].do("tend")
            self.actors[self.leader].do("sync")

    def look(self, number: int) -> None:
        """Anybody sees the same of every tool."""
        self.steps += 1
        for stats in self.actor(number).do("stats"):
            tool = self.tools[stats.tool]
            left = sum(len(self._unsettled(tool, at)) for at in range(len(self.log)))
            assert (stats.backlog_events, stats.parked, stats.dead) == (left, len(tool.parked), len(tool.dead)), stats
            assert Counter(dict(stats.counts)) == +tool.counts, stats
        for name, tool in self.tools.items():
            letters = self.actor(number).do("dead", name)
            assert sorted(letter.key for letter in letters) == sorted(tool.dead)

    def end(self) -> None:
        """After everything: a new leader hands out exactly what is not settled."""
        self.give_up()
        self.lead(0)
        for name in self.tools:
            self.read(name, 10**6)
            self.unpark(name, [])
        self.look(0)

    def _unsettled(self, tool: Tool, at: int) -> list[Key]:
        position, _, events = self.log[at]
        keys = [Key(position, ordinal) for ordinal in range(events)]
        return [key for key in keys if not tool.settled(key)]

    def _gone(self, number: int) -> None:
        if self.leader == number:
            self.leader = None
