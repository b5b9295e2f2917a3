"""An actor: one process with one file journal, which does what it is told and can be killed between two words.

It is forked from a clean server process, so that it starts within milliseconds and inherits nothing.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from eventmw.journal import Commit, DeadLetter, Lease, Parked, Reading, ToolStats
from eventmw.journal.files import FileJournal, stream
from tests.crash.broken import breakage

TOOLS = ("a", "b")
FAR_MS = 2**60
ANSWER_S = 20.0
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.crash.actor"])


class Failed(Exception):
    """The actor's journal raised. The text is the type and the message."""


class Acting:
    """What runs in the actor's process."""

    def __init__(self, folder: str, segment_bytes: int, retain_s: float) -> None:
        logging.getLogger("eventmw.journal").setLevel(logging.ERROR)  # that the folder is in memory is known
        stream.FIRST_BYTES = segment_bytes  # type: ignore[misc]
        self.journal = FileJournal(folder, retain_s=retain_s)
        self.journal.register(TOOLS)
        self.lease: Lease | None = None

    def break_(self, name: str) -> None:
        """Be a build that is broken from here on; see `tests.crash.broken`."""
        breakage(name).before()

    def append(self, record: bytes, events: int) -> tuple[str, int]:
        """Append a record, and wait until it is kept."""
        kept = self.journal.append(
            record, events=events, recorded_ms=time.time_ns() // 10**6, stamp=time.monotonic_ns()
        )
        return kept.result(ANSWER_S)

    def lead(self) -> bool:
        """Ask for the lease."""
        found = self.journal.lead()
        if found is not None:
            self.lease = found
        return found is not None

    def give_up(self) -> None:
        """Give the lease back."""
        self._leading().close()
        self.lease = None

    def read(self, tool: str, most: int) -> list[Reading]:
        """Read on for a tool."""
        return self._leading().read(tool, most)

    def due(self, tool: str) -> list[Parked]:
        """Return all that is parked."""
        return self._leading().due(tool, FAR_MS, 10**6)

    def commit(self, tool: str, step: Commit) -> None:
        """Carry out a step."""
        self._leading().commit(tool, step)

    def tend(self) -> None:
        """Do the chores."""
        self._leading().tend()

    def sync(self) -> None:
        """Make places durable."""
        self._leading().sync()

    def seek(self, tool: str) -> int:
        """Move a tool back to the start."""
        return self.journal.seek(tool, to="start")

    def dead(self, tool: str) -> list[DeadLetter]:
        """Return a tool's dead letters."""
        return list(self.journal.dead_letters(tool))

    def stats(self) -> list[ToolStats]:
        """Return where the tools stand."""
        return list(self.journal.stats().tools)

    def leave(self) -> None:
        """End in order."""
        self.journal.leave()

    def _leading(self) -> Lease:
        assert self.lease is not None, "this actor does not lead"
        return self.lease


def _act(folder: str, segment_bytes: int, retain_s: float, wire: Connection) -> None:
    acting = Acting(folder, segment_bytes, retain_s)
    while True:
        name, arguments = wire.recv()
        try:
            wire.send((True, getattr(acting, name)(*arguments)))
        except Exception as error:
            wire.send((False, f"{type(error).__name__}: {error}"))
        if name == "leave":
            os._exit(0)


class Actor:
    """An actor as the world sees it."""

    def __init__(self, folder: Path, segment_bytes: int, retain_s: float) -> None:
        self._wire, far_end = _context.Pipe()
        self._process = _context.Process(target=_act, args=(str(folder), segment_bytes, retain_s, far_end), daemon=True)
        self._process.start()
        far_end.close()

    def do(self, name: str, *arguments: Any) -> Any:
        """Have it do something, and return what came of it.

        Raises:
            Failed: its journal raised.
            TimeoutError: no answer.
        """
        self.begin(name, *arguments)
        return self.answer(name)

    def begin(self, name: str, *arguments: Any) -> None:
        """Have it do something, and do not wait; `answer` has to follow."""
        self._wire.send((name, arguments))

    def answer(self, name: str) -> Any:
        """Return what came of what it was told last."""
        if not self._wire.poll(ANSWER_S):
            raise TimeoutError(f"no answer to {name} within {ANSWER_S:g} s")
        well, value = self._wire.recv()
        if not well:
            raise Failed(value)
        return value

    def kill(self) -> None:
        """End it where it is."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self._wire.close()

    def leave(self) -> None:
        """Have it end in order."""
        self.do("leave")
        self.kill()
