"""Each file of a data directory and each kind of damage, while the site is stopped: what it costs, and that it is said.

Source: docs/journal.md «What is damaged, or gone», whose table this is.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from eventmw import tool
from eventmw.archive.transactions import ArchiveAway
from eventmw.asgi import EventsMiddleware
from eventmw.effects import Send
from eventmw.event import Event
from eventmw.eventbunker.track import HEADER
from eventmw.http import HttpRequest
from eventmw.keys.grants import Grant
from eventmw.keys.place import keys_engine
from eventmw.keys.store import KeyStore
from eventmw.testing import RecordingTransport, record
from tests.archiving import rows
from tests.gateways import Answer, Request, through_asgi
from tests.running import until

DAMAGES: Final = ("deleted", "empty", "half", "flips", "junk", "folder")


@tool("crm")
def crm(event: Event) -> Send:
    return Send(HttpRequest("POST", "https://crm.example", body=event.name.encode()))


def site_of(data_dir: Path, **settings: Any) -> tuple[EventsMiddleware, RecordingTransport]:
    async def page(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the page"})

    given = {
        "path": "/z",
        "journal": "file",
        "eventbunker_path": "/eb",
        "data_dir": str(data_dir),
        "tools": [crm],
        **settings,
    }
    site = EventsMiddleware(page, **given)
    transport = record(site, RecordingTransport(lambda order: 400 if order.body == b"bad" else 200))  # type: ignore[union-attr]
    assert site.runtime.stores is not None
    site.runtime.stores.ring.start()
    return site, transport


def tracked(site: EventsMiddleware, key: str, name: str) -> Answer:
    body = json.dumps({"event_name": name}).encode()
    return asyncio.run(through_asgi(site, Request(path="/eb/post", headers=((HEADER, key),), body=body)))


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a site that has delivered, has buried, and has events that wait; and its key."""
    folder = tmp_path_factory.mktemp("left") / "data"
    engine = keys_engine(folder, None)
    store = KeyStore(engine)
    key = store.create_key(store.create_project(store.account(), "shop")[0].id, Grant(kind="write")).secret.reveal()
    engine.dispose()
    site, transport = site_of(folder)
    for name in ("bad", "ok"):
        assert tracked(site, key, name).status == 200
    until(lambda: len(transport.requests) == 2)
    assert site.runtime.courier.drain(30)
    lease = site.runtime.journal
    assert site.close()
    lease.leave()
    waits, _ = site_of(folder, courier="off")
    for name in ("w1", "w2"):
        assert tracked(waits, key, name).status == 200
    waits.close(0)
    return folder, key


