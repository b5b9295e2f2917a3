"""``eventmw erase``: take a person out of all that is kept.

Layer: people.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from eventmw.cli import output
from eventmw.cli.output import count
from eventmw.control.inspection import resolved
from eventmw.control.view import Json
from eventmw.erasure import Person
from eventmw.errors import EventmwError

if TYPE_CHECKING:
    from eventmw.archive.store import Archive

ARCHIVE: Final = "EVENTMW_ARCHIVE"


@click.command(short_help="Erase a person from all that is kept.")
@click.argument("value")
@output.data_dir()
@click.option(
    "--field",
    "fields",
    metavar="NAME",
    multiple=True,
    help="Where events name the person: a property, or a path such as system.cookies.uid; may be given again. "
    "Default: the site's person_fields.",
)
@click.option(
    "--archive", metavar="ADDRESS", help=f"The archive of tracked events, where it is PostgreSQL. Default: ${ARCHIVE}."
)
@click.option("--dry-run", is_flag=True, help="Only say what is there.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output.as_json(help='{"records": n, "parked": n, "dead": n}')
def erase(
    data_dir: str | None,
    value: str,
    fields: tuple[str, ...],
    archive: str | None,
    *,
    dry_run: bool,
    yes: bool,
    in_json: bool,
) -> None:
    """Erase every event of the person named VALUE: from records, parked events, dead letters and the archive.

    \b
      eventmw erase ann@example.com --dry-run
      eventmw erase 8841 --field user_id --field system.cookies.uid

    VALUE has to be the whole value, exactly; of a number, its digits. Events that a tool has not got yet are not delivered
    any more, and no replay brings them back. What has left this machine is not reached: vendors, backups.
    docs/erasure.md has all.
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if not value:
        raise click.UsageError("VALUE is empty: that would be everybody without a name.")
    with output.looking(data_dir) as view:
        person = Person(fields or view.person_fields(), value)
        if dry_run or not yes:
            found = {**view.erase(person, dry_run=True), **_rows(data_dir, archive, person, dry_run=True)}
            _show(found, "There are", person, in_json=in_json and dry_run)
            if dry_run or not any(found.values()) or not _confirmed():
                return
        erased = view.erase(person)  # first, or it would fill the archive again
        gone = {**erased, **_rows(data_dir, archive, person, dry_run=False)}
        _show(gone, "Erased:", person, in_json=in_json)


def _rows(data_dir: str | None, address: str | None, person: Person, *, dry_run: bool) -> Json:
    """Return ``{"rows": n}``, or nothing where there is no archive."""
    try:
        from eventmw.archive import persons  # noqa: PLC0415 - of an extra
    except ImportError:
        return {}
    try:
        archive: Archive | None = persons.archive_at(resolved(data_dir), address or os.environ.get(ARCHIVE) or None)
        if archive is None:
            return {}
        return {"rows": persons.rows_of(archive, person) if dry_run else persons.erase(archive, person)}
    except EventmwError as error:
        output.fail(f"The archive was not reached, and still has what it has: {error}. Run this again.")


def _confirmed() -> bool:
    if click.confirm("Erase them for good?", err=True):
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
    output.say(
        f"{words} {events}{count(numbers['records'], 'record')}, {parked}{count(numbers['dead'], 'dead letter')}{rows}."
    )


def _either(person: Person) -> str:
    return " or ".join(filter(None, (", ".join(person.fields[:-1]), person.fields[-1])))
