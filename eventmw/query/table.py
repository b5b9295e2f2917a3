"""What a query answers: a table whose columns say what they hold. JSON, CSV, terminal and chart are made of it.

Layer: pure rules.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from eventmw.jsontext import for_line
from eventmw.query.periods import Interval
from eventmw.query.question import Computation

Kind = Literal["time", "number", "text", "scalar", "object"]
"""What stands in a column, beside null: ``time`` is whole milliseconds since 1970 (int); ``number`` an int or a float;
``scalar`` a text, a number or a boolean; ``object`` an event's free fields."""

Role = Literal["bucket", "group", "value", "listed"]
"""``bucket``: the start of a stretch of time; ``group``: what was grouped by; ``value``: what was computed; ``listed``: a
field of an event."""

Cell = Any
"""None, int, float, str, bool, or a dict."""

# What begins a formula to a spreadsheet: at the beginning of a cell, and behind what separates or quotes cells in another
# country's spreadsheet, for which one cell of ours is several. Source: OWASP, «CSV Injection».
_SIGNS: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA: Final = re.compile(f'^(?=[{_SIGNS}\t\r\n])|(?<=[;,\t\r\n"])(?=[{_SIGNS}])')
_IN_JSON: Final = re.compile(f'(?<=[;,"])[{_SIGNS}]')
_json_text: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. ``name`` is unique in its table; ``computation`` is what a ``value`` column computes."""

    name: str
    kind: Kind
    role: Role
    computation: Computation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The answer to a query.

    Attributes:
        columns: the time bucket first, then the groups, then what was computed; or an event's fields.
        rows: ``len(row) == len(columns)``; times are milliseconds since 1970 in UTC, whatever `time_zone` is.
        truncated: whether there are more rows than `limit` let through.
        from_ms: the first millisecond that was looked at.
        to_ms: the first millisecond after it.
        time_zone: an IANA name; times are shown in it.
        interval: the length of a bucket, such as ``hour``; None when there are none.
        asked_ms: when the query was asked: a bucket that contains it is not over. None: unknown.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    truncated: bool
    from_ms: int
    to_ms: int
    time_zone: str = "UTC"
    interval: Interval | None = None
    asked_ms: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the answer of ``/v1/query/json``: rows are objects by column name, times are ISO 8601 in the zone."""
        zone = ZoneInfo(self.time_zone)
        body: dict[str, Any] = {
            "columns": [{"name": one.name, "kind": one.kind, "role": one.role} for one in self.columns],
            "rows": [*map(self.row_as_json, self.rows)],
            "truncated": self.truncated,
            "time_period": {"from": iso(self.from_ms, zone), "to": iso(self.to_ms, zone)},
            "time_zone": self.time_zone,
        }
        return body if self.interval is None else body | {"interval": self.interval}

    def row_as_json(self, row: Sequence[Cell]) -> dict[str, Any]:
        """Return a row of that answer."""
        zone = ZoneInfo(self.time_zone)
        return {one.name: _shown(one, cell, zone) for one, cell in zip(self.columns, row, strict=True)}

    def as_csv(self, *, printable: bool = False) -> str:
        """Return it as CSV with a heading: null is empty, objects are JSON, and no text can be taken for a formula.

        Source: RFC 4180; OWASP, «CSV Injection»: an apostrophe stands before what a spreadsheet would take for a formula. In
        JSON the sign is escaped instead, so that the value stays what it is. Numbers are numbers, below zero as well.

        Args:
            printable: nothing is in it that a terminal would act on: such characters are escaped as in JSON.
        """
        out = io.StringIO()
        writer = csv.writer(out)
        zone = ZoneInfo(self.time_zone)
        shown = _printable if printable else str
        writer.writerow(shown(_harmless(column.name)) for column in self.columns)
        for row in self.rows:
            cells = (_shown(one, cell, zone) for one, cell in zip(self.columns, row, strict=True))
            writer.writerow(shown(_for_csv(cell)) for cell in cells)
        return out.getvalue()

    def texts(self) -> list[list[str]]:
        """Return each row as texts for people; null is an empty one. Control characters are still in them."""
        zone = ZoneInfo(self.time_zone)
        return [[_text(_shown(one, cell, zone)) for one, cell in zip(self.columns, row, strict=True)]
                for row in self.rows]  # fmt: skip


def iso(milliseconds: int, zone: tzinfo = UTC) -> str:
    """Return the ISO 8601 form in a zone: ``2024-03-31T00:00:00.000+01:00``, with ``Z`` in UTC."""
    seconds, rest = divmod(milliseconds, 1000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000).astimezone(zone)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(column: Column, cell: Cell, zone: tzinfo) -> Cell:
    return iso(cell, zone) if column.kind == "time" and cell is not None else cell


def _text(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case str():
            return cell
        case _:
            return for_line(cell)


def _for_csv(cell: Cell) -> str:
    text = _text(cell)
    match cell:
        case str():
            return _harmless(text)
        case dict() | list():
            return _json_text.sub(lambda found: _IN_JSON.sub(_escaped, found.group()), text)
        case _:
            return text


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found.group()):04x}"


def _harmless(text: str) -> str:
    return _FORMULA.sub("'", text)


def _printable(text: str) -> str:
    return text if text.isprintable() else for_line(text)[1:-1].replace('\\"', '"')
