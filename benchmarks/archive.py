"""What filling the archive costs beside a bare bulk insert, and how soon a tracked event can be asked for."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import delete, insert, select, text

from benchmarks.report import Effort, Figure, Report, Spread, Table
from benchmarks.rounds import Samples, interleaved, ratios
from eventmw import record as records
from eventmw.archive import ARCHIVE
from eventmw.archive.batch import MAX_ROWS
from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.filler import Filler
from eventmw.archive.rows import DIALECT, row_of
from eventmw.archive.store import Archive
from eventmw.archive.tables import events
from eventmw.archive.transactions import transaction
from eventmw.clock import SystemClock
from eventmw.delivery.courier import Courier
from eventmw.engine import Engine
from eventmw.erasure import rewrite
from eventmw.event import Event, Record
from eventmw.journal import Journal
from eventmw.journal.files import FileJournal
from eventmw.journal.memory import MemoryJournal
from eventmw.testing import RecordingTransport

RATE: Final = 2000
"""Events a second that are to be visible soon."""

_TICK_S: Final = 0.01
_LOOK_S: Final = 0.05
_ROOMY: Final = 1 << 30
_PATIENCE_S: Final = 120.0
_FILL, _BARE = "filling", "bare insert"

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class _Reader:
    """Reads records of tracked events, and works nothing out."""

    name = DIALECT

    def events(self, record: Record) -> Iterator[Event]:
        for fields in _decode(record.body)["events"]:
            yield Event(
                id=record.id,
                name=fields.pop("event_name"),
                timestamp_ms=record.recorded_ms,
                recorded_ms=record.recorded_ms,
                user_id=fields.pop("customer_identifier", None),
                properties=fields,
                dialect=DIALECT,
            )

    def single(self, record: Record, ordinal: int) -> Record:
        raise AssertionError(f"every event fits; number {ordinal} of {record.id} does not")


def run(effort: Effort) -> Report:
    """Measure each database that is here."""
    rounds, many, seconds = effort.interleaved(5), int(effort.of(20_000, quick=2_000)), effort.of(20.0, quick=2.0)
    rates: dict[str, Samples] = {}
    ages: dict[str, Sequence[float]] = {}
    notes: list[str] = []
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="eventmw-bench-", dir=os.environ.get("BENCH_FOLDER")))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for name, address in _addresses(folder, stack, notes):
            rates[name] = _rates(address, many, rounds)
            ages[name] = _ages(address, folder / name, seconds)
    return Report(
        name="archive",
        control=f"a bare SQLAlchemy Core bulk insert of the same rows, made before, {MAX_ROWS:,} in a transaction",
        measured=f"wall time for {many:,} events, one a record, that wait in a journal in memory: from the courier's start "
        "(as in a worker) until all are rows and settled. Visible: events are accepted by a journal in files at "
        f"{RATE:,} a second for {seconds:g} s, and a process that fills as politely as in a site; from an append's future "
        f"being done until a query that looks each {_LOOK_S * 1000:.0f} ms finds the row",
        rounds=rounds,
        tables=[_table(rates), _ages_table(ages)],
        figures=[*_figures(rates, ages)],
        notes=notes,
    )


def _addresses(folder: Path, stack: ExitStack, notes: list[str]) -> Iterator[tuple[str, str]]:
    yield "sqlite", sqlite_address(folder / "archive.sqlite3")
    if given := os.environ.get("BENCH_POSTGRES"):
        yield "postgresql", given
        return
    from tests.postgres import programs, serving

    if programs() is None:
        notes.append("no PostgreSQL here: install one, or name one by BENCH_POSTGRES (its archive tables are emptied)")
    else:
        yield "postgresql", stack.enter_context(serving()).address("postgres")


def _record(number: int) -> bytes:
    fields = {
        "event_name": f"name-{number % 40}",
        "customer_identifier": f"customer-{number % 500}",
        "amount": number / 7,
        "plan": "team",
        "tags": ["a", "b"],
        "page": {"path": f"/articles/{number % 1000}", "title": "An article"},
        "_browser": "Firefox",
        "_os": "Linux",
    }
    body = msgspec.json.encode({"context": {}, "events": [fields]})
    now_ms = SystemClock().now_ms()
    return records.encode(Record(f"{number:032x}", now_ms, DIALECT, "project-1/key-1", body=body))


def _append(journal: Journal, record: bytes) -> Any:
    now_ms = SystemClock().now_ms()
    return journal.append(record, events=1, recorded_ms=now_ms, stamp=time.monotonic_ns())


def _rates(address: str, many: int, rounds: int) -> Samples:
    archive = Archive(engine_of(address))
    archive.open()
    kept = [_record(number) for number in range(many)]
    engine = Engine([], [_Reader()])
    rows = [
        row_of(event, "project-1") for record in kept for event in engine.events(record) if isinstance(event, Event)
    ]
    cases: Mapping[str, Callable[[], float]] = {
        _FILL: partial(_fill, archive, engine, kept),
        _BARE: partial(_insert, archive, rows),
    }
    samples = interleaved(cases, rounds)
    archive.engine.dispose()
    return samples


def _emptied(archive: Archive) -> None:
    with transaction(archive.engine, writes=True) as connection:
        connection.execute(
            text(f"TRUNCATE {events.name}") if archive.engine.dialect.name == "postgresql" else delete(events)
        )


def _fill(archive: Archive, engine: Engine, kept: Sequence[bytes]) -> float:
    """Return the seconds that the filler takes."""
    _emptied(archive)
    journal = MemoryJournal(cap_bytes=_ROOMY)
    journal.register([ARCHIVE])
    for record in kept:
        _append(journal, record)
    jobs = [Filler(archive, lasting=True)]
    courier = Courier(journal, engine, RecordingTransport, SystemClock(), polite=False, jobs=jobs)
    begun = time.perf_counter()
    courier.start()
    if not courier.drain(_PATIENCE_S):
        raise RuntimeError(f"the archive was not filled within {_PATIENCE_S:g} s")
    taken = time.perf_counter() - begun
    courier.stop()
    return taken


def _insert(archive: Archive, rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds that SQLAlchemy takes alone."""
    _emptied(archive)
    begun = time.perf_counter()
    for first in range(0, len(rows), MAX_ROWS):
        with archive.engine.connect().execution_options(writes=True) as connection, connection.begin():
            connection.execute(insert(events), [dict(row) for row in rows[first : first + MAX_ROWS]])
    return time.perf_counter() - begun


