"""The file journal between processes: forks, kills, stops, roll-outs, and the order in which all of them write.

Source: JOURNAL.md «Must-have tests», «Locks», «Reader» 5 and «Retirement».
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from eventmw.journal.files import FileJournal
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.sources import Horizon, Merge, Sources
from tests.peers import Peer, Peers, Told, hub, repeats, until

WINDOW = 8


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with hub(tmp_path) as peers:
        yield peers


def named(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def leading(peers: Peers, *tools: str, **options: Any) -> Peer:
    """Start a process that has begun to deliver."""
    peer = peers.start(*tools)
    peer.deliver(*tools, window=WINDOW, **options)
    until(peer.is_leading)
    return peer


# Forks


def test_a_child_forked_from_the_leader_has_none_of_its_files_and_the_parent_leads_on(peers: Peers) -> None:
    parent = leading(peers, "a")
    parent.put_many("before", 20)
    held = {*parent.files()}
    child = peers.fork(parent)
    held &= {*parent.files()}  # what is read in passing is in one look only, and the fork may have fallen into it
    assert any(name.endswith(".seg") for name in held)
    assert not held & {*child.files()}
    assert child.locked() == []
    assert not child.lead()
    child.register("a")
    child.put_many("child", 20)
    parent.put_many("after", 20)
    arrived = peers.wait_for("a", *named("before", 20), *named("child", 20), *named("after", 20))
    assert repeats(arrived) == 0
    assert {pid for pid, _, _ in peers.arrivals()} == {parent.pid}
    assert len(child.written()) == 1
    assert not {name.split("/")[1] for name in child.written()} & {name.split("/")[1] for name in parent.written()}


def test_a_child_takes_over_when_its_parent_is_killed(peers: Peers) -> None:
    """Had the child kept the parent's lock, nobody would ever lead again."""
    parent = leading(peers, "a")
    parent.put_many("before", 20)
    child = peers.fork(parent)
    child.register("a")
    parent.begin("put_many", "last", 20)
    child.deliver("a", window=WINDOW)
    assert not child.is_leading()
    parent.end()
    peers.kill(parent)
    until(child.is_leading)
    arrived = peers.wait_for("a", *named("before", 20), *named("last", 20))
    assert repeats(arrived) <= WINDOW


def test_a_journal_that_was_used_before_the_fork_as_by_a_preloading_server(peers: Peers) -> None:
    """The parent makes it and appends, leads nothing; each child is a worker, and the parent lives on."""
    parent = peers.start("a")
    parent.put_many("parent", 10)
    children: list[Peer] = []
    for _ in range(3):
        children.append(peers.fork(parent))
    for number, child in enumerate(children):
        child.register("a")
        child.deliver("a", window=WINDOW)
        child.put_many(f"child{number}", 10)
    parent.put_many("again", 10)
    wanted = [*named("parent", 10), *named("again", 10), *(x for n in range(3) for x in named(f"child{n}", 10))]
    assert sorted(peers.wait_for("a", *wanted)) == sorted(wanted)
    assert sum(child.is_leading() for child in children) == 1


@pytest.mark.parametrize("sought", ["leader", "stream", "member", "look"])
def test_a_fork_at_any_moment_inherits_no_lock(peers: Peers, sought: str) -> None:
    """Another thread takes and gives back locks all the time; a child must never keep one that its parent held."""
    parent = peers.start("a")
    parent.churn(sought)
    for _ in range(12):
        child = peers.fork(parent)
        assert child.locked() == []
        child.close()


# Stops and kills


def test_a_stopped_leader_is_waited_for_and_shown(peers: Peers) -> None:
    leader = leading(peers, "a", hold_s=0.05)
    other = peers.start("a")
    other.deliver("a", window=WINDOW)
    leader.put_many("before", 20)
    leader.begin("put_many", "under", 40)
    time.sleep(0.1)
    leader.signal(signal.SIGSTOP)
    try:
        other.put_many("meanwhile", 20)
        time.sleep(2.0)
        assert not other.is_leading()
        assert not set(named("meanwhile", 20)) & set(peers.arrived("a"))
        pid, beat_ms = other.heartbeat()
        assert (pid, time.time() - beat_ms / 1000 > 1.5) == (leader.pid, True)
        beat = peers.data / "leader"
        beat.write_text(beat.read_text().replace(str(beat_ms), str(beat_ms - 60_000)))  # as if a minute had gone by
        until(lambda: any(f"process {leader.pid} moves" in line for line in other.log()))
    finally:
        leader.signal(signal.SIGCONT)
    leader.end()
    arrived = peers.wait_for("a", *named("before", 20), *named("under", 40), *named("meanwhile", 20))
    assert repeats(arrived) == 0
    assert {pid for pid, _, _ in peers.arrivals()} == {leader.pid}


