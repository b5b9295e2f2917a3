"""Looking into running sites from outside, and asking things of them: the port behind every command.

A memory journal is inside its process, so `live` asks each live process of a data directory. A journal on disk can be
read without any: that is another implementation of `View`. `inspection` chooses.

Layer: assembly: the words of what commands ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from eventmw.erasure import Person
from eventmw.errors import EventmwError, JournalDown
from eventmw.event import Receipt
from eventmw.payload import OwnEvent

Json = Mapping[str, Any]


class NobodyLive(JournalDown):
    """No process of a running site was found; the message says where, and why that may be."""


class NotAllowed(EventmwError):  # noqa: N818 - says what it is
    """The data directory belongs to another user."""


class View(Protocol):
    """A look into all that runs over one data directory.

    Every method raises `NobodyLive` when nothing is there to look into, `NotAllowed` when another user owns it, and
    `LookupError` when no site knows the tool.
    """

    @property
    def notes(self) -> Sequence[str]:
        """What the last call could not see, one sentence each: a process that hangs."""
        ...

    def stats(self) -> Json:
        """Return where everything stands.

        ``{"journal": {…}, "tools": {id: {…}}, "processes": [{"pid", "since_ms", "path", "delivers", "stats": {…}}]}``. A
        tool has ``state``, ``next_probe_ms``, ``last_error``, ``backlog_events``, ``oldest_ms``, ``parked``, ``dead``,
        ``outcomes`` (kind → how many), ``reasons`` (``{"outcome", "reason", "count"}``), ``last_failure`` with
        ``last_failure_ms`` and more, summed over the processes. Where these share a journal, ``unknown_to`` is
        the pid of the process that delivers, when events wait and its configuration has no such tool. The journal has
        ``not_ready``, a list of ``{"pid", "why"}`` for those that take no events now. ``stores`` has, for ``archive`` and
        ``keys``, what is wrong with it, "" when nothing is.
        """
        ...

    def tail(self, *, last: int, tool: str | None = None, follow: bool = False) -> Iterator[Json | None]:
        """Return the `last` events in order of time, in the form of `eventjson.as_json`; with `follow` all that come.

        None stands for "nothing now", some times a second, so that whoever follows can do something else.
        """
        ...

    def dead_list(self, *, tool: str | None = None) -> Iterator[Json]:
        """Return the dead letters: ``{"tool", "id", "outcome", "reason", "attempts", "buried", "event", "erased"}``.

        ``event`` is null when it cannot be read, or when its person was erased: then ``erased`` is true.
        """
        ...

    def dead_retry(self, *, tool: str | None = None, ids: Sequence[str] | None = None) -> int:
        """Have dead letters tried again: of one tool or all, those with these event ids or all. Returns how many."""
        ...

    def dead_drop(self, *, tool: str | None = None, ids: Sequence[str] | None = None) -> int:
        """Throw dead letters away for good. Returns how many."""
        ...

    def export(
        self, *, tool: str | None = None, since_ms: int | None = None, until_ms: int | None = None
    ) -> Iterator[Json]:
        """Return the kept events, oldest first, recorded from `since_ms` and before `until_ms`, as they are read.

        With `tool`, those that it is to get.
        """
        ...

    def tools(self) -> Sequence[Json]:
        """Return the tools.

        ``{"tool", "registered_ms", "processes": [pid], "backlog_events", "parked", "dead", "unknown_to"}``, the last as in
        `stats`.
        """
        ...

    def forget(self, tool: str) -> None:
        """End a tool: its place, its parked events and its counters go.

        Raises:
            ValueError: it is one of a memory journal.
        """
        ...

    def person_fields(self) -> Sequence[str]:
        """Return where events name a person."""
        ...

    def erase(self, person: Person, *, dry_run: bool = False) -> Json:
        """Erase a person from all that is kept: ``{"records", "parked", "dead"}``; a dry run only counts."""
        ...

    def close(self) -> None:
        """Let go of what was opened."""
        ...

    def replay(self, tool: str, *, since_ms: int | None = None, dry_run: bool = False) -> int:
        """Hand a tool again what it was given since a time, or since the start of what is kept.

        Returns how many events these are; a dry run moves nothing, and says about how many.
        """
        ...

    def track(self, event: OwnEvent) -> Receipt:
        """Send one event, see `eventmw.payload`.

        Raises:
            InvalidEvent: it is not valid.
            JournalFull, JournalDown: it could not be kept.
        """
        ...
