"""Tables made where there are none, brought up to date where they are older, refused where they are newer.

Layer: input and output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Engine, MetaData, Table, func, insert, inspect, select, update

from eventmw.archive.database import allow

_MIGRATION_S: Final = 3600.0
"""Seconds that one statement of a migration may take, and another process wait for it: large tables, new indexes."""

Migrations = Sequence[Callable[[Connection], None]]
"""What makes version 2 of version 1, version 3 of version 2, and so on."""


class Transaction(Protocol):
    """Gives a connection in a transaction, and says in its owner's words what went wrong."""

    def __call__(self, engine: Engine, *, writes: bool = False) -> AbstractContextManager[Connection]:
        """Begin it."""
        ...


@dataclass(frozen=True, slots=True)
class Versioned:
    """Tables that know their version.

    Attributes:
        metadata: all of them.
        state: the one with a single row, and in it ``schema_version``.
        lock: names the migrations among PostgreSQL's advisory locks.
        first: makes that row's other values.
        transaction: as above.
        check: raises when the version found is newer than the newest that is known.
    """

    metadata: MetaData
    state: Table
    lock: int
    first: Callable[[], Mapping[str, Any]]
    transaction: Transaction
    check: Callable[[int, int], None]

    def prepare(self, engine: Engine, migrations: Migrations) -> None:
        """Make the tables, or bring them up to date; nothing is written where they are as they should be.

        Any number of processes may do this at once: one does, and the others find it done. Raises what `check` and
        `transaction` raise; nothing was changed then.
        """
        newest = len(migrations) + 1
        with self.transaction(engine) as connection:
            if self.version(connection, newest) == newest:
                return
        with self.transaction(engine, writes=True) as connection:
            allow(connection, _MIGRATION_S)
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(self.lock)))
            found = self.version(connection, newest)  # another process may have done it meanwhile
            if found == 0:
                self.metadata.create_all(connection)
                connection.execute(insert(self.state).values({"id": 1, "schema_version": newest, **self.first()}))
                return
            for migrate in migrations[found - 1 :]:
                migrate(connection)
            connection.execute(update(self.state).values(schema_version=newest))

    def version(self, connection: Connection, newest: int) -> int:
        """Return the version of the tables; 0 when there are none. Raises what `check` raises."""
        if not inspect(connection).has_table(self.state.name):
            return 0
        found = int(connection.execute(select(self.state.c.schema_version)).scalar_one())
        self.check(found, newest)
        return found
