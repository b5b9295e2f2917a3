"""A table as JSON and as CSV."""

from __future__ import annotations

import csv
import io

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
