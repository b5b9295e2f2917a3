"""Builds that are broken on purpose, in the subject's process only: a harness that does not find them is not believed.

Each takes one promise back, by replacing what the journal and the courier call or are handed.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from eventmw.delivery.transport import Transport
from eventmw.effects import Order
from eventmw.http import HttpReply
from eventmw.journal import Commit, Journal, Position
from eventmw.journal.files.epochs import Epochs
from eventmw.journal.files.leader import Leader
from eventmw.journal.files.sources import Horizon, Sources
from eventmw.runtime import Runtime


def _nothing(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Breakage:
    """How one build is broken: before the runtime is built, and after."""

    before: Callable[[], None] = _nothing
    after: Callable[[Runtime], None] = _nothing


def breakage(name: str) -> Breakage:
    """Return a breakage by its name; "" is a build that is not broken."""
    return BREAKAGES[name]


def _no_sync() -> None:
    """Never sync a file, and say it went well."""
    os.fsync = os.fdatasync = _nothing  # type: ignore[assignment]


def _sync_again() -> None:
    """Ask a second time when a sync fails: the kernel says yes, as it has forgotten what it could not write."""
    fsync, fdatasync = os.fsync, os.fdatasync

    def again(sync: Callable[[int], None]) -> Callable[[int], None]:
        def synced(fd: int) -> None:
            try:
                sync(fd)
            except OSError:
                sync(fd)

        return synced

    os.fsync, os.fdatasync = again(fsync), again(fdatasync)  # type: ignore[assignment]


class _Early:
    """A journal whose futures are done before anything is written."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def append(self, record: bytes, *, events: int, recorded_ms: int, stamp: int) -> Future[Position]:
        """Append, and do not wait for it."""
        _later(lambda: self._journal.append(record, events=events, recorded_ms=recorded_ms, stamp=stamp))
        done: Future[Position] = Future()
        done.set_result(Position("early", 0))
        return done


def _later(do: Callable[[], object]) -> None:
    """Do something on another thread, in a moment."""
    threading.Timer(0.002, do).start()


def _answer_early(runtime: Runtime) -> None:
    runtime.journal = _Early(runtime.journal)


class _Hasty:
    """A transport that says 200 before it has asked the vendor."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._sending: set[asyncio.Task[object]] = set()

    async def send(self, order: Order, *, timeout_s: float, connect_timeout_s: float = 2.0) -> HttpReply:
        """Say 200; send later."""
        task = asyncio.get_running_loop().create_task(self._later(order, timeout_s))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return HttpReply(200)

    async def _later(self, order: Order, timeout_s: float) -> None:
        await asyncio.sleep(0.01)
        await self._transport.send(order, timeout_s=timeout_s)

    async def close(self) -> None:
        """Close once all is sent: in an orderly end nothing shows."""
        await asyncio.gather(*self._sending)
        await self._transport.close()


def _done_early(runtime: Runtime) -> None:
    make = runtime.transport
    runtime.transport = lambda: _Hasty(make())


def _place_before_park() -> None:
    """Move the place past events first, and park them in a second step."""
    commit = Leader.commit

    def in_two_steps(leader: Leader, tool: str, step: Commit) -> None:
        if step.park:
            commit(leader, tool, replace(step, settled=[*step.settled, *(item.key for item in step.park)], park=()))
            step = Commit(park=step.park)
        commit(leader, tool, step)

    Leader.commit = in_two_steps  # type: ignore[method-assign,assignment]


def _unlink_before_sync() -> None:
    """Never make places durable, and unlink what they say is consumed."""
    Epochs.sync = _nothing  # type: ignore[method-assign,assignment]


def _slow_look(sources: Sources) -> Mapping[str, int]:
    sources.follow()
    limits: dict[str, int] = {}
    for sid, source in sources.all.items():
        limits[sid] = source.limit()
        time.sleep(0.01)
    return limits


def _slow_horizon() -> None:
    """Look at the streams slowly, by the rule."""

    def horizon(sources: Sources) -> Horizon:
        stamp = time.monotonic_ns()
        return Horizon(stamp, _slow_look(sources))

    Sources.horizon = horizon  # type: ignore[method-assign,assignment]


def _no_horizon() -> None:
    """Look at the streams slowly, and hand out what came meanwhile too."""
    Sources.horizon = lambda sources: Horizon(1 << 62, _slow_look(sources))  # type: ignore[method-assign,assignment]


BREAKAGES = {
    "": Breakage(),
    "no-sync": Breakage(before=_no_sync),
    "answer-before-commit": Breakage(after=_answer_early),
    "done-before-answer": Breakage(after=_done_early),
    "sync-again": Breakage(before=_sync_again),
    "place-before-park": Breakage(before=_place_before_park),
    "unlink-before-sync": Breakage(before=_unlink_before_sync),
    "no-horizon": Breakage(before=_no_horizon),
    "slow-horizon": Breakage(before=_slow_horizon),  # not broken: what the one before is held against
}
