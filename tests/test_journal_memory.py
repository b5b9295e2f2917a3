"""The memory journal: the suite of every journal, then what only this one promises."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import pytest

from eventmw.errors import JournalDown, JournalFull
from eventmw.journal import DEAD_EVICTED, Commit, Journal, Key, Position
from eventmw.journal.memory import MemoryJournal
from tests.journal_conformance import (
    NOW_MS,
    ROOMY,
    JournalConformance,
    MakeJournal,
    delivered,
    leading,
    letter,
    parked,
    positions,
    put,
    tool_stats,
    without,
)


class TestMemoryJournal(JournalConformance):
    @pytest.fixture
    def make(self) -> MakeJournal:
        def make(*, cap_bytes: int = ROOMY) -> Journal:
            return MemoryJournal(cap_bytes=cap_bytes, rewrite=without)

        return make


def kept(journal: MemoryJournal) -> list[int]:
    return [entry.position.seq for entry in journal.scan()]


def test_it_says_memory_and_its_futures_are_done() -> None:
    journal = MemoryJournal()
    future = journal.append(b"x", events=1, recorded_ms=NOW_MS, stamp=1)
    assert journal.durability == "memory"
    assert future.done()
    assert future.result().seq == 1


def test_two_journals_never_share_a_stream() -> None:
    assert put(MemoryJournal(), 1).stream != put(MemoryJournal(), 1).stream


def test_a_waker_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("the loop is closed")

    journal = MemoryJournal()
    journal.on_append(fail)
    put(journal, 1)
    assert "on_append failed" in caplog.text


# What is kept, and for how long


def test_without_tools_only_the_newest_are_kept() -> None:
    journal = MemoryJournal(cap_bytes=1000, retain_bytes=300)
    for n in range(10):
        put(journal, n, size=100)
    assert kept(journal) == [8, 9, 10]
    assert (journal.stats().bytes, journal.stats().appended_records) == (300, 10)


def test_without_tools_a_record_larger_than_what_is_retained_is_taken_and_goes_at_once() -> None:
    journal = MemoryJournal(cap_bytes=1000, retain_bytes=50)
    assert put(journal, 1, size=100).seq == 1
    assert kept(journal) == []
    assert put(journal, 2, size=40).seq == 2
    assert kept(journal) == [2]


def test_consumed_records_stay_within_their_share() -> None:
    journal = MemoryJournal(cap_bytes=10_000, retain_bytes=250)
    journal.register(["a", "b"])
    at = [put(journal, n, size=100) for n in range(6)]
    lease = leading(journal)
    lease.commit("a", delivered(*(Key(position, 0) for position in at)))
    assert kept(journal) == [1, 2, 3, 4, 5, 6]
    lease.commit("b", delivered(*(Key(position, 0) for position in at[:5])))
    assert kept(journal) == [4, 5, 6]


def test_forgetting_the_slowest_tool_lets_its_records_go() -> None:
    journal = MemoryJournal(cap_bytes=10_000, retain_bytes=0)
    journal.register(["a", "b"])
    at = put(journal, 1)
    lease = leading(journal)
    lease.commit("a", delivered(Key(at, 0)))
    lease.commit("b", Commit(park=[parked(Key(at, 0), record=b"x" * 50)]))
    put(journal, 2, size=100)
    assert journal.stats().bytes == 150
    journal.forget("b")
    assert (kept(journal), journal.stats().bytes) == ([2], 100)
    journal.forget("a")
    assert (kept(journal), journal.stats().bytes) == ([], 0)


def test_consumed_records_leave_for_new_ones_before_any_is_refused() -> None:
    journal = MemoryJournal(cap_bytes=500, retain_bytes=500)
    journal.register(["a"])
    at = [put(journal, n, size=100) for n in range(5)]
    leading(journal).commit("a", delivered(Key(at[0], 0), Key(at[1], 0)))
    put(journal, 5, size=150)
    assert kept(journal) == [3, 4, 5, 6]
    with pytest.raises(JournalFull, match=r"100 bytes does not fit: 450 of the memory journal's 500"):
        put(journal, 6, size=100)
    assert kept(journal) == [3, 4, 5, 6]
    assert put(journal, 7, size=50).seq == 7


def test_a_refused_record_costs_no_retained_one() -> None:
    journal = MemoryJournal(cap_bytes=500, retain_bytes=500)
    journal.register(["a"])
    leading(journal).commit("a", delivered(Key(put(journal, 1, size=100), 0)))
    with pytest.raises(JournalFull):
        put(journal, 2, size=501)
    assert kept(journal) == [1]


def test_parked_copies_count_against_the_cap() -> None:
    journal = MemoryJournal(cap_bytes=500, retain_bytes=0)
    journal.register(["a"])
    key = Key(put(journal, 1, size=100), 0)
    lease = leading(journal)
    lease.commit("a", Commit(park=[parked(key, record=b"x" * 450)]))
    assert journal.stats().bytes == 450
    with pytest.raises(JournalFull):
        put(journal, 2, size=100)
    lease.commit("a", Commit(unpark=[key], counts={("delivered", ""): 1}))
    put(journal, 2, size=100)
    assert journal.stats().bytes == 100


def test_parking_past_the_cap_costs_no_record_that_a_tool_still_needs() -> None:
    journal = MemoryJournal(cap_bytes=500, retain_bytes=500)
    journal.register(["a", "b"])
    at = [put(journal, n, size=100) for n in range(4)]
    lease = leading(journal)
    lease.commit("b", delivered(Key(at[0], 0)))
    lease.commit("a", Commit(park=[parked(Key(at[0], 0), record=b"x" * 450)]))
    assert kept(journal) == [2, 3, 4]
    assert journal.stats().bytes == 750
    assert positions(lease.read("b", 10)) == at[1:]


def test_what_was_evicted_cannot_be_replayed() -> None:
    journal = MemoryJournal(retain_bytes=200)
    journal.register(["a"])
    at = [put(journal, n, size=100) for n in range(5)]
    lease = leading(journal)
    lease.commit("a", delivered(*(Key(position, 0) for position in at)))
    assert journal.seek("a", to="start") == 2
    assert positions(lease.read("a", 10)) == at[3:]
    assert kept(journal) == [4, 5]
    put(journal, 5, size=100)
    assert kept(journal) == [4, 5, 6]


def test_what_a_replay_needs_is_not_consumed() -> None:
    journal = MemoryJournal(cap_bytes=500, retain_bytes=500)
    journal.register(["a"])
    at = [put(journal, n, size=100) for n in range(4)]
    leading(journal).commit("a", delivered(*(Key(position, 0) for position in at)))
    journal.seek("a", to="start")
    with pytest.raises(JournalFull):
        put(journal, 5, size=200)
    assert kept(journal) == [1, 2, 3, 4]


def test_an_event_parked_when_its_record_is_gone_can_still_end() -> None:
    journal = MemoryJournal(retain_bytes=0)
    journal.register(["a"])
    key = Key(put(journal, 1), 0)
    lease = leading(journal)
    lease.commit("a", Commit(park=[parked(key)]))
    assert kept(journal) == []
    lease.commit("a", Commit(unpark=[key], dead=[letter("a", key)], counts={("expired", ""): 1}))
    assert journal.revive("a", [key], NOW_MS) == 1
    lease.commit("a", Commit(unpark=[key], counts={("delivered", ""): 1}))
    assert tool_stats(journal, "a").counts == {("expired", ""): 1, ("delivered", ""): 1}


def test_scanning_after_a_position_that_is_gone_or_foreign_starts_at_the_oldest() -> None:
    journal = MemoryJournal(retain_bytes=200)
    at = [put(journal, n, size=100) for n in range(4)]
    assert [entry.position for entry in journal.scan(at[0])] == at[2:]
    assert [entry.position for entry in journal.scan(Position("elsewhere", 4))] == at[2:]
    assert journal.scan(at[3]) == []
    assert journal.scan(limit=0) == []


# Dead letters have a cap of their own


def test_over_the_cap_the_oldest_dead_letters_leave_and_are_counted() -> None:
    journal = MemoryJournal(dead_bytes=250)
    journal.register(["a", "b"])
    at = put(journal, 1, events=4)
    lease = leading(journal)
    lease.commit("b", Commit(dead=[letter("b", Key(at, 0), record=b"x" * 100)]))
    lease.commit("a", Commit(dead=[letter("a", Key(at, n), record=b"x" * 100) for n in range(3)]))
    assert [(buried.tool, buried.key.ordinal) for buried in journal.dead_letters()] == [("a", 1), ("a", 2)]
    assert tool_stats(journal, "a").counts == {DEAD_EVICTED: 1}
    assert tool_stats(journal, "b").counts == {DEAD_EVICTED: 1}
    assert tool_stats(journal, "b").dead == 0


def test_dropping_and_reviving_make_room_for_dead_letters() -> None:
    journal = MemoryJournal(dead_bytes=250)
    journal.register(["a"])
    at = put(journal, 1, events=5)
    lease = leading(journal)
    lease.commit("a", Commit(dead=[letter("a", Key(at, n), record=b"x" * 100) for n in range(2)]))
    journal.drop_dead("a", [Key(at, 0)])
    journal.revive("a", [Key(at, 1)], NOW_MS)
    lease.commit("a", Commit(dead=[letter("a", Key(at, n), record=b"x" * 100) for n in (2, 3)]))
    assert [buried.key.ordinal for buried in journal.dead_letters()] == [2, 3]
    assert tool_stats(journal, "a").counts == {}


def test_an_event_buried_again_is_one_letter_the_newest() -> None:
    journal = MemoryJournal(dead_bytes=250)
    journal.register(["a"])
    at = put(journal, 1, events=2)
    lease = leading(journal)
    for ordinal in (0, 1):
        lease.commit("a", Commit(dead=[letter("a", Key(at, ordinal), record=b"x" * 100)]))
    journal.seek("a", to="start")
    again = letter("a", Key(at, 0), record=b"y" * 100)
    lease.commit("a", Commit(dead=[again]))
    assert [buried.key.ordinal for buried in journal.dead_letters()] == [1, 0]
    assert list(journal.dead_letters())[-1] == again
    assert tool_stats(journal, "a").counts == {}


def test_dead_letters_of_a_forgotten_tool_leave_too() -> None:
    journal = MemoryJournal(dead_bytes=150)
    journal.register(["a", "b"])
    at = put(journal, 1)
    lease = leading(journal)
    lease.commit("a", Commit(dead=[letter("a", Key(at, 0), record=b"x" * 100)]))
    journal.forget("a")
    lease.commit("b", Commit(dead=[letter("b", Key(at, 0), record=b"x" * 100)]))
    assert [buried.tool for buried in journal.dead_letters()] == ["b"]


# Fork


def in_child(act: Callable[[], bytes]) -> bytes:
    """Run `act` in a forked child and return what it returned; a child that hangs is ended by its alarm."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    if (pid := os.fork()) == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            os.write(writer, act())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the child hung until its alarm"
    return said


