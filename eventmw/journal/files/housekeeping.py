"""What the leader does beside deliveries: take over, tell, retire, obey.

Layer: input and output. It runs on the courier's thread, some times a second, and holds the leader's lock step by step.
Source: JOURNAL.md «Retirement».
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from eventmw.errors import JournalDown
from eventmw.journal import Key, Rewrite
from eventmw.journal.files import disk, orders
from eventmw.journal.files.erasure import Erasure
from eventmw.journal.files.heartbeat import BEAT_S, Heartbeat
from eventmw.journal.files.inbox import Answer, Command, Inbox
from eventmw.journal.files.leader import Leader
from eventmw.journal.files.places import key_as_list, key_of
from eventmw.journal.files.registry import UNCLAIMED_S, Membership, Tools
from eventmw.journal.files.retirement import Keeping, Retirement
from eventmw.journal.files.source import Source

log = logging.getLogger("eventmw.journal")

STARTING_S: Final = 600.0
"""For so long a new leader forgets no tool: after a day on which nothing ran, other processes start beside it."""

_CLAIM_S: Final = 60.0
_LEFTOVER_S: Final = 60.0


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
        self._retirement = Retirement(leader, keeping)
        self._inbox = Inbox(leader.places)
        self._tools = Tools(leader.places)
        self._since_ms = _now_ms()
        self._began_s = time.monotonic()
        self._beat_s = float("-inf")
        self._claimed_s = float("-inf")
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
            leader.tell()
        with leader.lock:
            self._obey()
        if now_s - self._beat_s >= BEAT_S:
            self._beat_s = now_s
            self._beat()
            leader.reserve.make()
            leader.evict_dead()
        if now_s - self._claimed_s >= _CLAIM_S:
            self._claimed_s = now_s
            self._forget_unclaimed()
            self._sweep()
        with leader.lock:  # the last: what cannot be removed holds nothing else back
            self._retirement.retire()

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
        except (OSError, JournalDown) as error:
            why = (isinstance(error, OSError) and error.strerror) or error
            log.warning("a command could not be carried out, and is not tried again: %s", why)
            return Answer(error="down", message=f"it could not be carried out: {why}")
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

    def _alarm(self) -> None:
        """Say once what the disk has lost: records that were durable and are not there."""
        for source in self._leader.sources.all.values():
            promised = source.promised()
            for first, last in source.segments.holes.items():
                if last <= promised:
                    self._tell_lost(source, first, last)
                elif source.dead:
                    self._tell_missing(source, first, last)
            if source.dead and promised > (end := source.end().seq):
                self._tell_lost(source, end + 1, promised)

    def _tell_lost(self, source: Source, first: int, last: int) -> None:
        if (source.sid, first) not in self._alarmed:
            self._alarmed.add((source.sid, first))
            log.error(
                "the disk has lost records %d to %d, which were durable, in %s", first, last, source.segments.folder
            )

    def _tell_missing(self, source: Source, first: int, last: int) -> None:
        if (source.sid, first) not in self._alarmed:
            self._alarmed.add((source.sid, first))
            log.warning(
                "records %d to %d cannot be read in %s. The machine went down as they were written, or the disk has lost "
                "them: whether they were durable is not known",
                first,
                last,
                source.segments.folder,
            )

    def _forget_unclaimed(self) -> None:
        """Forget tools that nobody alive is configured for, after a day.

        Only a process that delivers does: a command that leads for a moment beside a site that was stopped says nothing
        about what the site is configured for. Nor does one that has just begun.
        """
        if not self._membership.me.delivers:
            return
        starting = time.monotonic() - self._began_s < STARTING_S
        leader, now_s = self._leader, time.time()
        claimed = {tool for member in (self._membership.me, *self._membership.others()) for tool in member.tools}
        for tool in list(leader.ledger.tools):
            if tool in claimed:
                self._tools.claim(tool)
            elif not starting and self._tools.unclaimed_s(tool, now_s) > UNCLAIMED_S:
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


def keys_as_lists(keys: list[Key]) -> list[list[Any]]:
    """Return keys as JSON, for a command."""
    return [key_as_list(key) for key in keys]


def keys_of(plain: list[list[Any]]) -> list[Key]:
    """Return the keys that `keys_as_lists` wrote."""
    return [key_of(key) for key in plain]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
