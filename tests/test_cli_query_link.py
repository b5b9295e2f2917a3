"""``eventmw query --link``: links that a real site opens, and words for all that is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from eventmw.charts.links import MAX_LIFETIME_S, claimed, expiry_s
from tests.databases import KINDS
from tests.running import Ran, run, until
from tests.servers import Server, running

BASE = "https://shop.example/eb"
QUESTION = ("--last", "1h", "--count", "--by", "customer_identifier")
Place = dict[str, Any]


def made(folder: Path, *arguments: str, **place: Any) -> str:
    """Run a command that shows a secret, and return that."""
    ran = run(*arguments, EVENTMW_DATA_DIR=str(folder), **place)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def link(folder: Path, *arguments: str, base: str = BASE, question: tuple[str, ...] = QUESTION, **place: Any) -> Ran:
    return run("query", *question, "--link", "--base", base, *arguments, EVENTMW_DATA_DIR=str(folder), **place)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory with a project, and a query key of it."""
    folder = tmp_path / "data"
    made(folder, "project", "create", "shop")
    made(folder, "keys", "create", "query", "--name", "charts")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_it_prints_the_link_and_the_line_for_a_page(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place: Place = {} if kind == "sqlite" else {"EVENTMW_ARCHIVE": str(request.getfixturevalue("postgres"))}
    made(tmp_path, "project", "create", "shop", **place)
    made(tmp_path, "keys", "create", "query", **place)
    ran = link(tmp_path, "--title", 'Sales "now"', base=BASE + "/", **place)
    assert ran.code == 0, ran.err
    address, iframe = ran.lines
    assert address.startswith(f"{BASE}/v1/query/iframe?token=v1.")
    assert f'<iframe src="{address}" title="Sales &quot;now&quot;"' in iframe
    assert address.partition("token=")[2] not in ran.err
    assert "keys revoke" in ran.err
    said = claimed(address.partition("token=")[2])
    assert json.loads(said.query) == {
        "time_period": "minus_1_hours",
        "group_by": ["customer_identifier"],
        "computations": [{"function": "count"}],
    }
    for_programs = link(tmp_path, "--json", "--expires", "90s", **place).json
    assert for_programs["link"] in for_programs["iframe"]
    assert for_programs["key_id"] == said.key_id


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--link"], 2, "--link needs --base"),
        (["--base", BASE], 2, "Without --link there is no use for --base"),
        (["--key", "k", "--expires", "1h"], 2, "no use for --expires, --key"),
        (["--link", "--base", BASE, "--csv", "--chart"], 2, "leave --csv, --chart out"),
        (["--link", "--base", BASE, "--expires", "soon"], 2, "'soon' is no age such as 5m, 1h or 7d"),
        (["--link", "--base", BASE, "--expires", "0s"], 2, "1 second to 365 days, not 0s"),
        (["--link", "--base", BASE, "--expires", "366d"], 2, "1 second to 365 days, not 366d"),
        (["--link", "--base", "shop.example/eb"], 2, "expected an address such as"),
        (["--link", "--base", "https://ann:s3cret@shop.example/eb"], 2, "no user"),
        (["--link", "--base", "https://shop.example/eb?x=1"], 2, "no ? and no #"),
        (["--link", "--base", 'https://shop.example/"x'], 2, "expected an address"),
        (["--link", "--base", "https://[shop/eb"], 2, "expected an address"),
        (["--link", "--base", BASE, "--key", "nobody"], 1, "There is no key with this id"),
        (["--link", "--base", BASE, "--project", "other"], 1, "There is no project other"),
        (["--link", "--base", BASE, "--by", "a.b.c"], 2, "--by a.b.c: expected"),
        (["--link", "--base", BASE, "--where", f"page={'x' * 4000}"], 1, "ask for less in it"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, arguments: list[str], code: int, words: str) -> None:
    ran = run("query", "--last", "1h", "--count", *arguments, EVENTMW_DATA_DIR=str(folder))
    assert (ran.code, " ".join(words.split()) in " ".join(ran.err.split())) == (code, True), ran.err
    assert ran.out == ""
    assert "s3cret" not in ran.err


def test_which_key_is_meant_has_to_be_clear(folder: Path, tmp_path: Path) -> None:
    first = claimed(link(folder).lines[0].partition("token=")[2]).key_id
    second, write = (made(folder, "keys", "create", kind) for kind in ("query", "write"))
    ran = link(folder)
    assert ran.code == 2
    assert f"with --key: there are {first} (charts), " in " ".join(ran.err.split())
    assert claimed(link(folder, "--key", second).lines[0].partition("token=")[2]).key_id == second.split("_")[2]
    ran = link(folder, "--key", write)
    assert "is a write key" in ran.err
    assert write not in ran.err, "the secret is not shown again"
    made(tmp_path / "other", "project", "create", "new")
    assert "has no query key" in link(tmp_path / "other").err
    assert "There are no keys in" in link(tmp_path / "none").err


def test_a_lifetime_has_an_end() -> None:
    assert expiry_s(10.9, 5) == 15
    assert expiry_s(0, MAX_LIFETIME_S) == MAX_LIFETIME_S
    for wrong in (0, -1, MAX_LIFETIME_S + 1):
        with pytest.raises(ValueError, match="365 days"):
            expiry_s(0, wrong)


SITE = """
import os
from eventmw.{interface} import EventsMiddleware

async def over_asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 404, "headers": []}})
        await send({{"type": "http.response.body", "body": b""}})

def over_wsgi(environ, start_response):
    start_response("404 Not Found", [])
    return [b""]

app = EventsMiddleware(over_{interface}, eventbunker_path="/eb", data_dir=os.environ["DATA"], journal="file")
"""


@pytest.fixture(params=["uvicorn-httptools", "waitress"])
def site(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Server]:
    """A real server of either gateway, whose archive holds an event of Ann and one of Bob."""
    interface = "wsgi" if request.param == "waitress" else "asgi"
    (tmp_path / "shop.py").write_text(SITE.format(interface=interface))
    write = made(folder, "keys", "create", "write")
    environment = {"DATA": str(folder), "EVENTMW_JOURNAL": "file", "EVENTMW_DATA_DIR": str(folder)}
    place = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}"}
    with running(request.param, tmp_path, app="shop", **environment, **place) as server:
        for name in ("ann", "bob"):
            body = json.dumps({"event_name": "buy", "customer_identifier": name}).encode()
            answer = server.ask("POST", "/eb/post", body, **{"x-eventbunker-write-key": write})
            assert answer.status == 200, answer.body
        until(lambda: len(run("query", *QUESTION, EVENTMW_DATA_DIR=str(folder)).lines) == 3)
        yield server


