"""What user agents tell."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventmw.protocols.eventbunker import agents
from eventmw.protocols.eventbunker.agents import agent
from tests.running import environment

# Source: user agents as these browsers send them.
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (CHROME, {"_browser": "Chrome", "_browser_version": "126.0", "_os": "Windows"}),
        (
            IPHONE,
            {
                "_browser": "Mobile Safari",
                "_browser_version": "17.5",
                "_os": "iOS",
                "_os_version": "17.5",
                "_device": "iPhone",
            },
        ),
        ("curl/8.5.0", {"_browser": "curl", "_browser_version": "8.5"}),
        ("nobody knows", {}),
    ],
)
def test_what_is_known(user_agent: str, expected: dict[str, str]) -> None:
    assert dict(agent(user_agent)) == expected


WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
ANDROID_K = f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Mobile Safari/537.36"
MAC = f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Safari/537.36"
CHROME_OS = f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Safari/537.36"
SAFARI_26 = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/26.0 Mobile/15E148 Safari/604.1"
)


PIXEL = {"platform": '"Android"', "platform-version": '"16.0.0"', "model": '"Pixel 9"', "mobile": "?1"}


@pytest.mark.parametrize(
    ("user_agent", "os", "version", "device"),
    [
        (ANDROID_K, "Android", None, None),
        (ANDROID_K.replace("; K)", "; K; wv)"), "Android", None, None),
        (ANDROID_K.replace("10; K", "13; SM-S918B"), "Android", "13", "Samsung SM-S918B"),
        (ANDROID_K.replace("10; K", "10; SM-G973F"), "Android", "10", "Samsung SM-G973F"),
        ("Mozilla/5.0 (Android 10; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0", "Android", None, "Generic Smartphone"),
        (MAC, "Mac OS X", None, "Mac"),
        (MAC.replace("10_15_7", "10_13_6"), "Mac OS X", "10.13", "Mac"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Mac OS X",
            None,
            "Mac",
        ),
        (CHROME, "Windows", None, None),
        (CHROME.replace("NT 10.0", "NT 6.1"), "Windows", "7", None),
        (CHROME_OS, "Chrome OS", None, None),
        (SAFARI_26, "iOS", None, "iPhone"),
        (SAFARI_26.replace("26.0", "18.6"), "iOS", "18.6", "iPhone"),
    ],
)
def test_what_a_browser_says_on_every_device_is_no_fact(
    user_agent: str, os: str, version: str | None, device: str | None
) -> None:
    """Chromium, «User-Agent Reduction»: since 2023 these parts are the same for everybody."""
    found = agent(user_agent)
    assert (found["_os"], found.get("_os_version"), found.get("_device")) == (os, version, device)


@pytest.mark.parametrize(
    ("user_agent", "hints", "expected"),
    [
        (ANDROID_K, PIXEL, ("Android", "16", "Pixel 9")),
        (ANDROID_K, {**PIXEL, "platform-version": '"14.1.2"'}, ("Android", "14.1", "Pixel 9")),
        (ANDROID_K, {"model": '""', "platform-version": '""'}, ("Android", None, None)),
        (ANDROID_K, {"model": "Pixel 9", "platform-version": "16"}, ("Android", None, None)),
        (ANDROID_K, {"model": '"a \\"b\\""'}, ("Android", None, 'a "b"')),
        (MAC, {"platform": '"macOS"', "platform-version": '"15.3.1"', "model": '""'}, ("Mac OS X", "15.3", "Mac")),
        (CHROME, {"platform": '"Windows"', "platform-version": '"15.0.0"'}, ("Windows", "11", None)),
        (CHROME, {"platform": '"Windows"', "platform-version": '"10.0.0"'}, ("Windows", "10", None)),
        (CHROME, {"platform": '"Windows"', "platform-version": '"0.3.0"'}, ("Windows", "8.1", None)),
        (CHROME, {"platform": '"Windows"', "platform-version": '"0.0.0"'}, ("Windows", None, None)),
        (CHROME, {"platform-version": '"' + "9" * 400 + '"'}, ("Windows", None, None)),
        ("", PIXEL, ("Android", "16", "Pixel 9")),
    ],
)
def test_client_hints_say_what_the_user_agent_does_not(
    user_agent: str, hints: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    found = agent(user_agent, hints)
    assert tuple(found.get(name) for name in ("_os", "_os_version", "_device")) == expected


@given(st.dictionaries(st.sampled_from(["platform", "platform-version", "model"]), st.text(max_size=30)))
def test_any_text_may_be_a_hint(hints: dict[str, str]) -> None:
    assert all(value and name.startswith("_") for name, value in agent(CHROME, hints).items())


@settings(max_examples=20)
@given(st.text(max_size=2000))
def test_any_text_may_be_a_user_agent(text: str) -> None:
    assert all(value and name.startswith("_") for name, value in agent(text).items())


def test_what_is_too_long_is_looked_at_in_part() -> None:
    assert agent(CHROME.ljust(agents.MAX_LENGTH)) == agent(CHROME.ljust(agents.MAX_LENGTH) + " Firefox/1.0")


def test_a_library_that_fails_costs_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> object:
        raise RuntimeError("expression 4711")

    monkeypatch.setattr(agents, "parser", lambda: broken)
    assert dict(agent("a user agent of its own 1")) == {}
    monkeypatch.setattr(agents, "parser", lambda: None)
    assert dict(agent("a user agent of its own 2")) == {}


def test_it_is_imported_when_the_first_is_read_and_may_be_missing() -> None:
    code = (
        "import sys; from eventmw.protocols.eventbunker import agents; print('ua_parser' in sys.modules);"
        "sys.modules['ua_parser'] = None; print(dict(agents.agent('curl/8.5.0')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert ran.stdout.split("\n")[:2] == ["False", "{}"]
    assert "ua-parser cannot be used: ModuleNotFoundError" in ran.stderr
