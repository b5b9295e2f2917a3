"""What the file journal keeps, and when it lets go: segments, streams, tools that nobody knows, leftover room.

Source: JOURNAL.md «Retirement», «Writer» 5.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventmw.errors import JournalDown, JournalFull
from eventmw.journal import Commit, Key, Lease, Parked
from eventmw.journal.files import FileJournal, disk, housekeeping
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.sources import Sources
from tests.journal_conformance import NOW_MS, delivered, keys, leading, put, take, tool_stats
from tests.peers import Peers, Told, hub, until

SIZE = 100_000  # ten of them fill the first segment
Open = Callable[..., FileJournal]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Open the folder as another process would."""
    made: list[FileJournal] = []

    def opened(**options: float) -> FileJournal:
        made.append(FileJournal(tmp_path / "data", **options))  # type: ignore[arg-type]
        return made[-1]

    yield opened
    for journal in made:
        journal.leave()


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with hub(tmp_path) as peers:
        yield peers


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("data/w/*/*.seg"))


def consume(lease: Lease, tool: str, count: int) -> None:
    for reading in take(lease, tool, count):
        lease.commit(tool, delivered(*keys(reading.entry)))


def tend_until(lease: Lease, condition: Callable[[], bool]) -> None:
    def tended() -> bool:
        lease.tend()
        return condition()

    until(tended)


# Segments


def test_a_segment_goes_once_every_tool_is_past_it(opened: Open, tmp_path: Path) -> None:
    journal = opened(retain_s=0.0)
    journal.register(["a", "b"])
    for number in range(35):
        put(journal, number, size=SIZE)
    assert segments(tmp_path) == ["00000001.seg", "00000002.seg", "00000003.seg"]
    lease = leading(journal)
    consume(lease, "a", 35)
    lease.tend()
    assert len(segments(tmp_path)) == 3
    consume(lease, "b", 9)
    lease.tend()
    assert len(segments(tmp_path)) == 3
    consume(lease, "b", 1)
    lease.tend()
    assert segments(tmp_path) == ["00000002.seg", "00000003.seg"]
    consume(lease, "b", 25)
    lease.tend()
    assert segments(tmp_path) == ["00000003.seg"]  # its owner still writes there
    assert [entry.position.seq for entry in journal.scan()] == list(range(31, 36))


