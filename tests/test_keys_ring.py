"""What a process knows of keys: on SQLite and on PostgreSQL, in real processes."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, make_url, text, update

from eventmw.archive.database import engine_of
from eventmw.archive.place import archive_engine
from eventmw.archive.store import Archive
from eventmw.errors import Refused
from eventmw.journal.files.locks import is_free
from eventmw.keys import ring as rings
from eventmw.keys.grants import Grant
from eventmw.keys.note import KeyNote
from eventmw.keys.place import keys_engine
from eventmw.keys.ring import EVERY_S, KeyRing
from eventmw.keys.schema import KeysAway
from eventmw.keys.secrets import make
from eventmw.keys.store import KeyStore
from eventmw.keys.tables import state
from eventmw.testing import FrozenClock
from tests.archiving import row
from tests.databases import address, asked, engine, peers, told
from tests.postgres import Postgres
from tests.running import until
from tests.threadless import without_threads

__all__ = ["address", "engine"]  # fixtures

WRITE = Grant(kind="write")
NEVER_S = 3600.0


@pytest.fixture(autouse=True)
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the first find wait as long as a busy machine needs."""
    monkeypatch.setattr(rings, "FIRST_S", 30.0)


@pytest.fixture
def store(engine: Engine) -> KeyStore:
    return KeyStore(engine)


@pytest.fixture
def shop(store: KeyStore) -> str:
    return store.create_project(store.account(), "shop")[0].id


@pytest.fixture
def ring(engine: Engine) -> Iterator[KeyRing]:
    ring = KeyRing(engine)
    yield ring
    ring.close()


@pytest.fixture
def still(engine: Engine) -> Iterator[KeyRing]:
    """Give a ring that looks only when it is told to."""
    ring = KeyRing(engine, NEVER_S)
    yield ring
    ring.close()


def test_the_first_find_knows_what_is_there(store: KeyStore, shop: str, still: KeyRing) -> None:
    issued = store.create_key(shop, Grant(kind="query", customer="ann", key_filter={"n": 1}, origins=("null",)))
    master, account = store.reset_project(shop), store.reset_account(store.account())
    for one in (issued, master, account):
        assert still.find(one.secret.reveal()) == one.key
        assert still.by_id(one.key.id) == one.key


@pytest.mark.parametrize(
    "wrong", ["", "eb_write_", "ключ", "\udcff", "eb_write_00000000000_" + "0" * 43, "x" * 100_000]
)
def test_what_is_no_key_finds_nothing(wrong: str, store: KeyStore, shop: str, still: KeyRing) -> None:
    shown = store.create_key(shop, WRITE).secret.reveal()
    assert still.find(wrong) is None
    assert still.find(shown[:-1] + ("0" if shown[-1] != "0" else "1")) is None, "one character is wrong"
    assert still.find(shown.replace("_write_", "_query_")) is None
    assert still.find(shown + "\n") is None
    assert still.by_id(wrong) is None


def test_there_is_a_look_often_enough_for_a_second() -> None:
    """PROTOCOLS.md 3.2: revoked within a second. How long it takes in all, `benchmarks.keys` measures."""
    assert EVERY_S <= 0.5


def test_changes_are_taken_up_one_by_one(store: KeyStore, shop: str, still: KeyRing) -> None:
    kept, gone = store.create_key(shop, WRITE), store.create_key(shop, WRITE)
    still.start()
    store.revoke(shop, gone.key.id)
    new = store.create_key(shop, WRITE)
    still.look()
    assert [still.by_id(one.key.id) for one in (kept, gone, new)] == [kept.key, None, new.key]
    store.delete_project(shop)
    still.look()
    assert [still.by_id(one.key.id) for one in (kept, gone, new)] == [None, None, None]


