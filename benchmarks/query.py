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

from sqlalchemy import Engine, insert, text

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
_BATCH: Final = 10_000
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
)
_WORDS: Final = {
    "SQLite": {"page": "json_extract(fields, '$.page')", "price": "json_extract(fields, '$.price')"},
    "PostgreSQL": {"page": "fields ->> 'page'", "price": "(fields ->> 'price')::numeric"},
    "DuckDB": {"page": "fields ->> '$.page'", "price": "(fields ->> '$.price')::double"},
}


def run(effort: Effort) -> Report:
    """Measure both questions on each database, with as many events as the effort allows."""
    many = int(effort.of(MANY, quick=20_000))
    rounds = effort.interleaved(9)
    samples: dict[str, Samples] = {}
    notes: list[str] = []
    with TemporaryDirectory() as folder, ExitStack() as open_until_end:
        for name in _DATABASES:
            try:
                engine = open_until_end.enter_context(_engine(name, Path(folder)))
            except LookupError as missing:
                notes.append(str(missing))
                continue
            _fill(engine, many)
            samples[name] = interleaved(dict(_cases(name, engine)), rounds)
        try:
            duck = open_until_end.enter_context(_duckdb(Path(folder), many))
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


def _fill(engine: Engine, many: int) -> None:
    with engine.connect().execution_options(writes=True) as connection:
        metadata.create_all(connection)
        connection.commit()
        rows = _rows(many)
        for _ in range(0, many, _BATCH):
            with connection.begin():
                connection.execute(insert(events), [row for row, _ in zip(rows, range(_BATCH), strict=False)])
    with engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()


def _rows(many: int) -> Iterator[dict[str, Any]]:
    """Return events, the same in each run. A day of them, so that the last hour is a 24th."""
    chance = random.Random(1)
    for number in range(many):
        yield {
            "project_id": "shop",
            "event_id": f"{number:032x}",
            "time_ms": NOW_MS - DAY_MS + number * DAY_MS // many,
            "recorded_ms": NOW_MS,
            "event_name": chance.choice(("view", "click", "buy")),
            "customer_identifier": f"customer-{chance.randrange(10_000)}",
            "metric_name": None,
            "fields": {
                "page": f"/products/{chance.randrange(200)}",
                "price": chance.randrange(40_000) / 4,
                "plan": chance.choice(("free", "pro", "team")),
                "signed_in": chance.random() < 0.5,
                "title": f"A product with the number {chance.randrange(200)}",
                "_country": chance.choice(("DE", "FR", "US", "JP")),
                "_browser": "Firefox",
                "_os": "Linux",
            },
        }


def _cases(name: str, engine: Engine) -> Iterator[tuple[str, Callable[[], float]]]:
    ask = Runner(engine, Limits(timeout_s=600))
    for case in CASES:
        yield case.name, _timed(_asking(ask, case))
        yield f"{case.name}, by hand", _timed(_by_hand(engine, case.sql.format(**_WORDS[name])))


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
def _duckdb(folder: Path, many: int) -> Iterator[Callable[[Case], Callable[[], float]]]:
    """Give what asks DuckDB, in a file of its own with the same events.

    Raises:
        ImportError: it is not installed.
    """
    import duckdb

    with (folder / "events.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for row in _rows(many):
            writer.writerow([row["project_id"], row["time_ms"], row["event_name"], json.dumps(row["fields"])])
    connection = duckdb.connect(str(folder / "events.duckdb"))
    connection.execute("CREATE TABLE events (project_id VARCHAR, time_ms BIGINT, event_name VARCHAR, fields JSON)")
    connection.execute(f"COPY events FROM '{folder / 'events.csv'}' (HEADER false)")

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
