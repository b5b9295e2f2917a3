"""The archive's tables, the same on SQLite and on PostgreSQL.

Layer: input and output (it names a library of an extra, and touches nothing).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, MetaData, String, Table
from sqlalchemy.dialects.postgresql import JSONB

_JSON: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

metadata: Final = MetaData()

events: Final = Table(
    "eventmw_events",
    metadata,
    Column("project_id", String, primary_key=True),
    Column("event_id", String, primary_key=True),
    Column("time_ms", BigInteger, nullable=False),  # when it happened, UTC, milliseconds since 1970
    Column("recorded_ms", BigInteger, nullable=False),  # when it was accepted
    Column("event_name", String, nullable=False),
    Column("customer_identifier", String),
    Column("metric_name", String),
    Column("fields", _JSON, nullable=False),  # the free fields, and the generated ones, whose names start with `_`
    Index("eventmw_events_by_time", "project_id", "time_ms", "event_id"),  # the order in which a deletion goes
)
"""Every tracked event once: ``(project_id, event_id)`` is unique, whatever crashes, is replayed or comes twice."""

state: Final = Table(
    "eventmw_archive_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # there is one row: 1
    Column("schema_version", Integer, nullable=False),
    Column("changed", BigInteger, nullable=False),  # counts what changed of `names` and `deletions`
    Column("floor", BigInteger, nullable=False),  # who knows no more than this reads them whole
)
"""Which version these tables have, and by which number others notice what is new."""

cursors: Final = Table(
    "eventmw_archive_cursors",
    metadata,
    Column("journal", String, primary_key=True),  # names one data folder
    Column("stream", String, primary_key=True),
    Column("first", BigInteger, nullable=False),  # the events of all records from this one
    Column("seq", BigInteger, nullable=False),  # to this one are rows
    Column("moved_ms", BigInteger, nullable=False),
)
"""How far each writer's log is in the archive; written in the same transaction as the rows."""

names: Final = Table(
    "eventmw_event_names",
    metadata,
    Column("project_id", String, primary_key=True),
    Column("event_name", String, primary_key=True),
    Column("changed", BigInteger, nullable=False),
)
"""The distinct names of each project; there may be 2,000. Source: reference of the track API, PROTOCOLS.md 3.1."""

deletions: Final = Table(
    "eventmw_archive_deletions",
    metadata,
    Column("changed", BigInteger, primary_key=True, autoincrement=False),
    Column("project_id", String, nullable=False),
    Column("customer_digest", String),  # SHA-256 in hex digits: the archive must not go on naming who was deleted
    Column("event_name", String),
    Column("since_ms", BigInteger),
    Column("until_ms", BigInteger),
    Column("made_ms", BigInteger, nullable=False),
)
"""What was deleted: events that were accepted before are not written any more, by no replay and from no host."""

Row = dict[str, Any]
"""One row of `eventmw_events`, column → value."""
