"""What it costs to have events on the disk before the answer: the journal in files beside the bare system calls."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import payload
from benchmarks.report import Effort, Figure, Report, Spread, Table, shown
from benchmarks.rounds import Samples, interleaved
from eventmw.journal.files import FileJournal
from eventmw.journal.files.disk import fill_with_zeros
from eventmw.waiting import wait

REQUESTS: Final = 64
EVENTS: Final = 100
_JOURNAL: Final = f"the journal, {REQUESTS} requests at once"
_ALONE: Final = "the journal, one request at a time"
_BARE: Final = "bare loop, a sync for {} records"
_BUNDLES: Final = (1, 10, REQUESTS)


def run(effort: Effort) -> Report:
    """Keep the same records by the journal and by a bare loop, in rounds, on the same file system."""
    rounds = effort.interleaved(7)
    count = int(effort.of(3_840, quick=640))
    record = payload.body(EVENTS, 1)
    with tempfile.TemporaryDirectory(prefix="eventmw-bench-", dir=os.environ.get("BENCH_FOLDER")) as folder:
        cases: dict[str, Callable[[], float]] = {
            _JOURNAL: partial(_journal, Path(folder), record, count, REQUESTS),
            _ALONE: partial(_journal, Path(folder), record, count // REQUESTS, 1),
            **{_BARE.format(n): partial(_bare, Path(folder), record, count, n) for n in _BUNDLES},
        }
        samples = interleaved(cases, rounds)
    return Report(
        name="durable",
        control="a bare loop that writes the same bytes into a file of zeros and calls fdatasync: for each record, for ten, "
        f"and for the {REQUESTS} that wait at most in the journal",
        measured=f"wall time an event, from before the first append to the last future that is done; {count:,} records of "
        f"{EVENTS} events, {len(record):,} bytes each. The journal's figure holds its checksums, its files of zeros, the "
        "event loop and its wake-ups; the bare loop's holds none of these",
        rounds=rounds,
        tables=[_table(samples)],
        figures=[*_figures(samples)],
        notes=["a virtual disk answers fdatasync from its host's memory: on a real one both are slower, and nearer"],
    )


def _journal(folder: Path, record: bytes, count: int, requests: int) -> float:
    """Return the microseconds an event takes when so many requests wait at once."""
    with tempfile.TemporaryDirectory(dir=folder) as data_dir:
        journal = FileJournal(data_dir)
        try:
            asyncio.run(_requests(journal, record, requests, requests))  # its first file
            begun = time.perf_counter()
            asyncio.run(_requests(journal, record, count, requests))
            return 1e6 * (time.perf_counter() - begun) / (count * EVENTS)
        finally:
            journal.leave()


async def _requests(journal: FileJournal, record: bytes, count: int, requests: int) -> None:
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            future = journal.append(record, events=EVENTS, recorded_ms=0, stamp=time.monotonic_ns())
            if not await wait(future, 30):
                raise RuntimeError("a record was not kept within 30 s")
            future.result(0)

    await asyncio.gather(*(client() for _ in range(requests)))


def _bare(folder: Path, record: bytes, count: int, bundle: int) -> float:
    """Return the microseconds an event takes with a sync for each bundle of records."""
    path = folder / "bare"
    data, size = record * bundle, len(record) * bundle
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fill_with_zeros(fd, size * (count // bundle))
        os.fsync(fd)
        begun = time.perf_counter()
        for number in range(count // bundle):
            os.pwrite(fd, data, number * size)
            os.fdatasync(fd)
        return 1e6 * (time.perf_counter() - begun) / (count // bundle * bundle * EVENTS)
    finally:
        os.close(fd)
        path.unlink()


def _ratio(samples: Samples, control: str) -> Spread:
    """Return which share of the control's rate the journal reaches."""
    return Spread.of(other / ours for ours, other in zip(samples[_JOURNAL], samples[control], strict=True))


def _table(samples: Samples) -> Table:
    rows: list[Sequence[str]] = [
        (name, str(Spread.of(values)), shown(1e6 / Spread.of(values).mid)) for name, values in samples.items()
    ]
    return Table("a record on the disk", ("way", "µs an event: min / median / max", "events/s"), rows)


def _figures(samples: Samples) -> Iterator[Figure]:
    for bundle in _BUNDLES:
        control = _BARE.format(bundle)
        asked = 0.4
        yield Figure(f"the journal's rate to the {control}", "at least", asked, "x", _ratio(samples, control))
