"""Where the commands ``project`` and ``keys`` find the keys of a site, and how they show a secret.

Layer: people.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import click

from eventmw.cli import archives, output
from eventmw.control.inspection import resolved
from eventmw.errors import ConfigError, EventmwError, Refused
from eventmw.keys import bodies
from eventmw.keys.bodies import CallName
from eventmw.keys.grants import Issued, Project
from eventmw.keys.note import KeyNote
from eventmw.secret import reveal

if TYPE_CHECKING:
    from eventmw.keys.store import KeyStore

MISSING: Final = "The EventBunker API needs a package that is missing: pip install 'eventmw[eventbunker]'"


@dataclass(frozen=True, slots=True)
class Place:
    """Which site is meant, as the options say it: its data directory and archive, or a configuration that names both."""

    data_dir: str | None
    archive: str | None
    source: str | None

    def resolved(self) -> tuple[Path, str | None]:
        """Return the data directory, and the address of the archive when it is not in there.

        Raises:
            ConfigError: the configuration has problems, or the archive is one of which only the site knows the password.
        """
        if self.source is None:
            folder = resolved(self.data_dir)
            return folder, archives.address_of(folder, self.archive)
        from eventmw.cli.found import configuration  # noqa: PLC0415 - imports a site

        config = configuration(self.source)
        archive = self.archive or config.archive
        return resolved(self.data_dir or config.data_dir), None if archive is None else reveal(archive)


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which site is meant; it gets them as its keyword ``place``."""

    @wraps(command)
    def with_place(data_dir: str | None, archive: str | None, source: str | None, **given: Any) -> None:
        _check_unicode(given.values())
        command(**given, place=Place(data_dir, archive, source))

    for option in (
        click.option(
            "--config", "source", metavar="CONFIG.toml|MODULE:APP", help="Take both from the site's configuration."
        ),
        archives.option(),
        output.data_dir(),
    ):
        with_place = option(with_place)
    return with_place


def _check_unicode(given: Iterable[object]) -> None:
    """Look whether arguments are text.

    Raises:
        click.UsageError: one holds bytes that are not valid in this terminal's encoding.
    """
    for value in given:
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise click.UsageError("One of the arguments is not valid Unicode.")
        if isinstance(value, tuple):
            _check_unicode(cast(tuple[object, ...], value))


@contextmanager
def opened(place: Place, *, make: bool, new_store: bool = False) -> Generator[KeyStore]:
    """Give the keys of a site; what goes wrong as expected ends the command with a sentence and code 1.

    Args:
        place: which site.
        make: whether a file of keys is made when there is none.
        new_store: whether a new store takes the place of one that is gone or cannot be read.
    """
    try:
        from eventmw.keys.place import file_of, keys_engine  # noqa: PLC0415 - brings the database
        from eventmw.keys.schema import WAY_OUT, KeysGone  # noqa: PLC0415 - as above
        from eventmw.keys.store import KeyStore  # noqa: PLC0415 - as above
    except ImportError as error:
        output.fail(output.needs(MISSING, error))
    try:
        folder, archive = place.resolved()
        file = file_of(folder, archive)
        is_first = file is not None and not file.exists()  # a site makes it at its start
        if file is not None:
            if is_first and not make and KeyNote(folder).read() is None:
                output.fail(f"There are no keys in {folder} yet: `eventmw project create NAME` makes a project.")
            output.become_owner(folder)
        if new_store:
            _give_up(folder, archive)
        engine = keys_engine(folder, archive)
        try:
            store = KeyStore(engine)
            _warn(folder, archive, is_first=is_first)
            yield store
        finally:
            engine.dispose()
    except ConfigError as error:
        output.fail(sentence("; ".join(error.problems)))
    except KeysGone as error:
        output.fail(f"{sentence(str(error))} {WAY_OUT}")
    except EventmwError as error:
        output.fail(sentence(str(error)))
    except ImportError as error:
        output.fail(output.needs(MISSING, error))
    except OSError as error:
        output.fail(f"{error.filename or 'the data directory'} cannot be used: {error.strerror}.")


def note_of(place: Place) -> KeyNote:
    """Return the note of a site's key store; root acts as the user that the site runs as."""
    try:
        folder, _ = place.resolved()
    except ConfigError as error:
        output.fail(sentence("; ".join(error.problems)))
    output.become_owner(folder)
    return KeyNote(folder)


