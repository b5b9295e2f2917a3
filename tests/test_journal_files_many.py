"""Many streams that are consumed and kept for their day: they cost room on the disk, and next to nothing else.

Source: JOURNAL.md «Retirement», «Writer» 5 and 6.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventmw.errors import JournalFull
from eventmw.journal import Lease
from eventmw.journal.files import FileJournal, stream, writer
from eventmw.journal.files.retirement import Times
from tests.journal_conformance import delivered, keys, leading, put, take, tool_stats, until

MANY = 60
Open = Callable[..., FileJournal]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open the folder as another process would; segments are small, so that many streams take little time."""
    monkeypatch.setattr(stream, "FIRST_BYTES", 16 * 1024)
    made: list[FileJournal] = []

    def opened(**options: float) -> FileJournal:
        made.append(FileJournal(tmp_path / "data", **options))  # type: ignore[arg-type]
        return made[-1]

    yield opened
    for journal in made:
        journal.leave()


def many_that_ended(opened: Open, size: int = 100) -> None:
    for number in range(MANY):
        journal = opened()
        put(journal, number, size=size)
        journal.leave()


def consume(lease: Lease, count: int) -> None:
    for reading in take(lease, "a", count):
        lease.commit("a", delivered(*keys(reading.entry)))


def streams(folder: Path) -> int:
    return len(list(folder.glob("data/w/*")))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough


def test_lone_events_far_apart_stay_in_one_stream_while_it_is_kept_anyway(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_LOOK_S", 0.001)
    journal = opened()
    journal.register(["a"])
    lease = leading(journal)
    put(journal, 0)
    consume(lease, 1)
    lease.tend()
    before = descriptors()
    for number in range(1, 80):
        put(journal, number)
        consume(lease, 1)
        lease.sync()
        journal._writer._used_s -= writer.IDLE_S + 1  # pyright: ignore[reportPrivateUsage]
        time.sleep(0.004)  # it looks each millisecond; one that looks later than this makes the test no less true
    lease.tend()
    assert streams(tmp_path) == 1
    assert descriptors() <= before + 4
    assert journal.seek("a", to="start") == 80


def test_streams_that_ended_hold_no_descriptors_of_the_leader_and_of_writers(opened: Open, tmp_path: Path) -> None:
    other, journal = opened(), opened()
    journal.register(["a"])
    put(other, 1)
    before = descriptors()
    many_that_ended(opened)
    lease = leading(journal)
    consume(lease, MANY + 1)
    lease.tend()
    put(other, 2)
    until(lambda: other._writer._room.is_recent(0.05), "a look at the room")  # pyright: ignore[reportPrivateUsage]
    assert len(journal.scan()) == MANY + 2
    assert streams(tmp_path) == MANY + 1
    assert descriptors() < before + 80  # of segments that are read a few dozen stay open, whatever their number


def test_streams_that_ended_and_are_consumed_are_left_alone(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened()
    journal.register(["a"])
    many_that_ended(opened)
    lease = leading(journal)
    consume(lease, MANY)
    lease.tend()
    lease.tend()
    seen: list[str] = []
    real_list, real_open = os.listdir, os.open

    def listed(path: str | Path = ".") -> list[str]:
        seen.append(str(path))
        return real_list(path)

    def open_(path: str | Path, flags: int, mode: int = 0o777) -> int:
        seen.append(str(path))
        return real_open(path, flags, mode)

    with monkeypatch.context() as system:
        system.setattr(os, "listdir", listed)
        system.setattr(os, "open", open_)
        lease.tend()
        lease.sync()
        assert lease.read("a", 10) == []
    assert [path for path in seen if path.startswith(f"{tmp_path}/data/w/")] == []


def test_a_replay_wakes_them_and_counts_them_against_the_cap(opened: Open) -> None:
    journal = opened(cap_bytes=MANY * 20_000)
    journal.register(["a"])
    many_that_ended(opened, 10_000)
    lease = leading(journal)
    consume(lease, MANY)
    lease.tend()
    assert journal.seek("a", to="start") == MANY
    lease.tend()

    def is_full() -> bool:
        try:
            put(journal, 1, size=MANY * 11_000)
        except JournalFull:
            return True
        return False

    until(is_full, "a full journal")
    consume(lease, tool_stats(journal, "a").backlog_records)
    lease.tend()
    until(lambda: not is_full(), "room")


def test_the_next_leader_goes_on_with_the_time_that_has_passed(opened: Open, tmp_path: Path) -> None:
    journal = opened(retain_s=1.0)
    journal.register(["a"])
    gone = opened()
    put(gone, 1)
    gone.leave()
    lease = leading(journal)
    consume(lease, 1)
    lease.tend()
    consumed_s = time.monotonic()
    lease.close()
    lease = leading(journal)
    lease.tend()
    assert streams(tmp_path) == 1
    lease.close()
    until(lambda: time.monotonic() > consumed_s + 1.0, "its time")
    leading(journal).tend()
    assert streams(tmp_path) == 0


def test_times_of_another_boot_count_what_had_passed_whatever_the_clocks_say() -> None:
    times = Times("aa" * 16, 1000.0, [("s", 1, 7, 400.0)])
    assert times.told("aa" * 16, 1500.0) == [("s", 1, 7, 400.0)]
    assert times.told("bb" * 16, 30.0) == [("s", 1, 7, -570.0)]
    assert times.told("aa" * 16, 300.0) == [("s", 1, 7, 300.0)]  # never in the future
    unknown = Times("00" * 16, 1000.0, [("s", 1, 7, 400.0)])
    assert unknown.told("00" * 16, 30.0) == [("s", 1, 7, -570.0)]
