"""Tools that wait in the journal and that nobody who delivers knows: said once, and again when they are others."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from eventmw.delivery.strangers import Strangers
from eventmw.journal import ToolStats
from tests.running import environment, serving, until


def waiting(tool: str, backlog: int = 0, parked: int = 0) -> ToolStats:
    return ToolStats(
        tool=tool,
        backlog_records=backlog,
        backlog_events=backlog,
        backlog_bytes=backlog,
        oldest_ms=None,
        parked=parked,
        dead=0,
        counts={},
    )


def test_what_waits_and_is_not_known_is_told_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    strangers = Strangers(["crm"])

    def told(*tools: ToolStats) -> list[str]:
        caplog.clear()
        strangers.look(tools)
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    assert told(waiting("crm", 5), waiting("idle")) == []
    (first,) = told(waiting("crm", 5), waiting("b", 2, 1), waiting("a", 0, 1))
    assert "data_dir: a (1), b (3). " in first
    assert "a data_dir of its own" in first
    assert "`eventmw tools forget ID`" in first
    assert told(waiting("b", 9, 1), waiting("a", 0, 4)) == [], "more of the same is nothing new"
    assert len(told(waiting("b", 9, 1))) == 1
    assert told(waiting("b")) == []
    assert len(told(waiting("b", 1))) == 1


def test_commands_say_that_who_delivers_does_not_know_a_tool(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("a")
        until(lambda: site.tool("crm")["backlog_events"] == 0)
        other = (
            "from eventmw import EventsMiddleware\n"
            "from eventmw.tools import Console\n"
            "async def bare(scope, receive, send): pass\n"
            f"app = EventsMiddleware(bare, path='/zaraz/api', tools=[Console(id='theirs')], data_dir={str(tmp_path)!r},\n"
            "    courier='off')\n"
            "app.track('b')\n"
            "app.close(0)\n"
        )
        subprocess.run([sys.executable, "-c", other], env=environment(EVENTMW_JOURNAL="file"), check=True, timeout=60)
        assert site.tool("theirs")["unknown_to"] == site.process.pid
        assert site.tool("crm")["unknown_to"] is None
        row = next(line for line in site.run("stats").lines if line.startswith("theirs"))
        assert f"process {site.process.pid} delivers, and its configuration does not have theirs" in row
        assert "`eventmw tools forget theirs`" in row
        listed = next(line for line in site.run("tools", "list").lines if line.startswith("theirs"))
        assert listed.endswith(f"nobody alive; not {site.process.pid}, which delivers: its own data_dir, or forget it")
        assert site.process.stderr is not None
        said = next(line for line in site.process.stderr if "its configuration has no tool" in line)
        assert "theirs (1)" in said