def test_a_killed_leader_is_followed_within_moments_and_repeats_at_most_what_was_in_flight(peers: Peers) -> None:
    leader = leading(peers, "a", "b", hold_s=0.02)
    other = peers.start("a", "b")
    other.deliver("a", "b", window=WINDOW)
    leader.put_many("first", 60, threads=8)
    leader.begin("put_many", "last", 400, threads=8)
    other.put_many("other", 20)
    until(lambda: len(peers.arrived("b")) > 40)
    acknowledged = set(other.scan())
    peers.kill(leader)
    until(other.is_leading)
    for tool in ("a", "b"):
        arrived = peers.wait_for(tool, *acknowledged, *named("other", 20), *named("first", 60))
        assert repeats(arrived) <= WINDOW
    until(lambda: other.tool("a")["counts"]["delivered"] == len(set(peers.arrived("a"))))


def test_killing_one_leader_after_another_loses_nothing(peers: Peers) -> None:
    living = [leading(peers, "a", hold_s=0.005)]
    kills = 6
    wanted: list[str] = []
    for number in range(kills):
        nextone = peers.start("a")
        nextone.put_many(f"round{number}", 30)
        wanted += named(f"round{number}", 30)
        nextone.deliver("a", window=WINDOW, hold_s=0.005)
        peers.kill(living.pop(0))
        living.append(nextone)
    arrived = peers.wait_for("a", *wanted)
    assert repeats(arrived) <= kills * WINDOW


# Roll-outs


def test_a_newer_process_with_a_new_tool_takes_the_lead_and_the_tool_gets_everything_since(peers: Peers) -> None:
    old = leading(peers, "a")
    old.put_many("before", 20)
    peers.wait_for("a", *named("before", 20))
    new = peers.start("a", "b")
    old.put_many("registered", 20)
    new.deliver("a", "b", window=WINDOW)
    until(new.is_leading)
    until(lambda: not old.is_leading())
    old.begin("put_many", "old", 20)
    new.put_many("new", 20)
    old.end()
    since = [*named("registered", 20), *named("old", 20), *named("new", 20)]
    assert sorted(peers.wait_for("b", *since)) == sorted(since)
    peers.wait_for("a", *named("before", 20), *since)
    assert repeats(peers.arrived("a")) == 0
    peers.kill(old)
    new.put_many("end", 5)
    peers.wait_for("b", *named("end", 5))
    assert repeats(peers.arrived("b")) == 0


def test_what_a_tool_needs_that_another_process_registered_is_not_let_go(peers: Peers) -> None:
    """Under pressure of the cap, by a leader that does not know the tool yet."""
    old = peers.start("a", cap_bytes=2 * 1024 * 1024)
    assert old.lead()
    new = peers.start("a", "b", cap_bytes=2 * 1024 * 1024)
    old.put_many("x", 15, size=100_000)
    assert old.settle_all("a") == 15
    old.tend()
    old.tend()
    old.end_lease()
    assert new.lead()
    assert sorted(new.take("b")) == sorted(named("x", 15))


def test_a_tool_that_is_removed_and_added_back_goes_on_where_it_stood(peers: Peers) -> None:
    first = leading(peers, "a", "b")
    first.put_many("one", 5)
    peers.wait_for("b", *named("one", 5))
    first.stop_delivering()
    first.leave()
    second = leading(peers, "a")
    second.put_many("two", 5)
    peers.wait_for("a", *named("two", 5))
    assert second.tool("b")["backlog"] == 5
    second.stop_delivering()
    second.leave()
    third = leading(peers, "a", "b")
    third.put_many("three", 5)
    peers.wait_for("b", *named("three", 5))
    assert sorted(peers.arrived("b")) == sorted([*named("one", 5), *named("two", 5), *named("three", 5)])
    assert repeats(peers.arrived("a")) == 0


