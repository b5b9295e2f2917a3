"""What a process knows of the archive's names and deletions: kept in memory, and brought up to date by numbers.

A change takes the next number from the one row of `state`, whose lock is held to the end of its transaction. So whoever has
seen a number has seen all before it, and reads only what came after.

Layer: input and output.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from eventmw.archive.tables import Row, deletions, names, state
from eventmw.forks import LateLock

MAX_NAMES: Final = 2000
"""Distinct names of one project. Source: reference of the track API, PROTOCOLS.md 3.1."""

_NONE: Final[AbstractSet[str]] = frozenset()

_LOCK: Final = 0x65766D7764656C73
"""Names what stands between writers and deletions among PostgreSQL's advisory locks: «evmwdels» in ASCII."""


class Deletion(NamedTuple):
    """What was deleted of a project: what has all that is given here, and was accepted by `made_ms`."""

    project_id: str
    customer_digest: str | None
    event_name: str | None
    since_ms: int | None
    until_ms: int | None
    made_ms: int

    def takes(self, row: Row) -> bool:
        """Return whether a row is not to be written any more."""
        return (
            row["project_id"] == self.project_id
            and row["recorded_ms"] <= self.made_ms
            and (self.event_name is None or row["event_name"] == self.event_name)
            and (self.since_ms is None or row["time_ms"] >= self.since_ms)
            and (self.until_ms is None or row["time_ms"] < self.until_ms)
            and (self.customer_digest is None or digest_of(row["customer_identifier"]) == self.customer_digest)
        )


def digest_of(customer: str | None) -> str | None:
    """Return what stands for a customer where they must not be named."""
    return None if customer is None else hashlib.sha256(customer.encode()).hexdigest()


def next_number(connection: Connection) -> int:
    """Return the number of a change that this transaction makes."""
    connection.execute(update(state).values(changed=state.c.changed + 1))
    return int(connection.execute(select(state.c.changed)).scalar_one())


class Ledger:
    """Names and deletions as this process knows them. Thread-safe; who only asks waits for nobody."""

    def __init__(self) -> None:
        self._refreshing = LateLock()  # a database answers meanwhile
        self._accepting = threading.Lock()
        self._changed = -1
        self._names: dict[str, set[str]] = {}
        self._accepted: dict[str, set[str]] = {}
        self._deletions: dict[str, list[Deletion]] = {}

    def may_name(self, project_id: str, name: str) -> bool:
        """Return whether a project has this name, or room for one more, which then is this one's. No I/O.

        It keeps the room until the archive has the name: events come faster than rows, and an archive may be away.
        """
        if name in self._names.get(project_id, _NONE):
            return True
        with self._accepting:
            known, accepted = self._names.get(project_id, _NONE), self._accepted.setdefault(project_id, set())
            if name in accepted:
                return True
            if len(known) + len(accepted) >= MAX_NAMES:
                accepted -= known
            if len(known) + len(accepted) >= MAX_NAMES:
                return False
            accepted.add(name)
            return True

    def takes(self, row: Row) -> bool:
        """Return whether a row was deleted before it was written."""
        found = self._deletions.get(row["project_id"])
        return found is not None and any(deletion.takes(row) for deletion in found)

    def deletions(self) -> Sequence[Deletion]:
        """Return the deletions that are known."""
        return [deletion for of_project in list(self._deletions.values()) for deletion in of_project]

    def read_anew(self) -> None:
        """Have the next refresh read all: it may be another database."""
        with self._refreshing:
            self._changed = -1

    def refresh(self, connection: Connection) -> None:
        """Read what is new."""
        with self._refreshing:
            self._refresh(connection)

    def _refresh(self, connection: Connection) -> None:
        changed, floor = connection.execute(select(state.c.changed, state.c.floor)).one()
        if changed == self._changed:
            return
        whole = floor > self._changed or changed < self._changed  # the latter: of another database, or an older one
        since = -1 if whole else self._changed
        known: dict[str, set[str]] = {} if whole else self._names
        for project_id, name in connection.execute(
            select(names.c.project_id, names.c.event_name).where(names.c.changed > since)
        ):
            known.setdefault(project_id, set()).add(name)
        taken: dict[str, list[Deletion]] = {} if whole else self._deletions
        columns = [deletions.c[field] for field in Deletion._fields]
        for found in connection.execute(select(*columns).where(deletions.c.changed > since)):
            taken.setdefault(found.project_id, []).append(Deletion(*found))
        if whole and self._changed >= 0:  # names were taken away, and those that were on their way may never come
            with self._accepting:
                self._accepted = {}
        self._names, self._deletions, self._changed = known, taken, changed

    def note(self, connection: Connection, rows: Iterable[Row]) -> Callable[[], None]:
        """Write the names that are new in these rows. Returns what is to be called when the transaction is over."""
        new = {
            (row["project_id"], row["event_name"])
            for row in rows
            if row["event_name"] not in self._names.get(row["project_id"], ())
        }
        number = next_number(connection) if new else self._changed
        if new:
            made = _insert(connection)(names).on_conflict_do_nothing()
            connection.execute(
                made,
                [{"project_id": project, "event_name": name, "changed": number} for project, name in sorted(new)],
            )

        def learn() -> None:
            with self._refreshing:
                if number <= self._changed:  # read since, and perhaps with a later deletion of these names
                    return
                for project, name in new:
                    self._names.setdefault(project, set()).add(name)

        return learn


def begin_writing(connection: Connection) -> None:
    """Have deletions wait for the end of this transaction: what it writes they are to find."""
    if connection.dialect.name == "postgresql":  # on SQLite one writes at a time
        connection.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))


def delete_later(connection: Connection, deletion: Deletion) -> None:
    """Note a deletion, so that every process that writes heeds it from its next transaction on."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    connection.execute(insert(deletions).values(changed=next_number(connection), **deletion._asdict()))


def forget_names(connection: Connection, project_id: str, name: str | None) -> int:
    """Take a name, or all of them, from a project; everybody reads the names anew. Returns how many there were."""
    meant = [names.c.project_id == project_id, *([] if name is None else [names.c.event_name == name])]
    gone = connection.execute(names.delete().where(*meant)).rowcount
    if gone:
        number = next_number(connection)
        connection.execute(update(state).values(floor=number))
    return gone


def name_again(connection: Connection, project_id: str, left: Sequence[str]) -> int:
    """Give names back to a project. Returns how many it did not have."""
    if not left:
        return 0
    number = next_number(connection)  # from here on nobody else changes names
    new = sorted(set(left).difference(known_names(connection, project_id)))
    if new:
        rows = [{"project_id": project_id, "event_name": name, "changed": number} for name in new]
        connection.execute(insert(names), rows)
    return len(new)


def prune(connection: Connection, before_ms: int) -> None:
    """Forget deletions that are older than anything that could come again."""
    connection.execute(deletions.delete().where(deletions.c.made_ms < before_ms))


def known_names(connection: Connection, project_id: str) -> Sequence[str]:
    """Return a project's names, sorted."""
    return sorted(connection.scalars(select(names.c.event_name).where(names.c.project_id == project_id)))


def _insert(connection: Connection) -> Callable[..., Any]:
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