def _give_up(folder: Path, archive: str | None) -> None:
    """Make way for a new key store, when the one that there was is gone or cannot be read. What there is of it stays."""
    from eventmw.keys.place import file_of, keys_engine  # noqa: PLC0415 - as above
    from eventmw.keys.schema import KeysAway, KeysGone  # noqa: PLC0415 - as above
    from eventmw.keys.store import KeyStore  # noqa: PLC0415 - as above

    note, file = KeyNote(folder), file_of(folder, archive)
    engine = keys_engine(folder, archive)
    try:
        KeyStore(engine)
    except KeysGone:
        pass
    except KeysAway:
        if file is None or not file.exists():
            raise
    else:
        if note.read() is not None:
            output.fail("The key store is sound: --new-store is for one that is gone, or that cannot be read.")
    finally:
        engine.dispose()
    if file is not None and file.exists() and (file.is_dir() or file.stat().st_size):
        aside = file.with_name(f"{file.name}.given-up-{time.time_ns() // 1_000_000_000}")
        file.rename(aside)
        output.say(f"What there was is kept as {aside}.", error=True)
    elif file is not None:
        file.unlink(missing_ok=True)
    note.forget()


def _warn(folder: Path, archive: str | None, *, is_first: bool) -> None:
    """Say on standard error what may be wrong with a place where keys are kept."""
    if (doubt := archives.doubt(folder, archive)) is not None:
        output.say(f"Warning: {doubt} Its keys are there.", output.WARNING, error=True)
    elif is_first:
        words = f"No site has used {folder} yet: what is made here works for one whose data_dir it is."
        output.say(f"Note: {words}", output.WARNING, error=True)


def sentence(text: str) -> str:
    """Return words of an error as a sentence."""
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def checked(call: CallName, arguments: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    """Return what a call takes, with the rules that its HTTP body has.

    Args:
        call: its name.
        arguments: key of the body → what people call it here, and its value; None, ``{}`` and ``[]`` are left out.

    Raises:
        click.UsageError: something is wrong with them.
    """
    body = {name: value for name, (_, value) in arguments.items() if value not in (None, {}, [])}
    try:
        bodies.check(call, body)
    except Refused as refused:
        fault = refused.faults[0]
        key = fault.path.split("/")[1] if fault.path else ""
        said = arguments.get(key, ("", None))[0] or key
        raise click.UsageError(f"{said}: {fault.message}." if said else sentence(fault.message)) from None
    return body


def project_of(store: KeyStore, given: str | None) -> Project:
    """Return the project with an id or a name; of a site that has only one, it need not be given.

    Raises:
        click.UsageError: it is not clear which is meant.
    """
    found = store.projects()
    meant = [project for project in found if given is None or given in {project.id, project.name}]
    if len(meant) == 1:
        return meant[0]
    shown = ", ".join(f"{output.plain(project.name)} ({project.id})" for project in meant or found)
    if not found:
        output.fail("There is no project yet: `eventmw project create NAME` makes one.")
    if not meant:
        output.fail(f"There is no project {output.plain(given)}; there are {shown}.")
    if given is None:
        raise click.UsageError(f"Say which project, with --project: there are {shown}.")
    raise click.UsageError(f"{len(meant)} projects are called {output.plain(given)}; give an id: {shown}.")


def key_of(store: KeyStore, given: str, project: str | None) -> tuple[str, str]:
    """Return the ids of a key and its project. What a key begins with, or the whole of it, names it as well as its id."""
    named = given.split("_")[2] if given.startswith("eb_") and given.count("_") > 1 else given
    among = store.projects() if project is None else [project_of(store, project)]
    found = [(one.id, named) for one in among if any(listed.key.id == named for listed in store.keys(one.id))]
    if not found:
        output.fail("There is no key with this id; `eventmw keys list` shows those that work.")
    return found[0]


def show(store: KeyStore, issued: Issued, what: str, saved: str) -> None:
    """Print a secret on standard output, alone, and what is to be said of it on standard error."""
    output.say(what, output.GOOD, error=True)
    click.echo(issued.secret.reveal())
    kept = f"This is the only time that it is shown: only its digest is kept, in {output.plain(store.where)}."
    output.say(f"{kept} {saved}", output.WARNING, error=True)
