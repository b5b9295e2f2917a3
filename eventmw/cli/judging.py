"""How a site would judge a payload: of the HTTP Events API, or tracked events of the EventBunker API.

Layer: people. The judges are those of the site; nothing is kept, and no database is asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from eventmw import record as records
from eventmw.assembly import assembled
from eventmw.config import Config
from eventmw.engine import Engine
from eventmw.errors import Fault, Refused
from eventmw.event import Record
from eventmw.intake.door import ANONYMOUS, Visit
from eventmw.protocols import eventbunker
from eventmw.protocols.eventbunker import AnyName, Context, Judge, Sender, Writer

Judged = dict[str, Any]
"""``{"refused": n, "problem": …, "events": [{"index", "verdict", "name", "tools", "notes"}]}``; where there is a problem,
the events are what is wrong where."""


def of_events(config: Config, body: bytes) -> Judged:
    """Judge a payload of the HTTP Events API."""
    zaraz, engine = assembled(config)
    try:
        accepted = zaraz.accept(
            body, Visit(ANONYMOUS, "", None, "", len(body), None), _arrival(), engine, lambda: False
        )
    except Refused as refused:
        return _refused(refused, refused.title)
    judgement = accepted.judgement
    faults_of: dict[int, list[Fault]] = {}
    for note in judgement.notes:
        faults_of.setdefault(note.index, []).extend([note.fault] if note.fault else [])
    return _judged(judgement.count, judgement.invalid, faults_of, accepted.record, engine)


def of_tracked(config: Config, body: bytes) -> Judged:
    """Judge a body of the track API, one event or an array, as for a key that is bound to no customer.

    How many names a project has is not asked.
    """
    _, engine = assembled(config)
    judge = Judge(max_events=config.limits.max_events, max_depth=config.limits.max_depth)
    sender = Sender(ANONYMOUS, Writer(""), Context(None, None, None, None, {}))
    try:
        tracked = eventbunker.accept(body, sender, _arrival(), judge, AnyName())
    except Refused as refused:
        return _refused(refused, eventbunker.message_of(refused))
    judgement = tracked.judgement
    faults_of = {index: [*faults] for index, faults in judgement.invalid.items()}
    for fault in judgement.warnings:
        faults_of.setdefault(fault.index or 0, []).append(fault)
    return _judged(judgement.count, judgement.invalid, faults_of, tracked.record, engine)


def _arrival() -> tuple[str, int]:
    return uuid4().hex, time.time_ns() // 1_000_000


def _refused(refused: Refused, message: str) -> Judged:
    faults = [fault.as_json() for fault in refused.faults]
    problem = f"{message.rstrip('.')}. {refused.detail}"
    return {"refused": max(1, len(faults)), "problem": problem, "events": faults}


def _judged(
    count: int,
    invalid: Iterable[int],
    faults_of: Mapping[int, Sequence[Fault]],
    record: Record,
    engine: Engine,
) -> Judged:
    refused = frozenset(invalid)
    read = engine.events(records.encode(record))
    kept = (event for event in read if not isinstance(event, records.Erased))
    events: list[Judged] = []
    for index in range(count):
        event = None if index in refused else next(kept)
        events.append(
            {
                "index": index,
                "verdict": "refused" if event is None else "accepted",
                "name": None if event is None else event.name,
                "tools": {} if event is None else engine.decisions(event),
                "notes": [fault.as_json() for fault in faults_of.get(index, ())],
            }
        )
    return {"refused": len(refused), "problem": None, "events": events}
