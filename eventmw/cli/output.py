"""How commands speak: tables for a terminal, plain columns for a pipe, JSON Lines for programs, errors on stderr.

Names and values come from strangers, so nothing is printed that could move a cursor or forge a line.

Layer: people. ``NO_COLOR`` and ``COLUMNS`` are respected; a pipe gets neither colours nor cut-off lines.
"""

from __future__ import annotations

import codecs
import logging
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, Final, NoReturn

import click
from rich.console import Console
from rich.text import Text

from eventmw.config import DEFAULT_DATA_DIR
from eventmw.control.inspection import DATA_DIR, look_into, resolved
from eventmw.control.view import NobodyLive, View
from eventmw.errors import ConfigError, EventmwError
from eventmw.journal.files import filesystem
from eventmw.jsontext import for_line

GOOD: Final = "green"
BAD: Final = "red"
WARNING: Final = "yellow"
QUIET: Final = "dim"


def console(file: IO[str] | None = None) -> Console:
    """Return where things are written: standard output, unless another file is named."""
    return Console(file=file or sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(text: str, style: str = "", *, error: bool = False) -> None:
    """Print one line."""
    console(sys.stderr if error else None).print(Text(text, style=style))


def say_json(value: object) -> None:
    """Print one line of JSON that holds nothing but printable characters."""
    click.echo(for_line(value))


def fail(text: str, code: int = 1) -> NoReturn:
    """End with a sentence on stderr."""
    console(sys.stderr).print(Text.assemble(("Error: ", BAD), text))
    sys.exit(code)


def confirmed(question: str, otherwise: str = "--yes does not ask.") -> bool:
    """Ask on stderr; where no person can answer, end with what to do instead. Nothing was changed then."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        fail(f"nobody answered, and nothing was changed. {otherwise}")


def plain(value: object) -> str:
    """Return text as it is when all of it can be printed, else with escapes; other JSON values as JSON."""
    if not isinstance(value, str):
        return for_line(value)
    return value if value.isprintable() else for_line(value)[1:-1]


Cell = str | Text
_GAP: Final = "  "

NOTHING: Final = "-"
"""Stands in a cell that has nothing to say."""


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: Sequence[str] = (), below: Sequence[str] = ()
) -> None:
    """Print a table whose cells are never broken; in a pipe one row a line, and nothing cut off.

    On a terminal, columns without anything in them are left out. Where it is too narrow, the last column goes below its
    row; where that is not enough, each row becomes a block.

    Args:
        columns: their headings.
        rows: ``len(row) == len(columns)``.
        right: the columns of numbers.
        below: on a terminal, what stands in these columns stands in a line of its own below the row.
    """
    out = console()
    if not out.is_terminal:
        _columns(columns, rows)
        return
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    kept = [column for column in columns if any(_says(record[column]) for record in records)]
    across = [column for column in kept if column not in below]
    for drawn in (across, across[:-1]):
        widths = {column: max(len(column), *(len(record[column]) for record in records)) for column in drawn}
        if sum(widths.values()) + len(_GAP) * (len(widths) - 1) <= out.width:
            _lines(out, records, widths, right, [column for column in kept if column not in drawn])
            return
    _blocks(out, kept, records, right)


def _says(cell: Cell) -> bool:
    return str(cell) not in {"", NOTHING}


def _lines(
    out: Console,
    records: Sequence[Mapping[str, Cell]],
    widths: Mapping[str, int],
    right: Sequence[str],
    below: Sequence[str],
) -> None:
    heads: dict[str, Cell] = {column: Text(column, "bold") if column in widths else "" for column in (*widths, *below)}
    for record in (heads, *records):
        cells = [_aligned(record[column], width, end=column in right) for column, width in widths.items()]
        line = Text(_GAP).join(cells)
        line.rstrip()
        out.print(line)
        for column in below:
            _below(out, column, record[column])


def _aligned(cell: Cell, width: int, *, end: bool) -> Text:
    text = cell.copy() if isinstance(cell, Text) else Text(cell)
    text.align("right" if end else "left", width)
    return text


def _below(out: Console, column: str, cell: Cell) -> None:
    if _says(cell):
        for line in Text.assemble((f"{column}: ", QUIET), cell).wrap(out, out.width - len(_GAP)):
            line.rstrip()
            out.print(Text(_GAP).append_text(line))


def _blocks(out: Console, columns: Sequence[str], records: Sequence[Mapping[str, Cell]], right: Sequence[str]) -> None:
    """Print the first cell as a heading, the numbers in one line, and each other cell in its own."""
    for record in records:
        out.print(Text.assemble((str(record[columns[0]]), "bold")))
        for column in columns[1:]:
            if column not in right:
                _below(out, column, record[column])
        if numbers := ", ".join(f"{column} {record[column]}" for column in columns if column in right):
            out.print(f"  {numbers}")


def _columns(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    lines = [list(columns), *([str(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def age(since_ms: int, now_ms: int | None = None) -> str:
    """Return how long ago something was, in its largest unit: ``3 min``."""
    return span(((now_ms if now_ms is not None else time.time_ns() // 1_000_000) - since_ms) / 1000)


def span(seconds: float) -> str:
    """Return a length of time in its largest unit: ``45 s``, ``3 min``, ``2 h``, ``5 d``."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def clock_time(wall_ms: int) -> str:
    """Return the local time of day, ``14:03:10``."""
    return time.strftime("%H:%M:%S", time.localtime(wall_ms / 1000))


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 event``, ``1,200 events``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def sizes(number: int) -> str:
    """Return a number of bytes for people: ``1.2 MiB``."""
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= length:
            return f"{number / length:.1f} {unit}"
    return f"{number} bytes"


def pairs(values: Mapping[str, int]) -> str:
    """Return counts in words: ``delivered 1,200, filtered 30``."""
    return ", ".join(f"{name} {number:,}" for name, number in values.items())


data_dir: Final = partial(
    click.option,
    "--data-dir",
    metavar="FOLDER",
    help=f"The site's data_dir. Default: ${DATA_DIR}, else {DEFAULT_DATA_DIR} in this folder.",
)
as_json: Final = partial(click.option, "--json", "in_json", is_flag=True)


@contextmanager
def looking(folder: str | None) -> Generator[View]:
    """Give the view of a data directory; what goes wrong as expected ends the command with a sentence and code 1.

    What could not be seen is said on stderr at the end.
    """
    view = look_into(folder)
    become_owner(resolved(folder))  # after the imports
    journal_log, already_said = logging.getLogger("eventmw.journal"), _is_news(resolved(folder))
    journal_log.addFilter(already_said)
    try:
        yield view
    except ConfigError as error:
        fail(str(error))
    except NobodyLive as error:
        fail(f"{error} Name it with --data-dir or ${DATA_DIR}.")
    except EventmwError as error:
        fail(str(error))
    except LookupError as error:
        fail(f"{error.args[0]}." if error.args else "there is no such thing")
    except ValueError as error:
        fail(str(error))
    except PermissionError as error:
        fail(f"{error.filename or folder} cannot be read by {filesystem.user_name(os.geteuid())}: {error.strerror}.")
    except ImportError as error:
        fail(needs("eventmw needs a package that is missing", error))
    except BrokenPipeError:
        # `| head` has seen enough. Python flushes at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    finally:
        for note in view.notes:
            say(f"Note: {note}.", WARNING, error=True)
        view.close()
        journal_log.removeFilter(already_said)


def _is_news(folder: Path) -> Callable[[logging.LogRecord], bool]:
    """Return a filter that keeps out where the folder lies and who can write it: sites, workers and `check` say so."""
    known = frozenset(filesystem.warnings_for(folder))
    return lambda record: record.getMessage() not in known


_LATER: Final = (
    "asyncio",
    "sqlite3",
    "encodings.idna",
    "eventmw.archive.persons",
    "eventmw.keys.store",
    "eventmw.query.run",
    "eventmw.control.folder",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "eventmw.archive.postgresql",
    "sqlalchemy.dialects.postgresql.psycopg",
)
"""What commands import when they need it, some of it of an extra that may not be there."""


def _read_ahead() -> None:
    """Read what commands read later: the user that root is about to become may not be able to read Python's own folder."""
    from eventmw.assembly import assembled  # noqa: PLC0415 - other users need not wait for it
    from eventmw.config import Config  # noqa: PLC0415 - as above

    codecs.lookup("ascii")
    assembled(Config())
    for name in _LATER:
        with suppress(ImportError):
            import_module(name)


def needs(package: str, error: ImportError) -> str:
    """Return a sentence for an import that failed: a package is missing, or the user that root became cannot read it."""
    if os.geteuid() == os.getuid():
        return f"{package} ({error.name})"
    folder = Path(__file__).parent
    who = filesystem.user_name(os.geteuid())
    return (
        f"Root acts as {who}, whom the data directory belongs to, and {who} cannot read all of Python's or eventmw's files "
        f"({error.name}; eventmw is in {folder}). Run the command as {who}, with a Python that {who} can read."
    )


def become_owner(folder: Path) -> None:
    """Have root act as the user that a data directory belongs to: what root wrote there, the site could not read."""
    if os.geteuid() == 0 and folder.is_dir() and (owner := folder.stat()).st_uid != 0:
        _read_ahead()
        os.setgroups([owner.st_gid])
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
