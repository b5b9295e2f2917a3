"""A real PostgreSQL server for the tests: Debian's, in a temporary folder, on loopback, once a session.

It does not start as root, so root has the user `postgres` or `nobody` run it. Where its programs are missing, the tests that
ask for it are skipped, and say so.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from tests.running import until

_PROGRAMS: Final = "/usr/lib/postgresql/*/bin"
_STARTS: Final = 5  # somebody may take the port between our look and the server's
_STOP_S: Final = 30.0
_PATIENCE_S: Final = 5
_ICU_SINCE: Final = 15

# Nothing is to survive a crash of the machine, and nobody is on this server but the tests.
_UNSAFE: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that runs."""

    port: int
    password: str
    process: subprocess.Popen[bytes]

    def address(self, database: str) -> str:
        """Return what an owner would write as `archive`."""
        return f"postgresql+psycopg://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def ask(self, statement: sql.Composed, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, outside any transaction."""
        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=_PATIENCE_S,
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Give the name of an empty database; it is gone at the end, whoever is still connected."""
        name = f"test_{secrets.token_hex(8)}"
        self.ask(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield name
        finally:
            self.ask(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextlib.contextmanager
    def away(self, database: str) -> Iterator[None]:
        """Have a database throw everybody out and let nobody in, as if its server were down."""
        self._let_in(database, "false")
        try:
            self.ask(
                sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(
                    sql.Literal(database)
                )
            )
            yield
        finally:
            self._let_in(database, "true")

    def _let_in(self, database: str, flag: str) -> None:
        words = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
        self.ask(words.format(sql.Identifier(database), sql.SQL(flag)))


def programs() -> Path | None:
    """Return the folder of the newest server's programs; None when there is none."""
    found = {
        int(folder.parent.name): folder for folder in Path("/").glob(_PROGRAMS[1:]) if (folder / "initdb").exists()
    }
    return found[max(found)] if found else None


@contextlib.contextmanager
def serving(*settings: str) -> Iterator[Postgres]:
    """Run a server of one's own, with settings such as ``fsync=off``.

    Raises:
        LookupError: there are no programs of it here.
    """
    if (found := programs()) is None:
        raise LookupError(f"no PostgreSQL in {_PROGRAMS}: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="eventmw-postgres-"))
    try:
        with _as_nobody_special(folder) as identity:
            password = _founded(found, folder, identity)
            server = _started(found, folder, identity, password, settings)
            try:
                yield server
            finally:
                server.process.send_signal(signal.SIGINT)  # «fast shutdown»: it waits for no client
                server.process.wait(_STOP_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _as_nobody_special(folder: Path) -> Iterator[dict[str, Any]]:
    """Give what has a child run as an ordinary user, whose the folder then is."""
    if os.geteuid() != 0:
        yield {}
        return
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    os.chown(folder, user.pw_uid, user.pw_gid)
    yield {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _founded(found: Path, folder: Path, identity: dict[str, Any]) -> str:
    """Make the server's files, and return its password.

    Text is ordered as in English, as on most servers, and not by its bytes, as in SQLite: a query must not rely on either.
    """
    password = secrets.token_hex(16)
    said = folder / "password"
    said.write_text(password)
    if identity:
        os.chown(said, identity["user"], identity["group"])
    icu = ("--locale-provider=icu", "--icu-locale=en-US") if int(found.parent.name) >= _ICU_SINCE else ()
    subprocess.run(
        [
            str(found / "initdb"),
            f"--pgdata={folder / 'data'}",
            f"--pwfile={said}",
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            *icu,
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        **identity,
    )
    return password


def _started(found: Path, folder: Path, identity: dict[str, Any], password: str, settings: Sequence[str]) -> Postgres:
    for _ in range(_STARTS):
        port = _free_port()
        given = (f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", *settings)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(found / "postgres"), "-D", str(folder / "data"), *(word for one in given for word in ("-c", one))],
                stdout=log,
                stderr=log,
                cwd=folder,
                **identity,
            )
        server = Postgres(port, password, process)
        if until(lambda server=server: _state(server)) == "up":  # type: ignore[misc]
            return server
    raise RuntimeError(f"PostgreSQL does not start: {(folder / 'log').read_text()}")


def _state(server: Postgres) -> str:
    """Return "up" or "ended"; "" while nobody knows."""
    if server.process.poll() is not None:
        return "ended"
    try:
        server.ask(sql.SQL("SELECT 1").format())
    except psycopg.OperationalError:
        return ""
    return "up"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Give the session's server."""
    if programs() is None:
        pytest.skip(f"PostgreSQL is not installed: nothing in {_PROGRAMS}")
    with serving(*_UNSAFE) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Postgres) -> Iterator[str]:
    """Give the address of a database of one's own, empty, as an owner would write it as `archive`."""
    with postgres_server.database() as name:
        yield postgres_server.address(name)
