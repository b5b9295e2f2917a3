"""Reading a document of the query language whose shape is right: what each word means, and what no schema can say.

Layer: pure rules; the present is an argument. Source: as `eventmw.query.language`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from eventmw.archive.rows import as_stored
from eventmw.errors import Fault, Refused
from eventmw.pauses import pause
from eventmw.query.periods import Interval, Period, moment_of, words_of, zone_of
from eventmw.query.question import (
    BUCKET,
    SEARCHES,
    Computation,
    Field,
    Filter,
    Function,
    Op,
    Order,
    Query,
    Scalar,
    field_of,
    is_storable,
)
from eventmw.schema import kind_of, pointer

DEFAULT_PERIOD: Final = "minus_30_days"
LISTED: Final = 100
"""Events that are listed when the query has no limit. Source: assumption."""

MAX_VALUES: Final = 1000
"""Values of one ``in``. Source: assumption."""

MAX_VALUES_TOGETHER: Final = 1000
"""Values of all filters of a question. Source: assumption."""

MAX_TEXT: Final = 10_000
"""Characters of a filter's value. Source: assumption."""

MAX_SEARCHED: Final = 500
"""Characters that are searched for in texts. SQLite compares them at each place of a text, and nothing stops it meanwhile:
in the worst megabyte 500 take a twentieth of a second. Source: measured."""

_INT64: Final = range(-(1 << 63), 1 << 63)

_NEGATED: Final[Mapping[str, Op]] = {
    "not_equals": "equals",
    "not_in": "in",
    "not_contains": "contains",
    "not_exists": "exists",
    "is_null": "has_value",
}
_RENAMED: Final[Mapping[str, Op]] = {"is_not_null": "has_value"}
_UNARY: Final = frozenset({"exists", "has_value"})
_ORDERED: Final = frozenset({"greater_than", "greater_than_or_equals", "less_than", "less_than_or_equals"})
_OF_NUMBERS: Final = frozenset({"sum", "avg", "percentile"})


