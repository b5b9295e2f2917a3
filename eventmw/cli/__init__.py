"""The command line: ``eventmw``, or ``python -m eventmw``.

One module for each command. They are imported when they are asked for, so that ``eventmw stats`` does not wait for what
``eventmw demo`` needs.

Layer: people. Exit codes: 0 all is well, 1 something was found or failed, 2 the command was used wrongly.
"""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import Final, cast

import click

from eventmw import __version__
from eventmw.jsontext import ESCAPES

_COMMANDS: Final = {
    "demo": "eventmw.cli.demo",
    "check": "eventmw.cli.check",
    "openapi": "eventmw.cli.openapi",
    "send": "eventmw.cli.send",
    "tail": "eventmw.cli.tail",
    "stats": "eventmw.cli.stats",
    "dead": "eventmw.cli.dead",
    "replay": "eventmw.cli.replay",
    "export": "eventmw.cli.export",
    "tools": "eventmw.cli.tools",
    "erase": "eventmw.cli.erase",
    "query": "eventmw.cli.query",
    "worker": "eventmw.cli.worker",
    "project": "eventmw.cli.project",
    "keys": "eventmw.cli.keys",
    "new-secret": "eventmw.cli.new_secret",
}


class _Commands(click.Group):
    """The commands in the order in which a newcomer meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in _COMMANDS:
            return None
        return cast(click.Command, getattr(import_module(_COMMANDS[cmd_name]), cmd_name.replace("-", "_")))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="eventmw", message="%(prog)s %(version)s")
def main() -> None:
    """Events of your site, to your tools.

    eventmw is a middleware inside your site. These commands try it out, check its settings, and look into a site that runs.

    \b
      eventmw demo               see what it does
      eventmw check app.toml     before you start the site
      eventmw send URL -e hello  send a first event
      eventmw tail -f            watch events come in
      eventmw stats              where each tool stands
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPES)  # a terminal or pipe in ASCII must not end a command in its middle
