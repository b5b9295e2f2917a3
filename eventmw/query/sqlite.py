"""How SQLite reads a value inside an event's fields, and the aggregate that it lacks.

Layer: pure rules.

Booleans leave SQLite's JSON functions as 1 and 0; here they are the blobs ``x'01'`` and ``x'00'``, so that no group takes
``true`` for 1 and all of them sort behind texts. SQLite 3.40 compares a path with the bytes of a key as the document has
them, and no path can hold a quotation mark: names with anything but plain ASCII are looked for by ``json_each``, whose keys
are decoded. Source: sqlite.org/json1.html; jsonLookupStep in SQLite 3.40.
"""

from __future__ import annotations

import json
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final, Self, cast

from eventmw.pauses import pause
from eventmw.query.dialects import FIELDS, Bindable, Binder, Branch, Holds, One, Parameters, Sql
from eventmw.query.table import Cell

_plain = re.compile(r"[ !#-\[\]-~]+").fullmatch
_NUMBERS: Final = "('integer', 'real')"
_TRUE: Final = "x'01'"
_FALSE: Final = "x'00'"

HALF: Final = 32
"""Bits of the lower part of a sum in two parts."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value inside an event: its kind (a word of ``json_type``; NULL where there is none), and it, as SQL has it."""

    kind: Sql
    value: Sql
    members: Sql
    """A table of the members of the array that it is: ``type`` and ``atom``."""
    written: Sql | None = None
    """It as JSON has it, where SQLite can say."""

    @classmethod
    def at(cls, path: tuple[str, ...], bind: Binder) -> Self:
        """Return the value of a field."""
        if all(map(_plain, path)):
            where = bind("$" + "".join(f'."{step}"' for step in path))
            return cls(
                f"json_type({FIELDS}, {where})",
                f"json_extract({FIELDS}, {where})",
                f"json_each({FIELDS}, {where})",
                _written(where),
            )
        return cls._looked_for(path, bind)

    @classmethod
    def _looked_for(cls, path: tuple[str, ...], bind: Binder) -> Self:
        """Return the value of a field with a name that no path can hold."""
        inner = [f"CASE WHEN m{n}.type = 'object' THEN m{n}.value ELSE '{{}}' END" for n in range(len(path) - 1)]
        tables = ", ".join(f"json_each({source}) AS m{n}" for n, source in enumerate([FIELDS, *inner]))
        named = " AND ".join(f"m{n}.key = {bind(step)}" for n, step in enumerate(path))
        last = f"m{len(path) - 1}"

        def found(wanted: Sql) -> Sql:
            return f"(SELECT {wanted} FROM {tables} WHERE {named})"  # noqa: S608 - parts of ours, and what stands for parameters

        members = found(f"CASE WHEN {last}.type = 'array' THEN {last}.value END")
        return cls(found(f"{last}.type"), found(f"{last}.atom"), f"json_each({members})")

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
        return f"CASE WHEN {self.kind} IN {_NUMBERS} THEN {self.value} END"

    @property
    def digits(self) -> Sql:
        """The number that it is as the event has it, however large it is; else NULL."""
        digits = f"CAST({self.value} AS TEXT)" if self.written is None else self.written
        return f"CASE WHEN {self.kind} IN {_NUMBERS} THEN {digits} END"

    @property
    def scalar(self) -> Sql:
        """The text, number or boolean that it is, else NULL."""
        return (
            f"CASE WHEN {self.kind} IN ('text', 'integer', 'real') THEN {self.value} "
            f"WHEN {self.kind} = 'true' THEN {_TRUE} WHEN {self.kind} = 'false' THEN {_FALSE} END"
        )

    def of_text(self, holds: Callable[[Sql], Holds]) -> Branch:
        """Return a branch for texts."""
        return f"{self.kind} = 'text'", holds(self.value)

    def of_number(self, holds: Callable[[Sql], Holds]) -> Branch:
        """Return a branch for numbers."""
        return f"{self.kind} IN {_NUMBERS}", holds(self.value)

    def of_boolean(self, values: set[bool]) -> Branch:
        """Return a branch for booleans that are one of `values`."""
        wanted = ", ".join(f"'{word}'" for word, value in (("true", True), ("false", False)) if value in values)
        return f"{self.kind} IN ('true', 'false')", f"{self.kind} IN ({wanted})"

    def of_array(self, holds: Callable[[Value], Holds]) -> Branch:
        """Return a branch for arrays of which one member holds."""
        member = Value("member.type", "member.atom", "")
        return f"{self.kind} = 'array'", f"EXISTS (SELECT 1 FROM {self.members} AS member WHERE {holds(member)})"  # noqa: S608 - parts of ours, and what stands for parameters