def damage(path: Path, how: str) -> None:
    content = path.read_bytes() if path.is_file() else b""
    match how:
        case "deleted":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "half":
            path.write_bytes(content[: len(content) // 2])
        case "flips":
            used = bytearray(content)
            for at in range(20, min(len(used), 4000), max(1, min(len(used), 4000) // 9)):
                used[at] ^= 0x5A
            path.write_bytes(used)
        case "junk":
            path.write_bytes(os.urandom(max(64, min(len(content), 5000))))
        case _:
            path.unlink()
            path.mkdir()


class Cost(NamedTuple):
    """What the damage of a file costs.

    Attributes:
        said: of each damage, the words in the log; "" for no error. "*" stands for all that have none of their own.
        old: whether what waits still arrives.
        new: whether new events are taken; else the answer is 503.
        row: whether they become rows.
    """

    said: dict[str, str]
    old: bool = True
    new: bool = True
    row: bool = True


FOLDER: Final = "is a folder where a file belongs"
HINT: Final = Cost({"*": "", "folder": FOLDER})
TOOL: Final = Cost({"deleted": "", "folder": FOLDER, "*": "does not say since when"})
STATE: Final = Cost({"*": "cannot be read|no state", "folder": FOLDER})
KEYS: Final = Cost({"*": "the key"}, new=False)
ROWS: Final = Cost({"deleted": "filled again", "empty": "filled again", "*": "stands still"}, row=False)
FILES: Final = {
    "leader": HINT,
    "gauge": HINT,
    "reserve": HINT,
    "kept/archive-journal": HINT,
    "kept/duplicates": HINT,
    "kept/failures": HINT,
    "kept/duplicates-1": HINT,
    "tools/crm": TOOL,
    "tools/archive": TOOL,
    "state/*.log": STATE,
    "dead/*.log": Cost({"*": "dead letters", "folder": FOLDER}),
    "w/*/lock": HINT,
    "w/*/*.seg": Cost({"*": "lost|no segment|cannot be read", "half": "", "folder": FOLDER}, old=False),
    "archive.sqlite3": ROWS,
    "archive.json": Cost({"*": ""}),
    "keys.sqlite3": KEYS,
    "keys.json": Cost({"*": ""}),
}


def last(folder: Path, pattern: str) -> Path:
    """Return the newest file of a pattern: of segments and locks, those of the stream that has events left."""
    found = [path for path in folder.glob(pattern) if path.is_file()]
    assert found, pattern
    return max(found, key=lambda path: path.stat().st_ctime_ns)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_what_a_damaged_file_costs(
    left: tuple[Path, str], tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, how: str
) -> None:
    folder, key, cost = tmp_path / "data", left[1], FILES[name]
    shutil.copytree(left[0], folder)
    wanted = last(left[0], name).relative_to(left[0])
    damage(folder / wanted, how)
    costs(cost, how, folder, key, caplog)


def costs(cost: Cost, how: str, folder: Path, key: str, caplog: pytest.LogCaptureFixture) -> None:
    """Assert that a site of a damaged folder serves on, for that price, and says so."""
    caplog.set_level(logging.WARNING)
    site, transport = site_of(folder)
    try:
        assert asyncio.run(through_asgi(site, Request(path="/", method="GET"))).body == b"the page"
        new = tracked(site, key, "new")
        assert new.status == (200 if cost.new else 503)
        names = {"new"} if cost.new else set()
        names |= {"w1", "w2"} if cost.old else set()
        until(lambda: names <= {request.body.decode() for request in transport.requests})
        archive = site.runtime.archive
        assert archive is not None
        if cost.row:
            until(lambda: names <= _names(archive))
        words = cost.said.get(how, cost.said.get("*", ""))
        errors = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
        if words:
            until(lambda: [line for line in caplog.messages if re.search(words, line)])
        else:
            assert not errors
        assert not [one for one in caplog.records if one.exc_info], "a sentence, and no traceback"
    finally:
        site.close(0)


# What is only there while something runs: what stands there of a process that ended, or of nobody. In the place of SQLite's
# own files a folder is as a database that is damaged; all else there, SQLite takes for what a dead process left.
PLANTED: Final = {
    "members/4711-x": HINT,
    "inbox/4711-x.order": HINT,
    "live/4711.sock": Cost({"*": ""}),
    "archive.sqlite3-journal": Cost({"*": ""}),
    "archive.sqlite3-wal": Cost({"*": ""}),
    "archive.sqlite3-shm": Cost({"*": ""}),
    "keys.sqlite3-journal": Cost({"*": ""}),
    "keys.sqlite3-wal": Cost({"*": ""}),
    "keys.sqlite3-shm": Cost({"*": ""}),
}
FOLDERS: Final = {
    **dict.fromkeys(("archive.sqlite3-journal", "archive.sqlite3-wal"), Cost({"*": "stands still"}, row=False)),
    **dict.fromkeys(("keys.sqlite3-journal", "keys.sqlite3-wal"), Cost({"*": "the keys in"}, new=False)),
}


@pytest.mark.parametrize("how", ["empty", "junk", "folder"])
@pytest.mark.parametrize("name", PLANTED)
def test_what_stands_in_the_place_of_a_passing_file_costs(
    left: tuple[Path, str], tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, how: str
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(left[0], folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    damage(folder / name, how)
    cost = FOLDERS.get(name) if how == "folder" else None
    costs(cost or PLANTED[name], how, folder, left[1], caplog)


def _names(archive: Any) -> set[str]:
    try:
        return {row["event_name"] for row in rows(archive)}
    except ArchiveAway:
        return set()


def test_every_file_has_a_row_in_the_docs_and_here(left: tuple[Path, str]) -> None:
    """A file that is new is to be damaged, too."""
    known = [re.compile(re.escape(name).replace(r"\*", "[^/]*")) for name in FILES]
    names = {str(path.relative_to(left[0])) for path in left[0].rglob("*") if path.is_file()}
    assert not {name for name in names if not any(pattern.fullmatch(name) for pattern in known)}
