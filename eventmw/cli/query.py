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
from eventmw.cli import archives, asking, linking, misread, output
from eventmw.cli.ages import age
from eventmw.cli.drawing import can_draw, drawn, number_text
from eventmw.cli.output import Cell, count, plain
from eventmw.errors import ConfigError, Refused
from eventmw.keys import Key
from eventmw.query.language import parse
from eventmw.query.question import COLUMNS, Query
from eventmw.query.table import Column, Table

_FORMS: Final = {
    "in_json": "--json",
    "in_csv": "--csv",
    "in_chart": "--chart",
    "in_sql": "--sql",
    "as_query": "--as-query",
}
"""What an answer may look like: one of these, or a table."""

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
_SIGNS: Final = frozenset("=<>~")
_condition = re.compile(f"(.+?)({'|'.join(map(re.escape, _OPS))})(.*)", re.DOTALL).fullmatch


Command = Callable[..., None]


def _computing(function: str) -> Callable[[Command], Command]:
    return click.option(
        f"--{function}", metavar="FIELD", multiple=True, help=f"Compute {function} of a field; may be given again."
    )


@click.command(short_help="Ask the archive: tables, charts, CSV, SQL.")
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True))
@output.data_dir()
@archives.option()
@click.option("--project", metavar="PROJECT", help="Whose events: its id or its name. Default: the only one there is.")
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
    """Ask the archive of tracked events.

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
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    document = _document(file)
    document |= _given(options, document)
    linking.check(options)
    _check_form(options)
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
        misread.fail(refused, options, document, file)
    except ConfigError as error:
        output.fail("; ".join(error.problems))
    except BrokenPipeError:
        # `| head` has seen enough. Python flushes at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _check_form(options: Mapping[str, Any]) -> None:
    """Look whether one form of the answer is asked for.

    Raises:
        click.UsageError: there are several.
    """
    asked = [option for name, option in _FORMS.items() if options[name]]
    if len(asked) > 1:
        raise click.UsageError(f"One form of the answer is expected, got {' and '.join(asked)}: leave all but one out.")


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
        if found[3].lstrip()[:1] in _SIGNS:
            words = f"expected one of the operators {' '.join(_OPS)} before a value; a text that begins so is quoted"
            raise click.BadParameter(f"{text!r}: {words}, as {found[1]}{found[2]}'\"…\"'", param_hint="--where")
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
    with asking.opened(options["archive"], options["data_dir"]) as archive:
        from eventmw.query.run import Limits, Runner  # noqa: PLC0415 - of an extra

        project = asking.project_of(archive, options["project"])
        ask = Runner(archive.engine, Limits(timeout_s=options["timeout_s"]))
        key = Key(id="command line", kind="query", account_id="", project_id=project)
        if options["in_sql"]:
            click.echo(ask.sql(asked, key))
        else:
            table = ask(asked, key)
            _show(table, options)
            for doubt in misread.doubts(asked, table, lambda another: ask(another, key)):
                output.say(doubt, output.WARNING, error=True)


def _show(table: Table, options: Mapping[str, Any]) -> None:
    if options["in_json"]:
        output.say_json(table.as_json())
        return
    if options["in_csv"]:
        click.echo(
            table.as_csv(printable=sys.stdout.isatty()), nl=False, color=True
        )  # a file holds data: nothing is stripped
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
