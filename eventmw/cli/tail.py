"""``eventmw tail``: events as they are accepted.

Layer: people.
"""

from __future__ import annotations

import sys

import click
from rich.text import Text

from eventmw.cli import output
from eventmw.cli.output import plain
from eventmw.control.view import Json


@click.command(short_help="Watch events as the site accepts them.")
@output.data_dir()
@click.option("-f", "--follow", is_flag=True, help="Go on, and show events as they come. Ctrl-C ends it.")
@click.option("--tool", metavar="ID", help="Only events that this tool is to get.")
@click.option(
    "-n",
    "last",
    metavar="N",
    default=10,
    show_default=True,
    type=click.IntRange(0),
    help="How many of the last events.",
)
@output.as_json(help="JSON Lines: each event whole.")
def tail(data_dir: str | None, tool: str | None, last: int, *, follow: bool, in_json: bool) -> None:
    """Show the events that a running site has accepted, oldest first.

    Each line has the time, the event's name, its id, and its properties. Cookies are not shown.
    """
    shown = 0
    try:
        with output.looking(data_dir) as view:
            for event in view.tail(last=last, tool=tool, follow=follow):
                if event is None:
                    sys.stdout.flush()
                    continue
                shown += 1
                output.say_json(event) if in_json else _show(event)
            if not shown:
                output.say("No events yet." if tool is None else f"No events for {tool} yet.", error=True)
    except KeyboardInterrupt:
        return


def _show(event: Json) -> None:
    if "unreadable" in event:
        output.say(f"{event['recorded']}  (a record that cannot be read: {event['unreadable']})", output.BAD)
        return
    if "erased" in event:
        output.say(f"{event['recorded']}  (erased)", output.QUIET)
        return
    line = Text.assemble(
        (event["recorded"], output.QUIET),
        "  ",
        (plain(event["name"]) or "(no name)", "bold"),
        "  ",
        (plain(event["id"]), output.QUIET),
        "  ",
        plain(event["properties"]),
    )
    output.console().print(line)
