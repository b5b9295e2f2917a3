"""``eventmw erase`` on sites that run, and on a folder that nobody has open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.running import Ran, Site, run, serving, until


def names(ran: Ran) -> list[str]:
    """Return the names of the events that an export holds."""
    return [event["name"] for event in map(json.loads, ran.lines)]


def of_two_people(site: Site) -> None:
    site.post("a", "out", "oops", user_id="ann")
    site.post("b", user_id="bob")
    site.live()
    until(lambda: site.tool("broken")["dead"] == 1)


def erased(site: Site) -> None:
    found = site.run("erase", "ann", "--dry-run")
    assert found.out == "There are 3 events in 1 record, 0 parked events, 1 dead letter.\n"
    assert names(site.run("export")) == ["a", "out", "oops", "b"]
    assert site.run("erase", "ann", "--yes", "--json").json == {"records": 1, "parked": 0, "dead": 1}
    exported = site.run("export")
    assert names(exported) == ["b"], "of one that was erased, nothing is left"
    assert exported.err == "1 event written; 3 more were erased, and are left out.\n"
    assert site.run("dead", "list").out == "There are no dead letters.\n"
    again = site.run("erase", "ann", "--yes")
    words = "user_id, userId, customer_id, customerId, email or customer_identifier"
    assert again.lines == [f"Nothing is there of them: no event has that value as {words}."]


def test_a_person_is_erased_while_a_site_runs(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        of_two_people(site)
        erased(site)
        site.post("c", user_id="ann")
        assert names(site.run("export")) == ["b", "c"], "who comes again is there again"


def test_a_person_is_erased_where_no_site_runs(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        of_two_people(site)
    ran = run("erase", "ann", "--yes", "--json", "--data-dir", str(tmp_path))
    assert ran.json == {"records": 1, "parked": 0, "dead": 1}
    assert not any(b"ann" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert not [*(tmp_path / "members").iterdir()]
    with serving(tmp_path) as site:
        site.post("c")
        until(lambda: site.tool("crm")["backlog_events"] == 0)
        site.run("replay", "--tool", "crm", "--yes")
        assert names(site.run("export")) == ["b", "c"], "a replay brings nobody back"


@pytest.mark.parametrize("answer", ["y\n", "n\n"])
def test_it_asks_first(tmp_path: Path, answer: str) -> None:
    with serving(tmp_path) as site:
        of_two_people(site)
        ran = site.run("erase", "ann", stdin=answer)
        assert ran.code == 0
        assert "There are 3 events in 1 record" in ran.out
        assert ("Nothing was erased." in ran.err) == (answer == "n\n")
        assert ("ann" in site.run("export").out) == (answer == "n\n")


def test_fields_are_those_of_the_site_or_those_given(tmp_path: Path) -> None:
    with serving(tmp_path, person_fields="visitor") as site:
        site.post("a", visitor="v-7")
        site.live()
        assert "There are 0 events" not in site.run("erase", "v-7", "--dry-run").out
        assert "Nothing is there of them" in site.run("erase", "v-7", "--dry-run", "--field", "user_id").out
        assert "as visitor." in site.run("erase", "nobody", "--dry-run").out
        by_path = site.run("erase", "v-7", "--yes", "--json", "--field", "user_id", "--field", "client.visitor")
        assert by_path.json["records"] == 1


def test_a_journal_in_memory(tmp_path: Path) -> None:
    with serving(tmp_path, journal="memory") as site:
        site.post("oops", user_id="ann")
        site.post("wait", user_id="ann")
        until(lambda: site.tool("broken")["dead"] == 1)
        assert site.run("erase", "ann", "--dry-run").out.startswith("There are ")
        assert site.run("erase", "ann", "--yes", "--json").json["dead"] == 1
        assert site.run("dead", "list").out == "There are no dead letters.\n"


def test_nobody_without_a_name_is_everybody(tmp_path: Path) -> None:
    ran = run("erase", "", "--data-dir", str(tmp_path))
    assert (ran.code, "VALUE is empty" in ran.err) == (2, True)
