"""A PostgreSQL that says nothing: nobody waits for it without end, and what is new is heard on a new connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text

from eventmw.archive.database import engine_of
from eventmw.archive.store import Archive
from eventmw.archive.transactions import ArchiveAway
from eventmw.errors import Refused
from eventmw.keys.grants import Grant, Issued
from eventmw.keys.ring import KeyRing
from eventmw.keys.schema import KeysAway, transaction
from eventmw.keys.store import KeyStore
from eventmw.query.language import parse_text
from eventmw.query.run import Runner
from tests.archiving import NOW_MS, idents, row
from tests.running import until
from tests.silence import Silence, silence

SOON_S = 25.0
"""What no wait of ours may reach; without limits it was for ever."""


@pytest.fixture
def behind(postgres: str) -> Iterator[tuple[Silence, Engine]]:
    """Give a proxy, and an engine of a database behind it."""
    with silence(postgres) as (proxy, address):
        engine = engine_of(address)
        yield proxy, engine
        engine.dispose()


def issued(store: KeyStore) -> Issued:
    return store.create_key(store.create_project(store.account(), "shop")[0].id, Grant(kind="query"))


def test_a_revocation_is_heard_soon_although_the_connection_fell_silent(
    postgres: str, behind: tuple[Silence, Engine]
) -> None:
    proxy, engine = behind
    direct = engine_of(postgres)
    store = KeyStore(direct)
    key = issued(store)
    ring = KeyRing(engine)
    until(lambda: ring.find(key.secret.reveal()) == key.key)
    proxy.fall()
    store.revoke(key.key.project_id, key.key.id)
    since_s = time.monotonic()
    until(lambda: ring.find(key.secret.reveal()) is None)
    assert time.monotonic() - since_s < 10
    ring.close()
    direct.dispose()


def test_a_statement_that_is_not_answered_is_given_up(behind: tuple[Silence, Engine]) -> None:
    proxy, engine = behind
    archive = Archive(engine)
    archive.open()
    archive.write([row("1")])
    since_s = time.monotonic()
    with pytest.raises(KeysAway), transaction(engine) as connection:
        connection.execute(text("SELECT 1"))
        proxy.fall()
        connection.execute(text("SELECT 1"))
    assert time.monotonic() - since_s < SOON_S
    archive.write([row("2")])
    assert idents(archive) == ["1", "2"], "a new connection works"


def test_a_question_is_given_up(behind: tuple[Silence, Engine]) -> None:
    proxy, engine = behind
    archive, key = Archive(engine), issued(KeyStore(engine)).key
    archive.open()
    body = b'{"time_period": "minus_5_minutes", "computations": [{"function": "count"}]}'
    runner, query = Runner(engine), parse_text(body, NOW_MS)
    runner(query, key)
    ended: list[float] = []

    def fall(*_: object) -> None:
        proxy.fall()
        ended.append(time.monotonic())

    from sqlalchemy import event

    event.listen(engine, "begin", fall, once=True)  # behind the look whether the connection lives
    with pytest.raises(Refused) as raised:
        runner(query, key)
    assert raised.value.code == "archive_down"
    assert time.monotonic() - ended[0] < SOON_S


def test_who_holds_the_row_of_keys_does_not_stop_changes_for_ever(postgres: str) -> None:
    engine = engine_of(postgres)
    store = KeyStore(engine)
    key = issued(store)
    url = make_url(postgres)
    with psycopg.connect(
        host=url.host, port=url.port, user=url.username, password=str(url.password), dbname=url.database
    ) as other:
        other.execute("UPDATE eventmw_keys_state SET version = version")  # and then it does nothing
        since_s = time.monotonic()
        with pytest.raises(KeysAway, match="LockNotAvailable"):
            store.revoke(key.key.project_id, key.key.id)
        assert time.monotonic() - since_s < SOON_S
        other.rollback()
    store.revoke(key.key.project_id, key.key.id)
    engine.dispose()


def test_a_host_that_stands_still_in_a_transaction_lets_go_of_it(postgres: str) -> None:
    """As when its machine is paused: the server ends it, so that others go on."""
    engine = engine_of(postgres)
    store = KeyStore(engine)
    key, still, go = issued(store), threading.Event(), threading.Event()

    def stand() -> None:
        with pytest.raises(KeysAway), transaction(engine, writes=True) as connection:
            connection.execute(text("UPDATE eventmw_keys_state SET version = version"))
            still.set()
            assert go.wait(60)

    standing = threading.Thread(target=stand)
    standing.start()
    assert still.wait(30)

    def revoked() -> bool:
        try:
            store.revoke(key.key.project_id, key.key.id)
        except KeysAway:
            return False
        return True

    until(revoked)
    go.set()
    standing.join(30)
    assert not standing.is_alive()
    engine.dispose()


def test_the_filler_is_told(behind: tuple[Silence, Engine]) -> None:
    proxy, engine = behind
    archive = Archive(engine)
    archive.open()
    from sqlalchemy import event

    event.listen(engine, "begin", lambda _: proxy.fall(), once=True)
    since_s = time.monotonic()
    with pytest.raises(ArchiveAway):
        archive.write([row("1")])
    assert time.monotonic() - since_s < SOON_S
    archive.write([row("1")])
    assert idents(archive) == ["1"]
