"""Log lines that name eventmw, whatever the site does with its logging: each case is a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

SITE = """
import logging, sys
{setup}
from eventmw import EventsMiddleware
EventsMiddleware(lambda environ, start: [])
EventsMiddleware(lambda environ, start: [])
log = logging.getLogger("eventmw.delivery.courier")
log.warning("tool %s stands still: %s", "crm", "100% conflict")
log.info("quiet")
logging.getLogger("shop").warning("not ours")
"""
LINE = "tool crm stands still: 100% conflict"


def printed(setup: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SITE.format(setup=setup)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()


def basic(form: str) -> str:
    return f"logging.basicConfig(format={form!r})"


@pytest.mark.parametrize(
    ("setup", "line"),
    [
        (basic("%(levelname)s %(message)s"), f"WARNING eventmw: {LINE}"),
        ("logging.basicConfig(format='{levelname} {message}', style='{')", f"WARNING eventmw: {LINE}"),
        ("logging.getLogger().addHandler(logging.StreamHandler())", f"eventmw: {LINE}"),
        ("logging.basicConfig()", f"WARNING:eventmw.delivery.courier:{LINE}"),
        (basic("%(name)s %(message)s"), f"eventmw.delivery.courier {LINE}"),
        ("logging.basicConfig(format='{name} {message}', style='{')", f"eventmw.delivery.courier {LINE}"),
    ],
)
def test_a_line_names_eventmw_once_where_handlers_are_configured(setup: str, line: str) -> None:
    ours, theirs = printed(setup)
    assert ours == line
    assert theirs.endswith("not ours")
    assert "eventmw" not in theirs


def test_a_line_has_time_level_and_name_where_nothing_is_configured() -> None:
    ours, theirs = printed("")
    assert ours.endswith(f" WARNING eventmw: {LINE}")
    assert ours[:2] == "20"
    assert theirs == "not ours"


def test_a_site_that_wants_no_last_resort_gets_none() -> None:
    assert LINE not in "".join(printed("logging.lastResort = None"))


def test_a_format_of_the_sites_own_is_left_alone() -> None:
    setup = (
        "class Own(logging.Formatter):\n"
        "    def format(self, record): return f'own {record.name} {record.getMessage()}'\n"
        "handler = logging.StreamHandler(); handler.setFormatter(Own()); logging.getLogger().addHandler(handler)"
    )
    assert printed(setup)[0] == f"own eventmw.delivery.courier {LINE}"
