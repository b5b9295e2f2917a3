"""The tables made where there are none, brought up to date where they are older, and left alone where they are newer.

Layer: input and output.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from sqlalchemy import Connection, Engine, func, insert, inspect, select, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from eventmw.errors import EventmwError
from eventmw.forks import HeldOff
from eventmw.keys.tables import metadata, state

MIGRATIONS: Final[Sequence[Callable[[Connection], None]]] = ()
"""What makes version 2 of version 1, version 3 of version 2, and so on."""

_LOCK: Final = 0x65766D776B657973
"""Names this package's migrations among PostgreSQL's advisory locks: «evmwkeys» in ASCII."""


class KeysAway(EventmwError):  # noqa: N818 - the name of the condition
    """The database of keys cannot be read or written now. Becomes ``503``."""


class NewerKeys(KeysAway):
    """A newer eventmw has changed the tables; this one does not touch them."""


@contextmanager
def transaction(engine: Engine, *, writes: bool = False) -> Generator[Connection]:
    """Give a connection in a transaction.

    Of SQLite it is a new one each time, and no fork comes in between: a child that inherits one, and with it the belief to
    hold its locks, could destroy the file. Source: sqlite.org/howtocorrupt.html, 2.6.

    Raises:
        KeysAway: the database does not answer, or is not as it should be. The message holds no values.
    """
    is_file = engine.dialect.name == "sqlite"
    held: AbstractContextManager[None] = HeldOff() if is_file else nullcontext()
    try:
        with held, engine.connect().execution_options(writes=writes) as connection:
            if is_file:
                connection.detach()
            with connection.begin():
                yield connection
    except SQLAlchemyError as error:
        where = engine.url.render_as_string(hide_password=True)
        raise KeysAway(f"the keys in {where} cannot be reached now ({_why(error, is_file=is_file)})") from None


def _why(error: SQLAlchemyError, *, is_file: bool) -> str:
    """Return the driver's words where they hold no values: of connecting, and of SQLite's file. Else the error's kind."""
    if isinstance(error, OperationalError) and (is_file or error.statement is None):
        return str(error.orig).partition("\n")[0]
    return type(getattr(error, "orig", None) or error).__name__


def prepare(engine: Engine, migrations: Sequence[Callable[[Connection], None]] = MIGRATIONS) -> None:
    """Make the tables, or bring them up to date; nothing is written where they are as they should be.

    Raises:
        NewerKeys: a newer eventmw wrote them.
        KeysAway: the database does not answer.
    """
    newest = len(migrations) + 1
    with transaction(engine) as connection:
        if _version(connection, newest) == newest:
            return
    with transaction(engine, writes=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        found = _version(connection, newest)  # another process may have done it meanwhile
        if found == 0:
            metadata.create_all(connection)
            row = {"id": 1, "schema_version": newest, "lineage": os.urandom(16).hex(), "version": 1, "floor": 0}
            connection.execute(insert(state).values(row))
            return
        for migrate in migrations[found - 1 :]:
            migrate(connection)
        connection.execute(update(state).values(schema_version=newest))


def _version(connection: Connection, newest: int) -> int:
    """Return the version of the tables; 0 when there are none."""
    if not inspect(connection).has_table(state.name):
        return 0
    found = connection.execute(select(state.c.schema_version)).scalar_one()
    check_version(found, newest)
    return int(found)


def check_version(found: int, newest: int = len(MIGRATIONS) + 1) -> None:
    """Look whether this eventmw knows tables of a version.

    Raises:
        NewerKeys: it does not.
    """
    if found > newest:
        raise NewerKeys(
            f"the keys were written by a newer eventmw: their tables have version {found}, and this one knows those up to "
            f"{newest}. Nothing was changed. Install the newer eventmw everywhere"
        )