def test_a_segment_that_cannot_be_removed_holds_back_neither_other_streams_nor_commands(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that an owner made immutable. It stays, and so does what comes after it in its stream."""
    streams = []
    for _ in range(2):
        before = opened(retain_s=0.0)
        before.register(["a"])
        streams.append(put(before, 0, size=SIZE).stream)
        for number in range(1, 12):
            put(before, number, size=SIZE)
        before.leave()
    remove = disk.remove

    def stubborn(path: Path) -> None:
        if path.parent.name == min(streams):
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        remove(path)

    journal = opened(retain_s=0.0)
    lease = leading(journal)
    consume(lease, "a", 24)
    command = tmp_path / "data" / "inbox" / "00000000000000000001-0badcafe.cmd"
    command.write_text('{"op": "seek", "args": {"tool": "a", "since_ms": null, "to": "end"}}')
    with monkeypatch.context() as patched:
        patched.setattr(disk, "remove", stubborn)
        with pytest.raises(JournalDown, match="not permitted"):
            lease.tend()
        assert [path.name for path in tmp_path.glob("data/w/*")] == [min(streams)]
        assert segments(tmp_path) == ["00000001.seg", "00000002.seg"]
        assert command.with_suffix(".done").exists()
    lease.tend()
    assert segments(tmp_path) == []


def test_what_is_parked_or_in_flight_holds_nothing_back_but_is_kept(opened: Open, tmp_path: Path) -> None:
    """A parked item has a copy of its event; an event in flight is not settled, and holds its segment."""
    journal = opened(retain_s=0.0)
    journal.register(["a"])
    at = [put(journal, number, size=SIZE) for number in range(12)]
    lease = leading(journal)
    take(lease, "a", 12)
    lease.commit("a", Commit(park=[Parked(Key(at[0], 0), b"copy", 1, NOW_MS, "HTTP 500")]))
    lease.commit("a", delivered(*(Key(position, 0) for position in at[2:])))
    lease.tend()
    assert len(segments(tmp_path)) == 2
    lease.commit("a", delivered(Key(at[1], 0)))
    lease.tend()
    assert len(segments(tmp_path)) == 1
    assert [item.record for item in lease.due("a", NOW_MS, 10)] == [b"copy"]


def test_a_consumed_segment_is_kept_for_its_time(opened: Open, tmp_path: Path) -> None:
    journal = opened(retain_s=0.5)
    journal.register(["a"])
    for number in range(12):
        put(journal, number, size=SIZE)
    lease = leading(journal)
    consume(lease, "a", 12)
    begun_s = time.monotonic()
    lease.tend()
    assert len(segments(tmp_path)) == 2
    tend_until(lease, lambda: len(segments(tmp_path)) == 1)
    assert time.monotonic() - begun_s > 0.4


def test_a_replay_holds_a_consumed_segment_again(opened: Open, tmp_path: Path) -> None:
    journal = opened(retain_s=0.3)
    journal.register(["a"])
    for number in range(12):
        put(journal, number, size=SIZE)
    lease = leading(journal)
    consume(lease, "a", 12)
    lease.tend()
    assert journal.seek("a", to="start") == 12
    time.sleep(0.4)
    lease.tend()
    assert len(segments(tmp_path)) == 2
    consume(lease, "a", 12)
    lease.tend()
    assert len(segments(tmp_path)) == 2  # its time begins anew
    tend_until(lease, lambda: len(segments(tmp_path)) == 1)


def test_places_are_durable_before_anything_is_unlinked(opened: Open, tmp_path: Path) -> None:
    """What the state on the disk says is past a segment, at the moment at which it is gone."""
    journal = opened(retain_s=0.0)
    journal.register(["a"])
    for number in range(12):
        put(journal, number, size=SIZE)
    lease = leading(journal)
    consume(lease, "a", 12)
    synced: list[tuple[str, int]] = []
    real_sync, real_unlink = os.fdatasync, Path.unlink
    state = tmp_path / "data" / "state"

    def sync(fd: int) -> None:
        real_sync(fd)
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path.parent == state:
            synced.append((path.name, path.stat().st_size))

    def unlink(path: Path, *, missing_ok: bool = False) -> None:
        if path.suffix == ".seg":
            [log] = state.glob("*.log")
            assert synced[-1:] == [(log.name, log.stat().st_size)], "places are not on the disk"
            unlinked.append(path.name)
        real_unlink(path, missing_ok=missing_ok)

    unlinked: list[str] = []
    with pytest.MonkeyPatch.context() as system:
        system.setattr(os, "fdatasync", sync)
        system.setattr(Path, "unlink", unlink)
        lease.tend()
    assert unlinked == ["00000001.seg"]


# Streams


def test_an_idle_stream_that_is_consumed_is_sealed_and_taken_over(peers: Peers) -> None:
    writer = peers.start("a", retain_s=0.0)
    leader = peers.start("a", retain_s=0.0)
    writer.put_many("x", 5)
    assert leader.lead()
    assert leader.settle_all("a") == 5
    leader.tend()
    writer.rest_long()
    until(lambda: writer.written() == [])
    leader.tend()
    leader.tend()
    assert list(peers.data.glob("w/*")) == []
    writer.put("y")
    assert len(list(peers.data.glob("w/*"))) == 1
    assert leader.take("a") == ["y"]
    assert leader.tool("a")["backlog"] == 1


def test_an_idle_stream_that_is_not_consumed_stays_its_owners(peers: Peers) -> None:
    writer = peers.start("a")
    writer.put("x")
    writer.rest_long()
    time.sleep(1.5)  # it looks each second
    assert len(writer.written()) == 1


def test_streams_of_ended_processes_are_consumed_and_vanish(peers: Peers) -> None:
    for number in range(4):
        peer = peers.start("a", retain_s=0.0)
        peer.put_many(f"p{number}", 5)
        if number % 2:
            peer.leave()
        peers.kill(peer)
    assert len(list(peers.data.glob("w/*"))) == 4
    leader = peers.start("a", retain_s=0.0)
    assert leader.lead()
    assert leader.settle_all("a") == 20
    leader.tend()
    leader.tend()
    assert list(peers.data.glob("w/*")) == []
    assert leader.tool("a") == {"backlog": 0, "parked": 0, "dead": 0, "counts": {"delivered": 20}}
    peers.kill(leader)
    again = peers.start("a")
    assert again.tool("a") == {"backlog": 0, "parked": 0, "dead": 0, "counts": {"delivered": 20}}


def test_a_stream_that_nobody_wrote_to_leaves_nothing(opened: Open, tmp_path: Path) -> None:
    opened().register(["a"])
    assert list((tmp_path / "data" / "w").iterdir()) == []


# The cap


def test_the_cap_counts_what_tools_wait_for_in_all_processes(peers: Peers) -> None:
    cap = 3 * 1024 * 1024
    one, two = (peers.start("a", cap_bytes=cap) for _ in range(2))
    one.put_many("one", 15, size=SIZE)
    time.sleep(0.2)  # each looks at the others ten times a second
    refusals = two.put_until_full("two", SIZE)
    assert 12 <= refusals <= 17
    assert one.lead()
    assert one.settle_all("a") == 15 + refusals
    one.tend()

    def taken() -> bool:
        try:
            two.put("again", SIZE)
        except Told:
            return False
        return True

    until(taken)


def test_parked_copies_count_against_the_cap(opened: Open) -> None:
    journal = opened(cap_bytes=1024 * 1024)
    journal.register(["a"])
    at = put(journal, 1)
    lease = leading(journal)
    lease.commit("a", Commit(park=[Parked(Key(at, 0), bytes(1024 * 1024), 1, NOW_MS, "HTTP 500")]))
    lease.sync()

    def full() -> bool:
        try:
            put(journal, 2, size=1000)
        except JournalFull:
            return True
        return False

    until(full)
    lease.commit("a", Commit(unpark=[Key(at, 0)], counts={("delivered", ""): 1}))
    lease.sync()
    until(lambda: not full())


# Tools that nobody knows any more


def test_a_tool_that_nobody_is_configured_for_is_forgotten_after_a_day(
    peers: Peers, opened: Open, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "STARTING_S", 0.0)
    other = peers.start("b")
    journal = opened()
    journal.register(["a", "b", "c"])
    put(journal, 1)
    journal.leave()
    for tool in ("a", "b", "c"):
        day_s = time.time() - 25 * 3600
        os.utime(peers.data / "tools" / tool, (day_s, day_s))
    journal = opened()
    journal.register(["a"])
    lease = leading(journal)
    lease.tend()
    assert sorted(stats.tool for stats in journal.stats().tools) == ["a", "b"]
    assert tool_stats(journal, "b").backlog_events == 1
    assert any("tool c is configured nowhere any more" in line and "1 event" in line for line in caplog.messages)
    peers.kill(other)


def test_after_a_day_on_which_nothing_ran_every_process_may_say_first_what_it_is_configured_for(
    opened: Open, tmp_path: Path
) -> None:
    """Else whichever leads first would end what the others deliver; so would a clock that jumps, between two processes."""
    journal = opened()
    journal.register(["a", "b"])
    put(journal, 1)
    journal.leave()
    for path in tmp_path.glob("data/tools/*"):
        os.utime(path, (0, 0))
    journal = opened()
    journal.register(["a"])
    lease = leading(journal)
    lease.tend()
    late = opened()
    late.register(["b"])
    lease.tend()
    assert tool_stats(journal, "b").backlog_events == 1


def test_a_reader_goes_as_far_as_a_dead_stream_holds_and_does_not_look_behind_it(opened: Open, tmp_path: Path) -> None:
    before = opened()
    for number in range(3):
        before.append(bytes(100), events=1, recorded_ms=number, stamp=number).result(10)
    before.leave()
    sources = Sources(Layout(tmp_path / "data"), leading=False)
    sources.take_over()
    [limit] = sources.horizon().limits.values()
    sources.close()
    assert limit == 3
