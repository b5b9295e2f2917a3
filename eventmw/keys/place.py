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

FILE: Final = "keys.sqlite3"


def file_of(data_dir: str | os.PathLike[str], archive: str | None) -> Path | None:
    """Return the file that keys are in; None when they are in the archive's PostgreSQL.

    Args:
        data_dir: the site's data directory.
        archive: the archive's address, as the setting has it.
    """
    return Path(data_dir).absolute() / FILE if archive is None or _backend(archive) == "sqlite" else None


def keys_engine(data_dir: str | os.PathLike[str], archive: str | None) -> Engine:
    """Return the engine of a site's keys. The file is made when it is not there, for this user alone; nothing is connected.

    Raises:
        ConfigError: the address is none that works here.
        OSError: the folder cannot be written.
    """
    file = file_of(data_dir, archive)
    if file is None:
        assert archive is not None
        return engine_of(archive)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):  # SQLite would make it for everybody to read
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    return engine_of(sqlite_address(file))


def _backend(address: str) -> str:
    try:
        return make_url(address).get_backend_name()
    except (ArgumentError, ValueError):
        return ""  # `engine_of` says what is wrong with it
