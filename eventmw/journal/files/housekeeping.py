"""What the leader does beside deliveries: take over, retire, obey, tell.

Layer: input and output. It runs on the courier's thread, some times a second, and holds the leader's lock step by step.
Source: JOURNAL.md «Retirement»; the order of what is synced before what is unlinked is its point.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eventmw.errors import JournalDown
from eventmw.journal import Key, Position, Rewrite
from eventmw.journal.files import disk, orders
from eventmw.journal.files.erasure import Erasure
from eventmw.journal.files.frames import Header
from eventmw.journal.files.heartbeat import BEAT_S, Heartbeat
from eventmw.journal.files.inbox import Answer, Command, Inbox
from eventmw.journal.files.leader import Leader
from eventmw.journal.files.registry import UNCLAIMED_S, Membership, Tools
from eventmw.journal.files.source import Source

log = logging.getLogger("eventmw.journal")

LEAST_FREE_BYTES: Final = 64 * 1024 * 1024
"""With less room on the disk, what is consumed is not kept any longer. Source: assumption."""

_CLAIM_S: Final = 60.0
_LEFTOVER_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How long consumed records are kept.

    Attributes:
        retain_s: seconds after a segment was consumed, for ``tail`` and ``replay``.
        cap_bytes: bytes of all segments, past which consumed ones go earlier. So they do on a disk that is nearly full.
    """

    retain_s: float = 24 * 3600.0
    cap_bytes: int = 2 * 1024 * 1024 * 1024


class _Unfinished(Exception):  # noqa: N818 - says what it is
    """A command goes on at the next round."""


def rewriting(rewrite: Rewrite | None, person: Mapping[str, Any]) -> Callable[[bytes], bytes | None]:
    """Return the function that takes this person out of a record.

    Raises:
        ValueError: the journal was opened without one.
    """
    if rewrite is None:
        raise ValueError("this journal does not know how a person is taken out of a record")
    return lambda record: rewrite(record, person)


