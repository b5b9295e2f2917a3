"""How the dialect answers: an id and a time for each event that was taken, an error object for everything else.

Layer: pure. Source: PROTOCOLS.md 3.1, with the four messages letter for letter; the shape of an error is ours::

    {"error": "Body JSON validation failed.", "details": [{"path": "/event_name", "code": "pattern", "message": "…"}]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from eventmw.errors import Fault, Refused
from eventmw.event import Record
from eventmw.http import Headers, Reply
from eventmw.protocols.eventbunker.events import event_id
from eventmw.protocols.eventbunker.judge import Judgement

BODY_FAILED: Final = "Body JSON validation failed."
INTERNAL: Final = "Error..."

_MESSAGES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("invalid_body", "invalid_json", "number_too_large"), BODY_FAILED),
    "internal_error": INTERNAL,
}
"""Code of a problem → its message, where the service has one. Of the others it is the problem's title."""

MAX_SHOWN: Final = 100
"""Details in one error object. Source: PROTOCOLS.md 2.3."""

MAX_DETAIL_CHARACTERS: Final = 24 * 1024
"""All details of one answer together: paths hold the sender's own names. Source: as above."""

_NO_STORE: Final = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))
_encode = msgspec.json.encode


class Tracked(msgspec.Struct, gc=False):
    """A request of which at least one event is accepted: what is to be kept, and what is answered once it is.

    Attributes:
        record: what the journal keeps.
        judgement: what became of each event.
        ids: the id of the event at each index, when the sender gave an Idempotency-Key; else empty.
        own_ids: (id, index) of all kept events, when the sender gave an Idempotency-Key.
        duplicates: the indexes of events that are known to be durable already.
        first_ms: index → when such an event was recorded.
    """

    record: Record
    judgement: Judgement
    ids: Sequence[str] = ()
    own_ids: Sequence[tuple[str, int]] = ()
    duplicates: Sequence[int] = ()
    first_ms: Mapping[int, int] = {}

    def taken_at(self, index: int) -> bytes:
        """Return the answer for the event at an index: of one that came before, the same as then."""
        recorded_ms = self.first_ms.get(index, self.record.recorded_ms)
        return b'{"unique_req_id":"%b","time_recorded":%d}' % (self.id_at(index).encode(), recorded_ms)

    def id_at(self, index: int) -> str:
        """Return the ``unique_req_id`` of the event at an index."""
        return self.ids[index] if self.ids else event_id(self.record.id, index)


def reply(tracked: Tracked, cors: Headers) -> Reply:
    """Return the answer to a request whose record has been kept: of an array, an array of the same length and order."""
    judgement = tracked.judgement
    if not judgement.is_batch:
        body = tracked.taken_at(0)
        return Reply(200, _headers(len(body), cors), body)
    answers = [
        _error(BODY_FAILED, judgement.invalid[index]) if index in judgement.invalid else tracked.taken_at(index)
        for index in range(judgement.count)
    ]
    body = b"[%b]" % b",".join(answers)
    headers = _headers(len(body), cors)
    if judgement.invalid:
        headers = (*headers, ("eventmw-rejected", str(len(judgement.invalid))))
    return Reply(200, headers, body)


def refuse(refused: Refused, cors: Headers) -> Reply:
    """Return the answer to a request that is refused as a whole.

    An ``unauthorized`` says its own message as its detail, since that names the header. An array of which no event is valid
    is answered by an array: one error object for each event.
    """
    if refused.code == "unauthorized":
        body = _error(refused.detail, refused.faults)
    elif any(fault.index is not None for fault in refused.faults):
        body = b"[%b]" % b",".join(_each(refused))
    else:
        own = Fault(None, "", "", refused.code, refused.detail)
        body = _error(message_of(refused), refused.faults or (own,))
    return Reply(refused.status, (*_headers(len(body), cors), *refused.headers), body)


def message_of(refused: Refused) -> str:
    """Return what stands at ``error`` of a refusal that is no ``unauthorized``."""
    return _MESSAGES.get(refused.code, refused.title)


def _each(refused: Refused) -> Iterable[bytes]:
    faults: dict[int, list[Fault]] = {index: [] for index in range(refused.events)}
    for fault in refused.faults:
        if fault.index is not None:
            faults[fault.index].append(fault)
    return (_error(BODY_FAILED, found) for found in faults.values())


def _error(message: str, faults: Sequence[Fault]) -> bytes:
    return _encode({"error": message, "details": [_detail(fault) for fault in _within(faults)]})


def _detail(fault: Fault) -> dict[str, Any]:
    return {"path": fault.path, "code": fault.code, "message": fault.message}


def _within(faults: Sequence[Fault]) -> Sequence[Fault]:
    room = MAX_DETAIL_CHARACTERS
    for shown, fault in enumerate(faults[:MAX_SHOWN]):
        room -= len(fault.path) + len(fault.message)
        if room < 0:
            return faults[:shown]
    return faults[:MAX_SHOWN]


@lru_cache(maxsize=512)
def _headers(length: int, cors: Headers) -> Headers:
    """Return the fields of an answer. Few answers differ in length, so most often the same ones serve again."""
    return (("content-type", "application/json"), ("content-length", str(length)), *_NO_STORE, *cors)
