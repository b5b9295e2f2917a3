"""What the translation asks of a database: the words that SQLite and PostgreSQL say differently, for the same answers.

Layer: input and output (it names a library of an extra, and touches nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Select

Sql = ColumnElement[Any]
Holds = ColumnElement[bool]
Branch = tuple[Holds, Holds]
"""A kind of value, and what has to hold of a value of that kind."""


class Value(Protocol):
    """A value inside an event's fields; SQL's NULL where there is none."""

    @property
    def is_there(self) -> Holds:
        """Whether the event has such a field, if only with null."""
        ...

    @property
    def has_value(self) -> Holds:
        """Whether it is there and not null."""
        ...

    @property
    def number(self) -> Sql:
        """The number that it is, else NULL."""
        ...

    @property
    def scalar(self) -> Sql:
        """The text, number or boolean that it is, else NULL; equal ones are equal, and no two kinds are."""
        ...

    def of_text(self, holds: Callable[[Sql], Holds]) -> Branch:
        """Return a branch for texts."""
        ...

    def of_number(self, holds: Callable[[Sql], Holds]) -> Branch:
        """Return a branch for numbers."""
        ...

    def of_boolean(self, values: set[bool]) -> Branch:
        """Return a branch for booleans that are one of `values`."""
        ...

    def of_array(self, holds: Callable[[Value], Holds]) -> Branch:
        """Return a branch for arrays of which one member holds."""
        ...


class Words(Protocol):
    """One database's way to say things; `eventmw.query.sqlite` and `eventmw.query.postgresql` are these."""

    def value_at(self, path: tuple[str, ...]) -> Value:
        """Return the value of a field of the event that is looked at."""
        ...

    def literal_number(self, value: float) -> Sql:
        """Return a number to compare with."""
        ...

    def scalar_order(self, scalar: Sql) -> Sequence[Sql]:
        """Return what scalars are ordered by: null, numbers, texts by code points, false, true."""
        ...

    def scalar_of(self, cell: Any) -> Any:
        """Return the scalar that a cell of such a column stands for; a number may be a Decimal."""
        ...

    def text_order(self, text: Sql) -> Sql:
        """Return a text so that it is ordered by code points."""
        ...

    def starts_with(self, text: Sql, start: str) -> Holds:
        """Return whether a text begins so."""
        ...

    def ends_with(self, text: Sql, end: str) -> Holds:
        """Return whether a text ends so."""
        ...

    def contains(self, text: Sql, part: str) -> Holds:
        """Return whether a text holds another."""
        ...

    def total(self, number: Sql) -> Sql:
        """Return a sum: exact where all numbers are integers; NULL of nothing. It may fail past 64 bits."""
        ...

    def wide_total(self, number: Sql) -> Sql:
        """Return a sum that does not fail: exact where all numbers are integers and it has 64 bits, else a double."""
        ...

    def mean(self, number: Sql) -> Sql:
        """Return the mean, a double; NULL of nothing."""
        ...

    def percentile(self, number: Sql, share: float) -> Sql:
        """Return a percentile: between two numbers, in proportion; NULL of nothing."""
        ...

    def year_and_month(self, seconds: Sql) -> Sql:
        """Return twelve times the year, plus 0 to 11 for the month, of local seconds since 1970."""
        ...

    def fenced(self, inner: Select[Any], *, reused: bool) -> Select[Any]:
        """Return the inner floor so that the database works out each of its columns once, as far as that helps it.

        Args:
            inner: the inner floor.
            reused: whether the outer one uses a value that is worked out there more than once.
        """
        ...
