"""What a process knows of all keys: in memory, so that a request that shows one asks no database.

Requests wait for no database either, but for an instant of the first: they may be on an event loop.

A thread looks at the database's version number every `EVERY_S` seconds and reads the keys that changed since. Of a file it
looks at the time of the last change, and opens it only then. While the database is away, what is known stays in force.

A key that is not known may have been made a moment ago: `KeyRing.lookup` makes the thread look at once. One look serves all
that wait for it, and looks keep a distance from each other, so guessed keys cost the database no more than a few looks.

Layer: input and output.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from weakref import WeakSet

from sqlalchemy import Connection, Engine, Row, and_, exists, select
from sqlalchemy.sql.elements import ColumnElement

from eventmw.archive.database import allow
from eventmw.errors import Refused, told
from eventmw.forks import LateLock, after_fork_in_child
from eventmw.keys import Key
from eventmw.keys.schema import (
    WAY_OUT,
    KeysAway,
    KeysGone,
    check_same,
    check_version,
    note_of,
    prepare,
    remember,
    transaction,
)
from eventmw.keys.secrets import digest_of, id_in, is_right
from eventmw.keys.store import KeyRow, key_of
from eventmw.keys.tables import accounts, keys, projects, state

log = logging.getLogger("eventmw")

EVERY_S: Final = 0.4
"""Seconds between two looks: revoked within one second, with time left for the look itself. Source: PROTOCOLS.md 3.2."""

FIRST_S: Final = 0.5
"""Seconds that those who ask first wait for the first look, all of them together: it is begun by the first request of a
process, which would else be refused each time. Source: assumption."""

LOOKUP_S: Final = 1.0
"""Seconds that a request with a key that is not known waits for a look at the database. Source: assumption."""

_APART_S: Final = 0.05
"""Seconds between two looks that requests ask for: what guessed keys may cost the database, however many there are."""

_MAX_WAITING: Final = 1_000
"""Requests that wait for a look; beyond that, a key that is not known is refused as the last look left it."""

_MAX_WRONG: Final = 4_096
"""Secrets that are known to be wrong: a look for one of them again would find nothing new."""

_LAST_LOOK_S: Final = 5.0

_LOOK_S: Final = 2.0
"""Seconds that the database may take for a look: it reads little, and over a connection that fell silent nothing."""

_READ_S: Final = 30.0
"""Seconds that it may take to read all keys, of which there may be many thousands."""

_SETTLED_NS: Final = 1_000_000_000
"""A file that was changed longer ago than this is not changed again without a new time: file systems keep milliseconds."""

_OLDER: Final = "the keys are older than those that this site had: restored from a backup, perhaps"
_AS_IT_IS: Final = (
    "Keys made since then are not in it, and are answered 503; keys revoked since then are in force again. "
    "`eventmw keys forget-store` takes it as it is"
)

_COLUMNS: Final = tuple(
    keys.c[name]
    for name in (
        "id",
        "kind",
        "account_id",
        "project_id",
        "customer",
        "key_filter",
        "origins",
        "digest",
        "revoked_ms",
    )
)


_Stamp = tuple[int, int, int]
"""A file's identity, size, and time of its last change in nanoseconds."""


class _Held(NamedTuple):
    key: Key
    digest: bytes


@dataclass(slots=True)
class _Known:
    """The keys of one version of one database, by id, and how many of them list each browser origin."""

    lineage: str
    version: int
    held: dict[str, _Held] = field(default_factory=dict[str, _Held])
    origins: Counter[str] = field(default_factory=Counter[str])

    def take(self, row: KeyRow) -> None:
        """Take a key in, or out when it is revoked; one that is here already is the same."""
        key = key_of(row)
        if row["revoked_ms"] is None and key.id not in self.held:
            self.held[key.id] = _Held(key, row["digest"])
            self.origins.update(key.origins)
        elif row["revoked_ms"] is not None and self.held.pop(key.id, None) is not None:
            self.origins.subtract(key.origins)
            self.origins = +self.origins  # those that nobody lists any more are gone


_rings: WeakSet[KeyRing] = WeakSet()


def _after_fork() -> None:
    for ring in _rings:
        ring.leave_parent_behind()


after_fork_in_child(_after_fork)


