"""A query and a key → one SQL statement. Every name, path and value is a bound parameter; nothing is pasted.

Layer: pure rules.

The statement has two floors. The inner one is the only place where events are read: there stand the project, the customer
and the filter of the key, the period and the query's filters, and it hands up nothing but the values that are needed. The
outer one groups, computes and orders. So no part of a query can look past the wall, and each value is worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from eventmw.archive.rows import as_stored
from eventmw.errors import Refused
from eventmw.keys import Key
from eventmw.pauses import pause
from eventmw.query import postgresql, sqlite
from eventmw.query.dialects import Binder, Branch, Holds, One, Sql, Value, Words, cases
from eventmw.query.language import filters_of
from eventmw.query.periods import DAY_MS, LENGTHS_MS, THURSDAY, Interval, Stretch, stretches, zone_of
from eventmw.query.question import BUCKET, COLUMNS, Computation, Field, Filter, Function, Order, Query
from eventmw.query.table import Column

Dialect = Literal["sqlite", "postgresql"]

WORDS: Final[Mapping[Dialect, Words]] = {"sqlite": sqlite, "postgresql": postgresql}

TABLE: Final = "eventmw_events"

_OF_EVENTS: Final = {
    "timestamp": f"{TABLE}.time_ms",
    "event_name": f"{TABLE}.event_name",
    "customer_identifier": f"{TABLE}.customer_identifier",
    "metric_name": f"{TABLE}.metric_name",
    "unique_req_id": f"{TABLE}.event_id",
    "time_recorded": f"{TABLE}.recorded_ms",
}
_TIME: Final = _OF_EVENTS["timestamp"]

_COMPARED: Final = {
    "greater_than": ">",
    "greater_than_or_equals": ">=",
    "less_than": "<",
    "less_than_or_equals": "<=",
}

_SEARCHED: Final[Mapping[str, Callable[[Words], Callable[[Sql, str, Binder], Holds]]]] = {
    "contains": lambda words: words.contains,
    "starts_with": lambda words: words.starts_with,
    "ends_with": lambda words: words.ends_with,
}

_FORMS: Final = {"count": "presence", "count_distinct": "scalar"}
"""Function → what it looks at of a value; all others look at numbers."""

FREE_FIELDS: Final = "fields"
"""The column of listed events that holds their free and generated fields."""


class Statement(NamedTuple):
    """A statement, what it binds, and what its columns hold.

    Bucket columns come as numbers of `eventmw.query.periods.bucket_start`, the free fields of listed events as JSON text.
    """

    sql: str
    parameters: Mapping[str, Any]
    columns: tuple[Column, ...]


def compiled(query: Query, key: Key, dialect: Dialect, *, most: int, wide: bool = False) -> Statement:
    """Return the statement that answers a query as far as a key may see.

    Args:
        query: what is asked.
        key: who asks.
        dialect: the database's.
        most: rows that are let through at most.
        wide: sums do not fail past 64 bits; they take longer.

    Raises:
        ValueError: the key is of no project.
    """
    words = WORDS[dialect]
    parameters = words.parameters()
    sql, columns = _compiler(query, key, words, parameters, wide=wide).statement(most)
    return Statement(sql, parameters.values, columns)


def written(query: Query, key: Key, dialect: Dialect, *, most: int) -> str:
    """Return the statement with its values written into it, as the database's own shell reads it."""
    words = WORDS[dialect]
    return _compiler(query, key, words, words.literal, wide=False).statement(most)[0]


def _compiler(query: Query, key: Key, words: Words, bind: Binder, *, wide: bool) -> _Compiler:
    if not key.project_id:
        raise ValueError("a key of a project was expected")
    return _Compiler(query, key, words, bind, wide)


