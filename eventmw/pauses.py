"""Pauses of work that takes long: who runs it says here what a pause is, and the work only says where one may be.

A thread that computes keeps every other thread of the process waiting for up to 5 ms at a time. So code that goes through
much of what a stranger sent calls `pause` at each step, which costs a tenth of a microsecond, and does nothing but where a
`Pauses` was set for this thread: there it may rest, or raise when the time for the work is over.

Layer: vocabulary (standard library only).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Final, Protocol


class Pauses(Protocol):
    """What a piece of work does between its steps."""

    def pause(self) -> None:
        """Rest, when it is time to. May raise what ends the work."""
        ...

    def away(self) -> AbstractContextManager[None]:
        """Let others work while this thread waits for something."""
        ...


class NoPauses:
    """Goes straight on."""

    def pause(self) -> None:
        """Do nothing."""

    def away(self) -> AbstractContextManager[None]:
        """Return what does nothing."""
        return nullcontext()


_current: Final[ContextVar[Pauses]] = ContextVar("eventmw_pauses", default=NoPauses())  # noqa: B039 - it has no state


def pause() -> None:
    """Pause as the work of this thread does."""
    _current.get().pause()


def current() -> Pauses:
    """Return what the work of this thread does between its steps."""
    return _current.get()


@contextmanager
def taking(pauses: Pauses) -> Generator[None]:
    """Have the work inside pause so."""
    before = _current.set(pauses)
    try:
        yield
    finally:
        _current.reset(before)
