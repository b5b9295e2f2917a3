"""Write the titles of charts and the headings of their columns in words for people.

Layer: pure rules. A name that a query gives with ``as`` is kept as given, and so are names of fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eventmw.query.question import Computation
from eventmw.query.table import Column, Table

_WORDS = {"sum": "sum of", "avg": "average of", "min": "lowest", "max": "highest", "count": "count of",
          "count_distinct": "distinct"}  # fmt: skip


def title_of(table: Table) -> str:
    """Return what a table shows in a few words: ``Count and sum of price by country, per day``."""
    values = [*_joined(one for one in table.columns if one.role == "value")]
    groups = [one.name for one in table.columns if one.role == "group"]
    title = _and(values) if values else "Events"
    if groups:
        title += f" by {_and(groups)}"
    if table.interval and values:
        title += f"{', ' if groups else ' '}per {table.interval}"
    first = next((one for one in table.columns if one.role == "value"), None)
    return title if first is None or not _is_ours(first) else _capital(title)


def heading_of(column: Column, interval: str | None = None) -> str:
    """Return the heading of a column: ``Day``, ``Sum of price``, or the name of a field."""
    if column.role == "bucket" and interval is not None:
        return _capital(interval)
    return _capital(_words(column)) if _is_ours(column) else column.name


def _is_ours(column: Column) -> bool:
    return column.computation is not None and not column.computation.is_named


def _joined(columns: Iterable[Column]) -> Sequence[str]:
    """Return words of columns; a field that all of them share is named once: ``sum``, ``average of price``."""
    words = [_words(column).partition(" of ") if _is_ours(column) else (column.name, "", "") for column in columns]
    if len({name for _, _, name in words if name}) == 1:
        return [*(start for start, _, _ in words[:-1]), "".join(words[-1])] if words[-1][2] else [*map("".join, words)]
    return ["".join(one) for one in words]


def _words(column: Column) -> str:
    one = column.computation
    if one is None or one.is_named:
        return column.name
    if one.field is None:
        return "count"
    words = _percentile(one) if one.function == "percentile" else _WORDS[one.function]
    return f"{words} {one.field.name}"


def _percentile(one: Computation) -> str:
    if one.share == 0.5:  # noqa: PLR2004 - a half is the median
        return "median of"
    number = f"{one.share * 100:.10g}"
    return f"{number}{_ordinal(number)} percentile of"


def _ordinal(number: str) -> str:
    if number[-2:] in {"11", "12", "13"} or "." in number:
        return "th"
    return {"1": "st", "2": "nd", "3": "rd"}.get(number[-1], "th")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _and(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
