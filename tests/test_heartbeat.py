"""The leader's heartbeat: a warning about a leader that is silent, and none about one that is dead."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from eventmw.journal.files import FileJournal, heartbeat
from eventmw.journal.files.heartbeat import CONFIRM_S, STALE_S, Heartbeat, Watch
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.locks import Lock

DEAD = 4_194_303


def stale(pid: int) -> bytes:
    """Return the heartbeat of a process that has been silent for long."""
    then_ms = int((time.time() - 3 * STALE_S) * 1000)
    return heartbeat.encoded(Heartbeat(pid, then_ms, then_ms, then_ms))


@pytest.fixture
def places(tmp_path: Path) -> Layout:
    places = Layout(tmp_path)
    places.make()
    return places


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_heartbeat_of_a_dead_leader_is_no_alarm_while_the_next_one_begins(
    places: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    places.leader.write_bytes(stale(DEAD))
    clock = Clock()
    watch, held = Watch(places, clock), Lock(places.leader)
    assert held.acquire()
    with caplog.at_level(logging.WARNING):
        watch.look()  # after it took the lock, before it wrote
        clock.now_s += CONFIRM_S - 0.1
        watch.look()
        heartbeat.begin(held, Heartbeat(1, 0, 0, 0))
        clock.now_s += CONFIRM_S
        watch.look()
    assert caplog.messages == []
    held.release()


def test_a_leader_that_stays_silent_is_named_once(places: Layout, caplog: pytest.LogCaptureFixture) -> None:
    places.leader.write_bytes(stale(7))
    clock = Clock()
    watch, held = Watch(places, clock), Lock(places.leader)
    assert held.acquire()
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            watch.look()
            clock.now_s += CONFIRM_S
    [message] = caplog.messages
    assert message.startswith("process 7 moves the journal's places and has not for")
    held.release()


def test_who_takes_the_lock_writes_its_heartbeat_before_it_reads_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal(tmp_path)
    Layout(tmp_path).leader.write_bytes(stale(DEAD))
    seen: list[Heartbeat | None] = []
    real = FileJournal._new_lease

    def noted(self: FileJournal, held: Lock) -> object:
        seen.append(heartbeat.read(Layout(tmp_path)))
        return real(self, held)

    monkeypatch.setattr(FileJournal, "_new_lease", noted)
    lease = journal.lead()
    assert lease is not None
    assert [beat and beat.pid for beat in seen] != [DEAD]
    assert seen[0] is not None
    assert time.time() - seen[0].beat_ms / 1000 < STALE_S
    lease.close()
    journal.leave()
