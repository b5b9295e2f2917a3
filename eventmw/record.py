r"""How a `Record` is written: one line of JSON for what the server added, then the body's bytes as they are.

Layer: pure rules. The format is versioned by its first element; the journal around it neither reads nor changes it.

``[1, id, recorded_ms, dialect, credential, client_ip, indexes]\n<body>``: a version, and the fields of `Record` in order.
A record with ``browser`` has version 2 and that object at the end of the line.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

import msgspec

from eventmw.event import Record
from eventmw.jsontext import canonical

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


class RepeatableIds:
    """The ids of a request with an Idempotency-Key, and of its events: the same key with the same events has the same ids.

    They are functions of the credential, the key and what each event means, so another event under the same key is another
    event. Where an event stands in its request does not count, so that a retry may come in another order or have grown;
    equal events of one request are told apart by their number among them.

    Args:
        credential: whose key it is.
        key: the Idempotency-Key.
        events: the decoded events of the request, in order.

    Attributes:
        request: the record's id, 32 hexadecimal digits; that of the event when there is only one.
        events: (32 hexadecimal digits, the number among equal events) of each event, in order.
    """

    def __init__(self, credential: str, key: str, events: Iterable[Any]) -> None:
        scope = f"{credential}\0{key}".encode()
        digests = [hashlib.sha256(canonical(event)).digest() for event in events]
        times: Counter[bytes] = Counter()
        self.request = _short_id(scope, digests)
        self.events: list[tuple[str, int]] = []
        for digest in digests:
            self.events.append((_short_id(scope, [digest]), times[digest]))
            times[digest] += 1


def _short_id(scope: bytes, digests: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\0".join((scope, *digests))).hexdigest()[:32]