def test_an_origin_is_listed_while_any_key_lists_it(store: KeyStore, shop: str, still: KeyRing) -> None:
    both, one = ("https://a.example", "https://b.example"), ("https://b.example",)
    first, second = (store.create_key(shop, Grant(kind="write", origins=origins)) for origins in (both, one))

    def listed() -> list[bool]:
        still.look()
        return [still.lists(origin) for origin in (*both, "https://c.example")]

    assert listed() == [True, True, False]
    store.revoke(shop, first.key.id)
    assert listed() == [False, True, False]
    store.revoke(shop, second.key.id)
    assert listed() == [False, False, False]
    store.create_key(shop, Grant(kind="write", origins=both))
    assert listed() == [True, True, False]


def test_what_is_read_twice_counts_once(store: KeyStore, shop: str, engine: Engine, still: KeyRing) -> None:
    """On PostgreSQL a look may see more than the version that it read first."""
    issued = store.create_key(shop, Grant(kind="write", origins=("null",)))
    still.start()
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(text("UPDATE eventmw_keys SET changed = changed + 1"))
        connection.execute(text("UPDATE eventmw_keys_state SET version = version + 1"))
    still.look()
    store.revoke(shop, issued.key.id)
    still.look()
    assert not still.lists("null")


def test_a_thread_takes_them_up(store: KeyStore, shop: str, ring: KeyRing) -> None:
    issued = store.create_key(shop, WRITE)
    shown = issued.secret.reveal()
    assert ring.find(shown) == issued.key
    store.revoke(shop, issued.key.id)
    until(lambda: ring.find(shown) is None)


def test_a_ring_that_missed_rows_that_are_gone_reads_all(engine: Engine, still: KeyRing) -> None:
    clock = FrozenClock()
    store = KeyStore(engine, clock)
    shop = store.create_project(store.account(), "shop")[0].id
    old = store.create_key(shop, WRITE)
    assert still.find(old.secret.reveal()) == old.key
    store.revoke(shop, old.key.id)
    clock.advance(2 * 24 * 3600)
    new = store.create_key(shop, WRITE)  # the row of the old key is deleted with this
    still.look()
    assert (still.by_id(old.key.id), still.by_id(new.key.id)) == (None, new.key)


def test_an_older_state_of_the_database_is_read_anew(
    store: KeyStore, shop: str, engine: Engine, still: KeyRing
) -> None:
    """As when a backup is put in its place."""
    issued = store.create_key(shop, WRITE)
    assert still.find(issued.secret.reveal()) == issued.key
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(text("DELETE FROM eventmw_keys"))
        connection.execute(update(state).values(version=1))
    still.look()
    assert still.by_id(issued.key.id) is None


def test_another_database_in_its_place_is_read_anew_once_somebody_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = KeyStore(keys_engine(tmp_path / "a", None))
    shop = store.create_project(store.account(), "shop")[0].id
    issued = store.create_key(shop, WRITE)
    ring = KeyRing(keys_engine(tmp_path / "a", None), NEVER_S)
    assert ring.find(issued.secret.reveal()) == issued.key
    other = KeyStore(keys_engine(tmp_path / "b", None))
    till = other.create_project(other.account(), "till")[0].id
    theirs = [other.create_key(till, WRITE) for _ in range(3)]
    (tmp_path / "b" / "keys.sqlite3").replace(tmp_path / "a" / "keys.sqlite3")
    ring.look()
    assert ring.find(issued.secret.reveal()) == issued.key, "what is known stays in force"
    with pytest.raises(Refused, match="looked up"):
        ring.find(theirs[0].secret.reveal())
    assert ring.trouble() == "the keys are gone"
    assert "is not the one that this site had" in caplog.text
    KeyNote(tmp_path / "a").forget()
    ring.look()
    assert ring.trouble() == ""
    assert ring.find(issued.secret.reveal()) is None
    assert [ring.by_id(one.key.id) for one in theirs] == [one.key for one in theirs]
    ring.close()


