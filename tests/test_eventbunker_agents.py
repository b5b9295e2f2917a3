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
        (CHROME, {"_browser": "Chrome", "_browser_version": "126.0", "_os": "Windows", "_os_version": "10"}),
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
