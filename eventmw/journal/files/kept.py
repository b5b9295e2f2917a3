"""What a leader leaves for the next: small files with a checksum. Whoever finds one damaged makes it anew.

Layer: input and output. Not for what may not be lost: that is in `epochs`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final
from zlib import crc32

from eventmw.journal.files import disk

log = logging.getLogger("eventmw.journal")

_CHECK_BYTES: Final = 4


class Kept:
    """The files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, data: bytes | None) -> None:
        """Keep bytes under a name, or nothing any more. A disk that refuses costs the next leader some work."""
        try:
            if data is None:
                disk.remove(self._folder / name)
            else:
                disk.put(self._folder / name, _checked(data))
        except OSError as error:
            log.debug("%s could not be kept: %s", name, error.strerror or error)

    def get(self, name: str) -> bytes | None:
        """Return what was kept under a name, if it is whole."""
        path = self._folder / name
        try:
            checked = disk.read(path)
        except OSError:
            checked = b""
        if checked is None:
            return None
        data = checked[:-_CHECK_BYTES]
        if _checked(data) == checked:
            return data
        log.warning("%s is damaged, and is made anew", path)
        return None


def _checked(data: bytes) -> bytes:
    """Return bytes with their checksum."""
    return data + crc32(data, len(data)).to_bytes(_CHECK_BYTES, "little")
