"""``eventmw replay`` on a site that runs."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.running import run, serving, started, until


def test_a_tool_gets_everything_again_and_the_others_do_not(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a", "b", "c")
        until(lambda: site.tool("crm")["outcomes"].get("delivered") == 3)
        dry = site.run("replay", "--tool", "crm", "--dry-run")
        assert dry.out == "About 3 events would go to crm again. Nothing was changed.\n"
        assert site.tool("crm")["outcomes"]["delivered"] == 3
        ran = site.run("replay", "--tool", "crm", "--since", "2h")
        assert ran.code == 0
        assert ran.lines == ["3 events will go to crm again.", "Done: crm has nothing left to get."]
        assert site.tool("crm")["outcomes"]["delivered"] == 6
        assert site.tool("slow")["outcomes"]["delivered"] == 3


def test_a_time_after_everything_moves_nothing(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a")
        until(lambda: site.tool("crm")["outcomes"].get("delivered") == 1)
        assert site.run("replay", "--tool", "crm", "--since", "2999-01-01").lines == ["0 events will go to crm again."]
        assert site.tool("crm")["outcomes"]["delivered"] == 1


def test_ctrl_c_leaves_it_running_and_says_so(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a", "b")
        until(lambda: site.tool("slow")["outcomes"].get("delivered") == 2)
        site.post("wait", "z")
        until(lambda: site.tool("slow")["in_flight"] == 1)
        with started("replay", "--tool", "slow", "--data-dir", str(tmp_path)) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            assert "4 events left" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=30)
            assert process.returncode == 0
            assert "The site goes on with it" in out
        site.step()
        until(lambda: site.tool("slow")["outcomes"].get("delivered", 0) >= 6)


def test_it_says_when_nobody_delivers(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a", "b")
        until(lambda: site.tool("crm")["outcomes"].get("delivered") == 2)
    dry = run("replay", "--tool", "crm", "--dry-run", "--data-dir", str(tmp_path))
    assert dry.out == "About 2 events would go to crm again. Nothing was changed.\n"
    ran = run("replay", "--tool", "crm", "--data-dir", str(tmp_path))
    assert ran.lines == [
        "2 events will go to crm again.",
        "No process delivers now. They go out when the site or `eventmw worker` runs.",
    ]
    with serving(tmp_path) as site:
        site.post("c")
        until(lambda: site.tool("crm")["outcomes"].get("delivered") == 5)


def test_it_watches_a_journal_that_another_process_leads(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post(*"abcdefgh")
        until(lambda: site.tool("slow")["outcomes"].get("delivered") == 8)
        site.post("wait")
        until(lambda: site.tool("slow")["in_flight"] == 1)
        with started("replay", "--tool", "slow", "--data-dir", str(tmp_path)) as process:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("9 events left")
            site.step()
            out, _ = process.communicate(timeout=30)
        assert out.splitlines() == ["8 events will go to slow again.", "Done: slow has nothing left to get."]
        assert site.tool("slow")["outcomes"]["delivered"] >= 17


def test_a_tool_that_is_not_there(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a")
        ran = site.run("replay", "--tool", "nope")
        assert ran.code == 1
        assert "no tool 'nope'" in ran.err


@pytest.mark.parametrize("since", ["yesterday", "2 fortnights", "1969-12-31", ""])
def test_a_time_that_is_none(since: str) -> None:
    ran = run("replay", "--tool", "x", "--since", since)
    assert ran.code == 2
    assert "neither an age" in ran.err
