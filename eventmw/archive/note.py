"""A note in the data directory: which archive its site uses, without a password. Commands read it, a site writes it.

Layer: input and output. It needs none of the archive's libraries.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlalchemy import URL

_PORT: Final = 5432
"""PostgreSQL's, where none is said."""

FILE: Final = "archive.json"

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
