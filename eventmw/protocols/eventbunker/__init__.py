"""The EventBunker dialect: the track API, from a body to a record, from a record to events, from both to an answer.

Layer: open folder, pure. Source: the seed ``eventbunker-track-event.txt`` and PROTOCOLS.md 3.1; all they leave open is ours.

``accept`` and ``judge`` say which events are valid, ``events`` records them and makes events of records, ``generated`` and
``agents`` work out what the server adds, ``answer`` writes ids and error objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from eventmw import strictjson
from eventmw.event import Record
from eventmw.protocols.eventbunker.answer import Tracked, message_of, refuse, reply
from eventmw.protocols.eventbunker.events import NAME, Context, Reader, body_of, event_id
from eventmw.protocols.eventbunker.judge import AnyName, Judge, Judgement, Names, Writer
from eventmw.record import RepeatableIds

__all__ = [
    "NAME",
    "AnyName",
    "Context",
    "Judge",
    "Judgement",
    "Names",
    "Reader",
    "Sender",
    "Tracked",
    "Writer",
    "accept",
    "event_id",
    "message_of",
    "refuse",
    "reply",
]


class Sender(msgspec.Struct, frozen=True, gc=False):
    """Who sent a request.

    Attributes:
        credential: ``<project id>/<key id>``: duplicates are judged by it.
        writer: for whose project and customer it writes.
        context: what is recorded of it.
        idempotency_key: as sent, or None.
        own_id: the id by which the site's own code names its one event, whatever that holds; or None.
    """

    credential: str
    writer: Writer
    context: Context
    idempotency_key: str | None = None
    own_id: str | None = None


def accept(body: bytes, sender: Sender, arrival: tuple[str, int], judge: Judge, names: Names) -> Tracked:
    """Judge a request, and make its record.

    Args:
        body: the JSON text, inflated.
        sender: who sent it.
        arrival: what the server adds: 32 hexadecimal digits, and the time in milliseconds since 1970.
        judge: what accepts events.
        names: who counts the names of events.

    Raises:
        Refused: nothing of it is accepted.
    """
    record_id, recorded_ms = arrival
    body = strictjson.without_bom(body)
    judgement = judge(body, sender.writer, names, recorded_ms)
    indexes: tuple[int, ...] | None = None
    events: Sequence[bytes | msgspec.Raw] = [body.strip()[1:-1] if judgement.is_batch else body]
    if judgement.invalid:
        indexes = tuple([index for index in range(judgement.count) if index not in judgement.invalid])
        events = [judgement.raws[index] for index in indexes]
    elif judgement.raws:
        events = judgement.raws
    context, ids = sender.context, list[str]()
    if sender.own_id is not None:
        record_id, ids = _repeatable(sender.credential, sender.own_id, [None], 1, [0])
    elif sender.idempotency_key is not None:
        of_all = range(judgement.count) if indexes is None else indexes
        decoded = strictjson.decode(b"[%b]" % b",".join(map(bytes, events)))
        record_id, ids = _repeatable(sender.credential, sender.idempotency_key, decoded, judgement.count, of_all)
    if ids:
        context = msgspec.structs.replace(context, ids=ids)
    kept = body_of(context, events)
    record = Record(record_id, recorded_ms, NAME, sender.credential, None, indexes, kept)
    return Tracked(record, judgement, ids, [(ident, index) for index, ident in enumerate(ids) if ident])


def _repeatable(
    credential: str, key: str, decoded: Sequence[Any], count: int, indexes: Sequence[int]
) -> tuple[str, list[str]]:
    """Return the record's id, and the id of the event at each index; "" at the index of a refused event."""
    repeatable = RepeatableIds(credential, key, decoded)
    ids = [""] * count
    for index, (digest, number) in zip(indexes, repeatable.events, strict=True):
        ids[index] = event_id(digest, number)
    return repeatable.request, ids
