"""The tables made where there are none, brought up to date where they are older, and left alone where they are newer.

Layer: input and output.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from eventmw.archive.database import begun, why
from eventmw.archive.note import Note
from eventmw.archive.versions import Migrations, Versioned
from eventmw.errors import EventmwError
from eventmw.keys.note import KeyNote, Remembered
from eventmw.keys.place import NOTE, make_file
from eventmw.keys.tables import metadata, state

log = logging.getLogger("eventmw")

MIGRATIONS: Final[Migrations] = ()
"""What makes version 2 of version 1, version 3 of version 2, and so on."""


class KeysAway(EventmwError):  # noqa: N818 - the name of the condition
    """The database of keys cannot be read or written now. Becomes ``503``."""


class NewerKeys(KeysAway):
    """A newer eventmw has changed the tables; this one does not touch them."""


WAY_OUT: Final = (
    "Put it back from a backup. To give its keys up, take what is there now with `eventmw keys forget-store`, or begin a "
    "new store with `eventmw project create NAME --new-store`."
)


class KeysGone(KeysAway):
    """The store that the data directory had is not there any more, and no other takes its place by itself."""


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

    A data directory that had a key store keeps to it: tables that are missing then are not made anew.

    Raises:
        NewerKeys: a newer eventmw wrote them.
        KeysGone: the store that there was is not there any more.
        KeysAway: the database does not answer.
    """
    if (note := note_of(engine)) is None or (remembered := note.read()) is None:
        if (file := _file_of(engine)) is not None and note is not None:
            make_file(file)  # SQLite would make it for everybody to read
    else:
        check_same(engine, remembered)
    _TABLES.prepare(engine, migrations)


def note_of(engine: Engine) -> KeyNote | None:
    """Return the note of the data directory whose keys an engine of `eventmw.keys.place.keys_engine` opens."""
    note = engine.get_execution_options().get(NOTE)
    return note if isinstance(note, KeyNote) else None


def check_same(engine: Engine, remembered: Remembered) -> None:
    """Look whether the key store is the one that the data directory had.

    Raises:
        KeysGone: it is gone, is empty, or is another one.
        KeysAway: the database does not answer.
    """
    where = Note.of(engine.url).address
    file = _file_of(engine)
    if file is not None and not file.exists():  # before SQLite is asked, which would make an empty one
        raise KeysGone(f"the key store {file} is gone, and is not made anew by itself")
    with transaction(engine) as connection:
        found = None
        if inspect(connection).has_table(state.name):
            found = connection.execute(select(state.c.lineage)).scalar()
    if found is None:
        raise KeysGone(f"the key store in {where} is empty, and no new store is made in it by itself")
    if found != remembered.lineage:
        raise KeysGone(f"the key store in {where} is not the one that this site had")


def remember(engine: Engine, lineage: str, version: int) -> None:
    """Note which key store there is, once a key was made in it; a note that cannot be written is logged."""
    note = note_of(engine)
    if note is None or version <= 1 or not note.data_dir.is_dir():  # one in which nothing was made may be made anew
        return
    wanted, there = Remembered(lineage, version), note.read()
    if there == wanted or (there is not None and there.lineage == lineage and there.version > version):
        return
    try:
        note.write(wanted)
    except OSError as error:
        words = "it cannot be noted that there is a key store, so one that vanishes is not noticed: %s: %s"
        log.warning(words, note.data_dir, error.strerror)


def _file_of(engine: Engine) -> Path | None:
    is_file = engine.dialect.name == "sqlite" and engine.url.database not in {None, "", ":memory:"}
    return Path(str(engine.url.database)) if is_file else None


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
