"""How commands look on a terminal, which here is a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator

import pytest

from eventmw.cli.output import age, count, sizes
from tests.running import Site, command, environment, serving, until

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("shop")) as site:
        site.post("a", "oops", "out")
        until(lambda: site.tool("broken")["dead"] == 1)
        until(lambda: site.tool("hook")["state"] == "standing")
        yield site


def on_terminal(site: Site, *arguments: str, columns: int, **more: str) -> str:
    """Return what a command writes to a terminal."""
    ours, theirs = pty.openpty()
    env = environment(COLUMNS=str(columns), TERM="xterm", EVENTMW_DATA_DIR=str(site.data_dir), **more)
    if "NO_COLOR" not in more:
        env.pop("NO_COLOR", None)
    process = subprocess.Popen(command(*arguments), env=env, stdout=theirs, stdin=theirs)
    os.close(theirs)
    written = b""
    try:
        while data := os.read(ours, 65536):
            written += data
    except OSError:  # Linux says so when the last writer is gone
        pass
    os.close(ours)
    assert process.wait(30) == 0
    return written.decode().replace("\r\n", "\n")


def table_of(shown: str) -> list[str]:
    """Return what is shown from the heading of the table on."""
    lines = shown.splitlines()
    return lines[next(at for at, line in enumerate(lines) if line.startswith("Tool ")) :]


def test_a_table_where_there_is_room(site: Site) -> None:
    shown = COLOURS.sub("", on_terminal(site, "stats", columns=100))
    table = table_of(shown)
    assert table[0].split() == ["Tool", "State", "Backlog", "Oldest", "Parked", "Dead", "Outcomes"]
    assert all(len(line) <= 100 for line in table)


@pytest.mark.parametrize("columns", [80, 60, 40])
def test_what_is_copied_is_never_broken(site: Site, columns: int) -> None:
    (letter,) = map(json.loads, site.run("dead", "list", "--json").lines)
    shown = COLOURS.sub("", on_terminal(site, "dead", "list", columns=columns))
    assert letter["id"] in shown
    assert letter["buried"][:19] + "Z" in shown
    assert "  Reason: tool_error: handle raised" in shown
    hook = COLOURS.sub("", on_terminal(site, "stats", columns=columns))
    assert re.search(r"standing until \d\d:\d\d:\d\d|trying again", hook)
    assert "  Reason: no connection: 127.0.0.1;" in hook
    assert not any(line.endswith(" ") for text in (shown, hook) for line in text.splitlines())


def test_the_last_column_goes_below_where_there_is_little(site: Site) -> None:
    shown = COLOURS.sub("", on_terminal(site, "stats", columns=66))
    lines = table_of(shown)
    assert lines[0].split() == ["Tool", "State", "Backlog", "Oldest", "Parked", "Dead"]
    assert "  Outcomes: filtered 2, tool_error 1" in lines


def test_blocks_where_there_is_little(site: Site) -> None:
    shown = COLOURS.sub("", on_terminal(site, "stats", columns=40))
    lines = shown.splitlines()
    block = lines[lines.index("broken") : lines.index("hook")]
    assert block == [
        "broken",
        "  State: flowing",
        "  Outcomes: filtered 2, tool_error 1",
        "  Reason: filtered 2: its `when` did not",
        "  match; tool_error 1: handle raised",
        "  ValueError: always (cli_site.py:30 in",
        '  broken: raise ValueError("always"))',
        "  Backlog 0, Oldest -, Parked 0, Dead 1",
    ]


def test_colours_unless_they_are_not_wanted(site: Site) -> None:
    assert COLOURS.search(on_terminal(site, "stats", columns=100)) is not None
    plain = on_terminal(site, "stats", columns=100, NO_COLOR="1")
    assert re.search(r"\x1b\[3[0-9]m", plain) is None, "no colour; bold may stay"


def test_numbers_for_people() -> None:
    assert count(1, "event") == "1 event"
    assert count(1200, "event") == "1,200 events"
    assert count(2, "process", "processes") == "2 processes"
    assert sizes(613) == "613 bytes"
    assert sizes(3 * 1024 * 1024 // 2) == "1.5 MiB"
    assert age(1000, 61_000) == "60 s"
    assert age(1000, 121_000) == "2 min"
