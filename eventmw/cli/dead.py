"""``eventmw dead``: events that were given up, shown, tried again, or thrown away.

Layer: people.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Final

import click

from eventmw.cli import output
from eventmw.cli.output import count, plain
from eventmw.control.view import Json, View

_TOOL: Final = click.option("--tool", metavar="ID", help="Only those of this tool.")
_IDS: Final = click.option(
    "--id",
    "ids",
    metavar="ID",
    multiple=True,
    help="The event with this id, or the beginning of one; may be given again.",
)
_MOST_SHOWN: Final = 5
_MOST_LISTED: Final = 1000
_ALL: Final = click.option("--all", "every", is_flag=True, help="All of them.")


@click.group(short_help="Events that were given up: list, retry, drop.")
def dead() -> None:
    """Look after dead letters: events that a tool did not get, and that are not tried again by themselves.

    An event is given up when its vendor refuses it for good, when the tool's own code fails on it, or when it could not be
    delivered for three days. It is kept with its reason until you retry or drop it.
    """


@dead.command("list")
@output.data_dir()
@_TOOL
@output.as_json(help="JSON Lines: each letter with its whole event. Good for an export.")
def dead_list(data_dir: str | None, tool: str | None, *, in_json: bool) -> None:
    """List dead letters, oldest first."""
    with output.looking(data_dir) as view:
        letters = iter(view.dead_list(tool=tool))
        if in_json:
            for letter in letters:
                output.say_json(letter)
        elif first := [*islice(letters, _MOST_LISTED)]:
            columns = ("Tool", "Given up", "Id", "Tries", "Event", "Reason")
            output.table(columns, [_row(letter) for letter in first], right=("Tries",), below=("Reason",))
            if more := sum(1 for _ in letters):
                output.say(f"{more:,} more, buried later; --json lists all of them.", output.WARNING, error=True)
        else:
            output.say("There are no dead letters.")


def _row(letter: Json) -> Sequence[str]:
    event = letter["event"]
    gone = "(erased)" if letter.get("erased") else "(cannot be read)"
    name = gone if event is None else plain(event["name"]) or "(no name)"
    why = f"{letter['outcome']}: {plain(letter['reason'])}" if letter["reason"] else str(letter["outcome"])
    return (letter["tool"], letter["buried"][:19] + "Z", plain(letter["id"]), str(letter["attempts"]), name, why)


@dead.command()
@output.data_dir()
@_TOOL
@_IDS
@_ALL
@output.as_json(help='{"retried": n}')
def retry(data_dir: str | None, tool: str | None, ids: tuple[str, ...], *, every: bool, in_json: bool) -> None:
    """Have dead letters tried again, at once.

    Mend what made them fail first; those that fail again are given up again.
    """
    _check_choice(ids, every=every)
    with output.looking(data_dir) as view:
        meant, unknown = _meant(view, tool, ids)
        if meant is None or meant:
            changed = view.dead_retry(tool=tool, ids=meant)
            _report(changed, "retried", "will be tried again", in_json=in_json)
    _check_known(unknown)


@dead.command()
@output.data_dir()
@_TOOL
@_IDS
@_ALL
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output.as_json(help='{"dropped": n}')
def drop(
    data_dir: str | None, tool: str | None, ids: tuple[str, ...], *, every: bool, yes: bool, in_json: bool
) -> None:
    """Throw dead letters away for good."""
    _check_choice(ids, every=every)
    with output.looking(data_dir) as view:
        meant, unknown = _meant(view, tool, ids)
        if not yes and not _confirmed(view, tool, meant):
            output.say("Nothing was thrown away.")
        elif meant is None or meant:
            _report(view.dead_drop(tool=tool, ids=meant), "dropped", "thrown away", in_json=in_json)
    _check_known(unknown)


def _check_choice(ids: tuple[str, ...], *, every: bool) -> None:
    if bool(ids) == every:
        raise click.UsageError("Say which: --id ID (as often as needed), or --all.")


def _meant(view: View, tool: str | None, given: tuple[str, ...]) -> tuple[Sequence[str] | None, Sequence[str]]:
    """Return the whole ids that are meant, None for all, and what no dead letter's id begins with.

    An id may stand among the letters of several tools; it is one id all the same.
    """
    if not given:
        return None, ()
    known = {str(letter["id"]) for letter in view.dead_list(tool=tool)}
    found = {prefix: _beginning(prefix, known) for prefix in given}
    return tuple(ident for ids in found.values() for ident in ids), [prefix for prefix, ids in found.items() if not ids]


def _beginning(prefix: str, known: Collection[str]) -> Sequence[str]:
    """Return the id that is `prefix`, or the only one that begins so; nothing when there is none."""
    if prefix in known:
        return (prefix,)
    found = sorted(ident for ident in known if prefix and ident.startswith(prefix))
    if len(found) > 1:
        shown = ", ".join(map(plain, found[:_MOST_SHOWN])) + (", …" if len(found) > _MOST_SHOWN else "")
        output.fail(f"{len(found)} ids begin with {plain(prefix)}: {shown}. Write more of the one that is meant.")
    return found


def _confirmed(view: View, tool: str | None, ids: Collection[str] | None) -> bool:
    meant = sum(ids is None or letter["id"] in ids for letter in view.dead_list(tool=tool))
    return bool(meant) and click.confirm(f"Throw away {count(meant, 'dead letter')} for good?", err=True)


def _report(changed: int, key: str, words: str, *, in_json: bool) -> None:
    if in_json:
        output.say_json({key: changed})
    else:
        output.say(f"{count(changed, 'dead letter')} {words}.")


def _check_known(unknown: Sequence[str]) -> None:
    if unknown:
        output.fail(f"no dead letter has an id that is or begins with {', '.join(map(plain, unknown))}.")
