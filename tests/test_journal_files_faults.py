"""The file journal on a disk that fails or is full, in processes of their own whose system calls fail as told.

Source: JOURNAL.md «Writer» 2, 4 and 6, «Locks» (the reserve), «Must-have tests».
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventmw.errors import JournalDown, JournalFull
from eventmw.journal.files import FileJournal
from tests.failing_disk import FailingDisk
from tests.peers import Peer, Peers, Told, hub, repeats, until


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with hub(tmp_path) as peers:
        yield peers


def named(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def refused(peer: Peer, record: str, size: int = 0) -> str:
    """Append what cannot be kept; return the kind of the refusal."""
    with pytest.raises(Told) as told:
        peer.put(record, size)
    return told.value.kind


def takes_again(peer: Peer, record: str, size: int = 0) -> float:
    """Append until it is taken; return after how many seconds that was."""
    start_s = time.monotonic()

    def taken() -> bool:
        try:
            peer.put(record, size)
        except Told:
            return False
        return True

    until(taken)
    return time.monotonic() - start_s


# A sync that fails


@pytest.mark.parametrize("call", ["fdatasync", "pwrite"])
def test_after_a_failed_write_or_sync_the_records_stand_in_a_new_segment_and_come_once(peers: Peers, call: str) -> None:
    writer = peers.start("a")
    writer.put_many("before", 5)
    writer.fail(call, errno.EIO, "/00000001.seg", 1)
    writer.put_many("on", 5)
    writer.put_many("after", 5)
    failed, again = writer.failed()
    assert ([Path(path).name for path in failed], again) == (["00000001.seg"], [])
    assert sorted(path.name for path in peers.data.glob("w/*/*.seg")) == ["00000001.seg", "00000002.seg"]
    wanted = sorted([*named("before", 5), *named("on", 5), *named("after", 5)])
    reader = peers.start("a")
    assert reader.lead()
    assert sorted(reader.take("a")) == wanted
    reader.end_lease()
    peers.kill(writer)  # and once more when its stream is dead, where nothing but the fence limits the reader
    assert reader.lead()
    assert sorted(reader.take("a")) == wanted


def test_what_was_refused_after_a_failed_sync_is_read_neither_while_its_owner_lives_nor_after(peers: Peers) -> None:
    """Its seq is given to the next record, which would not be read if the refused one was."""
    writer = peers.start("a")
    writer.put("before")
    writer.fail("fdatasync", errno.EIO, "seg")
    writer.fail("pwrite", errno.EIO, ".spare")
    assert refused(writer, "refused") == "JournalDown"
    reader = peers.start("a")
    assert reader.lead()
    assert reader.take("a") == ["before"]
    writer.heal()
    assert takes_again(writer, "after") < 5
    assert reader.take("a") == ["after"]
    reader.end_lease()
    peers.kill(writer)
    assert reader.lead()
    assert reader.take("a") == ["before", "after"]


def test_a_disk_that_fails_for_a_while_is_told_and_tried_again(peers: Peers) -> None:
    writer = peers.start("a")
    writer.put("before")
    writer.fail("fdatasync", errno.EIO, "")
    assert refused(writer, "x") == "JournalDown"
    assert refused(writer, "y") == "JournalDown"
    assert sum("the journal cannot keep events" in line for line in writer.log()) == 1
    writer.heal()
    assert takes_again(writer, "after") < 5
    _, again = writer.failed()
    assert again == []
    assert writer.lead()
    assert writer.take("a") == ["before", "after"]


def test_places_that_could_not_be_synced_are_written_anew(peers: Peers) -> None:
    leader = peers.start("a")
    at = [leader.put(name) for name in named("x", 3)]
    assert leader.lead()
    leader.settle("a", at[0])
    leader.fail("fdatasync", errno.EIO, "/state/", 1)
    with pytest.raises(Told, match="JournalDown"):
        leader.sync()
    leader.settle("a", at[1])
    leader.sync()
    _, again = leader.failed()
    assert again == []
    peers.kill(leader)
    following = peers.start("a")
    assert following.lead()
    assert following.take("a") == ["x-2"]


def test_a_place_that_could_not_be_written_has_not_moved(peers: Peers) -> None:
    leader = peers.start("a")
    at = [leader.put(name) for name in named("x", 2)]
    assert leader.lead()
    leader.fail("pwrite", errno.EIO, "/state/")
    with pytest.raises(Told, match="JournalDown"):
        leader.settle("a", at[0])
    assert leader.tool("a")["backlog"] == 2
    leader.heal()
    leader.settle("a", at[0])
    peers.kill(leader)
    following = peers.start("a")
    assert following.lead()
    assert following.take("a") == ["x-1"]


def test_a_dead_letter_that_could_not_be_kept_is_not_one(peers: Peers) -> None:
    leader = peers.start("a")
    at = [leader.put(name) for name in named("x", 2)]
    assert leader.lead()
    leader.fail("fdatasync", errno.EIO, "/dead/")
    with pytest.raises(Told, match="JournalDown"):
        leader.bury("a", at[0])
    leader.heal()
    peers.kill(leader)
    following = peers.start("a")
    assert following.lead()
    assert following.letters() == []
    assert following.take("a") == ["x-0", "x-1"]
    following.bury("a", at[0])
    assert following.letters() == [["a", [at[0], 0]]]


# A full disk


def test_on_a_full_disk_new_events_are_refused_and_all_else_goes_on(peers: Peers) -> None:
    """Segments are made of real bytes ahead of need, so that what fits in one is still taken."""
    site = peers.start("a")
    site.put_many("first", 6, size=100_000)
    assert site.lead()
    site.tend()
    assert (peers.data / "reserve").stat().st_size == 1024 * 1024
    site.fill_disk()
    taken = site.put_until_full("more", 100_000)
    assert taken >= 3
    assert site.settle_all("a") == 6 + taken
    site.sync()
    site.tend()
    assert any("reserve" in line for line in site.log())
    assert site.tool("a")["backlog"] == 0
    site.heal()
    assert takes_again(site, "after") < 5
    until(lambda: bool(site.tend()) or (peers.data / "reserve").exists())
    peers.kill(site)
    following = peers.start("a")
    assert following.lead()
    assert following.take("a") == ["after"]


def test_a_process_can_take_over_on_a_full_disk(peers: Peers) -> None:
    first = peers.start("a")
    first.put_many("x", 10)
    assert first.lead()
    first.tend()
    peers.kill(first)
    second = peers.start("a")
    second.fill_disk()
    assert second.lead()
    assert sorted(second.take("a")) == sorted(named("x", 10))
    assert second.settle_all("a") == 0
    assert refused(second, "new") == "JournalFull"


def test_a_full_disk_leaves_no_half_made_files(peers: Peers) -> None:
    site = peers.start("a")
    site.put_many("x", 4, size=100_000)
    site.fail("pwrite", errno.ENOSPC, ".spare")
    site.put_many("y", 2, size=100_000)  # past the half: the next segment is begun beside
    until(lambda: site.failed()[0] != [])
    until(lambda: list(peers.data.glob("w/*/.spare*")) == [])
    assert refused(site, "big", 900_000) == "JournalFull"
    assert list(peers.data.glob("w/*/.spare*")) == []
    assert site.died() == []
    other = peers.start("a")
    other.fail("pwrite", errno.ENOSPC, ".spare")
    assert refused(other, "new") == "JournalFull"
    assert len(list((peers.data / "w").iterdir())) == 1


def test_a_disk_with_less_room_than_the_next_segment_wants_is_used_to_its_last_mebibyte(peers: Peers) -> None:
    """Segments have grown to many mebibytes by then; room for a few events must not wait for room for thousands."""
    mebibyte = 1024 * 1024
    site = peers.start("a")
    site.put_many("first", 50, size=200_000)
    assert site.lead()
    site.tend()
    site.fill_disk()
    site.put_until_full("more", 200_000)
    site.fill_disk(3 * mebibyte)
    assert takes_again(site, "again") < 5
    assert site.put_until_full("last", 200_000) >= 10
    site.fill_disk(mebibyte + mebibyte // 2)
    assert takes_again(site, "once more") < 5


def test_what_a_leader_gave_up_to_go_on_is_not_taken_for_new_events(peers: Peers) -> None:
    site = peers.start("a")
    at = [site.put(name, 100_000) for name in named("x", 2)]
    assert site.lead()
    site.tend()
    site.fill_disk()
    site.settle("a", at[0])
    site.sync()
    assert not (peers.data / "reserve").exists()
    assert refused(site, "big", 1_000_000) == "JournalFull"
    another = peers.start("a")
    another.fill_disk(1024 * 1024)
    assert refused(another, "small") == "JournalFull"
    site.settle("a", at[1])
    site.sync()


def test_a_full_disk_is_told_until_what_was_refused_would_be_kept(peers: Peers) -> None:
    site = peers.start("a")
    site.put("first")
    site.fill_disk()
    assert refused(site, "big", 2_000_000) == "JournalFull"
    until_s = time.monotonic() + 3
    while time.monotonic() < until_s:
        assert site.ready() == "the disk is full"
        time.sleep(0.05)
    site.heal()
    until(lambda: site.ready() == "")
    site.put("big", 2_000_000)


# The byte cap


def test_over_the_cap_consumed_segments_go_first_then_new_events_are_refused_and_room_comes_back(peers: Peers) -> None:
    cap = 8 * 1024 * 1024
    site = peers.start("a", "b", cap_bytes=cap)
    assert site.lead()
    written = 0
    for _ in range(3):  # three times the cap in all: consumed ones make room
        for number in range(40):  # what has been consumed is learned ten times a second
            assert takes_again(site, f"x{written + number}", 100_000) < 5
        written += 40
        assert (site.settle_all("a"), site.settle_all("b")) == (40, 40)
        site.tend()
        site.tend()
        assert sum(path.stat().st_size for path in peers.data.glob("w/*/*.seg")) <= 2 * cap
    taken = site.put_until_full("y", 100_000)
    assert 60 < taken < 90
    assert site.settle_all("a") == taken
    site.tend()
    time.sleep(0.2)
    assert refused(site, "z", 100_000) == "JournalFull"  # b still needs all of them
    assert site.settle_all("b") == taken
    site.tend()
    assert takes_again(site, "z") < 5
    assert repeats(site.scan()) == 0


# A process that starts on a full disk


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder of a process that has ended, with one record that tool ``a`` has not got."""
    with hub(tmp_path) as peers:
        peer = peers.start("a")
        assert peer.lead()
        peer.tend()
        peer.put("first")
        peers.kill(peer)
    for path in tmp_path.glob("data/members/*"):
        path.unlink()  # its bytes would be the room of the next one
    return tmp_path / "data"