def vanish(file: Path, how: str) -> None:
    match how:
        case "gone":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "junk":
            file.write_bytes(os.urandom(4096))
        case "half":
            os.truncate(file, file.stat().st_size // 2)
        case "folder":
            file.unlink()
            file.mkdir()


VANISHED = ("gone", "empty", "junk", "half", "folder")


@pytest.mark.parametrize("how", VANISHED)
def test_a_store_that_vanished_is_never_made_anew_and_no_key_is_called_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    store = KeyStore(keys_engine(tmp_path, None))
    shop = store.create_project(store.account(), "shop")[0].id
    known, unknown = store.create_key(shop, WRITE), make("write", bytes(40)).shown.reveal()
    running = KeyRing(keys_engine(tmp_path, None), NEVER_S)
    assert running.find(known.secret.reveal()) == known.key
    vanish(tmp_path / "keys.sqlite3", how)
    restarted = KeyRing(keys_engine(tmp_path, None), NEVER_S)
    for ring, shown in ((running, unknown), (restarted, known.secret.reveal()), (restarted, "no key at all")):
        for _ in range(2):
            ring.look()
            with pytest.raises(Refused) as refused:
                ring.find(shown)
            assert (refused.value.status, refused.value.code) == (503, "keys_down")
            assert ring.trouble().startswith("the keys ")
    assert running.find(known.secret.reveal()) == known.key, "what is known stays in force"
    assert len(caplog.messages) == 2, "each process says it once"
    assert not any("can be read again" in message for message in caplog.messages)
    assert "answered 503" in caplog.messages[1]
    with pytest.raises(KeysAway):
        KeyStore(keys_engine(tmp_path, None))
    if how == "gone":
        assert not (tmp_path / "keys.sqlite3").exists()
    for ring in (running, restarted):
        ring.close()


def test_a_store_that_is_put_back_is_used_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = KeyStore(keys_engine(tmp_path, None))
    known = store.create_key(store.create_project(store.account(), "shop")[0].id, WRITE)
    (tmp_path / "keys.sqlite3").rename(tmp_path / "away")
    ring = KeyRing(keys_engine(tmp_path, None), NEVER_S)
    ring.look()
    (tmp_path / "away").rename(tmp_path / "keys.sqlite3")
    ring.look()
    assert ring.find(known.secret.reveal()) == known.key
    assert ring.trouble() == ""
    assert caplog.messages[-1] == "the keys can be read again"
    ring.close()


def test_an_older_copy_is_told_and_no_key_that_may_have_been_made_since_is_called_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = KeyStore(keys_engine(tmp_path, None))
    shop = store.create_project(store.account(), "shop")[0].id
    old = store.create_key(shop, WRITE)
    copy = (tmp_path / "keys.sqlite3").read_bytes()
    new = store.create_key(shop, WRITE)
    (tmp_path / "keys.sqlite3").write_bytes(copy)
    ring = KeyRing(keys_engine(tmp_path, None), NEVER_S)
    assert ring.find(old.secret.reveal()) == old.key
    with pytest.raises(Refused):
        ring.find(new.secret.reveal())
    assert "older" in ring.trouble()
    assert [message for message in caplog.messages if "revoked since then are in force again" in message]
    KeyNote(tmp_path).forget()
    os.utime(tmp_path / "keys.sqlite3")
    ring.look()
    assert ring.find(new.secret.reveal()) is None
    assert ring.trouble() == ""
    ring.close()


@pytest.mark.parametrize("table", ["eventmw_accounts, eventmw_projects, eventmw_keys", "eventmw_keys"])
def test_tables_that_were_emptied_are_not_taken_for_a_store_without_keys(
    tmp_path: Path, postgres: str, table: str
) -> None:
    engine = keys_engine(tmp_path, postgres)
    store = KeyStore(engine)
    known = store.create_key(store.create_project(store.account(), "shop")[0].id, WRITE)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {table}"))
    ring = KeyRing(engine, NEVER_S)
    with pytest.raises(Refused):
        ring.find(known.secret.reveal())
    assert ring.trouble() == "the keys are gone"
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE eventmw_keys, eventmw_projects, eventmw_accounts, eventmw_keys_state"))
    ring.look()
    with pytest.raises(Refused):
        ring.find(known.secret.reveal())
    ring.close()
    engine.dispose()


def test_a_store_in_which_nothing_was_made_yet_is_made_anew(tmp_path: Path) -> None:
    KeyStore(keys_engine(tmp_path, None))
    (tmp_path / "keys.sqlite3").unlink()
    ring = KeyRing(keys_engine(tmp_path, None), NEVER_S)
    assert ring.find("no key") is None
    assert (tmp_path / "keys.sqlite3").stat().st_mode & 0o777 == 0o600
    ring.close()


def test_a_note_that_cannot_be_read_is_made_anew(tmp_path: Path) -> None:
    store = KeyStore(keys_engine(tmp_path, None))
    store.create_project(store.account(), "shop")
    for damage in (lambda note: note.write_bytes(b"{"), lambda note: (note.unlink(), note.mkdir())):
        damage(tmp_path / "keys.json")
        ring = KeyRing(keys_engine(tmp_path, None), NEVER_S)
        ring.start()
        assert KeyNote(tmp_path).read() is not None
        ring.close()


# A key that was made a moment ago


def test_the_key_of_a_link_is_looked_for_beside_the_request(
    store: KeyStore, shop: str, still: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks with a link may make its id up, and asks on an event loop."""
    still.start()
    fresh = store.create_key(shop, Grant(kind="query"))
    look, go = still.look, threading.Event()
    monkeypatch.setattr(still, "look", lambda: (go.wait(30), look()))
    looking = still.lookup_id(fresh.key.id)
    assert looking is not None
    began_s = time.monotonic()
    assert (still.by_id(fresh.key.id), still.digest_of(fresh.key.id)) == (None, None)
    assert time.monotonic() - began_s < 0.5, "it waited for a look that lasts"
    go.set()
    looking.result(30)
    assert still.by_id(fresh.key.id) == fresh.key
    assert still.lookup_id(fresh.key.id) is None


def test_a_fresh_key_is_found_by_one_look_and_a_wrong_one_is_looked_for_once(
    store: KeyStore, shop: str, still: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    still.start()
    looks = 0
    look = still.look

    def counted() -> None:
        nonlocal looks
        looks += 1
        look()

    monkeypatch.setattr(still, "look", counted)
    fresh = store.create_key(shop, Grant(kind="write", origins=("https://new.example",)))
    shown = fresh.secret.reveal()
    looking = still.lookup(shown)
    assert looking is not None
    looking.result(30)
    assert still.find(shown) == fresh.key
    assert still.lookup(shown) is None
    assert still.lookup_origin("https://new.example") is None
    assert still.lookup("no key at all") is None, "it has not the form of a key"
    assert still.lookup(shown[:-1] + ("0" if shown[-1] != "0" else "1")) is None, "its id is known"
    before = looks
    wrong = make("write", bytes(40)).shown.reveal()
    for _ in range(3):
        if (looking := still.lookup(wrong)) is not None:
            looking.result(30)
        assert still.find(wrong) is None
    assert looks == before + 1


def test_guessed_keys_cost_the_database_a_few_looks(
    store: KeyStore, shop: str, still: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that wait are served by one look, however many there are; and who waits is bounded."""
    still.start()
    looks, look = 0, still.look

    def slow() -> None:
        nonlocal looks
        looks += 1
        time.sleep(0.05)
        look()

    monkeypatch.setattr(still, "look", slow)
    asked = [still.lookup(make("write", number.to_bytes(40, "big")).shown.reveal()) for number in range(1, 2001)]
    waiting = [looking for looking in asked if looking is not None]
    for looking in waiting:
        looking.result(30)
    assert len(waiting) >= 1000
    assert looks <= 5


def test_a_file_that_nobody_touched_is_not_opened(tmp_path: Path) -> None:
    engine = keys_engine(tmp_path, None)
    store = KeyStore(engine)
    shop = store.create_project(store.account(), "shop")[0].id
    ring = KeyRing(engine, NEVER_S)
    ring.start()
    file = tmp_path / "keys.sqlite3"
    os.utime(file, (time.time() - 10, time.time() - 10))
    ring.look()
    opened = 0

    def count(*_: object) -> None:
        nonlocal opened
        opened += 1

    from sqlalchemy import event

    event.listen(engine, "connect", count)
    for _ in range(5):
        ring.look()
    assert opened == 0
    issued = store.create_key(shop, WRITE)
    opened = 0
    ring.look()
    ring.look()
    assert opened == 2, "the time of a change that is so young may be that of the next one as well"
    assert ring.by_id(issued.key.id) == issued.key
    ring.close()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["make", "revoke", "reset", "look", "delete", "project", "master"]), st.integers(0, 9)
        ),
        max_size=20,
    )
)
def test_whatever_happens_a_look_knows_exactly_the_keys_that_live(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Against a model: the secrets that were handed out and not taken back."""
    engine = keys_engine(tmp_path_factory.mktemp("model"), None)
    store, ring = KeyStore(engine), KeyRing(engine, NEVER_S)
    account = store.account()
    living: dict[str, dict[str, str]] = {}
    gone: set[str] = set()

    def forget(project: str, secrets: list[str]) -> None:
        gone.update(secrets)
        for secret in secrets:
            del living[project][secret]

    for step, number in steps:
        project = sorted(living)[number % len(living)] if living else None
        if step == "project":
            made, master = store.create_project(account, "p")
            living[made.id] = {master.secret.reveal(): "master"}
        elif step == "look":
            ring.look()
        elif project is None:
            continue
        elif step == "make":
            issued = store.create_key(project, WRITE)
            living[project][issued.secret.reveal()] = issued.key.id
        elif step == "master":
            forget(project, [secret for secret, ident in living[project].items() if ident == "master"])
            living[project][store.reset_project(project).secret.reveal()] = "master"
        elif step == "delete":
            store.delete_project(project)
            forget(project, list(living[project]))
            del living[project]
        elif plain := sorted((ident, secret) for secret, ident in living[project].items() if ident != "master"):
            ident, secret = plain[number % len(plain)]
            forget(project, [secret])
            if step == "revoke":
                store.revoke(project, ident)
            else:
                issued, _ = store.reset_key(project, ident)
                living[project][issued.secret.reveal()] = issued.key.id
    ring.look()
    for project, secrets in living.items():
        for secret in secrets:
            found = ring.find(secret)
            assert found is not None
            assert found.project_id == project
    assert all(ring.find(secret) is None for secret in gone)
    ring.close()


def test_every_process_refuses_a_revoked_key(store: KeyStore, shop: str, address: str) -> None:
    issued = store.create_key(shop, WRITE)
    shown = issued.secret.reveal()
    with peers(address, 3) as others:
        assert [asked(one, shown) for one in others] == [issued.key.id] * 3
        store.revoke(shop, issued.key.id)
        until(lambda: [asked(one, shown) for one in others] == ["-"] * 3)
        new = store.create_key(shop, WRITE)
        until(lambda: [asked(one, new.secret.reveal()) for one in others] == [new.key.id] * 3)


def test_a_forked_child_follows_by_itself(store: KeyStore, shop: str, address: str) -> None:
    issued, second = store.create_key(shop, WRITE), store.create_key(shop, WRITE)
    with peers(address, 1) as (process,):
        assert asked(process, issued.secret.reveal()) == issued.key.id
        told(process, "fork")  # from here on its child answers
        assert asked(process, issued.secret.reveal()) == issued.key.id
        store.revoke(shop, issued.key.id)
        until(lambda: asked(process, issued.secret.reveal()) == "-")
        assert asked(process, second.secret.reveal()) == second.key.id


def test_a_child_that_was_forked_long_ago_does_not_use_what_its_parent_knew(
    store: KeyStore, shop: str, engine: Engine
) -> None:
    """The first find of a process looks, whatever it inherited."""
    ring = KeyRing(engine, NEVER_S)
    issued = store.create_key(shop, WRITE)
    assert ring.find(issued.secret.reveal()) == issued.key
    store.revoke(shop, issued.key.id)
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writes, b"refused" if ring.find(issued.secret.reveal()) is None else b"taken")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reads, 10) == b"refused"
    assert ring.find(issued.secret.reveal()) == issued.key, "the parent was not told to look"
    os.close(reads)
    os.close(writes)
    ring.close()


def test_forks_in_the_midst_of_looks_and_changes_harm_nobody(store: KeyStore, shop: str, address: str) -> None:
    """Children write while their parent looks and writes: nothing is lost, and the file stays whole."""
    mine = engine_of(address)
    ring = KeyRing(mine, 0.001)
    ring.start()
    stop = threading.Event()
    writer = threading.Thread(target=lambda: [store.create_key(shop, WRITE) for _ in iter(stop.is_set, True)])
    writer.start()
    children = []
    for number in range(5):
        child = os.fork()
        if child == 0:
            made = KeyStore(mine).create_key(shop, Grant(kind="query", name=f"of child {number}"))
            os._exit(0 if ring.find(made.secret.reveal()) else 1)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    stop.set()
    writer.join()
    ring.close()
    assert codes == [0] * 5
    names = {listed.name for listed in store.keys(shop)}
    assert {f"of child {number}" for number in range(5)} <= names
    if mine.dialect.name == "sqlite":
        with mine.connect() as connection:
            assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    mine.dispose()


def test_while_the_database_is_away_what_is_known_stays(
    postgres_server: Postgres, postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine, away = engine_of(postgres), str(make_url(postgres).database)
    store = KeyStore(engine)
    shop = store.create_project(store.account(), "shop")[0].id
    issued = store.create_key(shop, WRITE)
    ring = KeyRing(engine, NEVER_S)
    assert ring.find(issued.secret.reveal()) == issued.key
    with postgres_server.away(away):
        for _ in range(3):
            ring.look()
        assert ring.find(issued.secret.reveal()) == issued.key
    store.revoke(shop, issued.key.id)
    ring.look()
    assert ring.find(issued.secret.reveal()) is None
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2, "once when it went, once when it came back"
    assert "stay in force" in said[0]
    assert "can be read again" in said[1]
    assert postgres_server.password not in caplog.text
    ring.close()
    engine.dispose()


def test_nobody_is_told_that_a_key_is_wrong_while_nobody_knows_any(postgres_server: Postgres, postgres: str) -> None:
    engine = engine_of(postgres)
    KeyStore(engine)
    ring = KeyRing(engine, NEVER_S)
    with postgres_server.away(str(make_url(postgres).database)):
        for ask in (ring.find, ring.by_id, ring.lists):
            with pytest.raises(Refused) as raised:
                ask("eb_write_x")
            assert (raised.value.status, raised.value.code) == (503, "keys_down")
            assert ("retry-after", "5") in raised.value.headers
    ring.look()
    assert ring.find("eb_write_x") is None
    ring.close()
    engine.dispose()


def test_a_folder_that_is_not_there_yet_is_no_harm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = engine_of(f"sqlite:///{tmp_path / 'nowhere' / 'keys.sqlite3'}")
    ring = KeyRing(engine, NEVER_S)
    with pytest.raises(Refused):
        ring.find("x")
    assert "unable to open database file" in caplog.text
    (tmp_path / "nowhere").mkdir()
    ring.look()
    assert ring.find("x") is None
    ring.close()


def test_making_a_ring_touches_nothing(tmp_path: Path) -> None:
    threads = threading.active_count()
    ring = KeyRing(engine_of(f"sqlite:///{tmp_path / 'keys.sqlite3'}"))
    assert not (tmp_path / "keys.sqlite3").exists()
    assert threading.active_count() == threads
    ring.close()


def test_the_first_find_does_not_wait_for_a_database_that_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be on an event loop. Refused until the keys are read, by a thread, once they can be."""
    monkeypatch.setattr(rings, "FIRST_S", 0.2)
    engine = keys_engine(tmp_path, None)
    store = KeyStore(engine)
    issued = store.create_key(store.create_project(store.account(), "shop")[0].id, WRITE)
    busy = sqlite3.connect(tmp_path / "keys.sqlite3", isolation_level=None)
    busy.execute("BEGIN EXCLUSIVE")
    ring = KeyRing(engine)
    since_s = time.monotonic()
    for _ in range(20):
        with pytest.raises(Refused):
            ring.find(issued.secret.reveal())
    took_s = time.monotonic() - since_s
    busy.close()

    def found() -> bool:
        with suppress(Refused):
            return ring.find(issued.secret.reveal()) == issued.key
        return False

    until(found)
    ring.close()
    assert took_s < 3, "SQLite waits for ten seconds"


def test_a_child_does_not_use_what_its_parent_knew_while_its_database_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rings, "FIRST_S", 0.2)
    engine = keys_engine(tmp_path, None)
    store = KeyStore(engine)
    issued = store.create_key(store.create_project(store.account(), "shop")[0].id, WRITE)
    ring = KeyRing(engine, NEVER_S)
    ring.start()
    store.revoke(issued.key.project_id, issued.key.id)
    busy = sqlite3.connect(tmp_path / "keys.sqlite3", isolation_level=None)
    busy.execute("BEGIN EXCLUSIVE")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ring.find(issued.secret.reveal())
        except Refused:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    busy.close()
    ring.close()


