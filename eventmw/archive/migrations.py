"""The archive's tables made where there are none, brought up to date where they are older, refused where they are newer.

Layer: input and output.
"""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import Connection, Engine, text

from eventmw.archive.place import file_of, make_file
from eventmw.archive.rows import for_sqlite
from eventmw.archive.tables import events, metadata, state
from eventmw.archive.transactions import ArchiveAway, transaction
from eventmw.archive.versions import Migrations, Versioned
from eventmw.errors import ConfigError

_WITH_NUL: Final = text(
    f"SELECT rowid, customer_identifier, metric_name, fields FROM {events.name} "  # noqa: S608 - a name of our own
    "WHERE instr(fields, '\\u0000') > 0 OR instr(customer_identifier, char(0)) > 0 OR instr(metric_name, char(0)) > 0"
)
_STORE: Final = text(
    f"UPDATE {events.name} SET customer_identifier = :customer_identifier, metric_name = :metric_name, fields = :fields "  # noqa: S608 - as above
    "WHERE rowid = :rowid"
)


def _store_nul_as_its_picture(connection: Connection) -> None:
    """Store U+0000 in SQLite as its picture, as PostgreSQL always had it: SQLite's JSON functions end a text at it."""
    if connection.dialect.name != "sqlite":
        return
    for row in connection.execute(_WITH_NUL).mappings().all():
        connection.execute(_STORE, for_sqlite(dict(row) | {"fields": json.loads(row["fields"])}))


MIGRATIONS: Final[Migrations] = (_store_nul_as_its_picture,)
"""What makes version 2 of version 1, version 3 of version 2, and so on."""


def prepare(engine: Engine, migrations: Migrations = MIGRATIONS) -> None:
    """Make the tables, or bring them up to date; nothing is written where they are as they should be.

    Raises:
        ConfigError: a newer eventmw wrote them. Nothing was changed.
        ArchiveAway: the database does not answer.
    """
    try:
        make_file(engine)
    except OSError as error:
        raise ArchiveAway(f"{type(error).__name__}: {error.strerror}") from None
    _TABLES.prepare(engine, migrations)


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
            _TABLES.version(connection, len(migrations) + 1)
    except ArchiveAway:
        return
    finally:
        engine.dispose()  # the process may fork, and no child is to inherit a connection


def _check(found: int, newest: int) -> None:
    if found > newest:
        problem = (
            f"the archive was written by a newer eventmw: its tables have version {found}, and this one knows those up to "
            f"{newest}. Nothing was changed. Install the newer eventmw, or name another archive"
        )
        raise ConfigError([problem])


_TABLES: Final = Versioned(
    metadata=metadata,
    state=state,
    lock=0x65766D7761726368,  # «evmwarch» in ASCII
    first=lambda: {"changed": 0, "floor": 0},
    transaction=transaction,
    check=_check,
)
