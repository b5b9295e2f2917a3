"""``eventmw query``: questions to the archive.

Layer: people.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import click

from eventmw import strictjson
from eventmw.cli import linking, output
from eventmw.cli.ages import age
from eventmw.cli.drawing import can_draw, drawn, number_text
from eventmw.cli.output import Cell, count, plain
from eventmw.control.inspection import resolved
from eventmw.errors import ConfigError, Refused
from eventmw.keys import Key
from eventmw.query.language import COLUMNS, Query, parse
from eventmw.query.table import Column, Table

ARCHIVE: Final = "EVENTMW_ARCHIVE"
FILE: Final = "archive.sqlite3"
"""The archive in a data directory."""

_FOR_TEXT: Final = frozenset({"contains", "not_contains", "starts_with", "ends_with"})

# The longer ones first, so that none is taken for its beginning.
_OPS: Final = {
    "!=": "not_equals",
    ">=": "greater_than_or_equals",
    "<=": "less_than_or_equals",
    "!~": "not_contains",
    "^=": "starts_with",
    "$=": "ends_with",
    "=": "equals",
    ">": "greater_than",
    "<": "less_than",
    "~": "contains",
}
_condition = re.compile(f"(.+?)({'|'.join(map(re.escape, _OPS))})(.*)", re.DOTALL).fullmatch


Command = Callable[..., None]


def _computing(function: str) -> Callable[[Command], Command]:
    return click.option(
        f"--{function}", metavar="FIELD", multiple=True, help=f"Compute {function} of a field; may be given again."
    )


@click.command(short_help="Ask the archive: tables, charts, CSV, SQL.")
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True))
@output.data_dir()
@click.option(
    "--archive", metavar="URL", help=f"The archive's address. Default: ${ARCHIVE}, else {FILE} in the data_dir."
)
@click.option("--project", metavar="ID", help="Whose events. Default: the only project there is.")
@click.option("--last", metavar="AGE", help="From 30s, 5m, 1h, 7d or 2w ago until now.")
@click.option("--period", metavar="WORD", help="today, yesterday, this_week, last_month, minus_90_days and their kin.")
@click.option("--from", "begin", metavar="TIME", help="From this time on (2026-05-01, 2026-05-01T12:00).")
@click.option("--to", "end", metavar="TIME", help="Up to this time. Default: now.")
@click.option(
    "--zone", metavar="NAME", help="Time zone of periods, intervals and times shown: Europe/Berlin. Default: UTC."
)
@click.option("--where", "conditions", metavar="COND", multiple=True, help="Only these events; may be given again.")
@click.option(
    "--by", "groups", metavar="FIELD", multiple=True, help="A row for each value of a field; may be given again."
)
@click.option("--every", type=click.Choice(["minute", "hour", "day", "week", "month"]), help="A row for each of these.")
@click.option("--count", "counting", is_flag=True, help="Count events.")
@_computing("sum")
@_computing("avg")
@_computing("min")
@_computing("max")
@_computing("median")
@click.option(
    "--distinct", "count_distinct", metavar="FIELD", multiple=True, help="Count the different values of a field."
)
@click.option(
    "--percentile", metavar="N FIELD", type=(str, str), multiple=True, help="Compute a percentile, such as 95."
)
@click.option(
    "--order", "orders", metavar="COLUMN", multiple=True, help="Order by a column; -COLUMN: the largest first."
)
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), help="At most so many rows.")
@click.option("--timeout", "timeout_s", metavar="SECONDS", default=5.0, show_default=True, type=click.FloatRange(0.001))
@output.as_json(help="The answer as /v1/query/json gives it.")
@click.option("--csv", "in_csv", is_flag=True, help="CSV.")
@click.option("--chart", "in_chart", is_flag=True, help="Drawn with bars, or along time.")
@click.option("--sql", "in_sql", is_flag=True, help="Only the SQL that would be asked.")
@click.option("--as-query", is_flag=True, help="Only the query in JSON, for a file or for /v1/query/json.")
@linking.options
def query(file: str | None, **options: Any) -> None:
    r"""Ask the archive of tracked events.

    \b
      eventmw query --last 1h --count --by event_name
      eventmw query --last 7d --every day --sum price --where plan=pro --chart
      eventmw query --where 'price>=10' --where '!coupon' --limit 20
      eventmw query question.json --csv > answer.csv
      eventmw query --last 7d --every day --count --link --base https://shop.example/eb

    FILE is a query in JSON, - for standard input; options add to it. Without something to compute, to group by or an
    --every, events are listed, the newest first.

    COND is a field's name, an operator (= != > >= < <= ~ contains, !~ contains not, ^= starts with, $= ends with) and a
    value; a name alone: there is such a field; with ! before it: there is none. Numbers, true and false are taken as
    these, "…" in double quotes as text. docs/query.md has all.
    """
    document = _document(file)
    document |= _given(options, document)
    linking.check(options)
    if options["as_query"]:
        output.say_json(document)
        return
    now_ms = time.time_ns() // 1_000_000
    try:
        asked = parse(document, now_ms)
        if options["in_link"]:
            linking.show(document, now_ms, options)
        else:
            _answer(asked, options)
    except Refused as refused:
        _fail(refused)
    except ConfigError as error:
        output.fail(str(error))
    except BrokenPipeError:
        # `| head` has seen enough. Python flushes at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _document(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        output.fail(f"{file} cannot be read: {error.strerror}")
    try:
        document = strictjson.decode(strictjson.without_bom(body))
    except Refused as refused:
        output.fail(f"{file} is no JSON. {refused.detail}")
    if not isinstance(document, dict):
        output.fail(f"{file} is no query: a JSON object is expected.")
    return cast(dict[str, Any], document)


def _given(options: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that options set; what they add to lists stands behind what is there."""
    given: dict[str, Any] = {}
    if (period := _period(options)) is not None:
        given["time_period"] = period
    for key, option in (("time_zone", "zone"), ("interval", "every"), ("limit", "limit")):
        if options[option] is not None:
            given[key] = options[option]
    added = {
        "filters": [_filter(text) for text in options["conditions"]],
        "group_by": list(options["groups"]),
        "computations": [*_computations(options)],
        "order_by": [_order(text) for text in options["orders"]],
    }
    for key, more in added.items():
        before = document.get(key, [])
        if more and isinstance(before, list):
            given[key] = [*before, *more]
    return given


