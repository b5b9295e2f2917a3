"""How PostgreSQL reads a value inside an event's fields (jsonb), with the same answers as `eventmw.query.sqlite`.

Layer: pure rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from eventmw.query.dialects import FIELDS, Bindable, Binder, Branch, Holds, One, Parameters, Sql

_NUMBER: Final = "1"
_TEXT: Final = "2"
_BOOLEAN: Final = "3"
"""Marks of kinds, in their order. Grouping by such texts takes half the time of grouping by jsonb."""
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1
_LARGEST: Final = "1.7976931348623157e308"
_BEYOND: Final = "1e400"
_BENEATH: Final = "-1e1400"
"""What is beyond doubles, above and below. No number of events adds up one of them to what makes up for the other, so a sum
that holds any is beyond doubles too, which an answer gives as null, as SQLite's infinities end."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value inside an event, as jsonb; NULL where there is none."""

    json: Sql
    text: Sql
    """The text that it is; anything else as JSON."""

    @classmethod
    def at(cls, path: tuple[str, ...], bind: Binder) -> Self:
        """Return the value of a field. A name never counts as the number of an array's member."""
        inside = FIELDS
        for step in path[:-1]:
            inside = f"({inside} -> {bind(step)})"
        last = bind(path[-1])
        return cls(f"({inside} -> {last})", f"({inside} ->> {last})")

    @classmethod
    def of(cls, json: Sql) -> Self:
        """Return the value that a jsonb expression is."""
        return cls(json, f"({json} #>> '{{}}')")

    @property
    def kind(self) -> Sql:
        """Its kind, a word of ``jsonb_typeof``; NULL where there is none."""
        return f"jsonb_typeof({self.json})"

    @property
    def is_there(self) -> Holds:
        """Whether the event has such a field, if only with null."""
        return f"{self.kind} IS NOT NULL"

    @property
    def has_value(self) -> Holds:
        """Whether it is there and not null."""
        return f"coalesce({self.kind} <> 'null', FALSE)"

    @property
    def number(self) -> Sql:
        """The number that it is, else NULL."""
        return f"CASE WHEN {self.kind} = 'number' THEN {self._number} END"

    @property
    def digits(self) -> Sql:
        """The number that it is as the event has it, however large it is; else NULL."""
        return f"CASE WHEN {self.kind} = 'number' THEN {self.text} END"

    @property
    def scalar(self) -> Sql:
        """The text, number or boolean that it is, as text with a mark of its kind before it; else NULL."""
        return (
            f"(CASE {self.kind} WHEN 'string' THEN '{_TEXT}' || {self.text} "
            f"WHEN 'number' THEN '{_NUMBER}' || {self._least_digits} "
            f"WHEN 'boolean' THEN '{_BOOLEAN}' || {self.text} END) COLLATE \"C\""
        )

    @property
    def _least_digits(self) -> Sql:
        """The digits that it is grouped by: 1.0 and 1 have the same."""
        return f"CAST(trim_scale({self._number}) AS text)"

    @property
    def _number(self) -> Sql:
        """What it is as a number: an integer of more than 64 bits is a double, as SQLite has it.

        A double becomes a numeric by way of its text, since the cast keeps 15 digits of it. What is beyond doubles is one
        number, which the casts to doubles refuse.
        """
        number = f"CAST({self.json} AS numeric)"
        double = f"CAST(CAST(CAST({number} AS double precision) AS text) AS numeric)"
        return (
            f"CASE WHEN {number} BETWEEN {_LEAST} AND {_MOST} THEN {number} WHEN abs({number}) <= {_LARGEST} THEN {double} "
            f"WHEN {number} > 0 THEN {_BEYOND} ELSE {_BENEATH} END"
        )

    def of_text(self, holds: Callable[[Sql], Holds]) -> Branch:
        """Return a branch for texts."""
        return f"{self.kind} = 'string'", holds(self.text)

    def of_number(self, holds: Callable[[Sql], Holds]) -> Branch:
        """Return a branch for numbers."""
        return f"{self.kind} = 'number'", holds(self._number)

    def of_boolean(self, values: set[bool]) -> Branch:
        """Return a branch for booleans that are one of `values`."""
        wanted = ", ".join(f"'{'true' if value else 'false'}'" for value in sorted(values))
        return f"{self.kind} = 'boolean'", f"{self.text} IN ({wanted})"

    def of_array(self, holds: Callable[[Value], Holds]) -> Branch:
        """Return a branch for arrays of which one member holds."""
        is_array = f"{self.kind} = 'array'"
        members = f"jsonb_array_elements(CASE WHEN {is_array} THEN {self.json} ELSE CAST('[]' AS jsonb) END)"
        holding = holds(Value.of("member.value"))
        return is_array, f"EXISTS (SELECT 1 FROM {members} AS member(value) WHERE {holding})"  # noqa: S608 - parts of ours, and what stands for parameters