@dataclass(frozen=True, slots=True)
class _Compiler:
    query: Query
    key: Key
    words: Words
    bind: Binder
    wide: bool

    def statement(self, most: int) -> tuple[Sql, tuple[Column, ...]]:
        return self._list(most) if self.query.lists else self._groups(most)

    def _seen(self, columns: Sequence[Sql]) -> Sql:
        """Return the one part of the statement that reads events."""
        return f"SELECT {', '.join(columns)}\nFROM {TABLE}\nWHERE {' AND '.join(self._wall())}"

    def _wall(self) -> Iterator[Holds]:
        """Return what an event must be to be looked at. The key's part comes from the key alone."""
        yield f"{TABLE}.project_id = {self.bind(self.key.project_id)}"
        if self.key.customer is not None:
            yield f"{TABLE}.customer_identifier = {self.bind(as_stored(self.key.customer))}"
        try:
            yield from map(self._condition, filters_of(self.key.key_filter))
        except Refused:  # a filter that nobody understands lets nobody see anything
            yield "FALSE"
        yield f"{_TIME} >= {self.query.period.from_ms}"
        yield f"{_TIME} < {self.query.period.to_ms}"
        yield from map(self._condition, self.query.filters)

    def _list(self, most: int) -> tuple[Sql, tuple[Column, ...]]:
        columns = [Column(name, COLUMNS[name], "listed") for name in _OF_EVENTS]
        order = ", ".join([*self._list_order(), f"{TABLE}.event_id ASC"])
        listed = self._seen([*_OF_EVENTS.values(), self.words.fields()])
        return f"{listed}\nORDER BY {order}\nLIMIT {most}", (*columns, Column(FREE_FIELDS, "object", "listed"))

    def _list_order(self) -> Iterator[Sql]:
        for order in self.query.order:
            assert isinstance(order.by, Field)
            match order.by.column:
                case "time":
                    yield _directed(_OF_EVENTS[order.by.path[0]], order)
                case "text":
                    yield from self._ordered([self.words.text_order(_OF_EVENTS[order.by.path[0]])], order)
                case None:
                    yield from self._ordered(self.words.scalar_order(self._value(order.by).scalar), order)

    def _ordered(self, keys: Sequence[Sql], order: Order) -> Iterator[Sql]:
        """Return keys in a direction; null is less than anything."""
        for key in keys:
            yield f"{_directed(key, order)} NULLS {'LAST' if order.descending else 'FIRST'}"

    def _groups(self, most: int) -> tuple[Sql, tuple[Column, ...]]:
        keys, values, places = self._inner()
        computed = [
            self._computed(one, None if (place := places.get(number)) is None else f"seen.{place}")
            for number, one in enumerate(self.query.computations)
        ]
        reused = self._reuses(len(values))
        inner = self._seen([f"{sql} AS {name}" for name, sql in (keys | values).items()] or ["1 AS one"])
        grouped = [f"seen.{name}" for name in keys]
        outer = ", ".join([*grouped, *(f"{sql} AS c{number}" for number, sql in enumerate(computed))])
        sql = f"SELECT {outer}\nFROM ({inner}{self.words.fence(reused=reused)}) AS seen"
        if grouped:
            sql += f"\nGROUP BY {', '.join(grouped)}"
        if order := ", ".join(self._group_order(grouped)):
            sql += f"\nORDER BY {order}"
        return f"{sql}\nLIMIT {most}", (*self._key_columns(), *map(_column_of, self.query.computations))

    def _inner(self) -> tuple[dict[str, Sql], dict[str, Sql], dict[int, str]]:
        """Return what the inner floor hands up, name → SQL: keys, values, and of which value each computation is made.

        Equal things are handed up once.
        """
        keys = {"b": self._bucket(self.query.interval)} if self.query.interval else {}
        keys |= {f"g{number}": self._key(field) for number, field in enumerate(self.query.groups)}
        labels: dict[tuple[str, tuple[str, ...]], str] = {}
        values: dict[str, Sql] = {}
        places: dict[int, str] = {}
        for number, one in enumerate(self.query.computations):
            if one.field is not None:
                what = (_FORMS.get(one.function, "number"), one.field.path)
                if what not in labels:
                    labels[what] = f"v{len(labels)}"
                    values[labels[what]] = self._operand(one.field, what[0])
                places[number] = labels[what]
        return keys, values, places

    def _reuses(self, values: int) -> bool:
        """Return whether the outer floor uses a value twice: a group is ordered by too, a mean is a sum and a count."""
        uses = sum(1 + (one.function == "avg") for one in self.query.computations if one.field is not None)
        return uses > values or any(field.column is None for field in self.query.groups)

    def _key(self, field: Field) -> Sql:
        return self._value(field).scalar if field.column is None else self.words.text_order(_OF_EVENTS[field.path[0]])

    def _operand(self, field: Field, form: str) -> Sql:
        if field.column is not None:
            return _OF_EVENTS[field.path[0]]
        value = self._value(field)
        match form:
            case "presence":
                return f"CASE WHEN {value.has_value} THEN 1 END"
            case "scalar":
                return value.scalar
            case _:
                return value.number

    def _computed(self, one: Computation, operand: Sql | None) -> Sql:
        if operand is None:
            return "count(*)"
        words = self.words
        makers: Mapping[Function, Callable[[Sql], Sql]] = {
            "count": lambda seen: f"count({seen})",
            "count_distinct": lambda seen: f"count(DISTINCT {seen})",
            "min": lambda seen: f"min({seen})",
            "max": lambda seen: f"max({seen})",
            "sum": words.wide_total if self.wide else words.total,
            "avg": words.mean,
            "percentile": lambda seen: words.percentile(seen, one.share),
        }
        return makers[one.function](operand)

    def _key_columns(self) -> Iterator[Column]:
        if self.query.interval:
            yield Column(BUCKET, "time", "bucket")
        for field in self.query.groups:
            yield Column(field.name, "scalar" if field.column is None else "text", "group")

    def _group_order(self, keys: Sequence[Sql]) -> Iterator[Sql]:
        """Return what is ordered by; the keys that are not named break ties, so that no order is left to chance."""
        named: set[int] = set()
        for order in self.query.order:
            assert isinstance(order.by, int)
            named.add(order.by)
            if order.by >= len(keys):
                yield from self._ordered([f"c{order.by - len(keys)}"], order)
            else:
                yield from self._key_order(keys, order)
        for place in range(len(keys)):
            if place not in named:
                yield from self._key_order(keys, Order(place))

    def _key_order(self, keys: Sequence[Sql], order: Order) -> Iterator[Sql]:
        assert isinstance(order.by, int)
        place = order.by - (1 if self.query.interval else 0)
        if place < 0:
            yield _directed(keys[0], order)
        elif self.query.groups[place].column is None:
            yield from self._ordered(self.words.scalar_order(keys[order.by]), order)
        else:
            yield from self._ordered([self.words.text_order(keys[order.by])], order)

    def _bucket(self, interval: Interval) -> Sql:
        """Return the number of an event's bucket; see `bucket_start`."""
        period = self.query.period
        offset = _offset(stretches(zone_of(self.query.time_zone), period))
        local = _TIME if offset is None else f"({_TIME} + {offset})"
        match interval:
            case "minute" | "hour":
                past = f"({local} + {DAY_MS})" if period.from_ms < DAY_MS else local
                return f"{_TIME} - {self.words.remainder(past, LENGTHS_MS[interval])}"
            case "day":
                return _divided(local, DAY_MS, period.from_ms)
            case "week":
                return f"({local} + {THURSDAY * DAY_MS}) / {7 * DAY_MS}"
            case "month":
                return self.words.year_and_month(_divided(local, 1000, period.from_ms))

    def _condition(self, one: Filter) -> Holds:
        """Return a condition that is true or false, never NULL where it is negated."""
        pause()
        if one.field.column is None:
            holds = self._of_value(self._value(one.field), one)
            return f"NOT ({holds})" if one.negated else f"({holds})"
        column = _OF_EVENTS[one.field.path[0]]
        holds = self._of_column(column, one)
        return f"({column} IS NULL OR NOT ({holds}))" if one.negated else f"({holds})"

    def _of_column(self, column: Sql, one: Filter) -> Holds:
        if one.op in {"exists", "has_value"}:
            return f"{column} IS NOT NULL"
        if one.op in {"equals", "in"}:
            return self._is_one_of(column, one.values)
        if one.field.column == "time":
            return f"{column} {_COMPARED[one.op]} {self.bind(one.values[0])}"
        return self._of_text(column, one)

    def _is_one_of(self, sql: Sql, values: Sequence[One]) -> Holds:
        if len(values) == 1:
            return f"{sql} = {self.bind(values[0])}"
        return self.words.is_one_of(sql, tuple(values), self.bind)

    def _of_value(self, value: Value, one: Filter) -> Holds:
        """Return a condition on a value inside an event: of the value itself, or of any member when it is an array."""
        if one.op == "exists":
            return value.is_there
        if one.op == "has_value":
            return value.has_value
        texts = [text for text in one.values if isinstance(text, str)]
        booleans = {flag for flag in one.values if isinstance(flag, bool)}
        numbers = [self.words.comparable(n) for n in one.values if not isinstance(n, str | bool)]

        def of_number(number: Sql) -> Holds:
            if (compare := _COMPARED.get(one.op)) is not None:
                return f"{number} {compare} {self.bind(numbers[0])}"
            return self._is_one_of(f"({number})", numbers)

        def branches(inner: Value) -> Iterator[Branch]:
            if texts:
                yield inner.of_text(
                    lambda text: (
                        self._is_one_of(text, texts) if one.op in {"equals", "in"} else self._of_text(text, one)
                    )
                )
            if booleans:
                yield inner.of_boolean(booleans)
            if numbers:
                yield inner.of_number(of_number)

        return cases([*branches(value), value.of_array(lambda member: cases([*branches(member)]))])

    def _of_text(self, text: Sql, one: Filter) -> Holds:
        wanted = one.values[0]
        if one.op in _SEARCHED:
            return _SEARCHED[one.op](self.words)(text, str(wanted), self.bind)
        return f"{self.words.text_order(text)} {_COMPARED[one.op]} {self.bind(wanted)}"

    def _value(self, field: Field) -> Value:
        return self.words.value_at(field.path, self.bind)


def _directed(key: Sql, order: Order) -> Sql:
    return f"{key} {'DESC' if order.descending else 'ASC'}"


def _column_of(one: Computation) -> Column:
    is_time = one.field is not None and one.field.column == "time" and one.function in {"min", "max"}
    return Column(one.name, "time" if is_time else "number", "value", one)


def _offset(found: Sequence[Stretch]) -> Sql | None:
    """Return how far a zone's clocks are ahead of UTC at an event's time; None when they go alike."""
    *changing, last = found
    if changing:
        return cases([(f"{_TIME} < {one.until_ms}", f"{one.offset_ms}") for one in changing], f"{last.offset_ms}")
    return f"{last.offset_ms}" if last.offset_ms else None


def _divided(local: Sql, length_ms: int, from_ms: int) -> Sql:
    """Return a division that rounds down. Databases round towards zero, and 1970 began later behind UTC."""
    if from_ms >= DAY_MS:
        return f"{local} / {length_ms}"
    return f"({local} + {DAY_MS}) / {length_ms} - {DAY_MS // length_ms}"
