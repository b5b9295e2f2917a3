"""``eventmw query --link``: a signed link to a chart, and the line that puts it into a page.

The link goes to standard output; no message and no error has its token in it.

Layer: people.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from eventmw.charts.links import MAX_LIFETIME_S, Link, expiry_s, token_of
from eventmw.cli import keeping, output
from eventmw.cli.ages import age_s
from eventmw.cli.keeping import Place
from eventmw.cli.output import plain
from eventmw.control.inspection import resolved
from eventmw.control.live import LiveView
from eventmw.errors import EventmwError
from eventmw.formats import to_iso
from eventmw.jsontext import encode
from eventmw.keys import Key
from eventmw.keys.grants import Project
from eventmw.keys.secrets import visible

if TYPE_CHECKING:
    from eventmw.keys.store import KeyStore

_DEFAULT: Final = "7d"
_OWN: Final = {"base": "--base", "expires": "--expires", "link_key": "--key", "title": "--title"}
_OTHERS: Final = {"in_csv": "--csv", "in_chart": "--chart", "in_sql": "--sql", "as_query": "--as-query"}


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a link."""
    for option in (
        click.option("--title", metavar="TEXT", help="With --link: what stands above the chart."),
        click.option("--key", "link_key", metavar="ID", help="With --link: which query key. Default: the only one."),
        click.option(
            "--expires",
            metavar="AGE",
            help=f"With --link: how long it works. Default: {_DEFAULT}; at most {MAX_LIFETIME_S // 86_400}d.",
        ),
        click.option(
            "--base", metavar="URL", help="With --link: the site's eventbunker_path, https://shop.example/eb."
        ),
        click.option("--link", "in_link", is_flag=True, help="Only a signed link to the chart, and its <iframe>."),
    ):
        command = option(command)
    return command


def check(given: Mapping[str, Any]) -> None:
    """Look whether the options go together.

    Raises:
        click.UsageError: they do not.
    """
    if given["in_link"] and (others := [said for name, said in _OTHERS.items() if given[name]]):
        raise click.UsageError(f"--link prints nothing but a link; leave {', '.join(others)} out.")
    if given["in_link"] and given["base"] is None:
        raise click.UsageError("--link needs --base, where browsers reach eventbunker_path: https://shop.example/eb.")
    if not given["in_link"] and (own := [said for name, said in _OWN.items() if given[name] is not None]):
        raise click.UsageError(f"Without --link there is no use for {', '.join(own)}.")


def show(document: Mapping[str, Any], now_ms: int, given: Mapping[str, Any]) -> None:
    """Print the link of a query that was found to be right, and its iframe; with ``--json`` both in one line of JSON.

    Raises:
        click.UsageError: an option is wrong.
    """
    try:
        from eventmw.eventbunker.charts import PATH  # noqa: PLC0415 - of an extra
    except ImportError as error:
        output.fail(output.needs(keeping.MISSING, error))
    base = _base(given["base"])
    expires_s = _expires_s(given["expires"] or _DEFAULT, now_ms)
    with keeping.opened(Place(given["data_dir"], given["archive"], None), make=False) as store:
        project = keeping.project_of(store, given["project"])
        key = _key(store, project, given["link_key"])
        link = Link(project.id, key.id, encode(document).decode(), expires_s, given["title"] or "")
        digest = store.digest(project.id, key.id)
    try:
        address = f"{base}{PATH}?token={token_of(link, digest)}"
    except ValueError as error:
        output.fail(keeping.sentence(str(error)))
    _check_base(base, given["data_dir"])
    until = to_iso(expires_s * 1000)
    if given["in_json"]:
        output.say_json({"link": address, "iframe": iframe_of(address, link.title), "expires": until, "key_id": key.id})
        return
    click.echo(address)
    click.echo(iframe_of(address, link.title))
    words = f"It works until {until}, for everybody who has it; `eventmw keys revoke {key.id}` ends it before."
    output.say(words, output.QUIET, error=True)


def iframe_of(address: str, title: str) -> str:
    """Return the element that shows a link in a page."""
    return (
        f'<iframe src="{html.escape(address)}" title="{html.escape(title or "Chart")}" width="100%" height="420" '
        'loading="lazy" referrerpolicy="no-referrer"></iframe>'
    )


def _base(text: str) -> str:
    """Return the address without a slash at its end.

    Raises:
        click.BadParameter: it is no address of the web, or more than that. It is not shown: it may hold a password.
    """
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    plain_address = text.isascii() and text.isprintable() and not set(text) & set(" @?#\"'<>\\")
    if not good or not plain_address:
        words = "expected an address such as https://shop.example/eb: http or https, no user, no ? and no #"
        raise click.BadParameter(words, param_hint="--base")
    return text.rstrip("/")


def _check_base(base: str, data_dir: str | None) -> None:
    """Warn when the site that runs answers below another path: its link would be a 404."""
    with suppress(EventmwError, OSError):
        answered = {process.get("eventbunker_path") for process in LiveView(resolved(data_dir)).processes()} - {None}
        if answered and not any(base.endswith(str(path)) for path in answered):
            there = " or ".join(sorted(map(str, answered)))
            words = f"Warning: the running site answers below {there}, and --base ends otherwise: the link may lead nowhere."
            output.say(words, output.WARNING, error=True)


def _expires_s(text: str, now_ms: int) -> int:
    try:
        return expiry_s(now_ms / 1000, age_s(text, "--expires"))
    except ValueError as error:
        raise click.BadParameter(f"{error}, not {text}", param_hint="--expires") from None


def _key(store: KeyStore, project: Project, given: str | None) -> Key:
    """Return the query key in whose name a link asks.

    Raises:
        click.UsageError: it is not clear which is meant.
    """
    living = {listed.key.id: listed for listed in store.keys(project.id)}
    if given is not None:
        _, key_id = keeping.key_of(store, given, project.id)
        key = living[key_id].key
        if key.kind != "query":
            output.fail(f"{visible(key.kind, key.id)} is a {key.kind} key: a link asks in the name of a query key.")
        return key
    found = [listed for listed in living.values() if listed.key.kind == "query"]
    if not found:
        output.fail(f"Project {plain(project.name)} has no query key: `eventmw keys create query` makes one.")
    if len(found) > 1:
        ids = ", ".join(f"{listed.key.id}" + (f" ({plain(listed.name)})" if listed.name else "") for listed in found)
        raise click.UsageError(f"Say which query key, with --key: there are {ids}.")
    return found[0].key
