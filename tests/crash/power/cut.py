"""Every power cut of one recording: each different disk is handed to whoever has to recover from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from tests.crash.power.images import Image, digest, image, policies, put
from tests.crash.power.recording import calls
from tests.crash.power.replay import Moment, Replay

Recover = Callable[[Path], Collection[str]]
"""Opens a folder as after a power cut and returns what it still has to deliver, or has buried."""


@dataclass(frozen=True, slots=True)
class State:
    """One disk: after which call, by which policy."""

    moment: Moment
    policy: str
    image: Image


@dataclass(frozen=True, slots=True)
class Finding:
    """What was lost of one disk, or why it could not be opened."""

    at: int
    call: str
    policy: str
    lost: tuple[str, ...]
    error: str = ""


@dataclass(slots=True)
class Outcome:
    """What came of all disks of one recording."""

    states: int = 0
    acknowledged: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def lost(self) -> int:
        """How many disks had lost something, or could not be read."""
        return len(self.findings)


def states(recordings: Sequence[Path], root: Path, *, seed: int = 0, by_chance: int = 4) -> Iterator[State]:
    """Return every different disk with what was owed by then: acknowledged, and not with the vendor.

    Args:
        recordings: of one life after the other on the same folder.
        root: that folder.
        seed: of the policies that go by chance.
        by_chance: how many of those there are for each call.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(path.open(encoding="ascii", errors="replace")) for path in recordings]
        replay = Replay(str(root), calls(chain.from_iterable(opened)))
    seen: set[tuple[bytes, frozenset[str]]] = set()
    for number, moment in enumerate(replay.moments()):
        for policy in policies(seed * 10_000 + number, by_chance):
            left = image(replay.disk, policy)
            owed = moment.acked - moment.got
            if (key := (digest(left), owed)) not in seen:
                seen.add(key)
                yield State(moment, policy.name, left)


def judge(cuts: Iterable[State], recover: Recover, folder: Path, *, every: int = 1) -> Outcome:
    """Recover from each disk. What was acknowledged and had not arrived must be there.

    Args:
        cuts: the disks.
        recover: what opens them.
        folder: where they are laid out, one after the other; in memory is best.
        every: judge each n-th only.
    """
    outcome = Outcome()
    for state in islice(cuts, 0, None, every):
        outcome.states += 1
        outcome.acknowledged += len(state.moment.acked)
        target = folder / f"s{outcome.states}"
        put(state.image, target)
        found = _finding(state, recover, target)
        if found is None:
            shutil.rmtree(target)
        else:
            outcome.findings = (*outcome.findings, found)
    return outcome


def _finding(state: State, recover: Recover, target: Path) -> Finding | None:
    moment = state.moment
    try:
        there = frozenset(recover(target))
    except Exception as error:
        return Finding(moment.at, moment.call, state.policy, (), f"{type(error).__name__}: {error}")
    lost = moment.acked - moment.got - there
    return Finding(moment.at, moment.call, state.policy, tuple(sorted(lost))) if lost else None
