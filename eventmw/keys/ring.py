"""What a process knows of all keys: in memory, so that a request that shows one asks no database.

Requests wait for no database either, but for an instant of the first: they may be on an event loop.

A thread looks at the database's version number every `EVERY_S` seconds and reads the keys that changed since. Of a file it
looks at the time of the last change, and opens it only then. While the database is away, what is known stays in force.

Layer: input and output.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from weakref import WeakSet

from sqlalchemy import Connection, Engine, Row, select

from eventmw.archive.database import allow
from eventmw.errors import Refused, told
from eventmw.forks import LateLock, after_fork_in_child
from eventmw.keys import Key
from eventmw.keys.schema import KeysAway, check_version, prepare, transaction
from eventmw.keys.secrets import id_in, is_right
from eventmw.keys.store import KeyRow, key_of
from eventmw.keys.tables import keys, state

log = logging.getLogger("eventmw")

EVERY_S: Final = 0.4
"""Seconds between two looks: revoked within one second, with time left for the look itself. Source: PROTOCOLS.md 3.2."""

FIRST_S: Final = 0.5
"""Seconds that those who ask first wait for the first look, all of them together: it is begun by the first request of a
process, which would else be refused each time. Source: assumption."""

_LAST_LOOK_S: Final = 5.0

_LOOK_S: Final = 2.0
"""Seconds that the database may take for a look: it reads little, and over a connection that fell silent nothing."""

_READ_S: Final = 30.0
"""Seconds that it may take to read all keys, of which there may be many thousands."""

_SETTLED_NS: Final = 1_000_000_000
"""A file that was changed longer ago than this is not changed again without a new time: file systems keep milliseconds."""

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
        self._every_s = every_s
        self._known: _Known | None = None
        self._away = False
        self._prepared = False
        self._seen: _Stamp | None = None
        self._fresh()
        _rings.add(self)

    def _fresh(self) -> None:
        self._starting = threading.Lock()  # not held while the thread starts, nor while anything waits
        self._looking = LateLock()
        self._looked, self._ended = threading.Event(), threading.Event()
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
        thread = threading.Thread(target=self._follow, args=(self._ended,), name="eventmw-keys", daemon=True)
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
        return None

    def by_id(self, key_id: str) -> Key | None:
        """Return the key with an id; None when there is none, or it is revoked.

        Raises:
            Refused: as `find`.
        """
        held = self._now().held.get(key_id)
        return held.key if held else None

    def digest_of(self, key_id: str) -> bytes | None:
        """Return the SHA-256 of the secret of the key with an id; None when there is none, or it is revoked.

        Raises:
            Refused: as `find`.
        """
        held = self._now().held.get(key_id)
        return held.digest if held else None

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
                if not self._away:
                    why = str(error) if isinstance(error, KeysAway) else told(error)
                    log.warning("%s: those known stay in force, and changes are noticed once they can be read", why)
                self._away = True
            else:
                if self._away:
                    log.warning("the keys can be read again")
                self._away = False
        self._looked.set()

    def close(self) -> None:
        """Follow the database no longer, and wait a moment for a look that is under way. What is known stays."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_LAST_LOOK_S)

    def rest(self) -> None:
        """Follow the database no longer; the next request begins anew."""
        self.close()
        self._fresh()

    def _now(self) -> _Known:
        if not self._follows:
            self.begin()
        if not self._looked.is_set() and self._follows:
            self._looked.wait(max(0.0, self._waits_until_s - time.monotonic()))
        if self._known is None or not self._looked.is_set():
            raise Refused("keys_down", "The keys cannot be looked up now; try again.", headers=(("retry-after", "5"),))
        return self._known

    def _follow(self, ended: threading.Event) -> None:
        if not self._looked.is_set():
            self.look()
        while not ended.wait(self._every_s):
            self.look()

    def _catch_up(self) -> None:
        before = _stamp(self._engine)
        if before is not None and before == self._seen:
            return
        if not self._prepared:
            prepare(self._engine)
            self._prepared = True
        known = self._known
        with transaction(self._engine) as connection:
            allow(connection, _LOOK_S)
            found = connection.execute(select(state)).one()
            check_version(found.schema_version)
            if known is None or _is_another(found, known):
                allow(connection, _READ_S)
                self._known = _all_keys(connection, found)
            elif found.version != known.version:
                _apply_changes(connection, known)
                known.version = found.version
        self._seen = before if before is not None and time.time_ns() - before[2] > _SETTLED_NS else None


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
