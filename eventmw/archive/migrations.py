"""The archive's tables made where there are none, brought up to date where they are older, refused where they are newer.

Layer: input and output.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

from eventmw.archive.place import file_of, make_file
from eventmw.archive.tables import metadata, state
from eventmw.archive.transactions import ArchiveAway, transaction
from eventmw.archive.versions import Migrations, Versioned
from eventmw.errors import ConfigError

MIGRATIONS: Final[Migrations] = ()
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
