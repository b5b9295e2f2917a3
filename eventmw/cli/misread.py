"""What is wrong with a query, said of the options that made it, and not of the JSON that nobody wrote; and what may be.

Layer: people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, cast

import click

from eventmw.cli import output
from eventmw.cli.keeping import sentence
from eventmw.cli.output import plain
from eventmw.errors import Fault, Refused
from eventmw.query.question import COLUMNS, Filter, Query
from eventmw.query.table import Table

_LOOKED_AT: Final = 200
"""How many of the newest events are asked for their fields' names."""

_COMPUTING: Final = ("sum", "avg", "min", "max", "median")


def fail(refused: Refused, options: Mapping[str, Any], document: Mapping[str, Any], file: str | None) -> None:
    """End with all that is wrong: code 2 where an option is to blame, else 1.

    Args:
        refused: why there is no answer.
        options: as the command was given them.
        document: the query that was made of them.
        file: where the rest of it is from.

    Raises:
        click.UsageError: an option is wrong.
    """
    if not refused.faults:
        output.fail(refused.detail)
    said = _said(options, document)
    told = [_told(fault, said, document, file) for fault in refused.faults]
    if any(_option_of(fault.path, said) for fault in refused.faults):
        raise click.UsageError("\n".join(told))
    output.fail("\n".join(told))


def doubts(asked: Query, table: Table, ask: Callable[[Query], Table]) -> Iterator[str]:
    """Return a sentence for each field of a query that no event has, or that holds no number to compute with.

    Asks for more only where the answer shows nothing: other queries cost no more than before.

    Args:
        asked: the query.
        table: its answer.
        ask: answers another query within the same limits.
    """
    shown = {
        column.name: [row[place] for row in table.rows if row[place] is not None]
        for place, column in enumerate(table.columns)
    }
    computed = [one for one in asked.computations if one.name in shown]
    is_empty = not table.rows or (bool(computed) and not any(any(shown[one.name]) for one in computed))
    suspects = [
        *(one.field for one in asked.filters if is_empty and not one.negated),
        *(field for field in asked.groups if not shown.get(field.name)),
        *(one.field for one in computed if not any(shown[one.name])),
    ]
    for field in dict.fromkeys(suspects):
        if field is None or field.column is not None:
            continue
        if not _listed(asked, ask, Filter(field, "exists")):
            yield _nobody_has(field.name, _listed(asked, ask, limit=_LOOKED_AT))
        elif names := [one.name for one in computed if one.field == field and not shown[one.name] and table.rows]:
            yield f"The field {plain(field.name)} holds no numbers, so {', '.join(map(plain, names))} is empty."


def _listed(asked: Query, ask: Callable[[Query], Table], *filters: Filter, limit: int = 1) -> Sequence[tuple[Any, ...]]:
    """Return the newest events of the question's period, none where that takes too long."""
    try:
        return ask(Query(period=asked.period, filters=filters, limit=limit)).rows
    except Refused:
        return ()


def _nobody_has(name: str, events: Sequence[tuple[Any, ...]]) -> str:
    fields = [cast(dict[str, Any], cell) for row in events for cell in row if isinstance(cell, dict)]
    names = {*COLUMNS, *(key for one in fields for key in one)}
    near = get_close_matches(name, sorted(names), n=3)
    hint = f"; nearest: {', '.join(map(plain, near))}" if near else ""
    return f"No event of this period has the field {plain(name)}{hint}."


def _told(fault: Fault, said: Mapping[str, str], document: Mapping[str, Any], file: str | None) -> str:
    option = _option_of(fault.path, said)
    offered = _columns(document) if fault.code == "unknown_column" else ()
    message = fault.message + (f"; there are {', '.join(map(plain, offered))}" if offered else "")
    if option is not None:
        return f"{plain(option)}: {message}."
    return sentence(f"{message}, at {fault.path or 'the top'}" + (f" of {file}" if file is not None else ""))


def _option_of(path: str, said: Mapping[str, str]) -> str | None:
    return next((option for place, option in said.items() if path == place or path.startswith(f"{place}/")), None)


def _said(options: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, str]:
    """Return JSON Pointer → the option, as it was written, by which that came into the query."""
    lists = {
        "filters": [f"--where {text}" for text in options["conditions"]],
        "group_by": [f"--by {name}" for name in options["groups"]],
        "computations": _computations(options),
        "order_by": [f"--order {name}" for name in options["orders"]],
    }
    said: dict[str, str] = {}
    for key, words in lists.items():
        whole = document.get(key)
        first = len(cast(Sequence[object], whole)) - len(words) if isinstance(whole, list) else 0
        said |= {f"/{key}/{first + place}": option for place, option in enumerate(words)}
    for key, name in (("/time_zone", "zone"), ("/interval", "every"), ("/limit", "limit")):
        if options[name] is not None:
            said[key] = f"--{name} {options[name]}"
    for key, name, option in (
        ("/time_period/to", "end", "--to"),
        ("/time_period", "last", "--last"),
        ("/time_period", "word", "--period"),
        ("/time_period", "begin", "--from"),
    ):
        if (given := options["period" if name == "word" else name]) is not None:
            said.setdefault(key, f"{option} {given}")
    return said


def _computations(options: Mapping[str, Any]) -> list[str]:
    """Return the options that compute, in the order in which they stand in the query."""
    found = ["--count"] if options["counting"] else []
    for function in _COMPUTING:
        found += [f"--{function} {name}" for name in options[function]]
    found += [f"--distinct {name}" for name in options["count_distinct"]]
    return found + [f"--percentile {n} {name}" for n, name in options["percentile"]]


def _columns(document: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of the columns that the answer to a query would have, whose shape is right."""
    groups: list[str] = document.get("group_by", [])
    computed: list[dict[str, str]] = document.get("computations") or [{"function": "count"}]
    names = [one.get("as") or "_".join(filter(None, (one["function"], one.get("field_name")))) for one in computed]
    return [*(["timestamp"] if "interval" in document else []), *groups, *names]
