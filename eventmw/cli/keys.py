"""``eventmw keys``: the keys of a project of the EventBunker API.

Layer: people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from eventmw.cli import keeping, output
from eventmw.cli.keeping import Place
from eventmw.cli.output import age, plain
from eventmw.jsontext import for_line
from eventmw.keys import bodies
from eventmw.keys.grants import Listed

_KINDS: Final = ("write", "query", "delete")
_PROJECT: Final = click.option(
    "--project", metavar="PROJECT", help="Its id or its name; not needed where there is only one."
)


@click.group(short_help="Keys of a project: create, list, revoke, reset.")
def keys() -> None:
    """Look after the keys by which apps, browsers and pages track events, ask questions and delete.

    A running site takes up what is changed here within a second, in all its processes.
    """


@keys.command(short_help="Make a key.")
@click.argument("kind", type=click.Choice(_KINDS, case_sensitive=False), metavar="write|query|delete")
@_PROJECT
@click.option("--name", metavar="TEXT", help="What you call it; only you see it.")
@click.option("--customer", metavar="ID", help="Bind it to one customer_identifier.")
@click.option(
    "--filter",
    "filters",
    metavar="FIELD=VALUE",
    multiple=True,
    help="Of a query key: show only events with this value; may be given again. JSON values are taken as such.",
)
@click.option(
    "--origin",
    "origins",
    metavar="ORIGIN",
    multiple=True,
    help="A browser origin whose pages may use it, such as https://shop.example; may be given again.",
)
@keeping.placed
@output.as_json(help="One line of JSON: what it may, and api_key.")
def create(
    kind: str,
    *,
    project: str | None,
    name: str | None,
    customer: str | None,
    filters: Sequence[str],
    origins: Sequence[str],
    place: Place,
    in_json: bool,
) -> None:
    """Make a key that tracks events (write), asks questions (query) or deletes (delete), and show it.

    \b
      eventmw keys create write --origin https://shop.example
      eventmw keys create query --customer ann@example.com
      eventmw keys create query --filter country=DE --filter test=false

    A key that browsers see should be bound to a customer: writes get it filled in, and questions see nothing else.
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if filters and kind.lower() != "query":
        raise click.UsageError(f"--filter says what a query key shows; a {kind.lower()} key shows nothing.")
    given = keeping.checked(
        "keys-create",
        {
            "type": ("KIND", kind.upper()),
            "name": ("--name", name),
            "customer_identifier": ("--customer", customer),
            "key_filter_data": ("--filter", dict(map(_filter, filters))),
            "origins": ("--origin", list(origins)),
        },
    )
    grant = bodies.grant_of(given)
    with keeping.opened(place, make=False) as store:
        meant = keeping.project_of(store, project)
        issued = store.create_key(meant.id, grant)
        if in_json:
            output.say_json(bodies.of_issued(issued, grant.name))
            return
        keeping.show(
            store,
            issued,
            f"A {grant.kind} key of project {plain(meant.name)}:",
            f"`eventmw keys revoke {issued.key.id}` ends it.",
        )


def _filter(text: str) -> tuple[str, Any]:
    field, sign, value = text.partition("=")
    if not sign or not field:
        raise click.UsageError("--filter is written FIELD=VALUE, such as country=DE.")
    try:
        return field, msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return field, value


@keys.command("list", short_help="List the keys.")
@_PROJECT
@keeping.placed
@output.as_json(help="JSON Lines, one for each key.")
def keys_list(project: str | None, *, place: Place, in_json: bool) -> None:
    """List the keys that work, oldest first. The secrets are kept nowhere; what they begin with is shown."""
    with keeping.opened(place, make=False) as store:
        meant = keeping.project_of(store, project)
        found = store.keys(meant.id)
        if in_json:
            for listed in found:
                output.say_json(bodies.of_listed(listed))
        elif found:
            columns = ("Id", "Kind", "Name", "Made", "Begins with", "Bound to")
            output.table(columns, [_row(listed) for listed in found], below=("Bound to",))
        else:
            output.say(f"Project {plain(meant.name)} has no keys.")


def _row(listed: Listed) -> Sequence[str]:
    key = listed.key
    bounds = [f"customer {plain(key.customer)}"] if key.customer is not None else []
    bounds += [f"{plain(field)} = {for_line(value)}" for field, value in key.key_filter.items()]
    bounds += [f"origin {plain(origin)}" for origin in key.origins]
    made = f"{age(listed.created_ms)} ago"
    return (
        key.id,
        key.kind,
        plain(listed.name) or output.NOTHING,
        made,
        listed.prefix,
        ", ".join(bounds) or output.NOTHING,
    )


@keys.command("forget-store", short_help="Take the key store as it is now, older or another one.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@keeping.placed
def forget_store(*, yes: bool, place: Place) -> None:
    """Forget which key store the site had, so that the one that is there now is taken as it is.

    For a store that was replaced, or restored from a backup. Keys that are not in it are refused from then on, and keys
    that were revoked after the backup are in force again: see `eventmw keys list`. Where there is none, a new, empty one is
    made at the next start.
    """
    note = keeping.note_of(place)
    if note.read() is None:
        output.say("Nothing is noted of a key store: what is there is taken as it is.")
    elif yes or click.confirm("Take the key store as it is now? Keys that are not in it stop for good.", err=True):
        note.forget()
        output.say("Done. Each process of the site reads the keys anew within a second.")
    else:
        output.say("Nothing was changed.")


@keys.command(short_help="End a key.")
@click.argument("key", metavar="ID")
@_PROJECT
@keeping.placed
@output.as_json(help='{"project_id", "key_id", "status": "REVOKED"}')
def revoke(key: str, project: str | None, *, place: Place, in_json: bool) -> None:
    """End a key for good: within a second every process of the site refuses it.

    ID is its id, or what it begins with, eb_write_….
    """
    with keeping.opened(place, make=False) as store:
        project_id, key_id = keeping.key_of(store, key, project)
        revoked = store.revoke(project_id, key_id)
        if in_json:
            output.say_json(bodies.of_revoked(revoked))
        else:
            output.say(f"The {revoked.kind} key {revoked.id} is revoked.")


@keys.command(short_help="Replace a key by one that may the same.")
@click.argument("key", metavar="ID")
@_PROJECT
@keeping.placed
@output.as_json(help="One line of JSON: what it may, and api_key.")
def reset(key: str, project: str | None, *, place: Place, in_json: bool) -> None:
    """End a key, and make another with the same bounds. It has an id of its own."""
    with keeping.opened(place, make=False) as store:
        project_id, key_id = keeping.key_of(store, key, project)
        issued, name = store.reset_key(project_id, key_id)
        if in_json:
            output.say_json(bodies.of_issued(issued, name))
            return
        keeping.show(store, issued, f"In the place of {key_id}, the {issued.key.kind} key:", f"{key_id} is revoked.")
