r"""A question to the archive as data, and how its fields are named.

A field is named as events name it; ``a.b`` is the member ``b`` of the object ``a``. A backslash takes the next character as
it is: ``a\.b`` is one name that holds a dot.

Layer: pure rules.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from eventmw.archive.rows import as_stored
from eventmw.query.periods import Interval, Period

Function = Literal["count", "sum", "avg", "min", "max", "count_distinct", "percentile"]
Op = Literal[
    "equals", "in", "greater_than", "greater_than_or_equals", "less_than", "less_than_or_equals", "contains", "starts_with",
    "ends_with", "exists", "has_value",
]  # fmt: skip
SEARCHES: Final[frozenset[Op]] = frozenset({"contains", "starts_with", "ends_with"})
"""What looks into a text."""

Scalar = str | int | float | bool
ColumnKind = Literal["text", "time"]

BUCKET: Final = "timestamp"
"""The column of the time buckets. No group can have that name, since times are not grouped by."""

COLUMNS: Final[Mapping[str, ColumnKind]] = {
    "timestamp": "time",
    "event_name": "text",
    "customer_identifier": "text",
    "metric_name": "text",
    "unique_req_id": "text",
    "time_recorded": "time",
}
"""The fixed columns of every event; all other names are free or generated fields."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an event: a fixed column, or the names of one or two steps into its free fields."""

    name: str
    path: tuple[str, ...]

    @property
    def column(self) -> ColumnKind | None:
        """What a fixed column holds; None for a free or generated field."""
        return COLUMNS.get(self.path[0]) if len(self.path) == 1 else None


@dataclass(frozen=True, slots=True)
class Computation:
    """Something computed of each group.

    Attributes:
        function: how it is computed.
        field: the field it is computed from; None counts events.
        name: the name of its column.
        share: a percentile's, from 0 to 1.
        is_named: whether the query gave the name (`as`), rather than `eventmw.query.reading`.
    """

    function: Function
    field: Field | None
    name: str
    share: float = 0.5
    is_named: bool = dataclasses.field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition. `values` are in their field's terms: milliseconds for a time; empty for what compares with nothing."""

    field: Field
    op: Op
    values: tuple[Scalar, ...] = ()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """The place of a column of the answer to order by, or the field that listed events are ordered by."""

    by: int | Field
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question. Without `computations` it lists events; else columns are the bucket, the groups, the computations."""

    period: Period
    time_zone: str = "UTC"
    interval: Interval | None = None
    groups: tuple[Field, ...] = ()
    computations: tuple[Computation, ...] = ()
    filters: tuple[Filter, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int | None = None
    now_ms: int | None = dataclasses.field(default=None, compare=False)
    """When it was asked: events after it may still come, whatever the period says."""

    @property
    def lists(self) -> bool:
        """Whether it asks for events themselves."""
        return not self.computations


def field_of(name: str) -> Field:
    r"""Return the field that a name such as ``price``, ``cart.total`` or ``a\.b`` stands for.

    U+0000 in it means its picture, which the archive keeps for it.

    Raises:
        ValueError: a step is empty, there are more than two, a backslash is the last character, or a half of a character
            is in it.
    """
    steps, escaped = [""], False
    for char in name:
        if not escaped and char == "\\":
            escaped = True
        elif not escaped and char == ".":
            steps.append("")
        else:
            steps[-1] += char
            escaped = False
    if escaped or not is_storable(name) or len(steps) > 2 or "" in steps:  # noqa: PLR2004 - objects are one level deep
        raise ValueError("not a field's name")
    return Field(name, tuple(map(as_stored, steps)))


def name_of(*path: str) -> str:
    r"""Return the name that `field_of` reads as a path: dots and backslashes in a step get a backslash before them."""
    return ".".join(step.replace("\\", "\\\\").replace(".", "\\.") for step in path)


def is_storable(text: str) -> bool:
    """Return whether a text can be in the archive at all: UTF-8 has no lone surrogate."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
