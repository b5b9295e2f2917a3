"""``eventmw send`` to sites that run."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Site, run, serving, until


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("send")) as site:
        yield site


def test_one_event_with_properties(site: Site) -> None:
    ran = run("send", site.url, "-e", "purchase", "-p", "value=9.5", "-p", "note=a=b", "-p", "ids=[1,2]", "--id", "p-1")
    assert ran.code == 0
    assert ran.lines[0].startswith("1 event accepted, kept on disk. Receipt ")
    assert "The Result Objects are empty, as usual" in ran.out
    event = json.loads(site.run("tail", "-n", "1", "--json").out)
    assert event["id"] == "p-1"
    assert event["properties"] == {"value": 9.5, "note": "a=b", "ids": [1, 2]}
    again = run("send", site.url, "-e", "purchase", "--id", "p-1")
    assert again.code == 0
    assert "event 0: duplicate, sent before" in again.out


def test_what_tools_want_of_the_browser(site: Site) -> None:
    assert "  result 0, execute: [\"console.log('hi')\"]" in run("send", site.url, "-e", "page").lines
    document = run("send", site.url, "-e", "page", "--json").json
    assert document["results"][0]["execute"] == ["console.log('hi')"]
    assert document["receipt"]["accepted"] == 1


def test_some_are_refused(site: Site) -> None:
    body = '{"events": [{"client": {"__zarazTrack": {}}}, {"client": {}, "system": {"device": {"viewport": "big"}}}]}'
    ran = run("send", site.url, "--file", "-", stdin=body)
    assert ran.code == 1
    assert ran.lines[0].startswith("1 event accepted, 1 refused")
    assert "  event 0: refused: expected text, got an object, at /events/0/client/__zarazTrack" in ran.lines
    assert any(line.startswith("  event 1: accepted with a warning: expected WIDTHxHEIGHT") for line in ran.lines)


def test_all_is_refused_in_words(site: Site, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text('{"events": [{}]}')
    ran = run("send", site.url, "--file", str(tmp_path / "payload.json"))
    assert (ran.code, ran.out) == (1, "")
    assert "Refused with 400: None of the events is valid (no_valid_event)." in ran.err
    assert "event 0, /events/0: expected the key client, which is missing" in ran.err


def test_a_key_is_shown_to_the_site(tmp_path: Path) -> None:
    with serving(tmp_path, "0123456789abcdef0") as site:
        refused = run("send", site.url, "-e", "x")
        assert refused.code == 1
        assert "Refused with 401" in refused.err
        assert run("send", site.url, "-e", "x", "--key", "0123456789abcdef0").code == 0
        assert run("send", site.url, "-e", "x", EVENTMW_KEY="0123456789abcdef0").code == 0


def test_a_path_that_is_not_ours(site: Site) -> None:
    ran = run("send", site.url + "/other", "-e", "x")
    assert ran.code == 1
    assert "The site answered 404, and not as eventmw does." in ran.err


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Give the track API's address, and a write key of it."""
    folder = tmp_path_factory.mktemp("tracked")
    with serving(folder, eventbunker_path="/eb") as site:
        assert run("project", "create", "shop", "--data-dir", str(folder)).code == 0
        key = run("keys", "create", "write", "--data-dir", str(folder)).out.strip()
        yield f"http://127.0.0.1:{site.port}/eb/post", key


def test_the_track_api_is_known_by_its_answer(tracked: tuple[str, str]) -> None:
    ran = run("send", tracked[0], "-e", "signup")
    assert (ran.code, ran.out) == (1, "")
    assert "Refused with 401: Invalid x-eventbunker-write-key" in ran.err
    assert "give a write key with --write-key or in $EVENTMW_WRITE_KEY" in ran.err
    assert "not as eventmw does" not in ran.err


def test_an_event_is_tracked(tracked: tuple[str, str]) -> None:
    url, key = tracked
    given = ("send", url, "-e", "signup", "-p", "plan=pro", "-p", "price=9", "--id", "s-1")
    until(lambda: run(*given, "--write-key", key).code == 0)  # the key is known within a second
    ran = run(*given, EVENTMW_WRITE_KEY=key)
    assert ran.lines[0] == "1 event accepted."
    assert ran.lines[1].startswith("  event 0: unique_req_id ")
    assert run(*given, "--write-key", key, "--json").json["unique_req_id"] == ran.lines[1].split()[-1]
    several = '[{"event_name": "a"}, {"event_name": "no blanks"}]'
    some = run("send", url, "--file", "-", "--write-key", key, stdin=several)
    assert some.code == 1
    assert some.lines[0] == "1 event accepted."
    assert "  event 1: refused: Body JSON validation failed." in some.lines
    wrong = run("send", url, "-e", "no blanks", "--write-key", key)
    assert wrong.code == 1
    assert "/event_name: expected a name" in wrong.err
    assert run(*given, "--write-key", key, "--key", "x").code == 2


def test_nobody_is_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        ran = run("send", f"http://127.0.0.1:{taken.getsockname()[1]}/zaraz/api", "-e", "x")
    assert ran.code == 1
    assert "127.0.0.1 cannot be reached: Connection refused" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("http://127.0.0.1/x",),
        ("http://127.0.0.1/x", "-e", "a", "--file", "-"),
        ("http://127.0.0.1/x", "--file", "-", "-p", "a=1"),
        ("http://127.0.0.1/x", "-e", "a", "-p", "nothing"),
        ("127.0.0.1:8000", "-e", "a"),
        ("ftp://127.0.0.1/x", "-e", "a"),
    ],
)
def test_wrong_uses(arguments: tuple[str, ...]) -> None:
    assert run("send", *arguments).code == 2


def test_an_answer_that_is_an_array_is_told_as_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTMW_ENVELOPE", "array")
    with serving(tmp_path) as site:
        ran = run("send", site.url, "-e", "page")
        assert ran.code == 0
        assert ran.lines[0] == "Accepted: 1 event (1 result, no receipt)."
