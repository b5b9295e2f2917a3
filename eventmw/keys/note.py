"""A note in the data directory that there is a key store, and which one: a store that vanished is not made anew in silence.

Layer: input and output. It needs none of the archive's libraries.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

FILE: Final = "keys.json"


class Remembered(NamedTuple):
    """The key store that this data directory had: `lineage` names it, and `version` is the last change that was seen."""

    lineage: str
    version: int


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
