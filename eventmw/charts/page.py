"""The page of a chart: one HTML document that asks nobody for anything, and the header fields that hold it to that.

Layer: pure rules. What a table holds comes from anybody: it reaches the page as escaped text, or as JSON that a script reads
as data; our script makes text of it and never HTML, which the policy enforces (`require-trusted-types-for`). The sandbox
puts the page outside its site's origin, so that whatever went wrong here could read nothing of the site.

Source: PROTOCOLS.md 3.3; W3C Content Security Policy Level 3; WAI-ARIA 1.2 for the roles.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any, Final

from msgspec import Raw

from eventmw.charts.cells import Clock, cell_text, clock_of
from eventmw.charts.shape import Shape, shape_of, title_of
from eventmw.http import Headers, Reply
from eventmw.jsontext import encode, for_script
from eventmw.pauses import pause
from eventmw.query.table import Cell, Column, Table, iso

SELF: Final = ("'self'",)
"""Who may show the page in a frame when nobody says otherwise: pages of the same site."""

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
    return f"{_content_policy()}; frame-ancestors {' '.join(frame_ancestors)}; sandbox allow-scripts"


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
    drawn = (
        '<section id="chart" class="chart" aria-labelledby="title" hidden></section>' if shape.axis else "",
        f"{_data(heading, table, shape)}<script>{_asset(_SCRIPTS)}</script>" if shape.axis else "",
    )
    body = "".join(
        (
            '<a class="skip" href="#table">Skip to the table</a>',
            f'<header><div class="words"><h1 id="title"><bdi>{_text(heading)}</bdi></h1><p>{_facts(table)}</p></div>',
            '<div id="controls" class="controls" hidden></div></header><main>',
            drawn[0],
            *(_table(table) if table.rows else _nothing()),
            "</main>",
            drawn[1],
        )
    )
    return _reply(200, _document(heading, body), frame_ancestors)


def notice_page(status: int, heading: str, words: str, frame_ancestors: Sequence[str] = SELF) -> Reply:
    """Return a small page that says why there is no chart, with this status."""
    body = f'<main class="notice" role="alert"><h1>{_text(heading)}</h1><p>{_text(words)}</p></main>'
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
    single = len(table.rows) == 1 and all(one.role == "value" for one in table.columns)
    kind = "table figures" if single else "table"
    yield f'<section id="table" class="{kind}" role="region" aria-labelledby="title" tabindex="0"><table><thead><tr>'
    for column in table.columns:
        yield f'<th scope="col"{_class(column)}><bdi>{_text(column.name)}</bdi></th>'
    yield "</tr></thead><tbody>"
    clocks = [_clock(table, at) for at in range(len(table.columns))]
    for row in table.rows:
        pause()
        yield "<tr>"
        yield from (_cell(*parts) for parts in zip(table.columns, clocks, row, strict=True))
        yield "</tr>"
    yield "</tbody></table></section>"


def _clock(table: Table, at: int) -> Clock | None:
    column = table.columns[at]
    if column.kind != "time":
        return None
    return clock_of(table, (row[at] for row in table.rows if row[at] is not None), buckets=column.role == "bucket")


def _class(column: Column) -> str:
    return ' class="number"' if column.kind == "number" else ""


def _cell(column: Column, clock: Clock | None, cell: Cell) -> str:
    name = 'th scope="row"' if column.role in {"bucket", "group"} else "td"
    return f"<{name}{_class(column)}>{_content(clock, cell)}</{name[:2]}>"


def _content(clock: Clock | None, cell: Cell) -> str:
    if cell is None:
        return f"<i>{cell_text(None)}</i>"
    if clock is not None:
        return f'<time datetime="{iso(cell, clock.zone)}">{clock.text(cell)}</time>'
    text = cell_text(cell)
    if isinstance(cell, float):
        return f'<data value="{cell!r}">{text}</data>'
    return f"<bdi>{_text(text)}</bdi>" if isinstance(cell, str) else _text(text)


def _data(heading: str, table: Table, shape: Shape) -> str:
    content: dict[str, Any] = {
        "title": heading,
        "views": shape.views,
        "axis": shape.axis,
        "labels": [_one_line(label) for label in shape.labels],
        "times": shape.times,
        "width": shape.width_ms,
        "zone": table.time_zone,
        "omitted": shape.omitted,
        "measures": [
            {
                "name": _one_line(one.name),
                "omitted": one.omitted,
                "series": _series((s.name, s.values) for s in one.series),
            }
            for one in shape.measures
        ],
    }
    return f'<script type="application/json" id="data">{for_script(content)}</script>'


def _series(series: Iterable[tuple[str, Sequence[float | None]]]) -> list[dict[str, Any]]:
    # Each by itself: to encode all of them at once holds the interpreter's lock for long.
    return [{"name": _one_line(name), "values": _encoded(values)} for name, values in series]


def _encoded(values: Sequence[float | None]) -> Raw:
    pause()
    return Raw(encode(values))


def _one_line(label: str) -> str:
    return " ".join(_sound(label).split()) or "“”"


def _sound(text: str) -> str:
    """Return a text that UTF-8 can hold: a title of the command line may have halves of characters in it."""
    return text.encode("utf-8", "replace").decode()
