"""The archive's tables made where there are none, brought up to date where they are older, refused where they are newer.

Layer: input and output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection, Engine, func, insert, inspect, select, update

from eventmw.archive.place import file_of, make_file
from eventmw.archive.tables import metadata, state
from eventmw.archive.transactions import ArchiveAway, transaction
from eventmw.errors import ConfigError

Migrations = Sequence[Callable[[Connection], None]]

MIGRATIONS: Final[Migrations] = ()
"""What makes version 2 of version 1, version 3 of version 2, and so on."""

_LOCK: Final = 0x65766D7761726368
"""Names these migrations among PostgreSQL's advisory locks: «evmwarch» in ASCII."""


def prepare(engine: Engine, migrations: Migrations = MIGRATIONS) -> None:
    """Make the tables, or bring them up to date; nothing is written where they are as they should be.

    Any number of processes may do this at once: one does, and the others find it done.

    Raises:
        ConfigError: a newer eventmw wrote them. Nothing was changed.
        ArchiveAway: the database does not answer.
    """
    newest = len(migrations) + 1
    try:
        make_file(engine)
    except OSError as error:
        raise ArchiveAway(f"{type(error).__name__}: {error.strerror}") from None
    with transaction(engine) as connection:
        if _version(connection, newest) == newest:
            return
    with transaction(engine, writes=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        found = _version(connection, newest)  # another process may have done it meanwhile
        if found == 0:
            metadata.create_all(connection)
            connection.execute(insert(state).values(id=1, schema_version=newest, changed=0, floor=0))
            return
        for migrate in migrations[found - 1 :]:
            migrate(connection)
        connection.execute(update(state).values(schema_version=newest))


def check(engine: Engine, migrations: Migrations = MIGRATIONS) -> None:
    """Look whether this eventmw knows the tables, as far as that can be seen now: a database that is away is no problem.

    Raises:
        ConfigError: a newer eventmw wrote them.
    """
    file = file_of(engine)
    if file is not None and not file.exists():
        return
    try:
        with transaction(engine) as connection:
            _version(connection, len(migrations) + 1)
    except ArchiveAway:
        return
    finally:
        engine.dispose()  # the process may fork, and no child is to inherit a connection


def _version(connection: Connection, newest: int) -> int:
    """Return the version of the tables; 0 when there are none."""
    if not inspect(connection).has_table(state.name):
        return 0
    found = int(connection.execute(select(state.c.schema_version)).scalar_one())
    if found > newest:
        problem = (
            f"the archive was written by a newer eventmw: its tables have version {found}, and this one knows those up to "
            f"{newest}. Nothing was changed. Install the newer eventmw, or name another archive"
        )
        raise ConfigError([problem])
    return found
