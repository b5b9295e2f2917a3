"""The file journal after damage: flipped bits, torn and strange tails, what a crash leaves lying about.

Source: JOURNAL.md «Reader» 4, «State», «Must-have tests».
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventmw.journal import Commit, DeadLetter, Key, Lease, Parked, Position
from eventmw.journal.files import FileJournal, frames
from eventmw.journal.files.frames import HEADER_BYTES, Header, Total
from eventmw.journal.files.stream import HELD_AT
from tests.journal_peer import everything
from tests.peers import hub

COUNT = 40
BIG = 100_000
NAMES = [f"x-{number}" for number in range(COUNT)]
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def left_by_a_killed_process(folder: Path, size: int) -> Path:
    """Return the data directory of a process that was killed after it had kept the records `NAMES`."""
    with hub(folder) as peers:
        peer = peers.start("a")
        for name in NAMES:
            peer.put(name, size)
        peers.kill(peer)
    return folder / "data"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return left_by_a_killed_process(tmp_path_factory.mktemp("small"), 0)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in three segments."""
    return left_by_a_killed_process(tmp_path_factory.mktemp("large"), BIG)


@contextmanager
def copy_of(data: Path, folder: Path) -> Iterator[Path]:
    """Return a copy that may be damaged."""
    copy = folder / f"copy-{os.urandom(4).hex()}"
    shutil.copytree(data, copy)
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


@contextmanager
def led(data: Path, **options: float) -> Iterator[Lease]:
    journal = FileJournal(data, **options)  # type: ignore[arg-type]
    lease = journal.lead()
    assert lease is not None
    try:
        yield lease
    finally:
        journal.leave()


def read(lease: Lease, tool: str = "a") -> list[str]:
    return [reading.entry.record.decode().rstrip(".") for reading in everything(lease, tool, 1000)]


def segment_of(data: Path, number: int = 1) -> Path:
    [path] = data.glob(f"w/*/{number:08}.seg")
    return path


def frames_of(path: Path) -> list[tuple[str, int, int]]:
    """Return each record of a segment with where its frame begins and ends."""
    content = path.read_bytes()
    header = Header.decode(content)
    assert header is not None
    found, at = [], HEADER_BYTES
    while (frame := frames.decode(content, at, header.seed)) is not None:
        found.append((frame.record.decode().rstrip("."), at, frame.end))
        at = frame.end
    return found


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def flip(path: Path, at: int, mask: int = 0xFF) -> None:
    overwrite(path, at, bytes([path.read_bytes()[at] ^ mask]))


def losses(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.ERROR and "the disk has lost" in record.getMessage()
    ]


# Segments


@quick
@given(places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=5))
def test_wherever_bits_are_flipped_all_other_records_are_delivered_and_the_loss_is_told(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, places: list[tuple[float, int]]
) -> None:
    caplog.clear()
    with copy_of(small, tmp_path) as data:
        path = segment_of(data)
        whole = frames_of(path)
        first, end = whole[0][1], whole[-1][2]
        for place, mask in places:
            flip(path, first + int(place * (end - first)), mask)
        content = path.read_bytes()
        header = Header.decode(content)
        assert header is not None
        intact = [name for name, at, _ in whole if frames.decode(content, at, header.seed) is not None]
        with led(data) as lease:
            assert read(lease) == intact
            lease.tend()
            lease.tend()
            assert bool(losses(caplog)) == (intact != NAMES)
            assert len(losses(caplog)) <= len(places)


def as_after_a_restart_of_the_machine(data: Path) -> None:
    """Have all segments be of another boot: what its processes told each other is not known to be true any more."""
    for path in data.glob("w/*/*.seg"):
        header = Header.decode(path.read_bytes())
        assert header is not None
        overwrite(path, 0, replace(header, boot=b"another boot    ").encode())