class Reading:
    """Reads one document whose shape is right, and gathers what is wrong with its meaning in `faults`."""

    def __init__(self, document: Mapping[str, Any], now_ms: int, faults: list[Fault]) -> None:
        self._document = document
        self._now_ms = now_ms
        self._faults = faults
        self._zone = self._read_zone()

    def query(self) -> Query:
        """Return the query; it means nothing when there are faults now."""
        document = self._document
        interval = cast(Interval | None, document.get("interval"))
        groups = self._read_groups(document.get("group_by", []))
        given = document.get("computations", [])
        computations = tuple(self._read_computations(given))
        if not given and (groups or interval):
            computations = (Computation("count", None, "count"),)
        names = [BUCKET] if interval else []
        names += [*(group.name for group in groups), *(one.name for one in computations)]
        self._check_names(names, len(names) - len(computations), given)
        grouped = bool(names)
        if grouped:
            order = tuple(self._read_order(names, computations)) or _usual_order(interval, groups)
        else:
            order = tuple(self._read_list_order()) or (Order(Field(BUCKET, (BUCKET,)), descending=True),)
        return Query(
            period=self._read_period(document.get("time_period", DEFAULT_PERIOD)),
            time_zone=self._zone.key,
            interval=interval,
            groups=groups,
            computations=computations,
            filters=tuple(self._read_filters(document.get("filters", []))),
            order=order,
            # To JSON Schema 5.0 is an integer, to a slice and to SQL it is none.
            limit=int(document["limit"]) if "limit" in document else None if grouped else LISTED,
            now_ms=self._now_ms,
        )

    def _fault(self, at: Sequence[object], code: str, message: str) -> None:
        self._faults.append(Fault(None, pointer(at), "", code, message))

    def _read_zone(self) -> ZoneInfo:
        try:
            return zone_of(self._document.get("time_zone", "UTC"))
        except ValueError:
            self._fault(["time_zone"], "unknown_zone", "expected the IANA name of a time zone, got other text")
            return zone_of("UTC")

    def _read_period(self, given: str | Mapping[str, Any]) -> Period:
        if isinstance(given, str):
            try:
                return words_of(given, self._zone, self._now_ms)
            except (ValueError, OverflowError):
                self._fault(["time_period"], "too_early", "expected a period that begins after 1970 and before now")
                return Period(0, 1)
        begin = self._read_moment(given["from"], ["time_period", "from"])
        end = self._read_moment(given["to"], ["time_period", "to"]) if "to" in given else self._now_ms + 1
        if begin >= end and not self._faults:
            wanted = "expected a time after the one at from" if "to" in given else "expected a time before now"
            got = "got one that is not"
            self._fault(["time_period", "to" if "to" in given else "from"], "empty_period", f"{wanted}, {got}")
        return Period(begin, end)

    def _read_moment(self, value: Any, at: Sequence[object]) -> int:
        if type(value) in (str, int, float):
            try:
                return moment_of(value, self._zone)
            except (ValueError, OverflowError):
                pass
        wanted = "an ISO 8601 time or whole milliseconds since 1970, before the year 9999"
        got = "other text" if isinstance(value, str) else kind_of(value)
        self._fault(at, "time", f"expected {wanted}, got {got}")
        return 0

    def _read_field(self, name: str, at: Sequence[object]) -> Field:
        try:
            return field_of(name)
        except ValueError:
            self._fault(
                at,
                "field_name",
                "expected a name, or two with a dot between (a dot inside of a name: backslash, dot), got other text",
            )
            return Field(name, (name,))

    def _read_groups(self, given: Sequence[str]) -> tuple[Field, ...]:
        groups: list[Field] = []
        for place, name in enumerate(given):
            field = self._read_field(name, ["group_by", place])
            if field.column == "time":
                self._fault(
                    ["group_by", place], "not_groupable", "expected no time here, got one: set interval instead"
                )
            elif field.path in [group.path for group in groups]:
                self._fault(["group_by", place], "repeated", "expected each field once, got one again")
            groups.append(field)
        return tuple(groups)

    def _read_computations(self, given: Sequence[Mapping[str, Any]]) -> Iterator[Computation]:
        for place, one in enumerate(given):
            at: list[object] = ["computations", place]
            word: str = one["function"]
            name: str | None = one.get("field_name")
            if name is None or (name == "*" and word == "count"):
                if word != "count":
                    self._fault(at, "required", "expected the key field_name, which only count can do without")
                yield Computation("count", None, one.get("as", word), is_named="as" in one)
                continue
            field = self._read_field(name, [*at, "field_name"])
            function = cast(
                Function,
                "percentile"
                if word == "median"
                else word.partition("_")[0]
                if word.startswith("percentile_")
                else word,
            )
            self._check_computable(function, field, at)
            yield Computation(function, field, one.get("as", f"{word}_{name}"), _share(word), is_named="as" in one)

    def _check_computable(self, function: Function, field: Field, at: Sequence[object]) -> None:
        if field.column is None or function in {"count", "count_distinct"}:
            return
        if function in _OF_NUMBERS or field.column == "text":
            self._fault(
                [*at, "field_name"],
                "not_computable",
                f"expected a field that can hold numbers, got one of {field.column}s",
            )

    def _check_names(self, names: Sequence[str], computed_from: int, given: Sequence[Mapping[str, Any]]) -> None:
        for place, name in enumerate(names[computed_from:]):
            at = ["computations", place]
            if name in names[: computed_from + place]:
                self._fault(at, "repeated", "expected a column's name that no other column has, got one again: set as")
            elif not is_storable(name) and "as" in given[place]:
                self._fault([*at, "as"], "text", "expected text without lone surrogates, got other text")

    def _read_order(self, names: Sequence[str], computations: Sequence[Computation]) -> Iterator[Order]:
        for place, one in enumerate(self._document.get("order_by", [])):
            by = _column_of(one["field_name"], names, computations)
            if by is None:
                self._fault(
                    ["order_by", place, "field_name"],
                    "unknown_column",
                    "expected the name of one of the answer's columns, got other text",
                )
            else:
                yield Order(by, one.get("direction") == "desc")

    def _read_list_order(self) -> Iterator[Order]:
        for place, one in enumerate(self._document.get("order_by", [])):
            field = self._read_field(one["field_name"], ["order_by", place, "field_name"])
            yield Order(field, one.get("direction") == "desc")

    def _read_filters(self, given: Sequence[Mapping[str, Any]]) -> Iterator[Filter]:
        _check_together(given)
        for place, one in enumerate(given):
            pause()
            at = ["filters", place]
            field = self._read_field(one["field_name"], [*at, "field_name"])
            word: str = one["op"]
            op = _NEGATED.get(word) or _RENAMED.get(word) or cast(Op, word)
            values = self._read_values(field, op, one, at)
            yield Filter(field, op, tuple(values), word in _NEGATED)

    def _read_values(self, field: Field, op: Op, one: Mapping[str, Any], at: Sequence[object]) -> Sequence[Scalar]:
        value, where = one.get("value"), [*at, "value"]
        if op in _UNARY:
            if value is not None:
                self._fault(where, "not_wanted", "expected no value, since this op compares with nothing")
            return ()
        if "value" not in one:
            self._fault(at, "required", "expected the key value, which is missing")
            return ()
        if field.column == "time" and op in SEARCHES:
            self._fault([*at, "op"], "not_comparable", "expected an op that compares times, got one for text")
            return ()
        if op != "in":
            return [self._read_value(field, op, value, where)]
        if not isinstance(value, list) or not 1 <= len(cast(list[object], value)) <= MAX_VALUES:
            self._fault(
                where, "type", f"expected an array of 1 to {MAX_VALUES:,} values, got {_size(cast(object, value))}"
            )
            return ()
        return [self._read_value(field, op, each, [*where, n]) for n, each in enumerate(cast(list[object], value))]

    def _read_value(self, field: Field, op: Op, value: object, at: Sequence[object]) -> Scalar:
        if field.column == "time":
            return self._read_moment(value, at)
        if isinstance(value, str):
            shortest, longest = (1, MAX_SEARCHED) if op in SEARCHES else (0, MAX_TEXT)
            if shortest <= len(value) <= longest and is_storable(value):
                return as_stored(value)
            words = f"expected text of {shortest} to {longest:,} characters without lone surrogates, got other text"
            self._fault(at, "text", words)
        elif field.column == "text" or op in SEARCHES:
            self._fault(at, "type", f"expected text, got {kind_of(value)}")
        elif isinstance(value, bool) and op not in _ORDERED:
            return value
        elif isinstance(value, int | float) and not isinstance(value, bool) and (number := _number(value)) is not None:
            return number
        else:
            wanted = (
                "text or a number" if op in _ORDERED else "text, a number, true or false (for null there is is_null)"
            )
            self._fault(at, "type", f"expected {wanted}, got {kind_of(value)}")
        return ""


