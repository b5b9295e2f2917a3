"""The database of the EventBunker API: one engine for each process and address, in SQLite or PostgreSQL.

Layer: input and output.

SQLite keeps its rollback journal: its write-ahead log has a race that can lose committed rows when several connections
write, in every version before 3.51.3, which is what most Pythons have. Source: sqlite.org/wal.html, «WAL-reset».
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from eventmw.errors import ConfigError
from eventmw.forks import HeldOff, after_fork_in_child

_BUSY_S: Final = 10.0
"""Seconds that one waits while another connection writes to SQLite."""

_PSYCOPG: Final = frozenset({"postgresql", "postgresql+psycopg"})
"""How an address of PostgreSQL may begin: which driver the short form means is SQLAlchemy's choice, and changes with it."""

_OF_FILE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""SQLite's codes for what is wrong with a file, and not with a statement or a value. Source: sqlite.org/rescode.html."""

_engines: WeakSet[Engine] = WeakSet()
_ended: WeakSet[Engine] = WeakSet()


def _after_fork() -> None:
    """Leave the parent its connections: a child begins with none. Source: SQLAlchemy, «Connection Pools with os.fork»."""
    for engine in list(_engines):
        engine.dispose(close=False)


after_fork_in_child(_after_fork)


def engine_of(address: str, *, makes_file: bool = True) -> Engine:
    """Return an engine for an address such as ``sqlite:///path/archive.sqlite3`` or ``postgresql+psycopg://…``.

    Args:
        address: as above.
        makes_file: whether connecting to SQLite makes a file that is not there.

    Raises:
        ConfigError: it is none that works here.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):  # ValueError: of a port; the words of both would show the password
        raise ConfigError(["archive is not an address such as postgresql+psycopg://user:password@host/name"]) from None
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise ConfigError([f"archive must be SQLite or PostgreSQL, not {url.get_backend_name()}"])
    if url.drivername.startswith("postgresql") and url.drivername not in _PSYCOPG:
        raise ConfigError([f"archive must begin with postgresql+psycopg://, not {url.drivername}://"])
    try:
        engine = _sqlite(address, makes_file=makes_file) if url.get_backend_name() == "sqlite" else _postgresql(url)
    except ImportError as error:
        raise ConfigError(
            [f"archive needs a package that is missing: pip install 'eventmw[postgresql]' ({error.name})"]
        ) from None
    _engines.add(engine)
    return engine


def sqlite_address(file: Path) -> str:
    """Return the address of a SQLite file."""
    return f"sqlite:///{file}"


def is_files_fault(error: BaseException) -> bool:
    """Return whether SQLite's file is to blame: it cannot be opened, is locked, full, damaged, or no database at all."""
    code: object = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _OF_FILE


def why(error: BaseException, engine: Engine) -> str:
    """Return the driver's words where they hold no values: of connecting, and of SQLite's file. Else the error's kind."""
    cause = getattr(error, "orig", None) or error
    kind = type(cause).__name__
    of_connecting = isinstance(error, OperationalError) and error.statement is None
    if not (of_connecting or is_files_fault(error)):
        return kind
    words = str(cause).partition("\n")[0]
    secret = engine.url.password
    tells = "://" in words or (secret is not None and str(secret) in words)
    return kind if tells or not words else words


@contextmanager
def begun(engine: Engine, *, writes: bool) -> Generator[Connection]:
    """Give a connection in a transaction.

    Of SQLite it is a new one each time, and no fork comes in between: a child that inherits one, and with it the belief to
    hold its locks, could destroy the file. Source: sqlite.org/howtocorrupt.html, 2.6.
    """
    is_file = engine.dialect.name == "sqlite"
    held: AbstractContextManager[None] = HeldOff() if is_file else nullcontext()
    with held, engine.connect().execution_options(writes=writes) as connection:
        if is_file:
            connection.detach()
        try:
            with connection.begin():
                yield connection
        finally:
            if engine in _ended and not is_file:
                with suppress(SQLAlchemyError):  # it was closed already
                    connection.detach()  # else it would go back into a pool that nobody empties any more


def let_go(engine: Engine) -> None:
    """Close an engine's connections; one that a thread still works with is closed as soon as its transaction ends."""
    _ended.add(engine)
    engine.dispose()


def allow(connection: Connection, statement_s: float) -> None:
    """Say how long a statement may take, and wait for others, for the rest of a transaction.

    Of SQLite that is nothing: its statements run in our own process.
    """
    if connection.dialect.name == "postgresql":
        from eventmw.archive import postgresql  # noqa: PLC0415 - as below

        postgresql.allow(connection, statement_s)


def _postgresql(url: URL) -> Engine:
    from eventmw.archive.postgresql import engine_at  # noqa: PLC0415 - no other site has the driver

    return engine_at(url.set(drivername="postgresql+psycopg"))


def _sqlite(address: str, *, makes_file: bool) -> Engine:
    engine = create_engine(address, connect_args={"timeout": _BUSY_S}, hide_parameters=True)
    if not makes_file:
        event.listen(engine, "do_connect", _check_is_there)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _check_is_there(_: object, __: object, args: Any, options: Any) -> None:
    """Refuse to connect to a file that is not there: SQLite would make an empty one, for everybody to read.

    Who may make it does so before: `eventmw.archive.place.make_file`, `eventmw.keys.place.make_file`.
    """
    file = args[0] if args else options.get("database")
    if file and file != ":memory:" and not os.path.exists(file):  # noqa: PTH110 - at each transaction
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error


def _prepare(connection: Any, _: object) -> None:
    """Have a connection begin its transactions where we say, sync them, and overwrite what is deleted."""
    connection.isolation_level = None
    for pragma in ("journal_mode=DELETE", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Any) -> None:
    """Begin as a reader; whoever writes says so by the execution option ``writes``, since a reader cannot become one.

    Source: SQLAlchemy, «SQLite», «Serializable isolation»; reference of hazards: deferred writers fail as busy.
    """
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
