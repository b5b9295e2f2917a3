"""A model of a journal, and a machine that takes every step with a journal and with the model of it: all that can be seen
must stay the same.

The model keeps sets of settled events and computes all else from them each time: no prefix, no cursor, no running sums.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from eventmw.errors import JournalDown, JournalFull
from eventmw.journal import (
    DEAD_EVICTED,
    SKIPPED,
    Commit,
    DeadLetter,
    Durability,
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
from tests.journal_conformance import DEADLINE_S, until

_T = TypeVar("_T")
tools = st.sampled_from(["a", "b", "c"])
times = st.integers(0, 20)
records = st.tuples(st.binary(max_size=60), st.integers(1, 3), times)  # the record, its events, when it came
outcomes = st.dictionaries(
    st.tuples(st.sampled_from(["delivered", "dropped"]), st.sampled_from(["", "why"])), st.integers(1, 3), max_size=2
)


@dataclass
class ModelTool:
    settled: set[Key]
    parked: dict[Key, Parked] = field(default_factory=dict)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    handed: int = 0  # how far in the log records were handed out under the present lease
    dirty: bool = False


@dataclass(frozen=True)
class Caps:
    """What a journal has room for, in bytes."""

    waiting: int
    retained: int
    dead: int


@dataclass
class Model:
    durability: Durability
    caps: Caps
    log: list[Entry] = field(default_factory=list)
    evicted: int = 0
    tools: dict[str, ModelTool] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    closed: bool = False

    def events(self, entries: Iterable[Entry] | None = None) -> set[Key]:
        entries = self.log if entries is None else entries
        return {Key(entry.position, ordinal) for entry in entries for ordinal in range(entry.events)}

    def left(self, tool: ModelTool) -> list[Entry]:
        return [entry for entry in self.log if not self.events([entry]) <= tool.settled]

    def floor(self) -> int:
        firsts = [self.log.index(left[0]) for tool in self.tools.values() if (left := self.left(tool))]
        return min(firsts, default=len(self.log))

    def parked_bytes(self) -> int:
        return sum(len(item.record) for tool in self.tools.values() for item in tool.parked.values())

    def evict(self, room: int = 0) -> None:
        def consumed() -> int:
            return size(self.log[self.evicted : self.floor()])

        def held() -> int:
            return size(self.log[self.evicted :]) + self.parked_bytes() + room

        while self.evicted < self.floor() and (consumed() > self.caps.retained or held() > self.caps.waiting):
            self.evicted += 1

    def fits(self, length: int) -> bool:
        return size(self.log[self.floor() :]) + self.parked_bytes() + length <= self.caps.waiting

    def append(self, entry: Entry) -> None:
        self.evict(room=len(entry.record))
        self.log.append(entry)
        self.evict()

    def commit(self, name: str, step: Commit) -> None:
        if (tool := self.tools.get(name)) is None:
            return
        ended = {*step.unpark, *(letter.key for letter in step.dead)}
        parked = {key: item for key, item in tool.parked.items() if key not in ended}
        parked |= {item.key: item for item in step.park}
        events = {*step.settled, *ended, *(item.key for item in step.park)}
        if events <= tool.settled and {k: item for k, item in parked.items() if k in tool.parked} == tool.parked:
            return
        tool.settled |= events
        tool.parked = parked
        tool.counts.update(step.counts)
        for letter in step.dead:
            self.bury(letter)
        self.evict()

    def bury(self, letter: DeadLetter) -> None:
        self.dead = [old for old in self.dead if (old.tool, old.key) != (letter.tool, letter.key)] + [letter]
        while sum(len(kept.record) for kept in self.dead) > self.caps.dead:
            gone = self.dead.pop(0)
            if gone.tool in self.tools:
                self.tools[gone.tool].counts[DEAD_EVICTED] += 1

    def mend(self) -> None:
        """Let the letters of events go that wait for another attempt."""
        for name, tool in self.tools.items():
            self.exhume(name, list(tool.parked))

    def exhume(self, name: str, keys: Sequence[Key]) -> list[DeadLetter]:
        found = [letter for letter in self.dead if letter.tool == name and letter.key in keys]
        self.dead = [letter for letter in self.dead if letter not in found]
        return found

    def seek(self, name: str, since_ms: int | None, to: str | None) -> int:
        tool = self.tools[name]
        tool.handed, tool.dirty = 0, True
        if to == "end":
            skipped = self.events() - tool.settled
            tool.settled |= skipped
            if skipped:
                tool.counts[SKIPPED] += len(skipped)
            self.evict()
            return 0
        kept = self.log[self.evicted :]
        first = next((n for n, entry in enumerate(kept) if to or entry.recorded_ms >= (since_ms or 0)), len(kept))
        back = (self.events(kept[first:]) & tool.settled) - tool.parked.keys()
        tool.settled -= back
        self.evict()
        return len(back)

    def read(self, tool: ModelTool, n: int) -> list[Reading]:
        entries = [entry for entry in self.log[tool.handed :] if not self.events([entry]) <= tool.settled][:n]
        if entries:
            tool.handed = self.log.index(entries[-1]) + 1
        tool.dirty = False
        return [
            Reading(entry, frozenset(key.ordinal for key in self.events([entry]) & tool.settled)) for entry in entries
        ]

    def stats(self) -> JournalStats:
        kept = self.log[self.evicted :]
        return JournalStats(
            durability=self.durability,
            records=len(kept),
            events=len(self.events(kept)),
            bytes=size(kept) + self.parked_bytes(),
            cap_bytes=self.caps.waiting,
            appended_records=len(self.log),
            appended_events=len(self.events()),
            tools=[self.tool_stats(name) for name in self.tools],
        )

    def tool_stats(self, name: str) -> ToolStats:
        tool = self.tools[name]
        left = self.left(tool)
        return ToolStats(
            tool=name,
            backlog_records=len(left),
            backlog_events=len(self.events() - tool.settled),
            backlog_bytes=size(left),
            oldest_ms=left[0].recorded_ms if left else None,
            parked=len(tool.parked),
            dead=sum(letter.tool == name for letter in self.dead),
            counts=dict(tool.counts),
        )


def size(entries: Iterable[Entry]) -> int:
    return sum(len(entry.record) for entry in entries)


class JournalMachine(RuleBasedStateMachine):
    """The rules that hold for every journal. A subclass opens one, and adds what only that kind does.

    Attributes:
        journal: the one that is asked; `lease` is its lease, or another one's on the same log.
    """

    keys = Bundle("keys")  # events of the log, settled or not, kept or evicted
    steps = Bundle("steps")  # what was committed, to be committed again

    def __init__(self) -> None:
        super().__init__()
        self.journal: Journal = self.opened()
        self.model = self.modelled()
        self.lease: Lease | None = None

    def opened(self) -> Journal:
        raise NotImplementedError

    def modelled(self) -> Model:
        raise NotImplementedError

    def moment(self, recorded_ms: int) -> int:
        """Return the wall time at which a record comes."""
        return recorded_ms

    def about_to_ask(self) -> None:
        """Note that the owner of the journal asks for something that only a leader does."""

    def led(self) -> None:
        """Note that the journal has the lease now."""

    def asked(self, ask: Callable[[], _T]) -> _T:
        """Return what comes of a question that the holder of the lease answers."""
        return ask()

    def seen(self) -> list[JournalStats]:
        """Return the figures as everybody sees them."""
        return [self.journal.stats()]

    @initialize(target=keys, records=st.lists(records, min_size=2, max_size=4))
    def start(self, records: list[tuple[bytes, int, int]]) -> object:
        self.register(["a", "b"])
        self.lead()
        return self.append(records)

    # Writing

    @rule(target=keys, records=st.lists(records, min_size=1, max_size=3))
    def append(self, records: list[tuple[bytes, int, int]]) -> object:
        return multiple(*(key for record in records for key in self.append_one(*record)))

    def append_one(self, record: bytes, events: int, recorded_ms: int) -> list[Key]:
        stamp, recorded_ms = time.monotonic_ns(), self.moment(recorded_ms)

        def append() -> Position:
            return self.journal.append(record, events=events, recorded_ms=recorded_ms, stamp=stamp).result(DEADLINE_S)

        if self.model.closed or not self.model.fits(len(record)):
            with pytest.raises(JournalDown if self.model.closed else JournalFull):
                append()
            return []
        woken: list[int] = []
        self.journal.on_append(lambda: woken.append(1))
        at = append()
        until(lambda: woken == [1], "the waker")
        before = [entry.position.seq for entry in self.model.log if entry.position.stream == at.stream]
        assert at.seq == max(before, default=0) + 1
        entry = Entry(at, recorded_ms, stamp, events, record)
        self.model.append(entry)
        return [Key(at, ordinal) for ordinal in range(events)]

    # Tools and leases

    @rule(names=st.lists(tools, max_size=2))
    def register(self, names: list[str]) -> None:
        self.journal.register(names)
        for name in names:
            self.model.tools.setdefault(name, ModelTool(self.model.events(), handed=len(self.model.log)))

    @rule(name=tools)
    def forget(self, name: str) -> None:
        self.about_to_ask()
        self.asked(lambda: self.journal.forget(name))
        self.model.tools.pop(name, None)
        self.model.evict()

    @rule()
    def lead(self) -> None:
        lease = self.journal.lead()
        if self.lease is not None:
            assert lease is None, "a second lease while one is held"
            return
        assert lease is not None
        self.lease = lease
        self.led()
        for tool in self.model.tools.values():
            tool.handed, tool.dirty = 0, False

    @precondition(lambda self: self.lease)
    @rule(again=st.booleans())
    def end_lease(self, again: bool) -> None:
        lease, self.lease = self.lease, None
        assert lease is not None
        lease.close()
        assert lease.lost()
        with pytest.raises(JournalDown):
            lease.read("a", 1)
        if again:
            self.lead()

    # Under the lease

    @precondition(lambda self: self.lease)
    @rule(name=tools, n=st.integers(0, 4))
    def read(self, name: str, n: int) -> None:
        assert self.lease
        tool = self.model.tools.get(name)
        assert self.lease.dirty(name) == (tool is not None and tool.dirty)
        assert self.lease.read(name, n) == ([] if tool is None else self.model.read(tool, n))
        assert not self.lease.dirty(name)

    @precondition(lambda self: self.lease)
    @rule(name=tools, now_ms=times, n=st.integers(0, 4))
    def due(self, name: str, now_ms: int, n: int) -> None:
        assert self.lease
        tool = self.model.tools.get(name)
        waiting = sorted(tool.parked.values(), key=lambda item: (item.due_ms, item.key)) if tool else []
        assert self.lease.due(name, now_ms, n) == [item for item in waiting if item.due_ms <= now_ms][:n]
        assert self.lease.next_due_ms(name) == (waiting[0].due_ms if waiting else None)

    @precondition(lambda self: self.lease)
    @rule(
        target=steps,
        name=tools,
        settled=st.lists(keys, max_size=6),
        park=st.lists(st.tuples(keys, st.binary(max_size=90), times), max_size=3, unique_by=lambda item: item[0]),
        unpark=st.lists(keys, max_size=3),
        dead=st.lists(st.tuples(keys, st.binary(max_size=20)), max_size=2, unique_by=lambda item: item[0]),
        counts=outcomes,
    )
    def commit(
        self,
        *,
        name: str,
        settled: list[Key],
        park: list[tuple[Key, bytes, int]],
        unpark: list[Key],
        dead: list[tuple[Key, bytes]],
        counts: dict[tuple[str, str], int],
    ) -> tuple[str, Commit]:
        step = Commit(
            settled=settled,
            park=[Parked(key, record, len(record), due_ms, "later") for key, record, due_ms in park],
            unpark=unpark,
            dead=[DeadLetter(name, key, record, "rejected", "why", 1, 0) for key, record in dead],
            counts=counts,
        )
        self.commit_again((name, step))
        self.commit_again((name, step), repeated=True)
        return name, step

    @precondition(lambda self: self.lease)
    @rule(name=tools, whole=st.booleans(), counts=outcomes)
    def settle_the_next(self, name: str, whole: bool, counts: dict[tuple[str, str], int]) -> None:
        """Do what a courier does mostly, so that places move, records are consumed and evicted."""
        if (tool := self.model.tools.get(name)) is not None and (left := self.model.left(tool)):
            ended = sorted(self.model.events(left[:1]) - tool.settled)
            self.commit_again((name, Commit(settled=ended if whole else ended[:1], counts=counts)))

    @precondition(lambda self: self.lease)
    @rule(step=steps)
    def commit_again(self, step: tuple[str, Commit], *, repeated: bool = False) -> None:
        assert self.lease
        before = self.seen(), list(self.journal.dead_letters())
        self.lease.commit(*step)
        if repeated:
            assert (self.seen(), list(self.journal.dead_letters())) == before
        else:
            self.model.commit(*step)

    @precondition(lambda self: self.lease and self.model.log)
    @rule(name=tools, key=keys, beyond=st.integers(0, 2))
    def commit_what_never_was(self, name: str, key: Key, beyond: int) -> None:
        assert self.lease
        wrong = Key(Position(key.position.stream, len(self.model.log) + 1 + beyond), key.ordinal)
        if name in self.model.tools:
            with pytest.raises(ValueError, match="names no event"):
                self.lease.commit(name, Commit(settled=[key, wrong], counts={("x", ""): 1}))

    # What an owner does

    @rule(name=tools, since_ms=times)
    def seek_time(self, name: str, since_ms: int) -> None:
        if name in self.model.tools:
            self.about_to_ask()
            assert self.asked(lambda: self.journal.seek(name, since_ms=since_ms)) == self.model.seek(
                name, since_ms, None
            )

    @rule(name=tools)
    def seek_start(self, name: str) -> None:
        if name in self.model.tools:
            self.about_to_ask()
            assert self.asked(lambda: self.journal.seek(name, to="start")) == self.model.seek(name, None, "start")

    @rule(name=tools)
    def seek_end(self, name: str) -> None:
        if name in self.model.tools:
            self.about_to_ask()
            assert self.asked(lambda: self.journal.seek(name, to="end")) == self.model.seek(name, None, "end")

    @rule(name=tools, chosen=st.lists(keys, max_size=6), now_ms=times)
    def revive(self, name: str, chosen: list[Key], now_ms: int) -> None:
        if (tool := self.model.tools.get(name)) is None:
            return
        self.about_to_ask()
        letters = self.model.exhume(name, chosen)
        assert self.asked(lambda: self.journal.revive(name, chosen, now_ms)) == len(letters)
        for letter in letters:
            tool.settled.add(letter.key)
            tool.parked[letter.key] = Parked(letter.key, letter.record, 0, now_ms, letter.reason)
        self.model.evict()

    @rule(name=tools, chosen=st.lists(keys, max_size=6))
    def drop_dead(self, name: str, chosen: list[Key]) -> None:
        self.about_to_ask()
        assert self.asked(lambda: self.journal.drop_dead(name, chosen)) == len(self.model.exhume(name, chosen))

    @rule(key=keys, limit=st.integers(0, 5))
    def scan_after(self, key: Key, limit: int) -> None:
        at = next(n for n, entry in enumerate(self.model.log, 1) if entry.position == key.position)
        after = max(at, self.model.evicted)
        assert self.journal.scan(key.position, limit) == self.model.log[after:][:limit]

    # What must be the same after every step

    @invariant()
    def looks_the_same(self) -> None:
        expected = self.model.stats()
        for stats in self.seen():
            assert replace(stats, leader_pid=None, heartbeat_ms=None) == expected
        assert list(self.journal.dead_letters()) == self.model.dead
        assert self.journal.scan() == self.model.log[self.model.evicted :]

    @invariant()
    def every_event_is_somewhere(self) -> None:
        """What no tool has settled is kept, whatever was evicted."""
        kept = {entry.position for entry in self.journal.scan()}
        for tool in self.model.tools.values():
            assert {entry.position for entry in self.model.left(tool)} <= kept
