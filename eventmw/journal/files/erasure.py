"""Erasing a person from everything that a data directory holds.

Only what nobody writes can be rewritten, so the owners of live streams are asked to end them, which takes about a second.
Records keep their length and their place: no tool's place changes. What was read ahead is let go and read again. Nothing
remains from which a replay, a take-over or a dead letter could bring the person back.

Layer: input and output.
Source: DESIGN.md «Log and cursors»; the order is ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from eventmw.errors import JournalDown
from eventmw.journal import ERASED, Commit, Key
from eventmw.journal.files.leader import Leader

PATIENCE_S: Final = 20.0
"""How long the owner of a stream may take to end it."""

_POLL_S: Final = 0.05


class Erasure:
    """One erasure, in steps: each is short, but for the last, which rewrites.

    Args:
        leader: the lease.
        rewritten: returns a record without the person, of the same length; None when the person is not in it.
    """

    def __init__(self, leader: Leader, rewritten: Callable[[bytes], bytes | None]) -> None:
        self._leader = leader
        self._rewritten = rewritten
        self._deadline_s = time.monotonic() + PATIENCE_S
        leader.sources.take_over()
        self._asked = [source for source in leader.sources.all.values() if not source.dead]
        for source in self._asked:
            source.ask_to_seal()

    def step(self) -> dict[str, int] | None:
        """Go on; return how much was erased once that is done: ``{"records", "parked", "dead"}``.

        Raises:
            JournalDown: a process did not end its stream, or the disk failed. What could be erased is erased.
        """
        leader = self._leader
        with leader.lock:
            leader.sources.take_over()
            alive = [source for source in self._asked if not source.dead and source.sid in leader.sources.all]
            if alive and time.monotonic() < self._deadline_s:
                return None
            try:
                erased = self._erase()
            except OSError as error:
                raise JournalDown(
                    f"not everything was erased: {error.strerror or error}. Erase again when the disk works and has room"
                ) from error
        if alive:
            raise JournalDown(
                f"{len(alive)} of the processes that write are stopped or hang, and what they wrote last was not erased. "
                "Erase again when they run or have ended"
            )
        return erased

    def finish(self) -> dict[str, int]:
        """Go on until it is done."""
        while (erased := self.step()) is None:
            time.sleep(_POLL_S)
        return erased

    def _erase(self) -> dict[str, int]:
        leader = self._leader
        parked = {tool: self._meant(tool) for tool in leader.ledger.tools}
        leader.erasures.note(
            self._rewritten,
            {sid: end.seq for sid, end in leader.sources.ends().items()},
            {(tool, key) for tool, keys in parked.items() for key in keys},
        )
        records = 0
        for source in leader.sources.all.values():
            if source.dead:
                source.segments.look()
                records += sum(source.segments.rewrite(header, self._rewritten) for header in source.segments.headers())
        for tool, keys in parked.items():
            if keys:
                leader.commit(tool, Commit(unpark=keys, counts={ERASED: len(keys)}))
        dead = leader.graves.erase(lambda record: self._rewritten(record) is not None)
        leader.begin_anew()
        return {"records": records, "parked": sum(map(len, parked.values())), "dead": dead}

    def _meant(self, tool: str) -> list[Key]:
        items = self._leader.ledger.tools[tool].parking.items.values()
        return [item.key for item in items if self._rewritten(item.record) is not None]
