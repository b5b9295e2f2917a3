"""Tables are made, brought up to date, and left alone when they are newer: on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, insert, inspect, select, text, update

from eventmw.errors import ConfigError
from eventmw.keys.place import file_of, keys_engine
from eventmw.keys.schema import KeysAway, NewerKeys, check_version, prepare, transaction
from eventmw.keys.store import KeyStore
from eventmw.keys.tables import metadata, state
from tests.databases import address, all_asked, engine, peers

__all__ = ["address", "engine"]  # fixtures


def version(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(state.c.schema_version)).scalar_one())


def test_tables_are_made_once(engine: Engine) -> None:
    prepare(engine)
    assert set(inspect(engine).get_table_names()) == set(metadata.tables)
    with engine.connect() as connection:
        before = connection.execute(select(state)).one()
    prepare(engine)
    with engine.connect() as connection:
        assert connection.execute(select(state)).one() == before


def test_processes_that_begin_at_once_make_one_set_of_tables(address: str, engine: Engine) -> None:
    with peers(address, 3) as others:
        for _ in range(10):
            metadata.drop_all(engine)
            assert all_asked(others, "prepare") == ["prepared"] * 3
            with engine.connect() as connection:
                assert len(connection.execute(select(state)).all()) == 1


def test_older_tables_are_migrated_in_order_and_newer_ones_are_left_alone(engine: Engine) -> None:
    prepare(engine)
    added = Table("eventmw_added", MetaData(), Column("n", Integer))

    def to_two(connection: Connection) -> None:
        added.create(connection)

    def to_three(connection: Connection) -> None:
        connection.execute(insert(added).values(n=1))

    prepare(engine, (to_two, to_three))
    prepare(engine, (to_two, to_three))
    assert version(engine) == 3
    with engine.connect() as connection:
        assert connection.execute(select(added.c.n)).scalars().all() == [1], "each once"
    for act in (prepare, KeyStore):
        with pytest.raises(NewerKeys, match=r"version 3, and this one knows those up to 1\. Nothing was changed"):
            act(engine)
    assert version(engine) == 3


def test_a_migration_that_fails_leaves_all_as_it_was(engine: Engine) -> None:
    prepare(engine)

    def half(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE eventmw_half (n INTEGER)"))
        connection.execute(text("INSERT INTO eventmw_nowhere VALUES (1)"))

    with pytest.raises(KeysAway):
        prepare(engine, (half,))
    assert version(engine) == 1
    assert not inspect(engine).has_table("eventmw_half")


def test_a_store_that_was_open_writes_nothing_into_newer_tables(engine: Engine) -> None:
    store = KeyStore(engine)
    account = store.account()
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(update(state).values(schema_version=2))
    with pytest.raises(NewerKeys):
        store.reset_account(account)
    assert not store.has_account_key(account)


def test_a_version_that_is_known_is_fine() -> None:
    check_version(1)
    with pytest.raises(NewerKeys):
        check_version(2)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux shows what a process has open")
def test_a_transaction_leaves_no_connection_of_a_file_behind(tmp_path: Path) -> None:
    """A forked child would inherit it; see `transaction`."""
    engine = keys_engine(tmp_path, None)
    assert open_files(tmp_path) == 0
    with transaction(engine) as connection:
        connection.execute(text("SELECT * FROM sqlite_schema"))
        assert open_files(tmp_path) == 1
    assert open_files(tmp_path) == 0


def open_files(folder: Path) -> int:
    """Return how many files of a folder this process has open."""
    opened = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one by which we look
            opened.append(str(link.readlink()))
    return sum(name.startswith(str(folder)) for name in opened)


def test_a_file_of_keys_is_for_its_owner_alone(tmp_path: Path) -> None:
    engine = keys_engine(tmp_path / "deep" / "data", None)
    KeyStore(engine)
    file = tmp_path / "deep" / "data" / "keys.sqlite3"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    account = KeyStore(engine).account()
    assert KeyStore(keys_engine(tmp_path / "deep" / "data", None)).account() == account, "it is not made anew"


@pytest.mark.parametrize(
    ("archive", "in_file"),
    [
        (None, True),
        ("sqlite:////srv/archive.sqlite3", True),
        ("postgresql+psycopg://u:p@h/d", False),
        ("nonsense", False),
    ],
)
def test_keys_are_in_the_data_directory_unless_the_archive_is_postgresql(
    archive: str | None, in_file: bool, tmp_path: Path
) -> None:
    assert file_of(tmp_path, archive) == (tmp_path / "keys.sqlite3" if in_file else None)


def test_an_address_that_is_none_is_a_wrong_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="archive is not an address"):
        keys_engine(tmp_path, "nonsense")
