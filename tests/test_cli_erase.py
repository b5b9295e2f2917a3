"""``eventmw erase`` on sites that run, and on a folder that nobody has open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventmw.journal.files import FileJournal
from eventmw.keys.grants import Grant
from eventmw.keys.place import keys_engine
from eventmw.keys.ring import KeyRing
from eventmw.keys.store import KeyStore
from tests.running import Ran, Site, run, serving, until


def names(ran: Ran) -> list[str]:
    """Return the names of the events that an export holds."""
    return [event["name"] for event in map(json.loads, ran.lines)]


def of_two_people(site: Site) -> None:
    site.post("a", "out", "oops", user_id="ann")
    site.post("b", user_id="bob")
    site.live()
    until(lambda: site.tool("broken")["dead"] == 1)


def erased(site: Site) -> None:
    found = site.run("erase", "ann", "--dry-run")
    assert found.out == "There are 3 events in 1 record, 0 parked events, 1 dead letter.\n"
    assert names(site.run("export")) == ["a", "out", "oops", "b"]
    assert site.run("erase", "ann", "--yes", "--json").json == {"records": 1, "parked": 0, "dead": 1}
    exported = site.run("export")
    assert names(exported) == ["b"], "of one that was erased, nothing is left"
    assert exported.err == "1 event written; 3 more were erased, and are left out.\n"
    assert site.run("dead", "list").out == "There are no dead letters.\n"
    again = site.run("erase", "ann", "--yes")
    words = "user_id, userId, customer_id, customerId, customer_identifier or email"
    assert again.lines == [f"Nothing is there of them: no event has that value as {words}."]


def test_a_person_is_erased_while_a_site_runs(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        of_two_people(site)
        erased(site)
        site.post("c", user_id="ann")
        assert names(site.run("export")) == ["b", "c"], "who comes again is there again"


def test_a_person_is_erased_where_no_site_runs(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        of_two_people(site)
    ran = run("erase", "ann", "--yes", "--json", "--data-dir", str(tmp_path))
    assert ran.json == {"records": 1, "parked": 0, "dead": 1}
    assert not any(b"ann" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert not [*(tmp_path / "members").iterdir()]
    with serving(tmp_path) as site:
        site.post("c")
        until(lambda: site.tool("crm")["backlog_events"] == 0)
        site.run("replay", "--tool", "crm", "--yes")
        assert names(site.run("export")) == ["b", "c"], "a replay brings nobody back"


@pytest.mark.parametrize("answer", ["y\n", "n\n"])
def test_it_asks_first(tmp_path: Path, answer: str) -> None:
    with serving(tmp_path) as site:
        of_two_people(site)
        ran = site.run("erase", "ann", stdin=answer)
        assert ran.code == 0
        assert "There are 3 events in 1 record" in ran.out
        assert ("Nothing was erased." in ran.err) == (answer == "n\n")
        assert ("ann" in site.run("export").out) == (answer == "n\n")


def test_fields_are_those_of_the_site_or_those_given(tmp_path: Path) -> None:
    with serving(tmp_path, person_fields="visitor") as site:
        site.post("a", visitor="v-7")
        site.live()
        assert "There are 0 events" not in site.run("erase", "v-7", "--dry-run").out
        assert "Nothing is there of them" in site.run("erase", "v-7", "--dry-run", "--field", "user_id").out
        assert "as visitor." in site.run("erase", "nobody", "--dry-run").out
        by_path = site.run("erase", "v-7", "--yes", "--json", "--field", "user_id", "--field", "client.visitor")
        assert by_path.json["records"] == 1


def test_a_journal_in_memory(tmp_path: Path) -> None:
    with serving(tmp_path, journal="memory") as site:
        site.post("oops", user_id="ann")
        site.post("wait", user_id="ann")
        until(lambda: site.tool("broken")["dead"] == 1)
        assert site.run("erase", "ann", "--dry-run").out.startswith("There are ")
        assert site.run("erase", "ann", "--yes", "--json").json["dead"] == 1
        assert site.run("dead", "list").out == "There are no dead letters.\n"


def test_nobody_without_a_name_is_everybody(tmp_path: Path) -> None:
    ran = run("erase", "", "--data-dir", str(tmp_path))
    assert (ran.code, "VALUE is empty" in ran.err) == (2, True)


def test_keys_that_are_bound_to_the_person_are_named_ended_and_wiped(tmp_path: Path) -> None:
    """Raw bytes too: of a key that was revoked before, and of one whose filter names the person."""
    FileJournal(tmp_path).leave()
    engine = keys_engine(tmp_path, None)
    store = KeyStore(engine)
    shop = store.create_project(store.account(), "shop")[0].id
    theirs = store.create_key(shop, Grant(kind="write", customer="zelda-unique-1"))
    asks = store.create_key(shop, Grant(kind="query", key_filter={"email": "zelda-unique-1"}))
    old = store.create_key(shop, Grant(kind="query", customer="zelda-unique-1"))
    store.revoke(shop, old.key.id)
    others = store.create_key(shop, Grant(kind="write", customer="bob"))
    ring = KeyRing(engine, 3600.0)
    assert ring.find(theirs.secret.reveal()) == theirs.key
    ran = run("erase", "zelda-unique-1", "--data-dir", str(tmp_path), stdin="n\n")
    assert all(key.key.id in ran.err for key in (theirs, asks, old))
    assert "3 keys" in ran.out
    assert store.bound_to("zelda-unique-1", ["customer_identifier"])
    ran = run("erase", "zelda-unique-1", "--yes", "--json", "--data-dir", str(tmp_path))
    assert (ran.code, ran.json["keys"]) == (0, 3)
    assert not any(b"zelda-unique-1" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    ring.look()
    assert ring.find(theirs.secret.reveal()) is None
    assert ring.find(others.secret.reveal()) == others.key
    assert "keys" not in run("erase", "zelda-unique-1", "--yes", "--json", "--data-dir", str(tmp_path)).json
    ring.close()
    engine.dispose()


def test_a_key_store_that_is_gone_is_said(tmp_path: Path) -> None:
    FileJournal(tmp_path).leave()
    engine = keys_engine(tmp_path, None)
    store = KeyStore(engine)
    store.create_project(store.account(), "shop")
    engine.dispose()
    (tmp_path / "keys.sqlite3").unlink()
    ran = run("erase", "ann", "--yes", "--data-dir", str(tmp_path))
    assert ran.code == 1
    assert "is gone" in ran.err
    assert "erase the person once more" in ran.err
    assert run("erase", "ann", "--data-dir", str(tmp_path)).code == 1, (
        "also when nothing is found, and nothing is asked"
    )
