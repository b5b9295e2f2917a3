"""Accounts, projects and keys: one suite over SQLite and PostgreSQL. Source: PROTOCOLS.md 3.2."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text

from eventmw.archive.database import engine_of
from eventmw.keys import Key
from eventmw.keys.grants import Grant
from eventmw.keys.schema import KeysAway
from eventmw.keys.store import MAX_PROJECTS, KeyStore, TooManyProjects, UnknownId
from eventmw.keys.tables import keys, metadata, projects, state
from eventmw.testing import FrozenClock
from tests.databases import address, all_asked, engine, peers
from tests.postgres import Postgres

__all__ = ["address", "engine"]  # fixtures

WRITE = Grant(kind="write")
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def store(engine: Engine, clock: FrozenClock) -> KeyStore:
    return KeyStore(engine, clock)


@pytest.fixture
def shop(store: KeyStore) -> str:
    return store.create_project(store.account(), "shop")[0].id


def rows(engine: Engine, table: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(table)).mappings())


def state_of(engine: Engine) -> Any:
    return rows(engine, state)[0]


def test_there_is_one_account_unless_more_are_made(store: KeyStore) -> None:
    first = store.account()
    assert store.account() == first
    assert not store.has_account_key(first)
    second = store.create_account()
    assert second != first
    assert store.account() == first, "the oldest"


def test_a_new_account_key_takes_the_place_of_the_one_before(store: KeyStore, engine: Engine) -> None:
    account = store.account()
    one, other = store.reset_account(account), store.reset_account(account)
    assert one.key.kind == other.key.kind == "account"
    assert (one.key.account_id, one.key.project_id) == (account, "")
    assert store.has_account_key(account)
    assert living(engine) == {other.key.id}


def living(engine: Engine) -> set[str]:
    return {row["id"] for row in rows(engine, keys) if row["revoked_ms"] is None}


def test_a_project_has_a_master_key(store: KeyStore, clock: FrozenClock) -> None:
    account = store.account()
    made, master = store.create_project(account, "shop", "of shoes")
    assert store.projects(account) == [made] == store.projects()
    assert store.project(made.id) == made
    assert (made.account_id, made.name, made.description, made.created_ms) == (
        account,
        "shop",
        "of shoes",
        clock.now_ms(),
    )
    assert (master.key.kind, master.key.project_id, master.key.account_id) == ("project", made.id, account)


def fill(engine: Engine, account: str, count: int) -> None:
    """Give an account so many projects, in one transaction."""
    with engine.begin() as connection:
        connection.execute(
            insert(projects),
            [
                {
                    "id": f"prj_{account}_{n}",
                    "account_id": account,
                    "name": "",
                    "description": "",
                    "created_ms": 0,
                    "made": 0,
                }
                for n in range(count)
            ],
        )


def test_an_account_has_at_most_100_projects_that_live(store: KeyStore, engine: Engine) -> None:
    """Source: eventbunker.md A.5."""
    assert MAX_PROJECTS == 100
    account, other = store.account(), store.create_account()
    fill(engine, account, 99)
    the_last = store.create_project(account, "the last")[0]
    with pytest.raises(TooManyProjects, match="at most 100 projects"):
        store.create_project(account, "one more")
    store.create_project(other, "another's")
    store.delete_project(the_last.id)
    store.create_project(account, "in its place")


def test_nothing_is_made_for_an_account_that_is_not_there(store: KeyStore) -> None:
    for act in (store.reset_account, lambda ident: store.create_project(ident, "x")):
        with pytest.raises(UnknownId, match="no such account"):
            act("acc_nobody")


def test_a_key_has_what_it_was_granted(store: KeyStore, shop: str) -> None:
    grant = Grant(
        kind="query",
        customer="änn \U0001f40c",
        key_filter={"country": "DE", "test": False, "n": 5, "x": 0.5},
        origins=("https://shop.example", "null"),
        name="the page",
    )
    issued = store.create_key(shop, grant)
    assert issued.key == Key(
        id=issued.key.id,
        kind="query",
        account_id=store.account(),
        project_id=shop,
        customer="änn \U0001f40c",
        key_filter={"country": "DE", "test": False, "n": 5, "x": 0.5},
        origins=("https://shop.example", "null"),
    )
    (listed,) = store.keys(shop)
    assert (listed.key, listed.name, listed.prefix) == (issued.key, "the page", f"eb_query_{issued.key.id}")
    assert issued.secret.reveal().startswith(listed.prefix + "_")
    assert type(listed.key.key_filter["test"]) is bool


def test_only_the_digest_of_a_secret_is_kept(store: KeyStore, shop: str, engine: Engine) -> None:
    issued = [store.create_key(shop, WRITE), store.reset_project(shop), store.reset_account(store.account())]
    kept = {row["id"]: row for row in rows(engine, keys)}
    for one in issued:
        shown = one.secret.reveal()
        assert kept[one.key.id]["digest"] == hashlib.sha256(shown.encode()).digest()
        assert shown.rpartition("_")[2] not in repr(kept)
        assert shown not in repr(one)


def test_no_two_secrets_are_alike(store: KeyStore, shop: str) -> None:
    issued = [store.create_key(shop, WRITE) for _ in range(50)]
    assert len({one.secret.reveal()[-43:] for one in issued}) == len({one.key.id for one in issued}) == 50


def test_a_revoked_key_is_in_no_list_and_is_not_revoked_twice(store: KeyStore, shop: str) -> None:
    one, other = store.create_key(shop, WRITE), store.create_key(shop, WRITE)
    assert store.revoke(shop, one.key.id) == one.key
    assert [listed.key for listed in store.keys(shop)] == [other.key]
    for act in (store.revoke, store.reset_key):
        with pytest.raises(UnknownId, match="no key with this id"):
            act(shop, one.key.id)


def test_a_project_is_a_wall_for_its_keys(store: KeyStore, shop: str) -> None:
    till = store.create_project(store.account(), "till")[0].id
    key = store.create_key(till, WRITE).key
    for act in (store.revoke, store.reset_key):
        with pytest.raises(UnknownId, match="no key with this id"):
            act(shop, key.id)
    assert store.keys(shop) == []
    assert [listed.key for listed in store.keys(till)] == [key]


def test_a_master_key_is_neither_listed_nor_revoked(store: KeyStore) -> None:
    project, master = store.create_project(store.account(), "shop")
    assert store.keys(project.id) == []
    with pytest.raises(UnknownId):
        store.revoke(project.id, master.key.id)


def test_a_reset_key_may_the_same_by_another_secret(store: KeyStore, shop: str, engine: Engine) -> None:
    old = store.create_key(
        shop, Grant(kind="query", customer="ann", key_filter={"a": 1}, origins=("null",), name="app")
    )
    new, name = store.reset_key(shop, old.key.id)
    assert name == "app"
    assert new.key.id != old.key.id
    assert new.secret != old.secret
    assert new.key == Key(
        id=new.key.id,
        kind="query",
        account_id=old.key.account_id,
        project_id=shop,
        customer="ann",
        key_filter={"a": 1},
        origins=("null",),
    )
    assert old.key.id not in living(engine)


def test_a_new_master_key_leaves_the_projects_keys_alone(store: KeyStore, engine: Engine) -> None:
    project, master = store.create_project(store.account(), "shop")
    key = store.create_key(project.id, WRITE)
    new = store.reset_project(project.id)
    assert living(engine) == {key.key.id, new.key.id}
    assert master.key.id not in living(engine)


def test_a_deleted_project_takes_its_keys_along_and_no_others(store: KeyStore, shop: str, engine: Engine) -> None:
    other, master = store.create_project(store.account(), "other")
    store.create_key(shop, WRITE)
    store.create_key(shop, Grant(kind="query"))
    assert store.delete_project(shop) == 3
    assert living(engine) == {master.key.id}
    assert store.projects() == [other]
    for act in (
        store.delete_project,
        store.reset_project,
        store.project,
        store.keys,
        lambda ident: store.create_key(ident, WRITE),
    ):
        with pytest.raises(UnknownId, match="no project"):
            act(shop)
    assert {row["id"] for row in rows(engine, projects)} == {shop, other.id}, "its id is never another's"


def test_each_change_has_a_version_of_its_own_and_a_look_has_none(store: KeyStore, shop: str, engine: Engine) -> None:
    before = state_of(engine)["version"]
    key = store.create_key(shop, WRITE).key
    store.keys(shop)
    store.projects()
    assert state_of(engine)["version"] == before + 1
    store.revoke(shop, key.id)
    changed = {row["id"]: row["changed"] for row in rows(engine, keys)}
    assert changed[key.id] == state_of(engine)["version"] == before + 2


def test_what_fails_changes_nothing(store: KeyStore, shop: str, engine: Engine) -> None:
    before = (state_of(engine), rows(engine, keys), rows(engine, projects))
    with pytest.raises(UnknownId):
        store.revoke(shop, "nothing")
    assert (state_of(engine), rows(engine, keys), rows(engine, projects)) == before


def test_rows_of_keys_revoked_long_ago_go_and_leave_a_mark(
    store: KeyStore, shop: str, engine: Engine, clock: FrozenClock
) -> None:
    old = store.create_key(shop, WRITE).key
    store.revoke(shop, old.id)
    clock.advance(DAY_MS / 1000 - 1)
    young = store.create_key(shop, WRITE).key
    store.revoke(shop, young.id)
    assert {old.id, young.id} <= {row["id"] for row in rows(engine, keys)}
    assert state_of(engine)["floor"] == 0
    clock.advance(2)
    store.create_key(shop, WRITE)
    kept = {row["id"] for row in rows(engine, keys)}
    assert young.id in kept
    assert old.id not in kept
    assert state_of(engine)["floor"] == state_of(engine)["version"]


def test_changes_of_many_processes_come_one_after_the_other(
    store: KeyStore, address: str, shop: str, engine: Engine
) -> None:
    before = state_of(engine)["version"]
    with peers(address, 3) as others:
        assert all_asked(others, f"keys {shop} 5") == ["made"] * 3
    assert len(store.keys(shop)) == 15
    assert state_of(engine)["version"] == before + 15
    assert len({row["changed"] for row in rows(engine, keys)}) == len(rows(engine, keys))


def test_one_place_in_the_account_is_not_given_twice(store: KeyStore, address: str, engine: Engine) -> None:
    account = store.account()
    fill(engine, account, MAX_PROJECTS - 1)
    with peers(address, 3) as others:
        assert sorted(all_asked(others, f"project {account}")) == ["made", "refused", "refused"]


def test_what_the_database_says_holds_no_values(store: KeyStore, shop: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE eventmw_keys RENAME COLUMN customer TO elsewhere"))
    with pytest.raises(KeysAway) as raised:
        store.create_key(shop, Grant(kind="write", customer="ann@example.com"))
    assert "cannot be reached now" in str(raised.value)
    assert "ann@" not in str(raised.value)
    assert raised.value.__suppress_context__, "a traceback would show the statement"


def test_a_database_that_is_away_says_where_and_not_its_password(postgres_server: Postgres, postgres: str) -> None:
    engine = engine_of(postgres)
    name = postgres.rpartition("/")[2]
    with postgres_server.away(name), pytest.raises(KeysAway) as raised:
        KeyStore(engine)
    assert "127.0.0.1" in str(raised.value)
    assert "not currently accepting connections" in str(raised.value)
    assert postgres_server.password not in str(raised.value)
    KeyStore(engine).account()
    engine.dispose()


def test_no_table_can_be_mistaken_for_one_of_the_site() -> None:
    assert all(name.startswith("eventmw_") for name in metadata.tables)
