"""The page of a chart: one HTML document that asks nobody for anything, and the header fields that hold it to that.

Layer: pure rules. What a table holds comes from anybody: it reaches the page as escaped text, or as JSON that a script reads
as data; our script makes text of it and never HTML, which the policy enforces (`require-trusted-types-for`). The sandbox
puts the page outside its site's origin, so that whatever went wrong here could read nothing of the site.

Source: PROTOCOLS.md 3.3; W3C Content Security Policy Level 3; WAI-ARIA 1.2 for the roles.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any, Final

from msgspec import Raw

from eventmw.charts.buckets import bucket_of, completed, partial_of
from eventmw.charts.cells import Clock, cell_text, clock_of, decimals_of
from eventmw.charts.listed import spread
from eventmw.charts.shape import Series, Shape, shape_of
from eventmw.charts.titles import heading_of, title_of
from eventmw.http import Headers, Reply
from eventmw.jsontext import encode, for_script
from eventmw.pauses import pause
from eventmw.query.table import Cell, Column, Table, iso

SELF: Final = ("'self'",)
"""Who may show the page in a frame when nobody says otherwise: pages of the same site."""

_inner_underscore: Final = re.compile(r"(?<=[^\W_])_(?=[^\W_])")
_TO: Final = "\N{EN DASH}"
_SCRIPTS: Final = ("vendor/uplot/uPlot.iife.min.js", "assets/chart.js")
_STYLES: Final = ("vendor/uplot/uPlot.min.css", "assets/chart.css")


@cache
def _asset(names: tuple[str, ...]) -> str:
    folder = files("eventmw.charts")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8").strip() for name in names)


@cache
def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def policy(frame_ancestors: Sequence[str]) -> str:
    """Return the Content-Security-Policy of our pages: the one script, the one style, and nothing from anywhere."""
    return f"{_content_policy()}; frame-ancestors {' '.join(frame_ancestors)}; sandbox allow-scripts allow-downloads"


@cache
def _content_policy() -> str:
    """Return the part that also counts inside of a document: a page that was saved, or put into ``srcdoc``, keeps it."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(_asset(_SCRIPTS))}",
            f"style-src {_hash(_asset(_STYLES))}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def chart_page(table: Table, title: str | None = None, frame_ancestors: Sequence[str] = SELF) -> Reply:
    """Return the page of a table.

    Args:
        table: what a query answered.
        title: for people, any text; None: what the table's columns say.
        frame_ancestors: sources of a Content-Security-Policy, checked by `eventmw.config`.
    """
    heading = _sound(title or title_of(table))
    shape = shape_of(table)
    table = completed(spread(table))
    chart = '<section id="chart" class="chart" aria-labelledby="title" hidden></section>' if shape.axis else ""
    scripts = f"{_data(heading, table, shape)}{_csv(table)}<script>{_asset(_SCRIPTS)}</script>" if table.rows else ""
    body = "".join(
        (
            '<a class="skip" href="#table">Skip to the table</a>',
            f'<header><div class="words"><h1 id="title"><bdi>{_text(heading)}</bdi></h1><p>{_facts(table)}</p></div>',
            '<div id="controls" class="controls" hidden></div></header><main>',
            chart,
            *(_table(table) if table.rows else _nothing()),
            "</main>",
            scripts,
        )
    )
    return _reply(200, _document(heading, body), frame_ancestors)


def notice_page(
    status: int,
    heading: str,
    words: str,
    frame_ancestors: Sequence[str] = SELF,
    *,
    ways: Sequence[tuple[str, str]] = (),
) -> Reply:
    """Return a small page that says why there is no chart, with this status.

    Args:
        status: of the answer.
        heading: what happened.
        words: why.
        frame_ancestors: as for `chart_page`.
        ways: what to do now, as pairs of who reads it and words for them. Without any, a link loads the page again.
    """
    steps = "".join(f"<dt>{_text(who)}</dt><dd>{_text(what)}</dd>" for who, what in ways)
    ending = f"<dl>{steps}</dl>" if ways else '<p><a class="button" href="">Try again</a></p>'
    body = (
        f'<main class="notice"><div class="card"><div role="alert"><h1>{_text(heading)}</h1><p>{_text(words)}</p></div>'
        f'{ending}<p class="status">Status {status}</p></div></main>'
    )
    return _reply(status, _document(heading, body), frame_ancestors)


def _reply(status: int, document: str, frame_ancestors: Sequence[str]) -> Reply:
    body = document.encode("utf-8", "replace")
    headers: Headers = (
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("content-security-policy", policy(frame_ancestors)),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex"),
    )
    return Reply(status, headers, body)


def _document(heading: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_content_policy()}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{_text(heading)}</title><style>{_asset(_STYLES)}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def _text(text: str) -> str:
    """Return text as HTML. U+0000 is no character of HTML, and would be dropped or replaced by the reader."""
    return escape(text.replace("\x00", "\ufffd"))


def _facts(table: Table) -> str:
    clock = Clock(clock_of(table, (), buckets=False).zone, "minute")
    period = f"{clock.text(table.from_ms)} {_TO} {clock.text(table.to_ms)}"
    count = f"{len(table.rows):,} row{'' if len(table.rows) == 1 else 's'}"
    if table.truncated:
        count = f"the first {count}; there are more"
    return f"<span>{period}</span> <span>{_text(table.time_zone)}</span> <span>{count}</span>"


