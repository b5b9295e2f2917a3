"""The leader's heartbeat: written into its lock's file, so that others see one that is stopped or hangs.

Nobody takes the lock from it: it may go on any moment. But who waits for it says so.

Layer: input and output.
Source: JOURNAL.md «Locks».
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from eventmw.journal.files import disk
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.locks import Lock, is_free

log = logging.getLogger("eventmw.journal")

BEAT_S: Final = 1.0
STALE_S: Final = 10.0
"""A leader that was silent for so long is stopped or hangs. Source: assumption."""

CONFIRM_S: Final = 3.0
"""How long the same heartbeat must be seen before it counts as silence. Source: assumption."""


class Heartbeat(msgspec.Struct, frozen=True):
    """Who leads, since when, and when it last said so; times are milliseconds since 1970."""

    pid: int
    since_ms: int
    generation: int
    beat_ms: int


class _Leader(Protocol):
    """Who begins to lead."""

    @property
    def pid(self) -> int:
        """Its process."""
        ...

    @property
    def generation(self) -> int:
        """When it opened the journal, milliseconds since 1970."""
        ...


def begin(lock: Lock, leader: _Leader) -> None:
    """Write a new leader's first heartbeat over the last one of the leader before. Reading the state takes a while."""
    now_ms = time.time_ns() // 1_000_000
    with suppress(OSError):  # no room: others wait for the second
        lock.write(encoded(Heartbeat(leader.pid, now_ms, leader.generation, now_ms)))


def encoded(heartbeat: Heartbeat) -> bytes:
    """Return a heartbeat as the lock's file holds it."""
    return msgspec.json.encode(heartbeat) + b"\n"


class Watch:
    """Watches the leader from another process, and warns once while it is silent.

    Between the moment at which a new leader gets the lock and its first heartbeat, the file holds that of the leader before,
    which may be dead for long. So only a heartbeat that is still the same some seconds later counts as silence.

    Args:
        places: the data directory.
        now_s: a clock that only grows, in seconds.
    """

    def __init__(self, places: Layout, now_s: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._now_s = now_s
        self._seen: Heartbeat | None = None
        self._since_s = 0.0
        self._warned: Heartbeat | None = None

    def look(self) -> None:
        """Warn if the leader is silent."""
        beat, now_s = read(self._places), self._now_s()
        if beat != self._seen:
            self._seen, self._since_s = beat, now_s
        if beat is None or beat == self._warned or now_s - self._since_s < CONFIRM_S:
            return
        silent_s = time.time() - beat.beat_ms / 1000
        if silent_s > STALE_S:
            self._warned = beat
            log.warning(
                "process %d moves the journal's places and has not for %.0f s: it is stopped or hangs. Events are kept, and "
                "deliveries wait for it",
                beat.pid,
                silent_s,
            )


def read(places: Layout) -> Heartbeat | None:
    """Return the heartbeat of whoever leads now."""
    if is_free(places.leader):
        return None
    try:
        return msgspec.json.decode(disk.read(places.leader) or b"", type=Heartbeat)
    except msgspec.DecodeError:
        return None  # it has just begun, or is writing
