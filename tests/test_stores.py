"""The stores of a whole site: a key that was made a moment ago, and what is said of stores that vanished."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from eventmw.control.inspection import look_into
from eventmw.eventbunker.delete import HEADER as DELETE
from eventmw.eventbunker.manage import HEADER as MANAGE
from eventmw.eventbunker.query import HEADER as QUERY
from eventmw.eventbunker.track import HEADER as WRITE
from eventmw.keys.grants import Grant
from eventmw.keys.place import keys_engine
from eventmw.keys.ring import KeyRing
from eventmw.keys.secrets import make
from eventmw.keys.store import KeyStore
from tests.archiving import idents
from tests.gateways import Answer, Pair, Request, both
from tests.running import until

ORIGIN = "https://new.example"


class Shop:
    """Both gateways over one key store, and who makes keys beside them, as a command does."""

    def __init__(self, data_dir: Path, archive: str | None = None, journal: str = "memory") -> None:
        self.engine = keys_engine(data_dir, archive)
        self.store = KeyStore(self.engine)
        self.project = self.store.create_project(self.store.account(), "shop")[0].id
        given: dict[str, Any] = {"data_dir": str(data_dir), "eventbunker_path": "/eb", "journal": journal}
        given |= {} if archive is None else {"archive": archive}
        self.pair: Pair = both(**given, ready_path="/ready")
        for site in self.pair.sites:
            assert site.runtime.stores is not None
            site.runtime.stores.ring.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pair.__exit__(None, None, None)
        self.engine.dispose()

    def made(self, kind: Any, **bounds: Any) -> str:
        return self.store.create_key(self.project, Grant(kind=kind, **bounds)).secret.reveal()

    def send(self, path: str, header: str, key: str, body: Any, *more: tuple[str, str]) -> Answer:
        """Send to both; what they answer is alike but for ids."""
        request = Request(path=f"/eb{path}", headers=((header, key), *more), body=json.dumps(body).encode())
        return self.pair.send(request)

    def track(self, key: str, *more: tuple[str, str]) -> Answer:
        return self.send("/post", WRITE, key, {"event_name": "seen"}, *more)


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Give one whose processes look at the keys only when a request asks for it: the next look by itself is far away."""
    monkeypatch.setattr(KeyRing.__init__, "__defaults__", (3600.0,))
    address = None if request.param == "sqlite" else str(request.getfixturevalue("postgres"))
    with Shop(tmp_path / "data", address) as shop:
        yield shop


def test_a_key_works_in_the_first_request_after_it_was_made(shop: Shop) -> None:
    for _ in range(3):
        assert shop.track(shop.made("write")).status == 200
    for header, path, key in ((QUERY, "/v1/query/json", "query"), (DELETE, "/v1/delete", "delete")):
        answer = shop.send(path, header, shop.made(key), {"event_name": "x"} if key == "delete" else {"limit": "x"})
        assert answer.status == (200 if key == "delete" else 400), "a question that is wrong, by a key that is right"
    master = shop.store.reset_project(shop.project).secret.reveal()
    assert shop.send("/v1/manage/keys/list", MANAGE, master, {}).status == 200


def test_a_page_of_a_fresh_keys_origin_may_ask_and_read(shop: Shop) -> None:
    preflight = Request(path="/eb/post", method="OPTIONS", headers=(("origin", ORIGIN),))
    assert shop.pair.send(preflight).status == 403
    shop.made("write", origins=(ORIGIN,))
    key = shop.made("write", origins=("https://other.example",))
    answer = shop.track(key, ("origin", "https://other.example"))
    assert (answer.status, answer.header("access-control-allow-origin")) == (200, "https://other.example")
    assert shop.pair.send(preflight).status == 204


def test_a_wrong_key_is_still_wrong_and_one_of_another_kind_is_named(shop: Shop) -> None:
    for wrong in (make("write", bytes(40)).shown.reveal(), "nonsense"):
        for _ in range(2):
            answer = shop.track(wrong)
            assert (answer.status, answer.json["error"]) == (401, f"Invalid {WRITE}")
    answer = shop.track(shop.made("query"))
    assert answer.status == 401
    assert answer.json["error"].startswith("Please use a write key")


