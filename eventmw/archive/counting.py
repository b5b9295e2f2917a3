"""Who may give a new name to an event: a process's answer, from memory, brought up to date each second.

Layer: input and output.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

from eventmw.archive.place import file_of
from eventmw.archive.store import Archive
from eventmw.archive.transactions import ArchiveAway

REFRESH_S: Final = 1.0
"""How long a name that another process wrote may stay unknown."""

_JOIN_S: Final = 5.0


class NameCount:
    """The `Names` of the track API over an archive. The thread that keeps it fresh begins with the first question.

    Args:
        archive: whose names count.
        refresh_s: seconds between two looks.
    """

    def __init__(self, archive: Archive, *, refresh_s: float = REFRESH_S) -> None:
        self._archive = archive
        self._refresh_s = refresh_s
        self._pid = 0
        self._closed = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def may_name(self, project_id: str, name: str) -> bool:
        """Return whether an event of this name may be taken: it is known, or gets the room for one more. Never waits."""
        if self._pid != os.getpid() and not self._closed:
            self._begin()
        return self._archive.may_name(project_id, name)

    def close(self) -> None:
        """End the thread, for good."""
        self._closed = True
        self.rest()

    def rest(self) -> None:
        """End the thread; the next question begins another."""
        self._ended.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(_JOIN_S)
        self._pid = 0

    def _begin(self) -> None:
        """Start the thread of this process."""
        self._pid = os.getpid()
        self._ended = threading.Event()
        # No lock: two at the same time do no harm, and a greenlet that starts would find it held.
        thread = threading.Thread(target=self._watch, args=(self._ended,), name="eventmw-names", daemon=True)
        with suppress(RuntimeError):  # the system gives no more threads: what is known has to do
            thread.start()
            self._thread = thread  # not before: `close` waits for it

    def _watch(self, ended: threading.Event) -> None:
        file = file_of(self._archive.engine)
        while True:
            if file is None or file.exists():
                with suppress(ArchiveAway):  # what is known stays known; the filler says what is wrong
                    self._archive.refresh()
            if ended.wait(self._refresh_s):
                return
