"""The replay of power cuts, calibrated on programs whose answer is known: it must find nothing, and it must find something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crash import strace
from tests.crash.power.cut import Outcome, judge, states
from tests.crash.power.disk import ROOT, Disk, File, Folder, Patch, content
from tests.crash.power.images import FIXED, image, policies
from tests.crash.power.recording import calls
from tests.crash.power.replay import Replay
from tests.crash.power.writers import RECOVERS, WRITERS

needs_strace = pytest.mark.skipif(bool(strace.missing()), reason=strace.missing() or "strace is there")
LOG = PurePosixPath("log")


@needs_strace
@pytest.mark.parametrize("kind", WRITERS)
def test_a_writer_that_syncs_loses_nothing_and_one_that_does_not_loses(kind: str, tmp_path: Path) -> None:
    assert cut(kind, "synced", tmp_path / "synced").lost == 0
    assert cut(kind, "unsynced", tmp_path / "unsynced").lost > 0


def cut(kind: str, how: str, folder: Path) -> Outcome:
    data = folder / "data"
    data.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.crash.power.writers", kind, str(data), how]
    subprocess.run(["strace", "-f", "-o", str(folder / "log"), *strace.recording(), *command], check=True)
    outcome = judge(states([folder / "log"], data, by_chance=1), RECOVERS[kind], folder)
    assert outcome.states > 50
    assert outcome.acknowledged > 50
    return outcome


def test_a_recording_is_read_across_threads() -> None:
    lines = [
        r'10  pwrite64(3, "\x61\x62", 2, 4096) = 2',
        r"11  fdatasync(3 <unfinished ...>",
        r'10  pwritev2(200, [{iov_base="\x61", iov_len=1}, {iov_base="\x62", iov_len=1}], 2, 0, RWF_APPEND) = 2',
        r"11  <... fdatasync resumed>)             = -1 EIO (Input/output error) (INJECTED)",
        r"10  --- SIGCHLD {si_signo=SIGCHLD} ---",
        r'12  write(4, "\x7a", 1 <unfinished ...>',
        r"10  +++ exited with 0 +++",
    ]
    write, mark, sync, unfinished = calls(lines)
    assert (write.name, write.result, write.data(), write.numbers()) == ("pwrite64", 2, b"ab", [3, 2, 4096])
    assert (mark.data(), mark.began, mark.ended, mark.numbers()[0]) == (b"ab", 2, 2, 200)
    assert (sync.name, sync.result, sync.began, sync.ended) == ("fdatasync", -1, 1, 3)
    assert (unfinished.name, unfinished.result, unfinished.data()) == ("write", None, b"z")


def test_a_recording_that_is_cut_is_refused() -> None:
    [call] = calls([r'10  write(3, "\x61"..., 9) = 9'])
    with pytest.raises(ValueError, match="larger -s"):
        call.data()


def test_a_sync_covers_what_was_written_before_it_began() -> None:
    disk = Disk()
    log = disk.make(1, LOG, File())
    disk.patch(log, Patch(2, 0, b"early"))
    disk.patch(log, Patch(4, 5, b"late"))
    disk.sync(log, 3)
    disk.sync(ROOT, 9)
    assert image(disk, FIXED[0]) == {"log": b"early"}
    assert image(disk, FIXED[1]) == {"log": b"earlylate"}


def test_what_a_failed_sync_was_to_write_is_never_durable() -> None:
    disk = Disk()
    log = disk.make(1, LOG, File())
    disk.sync(ROOT, 2)
    disk.patch(log, Patch(3, 0, b"gone"))
    disk.sync(log, 4, failed=True)
    disk.patch(log, Patch(5, 4, b"kept"))
    disk.sync(log, 6)
    assert image(disk, FIXED[1]) == {"log": b"\0\0\0\0kept"}


def test_a_name_is_durable_when_its_folder_is_and_a_rename_is_one_change() -> None:
    disk = Disk()
    disk.make(1, PurePosixPath("w"), Folder())
    disk.sync(ROOT, 2)
    log = disk.make(3, PurePosixPath("w/new"), File())
    disk.patch(log, Patch(4, 0, b"x"))
    disk.sync(log, 5)
    assert image(disk, FIXED[0]) == {"w": None}
    folder = disk.find(PurePosixPath("w"))
    assert folder is not None
    disk.sync(folder, 6)
    disk.rename(7, PurePosixPath("w/new"), PurePosixPath("w/log"))
    assert image(disk, FIXED[0]) == {"w": None, "w/new": b"x"}
    assert image(disk, FIXED[1]) == {"w": None, "w/log": b"x"}
    disk.sync(folder, 8)
    disk.remove(9, PurePosixPath("w/log"))
    assert image(disk, FIXED[0]) == {"w": None, "w/log": b"x"}
    assert image(disk, FIXED[1]) == {"w": None}


patches = st.lists(
    st.one_of(
        st.builds(Patch, st.just(0), st.integers(0, 2000), st.binary(min_size=1, max_size=1500)),
        st.builds(Patch, st.just(0), st.integers(0, 3000), st.none(), st.booleans()),
    ),
    max_size=6,
)


@given(st.binary(max_size=1200), patches)
def test_content_is_what_a_real_file_has(durable: bytes, changes: list[Patch]) -> None:
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(durable)
        for patch in changes:
            if patch.data is not None:
                file.seek(patch.offset)
                file.write(patch.data)
            elif not patch.grows or patch.offset > file.seek(0, 2):
                file.truncate(patch.offset)
        file.seek(0)
        assert content(durable, changes) == file.read()


@given(st.binary(max_size=1200), patches, st.integers(0, 1000))
def test_every_byte_left_was_there_once(durable: bytes, changes: list[Patch], seed: int) -> None:
    disk = Disk()
    log = disk.make(0, LOG, File(durable))
    disk.sync(ROOT, 1)
    versions = [content(durable, changes[:many]) for many in range(len(changes) + 1)]
    for patch in changes:
        disk.patch(log, patch)
    for policy in policies(seed, 3):
        left = image(disk, policy)["log"]
        assert left is not None
        assert len(left) <= max(map(len, versions))
        for at, byte in enumerate(left):
            assert byte == 0 or any(at < len(old) and old[at] == byte for old in versions)


def test_a_descriptor_may_be_reused_before_its_close_has_come_back() -> None:
    def path(text: str) -> str:
        return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'

    lines = [
        f"1  openat(AT_FDCWD, {path('/d/a')}, O_WRONLY|O_CREAT, 0600) = 3",
        f"2  openat(AT_FDCWD, {path('/d/b')}, O_WRONLY|O_CREAT, 0600 <unfinished ...>",
        "1  close(3 <unfinished ...>",
        "2  <... openat resumed>) = 3",
        "1  <... close resumed>) = 0",
        r'2  write(3, "\x62", 1) = 1',
    ]
    replay = Replay("/d", calls(lines))
    list(replay.moments())
    assert image(replay.disk, FIXED[1]) == {"a": b"", "b": b"b"}


def test_an_ack_counts_when_it_can_be_seen_and_an_arrival_when_it_is_sure() -> None:
    lines = [
        r'1  openat(AT_FDCWD, "/d/log", O_WRONLY|O_CREAT, 0600) = 3'.replace("/d/log", r"\x2f\x64\x2f\x6c\x6f\x67"),
        r'1  pwritev2(200, [{iov_base="\x61\x63\x6b\x65\x64\x20\x61\x0a", iov_len=8}], 1, 0, RWF_APPEND <unfinished ...>',
        r'2  pwritev2(200, [{iov_base="\x67\x6f\x74\x20\x62\x0a", iov_len=6}], 1, 0, RWF_APPEND <unfinished ...>',
        r'3  write(3, "\x78", 1) = 1',
        r"1  <... pwritev2 resumed>) = 8",
        r"2  <... pwritev2 resumed>) = 6",
        r'3  write(3, "\x79", 1) = 1',
    ]
    replay = Replay("/d", calls(lines))
    seen = [(moment.call, set(moment.acked), set(moment.got)) for moment in replay.moments()]
    assert seen == [
        ("openat", set(), set()),
        ("write", {"a"}, set()),
        ("pwritev2", {"a"}, set()),
        ("pwritev2", {"a"}, {"b"}),
        ("write", {"a"}, {"b"}),
    ]
    assert image(replay.disk, FIXED[1]) == {"log": b"xy"}
