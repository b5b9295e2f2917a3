"""Which data directory is meant, and which view looks into it.

Layer: input and output.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from eventmw.config import DEFAULT_DATA_DIR
from eventmw.control.live import LiveView
from eventmw.control.sockets import folder_of, found, is_answered
from eventmw.control.view import View

DATA_DIR: Final = "EVENTMW_DATA_DIR"
STREAMS: Final = "w"
"""The folder that a journal in files has. Source: JOURNAL.md «Files in `data_dir`»."""


def resolved(data_dir: str | os.PathLike[str] | None) -> Path:
    """Return the data directory that is meant: the one given, else ``$EVENTMW_DATA_DIR``, else ``eventmw-data``."""
    return Path(data_dir or os.environ.get(DATA_DIR) or DEFAULT_DATA_DIR).absolute()


def look_into(data_dir: str | os.PathLike[str] | None = None) -> View:
    """Return the view of a data directory: of the journal in its files, or of the processes that keep one in memory.

    Nothing is opened yet.
    """
    folder = resolved(data_dir)
    if _is_in_memory(folder):
        return LiveView(folder)
    from eventmw.control.folder import FolderView  # noqa: PLC0415 - brings the engine

    return FolderView(folder)


def _is_in_memory(folder: Path) -> bool:
    """Return whether there is no journal in files, or only an old one, beside a site that keeps its events in memory."""
    try:
        if not (folder / STREAMS).is_dir():
            return True
        if not any(map(is_answered, found(folder_of(folder)))):
            return False
    except PermissionError:
        return True  # whoever asks is told so there
    from eventmw.control.folder import members_of  # noqa: PLC0415 - as above

    return not members_of(folder)
