"""The leader's heartbeat: written into its lock's file, so that others see one that is stopped or hangs.

Nobody takes the lock from it: it may go on any moment. But who waits for it says so.

Layer: input and output.
Source: JOURNAL.md «Locks».
"""

from __future__ import annotations

import logging
import time
from typing import Final

import msgspec

from eventmw.journal.files import disk
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.locks import is_free

log = logging.getLogger("eventmw.journal")

BEAT_S: Final = 1.0
STALE_S: Final = 10.0
"""A leader that was silent for so long is stopped or hangs. Source: assumption."""


class Heartbeat(msgspec.Struct, frozen=True):
    """Who leads, since when, and when it last said so; times are milliseconds since 1970."""

    pid: int
    since_ms: int
    generation: int
    beat_ms: int


class Watch:
    """Watches the leader from another process, and warns once while it is silent."""

    def __init__(self, places: Layout) -> None:
        self._places = places
        self._warned: Heartbeat | None = None

    def look(self) -> None:
        """Warn if the leader is silent."""
        beat = read(self._places)
        if beat is None or beat == self._warned:
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
