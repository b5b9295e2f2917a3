"""``eventmw erase``: take a person out of all that is kept.

Layer: people.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from eventmw.archive import note
from eventmw.cli import archives, keeping, output
from eventmw.cli.keeping import Place
from eventmw.cli.output import count
from eventmw.control.view import Json
from eventmw.erasure import Person
from eventmw.errors import ConfigError, EventmwError
from eventmw.keys.note import KeyNote

if TYPE_CHECKING:
    from eventmw.archive.store import Archive
    from eventmw.keys.store import KeyStore


@click.command(short_help="Erase a person from all that is kept.")
@click.argument("value")
@click.option(
    "--field",
    "fields",
    metavar="NAME",
    multiple=True,
    help="Where events name the person: a property, or a path such as system.cookies.uid; may be given again. "
    "Default: the site's person_fields.",
)
@keeping.placed
@click.option("--dry-run", is_flag=True, help="Only say what is there.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output.as_json(
    help='{"records": n, "parked": n, "dead": n}, "rows": n where there is an archive, "keys": n where some are bound.'
)
def erase(
    value: str,
    fields: tuple[str, ...],
    *,
    place: Place,
    dry_run: bool,
    yes: bool,
    in_json: bool,
) -> None:
    """Erase every event of the person named VALUE: from records, parked events, dead letters and the archive.

    Keys that are bound to the person end, and are removed.

    \b
      eventmw erase ann@example.com --dry-run
      eventmw erase 8841 --field user_id --field system.cookies.uid

    VALUE has to be the whole value, exactly; of a number, its digits. Events that a tool has not got yet are not delivered
    any more, and no replay brings them back. What has left this machine is not reached: vendors, backups.
    docs/erasure.md has all.
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if not value:
        raise click.UsageError("VALUE is empty: that would be everybody without a name.")
    try:
        folder, address = place.resolved()
    except ConfigError as error:
        output.fail(keeping.sentence(f"{'; '.join(error.problems)}. Nothing was erased"))
    with output.looking(str(folder)) as view:
        archive = _archive(folder, address)
        person = Person(fields or view.person_fields(), value)
        keys, are_unreached = _keys(folder, address)
        if dry_run or not yes:
            found = {**view.erase(person, dry_run=True), **_rows(archive, person, dry_run=True)}
            found |= _bound(keys, person, dry_run=True, in_json=in_json)
            _show(found, "There are", person, in_json=in_json and dry_run)
            if dry_run or not any(found.values()) or not _confirmed():
                sys.exit(int(are_unreached))
        bound = _bound(keys, person, dry_run=False, in_json=in_json)  # first, or they would go on writing
        erased = view.erase(person)  # before the rows, or it would fill the archive again
        gone = {**erased, **_rows(archive, person, dry_run=False), **bound}
        _show(gone, "Erased:", person, in_json=in_json)
    if are_unreached:
        sys.exit(1)


def _archive(folder: Path, address: str | None) -> Archive | None:
    """Return the archive that is meant; None where there is none."""
    try:
        from eventmw.archive import persons  # noqa: PLC0415 - of an extra
    except ImportError as error:
        if address is None and note.read(folder) is None:
            return None
        output.fail(
            f"{output.needs(keeping.MISSING, error)}. The archive is not reached without it; nothing was erased."
        )
    try:
        if (found := persons.archive_at(folder, address)) is not None:
            click.get_current_context().call_on_close(found.engine.dispose)
        if (doubt := archives.doubt(folder, address)) is not None:
            words = f"Warning: {doubt} What is there of the person stays."
            output.say(words, output.WARNING, error=True)
    except ConfigError as error:
        output.fail(keeping.sentence(f"{'; '.join(error.problems)}. Nothing was erased"))
    return found


def _keys(folder: Path, address: str | None) -> tuple[KeyStore | None, bool]:
    """Return the keys that are meant, None where there are none; and whether there are some that are not reached."""
    if KeyNote(folder).read() is None and not (address is None and (folder / "keys.sqlite3").exists()):
        return None, False
    try:
        from eventmw.keys.place import keys_engine  # noqa: PLC0415 - of an extra
        from eventmw.keys.schema import KeysAway  # noqa: PLC0415 - as above
        from eventmw.keys.store import KeyStore  # noqa: PLC0415 - as above
    except ImportError as error:
        output.fail(f"{output.needs(keeping.MISSING, error)}. The keys are not reached without it; nothing was erased.")
    engine = keys_engine(folder, address)
    click.get_current_context().call_on_close(engine.dispose)
    try:
        return KeyStore(engine), False
    except KeysAway as error:
        words = f"Warning: {error}. Once it is there again, erase the person once more: a key may be bound to them."
        output.say(words, output.WARNING, error=True)
        return None, True


def _bound(store: KeyStore | None, person: Person, *, dry_run: bool, in_json: bool) -> Json:
    """Return ``{"keys": n}`` where keys are bound to the person, and name them; nothing else."""
    if store is None:
        return {}
    try:
        bound = store.bound_to(person.value, person.fields)
        if bound and dry_run and not in_json:
            output.say(
                f"Keys that are bound to them: {', '.join(f'{key.id} ({key.kind})' for key in bound)}.", error=True
            )
        if bound and not dry_run:
            store.wipe(person.value, person.fields)
    except EventmwError as error:
        output.fail(keeping.sentence(f"the keys still have what they have: {error}"))
    return {"keys": len(bound)} if bound else {}


def _rows(archive: Archive | None, person: Person, *, dry_run: bool) -> Json:
    """Return ``{"rows": n}``, or nothing where there is no archive."""
    if archive is None:
        return {}
    from eventmw.archive import persons  # noqa: PLC0415 - of an extra

    try:
        return {"rows": persons.rows_of(archive, person) if dry_run else persons.erase(archive, person)}
    except ConfigError as error:
        _unreached("; ".join(error.problems))
    except EventmwError as error:
        _unreached(f"{error}. Run this again when it is back")


def _unreached(why: str) -> NoReturn:
    output.fail(f"The archive still has what it has: {why}.")


def _confirmed() -> bool:
    if output.confirmed("Erase them for good?"):
        return True
    output.say("Nothing was erased.", error=True)
    return False


def _show(numbers: Json, words: str, person: Person, *, in_json: bool) -> None:
    if in_json:
        output.say_json(numbers)
        return
    if not any(numbers.values()):
        output.say(f"Nothing is there of them: no event has that value as {_either(person)}.")
        return
    events = f"{count(numbers['events'], 'event')} in " if "events" in numbers else ""
    parked = f"{count(numbers.get('parked', 0), 'parked event')}, " if "parked" in numbers else ""
    rows = f", {count(numbers['rows'], 'row')} of the archive" if "rows" in numbers else ""
    keys = f", {count(numbers['keys'], 'key')}" if "keys" in numbers else ""
    kept = f"{count(numbers['records'], 'record')}, {parked}{count(numbers['dead'], 'dead letter')}"
    output.say(f"{words} {events}{kept}{rows}{keys}.")


def _either(person: Person) -> str:
    return " or ".join(filter(None, (", ".join(person.fields[:-1]), person.fields[-1])))