def _written(where: Sql) -> Sql:
    """Return the JSON text at a path. As one value it would be a number of 64 bits; in an array, ``[x,x]``, it is as it was.

    Source: sqlite.org/json1.html, «The json_extract() function»; its operator ``->`` came with 3.38.
    """
    twice = f"json_extract({FIELDS}, {where}, {where})"
    return f"substr({twice}, 2, (length({twice}) - 3) / 2)"


def parameters() -> Parameters:
    """Return a binder of the parameters of one statement. SQLite counts a named one once, wherever it stands."""
    return Parameters(lambda name, _: f":{name}", _driver_value)


def _driver_value(value: Bindable) -> Any:
    return value if isinstance(value, str | int | float) else _array(value)


def _array(values: Bindable) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def literal(value: Bindable) -> Sql:
    """Return a value as the shell of SQLite reads it."""
    if isinstance(value, int | float):
        return repr(value)
    text = value if isinstance(value, str) else _array(value)
    # What a terminal would act on is written as its number.
    parts = [part if part.isprintable() else f"'||char({ord(part)})||'" for part in text.replace("'", "''")]
    return f"'{''.join(parts)}'" if text.isprintable() else f"('{''.join(parts)}')"


def value_at(path: tuple[str, ...], bind: Binder) -> Value:
    """Return the value of a field of the event that is looked at."""
    return Value.at(path, bind)


def fields() -> Sql:
    """Return the free fields of the event that is looked at, as JSON text."""
    return FIELDS


def comparable(value: float) -> One:
    """Return a number as it is compared with those of events."""
    return value


def is_one_of(one: Sql, values: Sequence[One], bind: Binder) -> Holds:
    """Return whether an expression is one of an array's values."""
    return f"{one} IN (SELECT value FROM json_each({bind(values)}))"  # noqa: S608 - parts of ours, and what stands for parameters


def scalar_order(scalar: Sql) -> Sequence[Sql]:
    """Return what scalars are ordered by: null, numbers, texts by code points, false, true."""
    return [scalar]


def scalar_of(cell: Cell) -> Cell:
    """Return the scalar that a cell stands for."""
    return cell == b"\x01" if isinstance(cell, bytes) else cell


def text_order(text: Sql) -> Sql:
    """Return a text so that it is ordered by code points, which the bytes of UTF-8 agree with."""
    return text


def starts_with(text: Sql, start: str, bind: Binder) -> Holds:
    """Return whether a text begins so."""
    return f"substr({text}, 1, {len(start)}) = {bind(start)}"


def ends_with(text: Sql, end: str, bind: Binder) -> Holds:
    """Return whether a text ends so."""
    return f"substr({text}, -{len(end)}) = {bind(end)}"


def contains(text: Sql, part: str, bind: Binder) -> Holds:
    """Return whether a text holds another."""
    return f"instr({text}, {bind(part)}) > 0"


def total(number: Sql) -> Sql:
    """Return a sum as SQLite makes it: it fails with «integer overflow» past 64 bits."""
    return f"sum({number})"


def wide_total(number: Sql) -> Sql:
    """Return a sum that never fails, in one and a half the time: exact where it is an integer of 64 bits, else a double."""
    mask = (1 << HALF) - 1
    low = f"sum({number} & {mask})"
    high = f"(sum({number} >> {HALF}) + ({low} >> {HALF}))"
    fits = f"sum(typeof({number}) = 'real') = 0 AND {high} BETWEEN {-(1 << 31)} AND {(1 << 31) - 1}"
    return (
        f"CASE WHEN count({number}) = 0 THEN NULL WHEN {fits} THEN ({high} << {HALF}) | ({low} & {mask}) "
        f"ELSE total({number}) END"
    )


def mean(number: Sql) -> Sql:
    """Return the mean, a double."""
    return f"avg({number})"


def percentile(number: Sql, share: float) -> Sql:
    """Return a percentile by `Percentile`."""
    return f"eventmw_percentile({number}, {share!r})"


