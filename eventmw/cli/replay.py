"""``eventmw replay``: hand a tool events again that it was given before.

Layer: people.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from typing import Final

import click

from eventmw.cli import output
from eventmw.cli.output import count, span
from eventmw.cli.stats import state
from eventmw.control.view import Json, View
from eventmw.formats import from_iso
from eventmw.outcome import BURIED

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_POLL_S: Final = 0.5


@click.command(short_help="Hand a tool events again.")
@output.data_dir()
@click.option("--tool", metavar="ID", required=True, help="The tool that gets the events again.")
@click.option(
    "--since",
    metavar="WHEN",
    help="30m, 2h, 7d ago; a time such as 2026-05-01T12:00Z (without a zone: UTC); or start: all that is kept. Without it: "
    "all that is kept, after a question.",
)
@click.option("--dry-run", is_flag=True, help="Only say how many events these are.")
@click.option("--no-wait", is_flag=True, help="Do not show the progress.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def replay(data_dir: str | None, tool: str, since: str | None, *, dry_run: bool, no_wait: bool, yes: bool) -> None:
    """Hand a tool events again: after its settings were mended, or to fill a new one from the past.

    The events keep their ids, so a vendor that tells repetitions apart counts them once. Other tools notice nothing.
    Delivered events are kept for 24 hours, less when the journal is full: nothing older comes again.
    """
    since_ms = moment("start" if since is None else since)
    with output.looking(data_dir) as view:
        if since is None and not dry_run and not yes and not _confirmed(view, tool):
            output.say("Nothing was changed.")
            return
        before = _ended(view.stats(), tool)
        events = view.replay(tool, since_ms=since_ms, dry_run=dry_run)
        if dry_run:
            output.say(f"About {count(events, 'event')} would go to {tool} again. Nothing was changed.")
            return
        output.say(f"{count(events, 'event')} will go to {tool} again.")
        if events and not no_wait:
            _watch(view, tool, before)


def _confirmed(view: View, tool: str) -> bool:
    """Ask before everything goes out again, unless that is nothing."""
    events = view.replay(tool, since_ms=None, dry_run=True)
    question = f"Hand {tool} all that is kept again, about {count(events, 'event')}?"
    return not events or output.confirmed(question, "--yes does not ask, nor does --since WHEN.")


def moment(text: str, option: str = "--since") -> int | None:
    """Return what ``--since`` says, milliseconds since 1970; None for the start."""
    if text == "start":
        return None
    if ago := re.fullmatch(r"(\d{1,9})\s*([smhd])", text):
        return time.time_ns() // 1_000_000 - int(ago[1]) * _UNITS_S[ago[2]] * 1000
    try:
        return from_iso(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is neither an age (30m, 2h, 7d), nor a time (2026-05-01T12:00Z), nor start", param_hint=option
        ) from None


def _watch(view: View, tool: str, before: Counter[str]) -> None:
    """Show how it goes, until nothing is left or the reader has seen enough: the site works on either way."""
    begun_s, first, shown = time.monotonic(), 0, ""
    try:
        while left := (now := (picture := view.stats())["tools"].get(tool, {})).get("backlog_events", 0):
            first = max(first, left)
            if not _somebody_delivers(picture):
                _show("")
                output.say(
                    "No process delivers now. They go out when the site or `eventmw worker` runs.", output.WARNING
                )
                return
            line = f"{count(left, 'event')} left" + _estimate(first - left, left, time.monotonic() - begun_s)
            line += "" if now["state"] == "flowing" else f" ({state(now)})"
            if line != shown:
                _show(line)
                shown = line
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        _show("")
        output.say("The site goes on with it; `eventmw stats --watch` shows how far it is.")
        return
    _show("")
    _say_done(tool, _ended(picture, tool) - before, picture["tools"].get(tool, {}).get("parked", 0))


def _say_done(tool: str, ended: Counter[str], parked: int) -> None:
    dead = sum(ended.pop(kind, 0) for kind in BURIED)
    words = [f"{ended.pop('delivered', 0):,} delivered", *(f"{number:,} {kind}" for kind, number in ended.items())]
    words += [f"{parked:,} parked"] if parked else []
    words += [f"{count(dead, 'dead letter')} (`eventmw dead list --tool {tool}`)"] if dead else []
    output.say(f"Done: {tool} has nothing left to get; {', '.join(words)}.", output.WARNING if dead else output.GOOD)


def _ended(picture: Json, tool: str) -> Counter[str]:
    """Return how many events ended at a tool until now, by Outcome."""
    return Counter(picture["tools"].get(tool, {}).get("outcomes", {}))


def _somebody_delivers(picture: Json) -> bool:
    return picture["journal"].get("leader_pid") is not None or any(
        process["delivers"] for process in picture["processes"]
    )


def _estimate(done: int, left: int, spent_s: float) -> str:
    return f", about {span(left * spent_s / done)} to go" if done > 0 else ""


def _show(line: str) -> None:
    """Write progress over itself on a terminal, and line by line elsewhere."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{line}", nl=False, err=True)
    elif line:
        click.echo(line, err=True)
