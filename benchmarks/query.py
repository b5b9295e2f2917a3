"""What a query costs beside SQL that somebody wrote by hand for the same table: `eventmw.query` on SQLite and PostgreSQL.

DuckDB, which keeps its data by columns, is printed beside them: what another kind of database would make of the question.
"""

from __future__ import annotations

import csv
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
from sqlalchemy import Engine, text

from benchmarks.report import Effort, Figure, Report, Spread, Table
from benchmarks.rounds import Samples, interleaved, ratios
from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.tables import events, metadata
from eventmw.keys import Key
from eventmw.query.language import parse_text
from eventmw.query.run import Limits, Runner

MANY: Final = 1_000_000
NOW_MS: Final = 1_750_000_000_000
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
_NULL_AT: Final = 6
"""Which column has nothing in it: ``metric_name``. CSV knows no NULL."""

_NAMES: Final = ("view", "click", "buy")
_PLANS: Final = ("free", "pro", "team")
_COUNTRIES: Final = ("DE", "FR", "US", "JP")
_ASKED: Final = 1.1
_KEY: Final = Key(id="benchmark", kind="query", account_id="", project_id="shop")
_DATABASES: Final = ("SQLite", "PostgreSQL")

# The ranges that hand-written SQL has; both bounds stand in our queries as well.
_WHOLE: Final = f"project_id = 'shop' AND time_ms >= {NOW_MS - DAY_MS} AND time_ms < {NOW_MS + 1}"
_HOUR: Final = f"project_id = 'shop' AND time_ms >= {NOW_MS - HOUR_MS} AND time_ms < {NOW_MS + 1}"


@dataclass(frozen=True, slots=True)
class Case:
    """A question, and the SQL that somebody would write for it; ``{page}`` and ``{price}`` are the database's own words."""

    name: str
    query: Mapping[str, Any]
    sql: str


CASES: Final = (
    Case(
        "the last hour by name",
        {
            "time_period": "minus_1_hours",
            "group_by": ["event_name"],
            "computations": [{"function": "count"}, {"function": "sum", "field_name": "price"}],
        },
        f"SELECT event_name, count(*), sum({{price}}) FROM eventmw_events WHERE {_HOUR} GROUP BY event_name ORDER BY 2 DESC",
    ),
    Case(
        "the whole range by a free field",
        {"time_period": "minus_1_days", "group_by": ["page"], "computations": [{"function": "count"}]},
        f"SELECT {{page}} AS page, count(*) AS n FROM eventmw_events WHERE {_WHOLE} GROUP BY {{page}} ORDER BY n DESC",
    ),
    Case(
        "average and 95th percentile of the hour",
        {
            "time_period": "minus_1_hours",
            "computations": [
                {"function": "avg", "field_name": "price"},
                {"function": "percentile_95", "field_name": "price"},
            ],
        },
        f"WITH prices AS (SELECT {{price}} AS price FROM eventmw_events WHERE {_HOUR}) {{summary}}",
    ),
    Case(
        "average and 95th percentile of the whole range",
        {
            "time_period": "minus_1_days",
            "computations": [
                {"function": "avg", "field_name": "price"},
                {"function": "percentile_95", "field_name": "price"},
            ],
        },
        f"WITH prices AS (SELECT {{price}} AS price FROM eventmw_events WHERE {_WHOLE}) {{summary}}",
    ),
)
_APART: Final = f"{CASES[1].name}, by hand, 1 and '1' apart"
"""What it costs PostgreSQL alone to keep kinds of values apart, which ``->>`` does not and every query of ours does."""

_SUMMARY: Final = "SELECT avg(price), percentile_cont(0.95) WITHIN GROUP (ORDER BY price) FROM prices"
_WORDS: Final = {
    "SQLite": {
        "page": "json_extract(fields, '$.page')",
        "price": "json_extract(fields, '$.price')",
        # It has no function for percentiles, so people count.
        "summary": "SELECT avg(price), (SELECT price FROM prices WHERE price IS NOT NULL ORDER BY price "
        "LIMIT 1 OFFSET (SELECT CAST(0.95 * (count(price) - 1) AS INTEGER) FROM prices)) FROM prices",
    },
    "PostgreSQL": {"page": "fields ->> 'page'", "price": "(fields ->> 'price')::numeric", "summary": _SUMMARY},
    "DuckDB": {"page": "fields ->> '$.page'", "price": "(fields ->> '$.price')::double", "summary": _SUMMARY},
}


def run(effort: Effort) -> Report:
    """Measure each question on each database, with as many events as the effort allows."""
    many = int(effort.of(MANY, quick=20_000))
    rounds = effort.interleaved(9)
    samples: dict[str, Samples] = {}
    notes: list[str] = []
    with TemporaryDirectory() as folder, ExitStack() as open_until_end:
        _write(file := Path(folder, "events.csv"), many)
        for name in _DATABASES:
            try:
                engine = open_until_end.enter_context(_engine(name, Path(folder)))
            except LookupError as missing:
                notes.append(str(missing))
                continue
            _fill(engine, file)
            samples[name] = interleaved(dict(_cases(name, engine)), rounds)
        try:
            duck = open_until_end.enter_context(_duckdb(file))
            samples["DuckDB"] = interleaved({f"{case.name}, by hand": duck(case) for case in CASES}, rounds)
        except ImportError:
            notes.append("DuckDB is not installed, so it was not measured: pip install duckdb")
    return Report(
        name="query",
        control="hand-written SQL on the same table, through the database's own driver on an open connection",
        measured="from the query's JSON text to the table of the answer: reading, translating, asking, rows; wall time. "
        f"{many:,} events of one day in one project, with eight free fields each",
        rounds=rounds,
        tables=[_table(name, found) for name, found in samples.items()],
        figures=[_figure(samples, name, case) for name in _DATABASES for case in CASES],
        notes=notes,
    )


