"""An engine of PostgreSQL that waits for nobody without end: not for a silent server, not for a lock, not for an idle peer.

A network or a server may fall silent without an end of the connection. So the kernel gives up one whose bytes nobody takes;
the server ends statements, waits for locks, and transactions in which nothing happens; and whoever waits for an answer
closes the connection when none comes, since a server that hangs takes bytes as well. What follows goes over a new one.

Layer: input and output. Imported only for an archive in PostgreSQL: no other site has the driver.
Source: PostgreSQL, «libpq: connection strings», «Client connection defaults»; the numbers are assumptions.
"""

from __future__ import annotations

import time
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import URL, Connection, Engine, create_engine, event

STATEMENT_S: Final = 8.0
"""Seconds that the server may work at one statement, unless its transaction says otherwise."""

GRACE_S: Final = 2.0
"""Seconds after those until an answer must have come; also what a connection that lay idle has to say that it lives."""

LOCK_S: Final = 5.0
"""Seconds that a statement may wait for another transaction."""

_IDLE_S: Final = 10.0
"""Seconds after which the server ends a transaction in which nothing happens, as that of a host that was paused."""

_OF_CONNECTION: Final = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Seconds, but for the last one, which is milliseconds. What the address says goes before."""

_T = TypeVar("_T")


class NoAnswer(psycopg.OperationalError):
    """Nothing came for too long. The connection is closed; what became of the statement is not known."""


class Heard(psycopg.Connection[Any]):
    """A connection that is closed when it is silent for too long while somebody waits for an answer.

    Attributes:
        silence_s: seconds without a byte that are borne.
    """

    silence_s = GRACE_S

    def wait(self, gen: PQGen[_T], *args: Any, **more: Any) -> _T:
        """Wait for an answer. Everything that is sent and read once it is connected comes by here.

        Raises:
            NoAnswer: as said above.
        """
        try:
            return super().wait(_heard(gen, self.silence_s), *args, **more)
        except NoAnswer:
            self.close()
            raise


def _heard(waiting: PQGen[_T], silence_s: float) -> PQGen[_T]:
    """Carry the driver's wait on, which looks up ten times a second, until it has been silent for too long."""
    heard_s = time.monotonic()
    try:
        wanted = next(waiting)
        while True:
            ready = yield wanted
            now_s = time.monotonic()
            if ready:
                heard_s = now_s
            elif now_s - heard_s > silence_s:
                raise NoAnswer(f"no answer within {silence_s:g} s")
            wanted = waiting.send(ready)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def engine_at(url: URL) -> Engine:
    """Return an engine for an address of PostgreSQL. Nothing is connected."""
    given = {name: value for name, value in _OF_CONNECTION.items() if name not in url.query}
    engine = create_engine(url, connect_args=given, pool_pre_ping=True, hide_parameters=True)
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "checkin", _come_back)
    return engine


def allow(connection: Connection, statement_s: float) -> None:
    """Say how long a statement may take, and wait for others, for the rest of a transaction on PostgreSQL."""
    _set(connection, statement_s, lock_s=statement_s)


def _connect(_: object, __: object, args: Any, options: Any) -> Heard:
    return Heard.connect(*args, **options)


def _begin(connection: Connection) -> None:
    _set(connection, STATEMENT_S, lock_s=LOCK_S)


def _come_back(driver: Heard | None, _: object) -> None:
    """Have the next user's first look wait for little: it asks whether the connection lives."""
    if driver is not None:
        driver.silence_s = GRACE_S


def _set(connection: Connection, statement_s: float, *, lock_s: float) -> None:
    limits = {
        "statement_timeout": statement_s,
        "lock_timeout": lock_s,
        "idle_in_transaction_session_timeout": _IDLE_S,
    }
    # for this transaction alone: poolers between us and the server give the connection to others afterwards
    words = ", ".join(f"set_config('{name}', '{max(1, int(limit * 1000))}', true)" for name, limit in limits.items())
    connection.exec_driver_sql(f"SELECT {words}")
    driver: Any = connection.connection.driver_connection
    driver.silence_s = statement_s + GRACE_S
