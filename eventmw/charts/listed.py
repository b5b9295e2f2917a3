"""Lay out listed events for people: their free fields as columns, and no column that is empty.

Layer: pure rules. The answers in JSON and CSV of the API keep the free fields in one object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from eventmw.pauses import pause
from eventmw.query.table import Cell, Column, Kind, Table

MAX_FIELDS: Final = 6
"""Free fields that have a column each; with the fixed ones they fill a screen. Source: assumption."""

OTHERS: Final = "other fields"
"""The heading of the column that holds all others."""

_LAST: Final = ("unique_req_id", "time_recorded")
"""Fixed columns that say nothing about what happened. They come last."""


def spread(table: Table) -> Table:
    """Return a table of listed events with a column for each of their `MAX_FIELDS` most frequent free fields.

    Whatever does not fit is in one more column, `OTHERS`. Columns without a value are left out. Other tables are returned as
    they are.
    """
    objects = [at for at, one in enumerate(table.columns) if one.role == "listed" and one.kind == "object"]
    if not objects or not table.rows:
        return table
    at = objects[0]
    counts: Counter[str] = Counter()
    for row in table.rows:
        pause()
        counts.update(name for name, value in _object(row[at]).items() if value is not None)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    if len(names) > MAX_FIELDS + 1:  # one alone has a column instead of OTHERS
        names = names[:MAX_FIELDS]
    columns = (*table.columns, *(Column(name, _kind(table, at, name), "listed") for name in names))
    columns = (*columns, Column(OTHERS, "object", "listed"))
    rows = [_row(row, at, names) for row in table.rows]
    first = [n for n, one in enumerate(table.columns) if n != at and one.name not in _LAST]
    last = [n for n, one in enumerate(table.columns) if n != at and one.name in _LAST]
    order = [*first, *range(len(table.columns), len(columns)), *last]
    order = [n for n in order if any(row[n] is not None for row in rows)]
    return replace(
        table, columns=tuple(columns[n] for n in order), rows=tuple(tuple(row[n] for n in order) for row in rows)
    )


def _object(cell: Cell) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], cell) if isinstance(cell, Mapping) else {}


def _kind(table: Table, at: int, name: str) -> Kind:
    """Return ``number`` for a field that holds numbers alone, which are aligned."""
    pause()
    values = [value for row in table.rows if (value := _object(row[at]).get(name)) is not None]
    return "number" if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values) else "scalar"


def _row(row: Sequence[Cell], at: int, names: Sequence[str]) -> tuple[Cell, ...]:
    pause()
    fields = _object(row[at])
    others = {name: value for name, value in fields.items() if value is not None and name not in names}
    return (*row, *(fields.get(name) for name in names), others or None)
