"""``eventmw project`` and ``eventmw keys``, on a data directory and on an archive in PostgreSQL."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from eventmw.archive.database import engine_of
from eventmw.errors import Refused
from eventmw.journal.files import FileJournal
from eventmw.keys import Key
from eventmw.keys.place import keys_engine
from eventmw.keys.ring import KeyRing
from eventmw.keys.store import KeyStore
from tests.databases import KINDS
from tests.running import Ran, open_to_all, run

Place = dict[str, Any]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Give the variable that names a site."""
    return {"EVENTMW_DATA_DIR": str(tmp_path / "data")}


@pytest.fixture(params=KINDS)
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Give the variables that name a site whose keys are in the one database or in the other."""
    if request.param == "sqlite":
        return {"EVENTMW_DATA_DIR": str(tmp_path / "data")}
    return {"EVENTMW_DATA_DIR": str(tmp_path / "data"), "EVENTMW_ARCHIVE": str(request.getfixturevalue("postgres"))}


def found(place: Place, shown: str) -> Key | None:
    """Return what a process of the site finds."""
    engine = keys_engine(place["EVENTMW_DATA_DIR"], place.get("EVENTMW_ARCHIVE"))
    ring = KeyRing(engine)
    ring.start()
    key = ring.find(shown)
    ring.close()
    engine.dispose()
    return key


def secret(ran: Ran) -> str:
    """Return the secret that a command showed: alone on its output, with a word of warning beside it."""
    assert ran.code == 0, ran.err
    (line,) = ran.lines
    assert "This is the only time that it is shown" in ran.err
    assert line not in ran.err
    return line


def test_from_nothing_to_a_key_that_is_revoked(place: Place) -> None:
    made = run("project", "create", "shop", **place)
    master = found(place, secret(made))
    assert master is not None
    assert master.kind == "project"
    assert f"Project shop is made: {master.project_id}. Its master key:" in made.err
    shown = secret(run("keys", "create", "write", **place))
    key = found(place, shown)
    assert key is not None
    assert (key.kind, key.project_id, key.customer) == ("write", master.project_id, None)
    listed = run("keys", "list", **place)
    assert f"eb_write_{key.id}" in listed.out
    assert shown not in listed.out
    revoked = run("keys", "revoke", key.id, **place)
    assert revoked.out == f"The write key {key.id} is revoked.\n"
    assert found(place, shown) is None
    assert run("keys", "list", **place).out == "Project shop has no keys.\n"


def test_a_name_is_given_once(place: Place) -> None:
    run("project", "create", "shop", **place)
    again = run("project", "create", "shop", **place)
    assert (again.code, again.out) == (1, "")
    assert "There is a project shop already, prj_" in again.err
    assert run("keys", "create", "write", "--project", "shop", **place).code == 0
    assert run("project", "delete", "shop", "--yes", **place).code == 0
    assert run("project", "create", "shop", **place).code == 0


def test_what_a_key_is_bound_to(place: Place) -> None:
    run("project", "create", "shop", **place)
    bounds = (
        "--customer",
        "änn",
        "--filter",
        "country=DE",
        "--filter",
        "n=5",
        "--filter",
        "ok=false",
        "--filter",
        'zip="01"',
    )
    shown = secret(
        run("keys", "create", "QUERY", *bounds, "--origin", "https://shop.example", "--name", "page", **place)
    )
    key = found(place, shown)
    assert key is not None
    assert (key.kind, key.customer, key.origins) == ("query", "änn", ("https://shop.example",))
    assert key.key_filter == {"country": "DE", "n": 5, "ok": False, "zip": "01"}
    heads, row = run("keys", "list", **place).lines
    assert heads.split() == ["Id", "Kind", "Name", "Made", "Begins", "with", "Bound", "to"]
    assert row.endswith('customer änn, country = "DE", n = 5, ok = false, zip = "01", origin https://shop.example')
    reset = run("keys", "reset", shown, **place)
    new = found(place, secret(reset))
    assert new is not None
    assert (new.customer, new.key_filter, new.origins) == (key.customer, key.key_filter, key.origins)
    assert f"In the place of {key.id}, the query key:" in reset.err
    assert found(place, shown) is None


def test_programs_read_json(either: Place) -> None:
    made = run("project", "create", "shop", "--description", "of shoes", "--json", **either).json
    assert [*made] == ["account_id", "project_id", "master_api_key", "status"]
    issued = run("keys", "create", "delete", "--json", **either).json
    assert (issued["type"], issued["project_id"], issued["status"]) == ("DELETE", made["project_id"], "ACTIVE")
    assert found(either, issued["api_key"]) is not None
    (listed,) = map(json.loads, run("keys", "list", "--json", **either).lines)
    assert listed["prefix"] == f"eb_delete_{issued['key_id']}"
    (project,) = map(json.loads, run("project", "list", "--json", **either).lines)
    assert (project["name"], project["description"], project["keys"]) == ("shop", "of shoes", 1)
    reset = run("keys", "reset", issued["key_id"], "--json", **either).json
    assert run("keys", "revoke", reset["key_id"], "--json", **either).json["status"] == "REVOKED"
    assert run("project", "reset", "shop", "--json", **either).json["project_id"] == made["project_id"]
    account = run("project", "account", "--json", **either).json
    assert [*account] == ["account_id", "master_api_key", "status"]
    gone = run("project", "delete", "shop", "--yes", "--json", **either).json
    assert gone == {
        "account_id": made["account_id"],
        "project_id": made["project_id"],
        "revoked_keys": 1,
        "status": "DELETED",
    }


def test_a_project_is_ended_when_that_is_confirmed(place: Place) -> None:
    shown = secret(run("project", "create", "shop", **place))
    asked = run("project", "delete", "shop", stdin="n\n", **place)
    assert "End project shop, and revoke its 0 keys?" in asked.err
    assert asked.out == "Nothing was changed.\n"
    assert found(place, shown) is not None
    assert "is ended" in run("project", "delete", "shop", "--yes", **place).out
    assert found(place, shown) is None
    assert run("project", "list", **place).out == "There are no projects.\n"
    again = run("project", "delete", "shop", "--yes", **place)
    assert (again.code, "There is no project yet" in again.err) == (1, True)


def test_the_accounts_master_key_is_replaced_when_that_is_confirmed(place: Place) -> None:
    first = secret(run("project", "account", **place))
    key = found(place, first)
    assert key is not None
    assert key.kind == "account"
    asked = run("project", "account", stdin="n\n", **place)
    assert (asked.out, "Revoke it, and make another?" in asked.err) == ("Nothing was changed.\n", True)
    second = secret(run("project", "account", "--yes", **place))
    assert found(place, first) is None
    assert found(place, second) is not None


def test_a_new_master_key_of_a_project(place: Place) -> None:
    first = secret(run("project", "create", "shop", **place))
    second = secret(run("project", "reset", "shop", **place))
    assert found(place, first) is None
    assert found(place, second) is not None


@pytest.fixture
def data_dir(tmp_path: Path) -> Place:
    return {"EVENTMW_DATA_DIR": str(tmp_path / "data")}


def test_of_several_projects_one_is_named(data_dir: Place) -> None:
    ids = [run("project", "create", name, "--json", **data_dir).json["project_id"] for name in ("shop", "till")]
    engine = keys_engine(data_dir["EVENTMW_DATA_DIR"], None)
    store = KeyStore(engine)
    ids.append(store.create_project(store.account(), "till")[0].id)  # as over HTTP, where ids tell them apart
    engine.dispose()
    unclear = run("keys", "create", "write", **data_dir)
    assert unclear.code == 2
    assert (
        f"Say which project, with --project: there are shop ({ids[0]}), till ({ids[1]}), till ({ids[2]})."
        in unclear.err
    )
    assert run("keys", "create", "write", "--project", "shop", "--json", **data_dir).json["project_id"] == ids[0]
    made = run("keys", "create", "write", "--project", ids[2], "--json", **data_dir).json
    assert made["project_id"] == ids[2]
    twice = run("keys", "list", "--project", "till", **data_dir)
    assert (twice.code, "2 projects are called till; give an id" in twice.err) == (2, True)
    unknown = run("keys", "list", "--project", "nothing", **data_dir)
    assert (unknown.code, "There is no project nothing; there are shop" in unknown.err) == (1, True)
    assert run("keys", "revoke", made["key_id"], **data_dir).code == 0, "an id says enough"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("keys", "create"), "Missing argument"),
        (("keys", "create", "read"), "is not one of 'write', 'query', 'delete'"),
        (("keys", "create", "write", "--customer", ""), "--customer: expected text of 1 to 1,000 characters, got an empty one."),
        (("keys", "create", "write", "--customer", b"\xff"), "One of the arguments is not valid Unicode."),
        (("keys", "create", "query", "--filter", b"a=\xff"), "One of the arguments is not valid Unicode."),
        (("keys", "create", "write", "--filter", "a=b"), "--filter says what a query key shows; a write key shows nothing."),
        (("keys", "create", "query", "--filter", "a"), "--filter is written FIELD=VALUE, such as country=DE."),
        (("keys", "create", "query", "--filter", "=a"), "--filter is written FIELD=VALUE, such as country=DE."),
        (("keys", "create", "query", "--filter", "a=null"), "--filter: expected text of at most 1,000 characters, a boolean"),
        (("keys", "create", "query", "--filter", "a=[1]"), "got an array."),
        (("keys", "create", "write", "--origin", "shop.example"), "write 'https://shop.example'"),
        (("project", "create", ""), "NAME: expected text of 1 to 200 characters, got an empty one."),
        (("project", "create", "x" * 201), "NAME: expected text of 1 to 200 characters, got 201 characters."),
        (("project", "create", "x", "--description", "y" * 2001), "--description: expected text of at most 2,000 characters"),
    ],
)  # fmt: skip
def test_a_wrong_use_says_what_was_expected(arguments: tuple[Any, ...], words: str, data_dir: Place) -> None:
    ran = run(*arguments, **data_dir)
    assert (ran.code, ran.out) == (2, "")
    assert words in " ".join(ran.err.split())
    assert not Path(data_dir["EVENTMW_DATA_DIR"]).exists()


@pytest.mark.parametrize(
    "arguments", [("keys", "list"), ("keys", "create", "write"), ("project", "list"), ("project", "delete", "x", "-y")]
)
def test_where_nothing_was_made_nothing_is_made_by_looking(arguments: tuple[str, ...], data_dir: Place) -> None:
    ran = run(*arguments, **data_dir)
    assert (ran.code, ran.out) == (1, "")
    assert f"There are no keys in {data_dir['EVENTMW_DATA_DIR']} yet: `eventmw project create NAME`" in ran.err
    assert not Path(data_dir["EVENTMW_DATA_DIR"]).exists()


def test_ids_that_are_not_there(data_dir: Place) -> None:
    run("project", "create", "shop", **data_dir)
    for command in ("revoke", "reset"):
        for given in ("nothing", "eb_write_nothing", "eb_"):
            ran = run("keys", command, given, **data_dir)
            assert (ran.code, ran.out) == (1, "")
            assert "There is no key with this id; `eventmw keys list` shows those that work." in ran.err
    ran = run("project", "reset", "nothing", **data_dir)
    assert (ran.code, ran.out) == (1, "")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "Archive is not an address such as postgresql+psycopg://user:password@host/name."),
        ("oracle://scott:tiger@h/d", "Archive must be SQLite or PostgreSQL, not oracle."),
        ("postgresql+psycopg://scott:tiger@127.0.0.1:1/d", "127.0.0.1:1/d cannot be reached now (connection failed"),
    ],
)
def test_an_archive_that_cannot_be_asked(address: str, words: str, data_dir: Place) -> None:
    for ran in (
        run("project", "create", "x", "--archive", address, **data_dir),
        run("project", "create", "x", EVENTMW_ARCHIVE=address, **data_dir),
    ):
        assert (ran.code, ran.out) == (1, "")
        assert words in ran.err
        assert "tiger" not in ran.err


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = run("project", "create", "x", "--data-dir", str(tmp_path / "file" / "data"))
    assert (ran.code, ran.out) == (1, "")
    assert "cannot be used: " in ran.err


def test_a_file_that_is_none_of_ours(data_dir: Place) -> None:
    folder = Path(data_dir["EVENTMW_DATA_DIR"])
    folder.mkdir()
    (folder / "keys.sqlite3").write_text("no database, " * 100)
    ran = run("project", "create", "x", **data_dir)
    assert (ran.code, ran.out) == (1, "")
    assert "cannot be reached now" in ran.err


def test_a_configuration_says_where(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its file; an option given beside it wins."""
    monkeypatch.delenv("EVENTMW_DATA_DIR")  # it would win over the file
    config = tmp_path / "eventmw.toml"
    config.write_text(f'data_dir = "{tmp_path / "of-the-file"}"\narchive = {{env = "SHOP_ARCHIVE"}}\n')
    shown = secret(run("project", "create", "shop", "--config", str(config), SHOP_ARCHIVE=postgres))
    assert not (tmp_path / "of-the-file").exists()
    engine = engine_of(postgres)
    ring = KeyRing(engine)
    ring.start()
    assert ring.find(shown) is not None
    ring.close()
    engine.dispose()
    config.write_text(f'data_dir = "{tmp_path / "of-the-file"}"\n')
    secret(run("project", "create", "shop", "--config", str(config)))
    assert (tmp_path / "of-the-file" / "keys.sqlite3").exists()
    secret(run("project", "create", "shop", "--config", str(config), "--data-dir", str(tmp_path / "given")))
    assert (tmp_path / "given" / "keys.sqlite3").exists()
    config.write_text("nonsense = 1\n")
    wrong = run("project", "list", "--config", str(config))
    assert (wrong.code, "There is no setting 'nonsense'" in wrong.err) == (1, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_root_acts_as_the_user_that_the_site_runs_as() -> None:
    with open_to_all() as opened:
        nobody = pwd.getpwnam("nobody")
        folder = opened / "data"
        folder.mkdir()
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        secret(run("project", "create", "shop", "--data-dir", str(folder)))
        secret(run("keys", "create", "write", "--data-dir", str(folder)))
        assert {path.stat().st_uid for path in folder.rglob("*")} == {nobody.pw_uid}, (
            "what root had written, the site could not read"
        )


def test_a_store_that_is_gone_is_explained_and_begun_anew_only_when_somebody_says_so(place: Place) -> None:
    key = secret(run("project", "create", "shop", **place))
    file = Path(place["EVENTMW_DATA_DIR"]) / "keys.sqlite3"
    refused = run("project", "create", "shop", "--new-store", **place)
    assert refused.code == 1
    assert "is sound" in refused.err
    assert found(place, key) is not None
    file.unlink()
    for command in (("project", "create", "till"), ("keys", "create", "write"), ("keys", "list"), ("project", "list")):
        ran = run(*command, **place)
        assert ran.code == 1
        assert "is gone, and is not made anew by itself" in ran.err
        assert "--new-store" in ran.err
        assert "forget-store" in ran.err
        assert not file.exists()
    other = secret(run("project", "create", "till", "--new-store", **place))
    assert found(place, other) is not None
    assert found(place, key) is None


def test_a_store_that_cannot_be_read_is_kept_when_a_new_one_is_begun(place: Place) -> None:
    secret(run("project", "create", "shop", **place))
    file = Path(place["EVENTMW_DATA_DIR"]) / "keys.sqlite3"
    file.write_bytes(b"junk" * 1000)
    assert run("project", "create", "till", **place).code == 1
    ran = run("project", "create", "till", "--new-store", **place)
    assert ran.code == 0
    assert "What there was is kept as" in ran.err
    [aside] = file.parent.glob("keys.sqlite3.given-up-*")
    assert aside.read_bytes() == b"junk" * 1000


def test_an_older_copy_is_taken_as_it_is(place: Place) -> None:
    secret(run("project", "create", "shop", **place))
    file = Path(place["EVENTMW_DATA_DIR"]) / "keys.sqlite3"
    copy = file.read_bytes()
    key = secret(run("keys", "create", "write", **place))
    file.write_bytes(copy)
    assert "Nothing was changed" in run("keys", "forget-store", stdin="n\n", **place).out
    with pytest.raises(Refused):
        found(place, key)
    assert run("keys", "forget-store", "--yes", **place).code == 0
    assert found(place, key) is None
    assert "nothing is noted" in run("keys", "forget-store", **place).out.lower() or found(place, key) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
@pytest.mark.parametrize(
    "command", [("erase", "ann", "--yes"), ("keys", "list"), ("project", "list"), ("stats",), ("dead", "list")]
)
def test_roots_commands_end_in_a_sentence_where_the_sites_user_cannot_read(command: tuple[str, ...]) -> None:
    """That user owns the folder, and not what is in it; nor can it read this Python's folder."""
    with open_to_all() as opened:
        nobody = pwd.getpwnam("nobody")
        folder = opened / "data"
        FileJournal(folder).leave()
        secret(run("project", "create", "shop", "--data-dir", str(folder)))
        (folder / "archive.sqlite3").touch(mode=0o600)
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        ran = run(*command, "--data-dir", str(folder))
    assert "Traceback" not in ran.err
    assert "pip install" not in ran.err
    assert ran.code == 1
    assert "denied" in ran.err or "unable to open" in ran.err or "cannot" in ran.err
