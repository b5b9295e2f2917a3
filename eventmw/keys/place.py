"""Where a site's keys are: in a file of its data directory, or in the archive's PostgreSQL.

Layer: input and output.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError

from eventmw.archive.database import engine_of, sqlite_address
from eventmw.keys.note import KeyNote

FILE: Final = "keys.sqlite3"

NOTE: Final = "eventmw_key_note"
"""The option of an engine that holds the data directory's note of its key store."""


def file_of(data_dir: str | os.PathLike[str], archive: str | None) -> Path | None:
    """Return the file that keys are in; None when they are in the archive's PostgreSQL.

    Args:
        data_dir: the site's data directory.
        archive: the archive's address, as the setting has it.
    """
    return Path(data_dir).absolute() / FILE if archive is None or _backend(archive) == "sqlite" else None


def keys_engine(data_dir: str | os.PathLike[str], archive: str | None) -> Engine:
    """Return the engine of a site's keys; nothing is connected. See `eventmw.keys.schema.note_of`.

    The file is made when it is not there, for this user alone, unless the data directory had a key store before.

    Raises:
        ConfigError: the address is none that works here.
        OSError: the folder cannot be written.
    """
    file = file_of(data_dir, archive)
    if file is None:
        assert archive is not None
        return _noted(engine_of(archive), data_dir)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if KeyNote(file.parent).read() is None:
        make_file(file)
    return _noted(engine_of(sqlite_address(file), makes_file=False), data_dir)


def make_file(file: Path) -> None:
    """Make the file of a key store, for this user alone, unless it is there.

    Raises:
        OSError: the folder cannot be written.
    """
    with suppress(FileExistsError):  # SQLite would make it for everybody to read
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _noted(engine: Engine, data_dir: str | os.PathLike[str]) -> Engine:
    engine.update_execution_options(**{NOTE: KeyNote(Path(data_dir).absolute())})
    return engine


def _backend(address: str) -> str:
    try:
        return make_url(address).get_backend_name()
    except (ArgumentError, ValueError):
        return ""  # `engine_of` says what is wrong with it
