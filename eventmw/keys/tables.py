"""The tables of accounts, projects and keys, the same on SQLite and on PostgreSQL.

Their names begin with ``eventmw_``, because a PostgreSQL database may be the site's own.

Layer: input and output (it names a library of an extra, and touches nothing).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table

metadata: Final = MetaData()

state: Final = Table(
    "eventmw_keys_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # there is one row, whose id is 1
    Column("schema_version", Integer, nullable=False),
    Column("lineage", String, nullable=False),  # random: tells this database from another that stands in its place
    Column("version", BigInteger, nullable=False),  # grows by one with each transaction that changes a key
    Column("floor", BigInteger, nullable=False),  # who knows less than this version has missed rows that are gone
)
"""What every process looks at twice a second: has anything changed?"""

accounts: Final = Table(
    "eventmw_accounts",
    metadata,
    Column("id", String, primary_key=True),
    Column("created_ms", BigInteger, nullable=False),
    Column(
        "made", BigInteger, nullable=False
    ),  # the version in which it was made: tells the order within a millisecond
)

projects: Final = Table(
    "eventmw_projects",
    metadata,
    Column("id", String, primary_key=True),
    Column("account_id", String, ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("description", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("deleted_ms", BigInteger),  # the row stays: its events may be there still, and its id is never another's
)

keys: Final = Table(
    "eventmw_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("account_id", String, ForeignKey(accounts.c.id), nullable=False),
    Column("project_id", String, ForeignKey(projects.c.id)),  # none: an account's master key
    Column("name", String, nullable=False),  # what its owner calls it
    Column("customer", String),
    Column("key_filter", JSON, nullable=False),  # as it was written: nothing looks into it here
    Column("origins", JSON, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the secret, which is nowhere
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Column("changed", BigInteger, nullable=False),  # the version in which it was made or revoked
    Index("eventmw_keys_by_project", "project_id"),
    Index("eventmw_keys_by_change", "changed"),
)
"""Master keys are among them. A revoked one stays a while, for processes that look late."""
