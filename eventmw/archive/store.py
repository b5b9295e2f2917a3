"""The archive: writes rows in batches together with how far the log was read, keeps them for so long, deletes them.

Layer: input and output.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine, TextClause, delete, func, select, text, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.elements import ColumnElement

from eventmw.archive import ledger as ledgers
from eventmw.archive.ledger import Deletion, Ledger, digest_of
from eventmw.archive.migrations import prepare
from eventmw.archive.rows import NUL, NUL_SIGN, Span, exact_json, for_postgresql
from eventmw.archive.tables import Row, cursors, events
from eventmw.archive.transactions import ArchiveAway, Unfit, is_rows_fault, transaction
from eventmw.clock import SystemClock

STEP: Final = 2000
"""Rows that one step of a deletion looks at: on SQLite nobody else writes, or asks, in that time."""

CHUNK: Final = 100
"""Rows written between two rests in a site's process: about half a millisecond of Python."""

_DAY_MS: Final = 86_400_000

_CURSOR_DAYS: Final = 30
"""A stream that has not moved for so long is gone: the journal keeps nothing as long. Source: JOURNAL.md «Retirement»."""

_DELETION_DAYS: Final = 400
"""Dead letters may be tried again long after the log is gone. Source: assumption."""

_COLUMNS: Final = tuple(column.name for column in events.columns)


def _statement(value_of_fields: str) -> TextClause:
    values = ", ".join(value_of_fields if name == "fields" else f":{name}" for name in _COLUMNS)
    names_of_columns = ", ".join(_COLUMNS)
    return text(f"INSERT INTO {events.name} ({names_of_columns}) VALUES ({values}) ON CONFLICT DO NOTHING")  # noqa: S608 - names of our own columns; values are parameters


_INSERT: Final[Mapping[str, TextClause]] = {
    "sqlite": _statement(":fields"),
    "postgresql": _statement("CAST(:fields AS jsonb)"),
}
"""The fields are written as text: as JSON of SQLAlchemy they would be made into text once more."""


class Mark(NamedTuple):
    """How far a stream of a journal is in the archive."""

    journal: str
    stream: str
    span: Span


