"""``eventmw tools`` and ``eventmw export``."""

from __future__ import annotations

import json
from pathlib import Path

from tests.running import run, serving, until


def test_who_is_configured_for_what_and_what_it_has_not_got(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a", "out")
        site.live()
        until(lambda: site.tool("hook")["state"] == "standing")
        listed = {tool["tool"]: tool for tool in map(json.loads, site.run("tools", "list", "--json").lines)}
        assert [*listed] == ["broken", "crm", "hook", "page", "slow"]
        assert listed["hook"]["processes"] == [site.process.pid]
        assert (listed["hook"]["backlog_events"], listed["crm"]["backlog_events"]) == (1, 0)
        table = site.run("tools", "list").lines
        assert table[0].split() == ["Tool", "Registered", "Backlog", "Parked", "Dead", "Configured", "by"]
        assert table[3].split()[0] == "hook"
        assert table[3].endswith(f"process {site.process.pid}")
    assert run("tools", "list", "--data-dir", str(tmp_path)).lines[1].endswith("nobody alive")


def test_a_tool_is_forgotten_with_what_it_has_not_got(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a", "out")
        until(lambda: site.tool("hook")["state"] == "standing")
        asked = site.run("tools", "forget", "hook", stdin="n\n")
        assert f"A running site is configured for it (process {site.process.pid})." in asked.err
        assert "Forget hook, and give up 1 event that it has not got?" in asked.err
        assert asked.out == "Nothing was changed.\n"
        unasked = site.run("tools", "forget", "hook")
        assert (unasked.code, "nobody answered, and nothing was changed. --yes does not ask." in unasked.err) == (
            1,
            True,
        )
        assert site.tool("hook")["backlog_events"] == 1
    where = ("--data-dir", str(tmp_path))
    ran = run("tools", "forget", "hook", "--yes", *where)
    assert ran.out == "hook is forgotten; 1 event given up.\n"
    assert "hook" not in run("tools", "list", *where).out
    gone = run("tools", "forget", "hook", "--yes", *where)
    assert (gone.code, gone.out) == (1, "")
    assert "no tool has the id hook; registered are: broken, crm, page, slow" in gone.err


def test_a_forgotten_tool_that_the_site_has_gets_what_comes_then(tmp_path: Path) -> None:
    """It is registered again, also when the one process there is leads: else nothing would ever reach it."""
    with serving(tmp_path) as site:
        site.post("a")
        until(lambda: site.tool("crm")["outcomes"] == {"delivered": 1})
        assert site.run("tools", "forget", "crm", "--yes").code == 0
        until(lambda: "crm" in site.run("tools", "list").out)
        site.post("b")
        until(lambda: site.tool("crm")["outcomes"] == {"delivered": 1})


def test_tools_of_a_journal_in_memory_end_with_it(tmp_path: Path) -> None:
    with serving(tmp_path, journal="memory") as site:
        site.post("a")
        listed = [json.loads(line)["tool"] for line in site.run("tools", "list", "--json").lines]
        assert sorted(listed) == ["broken", "crm", "hook", "page", "slow"]
        ran = site.run("tools", "forget", "hook", "--yes")
        assert (ran.code, "ends with its process" in ran.err) == (1, True)


def test_all_kept_events_are_exported(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a", "out", number=7)
        site.live()
        until(lambda: site.tool("crm")["backlog_events"] == 0)
        (only,) = map(json.loads, site.run("export", "--tool", "hook").lines)
        assert (only["name"], only["properties"]) == ("out", {"number": 7})
        assert site.run("export", "--tool", "nope").code == 1
    where = ("--data-dir", str(tmp_path))
    ran = run("export", *where)
    assert [json.loads(line)["name"] for line in ran.lines] == ["a", "out"]
    assert ran.err == "2 events written.\n"
    assert run("export", "--until", "1h", *where).lines == []
    assert len(run("export", "--since", "1h", *where).lines) == 2
    assert run("export", "--since", "2999-01-01", *where).lines == []
    told = run("export", "--tool", "hook", *where)
    assert told.code == 1
    assert "only a running site knows which events hook is to get" in told.err


def test_an_export_of_a_journal_in_memory(tmp_path: Path) -> None:
    with serving(tmp_path, journal="memory") as site:
        site.post("wait", "b")
        site.live()
        assert [json.loads(line)["name"] for line in site.run("export").lines] == ["wait", "b"]
