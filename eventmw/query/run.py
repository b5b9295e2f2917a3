"""Runs a query within its limits: rows, groups, cells, time, bytes. What is over a limit is told which, and what to do.

Layer: input and output.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, cast

from sqlalchemy import Connection, CursorResult, Engine, Row, text
from sqlalchemy.exc import DBAPIError, OperationalError

from eventmw.archive.database import allow, is_files_fault, why
from eventmw.archive.place import file_of
from eventmw.errors import EventmwError, Refused
from eventmw.keys import Key
from eventmw.pauses import current, pause, taking
from eventmw.query.compile import WORDS, Dialect, Statement, compiled, written
from eventmw.query.periods import DAY_MS, bucket_start, zone_of
from eventmw.query.question import SEARCHES, Query
from eventmw.query.sqlite import MAX_NUMBERS, Budget, prepare
from eventmw.query.table import Cell, Column, Table

_log = logging.getLogger("eventmw")

_STEPS: Final = 2_000
_STEPS_OF_SEARCH: Final = 200
"""Instructions of SQLite between two pauses, which look at the clock as well: few, where one of them may search a long text,
which takes long. It costs a tenth of the time. Source: measured; sqlite.org/c3ref/progress_handler.html."""

_CANCELLED: Final = "57014"
"""PostgreSQL's code for a statement that was stopped. Source: PostgreSQL, appendix A, «query_canceled»."""

_OUT_OF_RANGE: Final = "22003"
"""PostgreSQL's code for a number that is no double. Source: as above, «numeric_value_out_of_range»."""

_NO_TABLE: Final = "42P01"
"""PostgreSQL's code for a table that whoever fills the archive has not made yet. Source: as above, «undefined_table»."""

_OF_TRANSACTION: Final = text(
    "SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', :timeout, true), "
    "set_config('jit', 'off', true)"
)
"""Compiling: PostgreSQL takes every value of a free field for a group of its own, and spends up to a second on machine code
for a question that takes half of one. Source: measured, docs/benchmarks.md; PostgreSQL, «When to JIT?»."""

_TOO_LARGE_STATES: Final = frozenset({"53100", "53200", "53400"})
_LIMITS_EXCEEDED: Final = "54"
"""PostgreSQL's codes and class for a statement that takes more of the server than there is: disk for sorting, memory, a
configured limit; and program limits. Source: as above, «disk_full», «out_of_memory», «program_limit_exceeded»."""

_TOO_LARGE_WORDS: Final = re.compile(
    r"too many (SQL variables|columns|terms|attached|FROM clause terms)|too large|too big|too long|stack overflow|"
    r"at most \d+ tables|too many arguments|number of parameters must be"
).search
"""What SQLite, as its owner built it, and the driver of PostgreSQL say of a statement that is more than they take.

Source: sqlite.org/limits.html; psycopg's «number of parameters must be between 0 and 65535»."""

_OVERFLOW: Final = "integer overflow"
"""What SQLite says of a sum past 64 bits."""

_EXACT: Final = 1 << 53
"""Below it every whole double is an integer without doubt."""

_INT64: Final = range(-(1 << 63), 1 << 63)
_ROWS_AT_ONCE: Final = 20
"""Rows that PostgreSQL sends at once: one may hold a megabyte, and the size of an answer is looked at row by row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one query may take. Source: assumption.

    Attributes:
        max_groups: rows of a query that sets no `limit` itself; also the most that it can set.
        max_days: days between the beginning and the end of the period.
        max_cells: cells of the answer, rows times columns; of a listed event each field is one.
        max_bytes: bytes of the answer.
        timeout_s: seconds that a question may take, from reading it to shaping its answer. On SQLite the archive cannot be
            written while the database works at it, and its writer waits ten.
    """

    max_groups: int = 10_000
    max_days: int = 3_700
    max_cells: int = 200_000
    max_bytes: int = 8 * 1024 * 1024
    timeout_s: float = 5.0


class Deadline:
    """The time for one question: work that goes on after it ends with the refusal. Else it pauses as it did outside."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._until_s = time.monotonic() + timeout_s
        self._outer = current()

    @property
    def left_s(self) -> float:
        """How many seconds are left; below zero when it is over."""
        return self._until_s - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._until_s

    def check(self) -> None:
        """Look at the clock.

        Raises:
            Refused: ``query_timeout``.
        """
        if self.is_over:
            raise _too_long(self.timeout_s)

    def pause(self) -> None:
        """Look at the clock, and pause as outside. Raises what `check` raises."""
        self.check()
        self._outer.pause()

    def away(self) -> AbstractContextManager[None]:
        """Let others work, as outside."""
        return self._outer.away()


@contextmanager
def in_time(timeout_s: float) -> Generator[Deadline]:
    """Hold the work inside to a time: reading a question, asking it, shaping its answer. Inside of another, that one's."""
    known = current()
    if isinstance(known, Deadline):
        yield known
        return
    deadline = Deadline(timeout_s)
    with taking(deadline):
        yield deadline


