"""All streams of a data directory, and the way through them in the order in which records came.

A place is a vector over the streams, so a record that a slow writer shows late comes late and cannot be lost. In order to
have no record overtake another that was acknowledged before it was sent, time is read first, then the list of streams, then
what each holds; and only what was stamped before that time is handed out.

Layer: input and output. Not thread-safe.
Source: JOURNAL.md «Reader» 5.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from eventmw.journal.files import layout
from eventmw.journal.files.cursor import CHUNK_BYTES, Cursor, Found
from eventmw.journal.files.frames import Total
from eventmw.journal.files.layout import UNKNOWN_BOOT, Layout
from eventmw.journal.files.segments import OpenFiles
from eventmw.journal.files.source import Source

log = logging.getLogger("eventmw.journal")

_Rank = tuple[bool, int, str, int]


class Horizon(NamedTuple):
    """What may be handed out: records stamped before `stamp`, and in each stream those up to a seq."""

    stamp: int
    limits: Mapping[str, int]


class Sources:
    """The streams of one data directory.

    Args:
        places: the data directory.
        leading: whether streams of dead owners are taken over; else they are only looked at.

    Attributes:
        all: those that are there, by name.
        gone: those that were there and are retired: all that they held was settled.
    """

    def __init__(self, places: Layout, *, leading: bool) -> None:
        self._streams = places.streams
        self._leading = leading
        self._files = OpenFiles()
        self._living: dict[str, Source] = {}
        self._limits: dict[str, int] = {}  # of the dead: their last records, which stay
        self.all: dict[str, Source] = {}
        self.gone: set[str] = set()

    def follow(self) -> None:
        """Learn which streams there are now."""
        sids = set(layout.streams(self._streams))
        for sid in self.all.keys() - sids:
            self.drop(sid)
        for sid in sorted(sids - self.all.keys()):
            self._meet(sid)

    def _meet(self, sid: str) -> None:
        try:
            source = Source(self._streams, sid, self._files)
        except FileNotFoundError:
            return  # it was retired this very moment
        source.segments.look()
        self.gone.discard(sid)  # it was only away
        self.all[sid] = self._living[sid] = source
        self._look_at(source)

    def take_over(self) -> None:
        """Take over the streams whose owners are gone, or look which these are."""
        self.follow()
        for source in list(self._living.values()):
            self._look_at(source)

    def _look_at(self, source: Source) -> None:
        if not self._leading:
            source.peek()
        elif source.adopt():
            log.debug("stream %s was taken over: its owner ended", source.sid)
        if source.dead:
            self._living.pop(source.sid, None)

    def horizon(self) -> Horizon:
        """Return what may be handed out now."""
        stamp = time.monotonic_ns()
        self.follow()
        for sid in self.all.keys() - self._living.keys() - self._limits.keys():
            self._limits[sid] = self.all[sid].limit()
        return Horizon(stamp, self._limits | {sid: source.limit() for sid, source in self._living.items()})

    def ends(self) -> dict[str, Total]:
        """Return what each stream holds."""
        self.follow()
        return {sid: source.end() for sid, source in self.all.items()}

    def drop(self, sid: str) -> None:
        """Forget a stream that is retired."""
        self.all.pop(sid).close()
        self._living.pop(sid, None)
        self._limits.pop(sid, None)
        self.gone.add(sid)

    def close(self) -> None:
        """Close all files, and give locks back."""
        for source in self.all.values():
            source.close()
        for known in (self.all, self._living, self._limits):
            known.clear()
        self._files.close_all()


class Merge:
    """The way of one reader through all streams.

    Args:
        sources: the streams.
        after: where to begin in a stream: its last seq that is not wanted.
    """

    def __init__(self, sources: Sources, after: Callable[[str], int]) -> None:
        self._sources = sources
        self._after = after
        self._ahead: dict[str, tuple[Cursor, deque[Found]]] = {}
        self._over: set[str] = set()  # dead, and read to the end: nothing of them is asked again

    def take(self, horizon: Horizon) -> Iterator[Found]:
        """Return records in order, each once, until no more may be handed out. Stop asking when there are enough."""
        self._follow()
        while (sid := self._next(horizon)) is not None:
            yield self._ahead[sid][1].popleft()

    def head_ms(self, sid: str) -> tuple[int, int] | None:
        """Return (seq, recorded_ms) of the next record of a stream, if it was read ahead."""
        ahead = self._ahead.get(sid)
        if ahead is None or not ahead[1]:
            return None
        entry = ahead[1][0].entry
        return entry.position.seq, entry.recorded_ms

    def _follow(self) -> None:
        every = self._sources.all
        for sid in self._ahead.keys() - every.keys():
            del self._ahead[sid]
        self._over &= every.keys()
        for sid in every.keys() - self._ahead.keys() - self._over:
            self._ahead[sid] = (every[sid].cursor(self._after(sid)), deque())
        for sid in [
            sid for sid, (cursor, waiting) in self._ahead.items() if not waiting and self._is_over(sid, cursor)
        ]:
            del self._ahead[sid]
            self._over.add(sid)

    def _is_over(self, sid: str, cursor: Cursor) -> bool:
        source = self._sources.all[sid]
        return source.dead and cursor.seq >= source.end().seq

    def _next(self, horizon: Horizon) -> str | None:
        """Return the stream whose next record came first."""
        best: tuple[_Rank, str] | None = None
        for sid, (cursor, waiting) in self._ahead.items():
            if not waiting:
                waiting.extend(cursor.read(horizon.limits.get(sid, 0), CHUNK_BYTES))
            if not waiting:
                continue
            rank = _rank(self._sources.all[sid], waiting[0])
            if (not rank[0] or rank[1] < horizon.stamp) and (best is None or rank < best[0]):
                best = rank, sid
        return None if best is None else best[1]


def _rank(source: Source, found: Found) -> _Rank:
    """Return what sorts records as they came: stamps compare within this boot, what is older has wall time only."""
    entry = found.entry
    now = source.segments.boot == layout.boot() != UNKNOWN_BOOT
    return now, entry.stamp if now else entry.recorded_ms, entry.position.stream, entry.position.seq
