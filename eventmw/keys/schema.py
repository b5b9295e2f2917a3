"""The tables made where there are none, brought up to date where they are older, and left alone where they are newer.

Layer: input and output.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from eventmw.archive.database import begun, why
from eventmw.archive.note import Note
from eventmw.archive.versions import Migrations, Versioned
from eventmw.errors import EventmwError
from eventmw.keys.tables import metadata, state

MIGRATIONS: Final[Migrations] = ()
"""What makes version 2 of version 1, version 3 of version 2, and so on."""


class KeysAway(EventmwError):  # noqa: N818 - the name of the condition
    """The database of keys cannot be read or written now. Becomes ``503``."""


class NewerKeys(KeysAway):
    """A newer eventmw has changed the tables; this one does not touch them."""


@contextmanager
def transaction(engine: Engine, *, writes: bool = False) -> Generator[Connection]:
    """Give a connection in a transaction.

    Raises:
        KeysAway: the database does not answer, or is not as it should be. The message holds no values.
    """
    try:
        with begun(engine, writes=writes) as connection:
            yield connection
    except SQLAlchemyError as error:
        where = Note.of(engine.url).address
        raise KeysAway(f"the keys in {where} cannot be reached now ({why(error, engine)})") from None


def prepare(engine: Engine, migrations: Migrations = MIGRATIONS) -> None:
    """Make the tables, or bring them up to date; nothing is written where they are as they should be.

    Raises:
        NewerKeys: a newer eventmw wrote them.
        KeysAway: the database does not answer.
    """
    _TABLES.prepare(engine, migrations)


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


_TABLES: Final = Versioned(
    metadata=metadata,
    state=state,
    lock=0x65766D776B657973,  # «evmwkeys» in ASCII
    first=lambda: {"lineage": os.urandom(16).hex(), "version": 1, "floor": 0},
    transaction=transaction,
    check=check_version,
)
