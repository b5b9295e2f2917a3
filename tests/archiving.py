"""What the tests of the archive share: records of tracked events, a dialect that reads them, and rows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import select

from eventmw import record as records
from eventmw.archive.rows import DIALECT
from eventmw.archive.store import Archive
from eventmw.archive.tables import events
from eventmw.archive.transactions import transaction
from eventmw.engine import Engine
from eventmw.event import Event, Record
from eventmw.journal import Journal
from eventmw.record import ERASED, Erased

NOW_MS = 1_790_000_000_000
PATIENCE_S = 30.0


class TrackReader:
    """Reads records as the track API writes them: ``{"context": {…}, "events": [{…}]}``."""

    name = DIALECT

    def events(self, record: Record) -> Iterator[Event | Erased]:
        for index, fields in enumerate(json.loads(record.body)["events"]):
            if fields == {"event_name": 0}:
                yield ERASED
                continue
            if fields["event_name"] == "unreadable":
                raise ValueError("a value that must not be logged")
            free = dict(fields)
            yield Event(
                id=f"{record.id}-{index}" if index else record.id,
                name=free.pop("event_name"),
                timestamp_ms=free.pop("timestamp", record.recorded_ms),
                user_id=free.pop("customer_identifier", None),
                properties=free,
                recorded_ms=record.recorded_ms,
                dialect=DIALECT,
            )

    def single(self, record: Record, ordinal: int) -> Record:
        body = json.loads(record.body)
        return record._replace(body=json.dumps(body | {"events": [body["events"][ordinal]]}).encode())


class OtherReader(TrackReader):
    """Reads the same, of another dialect."""

    name = "zaraz"


def engine() -> Engine:
    return Engine([], [TrackReader(), OtherReader()])


def track(
    journal: Journal,
    ident: str,
    *fields: dict[str, Any],
    project_id: str = "p1",
    dialect: str = DIALECT,
    recorded_ms: int = NOW_MS,
) -> None:
    """Append one request, and wait until it is kept."""
    body = json.dumps({"context": {}, "events": fields or ({"event_name": "seen"},)}).encode()
    record = Record(ident, recorded_ms, dialect, f"{project_id}/key-1", body=body)
    journal.append(
        records.encode(record),
        events=len(fields) or 1,
        recorded_ms=recorded_ms,
        stamp=time.monotonic_ns(),
    ).result(PATIENCE_S)


def row(ident: str, **columns: Any) -> dict[str, Any]:
    return {
        "project_id": "p1",
        "event_id": ident,
        "time_ms": NOW_MS,
        "recorded_ms": NOW_MS,
        "event_name": "seen",
        "customer_identifier": None,
        "metric_name": None,
        "fields": {},
    } | columns


def rows(archive: Archive) -> Sequence[dict[str, Any]]:
    with transaction(archive.engine) as connection:
        return [dict(found) for found in connection.execute(select(events).order_by(events.c.event_id)).mappings()]


def idents(archive: Archive) -> list[str]:
    with transaction(archive.engine) as connection:
        return sorted(connection.scalars(select(events.c.event_id)))