class KeyRing:
    """Finds keys. Making one reads nothing and starts no thread; the first `find` of a process does, or `begin` before it.

    Args:
        engine: of `eventmw.keys.place.keys_engine`.
        every_s: seconds between two looks at the database.
    """

    def __init__(self, engine: Engine, every_s: float = EVERY_S) -> None:
        self._engine = engine
        self._is_file = engine.dialect.name == "sqlite"
        self._every_s = every_s
        self._known: _Known | None = None
        self._away: type[Exception] | None = None
        self._trouble = ""
        self._is_older = False
        self._prepared = False
        self._seen: _Stamp | None = None
        self._fresh()
        _rings.add(self)

    def _fresh(self) -> None:
        self._starting, self._queueing = threading.Lock(), threading.Lock()  # not held while anything starts or waits
        self._looking = LateLock()
        self._looked, self._ended, self._wanted = threading.Event(), threading.Event(), threading.Event()
        self._waiting: list[tuple[Future[None], bytes]] = []
        self._wrong: dict[bytes, None] = {}
        self._waits_until_s = 0.0
        self._thread: threading.Thread | None = None
        self._follows = False

    def leave_parent_behind(self) -> None:
        """Begin anew in a forked child: it has no thread. What the parent knew is looked at again before it is used."""
        self._fresh()

    def begin(self) -> None:
        """Have a thread read the keys and keep following them, once a process. Does not wait, and never fails."""
        with self._starting:
            if self._follows or self._ended.is_set():
                return
            self._waits_until_s = time.monotonic() + FIRST_S
            self._follows = True
        events = (self._ended, self._wanted)
        thread = threading.Thread(target=self._follow, args=events, name="eventmw-keys", daemon=True)
        try:
            thread.start()
            self._thread = thread
        except RuntimeError:  # the system gives no more threads: the next request tries again
            self._follows = False

    def start(self) -> None:
        """Read the keys in the caller's thread, and keep following them. Waits for the database, and never fails."""
        if not self._looked.is_set():
            self.look()
        self.begin()

    def find(self, shown: str) -> Key | None:
        """Return the key whose secret was shown; None when it is wrong, revoked, or no key at all.

        Costs the same whether there are ten keys or many thousands, and takes the same time however wrong the secret is.

        Raises:
            Refused: 503, this process has not read the keys yet: the database is slow, or has been away all the time.
        """
        known, ident = self._now(), id_in(shown)
        held = known.held.get(ident) if ident else None
        if is_right(shown, held.digest if held else None):
            return held.key if held else None
        if ident and not held:
            self._check_is_whole()
        return None

    def lookup(self, shown: str) -> Future[None] | None:
        """Have the database looked at for a key that is not known, unless that is known to be of no use. Does not wait.

        Returns a future that is done after the look, or None when `find` can say at once what there is to say.
        """
        known, ident = self._known, id_in(shown)
        if known is None or ident is None or ident in known.held:
            return None
        return self._queued(digest_of(shown))

    def lookup_id(self, key_id: str) -> Future[None] | None:
        """Do as `lookup` does, for the id of a key that a link names."""
        known = self._known
        return None if known is None or key_id in known.held else self._queued(digest_of(f"\0\0{key_id}"))

    def lookup_origin(self, origin: str) -> Future[None] | None:
        """Do as `lookup` does, for a browser origin that no known key lists."""
        known = self._known
        return None if known is None or origin in known.origins else self._queued(digest_of(f"\0{origin}"))

    def by_id(self, key_id: str) -> Key | None:
        """Return the key with an id; None when there is none, or it is revoked. Waits for nothing, see `lookup_id`.

        Raises:
            Refused: as `find`.
        """
        held = self._held(key_id)
        return held.key if held else None

    def digest_of(self, key_id: str) -> bytes | None:
        """Return the SHA-256 of the secret of the key with an id; None when there is none, or it is revoked.

        Raises:
            Refused: as `find`.
        """
        held = self._held(key_id)
        return held.digest if held else None

    def _held(self, key_id: str) -> _Held | None:
        held = self._now().held.get(key_id)
        if held is None:
            self._check_is_whole()
        return held

    def lists(self, origin: str) -> bool:
        """Return whether any key may be used by pages of a browser origin.

        Raises:
            Refused: as `find`.
        """
        return origin in self._now().origins

    def look(self) -> None:
        """Look at the database now, in the caller's thread. Never fails: what goes wrong is logged, once."""
        with self._looking:
            try:
                self._catch_up()
            except Exception as error:  # noqa: BLE001 - nothing of ours may end the thread, or reach the site
                self._prepared, self._seen = False, None  # the tables may be gone
                why = str(error) if isinstance(error, KeysAway) else told(error)
                self._trouble = "the keys are gone" if isinstance(error, KeysGone) else "the keys cannot be read"
                if self._away is not type(error):
                    _say_away(why, nothing_known=self._known is None, gone=isinstance(error, KeysGone))
                self._away = type(error)
            else:
                if self._away:
                    log.warning("the keys can be read again")
                self._away = None
                self._trouble = _OLDER if self._is_older else ""
        self._looked.set()

    def trouble(self) -> str:
        """Return "" while keys can be looked up, else why not, in words without a path.

        A database that is away is no trouble while its keys are known: they stay in force.
        """
        is_away = self._away is KeysAway and not self._is_file and self._known is not None
        return "" if is_away else self._trouble

    def _check_is_whole(self) -> None:
        """Look whether what this process knows is all that there is, so that a key that is not among it is wrong.

        Raises:
            Refused: 503: the key may be one that was made since.
        """
        if self._away is not None or self._is_older:
            raise _down()

    def _queued(self, digest: bytes) -> Future[None] | None:
        """Return the future of a look that begins after this; None: this process has no thread for it, or no need."""
        with self._queueing:
            if not self._follows or digest in self._wrong or len(self._waiting) >= _MAX_WAITING:
                return None
            looking: Future[None] = Future()
            self._waiting.append((looking, digest))
        self._wanted.set()
        return looking

    def close(self) -> None:
        """Follow the database no longer, and wait a moment for a look that is under way. What is known stays."""
        self._ended.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(_LAST_LOOK_S)

    def rest(self) -> None:
        """Follow the database no longer; the next request begins anew."""
        self.close()
        self._fresh()

    def _forget_wrong(self) -> None:
        with self._queueing:
            self._wrong.clear()

    def _now(self) -> _Known:
        if not self._follows:
            self.begin()
        if not self._looked.is_set() and self._follows:
            self._looked.wait(max(0.0, self._waits_until_s - time.monotonic()))
        if self._known is None or not self._looked.is_set():
            raise _down()
        return self._known

    def _follow(self, ended: threading.Event, wanted: threading.Event) -> None:
        if not self._looked.is_set():
            self.look()
        while not ended.is_set():
            wanted.wait(self._every_s)
            wanted.clear()
            with self._queueing:
                waiting, self._waiting = self._waiting, []
            if not ended.is_set():
                self.look()
            self._answer(waiting)
            if waiting:
                ended.wait(_APART_S)

    def _answer(self, waiting: Sequence[tuple[Future[None], bytes]]) -> None:
        """Have requests go on after a look; what it did not find is not looked for again before something changes."""
        with self._queueing:
            for _, digest in waiting if self._away is None else ():
                self._wrong[digest] = None
            while len(self._wrong) > _MAX_WRONG:
                del self._wrong[next(iter(self._wrong))]
        for looking, _ in waiting:
            looking.set_result(None)

    def _catch_up(self) -> None:
        before = _stamp(self._engine)
        if before is not None and before == self._seen:
            return
        note = note_of(self._engine)
        has_vanished = self._is_file and note is not None and (before is None or before[1] == 0)
        if not self._prepared or has_vanished:
            prepare(self._engine)
            self._prepared = True
        known = self._known
        with transaction(self._engine) as connection:
            allow(connection, _LOOK_S)
            found = connection.execute(select(state)).one()
            check_version(found.schema_version)
            remembered = None if note is None else note.read()
            if remembered is not None and found.lineage != remembered.lineage:
                self._prepared = False
            elif known is None or _is_another(found, known):
                allow(connection, _READ_S)
                if remembered is not None:
                    _check_is_filled(connection)
                self._known = _all_keys(connection, found)
                self._forget_wrong()
            elif found.version != known.version:
                _apply_changes(connection, known)
                known.version = found.version
                self._forget_wrong()
        if not self._prepared and remembered is not None:
            check_same(self._engine, remembered)
        self._is_older = remembered is not None and found.version < remembered.version
        if self._is_older and self._trouble != _OLDER:
            log.warning("%s. %s", _OLDER, _AS_IT_IS)
        remember(self._engine, found.lineage, found.version)
        self._seen = before if before is not None and time.time_ns() - before[2] > _SETTLED_NS else None