def _period(options: Mapping[str, Any]) -> str | dict[str, str] | None:
    last, word, begin, end = (options[name] for name in ("last", "period", "begin", "end"))
    if sum(one is not None for one in (last, word, begin)) > 1 or (end is not None and begin is None):
        raise click.UsageError("Say one of --last, --period, --from; --to goes with --from.")
    if last is not None:
        number, unit = age(last, "--last")
        return f"minus_{number}_{unit}"
    if begin is not None:
        return {"from": begin} if end is None else {"from": begin, "to": end}
    return cast(str | None, word)


def _computations(options: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    if options["counting"]:
        yield {"function": "count"}
    for function in ("sum", "avg", "min", "max", "median", "count_distinct"):
        yield from ({"function": function, "field_name": name} for name in options[function])
    yield from ({"function": f"percentile_{n}", "field_name": name} for n, name in options["percentile"])


def _order(text: str) -> dict[str, str]:
    return {"field_name": text[1:], "direction": "desc"} if text.startswith("-") else {"field_name": text}


def _filter(text: str) -> dict[str, Any]:
    if (found := _condition(text)) is not None:
        op = _OPS[found[2]]
        as_text = op in _FOR_TEXT or COLUMNS.get(found[1].strip()) == "text"
        return {"field_name": found[1].strip(), "op": op, "value": _value(found[3].strip(), as_text=as_text)}
    if text.startswith("!"):
        return {"field_name": text[1:], "op": "not_exists"}
    return {"field_name": text, "op": "exists"}


def _value(text: str, *, as_text: bool) -> Any:
    """Return a number, true, false or quoted text as JSON has it, and anything else as the text that it is."""
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    if isinstance(value, str) or (isinstance(value, bool | int | float) and not as_text):
        return value
    return text


def _answer(asked: Query, options: Mapping[str, Any]) -> None:
    from eventmw.query.run import Limits, Runner  # noqa: PLC0415 - of an extra

    engine = _engine(options["archive"], options["data_dir"])
    try:
        project = options["project"] or _only_project(engine)
        ask = Runner(engine, Limits(timeout_s=options["timeout_s"]))
        key = Key(id="command line", kind="query", account_id="", project_id=project)
        if options["in_sql"]:
            click.echo(ask.sql(asked, key))
        else:
            _show(ask(asked, key), options)
    finally:
        engine.dispose()


def _engine(archive: str | None, data_dir: str | None) -> Any:
    """Return the archive's engine.

    Raises:
        ConfigError: the address is none, or a package is missing.
    """
    try:
        from sqlalchemy import inspect  # noqa: PLC0415 - of an extra
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - as above

        from eventmw.archive.database import engine_of, sqlite_address  # noqa: PLC0415 - as above
        from eventmw.archive.tables import events  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ConfigError(
            [f"a package is missing for the archive: pip install 'eventmw[eventbunker]' ({error.name})"]
        ) from None
    address = archive or os.environ.get(ARCHIVE)
    if address is None:
        folder = resolved(data_dir)
        output.become_owner(folder)
        if not (folder / FILE).is_file():
            output.fail(f"there is no archive in {folder}. Name the site's data_dir with --data-dir, or --archive.")
        address = sqlite_address(folder / FILE)
    engine = engine_of(address)
    try:
        is_filled = inspect(engine).has_table(events.name)
    except SQLAlchemyError as error:  # its words may show the password
        output.fail(f"the archive cannot be opened: {type(getattr(error, 'orig', error)).__name__}.")
    if not is_filled:
        output.fail("the archive has no events yet: no site with eventbunker_path has written to it.")
    return engine


def _only_project(engine: Any) -> str:
    from sqlalchemy import func, select  # noqa: PLC0415 - of an extra

    from eventmw.archive.tables import events  # noqa: PLC0415 - as above

    found: list[str] = []
    first = select(func.min(events.c.project_id))  # two steps in the index, not a walk through all
    with engine.connect() as connection:
        while len(found) < 2 and (  # noqa: PLR2004 - more than one is too many
            one := connection.scalar(first.where(events.c.project_id > found[-1]) if found else first)
        ):
            found.append(one)
    if not found:
        output.fail("the archive has no events yet.")
    if len(found) > 1:
        output.fail(f"the archive has several projects, {plain(found[0])} among them: name one with --project.")
    return found[0]


def _show(table: Table, options: Mapping[str, Any]) -> None:
    if options["in_json"]:
        output.say_json(table.as_json())
        return
    if options["in_csv"]:
        click.echo(table.as_csv(), nl=False)
        return
    if options["in_chart"]:
        _draw(table)
    elif table.rows:
        numbers = [column.name for column in table.columns if column.kind == "number"]
        output.table([plain(column.name) for column in table.columns], _cells(table), right=[*map(plain, numbers)])
    if not table.rows:
        output.say("No events match.", error=True)
    elif table.truncated:
        output.say(f"Only the first {count(len(table.rows), 'row')}: --limit N shows more.", output.WARNING, error=True)


def _cells(table: Table) -> Sequence[Sequence[Cell]]:
    return [
        [_cell(*three) for three in zip(table.columns, texts, row, strict=True)]
        for texts, row in zip(table.texts(), table.rows, strict=True)
    ]


def _cell(column: Column, text: str, value: object) -> Cell:
    if value is None:
        return output.NOTHING
    return number_text(cast(float, value)) if column.kind == "number" else plain(text)


def _draw(table: Table) -> None:
    if not can_draw(table):
        output.fail("there is nothing to draw: a chart needs --by or --every.")
    out = output.console()
    blocks = (out.encoding or "").lower().startswith("utf")
    for line in drawn(table, out.width, blocks=blocks):
        out.print(line, no_wrap=True)


def _fail(refused: Refused) -> None:
    told = [f"{fault.path or 'the top'}: {fault.message}" for fault in refused.faults]
    output.fail("\n".join([refused.detail, *told[1:]]))