def test_a_ring_that_gets_no_thread_tries_again_at_the_next_find(store: KeyStore, shop: str, ring: KeyRing) -> None:
    issued = store.create_key(shop, WRITE)
    with without_threads(), pytest.raises(Refused):
        ring.find(issued.secret.reveal())
    assert ring.find(issued.secret.reveal()) == issued.key


def test_many_threads_that_ask_first_start_one(store: KeyStore, shop: str, ring: KeyRing) -> None:
    issued = store.create_key(shop, WRITE)
    found: list[object] = []
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait()
        found.append(ring.find(issued.secret.reveal()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [issued.key] * 8
    assert sum(thread.name == "eventmw-keys" for thread in threading.enumerate()) == 1


def test_a_revocation_counts_while_the_archive_waits_for_a_reader(tmp_path: Path) -> None:
    """Of SQLite: somebody reads the archive for long, and who writes to it waits. The keys are another file."""
    keys, archive = keys_engine(tmp_path, None), Archive(archive_engine(tmp_path, None))
    store = KeyStore(keys)
    issued = store.create_key(store.create_project(store.account(), "shop")[0].id, WRITE)
    archive.open()
    archive.write([row("1")])
    reader = sqlite3.connect(tmp_path / "archive.sqlite3", isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM eventmw_events").fetchone() == (1,)
    filler = threading.Thread(target=archive.write, args=([row("2")],))
    ring = KeyRing(keys)
    assert ring.find(issued.secret.reveal()) == issued.key
    filler.start()
    until(lambda: waits_to_commit(tmp_path / "archive.sqlite3"))
    since_s = time.monotonic()
    store.revoke(issued.key.project_id, issued.key.id)
    until(lambda: ring.find(issued.secret.reveal()) is None)
    assert is_free(tmp_path / "lock of the journal")
    took_s, is_waiting = time.monotonic() - since_s, filler.is_alive()
    reader.close()
    filler.join(30)
    ring.close()
    assert is_waiting, "nothing was proved: the archive was written meanwhile"
    assert took_s < 4, "it waited for the archive, which waits for up to ten seconds"


def waits_to_commit(file: Path) -> bool:
    """Return whether a writer lets no new reader come, so as to commit when the last one is gone."""
    probe = sqlite3.connect(file, timeout=0)
    try:
        probe.execute("SELECT count(*) FROM eventmw_events")
    except sqlite3.OperationalError:
        return True
    finally:
        probe.close()
    return False
