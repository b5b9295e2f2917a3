"""A person's rows are those that the journal would take the person out of, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from eventmw import record as records
from eventmw.archive import persons
from eventmw.archive.database import engine_of
from eventmw.archive.rows import row_of
from eventmw.archive.store import Archive
from eventmw.archive.tables import events
from eventmw.archive.transactions import transaction
from eventmw.erasure import Person, events_of
from eventmw.event import Record
from eventmw.protocols.eventbunker import Context, Reader
from eventmw.protocols.eventbunker.events import body_of
from tests.archiving import idents, row

LARGE = 12_345_678_901_234_567_890


@pytest.fixture(params=["sqlite", "postgresql"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    file = tmp_path_factory.mktemp("archive") / "archive.sqlite3"
    address = f"sqlite:///{file}" if request.param == "sqlite" else request.getfixturevalue("postgres")
    made = Archive(engine_of(address))
    made.open()
    yield made
    made.engine.dispose()


NAMES = st.sampled_from(["user_id", 'na"me', "metric_name", "customer_identifier", "o"])
SCALARS = st.sampled_from(["1", "true", 1, 1.0, True, None, LARGE, LARGE + 1])
FREE = st.dictionaries(NAMES, SCALARS | st.lists(st.just("1")) | st.dictionaries(NAMES, SCALARS), max_size=4)
WANTED = st.sampled_from(["1", "1.0", "true", "null", str(LARGE)])
FIELDS = st.lists(NAMES | st.sampled_from(["o.user_id", 'o.na"me', "user_id.o", "event_name"]), min_size=1, max_size=3)


def tracked(free: dict[str, Any]) -> dict[str, Any]:
    """Return an event that the API would take: the fixed fields are text."""
    return {"event_name": "1"} | {
        name: value for name, value in free.items() if name != "customer_identifier" or isinstance(value, str)
    }


@given(st.lists(FREE, min_size=1, max_size=4), FIELDS, WANTED)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_archive_and_the_journal_mean_the_same_events(
    archive: Archive, frees: list[dict[str, Any]], fields: list[str], value: str
) -> None:
    person = Person(fields, value)
    written: list[dict[str, Any]] = []
    wanted = 0
    for number, free in enumerate(frees):
        body = body_of(Context(), [msgspec.json.encode(tracked(free))])
        record = Record(f"{number:032}", 5, "eventbunker", "p1/k1", None, None, body)
        wanted += events_of(records.encode(record), person)
        written += [row_of(event, "p1") for event in Reader().events(record)]  # type: ignore[arg-type]
    with transaction(archive.engine, writes=True) as connection:
        connection.execute(delete(events))
    assert archive.write(written) == len(frees)
    assert persons.rows_of(archive, person) == wanted


def test_a_persons_rows_go_and_others_stay(archive: Archive) -> None:
    archive.write([
        row("customer", customer_identifier="1"), row("text", fields={'na"me': "1"}), row("number", project_id="p2", fields={'na"me': 1}),
        row("metric", metric_name="1"), row("true", fields={'na"me': True}), row("other", fields={"b": "1"}),
    ])  # fmt: skip
    person = Person(("customer_identifier", 'na"me', "metric_name"), "1")
    assert persons.erase(archive, person) == 4
    assert idents(archive) == ["other", "true"]
