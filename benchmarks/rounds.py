"""Interleaved rounds: each case once a round, so that a drift of the machine's speed touches all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

Samples = Mapping[str, list[float]]


def interleaved(cases: Mapping[str, Callable[[], float]], rounds: int) -> Samples:
    """Return one sample of each case a round, after one of each that is thrown away; each round starts with another case."""
    names = list(cases)
    for name in names:
        cases[name]()
    samples: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        at = number % len(names)
        for name in names[at:] + names[:at]:
            samples[name].append(cases[name]())
    return samples


def cpu_us(work: Callable[[], object]) -> float:
    """Return the microseconds of this thread's CPU time that a piece of work takes."""
    begun = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - begun) / 1000


def ratios(samples: Samples, case: str, control: str) -> list[float]:
    """Return, for each round, how many times the control a case took."""
    return [one / other for one, other in zip(samples[case], samples[control], strict=True)]
