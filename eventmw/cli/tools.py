"""``eventmw tools``: which tools are registered, and ending one.

Layer: people.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from eventmw.cli import output
from eventmw.cli.output import age, count
from eventmw.control.view import Json


@click.group(short_help="Registered tools: list, forget.")
def tools() -> None:
    """Look after the tools that the journal knows.

    A tool is registered the first time that a site is configured for it. From then on the journal keeps events until that
    tool has them, also while no site is configured for it: so one that was renamed or taken out holds events back, for 24
    hours.
    """


@tools.command("list", short_help="List the tools, and what they have not got yet.")
@output.data_dir()
@output.as_json(help="JSON Lines, one for each tool.")
def tools_list(data_dir: str | None, *, in_json: bool) -> None:
    """List the tools, who is configured for them, and what they have not got yet."""
    with output.looking(data_dir) as view:
        found = view.tools()
        if in_json:
            for tool in found:
                output.say_json(tool)
        elif found:
            columns = ("Tool", "Registered", "Backlog", "Parked", "Dead", "Configured by")
            output.table(columns, [_row(tool) for tool in found], right=("Backlog", "Parked", "Dead"))
        else:
            output.say("No tool is registered.")


def _row(tool: Json) -> Sequence[str]:
    registered = output.NOTHING if tool["registered_ms"] is None else f"{age(tool['registered_ms'])} ago"
    pids: list[int] = tool["processes"]
    configured = f"process{'' if len(pids) == 1 else 'es'} {', '.join(map(str, pids))}" if pids else "nobody alive"
    if (leader := tool["unknown_to"]) is not None:
        configured += f"; not {leader}, which delivers: its own data_dir, or forget it"
    return (
        tool["tool"],
        registered,
        f"{tool['backlog_events']:,}",
        f"{tool['parked']:,}",
        f"{tool['dead']:,}",
        configured,
    )


@tools.command(short_help="End a tool, and give up what it has not got.")
@output.data_dir()
@click.argument("ident", metavar="ID")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output.as_json(help='{"forgotten": "ga4", "given_up": n}')
def forget(data_dir: str | None, ident: str, *, yes: bool, in_json: bool) -> None:
    """End a tool: events that it has not got yet are given up. Its dead letters stay.

    A tool that a site is still configured for is registered again at once, and begins with the events that come then.
    """
    with output.looking(data_dir) as view:
        known = {tool["tool"]: tool for tool in view.tools()}
        if (tool := known.get(ident)) is None:
            raise LookupError(f"no tool has the id {ident}; registered are: {', '.join(known) or 'none'}")
        given_up = tool["backlog_events"] + tool["parked"]
        if not yes and not _confirmed(tool, given_up):
            output.say("Nothing was changed.")
            return
        view.forget(ident)
        if in_json:
            output.say_json({"forgotten": ident, "given_up": given_up})
        else:
            output.say(f"{ident} is forgotten; {count(given_up, 'event')} given up.")


def _confirmed(tool: Json, given_up: int) -> bool:
    if tool["processes"]:
        pids = ", ".join(map(str, tool["processes"]))
        output.say(f"A running site is configured for it (process {pids}).", output.WARNING, error=True)
    return output.confirmed(f"Forget {tool['tool']}, and give up {count(given_up, 'event')} that it has not got?")
