"""Which data directory is meant, and which view looks into it.

Layer: input and output.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from eventmw.control.live import LiveView
from eventmw.control.view import View

DATA_DIR: Final = "EVENTMW_DATA_DIR"
DEFAULT_DATA_DIR: Final = "eventmw-data"


def resolved(data_dir: str | os.PathLike[str] | None) -> Path:
    """Return the data directory that is meant: the one given, else ``$EVENTMW_DATA_DIR``, else ``eventmw-data``."""
    return Path(data_dir or os.environ.get(DATA_DIR) or DEFAULT_DATA_DIR).absolute()


def look_into(data_dir: str | os.PathLike[str] | None = None) -> View:
    """Return the view of a data directory. Nothing is opened yet."""
    return LiveView(resolved(data_dir))
