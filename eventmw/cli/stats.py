"""``eventmw stats``: where each tool stands.

Layer: people.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import click
from rich.text import Text

from eventmw.cli import output
from eventmw.cli.output import Cell, age, clock_time, count, pairs, plain, sizes, span
from eventmw.control.inspection import resolved
from eventmw.control.merging import NOT_DELIVERING
from eventmw.control.view import Json, NobodyLive, View

INTERVAL_S: Final = 1.0
SILENT_S: Final = 10.0
_MOST_REASONS: Final = 5
_MOST_CHARS: Final = 160
_FILTERED: Final = {"when": "its `when` did not match", "nothing wanted": "the tool wanted nothing"}
_OF_STORES: Final = ("the archive ", "the keys ")
"""How the reasons begin that `eventmw.eventbunker.stores.Stores.troubles` gives."""


@click.command(short_help="Where each tool of a running site stands.")
@output.data_dir()
@click.option("-w", "--watch", is_flag=True, help="Show it again every second. Ctrl-C ends it.")
@click.option("-p", "--processes", "each", is_flag=True, help="Show each process by itself as well.")
@output.as_json(help="One line of JSON, each process by itself among it.")
def stats(data_dir: str | None, *, watch: bool, each: bool, in_json: bool) -> None:
    """Show where each tool of a running site stands, summed over its processes.

    \b
    State    flowing: events go out as they come.
             standing until …: the tool's vendor fails; it is asked again then.
             switched off: its code did not come back; see the reason beside it.
             idle: nothing was there to deliver yet.
             waiting: events are there, and no courier works for the tool;
             the reason beside it says when who delivers does not know it.
    Backlog  events that the tool is still to get, and how old the oldest is.
    Parked   events that failed alone: set aside, so that the others go on, and
             tried again later and later, for up to 72 hours.
    Dead     events that were given up: see `eventmw dead list`.
    Reason   why the tool stands, or what failed last; and why events ended as
             dropped, filtered, rejected and so on.
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    try:
        while True:
            with output.looking(data_dir) as view:
                picture = _picture(view, patient=watch)
            if watch and not in_json:
                click.clear()
            if picture is None:
                output.say("No site is running now.", output.WARNING, error=True)
            elif in_json:
                output.say_json(picture)
            else:
                _show(picture, str(resolved(data_dir)), each=each)
            if not watch:
                return
            time.sleep(INTERVAL_S)
    except KeyboardInterrupt:
        return


def _picture(view: View, *, patient: bool) -> Json | None:
    try:
        return view.stats()
    except NobodyLive:
        if patient:
            return None  # the site restarts
        raise


def _show(picture: Json, folder: str, *, each: bool) -> None:
    journal = picture["journal"]
    output.say(
        f"{folder}: {count(len(picture['processes']), 'process', 'processes')}, journal {journal['durability']}, "
        f"{count(journal['events'], 'event')} kept ({_room(journal)})"
    )
    if journal["durability"] == "journaled":
        _show_leader(journal, picture["processes"])
    if picture["processes"]:
        _show_readiness(journal.get("not_ready", ()), picture.get("stores", {}))
    for trouble in filter(None, picture.get("stores", {}).values()):
        output.say(f"Store: {plain(trouble)}.", output.BAD)
    output.say("")
    if picture["tools"]:
        _show_tools(picture["tools"])
    else:
        output.say("The site has no tools: its events are kept and go nowhere.", output.WARNING)
    if each:
        _show_processes(picture)


def _show_readiness(refusing: Sequence[Json], stores: Json) -> None:
    """Show which processes are not ready: for a store's sake they may take events all the same."""
    of_stores = [process for process in refusing if process["why"].startswith(_OF_STORES)]
    if len(of_stores) == len(refusing):
        output.say("takes events: yes")
    for process in of_stores:
        if process["why"] not in stores.values():
            output.say(f"not ready, process {process['pid']}: {plain(process['why'])}", output.BAD)
    for process in (process for process in refusing if process not in of_stores):
        output.say(f"takes events: no, process {process['pid']}: {plain(process['why'])}", output.BAD)


def _room(journal: Json) -> str:
    cap = journal["cap_bytes"]
    return sizes(journal["bytes"]) + (f" of {sizes(cap)}" if cap is not None else "")


