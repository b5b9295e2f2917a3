"""Journal records as the runtime writes them, and the engine that reads them, without a server."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from benchmarks.payload import event
from eventmw import record as records
from eventmw.config import Config, Limits
from eventmw.engine import Engine
from eventmw.event import Event, Record
from eventmw.protocols.zaraz import Judge, Options, Zaraz


def engine(tools: Sequence[object]) -> Engine:
    """Return the engine of a site with these tools."""
    config, limits = Config(path="/zaraz/api", journal="memory", tools=tools), Limits()
    judge = Judge(max_events=limits.max_events, max_depth=limits.max_depth, strict=False)
    return Engine(config.bound_tools, [Zaraz(judge, Options(config.batch, config.receipt, config.envelope))])


def record(first: int, count: int, recorded_ms: int) -> bytes:
    """Return a record of `count` events, numbered from `first` in their property ``number``; its id is made of that."""
    chance = random.Random(first)
    events = [numbered(chance, first + at) for at in range(count)]
    body = msgspec.json.encode({"events": events})
    ident = f"{first:032x}"
    return records.encode(
        Record(id=ident, recorded_ms=recorded_ms, dialect="zaraz", credential="anonymous", body=body),
    )


def numbered(chance: random.Random, number: int) -> dict[str, object]:
    """Return an Event Object whose first property is its number."""
    whole = event(chance)
    return whole | {"client": {"number": number} | whole["client"]}


def number_of(engine: Engine, record: bytes) -> int:
    """Return the number of the one event in a record, as `numbered` gave it."""
    [found] = engine.events(record)
    assert isinstance(found, Event), "nobody is erased here"
    return int(str(found.properties["number"]))
