"""What a deep backlog costs: appending beside it, delivering out of it, starting on it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

from benchmarks import backlog
from benchmarks.report import Effort, Figure, Report, Spread, Table
from benchmarks.rounds import Samples, interleaved, ratios
from eventmw.journal import Lease
from eventmw.journal.files import FileJournal

SIZES: Final = (1, 100)
SHALLOW: Final = 1_000
_DEEP, _SHALLOW = "deep", "shallow"
_CASES: Final = ("append", "step", "stats")


@dataclass(slots=True)
class Measured:
    """What one size of record showed: microseconds for each case and depth, and seconds of each start."""

    samples: Samples
    starts: dict[str, list[float]] = field(default_factory=dict[str, list[float]])


def run(effort: Effort) -> Report:
    """Measure both sizes of record, one after the other."""
    rounds, starts = effort.interleaved(7), 3
    events, appends = int(effort.of(1_000_000, quick=20_000)), int(effort.of(400, quick=50))
    measured = {size: _measure(size, events, appends, rounds, starts) for size in SIZES}
    return Report(
        name="depth",
        control=f"the same with a backlog of {SHALLOW:,} events, or of one step where that is more",
        measured=f"a backlog of {events:,} events for one tool, which another has delivered. CPU time of the process for an "
        "append whose future is waited for; CPU time of the thread for a step of "
        f"{backlog.STEP_RECORDS} records, read and committed as the courier does, a hundred events a commit, as many "
        "records being appended before it; wall time of `stats` in the process that leads. A start is a new process, from "
        "its spawn to its first request for the tool that is behind: interpreter, imports, journal, lease, index of ids, "
        "first read",
        rounds=rounds,
        tables=[_table(measured), _starts_table(measured)],
        figures=[*_figures(measured)],
    )


def _measure(size: int, events: int, appends: int, rounds: int, starts: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="eventmw-bench-", dir=os.environ.get("BENCH_FOLDER")) as folder:
        depths = {_DEEP: events, _SHALLOW: max(SHALLOW, backlog.STEP_RECORDS * size)}
        for depth, many in depths.items():
            backlog.build(str(Path(folder) / depth), many, size)
        with ExitStack() as stack:
            open_ones = {depth: stack.enter_context(_Open(str(Path(folder) / depth), size)) for depth in depths}
            cases = {
                f"{case}, {depth}": partial(getattr(one, case), appends)
                for case in _CASES
                for depth, one in open_ones.items()
            }
            measured = Measured(interleaved(cases, rounds))
        for _ in range(starts):
            for part, seconds in backlog.start_up(str(Path(folder) / _DEEP)).items():
                measured.starts.setdefault(part, []).append(seconds)
    return measured


class _Open:
    """A journal with a backlog, and its lease. Each method returns microseconds."""

    def __init__(self, folder: str, size: int) -> None:
        self._folder = folder
        self._size = size

    def __enter__(self) -> Self:
        self._journal: FileJournal = backlog.opened(self._folder)
        lease = self._journal.lead()
        assert lease is not None
        self._lease: Lease = lease
        return self

    def __exit__(self, *_: object) -> None:
        self._lease.close()
        self._journal.leave()

    def append(self, count: int) -> float:
        """One append, waited for."""
        begun = time.process_time()
        for _ in range(count):
            backlog.fill(self._journal, 1, self._size)
        return 1e6 * (time.process_time() - begun) / count

    def step(self, _count: int) -> float:
        """One step of a tool."""
        backlog.fill(self._journal, backlog.STEP_RECORDS, self._size)
        begun = time.thread_time()
        if backlog.step(self._lease, backlog.BEHIND) != backlog.STEP_RECORDS:
            raise RuntimeError("the backlog is too short for a step")
        taken = 1e6 * (time.thread_time() - begun)
        self._lease.sync()
        return taken

    def stats(self, _count: int) -> float:
        """One look at the figures."""
        begun = time.perf_counter()
        self._journal.stats()
        return 1e6 * (time.perf_counter() - begun)


def _ratio(measured: Measured, case: str) -> Spread:
    return Spread.of(ratios(measured.samples, f"{case}, {_DEEP}", f"{case}, {_SHALLOW}"))


def _table(measured: Mapping[int, Measured]) -> Table:
    rows = [
        (
            f"{case}, {size} a record",
            *(str(Spread.of(one.samples[f"{case}, {depth}"])) for depth in (_DEEP, _SHALLOW)),
            str(_ratio(one, case)),
        )
        for size, one in measured.items()
        for case in _CASES
    ]
    heads = ("µs: min / median / max", _DEEP, _SHALLOW, "deep to shallow")
    return Table("the same work at both depths", heads, rows)


def _starts_table(measured: Mapping[int, Measured]) -> Table:
    rows = [
        (f"{part}, {size} a record", str(Spread.of(seconds)))
        for size, one in measured.items()
        for part, seconds in one.starts.items()
    ]
    return Table("a new process on the deep backlog", ("part", "s: min / median / max"), rows)


def _figures(measured: Mapping[int, Measured]) -> Iterator[Figure]:
    for size, one in measured.items():
        for case in ("append", "step"):
            yield Figure(f"{case}, {size} a record: deep to shallow", "at most", 1.5, "x", _ratio(one, case))
        whole = Spread.of(one.starts["whole"])
        yield Figure(f"start with it, {size} a record", "at most", 2.0, "s", whole, by="low")
