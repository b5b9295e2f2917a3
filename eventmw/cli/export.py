"""``eventmw export``: the kept events, for other programs.

Layer: people.
"""

from __future__ import annotations

import click

from eventmw.cli import output
from eventmw.cli.output import count
from eventmw.cli.replay import moment


@click.command(short_help="All kept events as JSON Lines.")
@output.data_dir()
@click.option("--tool", metavar="ID", help="Only events that this tool is to get; a site has to run.")
@click.option("--since", metavar="WHEN", default="start", show_default=True, help="As in `eventmw replay`.")
@click.option("--until", metavar="WHEN", help="As --since; without it, up to now.")
def export(data_dir: str | None, tool: str | None, since: str, until: str | None) -> None:
    """Write all events that are still kept, oldest first: JSON Lines, each event whole.

    \b
      eventmw export > events.jsonl
      eventmw export --since 2h --tool ga4 | jq .name

    Nothing is changed, and memory stays flat. Delivered events are kept for 24 hours, less when the journal is full: nothing
    older is there. Cookies are left out, and so are events that were erased, which the last line counts.
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    since_ms = moment(since)
    until_ms = None if until is None else moment(until, "--until")
    written = unreadable = erased = 0
    with output.looking(data_dir) as view:
        for event in view.export(tool=tool, since_ms=since_ms, until_ms=until_ms):
            if "erased" in event:  # nothing is left of it but when it came
                erased += 1
                continue
            written += 1
            unreadable += "unreadable" in event
            output.say_json(event)
        if unreadable:
            output.say(f"{count(unreadable, 'record')} of these cannot be read.", output.WARNING, error=True)
        gone = f"; {erased:,} more were erased, and are left out" if erased else ""
        output.say(f"{count(written - unreadable, 'event')} written{gone}.", output.QUIET, error=True)
