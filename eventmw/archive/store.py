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
from eventmw.archive.rows import Span, as_stored, for_postgresql, for_sqlite
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


TOTAL: Final = ""
"""Stands for a stream where the number of rows is kept that a journal has written; streams have names."""


class Filled(NamedTuple):
    """How many rows of a journal are in the archive; `write` expects at least so many.

    ``wrote_ms`` is when it was written last. ``may_be_empty``: the table of events may be empty all the same.
    """

    journal: str
    rows: int
    wrote_ms: int = 0
    may_be_empty: bool = False


class Behind(ArchiveAway):
    """The archive has fewer rows than were written: it is another one, or an older one, or was emptied. Open it anew."""


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
        stamp: which file was opened last, as `eventmw.archive.place.stamp_of` tells; of SQLite only.
        trouble: what is wrong with the rows, as far as this process knows; "" when nothing is.
    """

    def __init__(self, engine: Engine, *, rest_s: float = 0.0) -> None:
        self.engine = engine
        self.ledger = Ledger()
        self.trouble = ""
        self.stamp: tuple[int, int] | None = None
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

    def write(self, rows: Sequence[Row], marks: Iterable[Mark | Filled] = ()) -> int:
        """Write rows and move cursors, in one transaction. What is a row already, or was deleted, is passed over.

        Args:
            rows: as `eventmw.archive.rows.row_of` makes them.
            marks: how far each stream is in the archive when these are, and how many rows the journal has written before.
                A cursor never moves back.

        Returns how many rows are new.

        Raises:
            BadRows: some cannot be rows. Nothing was written.
            Behind: the archive has fewer rows of the journal than it wrote. Nothing was written.
            ArchiveAway: the database does not answer.
        """
        marks = tuple(marks)
        filled = next((mark for mark in marks if isinstance(mark, Filled)), None)
        try:
            prepared = [self._prepared(row) for row in rows]
            with transaction(self.engine, writes=True) as connection:
                ledgers.begin_writing(connection)
                if filled is not None:
                    self._check_is_whole(connection, filled)
                self.ledger.refresh(connection)
                kept = [row for row in prepared if not self.ledger.takes(row)]
                learn = self.ledger.note(connection, kept)
                written = self._insert(connection, kept)
                moved = [mark for mark in marks if isinstance(mark, Mark)]
                if filled is not None:
                    moved.append(Mark(filled.journal, TOTAL, Span(0, filled.rows + max(0, written))))
                self._move(connection, moved)
        except (Unfit, TypeError, ValueError, OverflowError, RecursionError):
            if reasons := self._misfits(rows):
                raise BadRows(reasons) from None
            raise ArchiveAway("the rows fit, and cannot be written together") from None
        learn()
        return written

    def _prepared(self, row: Row) -> Row:
        return for_postgresql(row) if self._is_postgresql else for_sqlite(row)

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

    def _check_is_whole(self, connection: Connection, filled: Filled) -> None:
        found = _filled(connection, filled.journal)
        if found.rows < filled.rows or (filled.rows and not filled.may_be_empty and _is_empty(connection)):
            raise Behind("the archive has lost rows")

    def filled(self, journal: str) -> tuple[Filled, bool]:
        """Return how many rows of a journal were written here, and whether the table of events is empty.

        Raises:
            ArchiveAway: the database does not answer.
        """
        with transaction(self.engine) as connection:
            return _filled(connection, journal), _is_empty(connection)

    def begin_refill(self, filled: Filled, deletions: Sequence[Deletion]) -> None:
        """Count on from where the journal is, and heed deletions that this archive does not know.

        Raises:
            ArchiveAway: the database does not answer.
        """
        with transaction(self.engine, writes=True) as connection:
            self.ledger.read_anew()
            self.ledger.refresh(connection)
            known = frozenset(self.ledger.deletions())
            for deletion in deletions:
                if deletion not in known:
                    ledgers.delete_later(connection, deletion)
            self._move(connection, [Mark(filled.journal, TOTAL, Span(0, filled.rows))])

    def cursor(self, journal: str) -> Mapping[str, Span]:
        """Return, for each stream of a journal, the records whose events are rows.

        Raises:
            ArchiveAway: the database does not answer.
        """
        wanted = select(cursors.c.stream, cursors.c.first, cursors.c.seq).where(
            cursors.c.journal == journal, cursors.c.stream != TOTAL
        )
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
        customer = None if customer is None else as_stored(customer)
        event_name = None if event_name is None else as_stored(event_name)
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
            old = (cursors.c.moved_ms < now_ms - _CURSOR_DAYS * _DAY_MS, cursors.c.stream != TOTAL)
            connection.execute(delete(cursors).where(*old))
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


def _filled(connection: Connection, journal: str) -> Filled:
    wanted = select(cursors.c.seq, cursors.c.moved_ms).where(cursors.c.journal == journal, cursors.c.stream == TOTAL)
    found = connection.execute(wanted).first()
    return Filled(journal, 0) if found is None else Filled(journal, found.seq, found.moved_ms)


def _is_empty(connection: Connection) -> bool:
    return connection.execute(select(events.c.project_id).limit(1)).first() is None


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


def _now_ms() -> int:
    return SystemClock().now_ms()
