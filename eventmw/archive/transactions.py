"""Transactions on the archive, and what their failures mean: the database is away, or a row cannot be one.

Layer: input and output.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from eventmw.archive.database import begun, why
from eventmw.errors import EventmwError

_ROWS_FAULT: Final = (DataError, IntegrityError, OverflowError, TypeError, ValueError, RecursionError)

_STATES: Final = frozenset({"22", "23", "54"})
"""PostgreSQL's classes for what is wrong with a value: data exception, constraint, program limit exceeded. A limit of an
index is an operational error to the driver. Source: PostgreSQL, appendix A."""


class ArchiveAway(EventmwError):  # noqa: N818 - the name of the condition
    """The archive cannot be read or written now. The message holds no values. Becomes ``503``."""


class Unfit(EventmwError, ValueError):  # noqa: N818 - as above
    """The database refuses a value, and would refuse it again."""


@contextmanager
def transaction(engine: Engine, *, writes: bool = False) -> Generator[Connection]:
    """Give a connection in a transaction.

    Raises:
        ArchiveAway: the database does not answer, or is not as it should be.
        Unfit: it refuses a value.
    """
    try:
        with begun(engine, writes=writes) as connection:
            yield connection
    except (*_ROWS_FAULT, SQLAlchemyError) as error:
        if is_rows_fault(error):
            raise Unfit(type(getattr(error, "orig", None) or error).__name__) from None
        raise ArchiveAway(why(error, engine)) from None


def is_rows_fault(error: BaseException) -> bool:
    """Return whether a value is to blame, and not the database."""
    cause = getattr(error, "orig", None) or error
    state: object = getattr(cause, "sqlstate", None)
    if isinstance(state, str):
        return state[:2] in _STATES
    return isinstance(error, _ROWS_FAULT) or isinstance(cause, _ROWS_FAULT)
