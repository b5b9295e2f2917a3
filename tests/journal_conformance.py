"""What every journal promises, as cases that run unchanged over each of them.

Use: ``class TestMine(JournalConformance)`` with a fixture ``make`` that returns a function from ``cap_bytes`` to an open, empty
journal. The cases wait for what a journal may do a moment later (a commit to disk, a look at the other streams) up to
`DEADLINE_S`, and never sleep for a fixed time to see something happen.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pytest

from eventmw.errors import JournalDown, JournalFull
from eventmw.journal import (
    ERASED,
    SKIPPED,
    Commit,
    DeadLetter,
    Entry,
    Journal,
    JournalStats,
    Key,
    Lease,
    Parked,
    Position,
    Reading,
    ToolStats,
)

DEADLINE_S = 20.0
ROOMY = 64 * 1024 * 1024
NOW_MS = 1_700_000_000_000


class MakeJournal(Protocol):
    def __call__(self, *, cap_bytes: int = ROOMY) -> Journal: ...


def without(record: bytes, person: Mapping[str, Any]) -> bytes | None:
    """Take a person out of a record of `put`: the one who has every number that begins with a digit.

    A selection is known by its ``project``, as in `eventmw.erasure`: it means the numbers ``since_ms <= n < until_ms``.
    """
    head, _, number = record.partition(b" ")
    if "project" in person:
        low, high = person["since_ms"], person["until_ms"]
        meant = number.isdigit() and (low is None or low <= int(number)) and (high is None or int(number) < high)
        return b"%b %b" % (head, b"#" * len(number)) if meant else None
    return b"%b %b" % (head, b"#" * len(number)) if number.startswith(person["who"].encode()) else None


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until it is so, and fail when it does not come."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE_S} s for {what}"
        time.sleep(0.001)


def put(journal: Journal, number: int, *, events: int = 1, recorded_ms: int = NOW_MS, size: int = 0) -> Position:
    """Append a record that says its number, `size` bytes long at least, and wait until it is kept."""
    record = b"record %d" % number
    future = journal.append(record.ljust(size, b"."), events=events, recorded_ms=recorded_ms, stamp=time.monotonic_ns())
    return future.result(DEADLINE_S)


def leading(journal: Journal) -> Lease:
    lease = journal.lead()
    assert lease is not None, "nobody holds the lease, and lead() did not give it"
    return lease


def take(lease: Lease, tool: str, n: int) -> list[Reading]:
    """Read until there are `n` records."""
    readings: list[Reading] = []

    def enough() -> bool:
        readings.extend(lease.read(tool, n - len(readings)))
        return len(readings) >= n

    until(enough, f"{n} records for {tool}")
    assert len(readings) == n, "read gave more records than were asked for"
    return readings


def keys(entry: Entry) -> list[Key]:
    return [Key(entry.position, ordinal) for ordinal in range(entry.events)]


def positions(readings: Sequence[Reading]) -> list[Position]:
    return [reading.entry.position for reading in readings]


def delivered(*ended: Key) -> Commit:
    return Commit(settled=ended, counts={("delivered", ""): len(ended)})


def parked(key: Key, *, attempts: int = 1, due_ms: int = NOW_MS, record: bytes = b"one event") -> Parked:
    return Parked(key, record, attempts, due_ms, "HTTP 500")


def letter(tool: str, key: Key, *, record: bytes = b"one event") -> DeadLetter:
    return DeadLetter(tool, key, record, "rejected", "HTTP 400", 3, NOW_MS)


def tool_stats(journal: Journal, tool: str) -> ToolStats:
    [found] = [stats for stats in journal.stats().tools if stats.tool == tool]
    return found


def state(journal: Journal) -> tuple[JournalStats, list[DeadLetter]]:
    """Return all that can be seen from outside, to compare before and after."""
    return journal.stats(), list(journal.dead_letters())


class JournalConformance:
    """The suite. Every case gets a fresh journal from ``make``; ``journal`` is one that has the tool ``a``."""

    @pytest.fixture
    def make(self) -> MakeJournal:
        pytest.fail("a subclass gives the fixture `make`")

    @pytest.fixture
    def journal(self, make: MakeJournal) -> Journal:
        journal = make()
        journal.register(["a"])
        return journal

    @pytest.fixture
    def hasty_threads(self) -> Iterator[None]:
        """Have threads take turns as often as Python can, so that a missing lock shows."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        yield
        sys.setswitchinterval(interval)

    # Appending and reading

    def test_what_is_appended_is_read_in_order_and_whole(self, journal: Journal) -> None:
        at = [put(journal, n, events=n + 1, recorded_ms=NOW_MS + n) for n in range(5)]
        readings = take(leading(journal), "a", 5)
        assert positions(readings) == at
        assert [reading.entry.record for reading in readings] == [b"record %d" % n for n in range(5)]
        assert [reading.entry.events for reading in readings] == [1, 2, 3, 4, 5]
        assert [reading.entry.recorded_ms for reading in readings] == [NOW_MS + n for n in range(5)]
        assert [reading.settled for reading in readings] == [frozenset()] * 5
        stamps = [reading.entry.stamp for reading in readings]
        assert stamps == sorted(stamps)

    def test_seqs_of_a_stream_count_from_1(self, journal: Journal) -> None:
        assert [put(journal, n).seq for n in range(3)] == [1, 2, 3]

    def test_a_record_may_be_any_bytes(self, journal: Journal) -> None:
        every_byte = bytes(range(256)) * 300
        journal.append(b"", events=1, recorded_ms=NOW_MS, stamp=1).result(DEADLINE_S)
        journal.append(every_byte, events=1, recorded_ms=NOW_MS, stamp=2).result(DEADLINE_S)
        assert [reading.entry.record for reading in take(leading(journal), "a", 2)] == [b"", every_byte]

    @pytest.mark.parametrize("events", [0, -1])
    def test_a_record_without_events_is_refused(self, journal: Journal, events: int) -> None:
        with pytest.raises(ValueError, match="at least one event"):
            journal.append(b"x", events=events, recorded_ms=NOW_MS, stamp=1)
        assert journal.stats().appended_records == 0

    def test_each_record_is_read_once_per_lease(self, journal: Journal) -> None:
        at = [put(journal, n) for n in range(3)]
        lease = leading(journal)
        assert positions(take(lease, "a", 2)) == at[:2]
        assert positions(take(lease, "a", 1)) == at[2:]
        assert lease.read("a", 10) == []

    def test_reading_asks_for_at_most_so_many(self, journal: Journal) -> None:
        put(journal, 1)
        assert leading(journal).read("a", 0) == []

    def test_a_reading_ends_with_about_a_mebibyte(self, journal: Journal) -> None:
        at = [put(journal, n, size=300_000) for n in range(7)]
        lease = leading(journal)
        assert positions(lease.read("a", 100)) == at[:4]
        assert positions(take(lease, "a", 3)) == at[4:]

    def test_tools_read_independently(self, journal: Journal) -> None:
        journal.register(["b"])
        at = [put(journal, n) for n in range(2)]
        lease = leading(journal)
        assert positions(take(lease, "a", 2)) == at
        assert positions(take(lease, "b", 2)) == at

    def test_one_tool_does_not_move_another(self, journal: Journal) -> None:
        journal.register(["b"])
        at = put(journal, 1)
        lease = leading(journal)
        lease.commit("a", delivered(Key(at, 0)))
        assert tool_stats(journal, "a").backlog_records == 0
        assert tool_stats(journal, "b").backlog_records == 1
        assert positions(take(lease, "b", 1)) == [at]

    @pytest.mark.usefixtures("hasty_threads")
    def test_appends_from_8_threads_are_all_kept(self, journal: Journal) -> None:
        together = threading.Barrier(8)
        failures: list[BaseException] = []

        def send(worker: int) -> None:
            try:
                together.wait(DEADLINE_S)
                for n in range(250):
                    put(journal, worker * 1000 + n, events=1 + n % 3)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=send, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert not failures

        readings = take(leading(journal), "a", 2000)
        sent = {b"record %d" % (worker * 1000 + n) for worker in range(8) for n in range(250)}
        assert {reading.entry.record for reading in readings} == sent
        streams: dict[str, list[int]] = defaultdict(list)
        for stream, seq in positions(readings):
            streams[stream].append(seq)
        for seqs in streams.values():
            assert seqs == list(range(1, len(seqs) + 1))
        assert journal.stats().appended_events == 8 * sum(1 + n % 3 for n in range(250))

    @pytest.mark.usefixtures("hasty_threads")
    def test_a_reader_beside_writers_misses_nothing(self, journal: Journal) -> None:
        writers = [
            threading.Thread(target=lambda: [put(journal, n) for n in range(200)], daemon=True) for _ in range(3)
        ]
        lease = leading(journal)
        for writer in writers:
            writer.start()
        seen = []
        for _ in range(600):
            [reading] = take(lease, "a", 1)
            seen.append(reading.entry.position)
            lease.commit("a", delivered(*keys(reading.entry)))
        assert len(set(seen)) == 600
        assert tool_stats(journal, "a").counts == {("delivered", ""): 600}
        for writer in writers:
            writer.join(DEADLINE_S)

    # Waking

    def test_a_waker_is_called_once(self, journal: Journal) -> None:
        woken: list[int] = []
        journal.on_append(lambda: woken.append(1))
        assert not woken
        put(journal, 1)
        until(lambda: bool(woken), "the waker")
        put(journal, 2)
        put(journal, 3)
        assert woken == [1]

    def test_a_waker_finds_the_record(self, journal: Journal) -> None:
        lease = leading(journal)
        woken = threading.Event()
        journal.on_append(woken.set)
        at = put(journal, 1)
        assert woken.wait(DEADLINE_S)
        assert positions(take(lease, "a", 1)) == [at]

    def test_a_waker_may_ask_to_be_woken_again(self, journal: Journal) -> None:
        woken: list[int] = []

        def again() -> None:
            woken.append(1)
            journal.on_append(again)

        def woken_times(n: int) -> Callable[[], bool]:
            return lambda: len(woken) == n

        journal.on_append(again)
        for n in range(3):
            put(journal, n)
            until(woken_times(n + 1), "the waker")

    def test_a_waker_can_be_taken_back(self, journal: Journal) -> None:
        woken: list[int] = []
        journal.on_append(lambda: woken.append(1))
        journal.on_append(None)
        put(journal, 1)
        assert not woken

    def test_a_waker_that_fails_does_not_fail_the_append(self, journal: Journal) -> None:
        def fail() -> None:
            raise RuntimeError("the loop is closed")

        journal.on_append(fail)
        at = put(journal, 1)
        assert positions(take(leading(journal), "a", 1)) == [at]

    # Places

    def test_a_place_is_a_prefix_and_what_is_settled_beyond_it(self, journal: Journal) -> None:
        first, second, third = (put(journal, n, events=2) for n in range(3))
        lease = leading(journal)
        lease.commit("a", delivered(Key(first, 0), Key(first, 1), Key(third, 1)))
        lease.close()
        readings = take(leading(journal), "a", 2)
        assert positions(readings) == [second, third]
        assert [reading.settled for reading in readings] == [frozenset(), {1}]

    def test_the_prefix_moves_over_all_that_was_settled_beyond_it(self, journal: Journal) -> None:
        at = [put(journal, n, events=2) for n in range(4)]
        lease = leading(journal)
        for position in reversed(at[1:]):
            lease.commit("a", delivered(Key(position, 1), Key(position, 0)))
        lease.commit("a", delivered(Key(at[0], 1)))
        assert tool_stats(journal, "a").backlog_events == 1
        lease.commit("a", delivered(Key(at[0], 0)))
        assert tool_stats(journal, "a").backlog_events == 0
        lease.close()
        assert leading(journal).read("a", 10) == []

    def test_a_record_that_is_settled_already_is_not_read(self, journal: Journal) -> None:
        first, second, third = (put(journal, n, events=2) for n in range(3))
        lease = leading(journal)
        lease.commit("a", delivered(Key(second, 0), Key(second, 1)))
        assert positions(take(lease, "a", 2)) == [first, third]

    def test_what_was_read_and_not_committed_comes_again_under_a_new_lease(self, journal: Journal) -> None:
        first, second = put(journal, 1), put(journal, 2)
        lease = leading(journal)
        take(lease, "a", 2)
        lease.commit("a", delivered(Key(first, 0)))
        lease.close()
        assert positions(take(leading(journal), "a", 1)) == [second]

    def test_each_event_is_settled_by_itself_for_each_tool(self, journal: Journal) -> None:
        journal.register(["b"])
        at = [put(journal, n, events=2) for n in range(4)]
        lease = leading(journal)
        lease.commit("a", delivered(*(Key(at[0], n) for n in range(2)), Key(at[1], 1)))
        lease.commit("a", Commit(park=[parked(Key(at[2], 0))], dead=[letter("a", Key(at[3], 1))]))
        ended = {(0, 0), (0, 1), (1, 1), (2, 0), (3, 1)}
        for record, position in enumerate(at):
            for ordinal in range(2):
                assert lease.settled("a", Key(position, ordinal)) is ((record, ordinal) in ended)
                assert not lease.settled("b", Key(position, ordinal))

    def test_what_is_not_kept_any_more_is_settled(self, journal: Journal) -> None:
        assert leading(journal).settled("a", Key(Position("0123456789abcdef", 7), 0))

    @pytest.mark.parametrize("ordinal", [1, -1])
    def test_an_event_that_never_was_is_refused_and_nothing_is_done(self, journal: Journal, ordinal: int) -> None:
        at = put(journal, 1)
        lease = leading(journal)
        before = state(journal)
        for wrong in (Key(at, ordinal), Key(Position(at.stream, at.seq + 1), 0), Key(Position("elsewhere", 1), 0)):
            step = Commit(
                settled=[Key(at, 0), wrong], park=[parked(Key(at, 0))], dead=[letter("a", wrong)], counts={("x", ""): 2}
            )
            with pytest.raises(ValueError, match="names no event"):
                lease.commit("a", step)
        assert state(journal) == before

    # Leases

    def test_a_second_lease_is_refused_while_one_is_held(self, journal: Journal) -> None:
        lease = leading(journal)
        assert not lease.lost()
        assert journal.lead() is None
        lease.close()
        assert lease.lost()
        assert not leading(journal).lost()

    def test_closing_a_lease_twice_does_not_end_the_next(self, journal: Journal) -> None:
        old = leading(journal)
        old.close()
        new = leading(journal)
        old.close()
        assert not new.lost()
        assert journal.lead() is None

    def test_a_closed_lease_does_nothing_more(self, journal: Journal) -> None:
        at = put(journal, 1)
        lease = leading(journal)
        lease.close()
        before = state(journal)
        for late in (
            lambda: lease.read("a", 1),
            lambda: lease.due("a", NOW_MS, 1),
            lambda: lease.next_due_ms("a"),
            lambda: lease.dirty("a"),
            lambda: lease.commit("a", delivered(Key(at, 0))),
        ):
            with pytest.raises(JournalDown, match="lease"):
                late()
        assert state(journal) == before

    def test_what_was_synced_is_still_so_under_a_new_lease(self, journal: Journal) -> None:
        at = put(journal, 1)
        lease = leading(journal)
        lease.commit("a", delivered(Key(at, 0)))
        lease.sync()
        lease.close()
        assert leading(journal).read("a", 1) == []

    # Erasing

    def test_a_person_is_erased_from_records_parked_items_and_dead_letters(self, journal: Journal) -> None:
        journal.register(["b"])
        at = [put(journal, n) for n in (71, 5, 72, 73)]
        lease = leading(journal)
        lease.commit("a", Commit(park=[parked(Key(at[0], 0), record=b"record 71"), parked(Key(at[1], 0))]))
        lease.commit("b", Commit(dead=[letter("b", Key(at[2], 0), record=b"record 72"), letter("b", Key(at[1], 0))]))
        lease.commit("a", delivered(Key(at[2], 0)))
        lease.close()
        assert journal.erase({"who": "7"}) == {"records": 3, "parked": 1, "dead": 1}
        assert journal.erase({"who": "7"}) == {"records": 0, "parked": 0, "dead": 0}
        assert [entry.record for entry in journal.scan()] == [b"record ##", b"record 5", b"record ##", b"record ##"]
        assert [buried.key for buried in journal.dead_letters()] == [Key(at[1], 0)]
        assert (tool_stats(journal, "b").dead, tool_stats(journal, "a").counts[ERASED]) == (1, 1)
        lease = leading(journal)
        assert [item.key for item in lease.due("a", NOW_MS, 10)] == [Key(at[1], 0)]
        assert [reading.entry.record for reading in take(lease, "a", 1)] == [b"record ##"]
        assert journal.seek("a", to="start") == 2
        assert [reading.entry.record for reading in take(lease, "a", 3)] == [b"record ##"] * 3

    def test_a_selection_is_erased_as_a_person_is(self, journal: Journal) -> None:
        """Its numbers and its null reach who rewrites as they were given, also by way of who leads."""
        journal.register(["b"])
        at = [put(journal, n) for n in (71, 5, 72, 73)]
        lease = leading(journal)
        lease.commit("a", Commit(park=[parked(Key(at[0], 0), record=b"record 71"), parked(Key(at[1], 0))]))
        lease.commit("b", Commit(dead=[letter("b", Key(at[2], 0), record=b"record 72"), letter("b", Key(at[1], 0))]))
        meant = {"project": "p1", "made_ms": NOW_MS, "customer": None, "since_ms": 72, "until_ms": None}
        found: list[Mapping[str, int]] = []
        for _ in range(2):
            erasing = threading.Thread(target=lambda: found.append(journal.erase(meant)))
            erasing.start()

            def erased(thread: threading.Thread = erasing) -> bool:
                lease.tend()
                return not thread.is_alive()

            until(erased, "the erasure")
        assert found == [{"records": 2, "parked": 0, "dead": 1}, {"records": 0, "parked": 0, "dead": 0}]
        assert [entry.record for entry in journal.scan()] == [b"record 71", b"record 5", b"record ##", b"record ##"]
        assert [buried.key for buried in journal.dead_letters()] == [Key(at[1], 0)]
        lease.close()
        assert journal.erase({**meant, "since_ms": None, "until_ms": 72})["records"] == 2

    def test_what_was_read_ahead_is_read_again_after_an_erasure(self, journal: Journal) -> None:
        at = [put(journal, n) for n in (71, 5)]
        lease = leading(journal)
        take(lease, "a", 2)
        done: list[Mapping[str, int]] = []
        erasing = threading.Thread(target=lambda: done.append(journal.erase({"who": "7"})))
        erasing.start()

        def erased() -> bool:
            lease.tend()
            return bool(done)

        until(erased, "the erasure")
        assert lease.dirty("a")
        readings = take(lease, "a", 2)
        assert positions(readings) == at
        assert [reading.entry.record for reading in readings] == [b"record ##", b"record 5"]

    def erase_beside(self, journal: Journal, lease: Lease, who: str) -> None:
        """Erase while the lease is held."""
        erasing = threading.Thread(target=lambda: journal.erase({"who": who}))
        erasing.start()

        def erased() -> bool:
            lease.tend()
            return not erasing.is_alive()

        until(erased, "the erasure")

    def test_what_was_under_way_when_its_person_was_erased_is_not_kept_again(self, journal: Journal) -> None:
        at = [put(journal, n) for n in (71, 72, 73, 5)]
        lease = leading(journal)
        take(lease, "a", 4)
        lease.commit("a", Commit(park=[parked(Key(at[0], 0), record=b"record 71")]))
        self.erase_beside(journal, lease, "7")
        step = Commit(
            park=[parked(Key(at[0], 0), attempts=2, record=b"record 71"), parked(Key(at[1], 0), record=b"record 72")],
            dead=[letter("a", Key(at[2], 0), record=b"record 73"), letter("a", Key(at[3], 0), record=b"record 5")],
            counts={("rejected", "HTTP 400"): 2},
        )
        lease.commit("a", step)
        lease.commit("a", step)
        assert lease.due("a", NOW_MS, 10) == []
        assert [buried.key for buried in journal.dead_letters()] == [Key(at[3], 0)]
        stats = tool_stats(journal, "a")
        assert stats.counts == {ERASED: 3, ("rejected", "HTTP 400"): 1}
        assert (stats.backlog_events, stats.parked, stats.dead) == (0, 0, 1)

    def test_who_sends_again_after_being_erased_is_there_again(self, journal: Journal) -> None:
        put(journal, 71)
        lease = leading(journal)
        self.erase_beside(journal, lease, "7")
        again = put(journal, 72)
        take(lease, "a", 2)
        lease.commit("a", Commit(park=[parked(Key(again, 0), record=b"record 72")]))
        assert [item.record for item in lease.due("a", NOW_MS, 10)] == [b"record 72"]

    def test_a_person_who_is_not_there_changes_nothing(self, journal: Journal) -> None:
        put(journal, 5)
        assert journal.erase({"who": "7"}) == {"records": 0, "parked": 0, "dead": 0}
        assert [entry.record for entry in journal.scan()] == [b"record 5"]

    # What the next holder is told

    def test_what_is_recalled_is_what_some_tool_has_settled_something_of(self, journal: Journal) -> None:
        journal.register(["b"])
        at = [put(journal, n, events=2) for n in range(5)]
        lease = leading(journal)
        assert lease.recall(b"", 10)[0] == []
        lease.commit("a", delivered(Key(at[0], 0)))
        lease.commit("b", delivered(Key(at[2], 1)))
        first, mark = lease.recall(b"", 2)
        rest, mark = lease.recall(mark, 10)
        assert [entry.position for entry in (*first, *rest)] == at[:3]
        assert lease.recall(mark, 10)[0] == []
        lease.commit("a", Commit(park=[parked(Key(at[3], 0))]))
        assert [entry.position for entry in lease.recall(mark, 10)[0]] == [at[3]]

    def test_a_mark_holds_for_the_next_lease(self, journal: Journal) -> None:
        at = [put(journal, n) for n in range(4)]
        lease = leading(journal)
        lease.commit("a", delivered(Key(at[0], 0), Key(at[1], 0)))
        reached = lease.reached()
        lease.close()
        lease = leading(journal)
        assert lease.recall(reached, 10)[0] == []
        lease.commit("a", delivered(Key(at[2], 0)))
        assert [entry.position for entry in lease.recall(reached, 10)[0]] == [at[2]]

    def test_what_is_kept_is_there_for_the_next_or_not_at_all(self, journal: Journal) -> None:
        lease = leading(journal)
        assert lease.kept("index-1") is None
        lease.keep("index-1", b"\0\xff")
        lease.close()
        lease = leading(journal)
        assert lease.kept("index-1") == (None if journal.durability == "memory" else b"\0\xff")
        lease.keep("index-1", None)
        assert lease.kept("index-1") is None

    # Tools

    def test_a_new_tool_starts_at_the_end(self, journal: Journal) -> None:
        put(journal, 1, events=3)
        journal.register(["b"])
        at = put(journal, 2)
        assert positions(take(leading(journal), "b", 1)) == [at]
        assert tool_stats(journal, "b").backlog_records == 1

    def test_registering_again_keeps_the_place(self, journal: Journal) -> None:
        at = put(journal, 1)
        journal.register(["a", "a"])
        assert [stats.tool for stats in journal.stats().tools] == ["a"]
        assert positions(take(leading(journal), "a", 1)) == [at]

    def test_a_tool_may_be_registered_under_a_lease(self, journal: Journal) -> None:
        lease = leading(journal)
        put(journal, 1)
        journal.register(["b"])
        at = put(journal, 2)
        assert positions(take(lease, "b", 1)) == [at]

    def test_forgetting_ends_a_tool_but_not_its_dead_letters(self, journal: Journal) -> None:
        first, second = put(journal, 1), put(journal, 2)
        lease = leading(journal)
        buried = letter("a", Key(second, 0))
        lease.commit("a", Commit(park=[parked(Key(first, 0))], dead=[buried], counts={("rejected", ""): 1}))
        journal.forget("a")
        journal.forget("a")
        assert journal.stats().tools == []
        assert list(journal.dead_letters("a")) == [buried]
        journal.register(["a"])
        assert lease.due("a", NOW_MS, 10) == []
        assert lease.read("a", 10) == []
        assert tool_stats(journal, "a").counts == {}

    def test_a_tool_that_is_not_registered_has_nothing(self, journal: Journal) -> None:
        at = put(journal, 1)
        lease = leading(journal)
        before = state(journal)
        assert lease.read("gone", 1) == []
        assert lease.due("gone", NOW_MS, 1) == []
        assert lease.next_due_ms("gone") is None
        assert not lease.dirty("gone")
        lease.commit("gone", Commit(settled=[Key(at, 0)], dead=[letter("gone", Key(at, 0))]))
        assert state(journal) == before

    def test_an_owner_who_names_no_tool_hears_of_it(self, journal: Journal) -> None:
        with pytest.raises(LookupError, match=r"'gone'.*registered are: a"):
            journal.seek("gone", to="start")
        with pytest.raises(LookupError, match=r"'gone'.*registered are: a"):
            journal.revive("gone", [], NOW_MS)

    # Parked items

    def test_a_parked_event_is_passed_and_survives_a_new_lease(self, journal: Journal) -> None:
        at = put(journal, 1)
        lease = leading(journal)
        item = parked(Key(at, 0), due_ms=NOW_MS + 5)
        lease.commit("a", Commit(settled=[item.key], park=[item]))
        assert tool_stats(journal, "a").backlog_records == 0
        assert tool_stats(journal, "a").parked == 1
        lease.close()
        lease = leading(journal)
        assert lease.read("a", 10) == []
        assert lease.due("a", NOW_MS + 4, 10) == []
        assert lease.due("a", NOW_MS + 5, 10) == [item]
        assert lease.next_due_ms("a") == NOW_MS + 5

    def test_the_longest_due_comes_first(self, journal: Journal) -> None:
        at = put(journal, 1, events=5)
        lease = leading(journal)
        waits = {0: 30, 1: 10, 2: 20, 3: 10, 4: 50}
        lease.commit("a", Commit(park=[parked(Key(at, n), due_ms=NOW_MS + ms) for n, ms in waits.items()]))
        assert [item.key.ordinal for item in lease.due("a", NOW_MS + 30, 10)] == [1, 3, 2, 0]
        assert [item.key.ordinal for item in lease.due("a", NOW_MS + 30, 2)] == [1, 3]
        assert lease.next_due_ms("a") == NOW_MS + 10

    def test_what_is_due_stays_until_a_commit_says_else(self, journal: Journal) -> None:
        key = Key(put(journal, 1), 0)
        lease = leading(journal)
        lease.commit("a", Commit(park=[parked(key)]))
        assert lease.due("a", NOW_MS, 10) == lease.due("a", NOW_MS, 10) != []
        lease.commit("a", Commit(unpark=[key], counts={("delivered", ""): 1}))
        assert lease.due("a", NOW_MS, 10) == []
        assert lease.next_due_ms("a") is None
        assert tool_stats(journal, "a").counts == {("delivered", ""): 1}

    def test_parking_again_replaces(self, journal: Journal) -> None:
        key = Key(put(journal, 1), 0)
        lease = leading(journal)
        lease.commit("a", Commit(park=[parked(key)]))
        later = parked(key, attempts=2, due_ms=NOW_MS + 100)
        lease.commit("a", Commit(unpark=[key], park=[later]))
        assert lease.due("a", NOW_MS, 10) == []
        assert lease.due("a", NOW_MS + 100, 10) == [later]
        assert tool_stats(journal, "a").parked == 1

    def test_parked_items_of_a_tool_are_its_own(self, journal: Journal) -> None:
        journal.register(["b"])
        key = Key(put(journal, 1), 0)
        lease = leading(journal)
        lease.commit("a", Commit(park=[parked(key)]))
        assert lease.due("b", NOW_MS, 10) == []
        assert tool_stats(journal, "b").backlog_events == 1

    # Commits that are repeated

    def test_repeating_any_step_changes_nothing(self, journal: Journal) -> None:
        at = put(journal, 1, events=6)
        lease = leading(journal)
        k = keys(next(iter(take(lease, "a", 1))).entry)
        assert k[0].position == at
        steps = [
            Commit(settled=k[:3], park=[parked(k[2])], counts={("delivered", ""): 2}),
            Commit(unpark=[k[2]], park=[parked(k[2], attempts=2)], settled=[k[3]], counts={("filtered", ""): 1}),
            Commit(settled=[k[4]], dead=[letter("a", k[4])], counts={("rejected", "HTTP 400"): 1}),
            Commit(unpark=[k[2]], dead=[letter("a", k[2])], counts={("expired", ""): 1}),
            delivered(k[5]),
        ]
        for step in steps:
            lease.commit("a", step)
            after = state(journal)
            lease.commit("a", step)
            assert state(journal) == after
        assert tool_stats(journal, "a").counts == {
            ("delivered", ""): 3,
            ("filtered", ""): 1,
            ("rejected", "HTTP 400"): 1,
            ("expired", ""): 1,
        }
        assert sum(tool_stats(journal, "a").counts.values()) == 6

    def test_a_step_repeated_after_its_dead_letter_was_dropped_does_not_bring_it_back(self, journal: Journal) -> None:
        key = Key(put(journal, 1), 0)
        lease = leading(journal)
        step = Commit(settled=[key], dead=[letter("a", key)], counts={("rejected", ""): 1})
        lease.commit("a", step)
        assert journal.drop_dead("a", [key]) == 1
        lease.commit("a", step)
        assert list(journal.dead_letters()) == []
        assert tool_stats(journal, "a").counts == {("rejected", ""): 1}

    def test_counts_without_events_are_passed_over(self, journal: Journal) -> None:
        leading(journal).commit("a", Commit(counts={("delivered", ""): 1}))
        assert tool_stats(journal, "a").counts == {}

    def test_counts_add_up_by_kind_and_reason(self, journal: Journal) -> None:
        at = put(journal, 1, events=3)
        lease = leading(journal)
        lease.commit("a", Commit(settled=[Key(at, 0)], counts={("dropped", "x"): 1}))
        lease.commit("a", Commit(settled=[Key(at, 1)], counts={("dropped", "y"): 1}))
        lease.commit("a", Commit(settled=[Key(at, 2)], counts={("dropped", "x"): 1}))
        assert tool_stats(journal, "a").counts == {("dropped", "x"): 2, ("dropped", "y"): 1}

    # Dead letters

    def test_dead_letters_are_kept_in_order_and_by_tool(self, journal: Journal) -> None:
        journal.register(["b"])
        at = put(journal, 1, events=2)
        lease = leading(journal)
        one, two, three = letter("a", Key(at, 0)), letter("b", Key(at, 0)), letter("a", Key(at, 1))
        for buried in (one, two, three):
            lease.commit(buried.tool, Commit(dead=[buried]))
        assert list(journal.dead_letters()) == [one, two, three]
        assert list(journal.dead_letters("a")) == [one, three]
        assert (tool_stats(journal, "a").dead, tool_stats(journal, "b").dead) == (2, 1)
        assert (tool_stats(journal, "a").backlog_events, tool_stats(journal, "b").backlog_events) == (0, 1)

    def test_burying_a_parked_event_ends_its_waiting(self, journal: Journal) -> None:
        key = Key(put(journal, 1), 0)
        lease = leading(journal)
        lease.commit("a", Commit(park=[parked(key)]))
        lease.commit("a", Commit(dead=[letter("a", key)], counts={("expired", ""): 1}))
        assert lease.due("a", NOW_MS, 10) == []
        assert tool_stats(journal, "a").counts == {("expired", ""): 1}

    def test_reviving_parks_again_as_if_never_tried(self, journal: Journal) -> None:
        at = put(journal, 1, events=2)
        lease = leading(journal)
        lease.commit("a", Commit(dead=[letter("a", key) for key in (Key(at, 0), Key(at, 1))]))
        assert journal.revive("a", [Key(at, 1), Key(at, 1), Key(at, 7)], NOW_MS + 9) == 1
        assert lease.due("a", NOW_MS + 8, 10) == []
        assert lease.due("a", NOW_MS + 9, 10) == [Parked(Key(at, 1), b"one event", 0, NOW_MS + 9, "HTTP 400")]
        assert [buried.key for buried in journal.dead_letters()] == [Key(at, 0)]
        assert lease.read("a", 10) == []
        lease.commit("a", Commit(unpark=[Key(at, 1)], counts={("delivered", ""): 1}))
        assert tool_stats(journal, "a").counts == {("delivered", ""): 1}

    def test_reviving_all_by_what_is_listed(self, journal: Journal) -> None:
        at = put(journal, 1, events=3)
        leading(journal).commit("a", Commit(dead=[letter("a", Key(at, n)) for n in range(3)]))
        assert journal.revive("a", (buried.key for buried in journal.dead_letters("a")), NOW_MS) == 3
        assert tool_stats(journal, "a").parked == 3

    def test_reviving_what_a_replay_would_hand_out_does_one_of_them(self, journal: Journal) -> None:
        key = Key(put(journal, 1), 0)
        lease = leading(journal)
        lease.commit("a", Commit(dead=[letter("a", key)]))
        journal.seek("a", to="start")
        journal.revive("a", [key], NOW_MS)
        assert lease.read("a", 10) == []
        assert [item.key for item in lease.due("a", NOW_MS, 10)] == [key]

    def test_dropping_throws_away_what_is_named(self, journal: Journal) -> None:
        at = put(journal, 1, events=2)
        leading(journal).commit("a", Commit(dead=[letter("a", Key(at, 0)), letter("a", Key(at, 1))]))
        assert journal.drop_dead("b", [Key(at, 0)]) == 0
        assert journal.drop_dead("a", [Key(at, 0), Key(at, 0)]) == 1
        assert [buried.key for buried in journal.dead_letters()] == [Key(at, 1)]

    # Replay

    def test_seeking_back_hands_out_again_and_says_how_many(self, journal: Journal) -> None:
        at = [put(journal, n, events=2, recorded_ms=NOW_MS + n) for n in range(4)]
        lease = leading(journal)
        for reading in take(lease, "a", 3):
            lease.commit("a", delivered(*keys(reading.entry)))
        assert not lease.dirty("a")
        assert journal.seek("a", since_ms=NOW_MS + 1) == 4
        assert lease.dirty("a")
        assert tool_stats(journal, "a").backlog_events == 6
        assert positions(take(lease, "a", 3)) == at[1:]
        assert not lease.dirty("a")

    def test_seeking_to_the_start_replays_all_that_is_kept(self, journal: Journal) -> None:
        at = [put(journal, n) for n in range(3)]
        lease = leading(journal)
        for reading in take(lease, "a", 3):
            lease.commit("a", delivered(*keys(reading.entry)))
        assert journal.seek("a", to="start") == 3
        assert positions(take(lease, "a", 3)) == at

    def test_a_tool_registered_late_can_be_filled_from_the_past(self, journal: Journal) -> None:
        at = [put(journal, n, events=2) for n in range(3)]
        journal.register(["new"])
        assert journal.seek("new", to="start") == 6
        assert positions(take(leading(journal), "new", 3)) == at

    def test_a_time_never_skips_what_is_not_settled(self, journal: Journal) -> None:
        at = [put(journal, n, recorded_ms=NOW_MS + n) for n in range(3)]
        lease = leading(journal)
        lease.commit("a", delivered(Key(at[1], 0), Key(at[2], 0)))
        assert journal.seek("a", since_ms=NOW_MS + 99) == 0
        assert journal.seek("a", since_ms=NOW_MS + 2) == 1
        assert positions(take(lease, "a", 2)) == [at[0], at[2]]

    def test_seeking_back_hands_out_again_what_is_in_flight(self, journal: Journal) -> None:
        at = [put(journal, n) for n in range(2)]
        lease = leading(journal)
        take(lease, "a", 2)
        assert journal.seek("a", to="start") == 0
        assert lease.dirty("a")
        assert positions(take(lease, "a", 2)) == at

    def test_what_is_parked_stays_parked_and_is_not_handed_out_beside(self, journal: Journal) -> None:
        at = put(journal, 1, events=2)
        lease = leading(journal)
        lease.commit("a", Commit(settled=[Key(at, 0)], park=[parked(Key(at, 1))], counts={("delivered", ""): 1}))
        assert journal.seek("a", to="start") == 1
        [reading] = take(lease, "a", 1)
        assert reading.settled == {1}
        assert [item.key for item in lease.due("a", NOW_MS, 10)] == [Key(at, 1)]
        lease.commit("a", delivered(Key(at, 0)))
        assert tool_stats(journal, "a").backlog_records == 0

    def test_seeking_to_the_end_skips_and_counts_what_was_left(self, journal: Journal) -> None:
        first, second = put(journal, 1, events=3), put(journal, 2, events=2)
        lease = leading(journal)
        take(lease, "a", 1)
        lease.commit("a", Commit(settled=[Key(first, 0)], park=[parked(Key(second, 0))]))
        assert journal.seek("a", to="end") == 0
        assert lease.dirty("a")
        assert lease.read("a", 10) == []
        assert not lease.dirty("a")
        stats = tool_stats(journal, "a")
        assert (stats.backlog_records, stats.backlog_events, stats.backlog_bytes) == (0, 0, 0)
        assert stats.counts == {SKIPPED: 3}
        assert stats.parked == 1
        at = put(journal, 3)
        assert positions(take(lease, "a", 1)) == [at]

    def test_what_was_in_flight_when_it_was_skipped_has_one_outcome(self, journal: Journal) -> None:
        at = put(journal, 1)
        lease = leading(journal)
        take(lease, "a", 1)
        journal.seek("a", to="end")
        lease.commit("a", delivered(Key(at, 0)))
        assert tool_stats(journal, "a").counts == {SKIPPED: 1}

    def test_seeking_moves_one_tool(self, journal: Journal) -> None:
        journal.register(["b"])
        at = put(journal, 1)
        lease = leading(journal)
        for tool in "ab":
            take(lease, tool, 1)
            lease.commit(tool, delivered(Key(at, 0)))
        journal.seek("a", to="start")
        assert not lease.dirty("b")
        assert lease.read("b", 10) == []

    def test_seeking_needs_one_direction(self, journal: Journal) -> None:
        with pytest.raises(ValueError, match="one of"):
            journal.seek("a")
        with pytest.raises(ValueError, match="one of"):
            journal.seek("a", since_ms=1, to="end")

    def test_seeking_works_without_a_lease(self, journal: Journal) -> None:
        at = put(journal, 1)
        lease = leading(journal)
        lease.commit("a", delivered(Key(at, 0)))
        lease.close()
        assert journal.seek("a", to="start") == 1
        lease = leading(journal)
        assert not lease.dirty("a")
        assert positions(take(lease, "a", 1)) == [at]

    # Looking

    def test_scanning_pages_through_the_log(self, journal: Journal) -> None:
        at = [put(journal, n) for n in range(5)]
        seen: list[Entry] = []
        while page := journal.scan(seen[-1].position if seen else None, limit=2):
            assert len(page) <= 2
            seen += page
        assert [entry.position for entry in seen] == at
        assert [entry.record for entry in seen] == [b"record %d" % n for n in range(5)]

    def test_scanning_sees_what_is_consumed_and_moves_nothing(self, journal: Journal) -> None:
        at = [put(journal, n) for n in range(2)]
        lease = leading(journal)
        lease.commit("a", delivered(Key(at[0], 0)))
        assert [entry.position for entry in journal.scan()] == at
        assert positions(take(lease, "a", 1)) == at[1:]

    def test_stats_add_up(self, journal: Journal) -> None:
        journal.register(["b"])
        at = [put(journal, n, events=n + 1, recorded_ms=NOW_MS + n, size=100 * (n + 1)) for n in range(4)]
        lease = leading(journal)
        lease.commit("a", delivered(Key(at[0], 0), Key(at[2], 0), Key(at[2], 1), Key(at[2], 2), Key(at[3], 0)))
        lease.commit("a", Commit(park=[parked(Key(at[1], 0))]))

        stats = journal.stats()
        assert stats.durability == journal.durability
        assert (stats.records, stats.events) == (4, 10)
        assert (stats.appended_records, stats.appended_events) == (4, 10)
        assert stats.bytes >= 1000
        assert stats.cap_bytes == ROOMY
        a, b = sorted(stats.tools, key=lambda tool: tool.tool)
        assert (a.backlog_records, a.backlog_events, a.backlog_bytes, a.oldest_ms) == (2, 4, 600, NOW_MS + 1)
        assert (b.backlog_records, b.backlog_events, b.backlog_bytes, b.oldest_ms) == (4, 10, 1000, NOW_MS)
        assert a.backlog_events + sum(a.counts.values()) + a.parked + a.dead == stats.appended_events
        assert b.backlog_events + sum(b.counts.values()) + b.parked + b.dead == stats.appended_events

    def test_an_empty_journal_says_so(self, make: MakeJournal) -> None:
        stats = make().stats()
        assert (stats.records, stats.events, stats.appended_records, stats.tools) == (0, 0, 0, [])

    def test_a_tool_that_is_up_to_date_has_no_oldest(self, journal: Journal) -> None:
        at = put(journal, 1)
        lease = leading(journal)
        lease.commit("a", delivered(Key(at, 0)))
        assert tool_stats(journal, "a").oldest_ms is None

    # Caps and the end

    def test_a_full_journal_refuses_until_tools_have_consumed(self, make: MakeJournal) -> None:
        journal = make(cap_bytes=4 * 1024 * 1024)
        journal.register(["a"])
        kept = 0
        with pytest.raises(JournalFull) as full:
            while kept < 64:
                put(journal, kept, size=256 * 1024)
                kept += 1
                assert kept > 1 or journal.ready() == ""
        assert 0 < kept <= 16
        assert full.value.retry_after_s > 0
        assert "full" in journal.ready()
        lease = leading(journal)
        readings = take(lease, "a", kept)
        assert [reading.entry.record.rstrip(b".") for reading in readings] == [b"record %d" % n for n in range(kept)]
        for reading in readings:
            lease.commit("a", delivered(*keys(reading.entry)))
        lease.sync()
        until(lambda: journal.ready() == "", "being ready again after everything was consumed")

        def has_room() -> bool:
            try:
                put(journal, kept, size=256 * 1024)
            except JournalFull:
                return False
            return True

        until(has_room, "room after everything was consumed")
        assert journal.ready() == ""
        [reading] = take(lease, "a", 1)
        assert reading.entry.record.rstrip(b".") == b"record %d" % kept

    def test_a_smaller_record_that_is_taken_makes_a_full_journal_ready(self, make: MakeJournal) -> None:
        journal = make(cap_bytes=4 * 1024 * 1024)
        journal.register(["a"])
        put(journal, 0, size=3 * 1024 * 1024)
        with pytest.raises(JournalFull):
            put(journal, 1, size=3 * 1024 * 1024)
        assert journal.ready()
        put(journal, 2)
        assert journal.ready() == ""

    def test_a_record_that_would_never_fit_leaves_an_empty_journal_ready(self, make: MakeJournal) -> None:
        journal = make(cap_bytes=1024 * 1024)
        journal.register(["a"])
        with pytest.raises(JournalFull):
            put(journal, 0, size=2 * 1024 * 1024)
        assert journal.ready() == ""

    def test_an_open_journal_is_ready_and_a_closed_one_says_why_not(self, journal: Journal) -> None:
        assert journal.ready() == ""
        journal.close()
        assert "closed" in journal.ready()
        assert "\n" not in journal.ready()

    def test_after_close_appends_are_refused_and_a_drain_can_finish(self, journal: Journal) -> None:
        at = put(journal, 1)
        journal.close(grace_s=1.0)
        journal.close()
        with pytest.raises(JournalDown) as down:
            put(journal, 2)
        assert down.value.retry_after_s > 0
        lease = leading(journal)
        assert positions(take(lease, "a", 1)) == [at]
        lease.commit("a", delivered(Key(at, 0)))
        assert tool_stats(journal, "a").backlog_events == 0
        assert journal.stats().appended_records == 1