def test_after_a_restart_of_the_machine_too_no_record_is_missing_in_silence(
    large: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a later segment begins after was durable. Of the last segment it cannot be known, and that is said."""
    with copy_of(large, tmp_path) as data:
        as_after_a_restart_of_the_machine(data)
        whole = [frames_of(segment_of(data, number)) for number in (1, 3)]
        for number, places in zip((1, 3), whole, strict=True):
            flip(segment_of(data, number), places[1][1] + 60)
        with led(data) as lease:
            assert len(read(lease)) == COUNT - 2
            for _ in range(3):
                lease.tend()
        [told] = losses(caplog)
        assert "records 2 to 2" in told
        [asked] = [line for line in caplog.messages if "whether" in line]
        missing = NAMES.index(whole[1][1][0]) + 1
        assert f"records {missing} to {missing}" in asked


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_damaged_header_costs_its_segment_and_no_more(
    large: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    with copy_of(large, tmp_path) as data:
        gone = {name for name, _, _ in frames_of(segment_of(data, number))}
        flip(segment_of(data, number), 40)
        with led(data, retain_s=0.0) as lease:
            assert read(lease) == [name for name in NAMES if name not in gone]
            lease.tend()
            assert len(losses(caplog)) == 1
            unreadable = [line for line in caplog.messages if "no segment that this version can read" in line]
            assert len(unreadable) == 1
            lease.tend()
            assert segment_of(data, number).exists()


def test_a_stream_of_which_no_header_is_left_is_not_thrown_away(small: Path, tmp_path: Path) -> None:
    with copy_of(small, tmp_path) as data:
        flip(segment_of(data), 3)
        with led(data, retain_s=0.0) as lease:
            assert read(lease) == []
            for _ in range(3):
                lease.tend()
            assert segment_of(data).exists()


def test_segments_behind_damage_are_let_go_once_what_is_left_is_consumed(large: Path, tmp_path: Path) -> None:
    with copy_of(large, tmp_path) as data:
        flip(segment_of(data, 1), frames_of(segment_of(data, 1))[3][1] + 60)
        with led(data, retain_s=0.0) as lease:
            readings = everything(lease, "a", 1000)
            assert len(readings) == COUNT - 1
            lease.commit("a", Commit(settled=[Key(reading.entry.position, 0) for reading in readings]))
            lease.tend()
            lease.tend()
            assert list(data.glob("w/*")) == []


@quick
@given(cut=st.floats(0, 1), padding=st.binary(max_size=40))
def test_a_torn_tail_that_nobody_was_promised_is_passed_over_in_silence(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: float, padding: bytes
) -> None:
    """Or delivered when it is whole: its sender has no answer, so both are right."""
    caplog.clear()
    with copy_of(small, tmp_path) as data:
        path = segment_of(data)
        header = Header.decode(path.read_bytes())
        assert header is not None
        total = Total(COUNT + 1, COUNT + 1, 10_000)
        frame = frames.encode(header.seed, total, 1, (time.monotonic_ns(), 0), b"torn")
        kept = int(cut * len(frame))
        overwrite(path, frames_of(path)[-1][2], frame[:kept] + padding)
        with led(data) as lease:
            found = read(lease)
            lease.tend()
        assert found[:COUNT] == NAMES
        assert found[COUNT:] in ([], ["torn"])
        assert (kept == len(frame)) <= (found[COUNT:] == ["torn"])
        assert losses(caplog) == []


@quick
@given(garbage=st.binary(min_size=1, max_size=4096))
def test_a_strange_tail_is_nothing(small: Path, tmp_path: Path, garbage: bytes) -> None:
    with copy_of(small, tmp_path) as data:
        overwrite(segment_of(data), frames_of(segment_of(data))[-1][2], garbage)
        with led(data) as lease:
            assert read(lease) == NAMES


def test_what_another_stream_left_on_the_same_blocks_is_nothing(small: Path, tmp_path: Path) -> None:
    """The same frames, whole, with another segment's salt: as blocks that the file system uses again may hold them."""
    with copy_of(small, tmp_path) as data:
        path = segment_of(data)
        end = frames_of(path)[-1][2]
        stale = frames.encode(12345, Total(COUNT + 1, COUNT + 1, 0), 1, (time.monotonic_ns(), 0), b"stale")
        overwrite(path, end, stale)
        with led(data) as lease:
            assert read(lease) == NAMES


def test_a_segment_that_is_cut_off_below_the_promise_is_told(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with copy_of(small, tmp_path) as data:
        os.truncate(segment_of(data), frames_of(segment_of(data))[30][1] + 10)
        with led(data) as lease:
            assert read(lease) == NAMES[:30]
            lease.tend()
            lease.tend()
        [told] = losses(caplog)
        assert "records 31 to 40" in told


def test_a_board_that_is_lost_costs_nothing_of_a_dead_stream(small: Path, tmp_path: Path) -> None:
    """After a power cut it may hold anything: it is a hint."""
    with copy_of(small, tmp_path) as data:
        [lock] = data.glob("w/*/lock")
        overwrite(lock, HELD_AT, bytes(64))
        with led(data) as lease:
            assert read(lease) == NAMES


# State and dead letters


def position(data: Path, seq: int) -> Position:
    return Position(next(iter(path.name for path in (data / "w").iterdir())), seq)


def worked_on(data: Path) -> tuple[Path, list[int]]:
    """Settle, park and bury, one step each; return the state's file, and how long it was after each step."""
    journal = FileJournal(data)
    lease = journal.lead()
    assert lease is not None
    lease.read("a", 1000)
    lengths = []
    for seq in range(1, 31):
        key = Key(position(data, seq), 0)
        match seq % 3:
            case 0:
                lease.commit("a", Commit(settled=[key], counts={("delivered", ""): 1}))
            case 1:
                lease.commit("a", Commit(park=[Parked(key, b"copy", 1, 0, "HTTP 500")]))
            case _:
                lease.commit("a", Commit(dead=[DeadLetter("a", key, b"copy", "rejected", "HTTP 400", 1, 0)]))
        [state] = data.glob("state/*.log")
        lengths.append(state.stat().st_size)
    journal.leave()
    return state, lengths


@quick
@given(cut=st.floats(0, 1, exclude_max=True), tail=st.binary(max_size=30))
def test_wherever_the_state_is_torn_every_event_is_in_one_place(
    small: Path, tmp_path: Path, cut: float, tail: bytes
) -> None:
    """What was done after the tear is done again; nothing is lost, and no event waits in two places."""
    with copy_of(small, tmp_path) as data:
        state, lengths = worked_on(data)
        size = lengths[0] + int(cut * (lengths[-1] - lengths[0]))
        os.truncate(state, size)
        with state.open("ab") as file:
            file.write(tail)
        steps = sum(length <= size for length in lengths)
        journal = FileJournal(data)
        lease = journal.lead()
        assert lease is not None
        left = [reading.entry.position.seq for reading in lease.read("a", 1000)]
        parked = [item.key.position.seq for item in lease.due("a", 1, 1000)]
        dead = [letter.key.position.seq for letter in journal.dead_letters("a")]
        done = [seq for seq in range(1, steps + 1) if seq % 3 == 0]
        assert sorted([*left, *parked, *dead, *done]) == list(range(1, COUNT + 1))
        assert parked == [seq for seq in range(1, steps + 1) if seq % 3 == 1]
        assert dead == [seq for seq in range(1, steps + 1) if seq % 3 == 2]
        journal.leave()


@quick
@given(tail=st.binary(min_size=1, max_size=60))
def test_a_strange_tail_of_the_dead_letters_is_nothing(small: Path, tmp_path: Path, tail: bytes) -> None:
    with copy_of(small, tmp_path) as data:
        worked_on(data)
        [log] = data.glob("dead/*.log")
        with log.open("ab") as file:
            file.write(tail)
        journal = FileJournal(data)
        lease = journal.lead()
        assert lease is not None
        assert [letter.key.position.seq for letter in journal.dead_letters("a")] == list(range(2, 31, 3))
        lease.commit("a", Commit(dead=[DeadLetter("a", Key(position(data, 31), 0), b"copy", "rejected", "", 1, 0)]))
        journal.leave()
        assert [letter.key.position.seq for letter in FileJournal(data).dead_letters("a")] == [*range(2, 31, 3), 31]


def test_a_newest_epoch_that_was_not_written_whole_is_passed_over(small: Path, tmp_path: Path) -> None:
    with copy_of(small, tmp_path) as data:
        state, _ = worked_on(data)
        state.with_name(f"{int(state.stem) + 1:08}.log").write_bytes(state.read_bytes()[:30])
        with led(data) as lease:
            assert read(lease) == NAMES[30:]
            assert len(lease.due("a", 1, 1000)) == 10


# Leftovers


def test_what_crashes_left_in_any_folder_is_ignored_and_taken_away(small: Path, tmp_path: Path) -> None:
    old_s = time.time() - 3600
    with copy_of(small, tmp_path) as data:
        stream = next((data / "w").iterdir())
        made = [
            data / "state" / ".next",
            data / "w" / ".0123456789abcdef" / "lock",
            data / "w" / ".0123456789abcdef" / ".spare0",
            data / "inbox" / ".00000000000000000001-0badcafe.cmd.01234567",
            data / "inbox" / "00000000000000000001-0badcafe.done",
            data / "inbox" / "00000000000000000002-0badcafe.run",
            data / "inbox" / "00000000000000000003-0badcafe.cmd",
            data / "tools" / ".b.01234567",
            data / "members" / ".1-01234567",
            data / "members" / "1-01234567",
            data / ".reserve.01234567",
            data / "dead" / ".00000001.log.01234567",
        ]
        for path in made:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"half of something")
        command = {"op": "seek", "args": {"tool": ["not", "a", "name"], "since_ms": None, "to": "start"}}
        (data / "inbox" / "00000000000000000004-0badcafe.run").write_text(json.dumps(command))
        (data / "inbox" / "00000000000000000005-0badcafe.cmd").write_text('{"op": "dance", "args": {}}')
        for path in [*made, *data.glob("inbox/*"), data / "w" / ".0123456789abcdef"]:
            os.utime(path, (old_s, old_s))
        (stream / ".spare1").write_bytes(b"half of something")
        with led(data) as lease:
            assert read(lease) == NAMES
            for _ in range(3):
                lease.tend()
            left = [path for path in made if path.exists()]
            assert left == []
            assert not list(data.glob("inbox/*.run"))
            assert not list(data.glob("inbox/*.cmd"))
            assert (data / "reserve").stat().st_size == 1024 * 1024


# What stands in a file that cannot be read any more


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("content", [b"", b"\0" * 400, b"eventmw-state-9\nof a newer version"])
def test_a_state_that_cannot_be_read_costs_what_was_parked_and_is_told_and_set_aside(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """Every event that the log still holds comes again; a dead letter of which it does is one no more."""
    with copy_of(small, tmp_path) as data:
        state, _ = worked_on(data)
        state.write_bytes(content)
        caplog.clear()
        with led(data) as lease:
            assert read(lease) == NAMES
            lease.tend()
        [told] = errors(caplog)
        assert str(state) in told
        assert "go out again" in told
        [aside] = data.glob("state/*.unreadable")
        assert aside.read_bytes() == content
        caplog.clear()
        with led(data) as lease:
            lease.tend()
        assert errors(caplog) == []


def test_dead_letters_whose_records_are_gone_outlive_the_state(small: Path, tmp_path: Path) -> None:
    """They are the only copy."""
    with copy_of(small, tmp_path) as data:
        state, _ = worked_on(data)
        stream = next((data / "w").iterdir())
        state.write_bytes(b"")
        shutil.rmtree(stream)
        journal = FileJournal(data)
        lease = journal.lead()
        assert lease is not None
        assert [letter.key.position.seq for letter in journal.dead_letters("a")] == list(range(2, 31, 3))
        [stats] = journal.stats().tools
        assert stats.dead == 10
        journal.leave()


def test_damage_in_the_midst_of_the_state_is_told(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with copy_of(small, tmp_path) as data:
        state, lengths = worked_on(data)
        flip(state, lengths[10] + 20)
        caplog.clear()
        with led(data) as lease:
            assert read(lease)
        [told] = [line for line in caplog.messages if str(state) in line]
        assert f"{lengths[-1] - lengths[10]} bytes" in told


def test_a_tool_whose_file_is_damaged_stops_no_other_and_begins_at_the_oldest_record(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with copy_of(small, tmp_path) as data:
        worked_on(data)
        (data / "tools" / "a").write_bytes(b"")  # its place is in the state
        (data / "tools" / "b").write_bytes(b"")
        caplog.clear()
        with led(data) as lease:
            assert len(read(lease, "a")) == COUNT - 30
            assert read(lease, "b") == NAMES
            for _ in range(3):
                lease.tend()
        assert len([line for line in errors(caplog) if str(data / "tools" / "b") in line]) == 1


def test_a_log_of_dead_letters_of_a_newer_version_is_told_and_stays(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with copy_of(small, tmp_path) as data:
        worked_on(data)
        [log] = data.glob("dead/*.log")
        log.write_bytes(b"eventmw-dead-99\nof a newer version")
        caplog.clear()
        with led(data) as lease:
            lease.tend()
        [told] = errors(caplog)
        assert str(log) in told
        assert log.read_bytes() == b"eventmw-dead-99\nof a newer version"


def test_dead_letters_that_are_not_there_any_more_are_counted(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty log is also what a process leaves that ends as it begins one; but the state knows how many letters there were."""
    with copy_of(small, tmp_path) as data:
        worked_on(data)
        [log] = data.glob("dead/*.log")
        log.write_bytes(b"")
        caplog.clear()
        with led(data):
            pass
        assert [line for line in caplog.messages if "tool a: 10 of its 10 dead letters are not there" in line]


def test_damage_among_dead_letters_costs_those_of_one_step_and_is_told(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with copy_of(small, tmp_path) as data:
        worked_on(data)
        [log] = data.glob("dead/*.log")
        flip(log, 60)
        caplog.clear()
        journal = FileJournal(data)
        lease = journal.lead()
        assert lease is not None
        [told] = errors(caplog)
        assert f"bytes of dead letters in {log} cannot be read" in told
        assert [letter.key.position.seq for letter in journal.dead_letters("a")] == list(range(5, 31, 3))
        journal.leave()


@pytest.mark.parametrize("content", [b"", b"abc", b"not of us, but longer", None])
def test_what_was_kept_for_the_next_leader_is_there_whole_or_not_at_all(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    """Else a flipped bit in the index of ids could pass an event for a repetition, and a strange one end every shift."""
    with copy_of(small, tmp_path) as data:
        with led(data) as lease:
            lease.keep("duplicates", b"1 2\n{}")
            assert lease.kept("duplicates") == b"1 2\n{}"
        path = data / "kept" / "duplicates"
        if content is None:
            flip(path, 1)
        else:
            path.write_bytes(content)
        caplog.clear()
        with led(data) as lease:
            assert lease.kept("duplicates") is None
        assert [line for line in caplog.messages if str(path) in line]
        path.unlink()
        path.mkdir()
        with led(data) as lease:
            assert lease.kept("duplicates") is None
            assert lease.kept("nothing") is None