@dataclass(frozen=True, slots=True)
class Runner:
    """Asks one database, within limits. May be used by several threads at once.

    Attributes:
        engine: the database.
        limits: how much one query may take.
        make: makes the tables, where nobody has done that yet. None: then there is no archive to ask.
    """

    engine: Engine
    limits: Limits = field(default_factory=Limits)
    make: Callable[[], None] | None = None

    @property
    def dialect(self) -> Dialect:
        """Which SQL the database speaks."""
        return cast(Literal["sqlite", "postgresql"], self.engine.dialect.name)

    def __call__(self, query: Query, key: Key) -> Table:
        """Return the answer to a query, as far as the key may see.

        Raises:
            Refused: ``query_too_large`` (400): over a limit; ``query_timeout`` (503): it took too long; ``archive_down``
                (503): the database cannot be asked now.
        """
        self._check_period(query)
        if _is_without_file(self.engine):
            self._make()
        most = self.limits.max_groups if query.limit is None else min(query.limit, self.limits.max_groups)
        with in_time(self.limits.timeout_s) as deadline:
            # Before the transaction begins, which PostgreSQL ends when nothing happens in it.
            statement = compiled(query, key, self.dialect, most=most + 1)
            try:
                rows = self._asked(statement, query, deadline)
            except DBAPIError as error:
                if str(error.orig) == _OVERFLOW:
                    statement = compiled(query, key, self.dialect, most=most + 1, wide=True)
                elif _is_without_tables(error):
                    self._make()
                else:
                    raise self._refusal(error, deadline) from None
                rows = self._asked_again(statement, query, deadline)
        if len(rows) > most and query.limit is None:
            raise Refused(
                "query_too_large",
                f"Expected at most {self.limits.max_groups:,} groups, got more. Set a limit, a filter or a longer interval.",
            )
        return Table(
            columns=statement.columns,
            rows=tuple(rows[:most]),
            truncated=len(rows) > most,
            from_ms=query.period.from_ms,
            to_ms=query.period.to_ms,
            time_zone=query.time_zone,
            interval=query.interval,
            asked_ms=query.now_ms,
        )

    def in_time(self) -> AbstractContextManager[Deadline]:
        """Hold all that a question takes to its time: reading it and shaping its answer as well."""
        return in_time(self.limits.timeout_s)

    def sql(self, query: Query, key: Key) -> str:
        """Return the statement with its values written into it, for people to read and to paste into a database's shell."""
        most = self.limits.max_groups if query.limit is None else query.limit
        return written(query, key, self.dialect, most=most)

    def _asked(self, statement: Statement, query: Query, deadline: Deadline) -> list[tuple[Cell, ...]]:
        steps = _STEPS_OF_SEARCH if any(one.op in SEARCHES for one in query.filters) else _STEPS
        work, stack, budget = current(), ExitStack(), None
        try:
            with work.away():  # to connect, and to find the first row, may take as long as the question
                connection = stack.enter_context(self.engine.connect())
                budget = stack.enter_context(_in_time(connection, max(0.0, deadline.left_s), steps))
                # SQLite hands out row by row in any case.
                streaming = connection.execution_options(stream_results=True, max_row_buffer=_ROWS_AT_ONCE)
                result = streaming.exec_driver_sql(statement.sql, dict(statement.parameters))
                stack.enter_context(closing(result))
            return self._rows(result, statement, query)
        except DBAPIError:
            if budget is not None and budget.is_spent:
                raise _too_many_numbers() from None
            raise
        finally:
            with work.away():
                stack.close()

    def _rows(self, result: CursorResult[Any], statement: Statement, query: Query) -> list[tuple[Cell, ...]]:
        cells = [_reader(column, query, WORDS[self.dialect].scalar_of) for column in statement.columns]
        rows: list[tuple[Cell, ...]] = []
        size = count = 0
        while found := _fetched(result):
            for raw in found:
                size += sum(map(_size, raw))
                if size > self.limits.max_bytes:
                    raise too_many_bytes(self.limits.max_bytes)
                row = tuple(read(cell) for read, cell in zip(cells, raw, strict=True))
                count += len(row) + sum(len(cast(dict[str, Any], cell)) for cell in row if isinstance(cell, dict))
                if count > self.limits.max_cells:
                    raise _too_many_cells(self.limits.max_cells)
                rows.append(row)
                pause()
        return rows

    def _asked_again(self, statement: Statement, query: Query, deadline: Deadline) -> list[tuple[Cell, ...]]:
        try:
            return self._asked(statement, query, deadline)
        except DBAPIError as error:
            raise self._refusal(error, deadline) from None

    def _check_period(self, query: Query) -> None:
        if query.period.to_ms - query.period.from_ms > self.limits.max_days * DAY_MS:
            raise Refused(
                "query_too_large", f"Expected a time_period of at most {self.limits.max_days:,} days, got a longer one."
            )

    def _make(self) -> None:
        if self.make is None:
            raise _down()
        try:
            with current().away():
                self.make()
        except EventmwError as error:
            _log.warning("eventmw: the archive cannot be asked: %s", error)
            raise _down() from None

    def _refusal(self, error: DBAPIError, deadline: Deadline) -> Refused:
        state = str(getattr(error.orig, "sqlstate", None))
        # A server that fell silent is no slow question, however long that took to show.
        is_late = deadline.is_over and not error.connection_invalidated
        if state == _CANCELLED or str(error.orig) == "interrupted" or is_late:
            return _too_long(self.limits.timeout_s)
        if _is_too_large(error, state):
            return Refused("query_too_large", "The database does not take so large a question. Ask for less at once.")
        if state == _OUT_OF_RANGE:
            return Refused(
                "query_too_large",
                "Expected numbers within a double's range, got a larger one in an event. Filter out what is so large.",
            )
        if isinstance(error, OperationalError) or error.connection_invalidated or is_files_fault(error):
            _log.warning("eventmw: the archive cannot be asked: %s", why(error, self.engine))
            return _down()
        raise error


