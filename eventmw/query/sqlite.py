"""How SQLite reads a value inside an event's fields, and the aggregate that it lacks.

Layer: input and output (it names a library of an extra, and touches nothing).

Booleans leave SQLite's JSON functions as 1 and 0; here they are the blobs ``x'01'`` and ``x'00'``, so that no group takes
``true`` for 1 and all of them sort behind texts. SQLite 3.40 compares a path with the bytes of a key as the document has
them, and no path can hold a quotation mark: names with anything but plain ASCII are looked for by ``json_each``, whose keys
are decoded. Source: sqlite.org/json1.html; jsonLookupStep in SQLite 3.40.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    Integer,
    LargeBinary,
    Select,
    String,
    TableValuedAlias,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    select,
)

from eventmw.archive.tables import events
from eventmw.query.dialects import Branch, Holds, Sql
from eventmw.query.table import Cell

_plain = re.compile(r"[ !#-\[\]-~]+").fullmatch
_NUMBERS: Final = ("integer", "real")
_TRUE: Final = literal_column("x'01'", LargeBinary)
_FALSE: Final = literal_column("x'00'", LargeBinary)

HALF: Final = 32
"""Bits of the lower part of a sum in two parts."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value inside an event: its kind (a word of ``json_type``; NULL where there is none), and it, as SQL has it."""

    kind: Sql
    value: Sql
    members: Callable[[], TableValuedAlias]

    @classmethod
    def at(cls, path: tuple[str, ...]) -> Self:
        """Return the value of a field."""
        if all(map(_plain, path)):
            where = literal("$" + "".join(f'."{step}"' for step in path), String)
            return cls(
                func.json_type(events.c.fields, where),
                func.json_extract(events.c.fields, where),
                lambda: func.json_each(events.c.fields, where).table_valued("type", "atom", joins_implicitly=True),
            )
        return cls._looked_for(path)

    @classmethod
    def _looked_for(cls, path: tuple[str, ...]) -> Self:
        """Return the value of a field with a name that no path can hold."""

        def found(column: str) -> Sql:
            source: Sql = events.c.fields
            members: list[TableValuedAlias] = []
            for _ in path:
                members.append(
                    func.json_each(source).table_valued("key", "value", "type", "atom", joins_implicitly=True)
                )
                source = case((members[-1].c.type == "object", members[-1].c.value), else_="{}")
            last = members[-1].c
            wanted = case((last.type == "array", last.value)) if column == "array" else last[column]
            named = [member.c.key == literal(step, String) for member, step in zip(members, path, strict=True)]
            return select(wanted).where(and_(*named)).scalar_subquery().correlate(events)

        return cls(
            found("type"),
            found("atom"),
            lambda: func.json_each(found("array")).table_valued("type", "atom", joins_implicitly=True),
        )

    @property
    def is_there(self) -> Holds:
        """Whether the event has such a field, if only with null."""
        return self.kind.is_not(None)

    @property
    def has_value(self) -> Holds:
        """Whether it is there and not null."""
        return func.coalesce(self.kind != "null", literal(0), type_=Boolean)

    @property
    def number(self) -> Sql:
        """The number that it is, else NULL."""
        return case((self.kind.in_(_NUMBERS), self.value))

    @property
    def scalar(self) -> Sql:
        """The text, number or boolean that it is, else NULL."""
        return case(
            (self.kind.in_(("text", *_NUMBERS)), self.value),
            (self.kind == "true", _TRUE),
            (self.kind == "false", _FALSE),
        )

    def of_text(self, holds: Callable[[Sql], Holds]) -> Branch:
        """Return a branch for texts."""
        return self.kind == "text", holds(self.value)

    def of_number(self, holds: Callable[[Sql], Holds]) -> Branch:
        """Return a branch for numbers."""
        return self.kind.in_(_NUMBERS), holds(self.value)

    def of_boolean(self, values: set[bool]) -> Branch:
        """Return a branch for booleans that are one of `values`."""
        wanted = [word for word, value in (("true", True), ("false", False)) if value in values]
        return self.kind.in_(("true", "false")), self.kind.in_(wanted)

    def of_array(self, holds: Callable[[Value], Holds]) -> Branch:
        """Return a branch for arrays of which one member holds."""
        member = self.members()
        return self.kind == "array", exists(
            select(literal(1)).select_from(member).where(holds(Value(member.c.type, member.c.atom, lambda: member)))
        )


