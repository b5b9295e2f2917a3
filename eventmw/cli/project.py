"""``eventmw project``: the projects of the EventBunker API, and the master keys that make projects and keys over HTTP.

Layer: people.
"""

from __future__ import annotations

import click

from eventmw.cli import keeping, output
from eventmw.cli.keeping import Place
from eventmw.cli.output import age, count, plain
from eventmw.keys import bodies


@click.group(short_help="Projects of the EventBunker API: create, list, delete, reset.")
def project() -> None:
    """Look after projects.

    A project is a wall: its keys write and ask its own events and no other's. Its master key makes and revokes its keys over
    HTTP; for `eventmw keys` nobody needs it.
    """


@project.command(short_help="Make a project.")
@click.argument("name")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--new-store", is_flag=True, help="Begin a new key store: the one that there was is gone for good.")
@keeping.placed
@output.as_json(help='{"account_id", "project_id", "master_api_key", "status"}')
def create(name: str, description: str | None, *, new_store: bool, place: Place, in_json: bool) -> None:
    """Make a project, and show its master key.

    Where the site's key store is gone, nothing is made, unless --new-store gives up all keys that were in it.
    """
    texts = {"name": ("NAME", name), "description": ("--description", description)}
    keeping.checked("project-create", {"account_id": ("", "ours"), **texts})
    with keeping.opened(place, make=True, new_store=new_store) as store:
        if (there := next((one for one in store.projects() if one.name == name), None)) is not None:
            words = "commands tell projects apart by their names: take another one"
            output.fail(f"There is a project {plain(name)} already, {there.id}; {words}.")
        made, master = store.create_project(store.account(), name, description or "")
        if in_json:
            output.say_json(bodies.of_master(master))
            return
        keeping.show(
            store,
            master,
            f"Project {plain(made.name)} is made: {made.id}. Its master key:",
            f"It makes and revokes keys over HTTP; `eventmw project reset {made.id}` replaces it.",
        )


@project.command("list", short_help="List the projects.")
@keeping.placed
@output.as_json(help="JSON Lines, one for each project.")
def project_list(*, place: Place, in_json: bool) -> None:
    """List the projects, oldest first."""
    with keeping.opened(place, make=False) as store:
        found = store.projects()
        keys = {one.id: len(store.keys(one.id)) for one in found}
        if in_json:
            for one in found:
                output.say_json({**bodies.of_project(one), "keys": keys[one.id]})
        elif found:
            rows = [
                (plain(one.name), one.id, f"{keys[one.id]:,}", f"{age(one.created_ms)} ago", plain(one.description))
                for one in found
            ]
            output.table(("Project", "Id", "Keys", "Made", "Description"), rows, right=("Keys",))
        else:
            output.say("There are no projects.")


@project.command(short_help="End a project, and all its keys.")
@click.argument("project", metavar="PROJECT")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@keeping.placed
@output.as_json(help='{"account_id", "project_id", "revoked_keys", "status"}')
def delete(project: str, *, place: Place, yes: bool, in_json: bool) -> None:
    """End a project: all its keys are revoked, at once.

    Its events stay in the archive, where no key reaches them any more, until they are older than the archive keeps. To have
    them gone, delete them with a DELETE key before.
    """
    with keeping.opened(place, make=False) as store:
        meant = keeping.project_of(store, project)
        keys = count(len(store.keys(meant.id)), "key")
        if not yes and not output.confirmed(f"End project {plain(meant.name)}, and revoke its {keys}?"):
            output.say("Nothing was changed.")
            return
        revoked = store.delete_project(meant.id)
        if in_json:
            output.say_json(bodies.of_deleted(meant, revoked))
        else:
            output.say(f"Project {plain(meant.name)} is ended; {keys} and its master key are revoked.")


@project.command(short_help="Replace a project's master key.")
@click.argument("project", metavar="PROJECT")
@keeping.placed
@output.as_json(help='{"account_id", "project_id", "master_api_key", "status"}')
def reset(project: str, *, place: Place, in_json: bool) -> None:
    """Give a project a new master key; the one before it is revoked. The project's other keys stay as they are."""
    with keeping.opened(place, make=False) as store:
        meant = keeping.project_of(store, project)
        master = store.reset_project(meant.id)
        if in_json:
            output.say_json(bodies.of_master(master))
            return
        keeping.show(
            store, master, f"The new master key of project {plain(meant.name)}:", "The one before it is revoked."
        )


@project.command(short_help="Make or replace the master key that makes projects.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@keeping.placed
@output.as_json(help='{"account_id", "master_api_key", "status"}')
def account(*, place: Place, yes: bool, in_json: bool) -> None:
    """Make the account's master key, by which programs make and end projects over HTTP.

    Where there is one already, it is revoked, and replaced.
    """
    with keeping.opened(place, make=True) as store:
        account_id = store.account()
        if not yes and store.has_account_key(account_id) and not _confirmed():
            output.say("Nothing was changed.")
            return
        master = store.reset_account(account_id)
        if in_json:
            output.say_json(bodies.of_master(master))
            return
        keeping.show(
            store,
            master,
            f"The master key of account {account_id}:",
            "It opens /v1/manage/project/…; `eventmw project account` replaces it.",
        )


def _confirmed() -> bool:
    return output.confirmed("There is an account master key already. Revoke it, and make another?")
