"""Which tools are known for good, and which processes have the journal open now.

A tool is registered by a file that is made once, durably, and says where the log ended then: before any record of a process
that knows the tool. A process is a member as long as it holds the lock on its file, in which it says what it is configured
for: so two sites in one folder are warned of, and a leader learns that a newer process knows more tools than it does.

Layer: input and output.
Source: JOURNAL.md «Files in ``data_dir``», «Retirement» and «Locks».
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from eventmw.journal.files import disk
from eventmw.journal.files.frames import Total
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.locks import Lock, is_free
from eventmw.journal.files.sources import Sources

log = logging.getLogger("eventmw.journal")

UNCLAIMED_S: Final = 24 * 3600
"""A tool that no live process is configured for is forgotten after so long. Source: JOURNAL.md «Retirement»."""


_MAKING_S: Final = 60.0
"""A hidden file that is older was left by a process that died while it made it."""


class _Start(msgspec.Struct, frozen=True):
    """What the file of a tool says: where each stream ended when it was registered."""

    registered_ms: int
    ends: dict[str, tuple[int, int, int]]


class Member(msgspec.Struct, frozen=True):
    """What a process says of itself.

    ``site`` names what it is configured for; ``generation`` is when it opened the journal, milliseconds since 1970;
    ``delivers``: it asks for the lease.
    """

    pid: int
    site: str
    generation: int
    tools: tuple[str, ...] = ()
    delivers: bool = False


class Tools:
    """The registered tools of one data directory."""

    def __init__(self, places: Layout) -> None:
        self._places = places
        self._unreadable: set[str] = set()

    def register(self, tools: Sequence[str]) -> None:
        """Make tools known durably; a new one starts where the log ends now.

        Raises:
            OSError: they could not be.
        """
        for tool in tools:
            path = self._path(tool)
            if path.exists():
                with suppress(OSError):
                    os.utime(path)
            else:
                disk.put_new(path, msgspec.json.encode(_Start(time.time_ns() // 1_000_000, self._ends())))

    def starts(self) -> Iterator[tuple[str, dict[str, Total]]]:
        """Return each tool with where it starts: by stream, what is not for it."""
        for tool, start in self._all():
            yield tool, {sid: Total(*end) for sid, end in start.ends.items()}

    def registered(self) -> Iterator[tuple[str, int]]:
        """Return each tool with when it was registered, milliseconds since 1970."""
        for tool, start in self._all():
            yield tool, start.registered_ms

    def _all(self) -> Iterator[tuple[str, _Start]]:
        for path in sorted(self._places.tools.iterdir()):
            data = None if path.name.startswith(".") else disk.read(path)
            if data is not None:
                yield path.name, self._start(path, data)

    def _start(self, path: Path, data: bytes) -> _Start:
        """Return what a file says; one that is damaged loses its tool nothing that is kept."""
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(data, type=_Start)
        if path.name not in self._unreadable:
            self._unreadable.add(path.name)
            log.error("%s does not say since when the tool is known: without a place, it gets all that is kept", path)
        return _Start(0, {})

    def forget(self, tool: str) -> None:
        """Remove a tool's file durably."""
        disk.remove(self._path(tool))
        disk.sync_folder(self._places.tools)

    def unclaimed_s(self, tool: str, now_s: float) -> float:
        """Return for how many seconds nobody has claimed a tool."""
        try:
            return max(0.0, now_s - self._path(tool).stat().st_mtime)
        except FileNotFoundError:
            return 0.0

    def claim(self, tool: str) -> None:
        """Note that somebody alive is configured for a tool."""
        with suppress(OSError):
            os.utime(self._path(tool))

    def _path(self, tool: str) -> Path:
        return self._places.tools / tool

    def _ends(self) -> dict[str, tuple[int, int, int]]:
        sources = Sources(self._places, leading=False)
        try:
            sources.take_over()
            return {sid: (end.seq, end.events, end.bytes) for sid, end in sources.ends().items()}
        finally:
            sources.close()


class Membership:
    """This process among the members of one data directory."""

    def __init__(self, places: Layout, site: str) -> None:
        self._places = places
        self._site = site
        self._lock: Lock | None = None
        self.me = Member(os.getpid(), site, time.time_ns() // 1_000_000)

    @property
    def joined(self) -> bool:
        """Whether this process is a member."""
        return self._lock is not None

    def join(self) -> None:
        """Become a member, unless this process is one, and warn of members that answer another path.

        Raises:
            OSError: the file could not be made.
        """
        if self._lock is None:
            name = f"{os.getpid()}-{os.urandom(4).hex()}"
            self._lock = Lock(self._places.members / f".{name}")  # locked before anybody can see it
            try:
                self._lock.acquire()
                self._say()
                self._lock.path = self._lock.path.rename(self._places.members / name)
            except OSError:
                self.leave()
                raise
            self._warn_of_others()

    def _warn_of_others(self) -> None:
        """Log that a site with another path uses this folder.

        It may be another site by mistake, or the same site's other release during a deploy: that must start, or a changed
        path would cost the whole site its boot.
        """
        found = {other.site: other.pid for other in self.others() if other.site and other.site != self._site}
        if not self._site or not found:
            return
        site, pid = found.popitem()
        whose = "another wrapped site of this process" if pid == os.getpid() else f"process {pid}"
        log.warning(
            "%s answers %s and uses the same data_dir as this site, which answers %s: %s. Two releases of one site may do "
            "so during a deploy. Two sites may not, since one would deliver the other's events: give each its own data_dir",
            whose,
            site,
            self._site,
            self._places.root,
        )

    def know(self, tools: Sequence[str], *, delivers: bool) -> None:
        """Say which tools this process is configured for, and whether it delivers."""
        known = tuple(dict.fromkeys((*self.me.tools, *tools)))
        delivers = delivers or self.me.delivers
        if known != self.me.tools or delivers != self.me.delivers:
            self.me = msgspec.structs.replace(self.me, tools=known, delivers=delivers)
            self._say()

    def others(self) -> list[Member]:
        """Return the other live members; the files of dead ones are taken away."""
        members: list[Member] = []
        for path in self._places.members.iterdir():
            if self._lock is not None and path == self._lock.path:
                continue
            if path.name.startswith(".") and disk.age_s(path) < _MAKING_S:
                continue
            if is_free(path):
                path.unlink(missing_ok=True)
                continue
            with suppress(msgspec.DecodeError, OSError):
                members.append(msgspec.json.decode(path.read_bytes(), type=Member))
        return members

    def is_outdated(self) -> bool:
        """Return whether a newer process delivers to tools that this one is not configured for."""
        me = self.me
        return any(
            other.delivers and other.generation > me.generation and not set(other.tools) <= set(me.tools)
            for other in self.others()
        )

    def leave(self) -> None:
        """Be a member no more."""
        if self._lock is not None:
            self._lock.path.unlink(missing_ok=True)
            self.abandon()

    def abandon(self) -> None:
        """Close what a forked child inherited; it is a member of its own when it joins."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None
        self.me = Member(os.getpid(), self._site, time.time_ns() // 1_000_000, self.me.tools)

    def _say(self) -> None:
        if self._lock is not None:
            self._lock.write(msgspec.json.encode(self.me))
