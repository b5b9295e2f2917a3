"""``eventmw send`` to sites that run."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Site, run, serving


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("send")) as site:
        yield site


def test_one_event_with_properties(site: Site) -> None:
    ran = run("send", site.url, "-e", "purchase", "-p", "value=9.5", "-p", "note=a=b", "-p", "ids=[1,2]", "--id", "p-1")
    assert ran.code == 0
    assert ran.lines[0].startswith("1 event accepted, kept on disk. Receipt ")
    assert "No tool wants anything of the browser" in ran.out
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
    body = '{"events": [{"client": {"__zarazTrack": 3}}, {"client": {}, "system": {"device": {"viewport": "big"}}}]}'
    ran = run("send", site.url, "--file", "-", stdin=body)
    assert ran.code == 1
    assert ran.lines[0].startswith("1 event accepted, 1 refused")
    assert "  event 0: refused: expected text, got a number, at /events/0/client/__zarazTrack" in ran.lines
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