class BadRows(Unfit):
    """Some rows cannot be rows of this database, and so nothing was written.

    Attributes:
        reasons: index of the row → what the database says, without values.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        super().__init__(f"{len(reasons)} rows do not fit")
        self.reasons = reasons


class Archive:
    """Rows in one database. Several processes and hosts may write to it at once; one thread of a process writes at a time.

    Args:
        engine: of SQLite or PostgreSQL.
        rest_s: seconds to rest after each hundred rows, where a site's requests want their turns.

    Attributes:
        ledger: what this process knows of names and deletions.
    """

    def __init__(self, engine: Engine, *, rest_s: float = 0.0) -> None:
        self.engine = engine
        self.ledger = Ledger()
        self.rest_s = rest_s
        self.sleep: Callable[[float], object] = time.sleep
        self._is_postgresql = engine.dialect.name == "postgresql"
        self._statement = _INSERT[engine.dialect.name]

    def leave_parent_behind(self) -> None:
        """Begin anew in a forked child: a thread of the parent may have been in the middle of something."""
        self.ledger = Ledger()
        self.engine.dispose(close=False)

    def open(self) -> None:
        """Make the tables, or bring them up to date.

        Raises:
            ConfigError: a newer eventmw wrote them.
            ArchiveAway: the database does not answer.
        """
        prepare(self.engine)

    def write(self, rows: Sequence[Row], marks: Iterable[Mark] = ()) -> int:
        """Write rows and move cursors, in one transaction. What is a row already, or was deleted, is passed over.

        Args:
            rows: as `eventmw.archive.rows.row_of` makes them.
            marks: how far each stream is in the archive when these are. A cursor never moves back.

        Returns how many rows are new.

        Raises:
            BadRows: some cannot be rows. Nothing was written.
            ArchiveAway: the database does not answer.
        """
        try:
            prepared = [self._prepared(row) for row in rows]
            with transaction(self.engine, writes=True) as connection:
                ledgers.begin_writing(connection)
                self.ledger.refresh(connection)
                kept = [row for row in prepared if not self.ledger.takes(row)]
                learn = self.ledger.note(connection, kept)
                written = self._insert(connection, kept)
                self._move(connection, marks)
        except (Unfit, TypeError, ValueError, OverflowError, RecursionError):
            if reasons := self._misfits(rows):
                raise BadRows(reasons) from None
            raise ArchiveAway("the rows fit, and cannot be written together") from None
        learn()
        return written

    def _prepared(self, row: Row) -> Row:
        return for_postgresql(row) if self._is_postgresql else row | {"fields": exact_json(row["fields"])}

    def _insert(self, connection: Connection, rows: Sequence[Row]) -> int:
        if not rows:
            return 0
        at_once, written = CHUNK if self.rest_s else len(rows), 0
        for first in range(0, len(rows), at_once):
            written += connection.execute(self._statement, rows[first : first + at_once]).rowcount
            self.sleep(self.rest_s)
        return written

    def _move(self, connection: Connection, marks: Iterable[Mark]) -> None:
        now_ms = _now_ms()
        values = [
            {"journal": mark.journal, "stream": mark.stream, **mark.span._asdict(), "moved_ms": now_ms}
            for mark in marks
        ]
        if not values:
            return
        made = (postgresql.insert if self._is_postgresql else sqlite.insert)(cursors)
        new = made.excluded
        connection.execute(
            made.on_conflict_do_update(
                index_elements=["journal", "stream"],
                set_={"first": new.first, "seq": new.seq, "moved_ms": new.moved_ms},
                where=new.seq > cursors.c.seq,
            ),
            values,
        )

    def _misfits(self, rows: Sequence[Row]) -> Mapping[int, str]:
        """Try each row alone, and take everything back."""
        reasons: dict[int, str] = {}
        with transaction(self.engine, writes=True) as connection:
            for index, row in enumerate(rows):
                attempt = connection.begin_nested()
                try:
                    self._insert(connection, [self._prepared(row)])
                except Exception as error:
                    attempt.rollback()
                    if not is_rows_fault(error):
                        raise
                    reasons[index] = type(getattr(error, "orig", None) or error).__name__
                else:
                    attempt.rollback()
        return reasons

    def cursor(self, journal: str) -> Mapping[str, Span]:
        """Return, for each stream of a journal, the records whose events are rows.

        Raises:
            ArchiveAway: the database does not answer.
        """
        wanted = select(cursors.c.stream, cursors.c.first, cursors.c.seq).where(cursors.c.journal == journal)
        with transaction(self.engine) as connection:
            return {stream: Span(first, seq) for stream, first, seq in connection.execute(wanted)}

    def refresh(self) -> None:
        """Read what other processes changed of names and deletions.

        Raises:
            ArchiveAway: the database does not answer.
        """
        with transaction(self.engine) as connection:
            self.ledger.refresh(connection)

    def names(self, project_id: str) -> Sequence[str]:
        """Return the distinct names of a project's events, sorted.

        Raises:
            ArchiveAway: the database does not answer.
        """
        with transaction(self.engine) as connection:
            return ledgers.known_names(connection, project_id)

    def may_name(self, project_id: str, name: str) -> bool:
        """Return whether an event of this name may be accepted, as far as this process knows; it counts then. No I/O."""
        return self.ledger.may_name(project_id, name)

    def delete(
        self,
        project_id: str,
        *,
        customer: str | None = None,
        event_name: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        made_ms: int | None = None,
    ) -> dict[str, int]:
        """Delete a project's events that have all that is given; with nothing given, all of them.

        What was accepted by `made_ms`, and is no row yet, never becomes one; what was accepted later stays. It goes in small
        steps, so one that fails half-way has deleted some: call it again. A name of which all was deleted may be given anew.

        Args:
            project_id: of which project.
            customer: whose.
            event_name: with what name.
            since_ms: from when on they happened.
            until_ms: before when.
            made_ms: when it was asked for; None for now.

        Returns ``{"events": n, "names": n}``.

        Raises:
            ArchiveAway: the database does not answer.
        """
        if self._is_postgresql:
            customer, event_name = _signed(customer), _signed(event_name)
        made_ms = _now_ms() if made_ms is None else made_ms
        note = Deletion(project_id, digest_of(customer), event_name, since_ms, until_ms, made_ms)
        whole = customer is None and since_ms is None and until_ms is None
        with transaction(self.engine, writes=True) as connection:
            ledgers.delete_later(connection, note)
            # Before the rows: whoever writes from now on gives a name anew, and none is taken from under a new row.
            unnamed = ledgers.forget_names(connection, project_id, event_name) if whole else 0
        meant: list[ColumnElement[bool]] = [events.c.recorded_ms <= made_ms]
        if customer is not None:
            meant.append(events.c.customer_identifier == customer)
        if event_name is not None:
            meant.append(events.c.event_name == event_name)
        again = 0

        def give_back(connection: Connection, step: Sequence[ColumnElement[bool]]) -> None:
            nonlocal again
            again += ledgers.name_again(connection, project_id, _names_left(connection, step, event_name, made_ms))

        gone = sum(self._swept(project_id, since_ms, until_ms, meant, give_back if unnamed else None))
        return {"events": gone, "names": unnamed - again}

    def sweep(self, project_id: str, meant: Sequence[ColumnElement[bool]]) -> int:
        """Delete a project's rows that meet all conditions, in small steps. Returns how many went.

        Raises:
            ArchiveAway: the database does not answer.
        """
        return sum(self._swept(project_id, None, None, meant))

    def expire(self, days: int) -> Iterator[int]:
        """Delete what happened more than `days` days ago, a step at each turn; yields how many events went.

        Raises:
            ArchiveAway: the database does not answer.
        """
        until_ms = _now_ms() - days * _DAY_MS
        with transaction(self.engine) as connection:
            projects = list(_projects(connection))
        for project_id in projects:
            yield from self._swept(project_id, None, until_ms, [])

    def tidy(self) -> None:
        """Forget cursors of streams that are long gone, and deletions that nothing can undo any more.

        Raises:
            ArchiveAway: the database does not answer.
        """
        now_ms = _now_ms()
        with transaction(self.engine, writes=True) as connection:
            connection.execute(delete(cursors).where(cursors.c.moved_ms < now_ms - _CURSOR_DAYS * _DAY_MS))
            ledgers.prune(connection, now_ms - _DELETION_DAYS * _DAY_MS)

    def _swept(
        self,
        project_id: str,
        since_ms: int | None,
        until_ms: int | None,
        meant: Sequence[ColumnElement[bool]],
        before: Callable[[Connection, Sequence[ColumnElement[bool]]], None] | None = None,
    ) -> Iterator[int]:
        """Delete along the index of time, some thousand rows a step; yields how many went.

        A step ends between two events and not between two times: events that were imported may have one time in common.

        Args:
            project_id: whose.
            since_ms: from when on they happened.
            until_ms: before when.
            meant: what else they have to meet.
            before: called in each step's transaction before it deletes, with which rows the step looks at. It may change
                names: writers take their lock first as well.
        """
        mine, place = events.c.project_id == project_id, (events.c.time_ms, events.c.event_id)
        begin = [] if since_ms is None else [events.c.time_ms >= since_ms]
        end = [] if until_ms is None else [events.c.time_ms < until_ms]
        while True:
            with transaction(self.engine, writes=True) as connection:
                step = select(*place).where(mine, *begin, *end).order_by(*place).offset(STEP).limit(1)
                edge = connection.execute(step).first()
                looked_at = [mine, *begin, *(end if edge is None else [tuple_(*place) < tuple_(*edge)])]
                if before is not None:
                    before(connection, looked_at)
                gone = connection.execute(delete(events).where(*looked_at, *meant)).rowcount
            yield gone
            if edge is None:
                return
            begin = [tuple_(*place) >= tuple_(*edge)]
            self.sleep(self.rest_s)


def _projects(connection: Connection) -> Iterator[str]:
    """Return whose rows there are, by one look into the index for each; a project may have rows and no names for a while."""
    mine, last = events.c.project_id, ""
    while (found := connection.scalar(select(func.min(mine)).where(mine > last))) is not None:
        yield found
        last = found


def _names_left(
    connection: Connection, step: Sequence[ColumnElement[bool]], event_name: str | None, made_ms: int
) -> Sequence[str]:
    """Return which names rows have that are newer than a deletion."""
    named = [] if event_name is None else [events.c.event_name == event_name]
    newer = select(events.c.event_name).where(*step, *named, events.c.recorded_ms > made_ms)
    return connection.scalars(newer.distinct()).all()


def _signed(value: str | None) -> str | None:
    return value if value is None else value.replace(NUL, NUL_SIGN)


def _now_ms() -> int:
    return SystemClock().now_ms()
