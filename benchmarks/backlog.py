"""A data directory with a backlog of any depth, and a new process that starts on it.

One tool has delivered everything, as a healthy one would, and one nothing. ``python -m benchmarks.backlog FOLDER SPAWNED``
is the process: it tells, as JSON, how long it took to the first request for the tool that is behind; ``SPAWNED`` is the wall
time at which it was started.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import islice
from typing import Any, Final

from benchmarks import payload, records
from benchmarks.machine import ROOT
from eventmw import record as recording
from eventmw.clock import SystemClock
from eventmw.delivery.courier import Courier
from eventmw.delivery.duplicates import Duplicates
from eventmw.delivery.pacer import Pacer
from eventmw.delivery.recall import Recall
from eventmw.effects import Order
from eventmw.event import Record
from eventmw.http import HttpReply
from eventmw.journal import Commit, Key, Lease, Position, Reading
from eventmw.journal.files import FileJournal
from eventmw.tools import Webhook

AHEAD: Final = "ahead"
BEHIND: Final = "behind"
STEP_RECORDS: Final = 64
_STEP_KEYS: Final = 100  # what the courier commits at once
_BODIES: Final = 500
_ROOM: Final = 8 * 1024**3


def opened(folder: str) -> FileJournal:
    """Open the journal."""
    return FileJournal(folder, cap_bytes=_ROOM)


def build(folder: str, events: int, size: int) -> None:
    """Make a backlog of so many events, `size` in a record."""
    journal = opened(folder)
    journal.register([AHEAD, BEHIND])
    fill(journal, events // size, size)
    lease = journal.lead()
    assert lease is not None
    while step(lease, AHEAD):
        pass
    _keep_index(lease, events)
    lease.close()
    journal.leave()


def fill(journal: FileJournal, count: int, size: int) -> None:
    """Append so many records of `size` events."""
    under_way: deque[Future[Position]] = deque()
    for data in _records(count, size):
        under_way.append(journal.append(data, events=size, recorded_ms=_now_ms(), stamp=time.monotonic_ns()))
        if len(under_way) > 500:
            under_way.popleft().result(30)
    for future in under_way:
        future.result(30)


def _records(count: int, size: int) -> Iterator[bytes]:
    bodies = payload.bodies(size, min(count, _BODIES))
    for number in range(count):
        body = bodies[number % len(bodies)]
        ident = f"{time.monotonic_ns():032x}"
        yield recording.encode(
            Record(id=ident, recorded_ms=_now_ms(), dialect="zaraz", credential="anonymous", body=body)
        )


def step(lease: Lease, tool: str) -> int:
    """Read `STEP_RECORDS` records and settle all of them, as the courier does. Returns how many there were."""
    readings: list[Reading] = []
    while len(readings) < STEP_RECORDS and (more := lease.read(tool, STEP_RECORDS - len(readings))):
        readings += more  # one reading ends after so many bytes
    left = _keys(readings)
    while keys := list(islice(left, _STEP_KEYS)):
        lease.commit(tool, Commit(settled=keys, counts={("delivered", ""): len(keys)}))
    return len(readings)


def _keys(readings: list[Reading]) -> Iterator[Key]:
    for reading in readings:
        for ordinal in range(reading.entry.events):
            yield Key(reading.entry.position, ordinal)


def _keep_index(lease: Lease, events: int) -> None:
    """Keep an index of as many ids as the healthy tool would have left."""
    duplicates = Duplicates()
    for number in range(events):
        duplicates.first("anonymous", f"{number:032x}-0", Key(Position("0" * 16, number + 1), 0), _now_ms())
    clock = SystemClock()
    Recall(lease, records.engine(()), duplicates, Pacer(polite=False), clock).save()


def start_up(folder: str) -> dict[str, float]:
    """Start a process on a folder, and return what it tells: seconds."""
    command = [sys.executable, "-m", "benchmarks.backlog", folder, str(time.time())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    told: dict[str, float] = json.loads(done.stdout)
    return told


class _First:
    """A transport that notes when the first request for a tool would leave, and lets none do."""

    def __init__(self) -> None:
        self.at_s = self.cpu_s = 0.0
        self.came = threading.Event()

    async def send(self, order: Order, *, timeout_s: float, connect_timeout_s: float = 0.0) -> HttpReply:
        del order, timeout_s, connect_timeout_s
        if not self.at_s:
            self.at_s, self.cpu_s = time.time(), time.process_time()
        self.came.set()
        return HttpReply(503)

    async def close(self) -> None:
        """Do nothing."""


def _main(folder: str, spawned_s: float) -> dict[str, float]:
    begun_s = time.time()
    journal = opened(folder)
    opened_s = time.time()
    before_s = time.process_time()
    journal.stats()
    counted_s, counting_cpu_s = time.time(), time.process_time() - before_s
    first = _First()
    tools = [Webhook("http://127.0.0.1:9/", id=tool) for tool in (AHEAD, BEHIND)]
    courier = Courier(journal, records.engine(tools), lambda: first, SystemClock())
    courier.start()
    if not first.came.wait(100):
        raise RuntimeError("nothing was sent")
    led_s = time.time()
    journal.stats()
    done_s = time.time()
    courier.stop()
    return {
        "imports": begun_s - spawned_s,
        "open": opened_s - begun_s,
        "first request": first.at_s - counted_s,
        "whole": first.at_s - spawned_s - (counted_s - opened_s),
        "whole, CPU": first.cpu_s - counting_cpu_s,
        "stats from the disk": counted_s - opened_s,
        "stats of the leader": done_s - led_s,
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def as_told(folder: str, spawned_s: str) -> Any:
    """Return what the new process prints."""
    return _main(folder, float(spawned_s))


if __name__ == "__main__":
    print(json.dumps(as_told(*sys.argv[1:])))
