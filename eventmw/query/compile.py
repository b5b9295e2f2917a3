"""A query and a key → one SQL statement. Every name, path and value is a bound parameter; nothing is pasted.

Layer: input and output (it names a library of an extra, and touches nothing).

The statement has two floors. The inner one is the only place where events are read: there stand the project, the customer
and the filter of the key, the period and the query's filters, and it hands up nothing but the values that are needed. The
outer one groups, computes and orders. So no part of a query can look past the wall, and each value is worked out once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import BigInteger, Label, Select, case, false, func, literal, not_, or_, select

from eventmw.archive.tables import events
from eventmw.errors import Refused
from eventmw.keys import Key
from eventmw.query import postgresql, sqlite
from eventmw.query.dialects import Branch, Holds, Sql, Value, Words
from eventmw.query.language import filters_of
from eventmw.query.periods import DAY_MS, LENGTHS_MS, THURSDAY, Interval, Stretch, stretches, zone_of
from eventmw.query.question import BUCKET, Computation, Field, Filter, Function, Order, Query
from eventmw.query.table import Column

Dialect = Literal["sqlite", "postgresql"]

WORDS: Final[Mapping[Dialect, Words]] = {"sqlite": sqlite, "postgresql": postgresql}

_OF_EVENTS: Final = {
    "timestamp": events.c.time_ms,
    "event_name": events.c.event_name,
    "customer_identifier": events.c.customer_identifier,
    "metric_name": events.c.metric_name,
    "unique_req_id": events.c.event_id,
    "time_recorded": events.c.recorded_ms,
}

_COMPARED: Final[dict[str, Callable[[Any, Any], Holds]]] = {
    "greater_than": operator.gt,
    "greater_than_or_equals": operator.ge,
    "less_than": operator.lt,
    "less_than_or_equals": operator.le,
}

_SEARCHED: Final[Mapping[str, Callable[[Words], Callable[[Sql, str], Holds]]]] = {
    "contains": lambda words: words.contains,
    "starts_with": lambda words: words.starts_with,
    "ends_with": lambda words: words.ends_with,
}

_FORMS: Final = {"count": "presence", "count_distinct": "scalar"}
"""Function → what it looks at of a value; all others look at numbers."""

FIELDS: Final = "fields"
"""The column of listed events that holds their free and generated fields."""


class Statement(NamedTuple):
    """A statement, and what its columns hold. Bucket columns come as numbers of `eventmw.query.periods.bucket_start`."""

    select: Select[Any]
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
    if not key.project_id:
        raise ValueError("a key of a project was expected")
    return _Compiler(query, key, WORDS[dialect], wide).statement(most)


@dataclass(frozen=True, slots=True)
class _Compiler:
    query: Query
    key: Key
    words: Words
    wide: bool

    def statement(self, most: int) -> Statement:
        return self._list(most) if self.query.lists else self._groups(most)

    def _wall(self) -> Iterator[Holds]:
        """Return what an event must be to be looked at. The key's part comes from the key alone."""
        yield events.c.project_id == self.key.project_id
        if self.key.customer is not None:
            yield events.c.customer_identifier == self.key.customer
        try:
            yield from map(self._condition, filters_of(self.key.key_filter))
        except Refused:  # a filter that nobody understands lets nobody see anything
            yield false()
        yield events.c.time_ms >= self.query.period.from_ms
        yield events.c.time_ms < self.query.period.to_ms
        yield from map(self._condition, self.query.filters)

    def _list(self, most: int) -> Statement:
        columns = [
            Column(name, "time" if column.type.python_type is int else "text", "listed")
            for name, column in _OF_EVENTS.items()
        ]
        order = [*self._list_order(), events.c.event_id.asc()]
        listed = select(*_OF_EVENTS.values(), events.c.fields).where(*self._wall()).order_by(*order).limit(most)
        return Statement(listed, (*columns, Column(FIELDS, "object", "listed")))

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
            yield _directed(key, order).nulls_last() if order.descending else _directed(key, order).nulls_first()

    def _groups(self, most: int) -> Statement:
        inner, places = self._inner()
        seen = inner.subquery("seen")
        keys = [column for column in seen.c if column.name not in places.values()]
        computed = [
            self._computed(one, None if (place := places.get(number)) is None else seen.c[place]).label(f"c{number}")
            for number, one in enumerate(self.query.computations)
        ]
        order = [*self._group_order(keys, computed)]
        outer = select(*keys, *computed).select_from(seen).group_by(*keys).order_by(*order).limit(most)
        return Statement(outer, (*self._key_columns(), *map(_column_of, self.query.computations)))

    def _inner(self) -> tuple[Select[Any], dict[int, str]]:
        """Return the inner floor, and the label of what each computation is made of. Equal things are handed up once."""
        labels: dict[tuple[str, tuple[str, ...]], Label[Any]] = {}
        places: dict[int, str] = {}
        keys = [self._bucket(self.query.interval).label("b")] if self.query.interval else []
        keys += [self._key(field).label(f"g{number}") for number, field in enumerate(self.query.groups)]
        for number, one in enumerate(self.query.computations):
            if one.field is not None:
                what = (_FORMS.get(one.function, "number"), one.field.path)
                if what not in labels:
                    labels[what] = self._operand(one.field, what[0]).label(f"v{len(labels)}")
                places[number] = labels[what].name
        columns = [*keys, *labels.values()] or [literal(1).label("one")]
        if columns[0].name == "one":
            places[-1] = "one"
        reused = self._reuses(len(labels))
        return self.words.fenced(select(*columns).where(*self._wall()), reused=reused), places

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
                return case((value.has_value, 1))
            case "scalar":
                return value.scalar
            case _:
                return value.number

    def _computed(self, one: Computation, operand: Sql | None) -> Sql:
        if operand is None:
            return func.count()
        words = self.words
        makers: Mapping[Function, Callable[[Sql], Sql]] = {
            "count": func.count,
            "count_distinct": lambda seen: func.count(seen.distinct()),
            "min": func.min,
            "max": func.max,
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

    def _group_order(self, keys: Sequence[Sql], computed: Sequence[Label[Any]]) -> Iterator[Any]:
        """Return what is ordered by; the keys that are not named break ties, so that no order is left to chance."""
        named: set[int] = set()
        for order in self.query.order:
            assert isinstance(order.by, int)
            named.add(order.by)
            if order.by >= len(keys):
                yield from self._ordered([computed[order.by - len(keys)]], order)
            else:
                yield from self._key_order(keys, order)
        for place in range(len(keys)):
            if place not in named:
                yield from self._key_order(keys, Order(place))

    def _key_order(self, keys: Sequence[Sql], order: Order) -> Iterator[Any]:
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
        time = events.c.time_ms
        local = time if offset is None else time + offset
        match interval:
            case "minute" | "hour":
                return time - (local + DAY_MS if period.from_ms < DAY_MS else local) % LENGTHS_MS[interval]
            case "day":
                return _divided(local, DAY_MS, period.from_ms)
            case "week":
                return (local + THURSDAY * DAY_MS) // (7 * DAY_MS)
            case "month":
                return self.words.year_and_month(_divided(local, 1000, period.from_ms))

    def _condition(self, one: Filter) -> Holds:
        """Return a condition that is true or false, never NULL where it is negated."""
        if one.field.column is None:
            holds = self._of_value(self._value(one.field), one)
            return not_(holds) if one.negated else holds
        column = _OF_EVENTS[one.field.path[0]]
        holds = self._of_column(column, one)
        return or_(column.is_(None), not_(holds)) if one.negated else holds

    def _of_column(self, column: Sql, one: Filter) -> Holds:
        if one.op in {"exists", "has_value"}:
            return column.is_not(None)
        if one.op in {"equals", "in"}:
            return column.in_(one.values) if one.op == "in" else column == one.values[0]
        if one.field.column == "time":
            return _COMPARED[one.op](column, one.values[0])
        return self._of_text(column, one)

    def _of_value(self, value: Value, one: Filter) -> Holds:
        """Return a condition on a value inside an event: of the value itself, or of any member when it is an array."""
        if one.op == "exists":
            return value.is_there
        if one.op == "has_value":
            return value.has_value

        def branches(inner: Value) -> Iterator[Branch]:
            if texts := [text for text in one.values if isinstance(text, str)]:
                yield inner.of_text(
                    lambda text: text.in_(texts) if one.op in {"equals", "in"} else self._of_text(text, one)
                )
            if booleans := {flag for flag in one.values if isinstance(flag, bool)}:
                yield inner.of_boolean(booleans)
            numbers = [self.words.literal_number(n) for n in one.values if not isinstance(n, str | bool)]
            if numbers:
                compare = _COMPARED.get(one.op)
                yield inner.of_number(lambda n: n.in_(numbers) if compare is None else compare(n, numbers[0]))

        def of_member(member: Value) -> Holds:
            return case(*branches(member), else_=false())

        return case(*branches(value), value.of_array(of_member), else_=false())

    def _of_text(self, text: Sql, one: Filter) -> Holds:
        wanted = one.values[0]
        if one.op in _SEARCHED:
            return _SEARCHED[one.op](self.words)(text, str(wanted))
        return _COMPARED[one.op](self.words.text_order(text), wanted)

    def _value(self, field: Field) -> Value:
        return self.words.value_at(field.path)


def _directed(key: Sql, order: Order) -> Any:
    return key.desc() if order.descending else key.asc()


def _column_of(one: Computation) -> Column:
    is_time = one.field is not None and one.field.column == "time" and one.function in {"min", "max"}
    return Column(one.name, "time" if is_time else "number", "value")


def _offset(found: Sequence[Stretch]) -> Sql | int | None:
    """Return how far a zone's clocks are ahead of UTC at an event's time; None when they go alike."""
    *changing, last = found
    if changing:
        steps = [(events.c.time_ms < one.until_ms, literal(one.offset_ms, BigInteger)) for one in changing]
        return case(*steps, else_=literal(last.offset_ms, BigInteger))
    return last.offset_ms or None


def _divided(local: Sql, length_ms: int, from_ms: int) -> Sql:
    """Return a division that rounds down. Databases round towards zero, and 1970 began later behind UTC."""
    if from_ms >= DAY_MS:
        return local // length_ms
    return (local + DAY_MS) // length_ms - DAY_MS // length_ms
