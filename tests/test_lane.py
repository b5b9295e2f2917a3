"""A lane over a real journal: reading, judging, settling; and a simulation of vendors, crashes and time over all of it."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmw.contract import Delivery
from eventmw.delivery.batches import Batch
from eventmw.delivery.duplicates import Duplicates
from eventmw.delivery.lane import PARKED_CAP, Lane
from eventmw.delivery.settlement import MAX_STEP
from eventmw.effects import DONE, Send, dead, retry
from eventmw.errors import JournalDown
from eventmw.event import Event
from eventmw.http import HttpReply
from eventmw.journal import Commit, Entry, Key, Lease, Parked, Reading
from eventmw.journal.memory import MemoryJournal
from eventmw.outcome import Outcome
from tests.delivering import NOW_MS, Batching, JsonDispatcher, StandingClock, append, payloads, placed, record

RULES = Delivery(window=2, first_backoff_s=1.0, max_backoff_s=60.0, give_up_s=3600.0)


@dataclass
class Site:
    """A journal and one lane over it, driven by hand."""

    tool: Batching = field(default_factory=lambda: Batching(delivery=RULES))
    clock: StandingClock = field(default_factory=StandingClock)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    outcomes: list[Outcome] = field(default_factory=list)
    dry_run: bool = False

    def __post_init__(self) -> None:
        self.dispatcher = JsonDispatcher([self.tool])
        self.journal.register([self.tool.id])
        self.start()

    def start(self) -> None:
        lease = self.journal.lead()
        assert lease is not None
        self.lease: Lease = lease
        self.lane = self.make_lane(self.lease)

    def make_lane(self, lease: Lease) -> Lane:
        return Lane(
            self.dispatcher.tools[0],
            self.dispatcher,
            lease,
            Duplicates(capacity=1000),
            self.clock,
            dry_run=self.dry_run,
            on_outcome=self.outcomes.append,
        )

    def crash(self) -> None:
        self.lease.close()
        self.start()

    def turn(self) -> list[Batch]:
        """Do what one turn of the courier does, and return what departed."""
        for _ in self.lane.intake():
            pass
        departed: list[Batch] = []
        while (batch := self.lane.queue.next(self.lane.moment())) is not None:
            departed.append(batch)
        self.settle()
        return departed

    def settle(self) -> None:
        for _ in self.lane.settle():
            pass
        self.lane.commit()

    def land(self, batch: Batch, status: int = 200, body: bytes = b"") -> None:
        self.lane.queue.answered(batch, HttpReply(status, {}, body), self.lane.moment())
        self.settle()

    def ended(self) -> dict[str, str]:
        assert len({outcome.event_id for outcome in self.outcomes}) == len(self.outcomes)
        return {outcome.event_id: outcome.kind for outcome in self.outcomes}

    def counts(self) -> dict[tuple[str, str], int]:
        counts = self.journal.stats().tools[0].counts
        return {(kind, placed(reason)): count for (kind, reason), count in counts.items()}

    def backlog(self) -> int:
        return self.journal.stats().tools[0].backlog_events


def test_what_needs_no_send_settles_at_once_and_the_place_moves() -> None:
    site = Site()
    append(site.journal, ["drop-1", "raise-1", "a", "drop-2"])
    (batch,) = site.turn()
    assert site.ended() == {"drop-1": "dropped", "raise-1": "tool_error", "drop-2": "dropped"}
    assert site.backlog() == 1
    site.land(batch)
    assert site.backlog() == 0
    assert site.counts() == {
        ("dropped", "not wanted"): 2,
        ("tool_error", "handle raised SystemExit: a tool may not stop a site (delivering.py)"): 1,
        ("delivered", ""): 1,
    }
    assert not site.turn()
    assert site.lane.is_idle()


def test_a_repeated_id_is_counted_and_not_sent() -> None:
    site = Site()
    append(site.journal, ["a", "b"])
    append(site.journal, ["a", "c"])
    append(site.journal, ["a"], credential="shop")
    batches = site.turn()
    assert [name for batch in batches for name in payloads(batch.order)] == ["a", "b", "c", "a"]
    for batch in batches:
        site.land(batch)
    site.settle()
    assert site.counts() == {("duplicate", ""): 1, ("delivered", ""): 4}
    assert site.lane.is_idle()


def test_a_repetition_is_settled_nowhere_before_its_first_is() -> None:
    """Two leaders may see two records in different orders; what either suppresses must not be what the other sent."""
    site = Site()
    append(site.journal, ["a"])
    append(site.journal, ["a"])
    (batch,) = site.turn()
    assert (site.counts(), site.backlog()) == ({}, 2)
    site.crash()  # the first is in flight; the next leader may take the second for the first
    first, second = site.journal.scan()
    judge = Duplicates(capacity=10)
    assert judge.first("anonymous", "a", Key(second.position, 0), second.recorded_ms) is None
    lane = Lane(site.dispatcher.tools[0], site.dispatcher, site.lease, judge, site.clock, on_outcome=None)
    site.lane = lane
    (batch,) = site.turn()
    assert payloads(batch.order) == ["a"]
    assert (site.counts(), site.backlog()) == ({}, 2)
    site.land(batch)
    site.settle()
    assert site.counts() == {("duplicate", ""): 1, ("delivered", ""): 1}
    assert first.position.seq < second.position.seq
    assert site.lane.is_idle()


def test_a_repetition_of_what_is_parked_or_dead_ends_at_once() -> None:
    site = Site()
    append(site.journal, ["a"])
    (batch,) = site.turn()
    site.land(batch, 400)
    append(site.journal, ["a", "a"])
    assert not site.turn()
    assert site.counts() == {("rejected", "HTTP 400"): 1, ("duplicate", ""): 2}


def test_repetitions_of_what_is_in_flight_are_read_up_to_a_bound_and_end_with_it() -> None:
    site = Site()
    for _ in range(20):
        append(site.journal, ["a"] * 100)
    (batch,) = site.turn()
    assert not site.turn()
    assert 500 <= len(site.lane._intake._admission.live) <= 600, "the others stay in the journal meanwhile"
    site.land(batch)
    while site.backlog():
        assert not site.turn()
    assert site.counts() == {("delivered", ""): 1, ("duplicate", ""): 1999}


def test_a_dead_letter_holds_just_its_event() -> None:
    site = Site()
    append(site.journal, ["a", "b", "c"])
    (batch,) = site.turn()
    site.land(batch, 207, b'["ok", "bad", "ok"]')
    (letter,) = site.journal.dead_letters()
    assert letter.record == record(["b"])
    assert (letter.outcome, letter.reason, letter.attempts) == ("rejected", "bad", 1)


def test_a_parked_event_goes_again_when_it_is_due_and_each_time_later() -> None:
    site = Site()
    append(site.journal, ["a", "b"])
    (batch,) = site.turn()
    waits: list[float | None] = []
    for _ in range(3):
        site.land(batch, 207, json.dumps(["retry"] + ["ok"] * (len(batch.sends) - 1)).encode())
        assert site.turn() == []
        waits.append(site.lane.wait_s())
        assert site.backlog() == 0
        site.clock.passed_s += waits[-1] or 0.0
        (batch,) = site.turn()
        assert payloads(batch.order) == ["a"]
    assert waits == [0.75, 1.5, 3.0]
    assert not site.turn(), "it is in flight, and due, and must not go twice"
    site.land(batch)
    assert not site.turn(), "nor after it has come back"
    assert site.ended() == {"a": "delivered", "b": "delivered"}
    assert site.journal.stats().tools[0].parked == 0
    assert site.counts() == {("delivered", ""): 2}


def test_a_parked_event_that_fails_for_good_is_buried_once() -> None:
    site = Site()
    append(site.journal, ["a", "b"])
    (batch,) = site.turn()
    site.land(batch, 207, b'["retry", "ok"]')
    site.clock.passed_s += 1
    (batch,) = site.turn()
    site.land(batch, 400)
    stats = site.journal.stats().tools[0]
    assert (stats.parked, stats.dead) == (0, 1)
    assert site.ended()["a"] == "rejected"
    assert next(iter(site.journal.dead_letters())).attempts == 2


def test_what_was_buried_can_be_tried_again() -> None:
    site = Site()
    append(site.journal, ["a"])
    (batch,) = site.turn()
    site.land(batch, 400)
    site.clock.passed_s = 10 * RULES.give_up_s
    keys = [letter.key for letter in site.journal.dead_letters()]
    assert site.journal.revive("batching", keys, site.clock.now_ms()) == 1
    (batch,) = site.turn()
    site.land(batch)
    assert site.counts() == {("rejected", "HTTP 400"): 1, ("delivered", ""): 1}


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_damaged_record_is_buried_event_by_event_and_stops_nothing(
    dry_run: bool, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(dry_run=dry_run)
    with caplog.at_level(logging.ERROR):
        site.journal.append(b"\xff\xfe", events=2, recorded_ms=NOW_MS, stamp=1)
        append(site.journal, ["a", "damaged", "never read"])
        append(site.journal, ["b"])
        sent = [name for batch in site.turn() for name in payloads(batch.order)]
    assert sent == ["a", "b"]
    assert site.counts() == {
        ("tool_error", "the record cannot be read: JSONDecodeError"): 2,
        ("tool_error", "the record cannot be read: UnreadableRecord"): 2,
    }
    assert [len(letter.record) > 0 for letter in site.journal.dead_letters()] == [True, False, True, False]
    assert len(caplog.records) == 2, "one line for each kind of trouble"


def test_of_a_damaged_record_only_what_is_open_is_buried() -> None:
    site = Site()
    position = site.journal.append(b"\xff", events=3, recorded_ms=NOW_MS, stamp=1).result(1)
    site.lease.commit("batching", Commit(settled=[Key(position, 1)], counts={("delivered", ""): 1}))
    site.turn()
    assert site.counts() == {("delivered", ""): 1, ("tool_error", "the record cannot be read: UnicodeDecodeError"): 2}


def test_what_was_shed_and_could_not_be_committed_is_not_shed_twice() -> None:
    site = Site(Batching(per_request=1, delivery=replace(RULES, window=1, backlog_bytes=1, max_batch_items=1)))
    for name in ("a", "b", "c", "d"):
        append(site.journal, [name])
    stats = replace(site.journal.stats().tools[0], backlog_bytes=2)
    site.lane = site.make_lane(FailingLease(site.lease, iter(["fails"])))
    (batch,) = site.turn()
    site.lane.queue.answered(batch, HttpReply(503), site.lane.moment())
    site.lane.survey(stats)
    with pytest.raises(JournalDown):
        site.turn()
    site.lane.survey(stats)
    site.turn()
    site.turn()
    assert site.ended() == {"a": "backlog_full"}


def test_a_place_that_is_moved_back_is_read_again_and_nothing_in_flight_goes_twice() -> None:
    site = Site()
    append(site.journal, ["a", "b", "c"])
    (first,) = site.turn()
    append(site.journal, ["d", "e", "f", "g", "h", "i"])
    site.turn()
    site.land(first)
    site.journal.seek("batching", to="start")
    again = [name for batch in site.turn() for name in payloads(batch.order)]
    assert again == ["a", "b", "c"], "the window is two and one of them is out with d, e, f"
    sent = [name for batch in site.lane.queue.flying for name in payloads(batch.order)]
    assert sorted(sent) == ["a", "b", "c", "d", "e", "f"]
    for batch in list(site.lane.queue.flying):
        site.land(batch)
    assert [name for batch in site.turn() for name in payloads(batch.order)] == ["g", "h", "i"]


def test_what_was_in_flight_when_the_place_moved_back_is_not_sent_again_once_it_landed() -> None:
    site = Site(Batching(per_request=1, delivery=replace(RULES, max_batch_items=2, window=9)))
    names = [f"e{seq}" for seq in range(6)]
    for name in names:
        append(site.journal, [name])
    sent: list[str] = []

    def turn() -> list[Batch]:
        batches = site.turn()
        sent.extend(name for batch in batches for name in payloads(batch.order))
        return batches

    for batch in turn():
        site.land(batch)
    flying = turn()
    site.journal.seek("batching", to="start")
    again = turn()
    for batch in flying + again:
        site.land(batch)
    while batches := turn():
        for batch in batches:
            site.land(batch)
    assert Counter(sent) == Counter(names) + Counter(["e0", "e1"]), "in flight were e2 and e3"
    assert site.counts() == {("delivered", ""): len(sent)}
    assert site.backlog() == 0
    assert site.lane.is_idle()


@pytest.mark.parametrize("on_the_way", [True, False], ids=["in flight", "landed"])
def test_a_place_that_is_moved_back_twice_is_read_from_the_start_each_time(on_the_way: bool) -> None:
    site = Site()
    append(site.journal, ["a"])
    for expected in (1, 2, 3):
        (batch,) = site.turn()
        if on_the_way:
            site.journal.seek("batching", to="start")
            assert site.turn() == []
        site.land(batch)
        assert site.counts() == {("delivered", ""): expected}
        site.journal.seek("batching", to="start")


def test_a_clock_that_goes_back_puts_off_nothing_for_longer_than_any_wait() -> None:
    site = Site()
    site.clock.passed_s = 86_400.0
    append(site.journal, ["a", "b"], site.clock.now_ms())
    (batch,) = site.turn()
    site.land(batch, 207, b'["retry", "ok"]')
    assert site.lane.wait_s() == 0.75
    site.clock.passed_s -= 3_599.0
    assert site.lane.wait_s() == 3_599.75, "a vendor may have asked for that much"
    assert site.turn() == []
    site.clock.passed_s -= 3_600.0
    assert site.lane.wait_s() == 0.0
    (batch,) = site.turn()
    assert payloads(batch.order) == ["a"]
    assert site.turn() == [], "it is in flight, and must not go twice"
    site.land(batch)
    assert site.ended() == {"a": "delivered", "b": "delivered"}


@dataclass(frozen=True, slots=True)
class Sizing(Batching):
    """Gives the sends of ``odd`` events a size that is none."""

    size: Any = 0

    def handle(self, event: Event) -> Iterator[Send]:
        yield Send(event.id, size=self.size if event.name == "odd" else 0)


@pytest.mark.parametrize(
    ("size", "kind"),
    [("10", "str"), (None, "NoneType"), (float("nan"), "not finite"), (-1, "negative")],
)
def test_a_size_that_is_none_ends_just_its_event(size: object, kind: str) -> None:
    site = Site(Sizing(size=size, delivery=RULES))
    append(site.journal, ["a", "odd-1", "b"])
    (batch,) = site.turn()
    assert payloads(batch.order) == ["a", "b"]
    site.land(batch)
    reason = f"handle yielded a Send whose size is {kind}, not a number of bytes (test_lane.py)"
    assert site.counts() == {("delivered", ""): 2, ("tool_error", reason): 1}
    assert site.backlog() == 0


def test_an_ending_that_cannot_be_written_ends_as_an_error_of_the_tool() -> None:
    site = Site()
    append(site.journal, ["a", "b"])
    (batch,) = site.turn()
    site.lane.queue.judged(batch, [dead(None), DONE], site.lane.moment())  # type: ignore[arg-type] # past the checks
    site.settle()
    assert site.counts() == {
        ("tool_error", "settling it raised TypeError: object of type 'NoneType' has no len() (settlement.py)"): 1,
        ("delivered", ""): 1,
    }
    assert site.journal.stats().tools[0].dead == 1
    assert site.lane.is_idle()


def test_a_backlog_over_its_cap_loses_its_oldest_while_the_tool_stands() -> None:
    site = Site(Batching(per_request=1, delivery=replace(RULES, backlog_bytes=3 * len(record(["e00"])))))
    for seq in range(10):
        append(site.journal, [f"e{seq:02}"])
    first, second = site.turn()
    site.lane.survey(site.journal.stats().tools[0])
    assert site.ended() == {}, "nothing is shed while it flows"
    site.land(first, 503)
    site.land(second, 503)
    site.lane.survey(site.journal.stats().tools[0])
    site.turn()
    assert list(site.ended().values()) == ["backlog_full"] * 7
    assert sorted(site.ended()) == [f"e{seq:02}" for seq in range(7)]
    assert site.backlog() == 3
    assert site.journal.stats().tools[0].dead == 7


def test_too_many_parked_items_stop_the_reading_and_say_so() -> None:
    site = Site()
    stats = site.journal.stats().tools[0]
    site.lane.survey(replace(stats, parked=PARKED_CAP))
    append(site.journal, ["a"])
    assert site.turn() == []
    assert not site.lane.is_idle()
    assert site.lane.wants_survey()
    site.lane.survey(replace(stats, parked=PARKED_CAP - 1))
    assert len(site.turn()) == 1


def test_reading_ahead_is_bounded_by_the_rules_of_the_tool() -> None:
    site = Site(Batching(delivery=replace(RULES, max_batch_items=4, window=1)))
    for seq in range(100):
        append(site.journal, [f"e{seq}"])
    site.turn()
    for _ in site.lane.intake():
        pass
    assert len(site.lane.queue) <= 2 * 4 + 3


def test_a_thousand_filtered_events_are_committed_in_bounded_steps() -> None:
    site = Site()
    append(site.journal, [f"drop-{seq}" for seq in range(2500)])
    turns = 0
    while not site.lane.is_idle():
        assert site.turn() == []
        turns += 1
    assert turns >= 2500 // MAX_STEP
    assert site.counts() == {("dropped", "not wanted"): 2500}


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_what_on_outcome_raises_stops_nothing(kind: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    site = Site()

    def refuse(outcome: Outcome) -> None:
        raise kind(outcome.event_id)

    site.lease.close()
    lease = site.journal.lead()
    assert lease is not None
    lane = Lane(site.dispatcher.tools[0], site.dispatcher, lease, Duplicates(), site.clock, on_outcome=refuse)
    append(site.journal, ["drop-1", "drop-2"])
    for step in (lane.intake(), lane.settle()):
        for _ in step:
            pass
    with caplog.at_level(logging.WARNING):
        assert lane.commit()
    (told,) = [record.getMessage() for record in caplog.records if "on_outcome" in record.getMessage()]
    assert placed(told.partition("\n")[0]) == f"on_outcome raised {kind.__name__} (test_lane.py)", (
        "once for both events"
    )
    assert "raise kind(outcome.event_id)" in told
    assert "drop-1" not in told
    assert site.backlog() == 0


class FailingLease:
    """A lease whose commits are carried out or not, as told, and then fail: what a dying disk or broker does."""

    def __init__(self, lease: Lease, script: Iterator[str]) -> None:
        self._lease = lease
        self._script = script

    def commit(self, tool: str, step: Commit) -> None:
        what = next(self._script, "works")
        if what != "fails":
            self._lease.commit(tool, step)
        if what != "works":
            raise JournalDown("the disk is away")

    def read(self, tool: str, max_records: int) -> list[Reading]:
        return self._lease.read(tool, max_records)

    def due(self, tool: str, now_ms: int, n: int) -> list[Parked]:
        return self._lease.due(tool, now_ms, n)

    def next_due_ms(self, tool: str) -> int | None:
        return self._lease.next_due_ms(tool)

    def settled(self, tool: str, key: Key) -> bool:
        return self._lease.settled(tool, key)

    def dirty(self, tool: str) -> bool:
        return self._lease.dirty(tool)

    def sync(self) -> None:
        self._lease.sync()

    def tend(self) -> None:
        self._lease.tend()

    def recall(self, after: bytes, limit: int) -> tuple[list[Entry], bytes]:
        return self._lease.recall(after, limit)

    def reached(self) -> bytes:
        return self._lease.reached()

    def keep(self, name: str, data: bytes | None) -> None:
        self._lease.keep(name, data)

    def note(self, name: str, text: str) -> None:
        self._lease.note(name, text)

    def noted(self, name: str) -> str | None:
        return self._lease.noted(name)

    def kept(self, name: str) -> bytes | None:
        return self._lease.kept(name)

    def lost(self) -> bool:
        return self._lease.lost()

    def close(self) -> None:
        self._lease.close()


def test_a_commit_that_fails_is_repeated_as_it_was_so_nothing_is_counted_twice() -> None:
    site = Site()
    site.lane = site.make_lane(FailingLease(site.lease, iter(["fails", "works but says it failed"])))
    append(site.journal, ["drop-1", "a"])
    with pytest.raises(JournalDown):
        site.turn()
    append(site.journal, ["drop-2"])
    with pytest.raises(JournalDown):
        site.turn()
    site.turn()
    site.turn()
    assert site.counts() == {("dropped", "not wanted"): 2}
    assert site.ended() == {"drop-1": "dropped", "drop-2": "dropped"}
    (batch,) = site.lane.queue.flying
    site.land(batch)
    assert site.backlog() == 0


def test_an_event_that_was_erased_ends_as_that_and_is_shown_to_nobody() -> None:
    site = Site()
    append(site.journal, ["a", "erased-1", "b", "erased-1"])
    append(site.journal, ["erased-1"])
    (batch,) = site.turn()
    assert payloads(batch.order) == ["a", "b"]
    site.land(batch)
    assert site.counts() == {("erased", ""): 3, ("delivered", ""): 2}, "and none of them repeats another"
    assert [outcome.event_id for outcome in site.outcomes if outcome.kind == "erased"] == [""] * 3
    assert site.journal.stats().tools[0].dead == 0
    assert site.backlog() == 0
    assert site.lane.is_idle()


def test_a_parked_event_that_was_erased_meanwhile_ends_as_that() -> None:
    site = Site()
    append(site.journal, ["a", "b"])
    (batch,) = site.turn()
    site.land(batch, 207, b'["retry", "ok"]')
    (parked,) = site.lease.due("batching", NOW_MS + 10_000, 9)
    site.lease.commit("batching", Commit(park=[replace(parked, record=record(["erased"]))]))
    site.clock.passed_s += 10
    assert site.turn() == []
    assert site.counts() == {("delivered", ""): 1, ("erased", ""): 1}
    assert site.journal.stats().tools[0].parked == 0


def test_parked_events_expire_while_the_tool_stands_and_is_asked_nothing_of_them() -> None:
    site = Site(Batching(per_request=1, delivery=replace(RULES, max_batch_items=4)))
    append(site.journal, ["old"])
    (batch,) = site.turn()
    site.lane.queue.judged(batch, [dead("x")], site.lane.moment())
    site.settle()
    append(site.journal, ["a", "b"])
    first, second = site.turn()
    site.lane.queue.judged(first, [retry("busy")], site.lane.moment())
    site.clock.passed_s += 1
    (keys,) = [[letter.key for letter in site.journal.dead_letters()]]
    site.journal.revive("batching", keys, site.clock.now_ms())  # "old" is parked
    site.lane.queue.judged(second, [retry("busy")], site.lane.moment())
    assert site.lane.queue.circuit.phase == "standing"
    site.lane.survey(site.journal.stats().tools[0])
    site.turn()
    assert "old" not in [outcome.event_id for outcome in site.outcomes if outcome.kind == "expired"], "not yet"
    site.clock.passed_s += RULES.give_up_s
    append(site.journal, ["young"], site.clock.now_ms())
    site.lane.survey(site.journal.stats().tools[0])
    site.turn()
    assert ("old", "expired") in [(outcome.event_id, outcome.kind) for outcome in site.outcomes]
    assert site.journal.stats().tools[0].parked == 0
    letter = next(letter for letter in site.journal.dead_letters() if letter.outcome == "expired")
    assert letter.record == record(["old"])


def hold_out(site: Site, turns: int) -> tuple[int, int]:
    """Let the vendor fail at every turn; return the most sends, and bytes of records, that were in memory."""
    most_sends = most_bytes = 0
    for _ in range(turns):
        for batch in site.turn():
            site.land(batch, 503)
        most_sends = max(most_sends, len(site.lane.queue))
        most_bytes = max(most_bytes, site.lane.queue.held_bytes)
        site.clock.passed_s += 60.0
    return most_sends, most_bytes


def test_a_tool_that_stands_for_hours_before_a_million_events_holds_few_of_them() -> None:
    rules = replace(RULES, give_up_s=1e6, max_batch_items=100, window=2)
    site = Site(Batching(per_request=50, delivery=rules))
    for first in range(0, 1_000_000, 1000):
        append(site.journal, [f"e-{seq}" for seq in range(first, first + 1000)])
    most_sends, _ = hold_out(site, 300)
    assert site.lane.queue.circuit.attempts > 200
    assert most_sends <= 100 * (2 + 1 + 2), "stuck, ready and read ahead, each within its bound"
    assert site.backlog() == 1_000_000


def test_one_wanted_event_of_a_large_record_counts_with_the_whole_record() -> None:
    """Else five hundred of them, each kept with the thousand that nobody wanted, would fill the memory."""
    rules = replace(RULES, give_up_s=1e6, max_batch_bytes=10_000, window=2)
    site = Site(Batching(delivery=rules))
    for seq in range(60):
        append(site.journal, [f"e-{seq}", *(f"drop-{seq}-{at}" for at in range(199))])
    size = len(record(["e-0", *(f"drop-0-{at}" for at in range(199))]))
    assert size > 2_000
    _, most_bytes = hold_out(site, 60)
    assert most_bytes <= 10_000 * (2 + 1) + 2 * size, "the bound, and the record that went over it"
    world_ends(site)
    assert site.counts()["delivered", ""] == 60


def world_ends(site: Site) -> None:
    for _ in range(5000):
        for batch in site.turn():
            site.land(batch)
        if site.lane.is_idle():
            return
        site.clock.passed_s += 60.0
    raise AssertionError("it does not come to an end")


# ── the simulation

ANSWERS = ["200", "200", "200", "400", "429", "500", "partly", "lost before", "lost after"]


class World:
    """A vendor that takes events into its books, a lane, a clock, and what happened."""

    def __init__(self, *, ordered: bool, window: int, per_request: int) -> None:
        rules = replace(RULES, ordered=ordered, window=window, give_up_s=4 * 3600.0)
        self.site = Site(Batching(delivery=rules, per_request=per_request))
        self.flying: list[Batch] = []
        self.books: list[str] = []
        self.excused: set[str] = set()
        self.names: list[str] = []

    def append(self, names: list[str]) -> None:
        named = [f"{name}-{len(self.names) + at}" for at, name in enumerate(names)]
        self.names += named
        append(self.site.journal, named, self.site.clock.now_ms())

    def turn(self) -> None:
        self.flying += self.site.turn()

    def answer(self, index: int, how: str, draw: Any) -> None:
        """Let the vendor answer one request: poison is refused whole, toxic breaks it, the rest as `how` says."""
        batch = self.flying.pop(index)
        sent = payloads(batch.order)
        if any(name.startswith("toxic") for name in sent) and how in {"200", "partly", "400"}:
            how = "500"
        if any(name.startswith("poison") for name in sent) and how in {"200", "partly"}:
            how = "400"
        moment = self.site.lane.moment()
        match how:
            case "200":
                self.books += sent
                self.site.lane.queue.answered(batch, HttpReply(200), moment)
            case "400" if len(sent) > 1 or sent[0].startswith("poison"):
                self.site.lane.queue.answered(batch, HttpReply(400), moment)
            case "429":
                self.site.lane.queue.answered(batch, HttpReply(429, {"retry-after": "7"}), moment)
            case "partly":
                words = [draw(st.sampled_from(["ok", "ok", "retry"])) for _ in sent]
                taken = [name for name, word in zip(sent, words, strict=True) if word == "ok"]
                self.books += taken
                self.excused |= {name for name in taken if name.startswith("twice")}  # its other half may be sent again
                self.site.lane.queue.judged(batch, [DONE if word == "ok" else retry("busy") for word in words], moment)
            case "lost after":
                self.books += sent
                self.excused |= set(sent)
                self.site.lane.queue.failed(batch, "no answer in time", moment)
            case "lost before":
                self.site.lane.queue.failed(batch, "no connection", moment)
            case _:
                self.site.lane.queue.answered(batch, HttpReply(500), moment)
        self.site.settle()

    def crash(self) -> None:
        """Die with requests in flight: the vendor may have them or not, and what was not committed comes again."""
        for at, batch in enumerate(self.flying):
            self.excused |= set(payloads(batch.order))
            if at % 2:
                self.books += payloads(batch.order)
        halves = {f"{name}/{half}" for name in set(self.names) - set(self.site.ended()) for half in (1, 2)}
        self.excused |= halves  # an event goes again whole, when half of it was out
        self.flying.clear()
        self.site.crash()

    def recover(self, draw: Any) -> None:
        """Have the vendor work, time go by, and everything come to its end."""
        for _ in range(5000):
            self.turn()
            if self.flying:
                self.answer(0, "200", draw)
            elif self.site.lane.is_idle() and not self.site.journal.stats().tools[0].parked:
                return
            else:
                self.site.clock.passed_s += max(60.0, self.site.lane.wait_s() or 0.0)
        raise AssertionError("it does not come to an end")


appends = st.tuples(
    st.just("append"),
    st.lists(st.sampled_from(["good", "good", "good", "twice", "drop", "poison", "toxic"]), min_size=1, max_size=6),
)
steps = st.lists(
    st.one_of(
        appends,
        st.tuples(st.just("turn"), st.none()),
        st.tuples(st.just("answer"), st.sampled_from(ANSWERS)),
        st.tuples(st.just("answer"), st.sampled_from(ANSWERS)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 2.0, 30.0])),
        st.tuples(st.just("crash"), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(
    data=st.data(),
    script=steps,
    ordered=st.booleans(),
    window=st.integers(1, 4),
    per_request=st.integers(1, 5),
)
def test_simulation_of_a_vendor_that_fails_in_every_way(
    data: st.DataObject, script: list[tuple[str, Any]], ordered: bool, window: int, per_request: int
) -> None:
    world = World(ordered=ordered, window=window, per_request=per_request)
    for what, how in script:
        match what:
            case "append":
                world.append(how)
            case "turn":
                world.turn()
            case "answer" if world.flying:
                world.answer(data.draw(st.integers(0, len(world.flying) - 1)), how, data.draw)
            case "wait":
                world.site.clock.passed_s += how
            case "crash":
                world.crash()
    world.recover(data.draw)

    ended, booked = world.site.ended(), Counter(world.books)
    assert sorted(ended) == sorted(world.names), "each event has exactly one Outcome"
    assert Counter(world.site.counts()).total() == len(world.names), "and it is counted once"
    expected = {
        "good": {"delivered"},
        "twice": {"delivered"},
        "drop": {"dropped"},
        "poison": {"rejected"},
        "toxic": {"expired"},
    }
    behind_toxic = {"delivered", "expired", "rejected"}
    for name, outcome in ended.items():
        kind = name.partition("-")[0]
        if ordered and kind != "drop" and any(other.startswith("toxic") for other in world.names):
            assert outcome in behind_toxic, "who wants order waits for the one before"
        elif not (kind in {"poison", "toxic"} and name in world.excused):
            assert outcome in expected[kind], name
    for name, outcome in ended.items():
        parts = [name + "/1", name + "/2"] if name.startswith("twice") else [name]
        if outcome == "delivered":
            assert all(booked[part] >= 1 for part in parts), "delivered means that the vendor has it"
        for part in parts:
            assert booked[part] <= 1 or part in world.excused, "nothing goes twice whose answer came"
    if ordered:
        firsts = list(dict.fromkeys(name.partition("/")[0] for name in world.books))
        assert firsts == sorted(firsts, key=lambda name: int(name.rpartition("-")[2])), "first arrivals are in order"