class Housekeeping:
    """The leader's chores.

    Args:
        leader: the lease.
        membership: this process.
        keeping: how long to keep what is consumed.
        rewrite: takes a person out of a record; None where nothing is erased.
    """

    def __init__(
        self, leader: Leader, membership: Membership, keeping: Keeping, rewrite: Rewrite | None = None
    ) -> None:
        self._leader = leader
        self._membership = membership
        self._keeping = keeping
        self._inbox = Inbox(leader.places)
        self._tools = Tools(leader.places)
        self._since_ms = _now_ms()
        self._beat_s = float("-inf")
        self._claimed_s = float("-inf")
        self._consumed_s: dict[tuple[str, int], float] = {}
        self._alarmed: set[tuple[str, int]] = set()
        self._rewrite = rewrite
        self._erasures: dict[str, Erasure] = {}
        self._operations: Mapping[str, Callable[[str, dict[str, Any]], Any]] = {
            "seek": self._seek,
            "forget": self._forget,
            "revive": self._revive,
            "drop_dead": self._drop_dead,
            "erase": self._erase,
        }
        self._beat()  # the file still has that of the leader before

    def tend(self) -> None:
        """Do what is due.

        Raises:
            JournalDown: the state cannot be written.
            OSError: a folder cannot be read, or a file not synced.
        """
        leader, now_s = self._leader, time.monotonic()
        with leader.lock:
            if leader.lost():
                return
            leader.learn_tools()
            leader.sources.take_over()
            self._alarm()
            self._obey()
        with leader.lock:
            leader.tell()
            self._retire()
        if now_s - self._beat_s >= BEAT_S:
            self._beat_s = now_s
            self._beat()
            leader.reserve.make()
            leader.evict_dead()
        if now_s - self._claimed_s >= _CLAIM_S:
            self._claimed_s = now_s
            self._forget_unclaimed()
            self._sweep()

    def _beat(self) -> None:
        me = self._membership.me
        self._leader.say(Heartbeat(me.pid, self._since_ms, me.generation, _now_ms()))

    def should_yield(self) -> bool:
        """Return whether a newer process should lead instead."""
        return self._membership.is_outdated()

    def _obey(self) -> None:
        done = self._leader.ledger.done
        for ident, command in self._inbox.waiting():
            answer = Answer(done[ident]) if ident in done else self._carry_out(ident, command)
            if answer is None:
                continue  # it takes several rounds
            self._leader.epochs.sync()
            self._inbox.answer(ident, answer)

    def _carry_out(self, ident: str, command: Command) -> Answer | None:
        try:
            result = self._operations[command.op](ident, command.args)
        except _Unfinished:
            return None
        except (KeyError, TypeError, AttributeError) as error:
            log.exception("a command cannot be carried out: %s", type(error).__name__)
            return Answer(error="misread", message="this version of eventmw does not understand the command")
        except LookupError as error:
            return Answer(error="lookup", message=str(error))
        except ValueError as error:
            return Answer(error="value", message=str(error))
        if ident not in self._leader.ledger.done:
            self._leader.epochs.write(self._leader.ledger.answered(ident, result))
        return Answer(result)

    def _seek(self, ident: str, args: dict[str, Any]) -> int:
        return orders.seek(self._leader, args["tool"], since_ms=args["since_ms"], to=args["to"], command=ident)

    def _forget(self, _ident: str, args: dict[str, Any]) -> None:
        orders.forget(self._leader, args["tool"])

    def _revive(self, _ident: str, args: dict[str, Any]) -> int:
        return orders.revive(self._leader, args["tool"], keys_of(args["keys"]), args["now_ms"])

    def _drop_dead(self, _ident: str, args: dict[str, Any]) -> int:
        return orders.drop_dead(self._leader, args["tool"], keys_of(args["keys"]))

    def _erase(self, ident: str, args: dict[str, Any]) -> dict[str, int]:
        erasure = self._erasures.get(ident)
        if erasure is None:
            erasure = self._erasures[ident] = Erasure(self._leader, rewriting(self._rewrite, args["person"]))
        try:
            erased = erasure.step()
        except JournalDown as error:
            del self._erasures[ident]
            raise ValueError(str(error)) from None
        if erased is None:
            raise _Unfinished
        del self._erasures[ident]
        return erased

    def _retire(self) -> None:
        leader = self._leader
        consumed = [(source, header) for source in leader.sources.all.values() for header in self._consumed(source)]
        self._note_consumed(consumed)
        leaving = self._leaving(consumed)
        if leaving:
            leader.epochs.sync()
            for source, header in leaving:
                source.segments.remove(header.number)
                self._consumed_s.pop((source.sid, header.number), None)
        for source in list(leader.sources.all.values()):
            if source.dead and source.segments.is_empty():
                self._end(source)

    def _consumed(self, source: Source) -> list[Header]:
        """Return the segments that every tool is past. The one that a live owner writes is not among them."""
        source.segments.look()
        headers = source.segments.headers()
        end = source.end()
        floor = self._leader.floor(source.sid, end).seq
        ends = [later.base_seq for later in headers[1:]]
        gone = [header for header, last in zip(headers, ends, strict=False) if last <= floor]
        if source.dead and headers and end.seq <= floor:
            gone.append(headers[-1])
        return gone

    def _note_consumed(self, consumed: list[tuple[Source, Header]]) -> None:
        now_s = time.monotonic()
        known = {(source.sid, header.number) for source, header in consumed}
        for key in self._consumed_s.keys() - known:
            del self._consumed_s[key]  # a replay has moved a place back
        for key in known:
            self._consumed_s.setdefault(key, now_s)

    def _leaving(self, consumed: list[tuple[Source, Header]]) -> list[tuple[Source, Header]]:
        """Return the segments whose time is over, and under the cap the oldest of the others."""
        over = sum(header.size for source in self._leader.sources.all.values() for header in source.segments.headers())
        over = max(over - self._keeping.cap_bytes, LEAST_FREE_BYTES - self._free_bytes())
        before_s = time.monotonic() - self._keeping.retain_s
        leaving: list[tuple[Source, Header]] = []
        for source, header in sorted(consumed, key=lambda pair: pair[1].created_ms):
            if over > 0 or self._consumed_s[source.sid, header.number] <= before_s:
                leaving.append((source, header))
                over -= header.size
        return _prefixes(leaving)

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._leader.places.root).free

    def _end(self, source: Source) -> None:
        """Take away a stream of which nothing is left. Its folder goes first: no place in it may be forgotten before."""
        leader, end = self._leader, source.end()
        leader.sources.drop(source.sid)
        shutil.rmtree(source.segments.folder, ignore_errors=True)
        disk.sync_folder(leader.places.streams)
        leader.epochs.write(leader.ledger.retired(source.sid, end))

    def _alarm(self) -> None:
        """Say once what the disk has lost: records that were durable and are not there."""
        for source in self._leader.sources.all.values():
            promised = source.promised()
            for first, last in source.segments.holes.items():
                if last <= promised:
                    self._tell_lost(source, first, last)
            if source.dead and promised > (end := source.end().seq):
                self._tell_lost(source, end + 1, promised)

    def _tell_lost(self, source: Source, first: int, last: int) -> None:
        if (source.sid, first) not in self._alarmed:
            self._alarmed.add((source.sid, first))
            log.error(
                "the disk has lost records %d to %d, which were durable, in %s", first, last, source.segments.folder
            )

    def _forget_unclaimed(self) -> None:
        """Forget tools that nobody alive is configured for, after a day.

        Only a process that delivers does: a command that leads for a moment beside a site that was stopped says nothing
        about what the site is configured for.
        """
        if not self._membership.me.delivers:
            return
        leader, now_s = self._leader, time.time()
        claimed = {tool for member in (self._membership.me, *self._membership.others()) for tool in member.tools}
        for tool in list(leader.ledger.tools):
            if tool in claimed:
                self._tools.claim(tool)
            elif self._tools.unclaimed_s(tool, now_s) > UNCLAIMED_S:
                left = leader.ledger.tools[tool].left(leader.sources.ends()).events
                log.warning("tool %s is configured nowhere any more; it is forgotten, with %d events", tool, left)
                orders.forget(leader, tool)

    def _sweep(self) -> None:
        """Take away what a process had begun to make when it died."""
        places = self._leader.places
        folders = (places.streams, places.state, places.dead, places.tools)
        hidden = [path for folder in folders for path in folder.glob(".*")]
        for path in (*hidden, *places.root.glob(f".{places.reserve.name}.*")):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                    _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        disk.remove(path)


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


def keys_as_lists(keys: list[Key]) -> list[list[Any]]:
    """Return keys as JSON, for a command."""
    return [[key.position.stream, key.position.seq, key.ordinal] for key in keys]


def keys_of(plain: list[list[Any]]) -> list[Key]:
    """Return the keys that `keys_as_lists` wrote."""
    return [Key(Position(sid, seq), ordinal) for sid, seq, ordinal in plain]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