def remainder(number: Sql, divisor: int) -> Sql:
    """Return what is left of a whole number after a division."""
    return f"({number}) % {divisor}"


def year_and_month(seconds: Sql) -> Sql:
    """Return twelve times the year, plus 0 to 11 for the month, of local seconds since 1970."""
    year, month = (f"CAST(strftime('{part}', {seconds}, 'unixepoch') AS INTEGER)" for part in ("%Y", "%m"))
    return f"{year} * 12 + {month} - 1"


def fence(*, reused: bool) -> Sql:  # noqa: ARG001 - it never helps SQLite to merge
    """Return a limit, which keeps the inner floor from being merged, so that each of its columns is worked out once.

    Source: sqlite.org/optoverview.html, «Subquery Flattening»: an aggregate over a limit.
    """
    return " LIMIT -1"


MAX_NUMBERS: Final = 4_000_000
"""Numbers that the percentiles of one question may keep at once, eight bytes each. Source: assumption."""

TOO_MANY_NUMBERS: Final = "more numbers than percentiles may keep"
_RUN: Final = 1_000
"""Numbers that are sorted at once: a tenth of a millisecond, in which no other thread runs."""

_double, _bits = Struct("<d"), Struct("<Q")
_SIGN: Final = 1 << 63


class Budget:
    """How many more numbers the percentiles of one question may keep."""

    def __init__(self, left: int = MAX_NUMBERS) -> None:
        self.left = left
        self.is_spent = False

    def spend(self, count: int) -> None:
        """Take some.

        Raises:
            ValueError: there are none left.
        """
        self.left -= count
        if self.left < 0:
            self.is_spent = True
            raise ValueError(TOO_MANY_NUMBERS)


class Percentile:
    """SQLite's ``eventmw_percentile(number, share)``: between two numbers, in proportion, as ``percentile_cont``.

    Numbers are kept in sorted runs, and never sorted as a whole: to sort a million holds the interpreter's lock for most of
    a second, and the site's pages wait for it.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget or Budget()
        self._runs: list[array[float]] = []
        self._new: list[float] = []
        self._share = 0.0

    def step(self, number: float | None, share: float) -> None:
        """Take the number of one event."""
        if number is not None:
            self._new.append(number)
            self._share = share
            if len(self._new) == _RUN:
                self._sort()

    def _sort(self) -> None:
        self._budget.spend(len(self._new))
        self._new.sort()
        self._runs.append(array("d", self._new))
        self._new = []

    def finalize(self) -> float | None:
        """Return the percentile of all, or None of nothing."""
        pause()
        if self._new:
            self._sort()
        count = sum(map(len, self._runs))
        if not count:
            return None
        place = self._share * (count - 1)
        below = int(place)
        low = self._at(below)
        high = low if below == place else self._at(below + 1)
        self._budget.left += count
        self._runs = []
        return low + (place - below) * (high - low)

    def _at(self, place: int) -> float:
        """Return the number that has so many before it, found by halving what all doubles there are have in common."""
        if len(self._runs) == 1:
            return self._runs[0][place]
        low, high = (_rank(end(run[at] for run in self._runs)) for end, at in ((min, 0), (max, -1)))
        while low < high:
            middle = (low + high) // 2
            number, before = _number(middle), 0
            for run in self._runs:
                before += bisect_right(run, number)
                pause()
            if before > place:
                high = middle
            else:
                low = middle + 1
        return _number(low)


def _rank(number: float) -> int:
    """Return the place of a double among all doubles. -0.0 is 0.0.

    Source: IEEE 754: of two positive ones the greater has the greater bits.
    """
    bits = cast(int, _bits.unpack(_double.pack(number + 0.0))[0])
    return _SIGN + bits if bits < _SIGN else 2 * _SIGN - bits - 1


def _number(rank: int) -> float:
    bits = rank - _SIGN if rank >= _SIGN else 2 * _SIGN - rank - 1
    return cast(float, _double.unpack(_bits.pack(bits))[0])


def prepare(connection: Any, budget: Budget | None = None) -> Budget:
    """Give a connection of `sqlite3` the functions that these expressions call. Returns what they may keep."""
    budget = budget or Budget()
    connection.create_aggregate("eventmw_percentile", 2, lambda: Percentile(budget))
    return budget
