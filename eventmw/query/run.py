"""Runs a query within its limits: rows, groups, time, bytes. What is over a limit is told which, and what to do.

Layer: input and output.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, cast

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from eventmw.archive.database import allow, is_files_fault, why
from eventmw.archive.place import file_of
from eventmw.errors import EventmwError, Refused
from eventmw.keys import Key
from eventmw.query.compile import WORDS, Dialect, Statement, compiled
from eventmw.query.periods import DAY_MS, bucket_start, zone_of
from eventmw.query.question import SEARCHES, Query
from eventmw.query.sqlite import prepare
from eventmw.query.table import Cell, Column, Table

_log = logging.getLogger("eventmw")

_STEPS: Final = 20_000
_STEPS_OF_SEARCH: Final = 200
"""Instructions of SQLite between two looks at the clock: few, where one of them may search a long text, which takes long. It
costs a tenth of the time. Source: measured; sqlite.org/c3ref/progress_handler.html."""

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

_OVERFLOW: Final = "integer overflow"
"""What SQLite says of a sum past 64 bits."""

_EXACT: Final = 1 << 53
"""Below it every whole double is an integer without doubt."""

_INT64: Final = range(-(1 << 63), 1 << 63)
_ROWS_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one query may take. Source: assumption.

    Attributes:
        max_groups: rows of a query that sets no `limit` itself; also the most that it can set.
        max_days: days between the beginning and the end of the period.
        max_bytes: bytes of the answer.
        timeout_s: seconds that the database may take. On SQLite the archive cannot be written in that time, and its writer
            waits ten.
    """

    max_groups: int = 10_000
    max_days: int = 3_700
    max_bytes: int = 8 * 1024 * 1024
    timeout_s: float = 5.0


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
        statement = compiled(query, key, self.dialect, most=most + 1)
        try:
            rows = self._asked(statement, query)
        except DBAPIError as error:
            if str(error.orig) == _OVERFLOW:
                statement = compiled(query, key, self.dialect, most=most + 1, wide=True)
            elif _is_without_tables(error):
                self._make()
            else:
                raise self._refusal(error) from None
            rows = self._asked_again(statement, query)
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
        )

    def sql(self, query: Query, key: Key) -> str:
        """Return the statement with its values written into it, for people to read and to paste into a database's shell."""
        most = self.limits.max_groups if query.limit is None else query.limit
        statement = compiled(query, key, self.dialect, most=most).select
        return str(statement.compile(self.engine, compile_kwargs={"literal_binds": True}))

    def _asked(self, statement: Statement, query: Query) -> list[tuple[Cell, ...]]:
        steps = _STEPS_OF_SEARCH if any(one.op in SEARCHES for one in query.filters) else _STEPS
        with self.engine.connect() as connection, _in_time(connection, self.limits.timeout_s, steps):
            return self._rows(connection, statement.select, query, statement.columns)

    def _asked_again(self, statement: Statement, query: Query) -> list[tuple[Cell, ...]]:
        try:
            return self._asked(statement, query)
        except DBAPIError as error:
            raise self._refusal(error) from None

    def _check_period(self, query: Query) -> None:
        if query.period.to_ms - query.period.from_ms > self.limits.max_days * DAY_MS:
            raise Refused(
                "query_too_large", f"Expected a time_period of at most {self.limits.max_days:,} days, got a longer one."
            )

    def _make(self) -> None:
        if self.make is None:
            raise _down()
        try:
            self.make()
        except EventmwError as error:
            _log.warning("eventmw: the archive cannot be asked: %s", error)
            raise _down() from None

    def _rows(
        self, connection: Connection, select: Any, query: Query, columns: Sequence[Column]
    ) -> list[tuple[Cell, ...]]:
        options: dict[str, Any] = {"yield_per": _ROWS_AT_ONCE} if query.lists else {}
        cells = [_reader(column, query, WORDS[self.dialect].scalar_of) for column in columns]
        rows: list[tuple[Cell, ...]] = []
        size = 0
        deadline = time.monotonic() + self.limits.timeout_s
        with closing(connection.execute(select, execution_options=options)) as result:
            for raw in result:
                row = tuple(read(cell) for read, cell in zip(cells, raw, strict=True))
                size += sum(map(_size, row))
                if size > self.limits.max_bytes:
                    raise too_many_bytes(self.limits.max_bytes)
                if time.monotonic() > deadline:
                    raise _too_long(self.limits.timeout_s)
                rows.append(row)
        return rows

    def _refusal(self, error: DBAPIError) -> Refused:
        if getattr(error.orig, "sqlstate", None) == _CANCELLED or str(error.orig) == "interrupted":
            return _too_long(self.limits.timeout_s)
        if getattr(error.orig, "sqlstate", None) == _OUT_OF_RANGE:
            return Refused(
                "query_too_large",
                "Expected numbers within a double's range, got a larger one in an event. Filter out what is so large.",
            )
        if isinstance(error, OperationalError) or error.connection_invalidated or is_files_fault(error):
            _log.warning("eventmw: the archive cannot be asked: %s", why(error, self.engine))
            return _down()
        raise error


def too_many_bytes(max_bytes: int) -> Refused:
    """Return the refusal of an answer that is too large."""
    return Refused(
        "query_too_large", f"Expected an answer of at most {max_bytes:,} bytes, got a larger one. Set a smaller limit."
    )


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
def _in_time(connection: Connection, timeout_s: float, steps: int = _STEPS) -> Generator[None]:
    """Have the database itself give up after a while."""
    if connection.dialect.name == "postgresql":
        allow(connection, timeout_s)
        connection.execute(_OF_TRANSACTION, {"timeout": str(max(1, int(timeout_s * 1000)))})
        yield
        return
    driver: Any = connection.connection.driver_connection
    prepare(driver)
    deadline = time.monotonic() + timeout_s
    driver.set_progress_handler(lambda: time.monotonic() > deadline, steps)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


def _reader(column: Column, query: Query, scalar_of: Callable[[Any], Any]) -> Callable[[Any], Cell]:
    """Return what makes a cell of what the driver hands out, the same for both databases."""
    if column.role == "bucket":
        assert query.interval is not None
        interval, zone = query.interval, zone_of(query.time_zone)
        return lambda number: bucket_start(interval, int(number), zone)
    if column.kind == "scalar":
        return lambda cell: _plain(scalar_of(cell))
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
    """Return about how many bytes a cell takes in an answer."""
    match cell:
        case str():
            return len(cell) + 4
        case dict():
            return len(json.dumps(cell))
        case _:
            return 12