def test_a_forgotten_tool_that_is_registered_again_begins_at_the_end(peers: Peers) -> None:
    leader = peers.start("a")
    leader.put("old")
    leader.forget("a")
    assert leader.tool("a") is None
    leader.register("a")
    leader.put("new")
    assert leader.lead()
    assert leader.take("a") == ["new"]


# What other processes ask of the leader


def test_what_is_asked_of_another_process_is_done_by_the_leader(peers: Peers) -> None:
    leader = peers.start("a", "b")
    at = [leader.put(name) for name in named("x", 4)]
    assert leader.lead()
    leader.take("a")
    leader.bury("a", at[0], at[1])
    leader.settle("a", at[2], at[3])
    owner = peers.start()

    def asked(name: str, *args: Any) -> Any:
        owner.begin(name, *args)
        while not owner.has_answered(0.02):
            leader.tend()
        return owner.end()

    assert asked("revive", "a") == 2
    assert [tuple(key[0]) for key in leader.due("a")] == [tuple(at[0]), tuple(at[1])]
    leader.bury("a", at[0])
    assert asked("drop_dead", "a") == 1
    assert (owner.letters(), leader.letters()) == ([], [])
    assert asked("seek", "a", "start") == 3  # what is parked is not handed out beside that
    assert leader.take("a") == ["x-0", "x-2", "x-3"]
    asked("forget", "b")
    assert (owner.tool("b"), leader.tool("b")) == (None, None)
    with pytest.raises(Told, match="no tool has the id 'b'") as told:
        asked("seek", "b", "start")
    assert told.value.kind == "LookupError"


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("asked", ["seek", "revive", "drop_dead", "forget"])
def test_what_a_leader_did_not_answer_before_it_died_is_done_once(peers: Peers, asked: str, taken: bool) -> None:
    """By whoever asked, or by the next leader; not by both."""
    arguments, answer, left, parked, letters = {
        "seek": (("a", "start"), 4, ["x-0", "x-1", "x-2", "x-3"], 0, 2),
        "revive": (("a",), 2, [], 2, 0),
        "drop_dead": (("a",), 2, [], 0, 0),
        "forget": (("a",), None, [], 0, 2),
    }[asked]
    leader = peers.start("a", "b")
    at = [leader.put(name) for name in named("x", 4)]
    assert leader.lead()
    leader.settle("a", *at[:2])
    leader.bury("a", *at[2:])
    owner = peers.start()
    owner.begin(asked, *arguments)
    inbox = peers.data / "inbox"
    until(lambda: any(inbox.glob("*.cmd")))
    if taken:
        [command] = inbox.glob("*.cmd")
        command.rename(command.with_suffix(".run"))
    peers.kill(leader)
    assert owner.end() == answer
    following = peers.start("b")
    assert following.lead()

    def state() -> tuple[list[str], int, int]:
        return following.take("a"), len(following.due("a")), len(following.letters())

    assert state() == (left, parked, letters)
    if asked == "seek":
        following.settle("a", *at)
    following.tend()
    assert state() == ([], parked, letters)
    assert (following.tool("a") is None) == (asked == "forget")
    assert list(inbox.iterdir()) == []


def test_what_a_leader_did_and_could_not_say_is_not_done_again(peers: Peers) -> None:
    leader = peers.start("a")
    at = [leader.put(name) for name in named("x", 4)]
    assert leader.lead()
    leader.settle("a", *at)
    owner = peers.start()
    owner.begin("seek", "a", "start")
    inbox = peers.data / "inbox"
    until(lambda: any(inbox.glob("*.cmd")))
    [command] = inbox.glob("*.cmd")
    again = inbox / f"{command.stem}.run"
    kept = command.read_bytes()
    leader.tend()
    assert owner.end() == 4
    leader.settle("a", *at)
    again.write_bytes(kept)  # as if it had died before it took the command away
    peers.kill(leader)
    following = peers.start("a")
    assert following.lead()
    following.tend()
    assert following.take("a") == []