def test_a_forked_child_is_not_stuck_on_a_lock_that_was_held() -> None:
    journal = MemoryJournal()
    with journal._log:  # as another thread of the parent might at that moment
        said = in_child(lambda: b"%d" % put(journal, 1).seq)
    assert said == b"1"
    assert journal.stats().appended_records == 0


def test_a_forked_child_starts_empty_with_the_same_tools_and_can_lead() -> None:
    journal = MemoryJournal()
    journal.register(["a"])
    first, second, third = put(journal, 1), put(journal, 2), put(journal, 3)
    lease = leading(journal)
    lease.commit("a", Commit(park=[parked(Key(second, 0))], dead=[letter("a", Key(third, 0))]))
    woken: list[int] = []
    journal.on_append(lambda: woken.append(1))

    def look() -> bytes:
        assert lease.lost()
        with pytest.raises(JournalDown):
            lease.commit("a", delivered(Key(first, 0)))
        stats = journal.stats()
        assert (stats.records, stats.bytes, stats.appended_records) == (0, 0, 0)
        assert (tool_stats(journal, "a").parked, tool_stats(journal, "a").dead) == (0, 0)
        assert list(journal.dead_letters()) == []
        own = leading(journal)
        assert own.read("a", 10) == []
        assert own.due("a", NOW_MS, 10) == []
        at = put(journal, 4)
        assert not woken
        assert at.stream != first.stream
        assert positions(own.read("a", 10)) == [at]
        return b"all as it should be"

    assert in_child(look) == b"all as it should be"
    assert not lease.lost()
    assert positions(lease.read("a", 10)) == [first]
    assert [item.key for item in lease.due("a", NOW_MS, 10)] == [Key(second, 0)]
    assert not woken


def test_a_journal_closed_before_the_fork_is_closed_in_the_child() -> None:
    journal = MemoryJournal()
    journal.close()

    def append() -> bytes:
        with pytest.raises(JournalDown):
            put(journal, 1)
        return b"refused"

    assert in_child(append) == b"refused"
