"""``eventmw tail`` on a site that runs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Site, serving, started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("tail")) as site:
        site.post("a", "b", "oops")
        site.post("c")
        site.post("forged\n2026 line\x1b[31m", note="x")
        yield site


def test_the_last_events_in_order(site: Site) -> None:
    ran = site.run("tail", "-n", "2")
    assert ran.code == 0
    assert [line.split("  ")[1] for line in ran.lines] == ["c", "forged\\n2026 line\\u001b[31m"]
    assert len(site.run("tail").lines) == 5
    assert site.run("tail", "-n", "0").out == ""


def test_json_lines_have_the_whole_event(site: Site) -> None:
    ran = site.run("tail", "--json")
    events = [json.loads(line) for line in ran.lines]
    assert [event["name"] for event in events] == ["a", "b", "oops", "c", "forged\n2026 line\x1b[31m"]
    assert events[-1]["properties"] == {"note": "x"}
    assert "\x1b" not in ran.out


def test_only_what_a_tool_is_to_get(site: Site) -> None:
    ran = site.run("tail", "--tool", "broken", "-n", "1")
    assert [line.split("  ")[1] for line in ran.lines] == ["oops"]
    unknown = site.run("tail", "--tool", "nope")
    assert unknown.code == 1
    assert "no tool 'nope'; the site's tools are: broken, crm, hook, page, slow" in unknown.err


def test_it_follows_and_ctrl_c_ends_it_well(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("before")
        site.live()
        with started("tail", "-f", "-n", "1", "--data-dir", str(tmp_path)) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert "before" in process.stdout.readline()
            site.post("after", "again")
            assert "after" in process.stdout.readline()
            assert "again" in process.stdout.readline()
            site.process.kill()
            site.process.wait()
            with serving(tmp_path) as restarted:
                restarted.post("reborn")
                assert "reborn" in process.stdout.readline()
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 0
                assert process.stderr.read() == ""


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_reader_that_has_seen_enough_is_no_error(site: Site, form: tuple[str, ...]) -> None:
    with started("tail", "-f", *form, "--data-dir", str(site.data_dir)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        site.post("more")
        assert process.wait(30) in {0, 1}
        assert process.stderr.read() == ""


def test_many_events_are_read_page_by_page(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        for number in range(250):
            site.post(f"e{number}", "oops")
        ran = site.run("tail", "-n", "3", "--json")
        assert [json.loads(line)["name"] for line in ran.lines] == ["oops", "e249", "oops"]
        ran = site.run("tail", "-n", "1000", "--tool", "broken", "--json")
        assert len(ran.lines) == 250
