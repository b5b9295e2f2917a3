"""A query's answer drawn in the terminal: bars for groups, a line of blocks for each course of time.

Layer: people. It says the same without colours; every line fits the width, down to 20 columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from eventmw.charts.buckets import empty_of, partial_of, places_of
from eventmw.cli.output import QUIET, plain
from eventmw.query.periods import zone_of
from eventmw.query.table import Table, iso

MIN_WIDTH: Final = 20
_MOST_LABEL: Final = 0.4
"""The part of a line that its label may take."""

_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_STEPS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_STEPS: Final = ".:-=+*%#"
_BELOW: Final = "▒"
_NOTHING: Final = " "
_PARTIAL: Final = "┊"
_PLAIN_PARTIAL: Final = "|"
"""Stands beside a step whose bucket is cut short, by the period or by the present."""

_ROOM_FOR_MARKS: Final = 6
_MOST_PLACES: Final = 100_000

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
    places = places_of(table, _MOST_PLACES)
    index = {start: at for at, start in enumerate(places.starts)}
    empty: Number | None = empty_of(table.columns[place]) if places.is_known else None
    groups: dict[str, dict[int, Number | None]] = {}
    labels: dict[str, str] = {}
    first = 1 + sum(column.role == "group" for column in table.columns)
    for row in table.rows:
        group = repr(row[1:first])  # 1 and true, and null and a text like its label, stay apart
        labels.setdefault(group, _label(table, row))
        groups.setdefault(group, {})[index[row[0]]] = empty if row[place] is None else row[place]
    known = [value for course in groups.values() for value in course.values() if value is not None]
    low, high = min([0, *known]), max([0, *known])
    tops = [max((v for v in course.values() if v is not None), default=None) for course in groups.values()]
    told, left, room = _shares([*labels.values()], tops, width)
    partial = partial_of(table, places.starts)
    mark = _PARTIAL if blocks else _PLAIN_PARTIAL
    begin, end = _marks(places.starts, partial, mark if room >= _ROOM_FOR_MARKS else "")
    scale = _Scale(_STEPS if blocks else _PLAIN_STEPS, room - len(begin + end), low, high)
    for label, course, text in zip(labels.values(), groups.values(), told, strict=True):
        line = begin + _line(course, len(index), empty, scale) + end
        yield Text.assemble(_fitted(label, left), " " if left else "", (_fitted(line, room), "cyan"), " ", text)
    zone = zone_of(table.time_zone)
    if places.starts:
        first_time, last_time = (iso(at, zone)[:16] for at in (places.starts[0], places.starts[-1]))
        yield Text(_fitted(f"{first_time} to {last_time}", width).rstrip(), QUIET)
    for at, words in partial.items():
        yield Text(_fitted(f"{mark} {iso(at, zone)[:16]} {words}", width).rstrip(), QUIET)


class _Scale(NamedTuple):
    """How values become steps: what the steps look like, how many there are, the lowest and the highest value."""

    steps: str
    room: int
    low: Number
    high: Number


def _marks(starts: Sequence[int], partial: Mapping[int, str], mark: str) -> tuple[str, str]:
    """Return what stands before and behind a line whose first or last step is cut short."""
    if not starts:
        return "", ""
    return (mark if starts[0] in partial else "", mark if len(starts) > 1 and starts[-1] in partial else "")


def _line(course: Mapping[int, Number | None], places: int, empty: Number | None, scale: _Scale) -> str:
    """Return a line of steps. Work grows with the cells of the course, not with all places."""
    steps, room, low, high = scale
    parts = min(room, places)
    tops: dict[int, Number] = {}
    for at, value in course.items():
        part = ((at + 1) * parts - 1) // places
        if value is not None:
            tops[part] = max(value, tops.get(part, value))
    line = ""
    for part in range(parts):
        top = tops.get(part, empty)
        height = (top - low) / (high - low) if top is not None and high > low else 0
        step = _NOTHING if top is None else steps[min(len(steps) - 1, int(height * len(steps)))]
        line += step * (room // parts)
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
