"""The archive's rows, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select, update

from eventmw.archive.counting import NameCount
from eventmw.archive.database import engine_of, sqlite_address
from eventmw.archive.ledger import MAX_NAMES
from eventmw.archive.migrations import MIGRATIONS, check, prepare
from eventmw.archive.rows import Span
from eventmw.archive.store import STEP, Archive, BadRows, Mark
from eventmw.archive.tables import events, names, state
from eventmw.archive.transactions import ArchiveAway, transaction
from eventmw.clock import SystemClock
from eventmw.errors import ConfigError
from eventmw.keys import Key
from eventmw.query.language import parse
from eventmw.query.run import Runner
from tests.archiving import NOW_MS, idents, row, rows
from tests.running import until

DAY_MS = 86_400_000
VERSION = len(MIGRATIONS) + 1
Opened = Callable[[], Archive]


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_address(tmp_path / "archive.sqlite3")
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def opened(address: str) -> Iterator[Opened]:
    """Give what opens the archive as one more process would."""
    made: list[Archive] = []

    def one() -> Archive:
        archive = Archive(engine_of(address))
        archive.open()
        made.append(archive)
        return archive

    yield one
    for archive in made:
        archive.engine.dispose()


@pytest.fixture
def archive(opened: Opened) -> Archive:
    return opened()


VALUES: dict[str, Any] = {
    "past 53 bits": 2**53 + 1,
    "past 64 bits": -(2**70) - 1,
    "4000 digits": 10**3999 + 7,
    "float": 0.1,
    "whole float": 3.0,
    "large float": 1e23,
    "largest float": 1.7976931348623157e308,
    "smallest float": 5e-324,
    "true": True,
    "null": None,
    "texts": ["", "ü€😀", 'quotes " and \\ and \\u0000', "1e23"],
    "mixed floats": [1e16, 1, -1e300],
    "object": {"inner": 1e22, "list": [1, 2], "": "no name"},
}


def test_values_come_back_as_they_were(archive: Archive) -> None:
    archive.write([row("a", fields=VALUES, customer_identifier="ü", metric_name="m", time_ms=-(2**40))])
    [found] = rows(archive)
    assert found == row("a", fields=VALUES, customer_identifier="ü", metric_name="m", time_ms=-(2**40))
    assert [type(value) for value in map(found["fields"].get, VALUES)] == [type(value) for value in VALUES.values()]
    assert [type(value) for value in found["fields"]["mixed floats"]] == [float, int, float]


def test_nul_is_kept_as_its_picture(archive: Archive) -> None:
    fields = {"a\0": "x\0y", "a\u2400": ["\0"], "float": 1e30}
    assert archive.write([row("a", fields=fields, customer_identifier="c\0")]) == 1
    [found] = rows(archive)
    assert found["fields"] == {"a\u2400": "x\u2400y", "a\u2400\u2400": ["\u2400"], "float": 1e30}
    assert found["customer_identifier"] == "c\u2400"
    assert archive.delete("p1", customer="c\0")["events"] == 1


def test_an_event_is_a_row_once(archive: Archive, opened: Opened) -> None:
    assert archive.write([row("a"), row("b"), row("a", event_name="other")]) == 2
    assert opened().write([row("a"), row("c"), row("a", project_id="p2")]) == 2
    assert idents(archive) == ["a", "a", "b", "c"]


def test_cursors_move_with_the_rows_and_never_back(archive: Archive, opened: Opened) -> None:
    archive.write([row("a")], [Mark("j", "s", Span(1, 5)), Mark("j", "t", Span(3, 3))])
    opened().write([row("b")], [Mark("j", "s", Span(1, 4)), Mark("k", "s", Span(1, 9))])
    assert archive.cursor("j") == {"s": Span(1, 5), "t": Span(3, 3)}
    assert archive.cursor("nobody's") == {}


def test_a_row_that_does_not_fit_is_named_and_nothing_is_written(archive: Archive) -> None:
    bad = [row("a"), row("b", time_ms=2**63), row("c"), row("d", fields={"x": object()}), row("e", event_name=None)]
    with pytest.raises(BadRows) as caught:
        archive.write(bad, [Mark("j", "s", Span(1, 1))])
    assert set(caught.value.reasons) == {1, 3, 4}
    assert not any("object at" in reason or str(2**63) in reason for reason in caught.value.reasons.values())
    assert idents(archive) == []
    assert archive.cursor("j") == {}
    assert archive.write([bad[0], bad[2]]) == 2


def test_what_is_no_rows_fault_is_the_databases(tmp_path: Path) -> None:
    archive = Archive(engine_of(sqlite_address(tmp_path / "none.sqlite3")))
    with pytest.raises(ArchiveAway, match=r"^OperationalError$"):
        archive.write([row("a")])


def test_names_are_counted_and_other_processes_learn_them(archive: Archive, opened: Opened) -> None:
    other = opened()
    full = [row(f"{n}", event_name=f"name-{n}") for n in range(MAX_NAMES)]
    assert archive.may_name("p1", "any")
    archive.write(full)
    assert archive.names("p1") == sorted(one["event_name"] for one in full)
    assert archive.may_name("p1", "name-0")
    assert not archive.may_name("p1", "one-more")
    assert archive.may_name("p2", "one-more")
    assert other.may_name("p1", "accepted")
    other.refresh()
    assert other.may_name("p1", "accepted"), "it is on its way"
    assert not other.may_name("p1", "one-more")
    assert archive.delete("p1", event_name="name-7") == {"events": 1, "names": 1}
    other.refresh()
    assert other.may_name("p1", "one-more")
    assert not other.write([row("7", event_name="name-7")])
    other.write([row("8-new", event_name="name-8")])
    assert "name-7" not in archive.names("p1")


def test_names_that_are_accepted_count_before_the_archive_has_them(archive: Archive) -> None:
    """Also while it is away: a burst is a matter of milliseconds, and a backlog one of hours."""
    archive.write([row("0", event_name="name-0")])
    assert all(archive.may_name("p1", f"name-{n}") for n in range(MAX_NAMES))
    assert not archive.may_name("p1", "one-more")
    assert archive.may_name("p2", "one-more")
    archive.write([row(f"{n}", event_name=f"name-{n}") for n in range(1, MAX_NAMES - 1)])
    assert not archive.may_name("p1", "one-more"), "the last of them may still come"
    assert archive.delete("p1", event_name="name-0")["names"] == 1
    archive.refresh()
    assert archive.may_name("p1", "one-more"), "what is forgotten is read anew"


def test_a_name_counts_once_however_many_accept_it(opened: Opened) -> None:
    """Threads that ask at the same moment share the room that is left."""
    archive, start, taken = opened(), threading.Barrier(8), list[bool]()

    def accept(thread: int) -> None:
        start.wait()
        taken.extend(archive.may_name("p1", f"{thread}-{n}") for n in range(MAX_NAMES // 4))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(accept, range(8)))
    assert sum(taken) == MAX_NAMES


def test_the_count_learns_in_the_background(archive: Archive, opened: Opened) -> None:
    count = NameCount(opened(), refresh_s=0.01)
    assert count.may_name("p1", "name-0")
    archive.write([row(f"{n}", event_name=f"name-{n}") for n in range(MAX_NAMES)])
    others = (f"new-{n}" for n in itertools.count())
    until(lambda: not count.may_name("p1", next(others)))
    count.close()


def test_what_is_deleted_has_all_that_is_given(archive: Archive) -> None:
    def fill() -> None:
        for number in range(12):
            archive.write(
                [
                    row(
                        f"{number:02}",
                        project_id="p2" if number == 11 else "p1",
                        event_name=f"n{number % 2}",
                        customer_identifier=f"c{number % 3}",
                        time_ms=NOW_MS + number,
                    )
                ]
            )

    fill()
    assert archive.delete("p1", customer="c1", event_name="n0") == {"events": 2, "names": 0}
    assert idents(archive) == ["00", "01", "02", "03", "05", "06", "07", "08", "09", "11"]
    assert archive.delete("p1", customer="c1", event_name="n0") == {"events": 0, "names": 0}
    assert archive.delete("p1", since_ms=NOW_MS + 2, until_ms=NOW_MS + 6)["events"] == 3
    assert idents(archive) == ["00", "01", "06", "07", "08", "09", "11"]
    assert archive.delete("p1", event_name="n1") == {"events": 3, "names": 1}
    assert archive.delete("p1") == {"events": 3, "names": 1}
    assert idents(archive) == ["11"]
    assert archive.names("p2") == ["n1"]


def test_what_was_deleted_is_not_written_again_by_anybody(archive: Archive, opened: Opened) -> None:
    other = opened()
    now_ms = SystemClock().now_ms()
    mine = row("a", customer_identifier="ann", recorded_ms=now_ms)
    archive.write([mine])
    assert archive.delete("p1", customer="ann")["events"] == 1
    later = mine | {"event_id": "later", "recorded_ms": now_ms + DAY_MS}
    else_s = mine | {"event_id": "bob's", "customer_identifier": "bob"}
    assert other.write([mine, later, else_s]) == 2
    assert idents(archive) == ["bob's", "later"]


def test_what_was_accepted_after_a_deletion_was_asked_for_stays_and_has_its_name(
    archive: Archive, opened: Opened
) -> None:
    old = row("old", event_name="both", recorded_ms=NOW_MS)
    archive.write(
        [old, old | {"event_id": "gone", "event_name": "old"}, old | {"event_id": "new", "recorded_ms": NOW_MS + 1}]
    )
    assert archive.delete("p1", made_ms=NOW_MS) == {"events": 2, "names": 1}
    assert idents(archive) == ["new"]
    assert archive.names("p1") == ["both"]
    assert archive.delete("p1", event_name="both", made_ms=NOW_MS) == {"events": 0, "names": 0}
    assert archive.names("p1") == ["both"]
    assert opened().write([old, old | {"event_id": "newer", "recorded_ms": NOW_MS + 2}]) == 1
    assert idents(archive) == ["new", "newer"]


@pytest.mark.parametrize("name", [None, "seen"])
def test_what_is_accepted_during_a_deletion_stays_and_keeps_its_name(
    archive: Archive, opened: Opened, name: str | None
) -> None:
    """Between any two transactions of the deletion, another process writes one more."""
    other, later_ms, begun = opened(), SystemClock().now_ms() + DAY_MS, list[str]()

    def write(_: object) -> None:
        begun.append(f"{len(begun)}")
        if len(begun) > 1:  # the first one notes the deletion
            other.write([row(begun[-1], recorded_ms=later_ms)])

    archive.write([row("a")])
    event.listen(archive.engine, "engine_connect", write)
    assert archive.delete("p1", event_name=name) == {"events": 1, "names": 1}
    event.remove(archive.engine, "engine_connect", write)
    assert idents(archive) == begun[1:] != []
    assert archive.names("p1") == ["seen"]


def test_retention_finds_events_whose_names_nobody_knows(archive: Archive) -> None:
    archive.write([row("a", time_ms=0), row("b", project_id="p2", time_ms=0)])
    archive.write([row("new", project_id="p3", time_ms=SystemClock().now_ms())])
    with transaction(archive.engine, writes=True) as connection:
        connection.execute(names.delete())
    assert sum(archive.expire(30)) == 2
    assert idents(archive) == ["new"]


def test_deletion_and_retention_go_in_steps(archive: Archive) -> None:
    old_ms = SystemClock().now_ms() - 40 * DAY_MS
    many = [
        row(f"{n:05}", time_ms=old_ms + n // (STEP + 100)) for n in range(2 * STEP + 300)
    ]  # many in one millisecond
    archive.write(many)
    archive.write([row("new", time_ms=SystemClock().now_ms()), row("p2", project_id="p2", time_ms=old_ms)])
    steps = list(archive.expire(41))
    assert sum(steps) == 0
    steps = list(archive.expire(30))
    assert sum(steps) == len(many) + 1
    assert max(steps) == STEP
    assert idents(archive) == ["new"]
    archive.tidy()


def test_several_processes_may_open_it_at_once(address: str) -> None:
    ready = threading.Barrier(6)

    def open_one(_: int) -> None:
        engine = engine_of(address)
        ready.wait()
        prepare(engine)
        engine.dispose()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(open_one, range(6)))


def test_an_older_schema_is_brought_up_to_date_once(address: str) -> None:
    engine, run = engine_of(address), list[int]()
    prepare(engine)
    steps = [*MIGRATIONS, *(lambda _, number=number: run.append(number) for number in (2, 3))]
    prepare(engine, steps[:-1])
    prepare(engine, steps)
    prepare(engine, steps)
    assert run == [2, 3]
    engine.dispose()


def test_a_migration_that_fails_changes_nothing(address: str) -> None:
    engine = engine_of(address)
    prepare(engine)

    def fails(connection: Any) -> None:
        connection.execute(update(state).values(changed=77))
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        prepare(engine, [*MIGRATIONS, fails])
    with transaction(engine) as connection:
        assert connection.execute(select(state.c.schema_version, state.c.changed)).one() == (VERSION, 0)
    engine.dispose()


def test_a_newer_schema_is_refused(address: str) -> None:
    engine = engine_of(address)
    prepare(engine)
    with transaction(engine, writes=True) as connection:
        connection.execute(update(state).values(schema_version=VERSION + 1))
    for look in (prepare, check):
        with pytest.raises(ConfigError, match=f"written by a newer eventmw: its tables have version {VERSION + 1}"):
            look(engine)
    engine.dispose()


def test_a_look_at_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "archive.sqlite3"
    check(engine_of(sqlite_address(file)))
    assert not file.exists()
    check(engine_of("postgresql+psycopg://nobody@127.0.0.1:1/none"))


def test_the_file_is_for_its_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "archive.sqlite3"
    prepare(engine_of(sqlite_address(file)))
    assert file.stat().st_mode & 0o777 == 0o600
    assert math.isfinite(file.stat().st_size)


TEXTS = ["a", "a\0b", "a\0c", "\0z", "\0y", "b\0", "a\0b="]


def ask(engine: Engine, query: dict[str, Any], **wall: Any) -> Sequence[tuple[Any, ...]]:
    key = Key(id="k", kind="query", account_id="", project_id="p1", **wall)
    return Runner(engine)(parse(query, NOW_MS + 1), key).rows


def test_nul_is_compared_whole(archive: Archive) -> None:
    """On SQLite as on PostgreSQL: its picture is kept, and no text ends at it."""
    named = [row(f"{n}", event_name=f"n{n}", fields={"p": text, f"q{text}": n}) for n, text in enumerate(TEXTS)]
    archive.write([*named, row("o", customer_identifier="u\0v", metric_name="m\0", fields={"o": {"x\0": "\0"}})])

    def count(*filters: tuple[str, str, Any], **wall: Any) -> int:
        given = [{"field_name": name, "op": op, "value": value} for name, op, value in filters]
        ((found,),) = ask(archive.engine, {"filters": given, "computations": [{"function": "count"}]}, **wall)
        return int(found)

    groups = ask(archive.engine, {"group_by": ["p"], "filters": [{"field_name": "p", "op": "exists"}]})
    assert sorted(groups) == sorted((text.replace("\0", "\u2400"), 1) for text in TEXTS)
    distinct = {"computations": [{"function": "count_distinct", "field_name": "p"}]}
    assert ask(archive.engine, distinct) == ((len(TEXTS),),)
    assert [count(("p", "equals", text)) for text in ["a", "", "a\0b", "a\u2400b"]] == [1, 0, 1, 1]
    assert [count(("p", op, part)) for op, part in [("contains", "b"), ("ends_with", "c"), ("starts_with", "a\0")]] == [
        3,
        1,
        3,
    ]
    assert [count(("qa\0b", "equals", 1)), count(("qa", "equals", 1))] == [1, 0]
    assert count(("o.x\0", "equals", "\0"), ("metric_name", "equals", "m\0")) == 1
    assert count(key_filter={"p": "a"}) == 1, "a wall by a text is no wall for what goes on behind U+0000"
    assert count(customer="u\0v") == 1
    assert archive.delete("p1", customer="u\0v")["events"] == 1


def test_nul_in_an_older_sqlite_archive_becomes_its_picture(tmp_path: Path) -> None:
    engine = engine_of(sqlite_address(tmp_path / "archive.sqlite3"))
    prepare(engine, ())
    old = {"p": "a\0b", "n\0": [1.5, 10**30], "kept": "\\u0000"}
    with transaction(engine, writes=True) as connection:
        connection.execute(insert(events), [row("x", customer_identifier="u\0v", fields=old), row("y")])
    prepare(engine)
    (found, other) = rows(Archive(engine))
    assert (found["customer_identifier"], other["fields"]) == ("u\u2400v", {})
    assert found["fields"] == {"p": "a\u2400b", "n\u2400": [1.5, 10**30], "kept": "\\u0000"}
    engine.dispose()
