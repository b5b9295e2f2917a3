"""Where a site's archive is: in a file of its data directory, or in the database that the setting `archive` names.

Layer: input and output.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from eventmw.archive.database import engine_of, sqlite_address

FILE: Final = "archive.sqlite3"


def archive_engine(data_dir: str | os.PathLike[str], archive: str | None) -> Engine:
    """Return the engine of a site's archive. Nothing is made and nothing is connected.

    Raises:
        ConfigError: the address is none that works here.
    """
    address = sqlite_address(Path(data_dir).absolute() / FILE) if archive is None else archive
    return engine_of(address, makes_file=False)


def file_of(engine: Engine) -> Path | None:
    """Return the file of a SQLite archive; None for another, and for one in memory."""
    if engine.dialect.name != "sqlite" or not engine.url.database or engine.url.database == ":memory:":
        return None
    return Path(engine.url.database)


def stamp_of(engine: Engine) -> tuple[int, int] | None:
    """Return what tells a SQLite archive from another file in its place; None of one that is gone or empty, or no file."""
    if (file := file_of(engine)) is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size else None


def make_file(engine: Engine) -> None:
    """Make the file of a SQLite archive, for this user alone, unless it is there.

    Raises:
        OSError: the folder cannot be written.
    """
    if (file := file_of(engine)) is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # SQLite would make it for everybody to read
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
