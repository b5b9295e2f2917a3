"""Jobs: what has a place in the journal as tools have, and does something else with the records than send them.

Layer: input and output. Everything of a turn runs on the courier's loop, but for `Turns.state`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from eventmw.journal import Lease

if TYPE_CHECKING:
    from eventmw.delivery.driver import Work
    from eventmw.delivery.lane import LaneState


class Turns(Protocol):
    """A job while one lease is held. It must not block the loop, and is patient with a journal that fails."""

    @property
    def kick(self) -> asyncio.Event:
        """Set to have it look for work."""
        ...

    async def run(self) -> None:
        """Work for ever."""
        ...

    async def land(self, grace_s: float) -> bool:
        """Wait at most `grace_s` seconds for what is under way, and commit. Returns whether nothing is left under way."""
        ...

    async def has_drained(self) -> bool:
        """Return whether, looking anew, it finds nothing to do and has nothing under way."""
        ...

    def state(self) -> LaneState:
        """Return how it is doing. May be called from any thread."""
        ...


class Job(Protocol):
    """What the holder of the lease does beside the tools."""

    @property
    def id(self) -> str:
        """Names its place in the journal; no tool may have it."""
        ...

    def begin(self, work: Work, lease: Lease, committed: Callable[[], None]) -> Turns:
        """Begin under a lease, on the courier's loop. `committed` is called after each commit."""
        ...