@contextmanager
def _engine(name: str, folder: Path) -> Iterator[Engine]:
    """Give an engine of an empty database.

    Raises:
        LookupError: there is no such server here.
    """
    if name == "SQLite":
        engine = engine_of(sqlite_address(folder / "archive.sqlite3"))
        yield engine
        engine.dispose()
        return
    from tests.postgres import programs, serving

    if programs() is None:
        raise LookupError("PostgreSQL is not installed, so it was not measured")
    with serving() as server, server.database() as database:
        engine = engine_of(server.address(database))
        yield engine
        engine.dispose()


def _fill(engine: Engine, file: Path) -> None:
    """Make the tables, and put the events of a file into them as fast as the database takes them."""
    with engine.connect().execution_options(writes=True) as connection:
        metadata.create_all(connection)
        connection.commit()
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        if engine.dialect.name == "postgresql":
            _copy(driver, file)
        else:
            _insert(driver, file)
        connection.execute(text("ANALYZE"))
        connection.commit()


def _copy(driver: Any, file: Path) -> None:
    with (
        file.open("rb") as data,
        driver.cursor() as cursor,
        cursor.copy("COPY eventmw_events FROM STDIN (FORMAT csv)") as into,
    ):
        while block := data.read(1 << 20):
            into.write(block)
    driver.commit()


def _insert(driver: Any, file: Path) -> None:
    places = ",".join("?" * len(events.columns))
    with file.open(newline="", encoding="utf-8") as data:
        driver.execute("BEGIN IMMEDIATE")
        driver.executemany(
            f"INSERT INTO eventmw_events VALUES ({places})",
            ((*row[:_NULL_AT], None, *row[_NULL_AT + 1 :]) for row in csv.reader(data)),
        )
        driver.execute("COMMIT")


def _write(file: Path, many: int) -> None:
    """Write events as CSV, the same in each run: a day of them, so that the last hour is a 24th."""
    chance = random.Random(1).random
    encode = msgspec.json.encode
    with file.open("w", newline="", encoding="utf-8") as data:
        write = csv.writer(data).writerow
        for number in range(many):
            at, page = chance(), int(chance() * 200)
            fields = {
                "page": f"/products/{page}",
                "price": int(chance() * 40_000) / 4,
                "plan": _PLANS[number % 3],
                "signed_in": at < 0.5,
                "title": f"A product with the number {page}",
                "_country": _COUNTRIES[int(at * 4)],
                "_browser": "Firefox",
                "_os": "Linux",
            }
            time_ms = NOW_MS - DAY_MS + number * DAY_MS // many
            customer = f"customer-{int(at * 10_000)}"
            name = _NAMES[int(chance() * 3)]
            write(("shop", f"{number:032x}", time_ms, NOW_MS, name, customer, None, encode(fields).decode()))


def _cases(name: str, engine: Engine) -> Iterator[tuple[str, Callable[[], float]]]:
    ask = Runner(engine, Limits(timeout_s=600))
    for case in CASES:
        yield case.name, _timed(_asking(ask, case))
        yield f"{case.name}, by hand", _timed(_by_hand(engine, case.sql.format(**_WORDS[name])))
    if name == "PostgreSQL":
        yield _APART, _timed(_by_hand(engine, CASES[1].sql.format(**_WORDS[name] | {"page": "fields -> 'page'"})))


def _asking(ask: Runner, case: Case) -> Callable[[], int]:
    body = json.dumps(case.query).encode()
    return lambda: len(ask(parse_text(body, NOW_MS), _KEY).rows)


def _by_hand(engine: Engine, sql: str) -> Callable[[], int]:
    def ask() -> int:
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            return len(driver.execute(sql).fetchall())

    return ask


def _timed(ask: Callable[[], int]) -> Callable[[], float]:
    def sample() -> float:
        begun = time.perf_counter()
        if not ask():
            raise ValueError("the question has no answer, so it says nothing")
        return time.perf_counter() - begun

    return sample


@contextmanager
def _duckdb(file: Path) -> Iterator[Callable[[Case], Callable[[], float]]]:
    """Give what asks DuckDB, in a file of its own with the same events.

    Raises:
        ImportError: it is not installed.
    """
    import duckdb

    connection = duckdb.connect(str(file.with_suffix(".duckdb")))
    connection.execute(
        "CREATE TABLE eventmw_events (project_id VARCHAR, event_id VARCHAR, time_ms BIGINT, recorded_ms BIGINT, "
        "event_name VARCHAR, customer_identifier VARCHAR, metric_name VARCHAR, fields JSON)"
    )
    connection.execute(f"COPY eventmw_events FROM '{file}' (HEADER false)")

    def asking(case: Case) -> Callable[[], float]:
        sql = case.sql.format(**_WORDS["DuckDB"])
        return _timed(lambda: len(connection.execute(sql).fetchall()))

    yield asking
    connection.close()


def _table(name: str, samples: Samples) -> Table:
    rows = [
        (case, str(Spread.of(value * 1000 for value in values)), _beside(samples, case))
        for case, values in samples.items()
    ]
    return Table(f"{name}, ms a question", ("case", "min / median / max", "x hand-written"), rows)


def _beside(samples: Samples, case: str) -> str:
    control = f"{case}, by hand"
    return str(Spread.of(ratios(samples, case, control))) if control in samples else ""


def _figure(samples: Mapping[str, Samples], name: str, case: Case) -> Figure:
    found = samples.get(name)
    spread = None if found is None else Spread.of(ratios(found, case.name, f"{case.name}, by hand"))
    return Figure(f"{case.name}, {name}, to hand-written SQL", "at most", _ASKED, "x", spread)