def _check_together(given: Sequence[Mapping[str, Any]]) -> None:
    """Look how many values there are in all filters together: each may be compared with each event.

    Raises:
        Refused: ``query_too_large``.
    """
    lists = [cast(list[object], one["value"]) for one in given if isinstance(one.get("value"), list)]
    # An array that is too long by itself is told as such, with its place.
    if sum(map(len, lists)) > MAX_VALUES_TOGETHER and all(len(one) <= MAX_VALUES for one in lists):
        detail = f"Expected at most {MAX_VALUES_TOGETHER:,} values in all filters together, got more."
        raise Refused("query_too_large", detail)


def _usual_order(interval: Interval | None, groups: Sequence[Field]) -> tuple[Order, ...]:
    """Return the order of a query that names none: along time, else the largest first."""
    if interval:
        return (Order(0),)
    return (Order(len(groups), descending=True),) if groups else ()


def _column_of(name: str, names: Sequence[str], computations: Sequence[Computation]) -> int | None:
    """Return the place of the column that has a name, or that is the only one computed from the field of that name."""
    if name in names:
        return names.index(name)
    first = len(names) - len(computations)
    found = [first + n for n, one in enumerate(computations) if one.field is not None and one.field.name == name]
    return found[0] if len(found) == 1 else None


def _share(word: str) -> float:
    return float(word.removeprefix("percentile_")) / 100 if word.startswith("percentile_") else 0.5


def _number(value: float) -> int | float | None:
    """Return a number as an integer of 64 bits where it is one, else as the nearest double; None when it is beyond those."""
    if isinstance(value, float) and not isfinite(value):
        return None
    if value == int(value) and int(value) in _INT64:
        return int(value)
    try:
        return float(value)
    except OverflowError:
        return None


def _size(value: object) -> str:
    return f"an array of {len(cast(Collection[object], value)):,}" if isinstance(value, list) else kind_of(value)