def _down() -> Refused:
    return Refused("keys_down", "The keys cannot be looked up now; try again.", headers=(("retry-after", "5"),))


def _say_away(why: str, *, nothing_known: bool, gone: bool) -> None:
    then = f". {WAY_OUT}" if gone else ", and changes are noticed once they can be read"
    if nothing_known:
        log.warning("%s: this process knows no keys, so requests with a key are answered 503%s", why, then)
    else:
        log.warning("%s: those known stay in force; requests with any other key are answered 503%s", why, then)


def _check_is_filled(connection: Connection) -> None:
    """Look whether somebody emptied the tables of a store: it has an account, and each project has a master key.

    Raises:
        KeysGone: they were emptied.
    """
    living = and_(projects.c.deleted_ms.is_(None), ~exists().where(*_masters()))
    if (
        connection.execute(select(accounts.c.id).limit(1)).first() is None
        or connection.execute(select(projects.c.id).where(living).limit(1)).first()
    ):
        raise KeysGone("the tables of the key store were emptied")


def _masters() -> Sequence[ColumnElement[bool]]:
    return keys.c.project_id == projects.c.id, keys.c.kind == "project", keys.c.revoked_ms.is_(None)


def _stamp(engine: Engine) -> _Stamp | None:
    """Return what tells whether a file was changed; None of a database that is no file, or is not there."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    try:
        found = os.stat(engine.url.database)  # noqa: PTH116 - twice a second
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _is_another(found: Row[Any], known: _Known) -> bool:
    """Return whether what is known says nothing of this database: another one, an older one, or one that has forgotten."""
    return bool(found.lineage != known.lineage or found.version < known.version or known.version < found.floor)


def _all_keys(connection: Connection, found: Row[Any]) -> _Known:
    known = _Known(found.lineage, found.version)
    for row in connection.execute(select(*_COLUMNS).where(keys.c.revoked_ms.is_(None))).mappings():
        known.take(row)
    return known


def _apply_changes(connection: Connection, known: _Known) -> None:
    """Take in what changed since. Others may commit meanwhile: what is read too early is read once more, and is the same."""
    for row in connection.execute(select(*_COLUMNS).where(keys.c.changed > known.version)).mappings():
        known.take(row)