def _fetched(result: CursorResult[Any]) -> Sequence[Row[Any]]:
    with current().away():
        return result.fetchmany(_ROWS_AT_ONCE)


def too_many_bytes(max_bytes: int) -> Refused:
    """Return the refusal of an answer that is too large."""
    return Refused(
        "query_too_large", f"Expected an answer of at most {max_bytes:,} bytes, got a larger one. Set a smaller limit."
    )


def _too_many_cells(max_cells: int) -> Refused:
    return Refused(
        "query_too_large",
        f"Expected an answer of at most {max_cells:,} cells, got a larger one. Set a smaller limit, or fewer columns.",
    )


def _too_many_numbers() -> Refused:
    return Refused(
        "query_too_large",
        f"Expected percentiles of at most {MAX_NUMBERS:,} numbers, got more. Set a shorter time_period or more filters.",
    )


def _is_too_large(error: DBAPIError, state: str) -> bool:
    """Return whether the question is to blame, since it is more than this database takes."""
    if state[:2] == _LIMITS_EXCEEDED or state in _TOO_LARGE_STATES:
        return True
    return not is_files_fault(error) and _TOO_LARGE_WORDS(str(error.orig)) is not None


def _is_without_file(engine: Engine) -> bool:
    """Return whether SQLite would make a file now, and one that everybody can read."""
    file = file_of(engine)
    return file is not None and not file.exists()


def _is_without_tables(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) == _NO_TABLE or str(error.orig).startswith("no such table")


def _down() -> Refused:
    return Refused("archive_down", "The archive cannot be asked now. Try again soon.", headers=(("retry-after", "5"),))


def _too_long(timeout_s: float) -> Refused:
    return Refused(
        "query_timeout",
        f"Expected a query that takes at most {timeout_s:g} s, got a longer one. Set a shorter time_period or more filters.",
        headers=(("retry-after", "5"),),
    )


@contextmanager
def _in_time(connection: Connection, timeout_s: float, steps: int = _STEPS) -> Generator[Budget | None]:
    """Have the database itself give up after a while. Gives what percentiles may keep, where they are made here."""
    if connection.dialect.name == "postgresql":
        allow(connection, timeout_s)
        connection.execute(_OF_TRANSACTION, {"timeout": str(max(1, int(timeout_s * 1000)))})
        yield None
        return
    driver: Any = connection.connection.driver_connection
    budget = prepare(driver)
    (waits_ms,) = driver.execute("PRAGMA busy_timeout").fetchone()
    driver.execute(f"PRAGMA busy_timeout={max(1, int(timeout_s * 1000))}").close()
    deadline, work = time.monotonic() + timeout_s, current()

    def is_over() -> bool:
        work.pause()  # SQLite leaves the interpreter alone, and takes a processor all the same
        return time.monotonic() > deadline

    driver.set_progress_handler(is_over, steps)
    try:
        yield budget
    finally:
        driver.set_progress_handler(None, 0)
        driver.execute(f"PRAGMA busy_timeout={waits_ms}").close()


def _reader(column: Column, query: Query, scalar_of: Callable[[Any], Any]) -> Callable[[Any], Cell]:
    """Return what makes a cell of what the driver hands out, the same for both databases."""
    if column.role == "bucket":
        assert query.interval is not None
        interval, zone = query.interval, zone_of(query.time_zone)
        return lambda number: bucket_start(interval, int(number), zone)
    if column.kind == "scalar":
        return lambda cell: _plain(scalar_of(cell))
    if column.kind == "object":
        return json.loads
    return _plain


def _plain(value: Any) -> Cell:
    match value:
        case Decimal():
            whole = int(value) if value == value.to_integral_value() else None
            return whole if whole is not None and whole in _INT64 else _plain(float(value))
        case float() if value.is_integer() and abs(value) < _EXACT:
            return int(value)
        case float() if value in {float("inf"), float("-inf")}:
            return None
        case _:
            return value


def _size(cell: Cell) -> int:
    """Return about how many bytes a cell takes in an answer, as the driver hands it out."""
    return len(cell) + 4 if isinstance(cell, str) else 12
