"""A query's answer drawn in the terminal: bars for groups, a line of blocks for each course of time.

Layer: people. It says the same without colours; every line fits the width, down to 20 columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from eventmw.cli.output import QUIET, plain
from eventmw.query.periods import LENGTHS_MS, zone_of
from eventmw.query.table import Table, iso

MIN_WIDTH: Final = 20
_MOST_LABEL: Final = 0.4
"""The part of a line that its label may take."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_STEPS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_STEPS: Final = ".:-=+*%#"
_BELOW: Final = "▒"
_NOTHING: Final = " "

Number = int | float


def can_draw(table: Table) -> bool:
    """Return whether there is anything to draw: values, of groups or along time."""
    roles = {column.role for column in table.columns}
    return "value" in roles and bool(roles & {"bucket", "group"})


def drawn(table: Table, width: int, *, blocks: bool = True) -> Iterator[Text]:
    """Return a chart's lines, none wider than `width` columns.

    Args:
        table: an answer that `can_draw` takes.
        width: of the terminal, at least 20.
        blocks: whether the terminal can show block characters; else plain ASCII is used.
    """
    width = max(MIN_WIDTH, width)
    for place, column in enumerate(table.columns):
        if column.role != "value":
            continue
        yield Text(_fitted(plain(column.name), width).rstrip(), "bold")
        if table.columns[0].role == "bucket":
            yield from _courses(table, place, width, blocks=blocks)
        else:
            yield from _bars(table, place, width, blocks=blocks)


def _bars(table: Table, place: int, width: int, *, blocks: bool) -> Iterator[Text]:
    labels = [_label(table, row) for row in table.rows]
    values: list[Number | None] = [row[place] for row in table.rows]
    told, left, room = _shares(labels, values, width)
    most = max((abs(value) for value in values if value is not None), default=0)
    for label, value, text in zip(labels, values, told, strict=True):
        bar = _bar(value, most, room, blocks=blocks)
        yield Text.assemble(_fitted(label, left), " ", (_fitted(bar, room), "cyan"), " ", text)


def _shares(labels: Sequence[str], values: Sequence[Number | None], width: int) -> tuple[list[str], int, int]:
    """Return the values as aligned texts, and the columns that a label and a drawing may take."""
    told = [number_text(value) for value in values]
    if max(map(len, told), default=0) > width // 3:
        told = [number_text(value if value is None else float(f"{value:.3g}"), digits=3) for value in values]
    right = max(map(len, told), default=0)
    left = min(max(map(cell_len, labels), default=0), int(width * _MOST_LABEL))
    return [text.rjust(right) for text in told], left, max(1, width - left - right - 2)


def _bar(value: Number | None, most: Number, room: int, *, blocks: bool) -> str:
    """Return a bar of at least a bit where there is a value; one that is less than nothing is of another stuff."""
    if not value:
        return ""
    part = abs(value) / most * room
    if value < 0:
        return (_BELOW if blocks else "-") * max(1, round(part))
    if not blocks:
        return "#" * max(1, round(part))
    eighths = max(1, round(part * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].rstrip()


def _courses(table: Table, place: int, width: int, *, blocks: bool) -> Iterator[Text]:
    """Draw a line for each group: a step for each bucket, or for the largest of several where the line is too short."""
    times = _times(table)
    groups: dict[str, dict[int, Number | None]] = {}
    labels: dict[str, str] = {}
    first = 1 + sum(column.role == "group" for column in table.columns)
    for row in table.rows:
        group = repr(row[1:first])  # 1 and true, and null and a text like its label, stay apart
        labels.setdefault(group, _label(table, row))
        groups.setdefault(group, {})[row[0]] = row[place]
    known = [value for course in groups.values() for value in course.values() if value is not None]
    low, high = min([0, *known]), max([0, *known])
    tops = [max((v for v in course.values() if v is not None), default=None) for course in groups.values()]
    told, left, room = _shares([*labels.values()], tops, width)
    for label, course, text in zip(labels.values(), groups.values(), told, strict=True):
        line = _line([course.get(at) for at in times], room, low, high, blocks=blocks)
        yield Text.assemble(_fitted(label, left), " " if left else "", (_fitted(line, room), "cyan"), " ", text)
    zone = zone_of(table.time_zone)
    if times:
        begin, end = iso(times[0], zone)[:16], iso(times[-1], zone)[:16]
        yield Text(_fitted(f"{begin} to {end}", width).rstrip(), QUIET)


def _times(table: Table) -> list[int]:
    """Return the beginnings of all buckets from the first to the last that has events; those between may have none."""
    seen = sorted({row[0] for row in table.rows})
    length = LENGTHS_MS.get(str(table.interval))
    if length is None or len(seen) < 2:  # noqa: PLR2004 - of one there is no between
        return seen
    times: list[int] = []
    for at, after in zip(seen, [*seen[1:], None], strict=True):
        times.append(at)
        # A day with a changed clock is an hour longer or shorter, so a gap is counted in whole buckets.
        missing = 0 if after is None else round((after - at) / length) - 1
        times += [at + length * number for number in range(1, missing + 1)][:_MOST_MISSING]
    return times


_MOST_MISSING: Final = 100_000


def _line(values: Sequence[Number | None], room: int, low: Number, high: Number, *, blocks: bool) -> str:
    steps = _STEPS if blocks else _PLAIN_STEPS
    parts = min(room, len(values))
    line = ""
    for part in range(parts):
        some = [v for v in values[part * len(values) // parts : (part + 1) * len(values) // parts] if v is not None]
        height = (max(some) - low) / (high - low) if some and high > low else 0
        line += (steps[min(len(steps) - 1, int(height * len(steps)))] if some else _NOTHING) * (room // parts)
    return line


def _label(table: Table, row: Sequence[Any]) -> str:
    cells = [cell for column, cell in zip(table.columns, row, strict=True) if column.role == "group"]
    return ", ".join("(none)" if cell is None else plain(cell) for cell in cells)


def _fitted(text: str, width: int) -> str:
    """Return text that takes exactly so many columns; what is cut off ends with an ellipsis."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return (
        set_cell_size(set_cell_size(text, width - 1).rstrip() + "…", width) if width > 1 else set_cell_size("", width)
    )


def number_text(value: Number | None, *, digits: int = 6) -> str:
    """Return a number for people: whole ones in full, others to some digits; ``-`` for none."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.{digits}g}"
