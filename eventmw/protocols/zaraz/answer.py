"""How the dialect answers: Result Objects and receipt, or a problem document.

Layer: pure. Source: PROTOCOLS.md 2.2 and 2.3; RFC 9457 for problems.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Literal, cast

import msgspec

from eventmw.errors import Fault, Refused
from eventmw.event import Record
from eventmw.http import Headers, Reply
from eventmw.protocols.zaraz.judge import Judgement

MAX_SHOWN_FAULTS: Final = 100
MAX_FAULT_BYTES: Final = 24 * 1024
"""Keeps a whole problem document under 32 KB. Source: PROTOCOLS.md 2.3."""

PROBLEM_TYPE: Final = "urn:eventmw:problem:"
_NO_STORE: Final = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))
_encode = msgspec.json.encode

Entry = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How the dialect answers; see the parameters of the same names of `eventmw.EventsMiddleware`."""

    batch: Literal["independent", "atomic"] = "independent"
    receipt: Literal["brief", "full", False] = "brief"
    envelope: Literal["object", "array"] = "object"

    @cached_property
    def all_or_nothing(self) -> bool:
        """Whether one bad event refuses the request: where an answer could not tell of it, none is accepted."""
        return self.batch == "atomic" or self.receipt is False or self.envelope == "array"

    @cached_property
    def tells_all(self) -> bool:
        """Whether the receipt has an entry for every event."""
        return self.receipt == "full"


class Accepted(msgspec.Struct, gc=False):
    """A request of which at least one event is accepted: what is to be kept, and what is answered once it is.

    Attributes:
        record: what the journal keeps.
        judgement: what became of each event.
        results: the Result Objects, encoded and joined by commas.
        own_ids: (id, index) of events that may come twice: with the sender's id, or all when it sent an Idempotency-Key.
        tools: for a full receipt, what the door decided for each accepted event and tool.
        duplicates: the indexes of events that are known to be durable already.
    """

    record: Record
    judgement: Judgement
    results: bytes
    own_ids: Sequence[tuple[str, int]] = ()
    tools: Mapping[int, Mapping[str, str]] = {}
    duplicates: Sequence[int] = ()

    def event_id(self, index: int) -> str:
        """Return the id of the event at `index`: the sender's, or one made of the receipt's id."""
        return self.judgement.ids.get(index) or f"{self.record.id}-{index}"

    @property
    def numbered(self) -> Container[int]:
        """The indexes of the kept events whose ids are ``<receipt id>-<index>``."""
        kept = range(self.judgement.count) if self.record.indexes is None else self.record.indexes
        return kept if not self.judgement.ids else frozenset(kept) - self.judgement.ids.keys()


def reply(accepted: Accepted, options: Options, durability: str, cors: Headers) -> Reply:
    """Return the answer to a request whose record has been kept: ``len(results) == len(events)``, same order."""
    if options.envelope == "array":
        body = b"[%b]" % accepted.results
    elif options.receipt is False:
        body = b'{"results":[%b]}' % accepted.results
    else:
        body = b'{"results":[%b],"receipt":%b}' % (accepted.results, _receipt(accepted, durability, options))
    headers = _headers("application/json", len(body), cors)
    if rejected := len(accepted.judgement.invalid):
        headers = (*headers, ("eventmw-rejected", str(rejected)))
    return Reply(200, headers, body)


class _Receipt(msgspec.Struct, omit_defaults=True, gc=False):
    """The receipt as it is written, its keys in this order."""

    id: str
    time_recorded: int
    durability: str
    accepted: int
    rejected: int
    events: list[Entry] | None = None


def _receipt(accepted: Accepted, durability: str, options: Options) -> bytes:
    record, judgement = accepted.record, accepted.judgement
    refused = len(judgement.invalid)
    receipt = _Receipt(record.id, record.recorded_ms, durability, judgement.count - refused, refused)
    if judgement.notes or accepted.duplicates or options.tells_all:
        entries = [*_exceptions(accepted), *(_others(accepted) if options.tells_all else ())]
        receipt.events = sorted(entries, key=lambda entry: cast(int, entry["index"]))
    return _encode(receipt)


def _exceptions(accepted: Accepted) -> Iterator[Entry]:
    for note in accepted.judgement.notes:
        fault = {} if note.fault is None else note.fault.as_json()
        yield _entry(accepted, note.index, note.status) | {key: fault[key] for key in fault if key != "index"}
    for index in accepted.duplicates:
        yield _entry(accepted, index, "duplicate")


def _others(accepted: Accepted) -> Iterator[Entry]:
    told = {note.index for note in accepted.judgement.notes} | set(accepted.duplicates)
    return (_entry(accepted, index, "accepted") for index in range(accepted.judgement.count) if index not in told)


def _entry(accepted: Accepted, index: int, status: str) -> Entry:
    entry: Entry = {"index": index, "id": accepted.event_id(index), "status": status}
    return entry | {"tools": accepted.tools[index]} if index in accepted.tools else entry


def refuse(refused: Refused, cors: Headers) -> Reply:
    """Return the answer to a request that was refused as a whole."""
    problem: dict[str, Any] = {
        "type": PROBLEM_TYPE + refused.code,
        "title": refused.title,
        "status": refused.status,
        "detail": refused.detail,
        "code": refused.code,
    }
    shown = _within(refused.faults)
    if shown:
        problem["errors"] = [fault.as_json() for fault in shown]
    if omitted := refused.omitted + len(refused.faults) - len(shown):
        problem["errors_omitted"] = omitted
    body = _encode(problem)
    return Reply(refused.status, (*_headers("application/problem+json", len(body), cors), *refused.headers), body)


def _within(faults: Sequence[Fault]) -> Sequence[Fault]:
    room = MAX_FAULT_BYTES
    for shown, fault in enumerate(faults[:MAX_SHOWN_FAULTS]):
        room -= len(_encode(fault.as_json()))
        if room < 0:
            return faults[:shown]
    return faults[:MAX_SHOWN_FAULTS]


@lru_cache(maxsize=512)
def _headers(content_type: str, length: int, cors: Headers) -> Headers:
    """Return the fields of an answer. Few answers differ in length, so most often the same ones serve again."""
    return (("content-type", content_type), ("content-length", str(length)), *_NO_STORE, *cors)
