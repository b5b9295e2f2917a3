"""A note in the data directory that there is a key store, and which one: a store that vanished is not made anew in silence.

Layer: input and output. It needs none of the archive's libraries.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from eventmw.archive.note import damage_of

FILE: Final = "keys.json"


class Remembered(NamedTuple):
    """The key store that this data directory had: `lineage` names it, and `version` is the last change that was seen."""

    lineage: str
    version: int


def _state_in(file: Path) -> Remembered | None:
    """Return which store a SQLite file is; None where nobody can tell now."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=1.0)) as connection:
            return Remembered(*connection.execute("SELECT lineage, version FROM eventmw_keys_state").fetchone())
    except (sqlite3.Error, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class KeyNote:
    """The note of one data directory. It holds no secret."""

    data_dir: Path

    def read(self) -> Remembered | None:
        """Return which store there was; None when there was none, or the note cannot be read."""
        try:
            found: Any = json.loads((self.data_dir / FILE).read_bytes())
            lineage, version = found["lineage"], found["version"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return Remembered(lineage, version) if isinstance(lineage, str) and isinstance(version, int) else None

    def trouble(self, file: Path) -> str:
        """Return what is wrong with the SQLite file of the key store, as far as can be seen without opening it for good."""
        if damage := damage_of(file):
            return f"{file} {damage}"
        remembered, found = self.read(), _state_in(file)
        if remembered is None or found is None:
            return ""
        if found.lineage != remembered.lineage:
            return f"{file} is not the key store that this site had"
        return f"{file} is older than the key store that this site had" if found.version < remembered.version else ""

    def write(self, remembered: Remembered) -> None:
        """Write the note. Several processes may do so at once.

        Raises:
            OSError: the folder cannot be written.
        """
        draft = self.data_dir / f".{FILE}.{os.getpid()}-{os.urandom(4).hex()}"
        try:
            fd = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w") as file:
                json.dump(remembered._asdict(), file)
                file.flush()
                os.fsync(fd)  # after a power cut the note must not be missing where keys are
            if (note := self.data_dir / FILE).is_dir() and not note.is_symlink():
                note.rename(note.with_name(f"{FILE}.unreadable-{os.urandom(4).hex()}"))
            draft.replace(note)
        finally:
            draft.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove the note: the store that is there from here on is the right one, and where there is none, one is made."""
        (self.data_dir / FILE).unlink(missing_ok=True)
