"""The journal in files: the default. What is acknowledged is on the disk.

Every process appends to streams of its own, so that no writer waits for another; the one that holds the leader's lock moves
the tools' places for all of them, and takes over what dead processes left. Whatever is asked of a journal that another
process leads goes there as a command.

Layer: input and output. Thread-safe, and made anew in a forked child.
Source: JOURNAL.md, whose rules the modules here name.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal
from weakref import WeakMethod, WeakSet

from eventmw.errors import ConfigError, JournalDown, JournalFull
from eventmw.forks import LateLock, after_fork_in_child
from eventmw.journal import DeadLetter, Durability, Entry, JournalStats, Key, Position, Rewrite
from eventmw.journal.files import disk, figures, filesystem, heartbeat, orders
from eventmw.journal.files.epochs import Reserve
from eventmw.journal.files.erasure import PATIENCE_S, Erasure
from eventmw.journal.files.graves import read_letters
from eventmw.journal.files.heartbeat import Watch
from eventmw.journal.files.housekeeping import Housekeeping, keys_as_lists, rewriting
from eventmw.journal.files.inbox import WAIT_S, Command, Inbox, NobodyLeads
from eventmw.journal.files.layout import Layout
from eventmw.journal.files.leader import Leader
from eventmw.journal.files.locks import Lock, is_free
from eventmw.journal.files.registry import Membership, Tools
from eventmw.journal.files.retirement import Keeping
from eventmw.journal.files.stream import Addition
from eventmw.journal.files.walk import Walks
from eventmw.journal.files.writer import Writer

log = logging.getLogger("eventmw.journal")

_GIB: Final = 1024 * 1024 * 1024


class FileJournal:
    """A journal in a data directory. See `eventmw.journal.Journal` for what each method promises.

    Args:
        data_dir: the folder; made, with mode 0700, when it is not there.
        cap_bytes: bytes of records and parked copies that may wait for tools, over all writers; past it, it refuses.
        dead_bytes: bytes of dead letters, compressed; past it the oldest go, counted as `DEAD_EVICTED`.
        retain_s: seconds for which a consumed segment is kept, for ``tail`` and ``replay``.
        rewrite: takes a person out of a record, for `erase`.
        site: the path that the site answers; a live process with another one is warned of. "" goes with any.

    Raises:
        ConfigError: the folder cannot be used.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        *,
        cap_bytes: int = 2 * _GIB,
        dead_bytes: int = _GIB // 4,
        retain_s: float = 24 * 3600.0,
        site: str = "",
        rewrite: Rewrite | None = None,
    ) -> None:
        self._places = Layout(Path(data_dir).absolute())
        self._cap_bytes, self._dead_bytes = cap_bytes, dead_bytes
        self._keeping = Keeping(retain_s=retain_s, cap_bytes=cap_bytes)
        self._rewrite = rewrite
        self._wake: Callable[[], None] | None = None
        self._lock = LateLock()
        self._lease: _Lease | None = None
        self._membership = Membership(self._places, site)
        self._walks = Walks(self._places)
        self._watch = Watch(self._places)
        # Weak, so that a journal that is dropped goes at once, with its locks, and waits for no garbage collection.
        woken = WeakMethod(self._woken)
        self._writer = Writer(self._places, cap_bytes, lambda: _call(woken()), retain_s)
        self._pending: tuple[str, ...] = ()
        self._without_room = False
        try:
            self._places.make()
            self._set_aside()
            self._join_or_wait()
        except OSError as error:
            folder = str(self._places.root)
            problem = f"data_dir {folder!r} cannot be used: {error.strerror or error}. Accepted events are kept in it"
            raise ConfigError([problem]) from error
        _warn_of(self._places.root)
        _journals.add(self)

    @property
    def durability(self) -> Durability:
        """``journaled``: what is appended is on the disk."""
        return "journaled"

    def append(self, record: bytes, *, events: int, recorded_ms: int, stamp: int) -> Future[Position]:
        """Keep a record; the future is done once it is on the disk."""
        if events < 1:
            raise ValueError(f"a record holds at least one event, not {events}")
        if self._pending or not self._membership.joined:
            self._rejoin()
        return self._writer.append(Addition(record, events, recorded_ms, stamp))

    def ready(self) -> str:
        """Return why an append would not be taken now, "" when it would."""
        return "the disk is full" if self._without_room else self._writer.trouble()

    def register(self, tools: Sequence[str]) -> None:
        """Make tools known; a new one starts at the end of the log.

        Raises:
            JournalFull: the disk has no room for that. Nothing is taken before it has, and they are known.
            JournalDown: the folder fails.
        """
        try:
            self._join()
            self._membership.know(tools, delivers=False)
            Tools(self._places).register(tools)
        except OSError as error:
            message = f"tools cannot be registered: {error.strerror or error}"
            if error.errno not in disk.NO_ROOM:
                raise JournalDown(message) from error
            self._pending, self._without_room = tuple(dict.fromkeys((*self._pending, *tools))), True
            raise JournalFull(message) from error
        self._pending = tuple(tool for tool in self._pending if tool not in tools)
        self._without_room = bool(self._pending)

    def forget(self, tool: str) -> None:
        """End a tool."""
        self._through_leader(lambda leader: orders.forget(leader, tool), Command("forget", {"tool": tool}))

    def lead(self) -> _Lease | None:
        """Return the lease, or None while another process has it, or should."""
        with _as_down():
            self._membership.know((), delivers=True)
            if self._membership.is_outdated():
                return None
            return self._take_lease()

    def on_append(self, wake: Callable[[], None] | None) -> None:
        """Have `wake` called once, after the next append of this process."""
        self._wake = wake

    def seek(self, tool: str, *, since_ms: int | None = None, to: Literal["start", "end"] | None = None) -> int:
        """Move a tool's place."""
        if (since_ms is None) == (to is None):
            raise ValueError("seek needs one of since_ms and to")
        command = Command("seek", {"tool": tool, "since_ms": since_ms, "to": to})
        again: int = self._through_leader(lambda leader: orders.seek(leader, tool, since_ms=since_ms, to=to), command)
        return again

    def scan(self, after: Position | None = None, limit: int = 1000) -> list[Entry]:
        """Return kept records after a position, of all streams, in the order in which they came."""
        return self._walks.page(after, limit)

    def dead_letters(self, tool: str | None = None) -> Iterator[DeadLetter]:
        """Return the dead letters of one tool or of all, oldest first."""
        return read_letters(self._places, tool)

    def revive(self, tool: str, keys: Iterable[Key], now_ms: int) -> int:
        """Park dead letters again, due now, as if never tried."""
        wanted = list(keys)
        command = Command("revive", {"tool": tool, "keys": keys_as_lists(wanted), "now_ms": now_ms})
        revived: int = self._through_leader(lambda leader: orders.revive(leader, tool, wanted, now_ms), command)
        return revived

    def drop_dead(self, tool: str, keys: Iterable[Key]) -> int:
        """Throw dead letters away for good."""
        wanted = list(keys)
        command = Command("drop_dead", {"tool": tool, "keys": keys_as_lists(wanted)})
        dropped: int = self._through_leader(lambda leader: orders.drop_dead(leader, tool, wanted), command)
        return dropped

    def erase(self, person: Mapping[str, Any]) -> Mapping[str, int]:
        """Erase a person from everything in the folder: see `eventmw.journal.files.erasure`."""
        rewritten = rewriting(self._rewrite, person)
        while True:
            with self._leading_briefly() as leader:
                if leader is not None:
                    return Erasure(leader, rewritten).finish()
            try:
                erased: dict[str, int] = self._ask(Command("erase", {"person": dict(person)}), wait_s=3 * PATIENCE_S)
            except ValueError as error:
                raise JournalDown(str(error)) from None
            except NobodyLeads:
                continue
            else:
                return erased

    def stats(self) -> JournalStats:
        """Return where everything stands: from memory in the process that leads, else from the disk.

        Raises:
            JournalDown: the folder cannot be read.
        """
        lease = self._lease
        with _as_down():
            if lease is not None and not lease.lost():
                return figures.of_leader(lease.leader, self._cap_bytes)
            return figures.from_disk(self._places, self._cap_bytes)

    def close(self, grace_s: float = 0.0) -> None:
        """Take no more records; write what waits. Leases and reading go on."""
        self._writer.close(grace_s)

    def rest(self, grace_s: float = 0.0) -> None:
        """Write what waits, and give back threads, files and locks. The next append takes them again."""
        self._writer.rest(grace_s)
        self._let_go()

    def leave(self) -> None:
        """Let go of every file and lock."""
        self.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._lease is not None:
            self._lease.close()
        self._walks.close()
        self._membership.leave()

    def leave_parent_behind(self) -> None:
        """Begin anew in a forked child: close what belongs to the parent, with nothing undone that it holds."""
        self._lock = LateLock()
        self._wake = None
        if self._lease is not None:
            self._lease.leader.abandon()
            self._lease = None
        self._writer.leave_parent_behind()
        self._walks.abandon()
        self._walks = Walks(self._places)
        self._membership.abandon()

    def _rejoin(self) -> None:
        """Become a member after a fork, or when there is room for it at last."""
        if self._pending:
            self.register(self._pending)
        with _as_down():
            self._join()
        self._without_room = False

    def _join(self) -> None:
        """Become a member; on a full disk, with the room of the reserve."""
        try:
            self._membership.join()
        except OSError as error:
            if error.errno not in disk.NO_ROOM or not Reserve(self._places).give_up():
                raise
            self._membership.join()

    def _join_or_wait(self) -> None:
        """Become a member, or later on a full disk: a worker that could not start would take the site down with it."""
        try:
            self._join()
        except OSError as error:
            if error.errno not in disk.NO_ROOM:
                raise
            self._without_room = True
            log.error("the journal cannot keep events: the disk is full")  # noqa: TRY400 - where it was found tells nothing

    def _woken(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            try:
                wake()
            except Exception:
                log.exception("the function given to on_append failed; delivery goes on at the courier's next look")

    def _take_lease(self) -> _Lease | None:
        with self._lock:
            if self._lease is not None and not self._lease.lost():
                return None
            if self._places.leader.is_dir():
                self._set_aside()
            held = Lock(self._places.leader)
            if not held.acquire():
                self._watch.look()
                return None
            heartbeat.begin(held, self._membership.me)
            try:
                self._set_aside()
                self._lease = self._new_lease(held)
            except BaseException as error:
                held.release()
                if not isinstance(error, OSError):
                    raise
                raise JournalDown(f"the journal's state cannot be read: {error.strerror or error}") from error
            return self._lease

    def _set_aside(self) -> None:
        """Move folders that stand where files belong out of the way: a journal that stops for them delivers nothing."""
        for path in self._places.set_aside_folders():
            words = "%s is a folder where a file belongs: it is moved to %s, and what was in the file is gone"
            log.error(words, path, self._places.aside)

    def _new_lease(self, held: Lock) -> _Lease:
        leader = self._new_leader(held)
        try:
            return _Lease(leader, Housekeeping(leader, self._membership, self._keeping, self._rewrite))
        except BaseException:
            leader.close()
            raise

    def _new_leader(self, held: Lock) -> Leader:
        """Return a leader; on a full disk, with the room of the reserve."""
        try:
            return Leader(self._places, held, self._dead_bytes)
        except OSError as error:
            if error.errno not in disk.NO_ROOM or not Reserve(self._places).give_up():
                raise
            if not held.acquire():
                raise
            return Leader(self._places, held, self._dead_bytes)

    def _through_leader(self, act: Callable[[Leader], Any], command: Command) -> Any:
        """Do something as the leader: this process if it is or can be, else whichever is."""
        while True:
            lease = self._lease
            if lease is not None and not lease.lost():
                return act(lease.leader)
            with self._leading_briefly() as leader:
                if leader is not None:
                    return act(leader)
            with suppress(NobodyLeads):
                return self._ask(command)

    def _ask(self, command: Command, wait_s: float = WAIT_S) -> Any:
        return Inbox(self._places).ask(command, self._obey_if_nobody_leads, wait_s)

    def _obey_if_nobody_leads(self) -> bool:
        """Lead for a moment, and carry out what an earlier leader took on; return whether nobody else leads."""
        if not is_free(self._places.leader):
            return False
        lease = self._take_lease()
        if lease is None:
            return False
        try:
            lease.tend()
        finally:
            lease.close()
        return True

    @contextmanager
    def _leading_briefly(self) -> Generator[Leader | None]:
        lease = self._take_lease()
        try:
            yield None if lease is None else lease.leader
        finally:
            if lease is not None:
                lease.close()


@contextmanager
def _as_down() -> Generator[None]:
    """Raise what the folder does as `JournalDown`, without its paths."""
    try:
        yield
    except OSError as error:
        raise JournalDown(f"the journal's folder fails: {error.strerror or error}") from error


def _call(function: Callable[[], None] | None) -> None:
    if function is not None:
        function()


@cache
def _warn_of(root: Path) -> None:
    """Say once where a folder lies, and who can write it, when what is kept there may not stay or be changed by others."""
    for said in filesystem.warnings_for(root):
        log.warning("%s", said)


class _Lease:
    """The right to move places; see `eventmw.journal.Lease`. It is the leader, and its chores."""

    def __init__(self, leader: Leader, housekeeping: Housekeeping) -> None:
        self.leader = leader
        self._housekeeping = housekeeping
        self._yields = False
        self.read = leader.read
        self.due = leader.due
        self.next_due_ms = leader.next_due_ms
        self.commit = leader.commit
        self.settled = leader.settled
        self.dirty = leader.dirty
        self.recall = leader.recall
        self.reached = leader.reached
        self.keep = leader.keep
        self.kept = leader.kept
        self.note = leader.note
        self.noted = leader.noted
        self.sync = leader.sync
        self.close = leader.close

    def tend(self) -> None:
        """Take over, retire, obey, tell."""
        with _as_down():
            self._housekeeping.tend()

    def lost(self) -> bool:
        """Return whether the right is gone, or should go to a newer process that knows more tools."""
        return self.leader.lost() or self._housekeeping.should_yield()


_journals: Final[WeakSet[FileJournal]] = WeakSet()


def _after_fork_in_child() -> None:
    for journal in _journals:
        journal.leave_parent_behind()


after_fork_in_child(_after_fork_in_child)
