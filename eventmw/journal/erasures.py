"""What an erasure means for events that are under way: a vendor may still answer for them, and they are not kept again.

Whoever delivers holds such an event in memory, as it was. When it would park or bury it, the event ends as `ERASED` instead.
An event of the same person that was recorded later is another one.

Layer: pure rules. A journal holds its own lock around all of it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from eventmw.journal import ERASED, Commit, DeadLetter, Key, Parked

Rewritten = Callable[[bytes], bytes | None]

MOST: Final = 1000
"""Erasures that are remembered: what is under way ends within minutes. Source: assumption."""


class _Erasure(NamedTuple):
    rewritten: Rewritten
    ends: Mapping[str, int]
    parked: Collection[tuple[str, Key]]


class Erasures:
    """The erasures of one lease."""

    def __init__(self) -> None:
        self._all: deque[_Erasure] = deque(maxlen=MOST)

    def note(self, rewritten: Rewritten, ends: Mapping[str, int], parked: Collection[tuple[str, Key]]) -> None:
        """Remember one: what each stream held then, by its last seq, and which parked events of which tools were ended."""
        self._all.append(_Erasure(rewritten, ends, parked))

    def applied(self, tool: str, step: Commit) -> Commit:
        """Return a tool's step without copies of what was erased. What was not counted as erased yet is counted in it."""
        if not self._all or not (step.park or step.dead):
            return step
        met: dict[Key, bool] = {}  # whether it was parked, and so was counted already
        copies: list[Parked | DeadLetter] = [*step.park, *step.dead]
        for one in copies:
            for erasure in self._all:
                parked = (tool, one.key) in erasure.parked
                if parked or (self._held(erasure, one) and erasure.rewritten(one.record) is not None):
                    met[one.key] = met.get(one.key, False) or parked
        return _without(step, met) if met else step

    @staticmethod
    def _held(erasure: _Erasure, one: Parked | DeadLetter) -> bool:
        return one.key.position.seq <= erasure.ends.get(one.key.position.stream, 0)


def _without(step: Commit, met: Mapping[Key, bool]) -> Commit:
    counts = Counter(step.counts)
    for letter in step.dead:
        if letter.key in met:
            counted = (letter.outcome, letter.reason)
            counts[counted if counted in counts else (letter.outcome, "other")] -= 1
    ended = [key for key, parked in met.items() if not parked]
    counts[ERASED] += len(ended)
    return replace(
        step,
        settled=[*(key for key in step.settled if not met.get(key, False)), *ended],
        park=[item for item in step.park if item.key not in met],
        dead=[letter for letter in step.dead if letter.key not in met],
        counts=+counts,
    )