def value_at(path: tuple[str, ...]) -> Value:
    """Return the value of a field of the event that is looked at."""
    return Value.at(path)


def scalar_order(scalar: Sql) -> Sequence[Sql]:
    """Return what scalars are ordered by: null, numbers, texts by code points, false, true."""
    return [scalar]


def scalar_of(cell: Cell) -> Cell:
    """Return the scalar that a cell stands for."""
    return cell == b"\x01" if isinstance(cell, bytes) else cell


def text_order(text: Sql) -> Sql:
    """Return a text so that it is ordered by code points, which the bytes of UTF-8 agree with."""
    return text


def starts_with(text: Sql, start: str) -> Holds:
    """Return whether a text begins so."""
    return func.substr(text, 1, len(start)) == literal(start, String)


def ends_with(text: Sql, end: str) -> Holds:
    """Return whether a text ends so."""
    return func.substr(text, -len(end)) == literal(end, String)


def contains(text: Sql, part: str) -> Holds:
    """Return whether a text holds another."""
    return func.instr(text, literal(part, String)) > 0


def total(number: Sql) -> Sql:
    """Return a sum as SQLite makes it: it fails with «integer overflow» past 64 bits."""
    return func.sum(number)


def wide_total(number: Sql) -> Sql:
    """Return a sum that never fails, in one and a half the time: exact where it is an integer of 64 bits, else a double."""
    mask, half = literal((1 << HALF) - 1, BigInteger), literal(HALF, Integer)
    low = func.sum(number.op("&")(mask))
    high = func.sum(number.op(">>")(half)) + low.op(">>")(half)
    exact = high.op("<<")(half).op("|")(low.op("&")(mask))
    fractions = func.sum(func.typeof(number) == "real")
    fits = and_(fractions == 0, high.between(-(1 << 31), (1 << 31) - 1))
    return case((func.count(number) == 0, None), (fits, exact), else_=func.total(number))


def mean(number: Sql) -> Sql:
    """Return the mean, a double."""
    return func.avg(number)


def percentile(number: Sql, share: float) -> Sql:
    """Return a percentile by `Percentile`."""
    return func.eventmw_percentile(number, share)


def year_and_month(seconds: Sql) -> Sql:
    """Return twelve times the year, plus 0 to 11 for the month, of local seconds since 1970."""
    year = cast(func.strftime("%Y", seconds, "unixepoch"), Integer)
    return year * 12 + cast(func.strftime("%m", seconds, "unixepoch"), Integer) - 1


class Percentile:
    """SQLite's ``eventmw_percentile(number, share)``: between two numbers, in proportion, as ``percentile_cont``."""

    def __init__(self) -> None:
        self._numbers: list[float] = []
        self._share = 0.0

    def step(self, number: float | None, share: float) -> None:
        """Take the number of one event."""
        if number is not None:
            self._numbers.append(number)
            self._share = share

    def finalize(self) -> float | None:
        """Return the percentile of all, or None of nothing."""
        if not self._numbers:
            return None
        numbers = sorted(self._numbers)
        place = self._share * (len(numbers) - 1)
        below = int(place)
        low, high = float(numbers[below]), float(numbers[min(below + 1, len(numbers) - 1)])
        return low + (place - below) * (high - low)


def prepare(connection: Any) -> None:
    """Give a connection of `sqlite3` the functions that these expressions call."""
    connection.create_aggregate("eventmw_percentile", 2, Percentile)


def literal_number(value: float) -> Sql:
    """Return a number to compare with."""
    return literal(value, BigInteger() if isinstance(value, int) else Float())


def fenced(inner: Select[Any], *, reused: bool) -> Select[Any]:  # noqa: ARG001 - it never helps SQLite to merge
    """Return the inner floor so that SQLite works out each of its columns once: a limit keeps it from being merged.

    Source: sqlite.org/optoverview.html, «Subquery Flattening»: an aggregate over a limit.
    """
    return inner.limit(literal_column("-1", Integer))
