"""What the translation asks of a database: what SQLite and PostgreSQL write differently, for the same answers.

SQL is written as text, and not as a tree of SQLAlchemy's expressions: such a tree cost a question with fifty filters 300 to
600 ms of the interpreter's lock, and every page of the site waited for it; the text costs 2. A value never becomes a part of
the text: a `Binder` keeps it, and returns what stands for it. Source: measured, docs/benchmarks.md.

Layer: pure rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Protocol

Sql = str
"""An expression in SQL."""

Holds = str
"""A condition in SQL: true, false or NULL."""

Branch = tuple[Holds, Holds]
"""A kind of value, and what has to hold of a value of that kind."""

One = str | int | float | Decimal
"""One value that a statement compares with."""

Bindable = One | Sequence[One]
"""The same, or an array of one kind, which is one parameter as well."""

FIELDS = "eventmw_events.fields"


class Binder(Protocol):
    """Takes a value, and returns the SQL that stands for it: a parameter, or a literal where people read it."""

    def __call__(self, value: Bindable, /) -> Sql:
        """Return what stands for a value."""
        ...


class Parameters:
    """A `Binder` of named parameters: equal values are one of them, however often a statement uses it.

    Args:
        placeholder: makes the SQL of a parameter from its name and value.
        driver_value: makes what the driver is handed.

    Attributes:
        values: name → value, as the driver takes them.
    """

    def __init__(self, placeholder: Callable[[str, Bindable], Sql], driver_value: Callable[[Bindable], Any]) -> None:
        self.values: dict[str, Any] = {}
        self._placeholder = placeholder
        self._driver_value = driver_value
        self._known: dict[object, Sql] = {}

    def __call__(self, value: Bindable, /) -> Sql:
        """Return the parameter of a value."""
        known = (type(value), value if isinstance(value, str | int | float | Decimal) else tuple(value))
        if known not in self._known:
            name = f"p{len(self.values)}"
            self.values[name] = self._driver_value(value)
            self._known[known] = self._placeholder(name, value)
        return self._known[known]


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
    def digits(self) -> Sql:
        """The number that it is as the event has it, however large it is; else NULL."""
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

    def parameters(self) -> Parameters:
        """Return a binder of the parameters of one statement."""
        ...

    def literal(self, value: Bindable) -> Sql:
        """Return a value as the database's own shell reads it. A `Binder`."""
        ...

    def value_at(self, path: tuple[str, ...], bind: Binder) -> Value:
        """Return the value of a field of the event that is looked at."""
        ...

    def fields(self) -> Sql:
        """Return the free fields of the event that is looked at, as JSON text."""
        ...

    def comparable(self, value: float) -> One:
        """Return a number as it is compared with those of events."""
        ...

    def is_one_of(self, one: Sql, values: Sequence[One], bind: Binder) -> Holds:
        """Return whether an expression is one of an array's values. The array is one parameter."""
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

    def starts_with(self, text: Sql, start: str, bind: Binder) -> Holds:
        """Return whether a text begins so."""
        ...

    def ends_with(self, text: Sql, end: str, bind: Binder) -> Holds:
        """Return whether a text ends so."""
        ...

    def contains(self, text: Sql, part: str, bind: Binder) -> Holds:
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

    def remainder(self, number: Sql, divisor: int) -> Sql:
        """Return what is left of a whole number after a division."""
        ...

    def year_and_month(self, seconds: Sql) -> Sql:
        """Return twelve times the year, plus 0 to 11 for the month, of local seconds since 1970."""
        ...

    def fence(self, *, reused: bool) -> Sql:
        """Return what ends the inner floor so that the database works out each of its columns once, as far as that helps.

        Args:
            reused: whether the outer floor uses a value that is worked out in the inner one more than once.
        """
        ...


def cases(branches: Sequence[Branch], otherwise: Sql = "FALSE") -> Sql:
    """Return the first branch whose kind a value is of."""
    if not branches:
        return otherwise
    return f"CASE {' '.join(f'WHEN {kind} THEN {holds}' for kind, holds in branches)} ELSE {otherwise} END"