def opened(site: Server, address: str) -> tuple[int, str]:
    """Open a link as a browser does: without a key."""
    parts = urlsplit(address)
    answer = site.ask("GET", f"{parts.path}?{parts.query}")
    return answer.status, answer.body.decode()


def test_a_site_opens_it_without_a_key_until_it_ends(site: Server, folder: Path) -> None:
    base = f"http://127.0.0.1:{site.port}/eb"
    address, iframe = link(folder, "--title", "Who buys", base=base).lines
    status, page = opened(site, address)
    assert (status, "Who buys" in page, "ann" in page, "bob" in page) == (200, True, True, True)
    [framed] = re.findall(r'src="([^"]+)"', iframe)
    assert opened(site, framed) == (status, page)

    astray = link(folder, base=f"http://127.0.0.1:{site.port}/events")
    assert (astray.code, "the running site answers below /eb" in astray.err) == (0, True)
    assert "answers below" not in link(folder, base=base).err

    changed = address[:-5] + ("A" if address[-5] != "A" else "B") + address[-4:]
    assert opened(site, changed)[0] == 403
    assert opened(site, address[:-1])[0] == 400

    short = link(folder, "--expires", "3s", base=base).lines[0]
    until(lambda: opened(site, short)[0] == 410)

    key_id = claimed(address.partition("token=")[2]).key_id
    assert run("keys", "revoke", key_id, EVENTMW_DATA_DIR=str(folder)).code == 0
    status, page = until(lambda: found if (found := opened(site, address))[0] == 403 else None)
    assert "withdrawn" in page
    assert address.partition("token=")[2] not in site.log.read_text()


def test_a_key_of_one_customer_shows_that_customer(site: Server, folder: Path) -> None:
    key = made(folder, "keys", "create", "query", "--customer", "ann")
    address = link(folder, "--key", key.split("_")[2]).lines[0]
    _, page = until(lambda: found if (found := opened(site, address))[0] == 200 else None)
    assert "ann" in page
    assert "bob" not in page