def parameters() -> Parameters:
    """Return a binder of the parameters of one statement."""
    return Parameters(
        lambda name, value: f"CAST(%({name})s AS {_type(value)})",
        lambda value: value if isinstance(value, str | int | float | Decimal) else [*value],
    )


def _type(value: Bindable) -> str:
    if isinstance(value, str | int | float | Decimal):
        return _TYPES[type(value)]
    return f"{_TYPES[type(value[0])]}[]"


_TYPES: Final[dict[type, str]] = {str: "text", int: "bigint", float: "double precision", Decimal: "numeric"}


def literal(value: Bindable) -> Sql:
    """Return a value as psql reads it."""
    if isinstance(value, str):
        if value.isprintable():
            return "'" + value.replace("'", "''") + "'"
        # What a terminal would act on is written as its number.
        text = value.replace("\\", "\\\\").replace("'", "''")
        return "E'" + "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in text) + "'"
    if isinstance(value, int | float | Decimal):
        return f"CAST({value} AS {_type(value)})"
    return f"CAST(ARRAY[{', '.join(map(literal, value))}] AS {_type(value)})"


def value_at(path: tuple[str, ...], bind: Binder) -> Value:
    """Return the value of a field of the event that is looked at."""
    return Value.at(path, bind)


def fields() -> Sql:
    """Return the free fields of the event that is looked at, as JSON text."""
    return f"CAST({FIELDS} AS text)"


def comparable(value: float) -> One:
    """Return a number to compare with: its shortest decimal form, which is what a document holds of a double."""
    return Decimal(repr(value))


def is_one_of(one: Sql, values: Sequence[One], bind: Binder) -> Holds:
    """Return whether an expression is one of an array's values."""
    return f"{one} = ANY({bind(values)})"


def scalar_order(scalar: Sql) -> Sequence[Sql]:
    """Return what scalars are ordered by: null, numbers, texts by code points, false, true."""
    digits = f"CASE WHEN left({scalar}, 1) = '{_NUMBER}' THEN CAST(substr({scalar}, 2) AS numeric) END"
    return [f'left({scalar}, 1) COLLATE "C"', digits, f'{scalar} COLLATE "C"']


def scalar_of(cell: str | None) -> str | Decimal | bool | None:
    """Return the scalar that a cell stands for."""
    if cell is None:
        return None
    mark, rest = cell[0], cell[1:]
    return rest if mark == _TEXT else Decimal(rest) if mark == _NUMBER else rest == "true"


def text_order(text: Sql) -> Sql:
    """Return a text so that it is ordered by code points, whatever the database's own collation."""
    return f'{text} COLLATE "C"'


def starts_with(text: Sql, start: str, bind: Binder) -> Holds:
    """Return whether a text begins so."""
    return f"starts_with({text}, {bind(start)})"


def ends_with(text: Sql, end: str, bind: Binder) -> Holds:
    """Return whether a text ends so."""
    return f"right({text}, {len(end)}) = {bind(end)}"


def contains(text: Sql, part: str, bind: Binder) -> Holds:
    """Return whether a text holds another."""
    return f"strpos({text}, {bind(part)}) > 0"


def total(number: Sql) -> Sql:
    """Return a sum, exact; NULL of nothing."""
    return f"sum({number})"


wide_total = total


def mean(number: Sql) -> Sql:
    """Return the mean, a double."""
    return f"CAST(sum({number}) AS double precision) / CAST(count({number}) AS double precision)"


def percentile(number: Sql, share: float) -> Sql:
    """Return a percentile, between two numbers in proportion."""
    double = f"CAST({number} AS double precision)"
    return f"percentile_cont(CAST({share!r} AS double precision)) WITHIN GROUP (ORDER BY {double})"


def remainder(number: Sql, divisor: int) -> Sql:
    """Return what is left of a whole number after a division. ``%`` begins a parameter to the driver."""
    return f"mod({number}, {divisor})"


def year_and_month(seconds: Sql) -> Sql:
    """Return twelve times the year, plus 0 to 11 for the month, of local seconds since 1970."""
    local = f"timezone('UTC', to_timestamp(CAST({seconds} AS double precision)))"
    return f"CAST(extract(year FROM {local}) * 12 + extract(month FROM {local}) - 1 AS bigint)"


def fence(*, reused: bool) -> Sql:
    """Return an offset of nothing for the inner floor, when a value of it is used more than once.

    Else PostgreSQL merges both floors, which writes the value's expression wherever it is used, and, where it takes every
    event for a group of its own, sorts whole events on the disk. Merged it can share the work among its workers, so what is
    used once stays so. Source: PostgreSQL, «is_simple_subquery» in prepjointree.c.
    """
    return " OFFSET 0" if reused else ""