@contextmanager
def full(folder: Path) -> Iterator[FailingDisk]:
    disk = FailingDisk()
    disk.fill(folder)
    try:
        yield disk
    finally:
        disk.heal()


def put(journal: FileJournal, record: bytes) -> None:
    journal.append(record, events=1, recorded_ms=0, stamp=time.monotonic_ns()).result(20)


def put_once_it_can(journal: FileJournal, record: bytes) -> None:
    def taken() -> bool:
        try:
            put(journal, record)
        except (JournalDown, JournalFull):
            return False
        return True

    until(taken)


def read(journal: FileJournal, tool: str) -> list[bytes]:
    lease = journal.lead()
    assert lease is not None
    lease.tend()
    return [reading.entry.record for reading in lease.read(tool, 10)]


def test_a_process_that_starts_on_a_full_disk_delivers_by_the_reserve(left: Path) -> None:
    with full(left) as disk:
        journal = FileJournal(left)
        journal.register(["a"])
        assert not (left / "reserve").exists()
        with pytest.raises(JournalFull):
            put(journal, b"second")
        assert read(journal, "a") == [b"first"]
        disk.heal()
        put_once_it_can(journal, b"second")
        journal.leave()


def test_a_process_starts_on_a_disk_without_any_room_and_says_so_to_who_sends(
    left: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that could not start would take the site down with it. What a new tool is to get is not taken before it
    is known for good."""
    (left / "reserve").unlink()
    with full(left) as disk:
        journal = FileJournal(left)
        assert "the disk is full" in caplog.text
        with pytest.raises(JournalFull):
            journal.register(["a", "b"])
        assert journal.ready() == "the disk is full"
        with pytest.raises(JournalFull):
            put(journal, b"second")
        disk.heal()
        put_once_it_can(journal, b"second")
        assert journal.ready() == ""
        assert read(journal, "b") == [b"second"]
        journal.leave()
