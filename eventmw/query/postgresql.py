"""How PostgreSQL reads a value inside an event's fields (jsonb), with the same answers as `eventmw.query.sqlite`.

Layer: input and output (it names a library of an extra, and touches nothing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Self

from sqlalchemy import (
    BigInteger,
    Float,
    Integer,
    Numeric,
    Select,
    String,
    case,
    cast,
    column,
    exists,
    extract,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from eventmw.archive.tables import events
from eventmw.query.dialects import Branch, Holds, Sql

_NUMBER: Final = "1"
_TEXT: Final = "2"
_BOOLEAN: Final = "3"
"""Marks of kinds, in their order. Grouping by such texts takes half the time of grouping by jsonb."""
_ONE: Final[Sql] = literal_column("1")
_WHOLE: Final[Sql] = literal_column("'{}'")


@dataclass(frozen=True, slots=True)
class Value:
    """A value inside an event, as jsonb; NULL where there is none."""

    json: Sql
    text: Sql
    """The text that it is; anything else as JSON."""

    @classmethod
    def at(cls, path: tuple[str, ...]) -> Self:
        """Return the value of a field. A name never counts as the number of an array's member."""
        inside: Sql = events.c.fields
        for step in path[:-1]:
            inside = inside.op("->", return_type=JSONB())(literal(step, String))
        last = literal(path[-1], String)
        return cls(inside.op("->", return_type=JSONB())(last), inside.op("->>", return_type=String())(last))

    @classmethod
    def of(cls, json: Sql) -> Self:
        """Return the value that a jsonb expression is."""
        return cls(json, json.op("#>>", return_type=String())(_WHOLE))

    @property
    def kind(self) -> Sql:
        """Its kind, a word of ``jsonb_typeof``; NULL where there is none."""
        return func.jsonb_typeof(self.json, type_=String())

    @property
    def is_there(self) -> Holds:
        """Whether the event has such a field, if only with null."""
        return self.kind.is_not(None)

    @property
    def has_value(self) -> Holds:
        """Whether it is there and not null."""
        return func.coalesce(self.kind != "null", literal_column("FALSE"))

    @property
    def number(self) -> Sql:
        """The number that it is, else NULL."""
        return case((self.kind == "number", cast(self.json, Numeric)))

    @property
    def scalar(self) -> Sql:
        """The text, number or boolean that it is, as text with a mark of its kind before it; else NULL."""
        marked = {
            "string": literal_column(f"'{_TEXT}'").op("||", return_type=String())(self.text),
            "number": literal_column(f"'{_NUMBER}'").op("||", return_type=String())(self._digits),
            "boolean": literal_column(f"'{_BOOLEAN}'").op("||", return_type=String())(self.text),
        }
        return case(marked, value=self.kind).collate("C")

    @property
    def _digits(self) -> Sql:
        """Its digits: 1.0 and 1 have the same."""
        return cast(func.trim_scale(cast(self.json, Numeric)), String)

    def of_text(self, holds: Callable[[Sql], Holds]) -> Branch:
        """Return a branch for texts."""
        return self.kind == "string", holds(self.text)

    def of_number(self, holds: Callable[[Sql], Holds]) -> Branch:
        """Return a branch for numbers."""
        return self.kind == "number", holds(cast(self.json, Numeric))

    def of_boolean(self, values: set[bool]) -> Branch:
        """Return a branch for booleans that are one of `values`."""
        return self.kind == "boolean", self.text.in_(["true" if value else "false" for value in sorted(values)])

    def of_array(self, holds: Callable[[Value], Holds]) -> Branch:
        """Return a branch for arrays of which one member holds."""
        is_array = self.kind == "array"
        members = case((is_array, self.json), else_=cast(literal_column("'[]'"), JSONB))
        member = func.jsonb_array_elements(members).table_valued(column("value", JSONB), joins_implicitly=True)
        return is_array, exists(select(_ONE).select_from(member).where(holds(Value.of(member.c.value))))


def value_at(path: tuple[str, ...]) -> Value:
    """Return the value of a field of the event that is looked at."""
    return Value.at(path)


def scalar_order(scalar: Sql) -> Sequence[Sql]:
    """Return what scalars are ordered by: null, numbers, texts by code points, false, true."""
    mark = func.left(scalar, 1, type_=String()).collate("C")
    digits = case((func.left(scalar, 1) == _NUMBER, cast(func.substr(scalar, 2), Numeric)))
    return [mark, digits, scalar.collate("C")]


def scalar_of(cell: str | None) -> str | Decimal | bool | None:
    """Return the scalar that a cell stands for."""
    if cell is None:
        return None
    mark, rest = cell[0], cell[1:]
    return rest if mark == _TEXT else Decimal(rest) if mark == _NUMBER else rest == "true"


def text_order(text: Sql) -> Sql:
    """Return a text so that it is ordered by code points, whatever the database's own collation."""
    return text.collate("C")


def starts_with(text: Sql, start: str) -> Holds:
    """Return whether a text begins so."""
    return func.starts_with(text, literal(start, String))


def ends_with(text: Sql, end: str) -> Holds:
    """Return whether a text ends so."""
    return func.right(text, len(end)) == literal(end, String)


def contains(text: Sql, part: str) -> Holds:
    """Return whether a text holds another."""
    return func.strpos(text, literal(part, String)) > 0


def total(number: Sql) -> Sql:
    """Return a sum, exact; NULL of nothing."""
    return func.sum(number)


wide_total = total


def mean(number: Sql) -> Sql:
    """Return the mean, a double."""
    return cast(func.sum(number), Float(53)) / cast(func.count(number), Float(53))


def percentile(number: Sql, share: float) -> Sql:
    """Return a percentile, between two numbers in proportion."""
    return func.percentile_cont(cast(share, Float(53))).within_group(cast(number, Float(53)))


def year_and_month(seconds: Sql) -> Sql:
    """Return twelve times the year, plus 0 to 11 for the month, of local seconds since 1970."""
    local = func.timezone("UTC", func.to_timestamp(cast(seconds, Float(53))))
    return cast(extract("year", local) * 12 + extract("month", local) - 1, BigInteger)


def literal_number(value: float) -> Sql:
    """Return a number to compare with: its shortest decimal form, which is what a document holds of a double."""
    return literal(Decimal(repr(value)), Numeric())


def fenced(inner: Select[Any], *, reused: bool) -> Select[Any]:
    """Return the inner floor with an offset of nothing, when a value of it is used more than once.

    Else PostgreSQL merges both floors, which writes the value's expression wherever it is used, and, where it takes every
    event for a group of its own, sorts whole events on the disk. Merged it can share the work among its workers, so what is
    used once stays so. Source: PostgreSQL, «is_simple_subquery» in prepjointree.c.
    """
    return inner.offset(literal_column("0", Integer)) if reused else inner
