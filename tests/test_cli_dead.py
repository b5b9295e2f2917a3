"""``eventmw dead`` on a site whose tool always fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.running import Site, run, serving, until


def bury(site: Site, number: int) -> list[str]:
    """Have that many events given up; return their ids."""
    site.post(*["oops"] * number)
    until(lambda: site.tool("broken")["dead"] == number)
    return [json.loads(line)["id"] for line in site.run("dead", "list", "--json").lines]


def test_list_retry_and_drop(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("fine")
        site.live()
        assert site.run("dead", "list").out == "There are no dead letters.\n"
        first, second, third = bury(site, 3)

        table = site.run("dead", "list", "--tool", "broken")
        assert table.lines[0].split("  ")[0] == "Tool"
        assert first in table.lines[1]
        assert "tool_error: handle raised ValueError" in table.lines[1]
        assert site.run("dead", "list", "--tool", "crm", "--json").out == ""
        assert "no tool 'nope'" in site.run("dead", "retry", "--all", "--tool", "nope").err
        letter = json.loads(site.run("dead", "list", "--json").lines[0])
        assert letter["event"]["name"] == "oops"
        assert letter["tool"] == "broken"

        before = site.tool("broken")["outcomes"]["tool_error"]
        retried = site.run("dead", "retry", "--id", first, "--id", second)
        assert (retried.code, retried.out) == (0, "2 dead letters will be tried again.\n")
        until(lambda: site.tool("broken")["outcomes"]["tool_error"] == before + 2)
        assert site.tool("broken")["dead"] == 3, "they failed again, and were buried again"

        unsure = site.run("dead", "drop", "--id", third, stdin="n\n")
        assert "Nothing was thrown away." in unsure.out
        assert "Throw away 1 dead letter for good?" in unsure.err
        assert site.tool("broken")["dead"] == 3
        sure = site.run("dead", "drop", "--id", third, stdin="y\n")
        assert "1 dead letter thrown away." in sure.out
        assert site.run("dead", "drop", "--all", "--yes", "--json").json == {"dropped": 2}
        assert site.tool("broken")["dead"] == 0


def test_an_id_that_is_not_there(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        (ident,) = bury(site, 1)
        ran = site.run("dead", "retry", "--id", ident, "--id", "nope")
        assert ran.code == 1
        assert "1 dead letter will be tried again." in ran.out
        assert "no dead letter has an id that is or begins with nope." in ran.err


@pytest.mark.parametrize("action", [("retry",), ("drop", "--yes")])
def test_the_beginning_of_an_id_is_enough_when_only_one_begins_so(tmp_path: Path, action: tuple[str, ...]) -> None:
    with serving(tmp_path) as site:
        first, second = bury(site, 2)
        shared = first[: next(at for at, (one, other) in enumerate(zip(first, second, strict=True)) if one != other)]
        unsure = site.run("dead", *action, "--id", shared)
        assert (unsure.code, unsure.out) == (1, "")
        assert f"2 ids begin with {shared}: {first}, {second}. Write more of the one that is meant." in unsure.err
        sure = site.run("dead", *action, "--id", first[: len(shared) + 1])
        assert (sure.code, sure.out.startswith("1 dead letter ")) == (0, True)
        nothing = site.run("dead", *action, "--id", "nope")
        assert (nothing.code, nothing.out) == (1, "")


@pytest.mark.parametrize("action", ["retry", "drop"])
def test_which_ones_must_be_said(action: str) -> None:
    ran = run("dead", action)
    assert ran.code == 2
    assert "--all" in ran.err