# Two configurations


def test_a_release_with_another_path_starts_beside_the_old_one(peers: Peers) -> None:
    """Both take events; one delivers those of both."""
    old, new = peers.start("a", site="/old"), peers.start("a", site="/new")
    for number, peer in enumerate((old, new, old)):
        peer.put(f"{number}")
    assert [peer.lead() for peer in (old, new)] == [True, False]
    old.tend()
    assert sorted(old.take("a")) == ["0", "1", "2"]


@pytest.mark.parametrize(("mine", "warned"), [("/b", True), ("/a", False), ("", False)])
def test_two_sites_in_one_folder_are_warned_of(
    peers: Peers, caplog: pytest.LogCaptureFixture, mine: str, warned: bool
) -> None:
    other = peers.start(site="/a")
    journal = FileJournal(peers.data, site=mine)
    journal.close(0)
    journal.leave()
    said = [line for line in caplog.messages if line.startswith(f"process {other.pid} answers /a")]
    assert [("which answers /b" in line, str(peers.data) in line) for line in said] == [(True, True)] * warned


def test_two_sites_of_one_process_in_one_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = FileJournal(tmp_path, site="/a"), FileJournal(tmp_path, site="/b")
    [said] = [line for line in caplog.messages if "/b" in line]
    assert said.startswith("another wrapped site of this process answers /a")
    for journal in (first, second):
        journal.close(0)
        journal.leave()


# Order


def write_in_turn(writers: Sequence[Peer], turns: int) -> None:
    """Have processes append numbers, each after the one before was acknowledged."""
    for turn in range(turns):
        for place, writer in enumerate(writers):
            writer.put(f"{turn * len(writers) + place}")


def read_beside(peers: Peers, read: Callable[[], list[str]], turns: int = 150) -> list[int]:
    """Have three processes write in turn while this one reads; return the numbers in the order in which they came."""
    writers = [peers.start("a") for _ in range(3)]
    writing = threading.Thread(target=write_in_turn, args=(writers, turns))
    writing.start()
    seen: list[int] = []
    while len(seen) < turns * len(writers):
        is_writing = writing.is_alive()
        found = [int(record) for record in read()]
        assert found or is_writing, "records are missing"
        seen += found
    writing.join()
    assert sorted(seen) == list(range(turns * len(writers)))
    return seen


def inversions(seen: Sequence[int]) -> int:
    """Return how many records were read after one that was sent later."""
    latest, late = -1, 0
    for number in seen:
        late += number < latest
        latest = max(latest, number)
    return late


def test_a_record_sent_after_anothers_acknowledgement_is_never_read_before_it(peers: Peers) -> None:
    peers.start("a")
    reader = FileJournal(peers.data)
    lease = reader.lead()
    assert lease is not None
    seen = read_beside(peers, lambda: [reading.entry.record.decode() for reading in lease.read("a", 3)])
    reader.leave()
    assert inversions(seen) == 0


class Slow(Sources):
    """A reader on a busy machine: others run between its looks at two streams."""

    def horizon(self) -> Horizon:
        stamp = time.monotonic_ns()
        self.follow()
        limits: dict[str, int] = {}
        for sid, source in self.all.items():
            limits[sid] = source.limit()
            time.sleep(0.002)
        return Horizon(stamp, limits)


class WithoutT(Slow):
    """The same without the rule of T: it hands out whatever it sees."""

    def horizon(self) -> Horizon:
        return super().horizon()._replace(stamp=1 << 62)


@pytest.mark.parametrize(("reader", "overtake"), [(Slow, False), (WithoutT, True)])
def test_the_rule_of_t_is_what_keeps_the_order(peers: Peers, reader: type[Sources], overtake: bool) -> None:
    """The one without it is the positive control: inversions are counted when there are some."""
    peers.start("a")
    sources = reader(Layout(peers.data), leading=False)
    merge = Merge(sources, lambda _: 0)
    seen = read_beside(peers, lambda: [found.entry.record.decode() for found in merge.take(sources.horizon())])
    sources.close()
    assert (inversions(seen) > 0) == overtake