def _show_leader(journal: Json, processes: Sequence[Json]) -> None:
    pid, beat_ms = journal["leader_pid"], journal["heartbeat_ms"]
    if pid is None:
        soon = any(process["delivers"] for process in processes)
        then = "one is about to begin." if soon else "events are kept until a site or `eventmw worker` does."
        output.say(f"No process delivers now; {then}", output.WARNING)
    elif (silent_s := time.time() - (beat_ms or 0) / 1000) > SILENT_S:
        output.say(
            f"Process {pid} delivers, and has not been heard of for {span(silent_s)}: it is stopped, or hangs.",
            output.BAD,
        )
    else:
        output.say(f"Process {pid} delivers.", output.QUIET)


def _show_tools(tools: Json) -> None:
    rows = [_row(ident, tool) for ident, tool in tools.items()]
    columns = ("Tool", "State", "Backlog", "Oldest", "Parked", "Dead", "Outcomes", "Reason")
    output.table(columns, rows, right=("Backlog", "Oldest", "Parked", "Dead"), below=("Reason",))


def _row(ident: str, tool: Json) -> tuple[Cell, ...]:
    oldest = tool["oldest_ms"]
    return (
        ident,
        state(tool),
        f"{tool['backlog_events']:,}",
        output.NOTHING if oldest is None else age(oldest),
        f"{tool['parked']:,}",
        Text(f"{tool['dead']:,}", output.BAD if tool["dead"] else ""),
        pairs(tool["outcomes"]) or output.NOTHING,
        "; ".join(filter(None, (_reason(ident, tool), _of_outcomes(tool.get("reasons", ()))))),
    )


def _of_outcomes(reasons: Sequence[Json]) -> str:
    """Return the commonest reasons of Outcomes: ``rejected 2: HTTP 422; filtered 7: its `when` did not match``."""
    shown = [
        f"{one['outcome']} {one['count']:,}: {_FILTERED.get(one['reason'], plain(one['reason'])[:_MOST_CHARS])}"
        for one in reasons[:_MOST_REASONS]
    ]
    more = len(reasons) - len(shown)
    return "; ".join(shown) + (f"; and {count(more, 'reason')} more, see --json" if more else "")


def _reason(ident: str, tool: Json) -> str:
    if (pid := tool.get("unknown_to")) is not None:
        return (
            f"process {pid} delivers, and its configuration does not have {ident}: give the site that has it a data_dir of "
            f"its own, or, when none has it any more, `eventmw tools forget {ident}`"
        )
    if tool["state"] in {"probing", "standing", "off"}:
        return plain(tool["last_error"])
    at_ms = tool.get("last_failure_ms")
    if at_ms is None or not (tool["parked"] or tool["dead"] or tool["state"] == NOT_DELIVERING):
        return ""
    if any(tool["last_failure"].startswith(one["reason"]) for one in tool.get("reasons", ())[:_MOST_REASONS]):
        return ""  # it is among the reasons of Outcomes
    return f"last failure, {age(at_ms)} ago: {plain(tool['last_failure'])}"


def state(tool: Json) -> Text:
    """Return a tool's state in words: ``flowing``, ``standing until 14:03:10``."""
    match tool["state"]:
        case "flowing":
            return Text("flowing", output.GOOD)
        case "probing":
            return Text("trying again", output.WARNING)
        case "standing":
            return Text(f"standing until {clock_time(tool['next_probe_ms'])}", output.WARNING)
        case "off":
            return Text("switched off", output.BAD)
        case other:
            return Text(other, output.WARNING if other == NOT_DELIVERING else output.QUIET)


def _show_processes(picture: Json) -> None:
    for process in picture["processes"]:
        output.say("")
        own = process["stats"]
        if picture["journal"]["durability"] == "journaled":
            _show_member(process, picture["journal"]["leader_pid"])
            continue
        output.say(
            f"Process {process['pid']}, {process['path'] or 'no path'}, "
            f"first used {age(process['since_ms'])} ago, {count(own['appended_events'], 'event')} since"
        )
        rows = [
            (
                ident,
                f"{tool['backlog_events']:,}",
                f"{tool['parked']:,}",
                f"{tool['dead']:,}",
                pairs(tool["outcomes"]) or output.NOTHING,
            )
            for ident, tool in own["tools"].items()
        ]
        if rows:
            columns = ("Tool", "Backlog", "Parked", "Dead", "Outcomes")
            output.table(columns, rows, right=("Backlog", "Parked", "Dead"))


def _show_member(process: Json, leader_pid: int | None) -> None:
    """Show one of the processes that share a journal: all that it has is its part in the work."""
    part = (
        "delivers" if process["pid"] == leader_pid else "would deliver next" if process["delivers"] else "only accepts"
    )
    output.say(
        f"Process {process['pid']}, {process['path'] or 'no path'}, in use for {age(process['since_ms'])}: {part}\n"
        f"  tools: {', '.join(process['tools']) or 'none'}"
    )
