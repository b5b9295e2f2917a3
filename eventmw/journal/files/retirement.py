"""How long what is consumed is kept, and in which order it goes.

A segment's time begins when every tool is past it, and a new leader goes on with the times of the one before. Streams that
ended and are consumed may be hundreds, so none of what is done at each round is done for each of them.

Layer: input and output. Not thread-safe: the leader's lock is around it.
Source: JOURNAL.md «Retirement»; the order of what is synced before what is unlinked is its point.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from eventmw.journal.files import disk, layout
from eventmw.journal.files.frames import Header
from eventmw.journal.files.layout import UNKNOWN_BOOT
from eventmw.journal.files.leader import Leader
from eventmw.journal.files.source import Source

LEAST_FREE_BYTES: Final = 64 * 1024 * 1024
"""With less room on the disk, what is consumed is not kept any longer. Source: assumption."""

NAME: Final = "consumed"
"""Under this name the times are kept for the next leader."""

_NOTE_S: Final = 300.0
_IDLE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How long consumed records are kept.

    Attributes:
        retain_s: seconds after a segment was consumed, for ``tail`` and ``replay``.
        cap_bytes: bytes of all segments, past which consumed ones go earlier. So they do on a disk that is nearly full.
    """

    retain_s: float = 24 * 3600.0
    cap_bytes: int = 2 * 1024 * 1024 * 1024


class Times(msgspec.Struct, frozen=True):
    """When segments were consumed, in seconds of the monotonic clock of one boot, and what that clock said at last.

    ``consumed`` holds (stream, segment, its last seq, when).
    """

    boot: str
    now_s: float
    consumed: list[tuple[str, int, int, float]]

    def told(self, boot: str, now_s: float) -> list[tuple[str, int, int, float]]:
        """Return these by the clock of `boot`, which says `now_s`.

        After another boot only what had passed when they were written counts: a wall clock that jumps may not end a time.
        """
        passed_s = 0.0 if boot == self.boot != UNKNOWN_BOOT.hex() else now_s - self.now_s
        return [(sid, number, last, min(now_s, at_s + passed_s)) for sid, number, last, at_s in self.consumed]