def ready(pair: Pair) -> Answer:
    return pair.send(Request(path="/ready", method="GET"))


def test_keys_that_are_gone_are_said_and_no_key_is_called_wrong(tmp_path: Path) -> None:
    with Shop(tmp_path) as shop:
        key = shop.made("write")
        assert shop.track(key).status == 200
        assert ready(shop.pair).status == 200
        (tmp_path / "keys.sqlite3").unlink()
        until(lambda: {site.runtime.not_ready() for site in shop.pair.sites} == {"the keys are gone"})
        assert ready(shop.pair).body == b"not ready: the keys are gone\n"
        assert shop.track(key).status == 200, "what is known stays in force"
        answer = shop.track(make("write", bytes(40)).shown.reveal())
        assert (answer.status, answer.header("retry-after")) == (503, "5")
        assert shop.pair.behind_asgi.stats()["stores"]["keys"] == "the keys are gone"
    with both(data_dir=str(tmp_path), eventbunker_path="/eb", journal="memory") as again:
        for site in again.sites:
            assert site.runtime.stores is not None
            site.runtime.stores.ring.start()
        answer = again.send(Request(path="/eb/post", headers=((WRITE, key),), body=b'{"event_name": "seen"}'))
        assert (answer.status, answer.header("retry-after")) == (503, "5")
    assert not (tmp_path / "keys.sqlite3").exists()


def test_an_archive_that_is_damaged_is_said_by_readiness(tmp_path: Path) -> None:
    with Shop(tmp_path) as shop:
        site, file = shop.pair.behind_asgi, tmp_path / "archive.sqlite3"
        assert site.runtime.not_ready() == "", "none was made yet"
        assert shop.track(shop.made("write")).status == 200
        assert site.runtime.courier.drain(30)
        assert site.runtime.not_ready() == ""
        for one in shop.pair.sites:
            one.runtime.courier.stop()
        whole = file.read_bytes()
        for harm in ("is gone", "is empty", "is no SQLite database", "is cut off", "is a folder"):
            file.unlink(missing_ok=True)
            match harm:
                case "is empty":
                    file.touch()
                case "is no SQLite database":
                    file.write_bytes(b"junk" * 1000)
                case "is cut off":
                    file.write_bytes(whole[:8192])
                case "is a folder":
                    file.mkdir()
            assert site.runtime.not_ready() == f"the archive {harm}"
            assert site.stats()["stores"]["archive"] == f"the archive {harm}"


def stores(folder: Path) -> dict[str, str]:
    view = look_into(folder)
    try:
        return dict(view.stats()["stores"])
    finally:
        view.close()


def test_a_stopped_site_says_in_stats_which_store_is_gone_or_older(tmp_path: Path) -> None:
    archive, keys = tmp_path / "archive.sqlite3", tmp_path / "keys.sqlite3"
    with Shop(tmp_path, journal="file") as shop:
        assert shop.track(shop.made("write")).status == 200
        runtime = shop.pair.behind_asgi.runtime
        assert runtime.archive is not None
        until(lambda: archive.exists() and archive.stat().st_size and len(idents(runtime.archive)) == 1)  # type: ignore[arg-type]
        shop.pair.advance(1)
        copies = archive.read_bytes(), keys.read_bytes()
        assert shop.track(shop.made("write")).status == 200
        until(lambda: len(idents(runtime.archive)) == 2)  # type: ignore[arg-type]
    assert stores(tmp_path) == {"archive": "", "keys": ""}
    archive.write_bytes(copies[0])
    keys.write_bytes(copies[1])
    assert stores(tmp_path) == {
        "archive": "the archive lacks 1 rows that it had: a site fills it again as far as the journal goes",
        "keys": f"{keys} is older than the key store that this site had",
    }
    for content, harm in ((None, "is gone"), (b"", "is empty"), (b"junk" * 100, "is no SQLite database")):
        for file in (archive, keys):
            file.unlink(missing_ok=True)
            if content is not None:
                file.write_bytes(content)
        assert stores(tmp_path) == {"archive": f"{archive} {harm}", "keys": f"{keys} {harm}"}
