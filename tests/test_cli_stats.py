"""``eventmw stats`` on sites that run."""

from __future__ import annotations

import json
import re
import signal
import tempfile
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from eventmw.cli.stats import _row, state
from eventmw.control.live import LiveView, ask
from eventmw.journal.files.filesystem import kind_of
from tests.running import run, serving, started, until


def test_where_each_tool_stands(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a", "b", "oops", "out")
        until(lambda: site.tool("crm")["outcomes"].get("delivered") == 4)
        until(lambda: site.tool("hook")["state"] == "standing")
        ran = site.run("stats")
        assert ran.code == 0
        assert f"{tmp_path}: 1 process, journal journaled, 4 events kept" in ran.lines[0]
        assert ran.lines[1] == f"Process {site.process.pid} delivers."
        assert ran.lines[2] == "takes events: yes"
        row = {line.split()[0]: line for line in ran.lines[5:]}
        assert re.search(r"flowing +0 +- +0 +0 +delivered 4", row["crm"])
        assert re.search(r"flowing +0 +- +0 +1 +filtered 3, tool_error 1", row["broken"])
        assert re.search(
            r"(standing until \d\d:\d\d:\d\d|trying again) +1 .* no connection: 127.0.0.1; filtered 3: ", row["hook"]
        )


def test_a_journal_that_takes_no_events_says_why(tmp_path: Path) -> None:
    with (
        serving(tmp_path, journal="memory") as site,
        serving(tmp_path, journal="memory", limits_journal_bytes="300") as full,
    ):
        site.post("a")
        full.post("wait")
        with pytest.raises(urllib.error.HTTPError):
            full.post("wait", "wait")
        site.live()
        ran = full.run("stats")
        assert ran.lines[1] == (
            f"takes events: no, process {full.process.pid}: the journal is full until tools have delivered"
        )
        (told,) = full.run("stats", "--json").json["journal"]["not_ready"]
        assert told == {"pid": full.process.pid, "why": "the journal is full until tools have delivered"}


def test_processes_with_a_memory_each_are_summed_and_shown_each(tmp_path: Path) -> None:
    with serving(tmp_path, journal="memory") as first, serving(tmp_path, journal="memory") as second:
        first.post("a", "b")
        second.post("c")
        first.live()
        second.live()
        until(lambda: second.tool("crm")["outcomes"].get("delivered") == 3)
        picture = second.run("stats", "--json").json
        assert picture["journal"]["events"] == 3
        assert {process["pid"] for process in picture["processes"]} == {first.process.pid, second.process.pid}
        assert picture["tools"]["crm"]["processes"] == 2
        ran = second.run("stats", "--processes")
        assert "2 processes" in ran.lines[0]
        assert f"Process {first.process.pid}, /zaraz/api, first used" in ran.out
        first.process.kill()
        first.process.wait()
        until(lambda: second.run("stats", "--json").json["journal"]["events"] == 1)


def test_processes_that_share_a_journal_are_not_summed(tmp_path: Path) -> None:
    with serving(tmp_path) as first, serving(tmp_path) as second, serving(tmp_path, courier="off") as third:
        sites = (first, second, third)
        for site in sites:
            site.post("a")
            site.live()
        until(lambda: second.tool("crm")["outcomes"].get("delivered") == 3)
        picture = second.run("stats", "--json").json
        assert (picture["journal"]["events"], picture["tools"]["crm"]["processes"]) == (3, 3)
        assert [*picture["tools"]] == ["broken", "hook", "page", "crm", "slow"], "as they are configured"
        assert {process["pid"] for process in picture["processes"]} == {site.process.pid for site in sites}
        leader = picture["journal"]["leader_pid"]
        assert leader in {first.process.pid, second.process.pid}
        parts = sorted(
            line.partition(": ")[2]
            for line in second.run("stats", "--processes").lines
            if line.startswith("Process ") and ": " in line
        )
        assert parts == ["delivers", "only accepts", "would deliver next"]


def test_a_journal_whose_processes_have_ended(tmp_path: Path) -> None:
    with serving(tmp_path, courier="off") as site:
        site.post("a", "b")
        site.live()
        assert site.tool("crm")["state"] == "waiting"
    ran = run("stats", "--data-dir", str(tmp_path))
    assert ran.lines[0].startswith(f"{tmp_path}: 0 processes, journal journaled, 2 events kept (")
    assert ran.lines[1] == "No process delivers now; events are kept until a site or `eventmw worker` does."
    (crm,) = [line.split()[:3] for line in ran.lines if line.startswith("crm")]
    assert crm == ["crm", "waiting", "2"]
    assert not [*(tmp_path / "members").iterdir()], "the command leaves nothing of itself"


def test_a_site_that_went_over_to_memory_is_asked_itself(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a", "b")
    with serving(tmp_path, journal="memory") as site:
        site.post("c")
        site.live()
        assert site.run("stats", "--json").json["journal"]["durability"] == "memory"


def test_a_process_that_hangs_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    with serving(tmp_path) as first, serving(tmp_path) as second:
        first.post("a")
        second.post("b")
        first.live()
        second.live()
        first.process.send_signal(signal.SIGSTOP)
        ran = second.run("stats", "--json")
        assert ran.code == 0
        answered = {process["pid"]: process["stats"] is not None for process in ran.json["processes"]}
        assert answered == {first.process.pid: False, second.process.pid: True}
        assert f"Note: process {first.process.pid} does not answer" in ran.err


def test_watching_ends_well(tmp_path: Path) -> None:
    with serving(tmp_path, journal="memory") as site:
        site.post("a")
        site.live()
        with started("stats", "--watch", "--json", "--data-dir", str(tmp_path)) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["tools"]
            assert json.loads(process.stdout.readline())["tools"]
            assert process.stderr is not None
            site.process.kill()
            site.process.wait()
            assert process.stderr.readline() == "No site is running now.\n"
            with serving(tmp_path, journal="memory") as restarted:
                restarted.post("b", "c")
                while json.loads(process.stdout.readline())["journal"]["events"] != 2:
                    pass
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0


def test_a_pipe_gets_neither_colours_nor_cut_lines(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a")
        site.live()
        narrow = run("stats", "--data-dir", str(tmp_path), COLUMNS="40", FORCE_COLOR="")
        assert "\x1b" not in narrow.out
        assert narrow.lines[4].split() == ["Tool", "State", "Backlog", "Oldest", "Parked", "Dead", "Outcomes", "Reason"]


def test_a_tool_that_was_switched_off_says_so_and_why() -> None:
    tool: dict[str, Any] = {
        "state": "off", "next_probe_ms": None, "last_error": "its handle did not end within 30 s", "backlog_events": 3,
        "oldest_ms": None, "parked": 0, "dead": 1, "outcomes": {},
    }  # fmt: skip
    assert str(state(tool)) == "switched off"
    assert _row("crm", tool)[-1] == "its handle did not end within 30 s"


def test_a_process_that_shares_its_journal_tells_only_its_part(tmp_path: Path) -> None:
    """To count what stands in the folder takes a while; whoever asks does it once, not each process for it."""
    with serving(tmp_path, journal="file") as site:
        site.post("hello")
        site.live()
        process = LiveView(tmp_path).processes()[0]
        [figures] = ask(site.live(), {"op": "figures"})
        assert process["stats"].keys() == figures["stats"].keys() == {"not_ready", "stores", "cap_bytes", "tools"}
        assert all(tool.keys() == {"lane"} for tool in process["stats"]["tools"].values())


@pytest.mark.skipif(kind_of("/dev/shm") != "tmpfs", reason="needs a file system in memory")
def test_where_the_folder_lies_is_the_sites_to_say() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        with serving(Path(folder)) as site:
            site.post("a")
            site.live()
        ran = run("stats", "--data-dir", folder)
        assert (ran.code, ran.err) == (0, "")