def _nothing() -> Iterator[str]:
    yield (
        '<section id="table" class="table empty" tabindex="-1"><p><strong>Nothing to show</strong>'
        "<span>No event in this period matches the query.</span></p></section>"
    )


def _table(table: Table) -> Iterator[str]:
    kind = _kind(table)
    yield f'<section id="table" class="table {kind}" role="region" aria-labelledby="title" tabindex="0">'
    # Tables that the style lays out as blocks would lose their roles with that.
    in_blocks = kind in {"figures", "events"}
    role = _roles if in_blocks else _no_role
    yield f"<table{role('table')}><thead{role('rowgroup')}><tr{role('row')}>"
    headings = [heading_of(one, table.interval) for one in table.columns]
    for column, heading in zip(table.columns, headings, strict=True):
        yield f'<th scope="col"{role("columnheader")}{_class(column)}><bdi>{_breakable(_text(heading))}</bdi></th>'
    yield f"</tr></thead><tbody{role('rowgroup')}>"
    styles = [
        _Style(table, at, role("cell") + _label(headings[at]) if in_blocks else "") for at in range(len(headings))
    ]
    for row in table.rows:
        pause()
        yield f"<tr{role('row')}>"
        yield from (style.cell(cell) for style, cell in zip(styles, row, strict=True))
        yield "</tr>"
    yield "</tbody></table></section>"


def _kind(table: Table) -> str:
    """Return the class of a table: ``figures`` for one row of numbers, ``events`` for listed ones."""
    if len(table.rows) == 1 and all(one.role == "value" for one in table.columns):
        return "figures"
    return "events" if any(one.role == "listed" for one in table.columns) else ""


def _roles(name: str) -> str:
    return f' role="{name}"'


def _no_role(_: str) -> str:
    return ""


def _label(heading: str) -> str:
    """Return an attribute that the style shows before a cell. A line may break where a zero width space is."""
    return f' data-label="{_inner_underscore.sub("_&#8203;", _text(heading))}"'


def _breakable(text: str) -> str:
    """Return a text whose lines may break behind an underscore, rather than within a word."""
    return _inner_underscore.sub("_<wbr>", text)


def _class(column: Column) -> str:
    return ' class="number"' if column.kind == "number" else ""


class _Style:
    """Write the cells of one column."""

    def __init__(self, table: Table, at: int, attributes: str) -> None:
        pause()
        column = table.columns[at]
        cells = [row[at] for row in table.rows if row[at] is not None]
        is_row = column.role in {"bucket", "group"}
        self._begin = f'<th scope="row"{_class(column)}{attributes}>' if is_row else f"<td{_class(column)}{attributes}>"
        self._end = "</th>" if is_row else "</td>"
        self._clock = clock_of(table, cells, buckets=column.role == "bucket") if column.kind == "time" else None
        starts = sorted(set(cells)) if at == bucket_of(table) else []
        self._partial = partial_of(table, starts)
        self._decimals = decimals_of(cells) if column.kind == "number" else None
        if _kind(table) == "figures" and self._decimals:
            # Single numbers side by side: two digits are enough where there is something before the point.
            self._decimals = 2 if all(abs(cell) >= 1 for cell in cells) else self._decimals

    def cell(self, cell: Cell) -> str:
        words = f" <small>{self._partial[cell]}</small>" if self._partial and cell in self._partial else ""
        return f"{self._begin}{_content(self._clock, cell, self._decimals)}{words}{self._end}"


def _content(clock: Clock | None, cell: Cell, decimals: int | None) -> str:
    if cell is None:
        return f"<i>{cell_text(None)}</i>"
    if clock is not None:
        return f'<time datetime="{iso(cell, clock.zone)}">{clock.text(cell)}</time>'
    text = cell_text(cell, decimals)
    if isinstance(cell, float):
        return f'<data value="{cell!r}">{text}</data>'
    if isinstance(cell, dict | list):
        return f"<code>{_text(text)}</code>"
    return f"<bdi>{_text(text)}</bdi>" if isinstance(cell, str) else _text(text)


def _data(heading: str, table: Table, shape: Shape) -> str:
    content: dict[str, Any] = {
        "title": heading,
        "views": shape.views,
        "axis": shape.axis,
        "labels": [_one_line(label) for label in shape.labels],
        "times": shape.times,
        "width": shape.width_ms,
        "partial": {str(at): words for at, words in shape.partial.items()},
        "zone": table.time_zone,
        "omitted": shape.omitted,
        "measures": [
            {
                "name": _one_line(one.name),
                "omitted": one.omitted,
                "series": _series(one.series),
            }
            for one in shape.measures
        ],
    }
    return f'<script type="application/json" id="data">{for_script(content)}</script>'


def _csv(table: Table) -> str:
    """Return the table as CSV for the script to save: the page may ask no server for it."""
    return f'<script type="application/json" id="csv">{for_script(_sound(table.as_csv()))}</script>'


def _series(series: Iterable[Series]) -> list[dict[str, Any]]:
    # Each by itself: to encode all of them at once holds the interpreter's lock for long.
    return [{"name": _one_line(one.name), "decimals": one.decimals, "values": _encoded(one.values)} for one in series]


def _encoded(values: Sequence[float | None]) -> Raw:
    pause()
    return Raw(encode(values))


def _one_line(label: str) -> str:
    return " ".join(_sound(label).split()) or "“”"


def _sound(text: str) -> str:
    """Return a text that UTF-8 can hold: a title of the command line may have halves of characters in it."""
    return text.encode("utf-8", "replace").decode()
