"""The archive's tables, the same on SQLite and on PostgreSQL.

Layer: input and output (it names a library of an extra, and touches nothing).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Column, Index, MetaData, String, Table
from sqlalchemy.dialects.postgresql import JSONB

_JSON: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

metadata: Final = MetaData()

events: Final = Table(
    "events",
    metadata,
    Column("project_id", String, primary_key=True),
    Column("event_id", String, primary_key=True),
    Column("time_ms", BigInteger, nullable=False),  # when it happened, UTC, milliseconds since 1970
    Column("recorded_ms", BigInteger, nullable=False),  # when it was accepted
    Column("event_name", String, nullable=False),
    Column("customer_identifier", String),
    Column("metric_name", String),
    Column("fields", _JSON, nullable=False),  # the free fields, and the generated ones, whose names start with `_`
    Index("events_by_time", "project_id", "time_ms"),
)
"""Every tracked event once: ``(project_id, event_id)`` is unique, whatever crashes, is replayed or comes twice."""

cursors: Final = Table(
    "cursors",
    metadata,
    Column("journal", String, primary_key=True),  # names one data folder
    Column("stream", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),  # the last record of the stream whose events are rows
)
"""How far each writer's log is in the archive; written in the same transaction as the rows."""

names: Final = Table(
    "event_names",
    metadata,
    Column("project_id", String, primary_key=True),
    Column("event_name", String, primary_key=True),
)
"""The distinct names of each project; there may be 2,000. Source: reference of the track API, PROTOCOLS.md 3.1."""

Row = dict[str, Any]
"""One row of `events`, column → value."""
