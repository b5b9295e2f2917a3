"""Accounts, projects and keys in their database: made, listed, renewed, revoked.

Whoever changes something holds the one row of `state` until the end of its transaction, so changes happen one after the
other, and each has a version. What processes know of keys follows those versions; see `eventmw.keys.ring`.

Layer: input and output. Source: PROTOCOLS.md 3.2.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, Select, delete, func, insert, select, update

from eventmw.archive.note import Note
from eventmw.clock import Clock, SystemClock
from eventmw.errors import EventmwError
from eventmw.keys import Key, KeyKind
from eventmw.keys.grants import Grant, Issued, Listed, Project
from eventmw.keys.schema import check_version, prepare, remember, transaction
from eventmw.keys.secrets import CHANCE_BYTES, ID_BYTES, make, new_id, visible
from eventmw.keys.tables import accounts, keys, projects, state

MAX_PROJECTS: Final = 100
"""Of one account. Source: PROTOCOLS.md 3.2."""

MASTERS: Final[frozenset[KeyKind]] = frozenset({"account", "project"})

KeyRow = Mapping[Any, Any]
"""Column → value, of a row of `keys`."""

_KEPT_MS: Final = 24 * 3600 * 1000
"""How long the row of a revoked key stays. A process that knows less than that reads all keys anew. Source: assumption."""


class UnknownId(EventmwError, LookupError):  # noqa: N818 - the name of the condition
    """There is no such account, project or key, or not in this project. The message names no id of anybody else."""


class TooManyProjects(EventmwError):  # noqa: N818 - as above
    """The account has as many projects as it may."""


class KeyStore:
    """Changes and lists accounts, projects and keys. May be used by several threads; every call is one transaction.

    Args:
        engine: of `eventmw.archive.database.engine_of`.
        clock: tells when something happens.

    Raises:
        KeysAway: the database does not answer.
        KeysGone: the store that the data directory had is not there any more.
        NewerKeys: a newer eventmw wrote it.
    """

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock or SystemClock()
        prepare(engine)

    @property
    def where(self) -> str:
        """Where they are kept: a file, or an address without its password."""
        url = self._engine.url
        return str(url.database) if url.get_backend_name() == "sqlite" else str(Note.of(url).address)

    def account(self) -> str:
        """Return the id of the oldest account, which is made when there is none; it has no master key then."""
        oldest = select(accounts.c.id).order_by(accounts.c.made).limit(1)
        with transaction(self._engine) as connection:
            if (found := connection.execute(oldest).scalar()) is not None:
                return str(found)
        with self._changing() as (connection, version):
            return str(connection.execute(oldest).scalar() or self._new_account(connection, version))

    def create_account(self) -> str:
        """Make one more account, and return its id; it has no master key yet."""
        with self._changing() as (connection, version):
            return self._new_account(connection, version)

    def has_account_key(self, account_id: str) -> bool:
        """Return whether an account has a master key."""
        with transaction(self._engine) as connection:
            return connection.execute(_of_account(account_id)).first() is not None

    def reset_account(self, account_id: str) -> Issued:
        """Give an account a new master key; the one before it is revoked.

        Raises:
            UnknownId: there is no such account.
        """
        with self._changing() as (connection, version):
            self._check_account(connection, account_id)
            mine = (keys.c.kind == "account", keys.c.account_id == account_id)
            self._revoke(connection, version, *mine)
            return self._issue(connection, version, account_id, None, Grant(kind="account"))

    def create_project(self, account_id: str, name: str, description: str = "") -> tuple[Project, Issued]:
        """Make a project, and its master key.

        Raises:
            UnknownId: there is no such account.
            TooManyProjects: it has `MAX_PROJECTS`.
        """
        with self._changing() as (connection, version):
            self._check_account(connection, account_id)
            counted = select(func.count()).select_from(_living_projects(account_id).subquery())
            if connection.execute(counted).scalar_one() >= MAX_PROJECTS:
                raise TooManyProjects(f"an account has at most {MAX_PROJECTS} projects; delete one that is not needed")
            project = Project("prj_" + _fresh_id(), account_id, name, description, self._clock.now_ms())
            connection.execute(insert(projects).values(**_row_of(project), made=version))
            return project, self._issue(connection, version, account_id, project.id, Grant(kind="project"))

    def projects(self, account_id: str | None = None) -> Sequence[Project]:
        """Return the projects of an account, or of all, oldest first."""
        with transaction(self._engine) as connection:
            rows = connection.execute(_living_projects(account_id)).all()
            return [Project(row.id, row.account_id, row.name, row.description, row.created_ms) for row in rows]

    def project(self, project_id: str) -> Project:
        """Return a project.

        Raises:
            UnknownId: there is none with this id.
        """
        with transaction(self._engine) as connection:
            row = _project_row(connection, project_id)
            return Project(row.id, row.account_id, row.name, row.description, row.created_ms)

    def delete_project(self, project_id: str) -> int:
        """Delete a project, and return how many keys were revoked with it. Its events stay where they are.

        Raises:
            UnknownId: there is none with this id.
        """
        with self._changing() as (connection, version):
            _project_row(connection, project_id)
            here = update(projects).where(projects.c.id == project_id)
            connection.execute(here.values(deleted_ms=self._clock.now_ms()))
            return self._revoke(connection, version, keys.c.project_id == project_id)

    def reset_project(self, project_id: str) -> Issued:
        """Give a project a new master key; the one before it is revoked, and all other keys of the project stay.

        Raises:
            UnknownId: there is none with this id.
        """
        with self._changing() as (connection, version):
            account_id = _project_row(connection, project_id).account_id
            self._revoke(connection, version, keys.c.project_id == project_id, keys.c.kind == "project")
            return self._issue(connection, version, account_id, project_id, Grant(kind="project"))

    def create_key(self, project_id: str, grant: Grant) -> Issued:
        """Make a key.

        Raises:
            UnknownId: there is no such project.
        """
        with self._changing() as (connection, version):
            account_id = _project_row(connection, project_id).account_id
            return self._issue(connection, version, account_id, project_id, grant)

    def keys(self, project_id: str) -> Sequence[Listed]:
        """Return the keys of a project that work, oldest first, without its master key.

        Raises:
            UnknownId: there is no such project.
        """
        with transaction(self._engine) as connection:
            _project_row(connection, project_id)
            mine = _living_keys(project_id).order_by(keys.c.changed)
            return [_listed(row) for row in connection.execute(mine).mappings()]

    def digest(self, project_id: str, key_id: str) -> bytes:
        """Return the SHA-256 of a key's secret: 32 bytes, by which `eventmw.charts.links` signs in its name.

        Raises:
            UnknownId: there is no such key in this project.
        """
        with transaction(self._engine) as connection:
            return bytes(_key_row(connection, project_id, key_id)["digest"])

    def revoke(self, project_id: str, key_id: str) -> Key:
        """Revoke a key of a project, and return what it was.

        Raises:
            UnknownId: there is no such key in this project; master keys are not revoked, they are reset.
        """
        with self._changing() as (connection, version):
            row = _key_row(connection, project_id, key_id)
            self._revoke(connection, version, keys.c.id == key_id)
            return key_of(row)

    def reset_key(self, project_id: str, key_id: str) -> tuple[Issued, str]:
        """Revoke a key, and make another that may the same: a new id, a new secret. Returns it and its name.

        Raises:
            UnknownId: there is no such key in this project.
        """
        with self._changing() as (connection, version):
            row = _key_row(connection, project_id, key_id)
            old = key_of(row)
            self._revoke(connection, version, keys.c.id == key_id)
            grant = Grant(
                kind=old.kind, customer=old.customer, key_filter=old.key_filter, origins=old.origins, name=row["name"]
            )
            return self._issue(connection, version, old.account_id, project_id, grant), grant.name

    def bound_to(self, person: str, fields: Collection[str]) -> Sequence[Key]:
        """Return the keys that name a person: as their customer, or in a filter on one of these fields; ended ones too."""
        with transaction(self._engine) as connection:
            found = [key_of(row) for row in connection.execute(select(keys)).mappings()]
        return [key for key in found if _names(key, person, fields)]

    def wipe(self, person: str, fields: Collection[str]) -> int:
        """End the keys that name a person, and remove all that is kept of them. Returns how many there were."""
        idents = [key.id for key in self.bound_to(person, fields)]
        if not idents:
            return 0
        with self._changing() as (connection, version):
            gone = sum(connection.execute(delete(keys).where(keys.c.id == ident)).rowcount for ident in idents)
            connection.execute(update(state).values(floor=version))  # processes read all keys anew
        return gone

    @contextmanager
    def _changing(self) -> Generator[tuple[Connection, int]]:
        """Give a connection, and the version in which its changes are."""
        with transaction(self._engine, writes=True) as connection:
            connection.execute(update(state).values(version=state.c.version + 1))  # holds the row: others wait here
            found = connection.execute(select(state.c.version, state.c.schema_version, state.c.lineage)).one()
            check_version(found.schema_version)
            self._forget_old(connection, found.version)
            yield connection, found.version
        remember(self._engine, found.lineage, found.version)

    def _forget_old(self, connection: Connection, version: int) -> None:
        old = keys.c.revoked_ms < self._clock.now_ms() - _KEPT_MS
        if connection.execute(delete(keys).where(old)).rowcount:
            connection.execute(update(state).values(floor=version))

    def _new_account(self, connection: Connection, version: int) -> str:
        ident = "acc_" + _fresh_id()
        connection.execute(insert(accounts).values(id=ident, created_ms=self._clock.now_ms(), made=version))
        return ident

    def _check_account(self, connection: Connection, account_id: str) -> None:
        if connection.execute(select(accounts.c.id).where(accounts.c.id == account_id)).first() is None:
            raise UnknownId("there is no such account")

    def _issue(
        self, connection: Connection, version: int, account_id: str, project_id: str | None, grant: Grant
    ) -> Issued:
        made = make(grant.kind, os.urandom(CHANCE_BYTES))
        row = {
            "id": made.id,
            "kind": grant.kind,
            "account_id": account_id,
            "project_id": project_id,
            "name": grant.name,
            "customer": grant.customer,
            "key_filter": dict(grant.key_filter),
            "origins": list(grant.origins),
            "digest": made.digest,
            "created_ms": self._clock.now_ms(),
            "changed": version,
        }
        connection.execute(insert(keys).values(row))
        return Issued(key_of(row), made.shown)

    def _revoke(self, connection: Connection, version: int, *which: Any) -> int:
        living = update(keys).where(keys.c.revoked_ms.is_(None), *which)
        return connection.execute(living.values(revoked_ms=self._clock.now_ms(), changed=version)).rowcount


def _names(key: Key, person: str, fields: Collection[str]) -> bool:
    is_customer = key.customer == person and "customer_identifier" in fields
    return is_customer or any(_text(key.key_filter.get(field)) == person for field in fields)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) or value is None else json.dumps(value)


def _fresh_id() -> str:
    return new_id(os.urandom(ID_BYTES))


def _row_of(project: Project) -> dict[str, Any]:
    return {name: getattr(project, name) for name in ("id", "account_id", "name", "description", "created_ms")}


def _living_projects(account_id: str | None) -> Select[Any]:
    living = select(projects).where(projects.c.deleted_ms.is_(None)).order_by(projects.c.made)
    return living if account_id is None else living.where(projects.c.account_id == account_id)


def _living_keys(project_id: str) -> Select[Any]:
    return select(keys).where(
        keys.c.project_id == project_id, keys.c.revoked_ms.is_(None), keys.c.kind.not_in(sorted(MASTERS))
    )


def _of_account(account_id: str) -> Select[Any]:
    return select(keys.c.id).where(
        keys.c.kind == "account", keys.c.account_id == account_id, keys.c.revoked_ms.is_(None)
    )


def _project_row(connection: Connection, project_id: str) -> Row[Any]:
    row = connection.execute(_living_projects(None).where(projects.c.id == project_id)).first()
    if row is None:
        raise UnknownId("there is no project with this id")
    return row


def _key_row(connection: Connection, project_id: str, key_id: str) -> KeyRow:
    _project_row(connection, project_id)
    row = connection.execute(_living_keys(project_id).where(keys.c.id == key_id)).mappings().first()
    if row is None:
        raise UnknownId("the project has no key with this id; `keys list` shows those it has")
    return row


def key_of(row: KeyRow) -> Key:
    """Return the key that a row of `keys` stands for."""
    return Key(
        id=row["id"],
        kind=row["kind"],
        account_id=row["account_id"],
        project_id=row["project_id"] or "",
        customer=row["customer"],
        key_filter=row["key_filter"],
        origins=tuple(row["origins"]),
    )


def _listed(row: KeyRow) -> Listed:
    return Listed(key_of(row), row["name"], visible(row["kind"], row["id"]), row["created_ms"])
