"""A person's rows: which they are, and that they go.

Layer: input and output.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import String, cast, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from eventmw.archive.migrations import check
from eventmw.archive.place import archive_engine, file_of
from eventmw.archive.store import Archive
from eventmw.archive.tables import events
from eventmw.archive.transactions import transaction
from eventmw.erasure import Person

_CUSTOMER = "customer_identifier"


def archive_at(data_dir: str | os.PathLike[str], address: str | None) -> Archive | None:
    """Return the archive of a data directory or an address; None when there is none yet.

    Raises:
        ConfigError: the address is none that works here, or a newer eventmw wrote what is there.
    """
    engine = archive_engine(Path(data_dir), address)
    check(engine)
    file = file_of(engine)
    return Archive(engine) if file is None or file.exists() else None


def rows_of(archive: Archive, person: Person) -> int:
    """Return how many rows name a person.

    Raises:
        ArchiveAway: the database does not answer.
    """
    archive.open()
    with transaction(archive.engine) as connection:
        return int(connection.execute(select(func.count()).where(_names(archive, person))).scalar_one())


def erase(archive: Archive, person: Person) -> int:
    """Delete a person's rows, and keep what is theirs and on its way from becoming rows. Returns how many went.

    Erase the journal first: what is in it would become rows. Of a customer, what the archive's writer holds in memory at
    this moment is passed over as well; of another field it may still be written, and a second call finds it.

    Raises:
        ArchiveAway: as above; some may be gone already.
    """
    archive.open()
    with transaction(archive.engine) as connection:
        projects = connection.execute(select(events.c.project_id).distinct()).scalars().all()
    gone = 0
    for project in projects:
        if _CUSTOMER in person.fields:
            gone += archive.delete(project, customer=person.value)["events"]
        gone += archive.sweep(project, [_names(archive, person)])
    return gone


def _names(archive: Archive, person: Person) -> ColumnElement[bool]:
    """Return whether a row has the person's value in one of the fields: text, or a number as it is written."""
    return or_(*(_value(archive, field) == person.value for field in person.fields))


def _value(archive: Archive, field: str) -> ColumnElement[str]:
    if field == _CUSTOMER:
        return cast(events.c.customer_identifier, String)
    path: Sequence[str] = field.split(".", 1)
    if archive.engine.dialect.name == "postgresql":
        return func.jsonb_extract_path_text(events.c.fields, *path)
    quoted = "".join(f'."{part}"' for part in path)
    return cast(func.json_extract(events.c.fields, f"${quoted}"), String)
