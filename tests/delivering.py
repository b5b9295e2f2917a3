"""What the tests of the courier share: a clock that stands, records that are plain JSON, and a tool that packs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from eventmw.contract import BoundTool, Delivery, bind, verdict_by_status
from eventmw.effects import DONE, Drop, Effect, Packed, Send, Verdict, dead, retry
from eventmw.engine import Dispatch
from eventmw.event import Event
from eventmw.http import HttpReply, HttpRequest
from eventmw.journal import Journal
from eventmw.record import ERASED, Erased, UnreadableRecord

NOW_MS = 1_790_000_000_000
DEFAULTS = Delivery()


class StandingClock:
    """Time that moves when it is told to; chance that is always the same."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now_ms(self) -> int:
        return NOW_MS + round(1000 * self.passed_s)

    def monotonic_s(self) -> float:
        return 1000.0 + self.passed_s

    def stamp_ns(self) -> int:
        return round(1e9 * self.monotonic_s())

    def random(self) -> float:
        return 0.5

    def new_id(self, now_ms: int) -> str:
        return f"{now_ms:032x}"


def record(ids: Sequence[str], recorded_ms: int = NOW_MS, credential: str = "anonymous") -> bytes:
    return json.dumps({"credential": credential, "recorded_ms": recorded_ms, "ids": list(ids)}).encode()


def append(journal: Journal, ids: Sequence[str], recorded_ms: int = NOW_MS, credential: str = "anonymous") -> None:
    journal.append(record(ids, recorded_ms, credential), events=len(ids), recorded_ms=recorded_ms, stamp=1).result(1)


class JsonDispatcher:
    """Reads the records above and runs tools on their events. An event's name is the part of its id before the dash."""

    def __init__(self, tools: Iterable[object]) -> None:
        self.tools = tuple(bind(tool) for tool in tools)

    def events(self, record: bytes) -> Iterator[Event | Erased]:
        try:
            decoded = json.loads(record)
        except ValueError as error:
            raise UnreadableRecord(str(error)) from error
        for ident in decoded["ids"]:
            if ident == "damaged":
                raise UnreadableRecord("half of a record")
            if ident.startswith("erased"):
                yield ERASED
                continue
            when = decoded["recorded_ms"]
            yield Event(id=ident, name=ident.partition("-")[0], timestamp_ms=when, recorded_ms=when)

    def single(self, record: bytes, ordinal: int) -> bytes:
        decoded = json.loads(record)
        return json.dumps(decoded | {"ids": [decoded["ids"][ordinal]]}).encode()

    def credential(self, record: bytes) -> str:
        return str(json.loads(record)["credential"])

    def dispatch(self, tool: BoundTool, event: Event, /) -> Dispatch:
        effects: list[Effect] = list(tool.handle(event))
        sends = tuple(replace(effect, event_id=event.id) for effect in effects if isinstance(effect, Send))
        return Dispatch(sends, None if sends else "dropped", "" if sends else "not wanted")


@dataclass(frozen=True, slots=True)
class Batching:
    """Sends event ids, so many to a request. Names with a meaning: ``drop``, ``raise``, ``twice``, ``unpackable``."""

    url: str = "http://vendor.invalid/"
    id: str = "batching"
    per_request: int = 3
    delivery: Delivery = DEFAULTS

    def handle(self, event: Event) -> Iterable[Effect]:
        match event.name:
            case "drop":
                yield Drop("not wanted")
            case "raise":
                raise SystemExit("a tool may not stop a site")
            case "twice":
                yield Send(event.id + "/1")
                yield Send(event.id + "/2")
            case _:
                yield Send(event.id)

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
        for start in range(0, len(items), self.per_request):
            some = items[start : start + self.per_request]
            if any(send.payload.startswith("unpackable") for send in some):
                raise ValueError("this payload is a secret")
            body = json.dumps([send.payload for send in some]).encode()
            yield Packed(HttpRequest("POST", self.url, (("content-type", "application/json"),), body), some)

    def verdict(self, reply: HttpReply, items: Sequence[Send]) -> Sequence[Verdict]:
        if reply.status != 207:
            return verdict_by_status(reply, items)
        words = {"ok": DONE, "retry": retry("busy"), "bad": dead("bad")}
        return [words[word] for word in json.loads(reply.body)]


def placed(text: str) -> str:
    """Return a message without line, function and source line: «raised KeyError: 'x' (file.py)»."""
    return re.sub(r"\(([\w.-]+\.py):\d+( in .*)?\)$", r"(\1)", text)


def payloads(request: object) -> list[str]:
    """Return what a request of `Batching` carries."""
    assert isinstance(request, HttpRequest)
    return [str(payload) for payload in json.loads(request.body)]
