"""Which archive the commands mean: the one that is named, else the one that the site of the data directory uses.

Layer: people.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Final

import click

from eventmw.archive import note
from eventmw.errors import ConfigError

ARCHIVE: Final = "EVENTMW_ARCHIVE"

option: Final = partial(
    click.option,
    "--archive",
    metavar="ADDRESS",
    help=f"The site's archive. Default: ${ARCHIVE}, which other users cannot read, else the one that the site uses.",
)


def address_of(folder: Path, given: str | None) -> str | None:
    """Return the address of the archive that is meant; None: it is in the data directory.

    Args:
        folder: the data directory.
        given: what an option says.

    Raises:
        ConfigError: the site uses one that does not open without its password.
    """
    if named := given or os.environ.get(ARCHIVE):
        return named
    found = note.read(folder)
    if found is None or found.is_whole:
        return None if found is None else found.address
    problem = (
        f"the site of {folder} keeps its events and keys in {found.address}, which does not open without the rest of its "
        f"address. Say the whole of it, with --archive or in ${ARCHIVE}"
    )
    raise ConfigError([problem])


def doubt(folder: Path, address: str | None) -> str | None:
    """Return a sentence when the site of a data directory uses another archive than the one at an address.

    Args:
        folder: the data directory.
        address: as `address_of` returns it; one that works.
    """
    found = note.read(folder)
    if found is None:
        return None
    from sqlalchemy import make_url  # noqa: PLC0415 - of an extra

    if found.is_of(None if address is None else make_url(address)):
        return None
    return f"This is not the archive that the site of {folder} uses: that is {found.address or 'in its folder'}."
