"""A note in the data directory: which archive its site uses, without a password. Commands read it, a site writes it.

Layer: input and output. It needs none of the archive's libraries.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from sqlalchemy import URL

_PORT: Final = 5432
"""PostgreSQL's, where none is said."""

FILE: Final = "archive.json"
_FILE: Final = "sqlite:///"

_PLACES: Final = frozenset({"host", "port", "service"})
"""What of an address's parameters says where the server is. Any other may be or name a secret: `password`, `passfile`."""


@dataclass(frozen=True, slots=True)
class Note:
    """Which archive the site of a data directory uses.

    Attributes:
        address: its address as far as it is no secret; None: the file of the data directory.
        is_whole: whether that is all of it, so that it opens the archive.
    """

    address: str | None
    is_whole: bool = True

    @classmethod
    def of(cls, url: URL) -> Note:
        """Return what may be written down of an address."""
        if url.get_backend_name() == "sqlite":
            file = url.database and url.database != ":memory:" and str(Path(url.database).absolute())
            return cls(f"sqlite:///{file}") if file else cls("sqlite://", is_whole=False)
        query = {name: value for name, value in url.query.items() if name in _PLACES}
        shown = url.create(url.drivername, url.username, None, url.host, url.port, url.database, query)
        return cls(shown.render_as_string(hide_password=False), is_whole=shown == url)

    def is_of(self, url: URL | None) -> bool:
        """Return whether an address leads to the archive of the note, by whatever driver, as whichever user."""
        from sqlalchemy import make_url  # noqa: PLC0415 - of an extra

        if url is None or self.address is None:
            return url is None and self.address is None
        return _place(make_url(self.address)) == _place(make_url(Note.of(url).address or ""))


def _place(url: URL) -> tuple[object, ...]:
    return url.get_backend_name(), url.host, url.port or _PORT, url.database, dict(url.query)


_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100


def damage_of(file: Path) -> str:
    """Return what can be seen to be wrong with a SQLite file without opening it as one; "" when nothing is.

    Source: sqlite.org/fileformat.html, «The Database Header».
    """
    try:
        with file.open("rb") as opened:
            head, size = opened.read(_HEADER_BYTES), os.fstat(opened.fileno()).st_size
    except FileNotFoundError:
        return "is gone"
    except IsADirectoryError:
        return "is a folder"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not head:
        return "is empty"
    if len(head) < _HEADER_BYTES or not head.startswith(_MAGIC):
        return "is no SQLite database"
    page_bytes = int.from_bytes(head[16:18]) if head[16:18] != b"\0\1" else 65_536
    is_counted = head[24:28] == head[92:96]
    return "is cut off" if is_counted and int.from_bytes(head[28:32]) * page_bytes > size else ""


def rows_in(file: Path | None, journal: str) -> int | None:
    """Return how many rows of a journal a SQLite archive says that it has; None where nobody can tell now."""
    if file is None:
        return None
    wanted = "SELECT seq FROM eventmw_archive_cursors WHERE journal = ? AND stream = ''"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=1.0)) as connection:
            found = connection.execute(wanted, (journal,)).fetchone()
    except sqlite3.Error:
        return None
    return 0 if found is None else int(found[0])


def file_in(data_dir: Path, name: str) -> Path | None:
    """Return the file of a data directory that a store is in; None: the note says that it is in PostgreSQL."""
    found = read(data_dir)
    is_elsewhere = found is not None and found.address is not None and not found.address.startswith("sqlite")
    return None if is_elsewhere else data_dir / name


def archive_file(data_dir: Path) -> Path | None:
    """Return the file that the archive of a data directory is in; None where it is in no file, or nobody knows."""
    found = read(data_dir)
    if found is None or found.address is None:
        return file_in(data_dir, "archive.sqlite3")
    return Path(found.address.removeprefix(_FILE)) if found.address.startswith(_FILE) else None


def read(data_dir: Path) -> Note | None:
    """Return the note of a data directory; None when there is none that can be read."""
    try:
        found: Any = json.loads((data_dir / FILE).read_bytes())
        address, is_whole = found["archive"], found["is_whole"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Note(address, is_whole is True) if address is None or isinstance(address, str) else None


def write(data_dir: Path, note: Note) -> None:
    """Write the note, unless it is there. Processes may do so at once.

    Raises:
        OSError: the folder cannot be written.
    """
    if read(data_dir) == note:
        return
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = data_dir / f"{FILE}.{os.getpid()}"
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump({"archive": note.address, "is_whole": note.is_whole}, file)
        draft.replace(data_dir / FILE)
    finally:
        draft.unlink(missing_ok=True)
