r"""How a `Record` is written: one line of JSON for what the server added, then the body's bytes as they are.

Layer: pure rules. The format is versioned by its first element; the journal around it neither reads nor changes it.

``[1, id, recorded_ms, dialect, credential, client_ip, indexes]\n<body>``: a version, and the fields of `Record` in order.
A record with ``browser`` has version 2 and that object at the end of the line.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import Final

import msgspec

from eventmw.event import Record

_VERSION: Final = 1
_WITH_BROWSER: Final = 2
_encode = msgspec.json.encode
_Line = tuple[int, str, int, str, str, str | None, tuple[int, ...] | None]
_BrowserLine = tuple[int, str, int, str, str, str | None, tuple[int, ...] | None, dict[str, str]]
_decode = msgspec.json.Decoder(_Line).decode
_decode_with_browser = msgspec.json.Decoder(_BrowserLine).decode
_BROWSER_LINE: Final = b"[%d," % _WITH_BROWSER


class Erased(Enum):
    """The type of `ERASED`, its only value."""

    ERASED = "erased"


ERASED: Final = Erased.ERASED
"""Stands in the place of an event whose person was erased: it holds nothing of it, not even its id."""


class UnreadableRecord(ValueError):  # noqa: N818 - a condition of the data
    """These bytes are not a record that this version can read."""


def encode(record: Record) -> bytes:
    """Return the record's bytes: ``decode(encode(record)) == record``."""
    if record.browser:
        return b"%b\n%b" % (_encode((_WITH_BROWSER, *record[:-2], record.browser)), record.body)
    return b"%b\n%b" % (_encode((_VERSION, *record[:-2])), record.body)


def decode(data: bytes) -> Record:
    """Return the record in these bytes.

    Raises:
        UnreadableRecord: they are damaged, or a newer version wrote them.
    """
    line, newline, body = data.partition(b"\n")
    try:
        if line.startswith(_BROWSER_LINE) and newline:
            whole = _decode_with_browser(line)
            return Record(*whole[1:7], body, whole[7])
        fields = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableRecord(f"not a record: {error}") from error
    if fields[0] != _VERSION or not newline:
        raise UnreadableRecord(
            f"record format {fields[0]} is not understood; this version reads formats {_VERSION} and {_WITH_BROWSER}"
        )
    return Record(*fields[1:], body)


def repeatable_id(credential: str, key: str) -> str:
    """Return the record's id of every request with this Idempotency-Key: the events' ids are made of it, and repeat too."""
    return hashlib.sha256(f"{credential}\0{key}".encode()).hexdigest()[:32]
