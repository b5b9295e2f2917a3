"""What ``eventmw query`` asks: the archive that is meant, and the project of which.

Layer: people. Nothing is made by looking.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eventmw.cli import archives, keeping, output
from eventmw.cli.output import plain
from eventmw.control.inspection import resolved
from eventmw.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


@dataclass(frozen=True, slots=True)
class Asked:
    """An archive that has events.

    Attributes:
        engine: its database.
        folder: the data directory of its site.
        address: the archive's address; None: it is in the data directory.
    """

    engine: Engine
    folder: Path
    address: str | None


@contextmanager
def opened(archive: str | None, data_dir: str | None) -> Generator[Asked]:
    """Give the archive that options mean; one that cannot be asked ends the command with a sentence and code 1.

    Raises:
        ConfigError: the address is none, a package is missing, or a newer eventmw wrote what is there.
    """
    try:
        from eventmw.archive.migrations import check  # noqa: PLC0415 - of an extra
        from eventmw.archive.place import archive_engine, file_of  # noqa: PLC0415 - as above

        import_module("eventmw.query.run")  # root may become a user who cannot read it
    except ImportError as error:
        raise ConfigError([f"{keeping.MISSING} ({error.name})"]) from None
    folder = resolved(data_dir)
    address = archives.address_of(folder, archive)
    engine = archive_engine(folder, address)
    try:
        if (file := file_of(engine)) is not None:
            output.become_owner(folder)
            _check_access(file)
            if not file.is_file():
                output.fail(
                    f"there is no archive in {file.parent}. Name the site's data_dir with --data-dir, or --archive."
                )
        check(engine)
        if not _has_table(engine):
            output.fail("the archive has no events yet: no site with eventbunker_path has written to it.")
        yield Asked(engine, folder, address)
    finally:
        engine.dispose()


def _check_access(file: Path) -> None:
    """End with a sentence when this user may not read a file that is there, or look whether it is."""
    try:
        may = not file.exists() or os.access(file, os.R_OK, effective_ids=True)
    except PermissionError:
        may = False
    if not may:
        reason = os.strerror(errno.EACCES)
        output.fail(f"{file} cannot be read: {reason}. Run the command as the user that the site runs as.")


@contextmanager
def _connected(engine: Engine) -> Generator[Connection]:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - of an extra

    from eventmw.archive.database import why  # noqa: PLC0415 - as above

    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        output.fail(f"the archive cannot be opened: {why(error, engine)}.")


def _has_table(engine: Engine) -> bool:
    from sqlalchemy import inspect  # noqa: PLC0415 - of an extra

    from eventmw.archive.tables import events  # noqa: PLC0415 - as above

    with _connected(engine) as connection:
        return inspect(connection).has_table(events.name)


def project_of(asked: Asked, given: str | None) -> str:
    """Return the id of the project with an id or a name; of an archive that holds only one, it need not be given.

    Raises:
        click.UsageError: it is not clear which is meant.
    """
    names = _names(asked)
    if given is None:
        return _only(asked.engine, names)
    meant = [project for project, name in names.items() if given in {project, name}]
    if len(meant) > 1:
        raise click.UsageError(f"{len(meant)} projects are called {plain(given)}; give an id: {_shown(meant, names)}.")
    if meant:
        return meant[0]
    held = _held(asked.engine)
    if given not in held:  # it may be one that was ended, or whose keys are elsewhere
        there = _shown([*names, *(project for project in held if project not in names)], names)
        output.fail(
            f"there is no project {plain(given)}; " + (f"there are {there}." if there else "there is none yet.")
        )
    return given


def _only(engine: Engine, names: Mapping[str, str]) -> str:
    held = _held(engine)
    if not held:
        output.fail("the archive has no events yet.")
    if len(held) > 1:
        output.fail(f"the archive has several projects: {_shown(held, names)}. Name one with --project.")
    return held[0]


def _shown(projects: Sequence[str], names: Mapping[str, str]) -> str:
    return ", ".join(f"{plain(names[one])} ({plain(one)})" if one in names else plain(one) for one in projects)


def _held(engine: Engine) -> Sequence[str]:
    """Return the projects that have events: two steps in the index for each, not a walk through all."""
    from sqlalchemy import func, select  # noqa: PLC0415 - of an extra

    from eventmw.archive.tables import events  # noqa: PLC0415 - as above

    found: list[str] = []
    first = select(func.min(events.c.project_id))
    with _connected(engine) as connection:
        while (one := connection.scalar(first.where(events.c.project_id > found[-1]) if found else first)) is not None:
            found.append(one)
    return found


def _names(asked: Asked) -> Mapping[str, str]:
    """Return id → name of the projects that have keys; nothing where those cannot be read: ids will do."""
    from sqlalchemy import inspect  # noqa: PLC0415 - of an extra
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - as above

    from eventmw.keys.place import file_of, keys_engine  # noqa: PLC0415 - as above
    from eventmw.keys.schema import KeysAway  # noqa: PLC0415 - as above
    from eventmw.keys.store import KeyStore  # noqa: PLC0415 - as above
    from eventmw.keys.tables import state  # noqa: PLC0415 - as above

    try:
        if (file := file_of(asked.folder, asked.address)) is not None and not file.exists():
            return {}
    except PermissionError:
        return {}
    engine = keys_engine(asked.folder, asked.address)
    try:
        if not inspect(engine).has_table(state.name):
            return {}
        return {project.id: project.name for project in KeyStore(engine).projects()}
    except (SQLAlchemyError, KeysAway):
        return {}
    finally:
        engine.dispose()