def _ages(address: str, folder: Path, seconds: float) -> Sequence[float]:
    """Return, for each event, the seconds from its accept until it was found."""
    archive, asking = Archive(engine_of(address)), engine_of(address)
    archive.open()
    _emptied(archive)
    archive.rest_s = 0.0005
    journal = FileJournal(folder, cap_bytes=_ROOMY, rewrite=rewrite)
    journal.register([ARCHIVE])
    jobs = [Filler(archive, lasting=True)]
    courier = Courier(journal, Engine([], [_Reader()]), RecordingTransport, SystemClock(), jobs=jobs)
    courier.start()
    accepted: dict[str, float] = {}
    found: dict[str, float] = {}
    begun = time.perf_counter()
    number, wanted, looked_s = 0, int(seconds * RATE), 0.0
    while len(found) < wanted and time.perf_counter() - begun < seconds + _PATIENCE_S:
        due = min(wanted, int((time.perf_counter() - begun) * RATE))
        futures = [(f"{at:032x}", _append(journal, _record(at))) for at in range(number, due)]
        for ident, future in futures:
            future.result(_PATIENCE_S)
            accepted[ident] = time.perf_counter()
        number = due
        if time.perf_counter() - looked_s >= _LOOK_S:
            looked_s = time.perf_counter()
            after = max(found, default="")
            wish = select(events.c.event_id).where(events.c.project_id == "project-1", events.c.event_id > after)
            with transaction(asking) as connection:
                fresh = connection.scalars(wish).all()
            found |= dict.fromkeys(fresh, time.perf_counter())
        time.sleep(_TICK_S)
    courier.stop()
    journal.close()
    journal.leave()
    for engine in (archive.engine, asking):
        engine.dispose()
    return [found.get(ident, time.perf_counter()) - then for ident, then in accepted.items()]


def _table(rates: Mapping[str, Samples]) -> Table:
    rows = [
        (f"{name}, {case}", str(Spread.of(samples[case])), str(Spread.of(_shares(samples))) if case == _FILL else "-")
        for name, samples in rates.items()
        for case in (_FILL, _BARE)
    ]
    return Table("the same rows", ("case", "s: min / median / max", "rate to the bare insert's"), rows)


def _shares(samples: Samples) -> list[float]:
    return ratios(samples, _BARE, _FILL)


def _ages_table(ages: Mapping[str, Sequence[float]]) -> Table:
    rows = [
        (name, f"{statistics.median(found):.3f}", f"{_p99(found):.3f}", f"{max(found):.3f}")
        for name, found in ages.items()
    ]
    return Table(f"accepted to visible at {RATE:,} events/s", ("database", "p50 s", "p99 s", "most s"), rows)


def _p99(found: Sequence[float]) -> float:
    return statistics.quantiles(found, n=100)[98]


def _figures(rates: Mapping[str, Samples], ages: Mapping[str, Sequence[float]]) -> Iterator[Figure]:
    for name in ("sqlite", "postgresql"):
        share = Spread.of(_shares(rates[name])) if name in rates else None
        yield Figure(f"{name}: filling rate to a bare insert's", "at least", 0.3, "x", share)
        age = Spread.of([_p99(ages[name])]) if name in ages else None
        yield Figure(f"{name}: accepted to visible, p99", "at most", 2.0, "s", age)
