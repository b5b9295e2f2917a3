"""What may wait for a disk that hangs: so many records, so many bytes, and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from eventmw.errors import JournalDown
from eventmw.journal import Position
from eventmw.journal.files import FileJournal
from eventmw.journal.files.writer import WAITING_BYTES, WAITING_RECORDS


class Stalled:
    """A journal whose writer stands still, as it does in a sync that does not return, until it is let go."""

    def __init__(self, folder: Path) -> None:
        self.journal = FileJournal(folder)
        self._standing, self._go = threading.Event(), threading.Event()
        self.journal.on_append(self._stand)
        self.append(b"first")
        assert self._standing.wait(10)

    def _stand(self) -> None:
        self._standing.set()
        assert self._go.wait(60)

    def append(self, record: bytes) -> Future[Position]:
        return self.journal.append(record, events=1, recorded_ms=1, stamp=time.monotonic_ns())

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def stalled(tmp_path: Path) -> Iterator[Stalled]:
    stalled = Stalled(tmp_path / "data")
    yield stalled
    stalled.let_go()
    stalled.journal.leave()


@pytest.mark.parametrize(("size", "most"), [(8, WAITING_RECORDS), (1024 * 1024, WAITING_BYTES // (1024 * 1024))])
def test_past_what_may_wait_records_are_refused_at_once_and_what_waits_is_kept(
    stalled: Stalled, size: int, most: int
) -> None:
    kept: list[Future[Position]] = []
    with pytest.raises(JournalDown, match="does not keep up") as refused:
        for _ in range(most + 1):
            kept.append(stalled.append(bytes(size)))
    assert refused.value.retry_after_s > 0
    assert len(kept) in {most - 1, most}, "the one whose sync does not return may be among those that wait"
    assert "does not keep up" in stalled.journal.ready()
    assert not any(future.done() for future in kept)
    stalled.let_go()
    assert [future.result(30).seq for future in kept] == list(range(2, len(kept) + 2))
    assert stalled.append(b"again").result(10)
    assert stalled.journal.ready() == ""