class Retirement:
    """Lets go of what is consumed, for the leader."""

    def __init__(self, leader: Leader, keeping: Keeping) -> None:
        self._leader = leader
        self._keeping = keeping
        self._consumed: dict[str, dict[int, tuple[int, float]]] = {}  # sid → number → last seq, when
        self._noted: set[str] = set()  # streams that are at rest, with all that they hold in `_consumed`
        self._written_s = float("-inf")
        self._restore()

    def retire(self) -> None:
        """Let go of what has had its time, or is in the way.

        Raises:
            JournalDown: places cannot be made durable, so nothing went.
            OSError: a folder cannot be read, or changed.
        """
        leader = self._leader
        self._note()
        over = sum(source.segments.size for source in leader.sources.all.values()) - self._keeping.cap_bytes
        over = max(over, LEAST_FREE_BYTES - shutil.disk_usage(leader.places.root).free)
        failure = None
        if over > 0 or self._oldest_s() <= time.monotonic() - self._keeping.retain_s:
            failure = self._let_go(over)
        for source in list(leader.sources.all.values()):
            if source.dead and source.segments.is_empty():
                self._end(source)
        self._write()
        if failure is not None:
            raise failure

    def _note(self) -> None:
        """Note which segments became consumed, and which are not any more since a replay moved a place back."""
        now_s = time.monotonic()
        for sid, source in self._leader.sources.all.items():
            at_rest = sid in self._leader.resting
            if not (at_rest and sid in self._noted):
                known = self._consumed.get(sid, {})
                present = {number: (last, now_s) for number, last in self._consumed_of(source)}
                self._consumed[sid] = {
                    number: known[number] if number in known and known[number][0] == one[0] else one
                    for number, one in present.items()
                }
            (self._noted.add if at_rest else self._noted.discard)(sid)

    def _consumed_of(self, source: Source) -> Iterator[tuple[int, int]]:
        """Return the segments that every tool is past, each with its last seq; also the one that a live owner writes."""
        if not source.dead:
            source.segments.look()
        headers = source.segments.headers()
        end = source.end()
        floor = self._leader.floor(source.sid, end).seq
        lasts = [*(later.base_seq for later in headers[1:]), end.seq]
        return ((header.number, last) for header, last in zip(headers, lasts, strict=False) if last <= floor)

    def _oldest_s(self) -> float:
        return min(
            (at_s for segments in self._consumed.values() for _, at_s in segments.values()), default=float("inf")
        )

    def _let_go(self, over: int) -> OSError | None:
        """Remove what may go; return what hindered that. What cannot be removed stays, with all after it in its stream."""
        leaving = self._leaving(over)
        failures: dict[str, OSError] = {}
        if leaving:
            self._leader.epochs.sync()
        for source, header in leaving:
            if source.sid in failures:
                continue
            try:
                source.segments.remove(header.number)
            except OSError as error:
                failures[source.sid] = error
            else:
                self._consumed[source.sid].pop(header.number, None)
        return next(iter(failures.values()), None)

    def _leaving(self, over: int) -> list[tuple[Source, Header]]:
        """Return the segments whose time is over, and under the cap the oldest of the others."""
        now_s = time.monotonic()
        leaving: list[tuple[Source, Header]] = []
        for source, header, at_s in sorted(self._candidates(), key=lambda one: one[1].created_ms):
            if over <= 0 and at_s > now_s - self._keeping.retain_s:
                continue
            if source.dead or header is not source.segments.headers()[-1]:
                leaving.append((source, header))
                over -= header.size
            elif at_s <= now_s - max(_IDLE_S, self._keeping.retain_s if over <= 0 else 0.0):
                source.ask_to_seal()  # what its owner holds open cannot go
        return _prefixes(leaving)

    def _candidates(self) -> Iterator[tuple[Source, Header, float]]:
        for sid, source in self._leader.sources.all.items():
            consumed = self._consumed.get(sid, {})
            for header in source.segments.headers():
                if header.number in consumed:
                    yield source, header, consumed[header.number][1]

    def _end(self, source: Source) -> None:
        """Take away a stream of which nothing is left. Its folder goes first: no place in it may be forgotten before."""
        leader, end = self._leader, source.end()
        leader.sources.drop(source.sid)
        shutil.rmtree(source.segments.folder, ignore_errors=True)
        disk.sync_folder(leader.places.streams)
        leader.epochs.write(leader.ledger.retired(source.sid, end))

    def _restore(self) -> None:
        try:
            times = msgspec.json.decode(self._leader.kept(NAME) or b"", type=Times)
        except (msgspec.DecodeError, OSError):
            return
        for sid, number, last, at_s in times.told(layout.boot().hex(), time.monotonic()):
            self._consumed.setdefault(sid, {})[number] = (last, at_s)

    def _write(self) -> None:
        now_s, every = time.monotonic(), self._leader.sources.all
        for sid in self._consumed.keys() - every.keys():
            del self._consumed[sid]
        self._noted &= every.keys()
        if now_s - self._written_s < _NOTE_S:
            return
        self._written_s = now_s
        consumed = [
            (sid, number, last, at_s)
            for sid, segments in self._consumed.items()
            for number, (last, at_s) in segments.items()
        ]
        if consumed:
            self._leader.keep(NAME, msgspec.json.encode(Times(layout.boot().hex(), now_s, consumed)))


def _prefixes(leaving: list[tuple[Source, Header]]) -> list[tuple[Source, Header]]:
    """Keep of each stream only what leaves from its beginning: a stream has no hole in the middle."""
    kept: list[tuple[Source, Header]] = []
    chosen = {(source.sid, header.number) for source, header in leaving}
    for source in {source.sid: source for source, _ in leaving}.values():
        for header in source.segments.headers():
            if (source.sid, header.number) not in chosen:
                break
            kept.append((source, header))
    return kept
