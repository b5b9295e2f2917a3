"""A person's rows: which they are, and that they go.

Layer: input and output.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from sqlalchemy import false, func, or_, select, text
from sqlalchemy.sql.elements import ColumnElement

from eventmw.archive.database import allow
from eventmw.archive.migrations import check
from eventmw.archive.place import archive_engine, file_of
from eventmw.archive.rows import as_stored
from eventmw.archive.store import Archive
from eventmw.archive.tables import events
from eventmw.archive.transactions import transaction
from eventmw.erasure import Person
from eventmw.query.compile import WORDS, Dialect
from eventmw.query.dialects import Bindable, cases

_CUSTOMER: Final = "customer_identifier"
_COLUMNS: Final = frozenset({_CUSTOMER, "metric_name", "event_name"})
"""Fields of an event that are columns of their own, as the sender wrote them."""
_SCAN_S: Final = 3600.0
"""Seconds that PostgreSQL may take to look at every row. A person waits for it, and can stop it."""


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
        allow(connection, _SCAN_S)
        return int(
            connection.execute(select(func.count()).select_from(events).where(_names(archive, person))).scalar_one()
        )


def erase(archive: Archive, person: Person) -> int:
    """Delete a person's rows, and keep what is theirs and on its way from becoming rows. Returns how many went.

    Erase the journal first: what is in it would become rows. Of a customer, what the archive's writer holds in memory at
    this moment is passed over as well; of another field it may still be written, and a second call finds it.

    Raises:
        ArchiveAway: as above; some may be gone already.
    """
    archive.open()
    with transaction(archive.engine) as connection:
        allow(connection, _SCAN_S)
        projects = connection.execute(select(events.c.project_id).distinct()).scalars().all()
    gone = 0
    for project in projects:
        if _CUSTOMER in person.fields:
            gone += archive.delete(project, customer=person.value)["events"]
        gone += archive.sweep(project, [_names(archive, person)])
    return gone


def _names(archive: Archive, person: Person) -> ColumnElement[bool]:
    """Return whether a row has the person's value in one of the fields: text, or a number or boolean as it is written."""
    return or_(*(holds for field in person.fields for holds in _holds(archive, field, as_stored(person.value))))


def _holds(archive: Archive, field: str, value: str) -> Iterator[ColumnElement[bool]]:
    """Return the conditions of which one is to hold. A fixed column that is not set is a free field, if it is one."""
    if field in _COLUMNS:
        yield func.coalesce(events.c[field] == value, false())
    words = WORDS[cast(Dialect, archive.engine.dialect.name)]
    values: dict[str, str] = {}

    def bind(value: Bindable) -> str:
        name = f"person_{hashlib.sha256(str(value).encode()).hexdigest()}"  # one statement holds several of these texts
        values[name] = str(value)
        return f"CAST(:{name} AS text)"

    found = words.value_at(tuple(as_stored(step) for step in field.split(".")), bind)
    branches = [found.of_text(lambda text: f"{text} = {bind(value)}")]
    if flags := {wanted for wanted in (True, False) if value == json.dumps(wanted)}:
        branches.append(found.of_boolean(flags))
    sql = cases(branches, f"coalesce({found.digits} = {bind(value)}, FALSE)")
    yield cast(ColumnElement[bool], text(sql).bindparams(**values))
