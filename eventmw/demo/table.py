"""The demo's output: a progress display while it works, the table at the end, and what `--serve` says.

Layer: output only. On a terminal it draws; into a pipe or a file it writes plain lines. It fits 80 columns, and words stand
beside every mark and colour.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from eventmw.config import DEFAULT_DATA_DIR
from eventmw.demo.ordeal import Fact
from eventmw.demo.play import PATHS, SiteKind, Stage, events_in
from eventmw.demo.servers import Server
from eventmw.demo.verdict import Cell, Row
from eventmw.jsontext import for_line

MAX_WIDTH: Final = 100
_LOOK_S: Final = 0.1
_LABEL_WIDTH: Final = 24  # «transaction successful», indented


def screen() -> Console:
    """Return the console to write on; wider than `MAX_WIDTH` no table is easier to read."""
    console = Console(highlight=False)
    return Console(highlight=False, width=min(console.width, MAX_WIDTH))


@contextmanager
def progress(console: Console, turns: int) -> Generator[Callable[[str], None]]:
    """Show what is being done; the block calls what it is given with a few words at each of so many turns."""
    if not console.is_terminal:
        yield lambda words: console.print(f"{words} ...", markup=False, soft_wrap=True)
        return
    # The spinner of ASCII characters can be drawn on every terminal.
    columns = (SpinnerColumn("line"), BarColumn(20), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as drawn:
        task = drawn.add_task("", total=turns, completed=-1)
        yield lambda words: drawn.update(task, advance=1, description=f"{words} ...")


def introduce(console: Console, sites: Sequence[SiteKind]) -> None:
    """Write what is on stage."""
    console.print("eventmw demo: three real sites, each wrapped in one line, and a local vendor", style="bold")
    for site in sites:
        console.print(f"  {site.title:8} under {site.server}", markup=False)


def show(console: Console, rows: Sequence[Row], sites: Sequence[str]) -> None:
    """Write the table and how to read it."""
    console.print()
    console.print(Group(*_parts(console, rows, sites)))
    console.print()
    console.print(
        "How to read it: a number is how often the event came to the vendor. A vendor that fails or breaks off gets it "
        "again, with the same id, by which it counts once. "
        f"{_mark(console, kept=True)} is a promise kept, {_mark(console, kept=False)} one that was not.",
        style="dim",
    )
    console.print()


def show_ordeal(console: Console, again: int, facts: Sequence[Fact]) -> None:
    """Write what became of the events of the site that was killed."""
    console.print("Killed and started again", style="bold")
    console.print(
        "A Flask site with two workers, under load, its vendor away: SIGKILL to the worker that delivers, then to all; the "
        f"site started again, the vendor back. {again} requests broke off or were refused, and were sent again.",
        style="dim",
    )
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=_LABEL_WIDTH)
    grid.add_column(justify="right")
    grid.add_column()
    for fact in facts:
        words = Text.assemble(_shown(console, Cell(None, fact.trouble)), f" {fact.words}")
        grid.add_row(Padding(Text(fact.label), (0, 0, 0, 2)), str(fact.number), words)
    console.print(grid)
    console.print()


def conclude(console: Console, total: str, promises: int, troubles: Sequence[str]) -> None:
    """Write the totals, and each promise that was not kept."""
    console.print(total, markup=False)
    if not troubles:
        console.print(f"All {promises} promises were kept.", style="bold green")
        return
    console.print(f"{len(troubles)} of {promises} promises were NOT kept:", style="bold red")
    for trouble in troubles:
        console.print(f"  {trouble}", markup=False)


def _grid(sites: Sequence[str]) -> Table:
    """Return an empty table with the columns of all parts, so that the parts stand beneath each other."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=_LABEL_WIDTH)
    grid.add_column(width=4)
    grid.add_column(ratio=1)
    for site in sites:
        grid.add_column(width=max(len(site), 5), justify="right")
    grid.expand = True
    return grid


def _heading(sites: Sequence[str]) -> Table:
    heading = _grid(sites)
    heading.add_row("What was sent", "HTTP", "What became of it", *sites, style="bold")
    return heading


def _parts(console: Console, rows: Sequence[Row], sites: Sequence[str]) -> Iterator[RenderableType]:
    yield _heading(sites)
    yield Rule(style="dim", characters="-" if console.options.ascii_only else "─")
    for row in rows:
        if row.title:
            yield Text(row.title, style="bold")
        line = _grid(sites)
        label, cells = Padding(Text(row.label), (0, 0, 0, 2)), (_shown(console, cell) for cell in row.cells)
        line.add_row(label, row.http, Text(row.words), *cells)
        yield line


def _shown(console: Console, cell: Cell) -> Text:
    kept = not cell.trouble
    number = "" if cell.number is None else f"{cell.number} "
    return Text.assemble(number, (_mark(console, kept=kept), "green" if kept else "bold red"))


def _mark(console: Console, *, kept: bool) -> str:
    if console.options.ascii_only:
        return "ok" if kept else "NO"
    return "✓" if kept else "✗"


def serve(console: Console, stage: Stage) -> None:
    """Write the addresses and what to try, then every event that comes to the vendor, until Ctrl-C."""
    console.print()
    console.print("The sites stay up. Ctrl-C ends them.", style="bold")
    for name, server in stage.wrapped.items():
        console.print(f"  {name:8} {server.url}/  (events: {PATHS['events']}, their state: /stats)", markup=False)
    console.print("Try it (paste a line into another terminal):")
    for line in _commands(next(iter(stage.wrapped.values()))):
        console.print(line, markup=False, soft_wrap=True)
    console.print("What comes to the vendor:", style="bold")
    seen = len(stage.vendor.arrivals)
    while True:
        for arrival in stage.vendor.arrivals[seen:]:
            seen += 1
            for event in events_in(arrival):
                console.print(_came(arrival.path, event), markup=False, soft_wrap=True)
        time.sleep(_LOOK_S)


def _commands(server: Server) -> Iterator[str]:
    good = '{"events":[{"client":{"__zarazTrack":"my event","value":"200"}}]}'
    bad = '{"events":[{"clinet":{}}]}'
    for body in (good, bad):
        yield f"  curl -i {server.url}{PATHS['events']} -d '{body}'"
    for command in ("tail -f", "stats"):
        yield f"  eventmw {command} --data-dir {server.folder / DEFAULT_DATA_DIR}"


def _came(path: str, event: Mapping[str, Any]) -> str:
    """Return one line for an event that came; strangers may send to `--serve`, so what they wrote is shown as JSON."""
    _, site, side = path.split("/")
    return f"  {site}, {side}: {for_line(event['name'])} {for_line(event['properties'])} id {for_line(event['id'])}"
