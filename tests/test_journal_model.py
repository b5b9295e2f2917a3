"""Each journal against the model of `tests.journal_model`; the file journal as several processes in one folder, which crash."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from eventmw.journal import Journal, JournalStats
from eventmw.journal.files import FileJournal
from eventmw.journal.memory import MemoryJournal
from tests.journal_model import Caps, JournalMachine, Model

_T = TypeVar("_T")
MEMORY = Path("/dev/shm")  # a disk that syncs at once, where there is one
TIGHT = Caps(waiting=300, retained=120, dead=40)
ROOMY = Caps(waiting=1 << 31, retained=1 << 31, dead=1 << 28)


class MemoryJournalMachine(JournalMachine):
    def opened(self) -> Journal:
        return MemoryJournal(cap_bytes=TIGHT.waiting, retain_bytes=TIGHT.retained, dead_bytes=TIGHT.dead)

    def modelled(self) -> Model:
        return Model("memory", TIGHT)

    @precondition(lambda self: len(self.model.log) > 5)
    @rule()
    def close(self) -> None:
        self.journal.close()
        self.model.closed = True


class FileJournalMachine(JournalMachine):
    """Several journals in one folder stand for processes: their locks exclude each other as those of processes do."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.processes: list[FileJournal] = []
        super().__init__()
        self.leader: FileJournal | None = None

    def teardown(self) -> None:
        for journal in self.processes:
            journal.leave()
        shutil.rmtree(self.folder)

    def opened(self) -> Journal:
        self.processes.append(FileJournal(self.folder, cap_bytes=ROOMY.waiting, dead_bytes=ROOMY.dead))
        return self.processes[-1]

    def modelled(self) -> Model:
        return Model("journaled", ROOMY)

    def seen(self) -> list[JournalStats]:
        order = list(self.model.tools)
        return [self.in_order(journal.stats(), order) for journal in self.processes]

    @staticmethod
    def in_order(stats: JournalStats, order: list[str]) -> JournalStats:
        return replace(stats, tools=sorted(stats.tools, key=lambda tool: order.index(tool.tool)))

    def asked(self, ask: Callable[[], _T]) -> _T:
        """Ask in a thread, while the one that leads does its chores."""
        if self.lease is None or self.journal is self.leader:
            return ask()
        answers: list[_T] = []
        asking = threading.Thread(target=lambda: answers.append(ask()))
        asking.start()
        while asking.is_alive():
            self.lease.tend()
            asking.join(0.005)
        return answers[0]

    def moment(self, recorded_ms: int) -> int:
        """Of several streams the oldest record, and the first since a time, are by this clock: here it never goes back."""
        return max([recorded_ms, *(entry.recorded_ms for entry in self.model.log[-1:])])

    def led(self) -> None:
        assert isinstance(self.journal, FileJournal)
        self.leader = self.journal
        self.model.mend()  # as whoever begins to lead does

    def about_to_ask(self) -> None:
        if self.lease is None:
            self.model.mend()  # whoever asks leads for that moment

    @rule(which=st.integers(0, 5))
    def go_on_in(self, which: int) -> None:
        """Have another process do the next things."""
        self.journal = self.processes[which % len(self.processes)]

    @precondition(lambda self: len(self.processes) < 4)
    @rule()
    def begin_another(self) -> None:
        self.journal = self.opened()

    @rule(orderly=st.booleans())
    def end(self, orderly: bool) -> None:
        """End the process, as it should or by a crash; another one goes on."""
        ended = self.journal
        assert isinstance(ended, FileJournal)
        if self.leader is ended:
            self.lease = self.leader = None
        if not orderly:
            ended.leave_parent_behind()  # every descriptor is closed, and nothing else is done
        ended.leave()
        self.processes.remove(ended)
        self.journal = self.processes[-1] if self.processes else self.opened()

    @precondition(lambda self: self.lease)
    @rule()
    def tend(self) -> None:
        assert self.lease
        self.lease.sync()
        self.lease.tend()


# Nothing is timed here: a busy machine is slow, not wrong.
MemoryJournalMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
FileJournalMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.generate],  # to make a failure smaller takes minutes: it is told as it was found
)
TestMemoryJournalModel = MemoryJournalMachine.TestCase
TestFileJournalModel = FileJournalMachine.TestCase
