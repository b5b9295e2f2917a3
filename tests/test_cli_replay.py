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
        assert ran.lines == ["3 events will go to crm again.", "Done: crm has nothing left to get; 3 delivered."]
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
        with started("replay", "--tool", "slow", "--yes", "--data-dir", str(tmp_path)) as process:
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
    ran = run("replay", "--tool", "crm", "--yes", "--data-dir", str(tmp_path))
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
        with started("replay", "--tool", "slow", "--since", "start", "--data-dir", str(tmp_path)) as process:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("9 events left")
            site.step()
            out, _ = process.communicate(timeout=30)
        assert out.splitlines()[0] == "8 events will go to slow again."
        assert out.splitlines()[1].startswith("Done: slow has nothing left to get; ")
        assert site.tool("slow")["outcomes"]["delivered"] >= 17


def test_it_asks_before_everything_goes_out_again(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a", "b")
        until(lambda: site.tool("crm")["outcomes"].get("delivered") == 2)
        asked = site.run("replay", "--tool", "crm", stdin="n\n")
        assert (asked.code, asked.out) == (0, "Nothing was changed.\n")
        assert "Hand crm all that is kept again, about 2 events? [y/N]" in asked.err
        silent = site.run("replay", "--tool", "crm")
        assert (silent.code, silent.out) == (1, "")
        assert "nobody answered, and nothing was changed. --yes does not ask, nor does --since WHEN." in silent.err
        assert site.tool("crm")["outcomes"]["delivered"] == 2
        assert site.run("replay", "--tool", "crm", stdin="y\n").lines[-1].endswith("; 2 delivered.")
        assert site.tool("crm")["outcomes"]["delivered"] == 4


def test_it_says_how_many_died_again(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("oops", "a", "oops")
        until(lambda: site.tool("broken")["outcomes"].get("tool_error") == 2)
        ran = site.run("replay", "--tool", "broken", "--yes")
        assert ran.lines[-1] == (
            "Done: broken has nothing left to get; 0 delivered, 1 filtered, 2 dead letters "
            "(`eventmw dead list --tool broken`)."
        )


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
