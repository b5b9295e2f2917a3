"""A table as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json

import pytest

from eventmw.query.periods import zone_of
from eventmw.query.table import Column, Table, iso

TABLE = Table(
    columns=(
        Column("timestamp", "time", "bucket"),
        Column("plan", "scalar", "group"),
        Column("sum_price", "number", "value"),
        Column("fields", "object", "listed"),
    ),
    rows=(
        (1_711_839_600_000, "=1+1", 2**53 + 1, {"a": [1]}),
        (1_711_839_600_000, True, 0.5, {}),
        (1_711_839_600_000, -1, None, {}),
        (1_711_839_600_000, None, -2.5, {}),
    ),
    truncated=True,
    from_ms=1_711_839_600_000,
    to_ms=1_711_926_000_000,
    time_zone="Europe/Berlin",
    interval="day",
)


def test_json() -> None:
    told = TABLE.as_json()
    assert told["columns"][0] == {"name": "timestamp", "kind": "time", "role": "bucket"}
    assert told["rows"][0] == {
        "timestamp": "2024-03-31T00:00:00.000+01:00",
        "plan": "=1+1",
        "sum_price": 2**53 + 1,
        "fields": {"a": [1]},
    }
    assert told["truncated"] is True
    assert told["time_period"] == {"from": "2024-03-31T00:00:00.000+01:00", "to": "2024-04-01T01:00:00.000+02:00"}
    assert (told["time_zone"], told["interval"]) == ("Europe/Berlin", "day")


def test_csv_has_no_formulas_and_numbers_as_they_are() -> None:
    lines = [*csv.reader(io.StringIO(TABLE.as_csv()))]
    assert lines[0] == ["timestamp", "plan", "sum_price", "fields"]
    assert [line[1:] for line in lines[1:]] == [
        ["'=1+1", "9007199254740993", '{"a":[1]}'],
        ["true", "0.5", "{}"],
        ["-1", "", "{}"],
        ["", "-2.5", "{}"],
    ]


def test_times_are_shown_in_their_zone() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(-1, zone_of("UTC")) == "1969-12-31T23:59:59.999Z"
    assert iso(1_711_846_800_000, zone_of("Europe/Berlin")) == "2024-03-31T03:00:00.000+02:00"


FORMULAS = ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff201"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula(text: str) -> None:
    """Source: OWASP, «CSV Injection»: these begin one, full-width ones as well."""
    columns = (Column("a", "scalar", "group"), Column(text, "number", "value"))
    table = Table(columns=columns, rows=((text, -1.5),), truncated=False, from_ms=0, to_ms=1)
    heading, line = [*csv.reader(io.StringIO(table.as_csv(), newline=""))]
    assert heading[1].startswith("'")
    assert line[0].startswith("'")
    assert line[0].replace("'", "") == text
    assert line[1] == "-1.5", "a number is one, below zero as well"


@pytest.mark.parametrize("separator", [";", ",", "\t", "\n", '"'])
def test_no_part_of_a_text_is_a_formula_to_another_spreadsheet(separator: str) -> None:
    """One that separates by ``;`` takes a part of our cell for a whole one."""
    columns = (Column("a", "scalar", "group"), Column("fields", "object", "listed"))
    table = Table(
        columns=columns,
        rows=((f"x{separator}=1", {"b": f"x{separator}=1", "n": [1, -2]}),),
        truncated=False,
        from_ms=0,
        to_ms=1,
    )
    _, line = [*csv.reader(io.StringIO(table.as_csv(), newline=""))]
    assert line[0] == f"x{separator}'=1"
    assert json.loads(line[1]) == table.rows[0][1], "JSON keeps its value"
    assert f"{separator}=" not in line[1]


def test_csv_for_a_terminal_has_nothing_that_it_acts_on() -> None:
    evil = "\x1b[31m\x07\x08\x9b\u202e\r\n"
    table = Table(columns=(Column(evil, "text", "group"),), rows=((evil,),), truncated=False, from_ms=0, to_ms=1)
    shown = table.as_csv(printable=True)
    assert shown.replace("\r\n", "").isprintable()
    assert shown.count("\\u001b[31m") == 2
    assert evil in table.as_csv().replace('"', ""), "in a file the value is as it is"
