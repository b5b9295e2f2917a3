"""Tracking and prefixes in a Django project by settings, which are global to a process: each question has one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.visitors import SYSTEM

ROOT = Path(__file__).parent.parent


def run(what: str, folder: Path, **env: str) -> tuple[Any, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.sites.django_track", what],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(folder), **env},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout), ran.stderr


def test_a_management_command_or_a_task_makes_the_site_of_the_settings(tmp_path: Path) -> None:
    [[name, _, properties, _]], _ = run("track_in_a_command", tmp_path)
    assert (name, properties) == ("nightly", {"n": 1})


def test_what_is_rolled_back_is_not_tracked_on_commit(tmp_path: Path) -> None:
    events, _ = run("rollback", tmp_path)
    assert [event[2] for event in events] == [{"fails": 0}]


def test_its_requests_are_read_under_both_interfaces(tmp_path: Path) -> None:
    (under_wsgi, under_asgi, by_hand), _ = run("requests", tmp_path)
    page = "https://www.shop.example/shop/{}caf%C3%A9%20x?id=7&b=%20"
    for event, prefix in ((under_wsgi, ""), (under_asgi, "a")):
        assert event[1] == "u-1"
        assert event[3] == {
            "cookies": SYSTEM["cookies"],
            "device": {**SYSTEM["device"], "ip": "198.51.100.1"},
            "page": {**SYSTEM["page"], "url": page.format(prefix)},
        }
    assert by_hand[3]["device"] == {"user-agent": "by hand"}


@pytest.mark.parametrize(
    ("mounted", "answers"),
    [("0", [200, 404, 404, 404, 404]), ("1", [200, 200, 405, 404, 404])],
)
def test_prefixes(mounted: str, answers: list[int], tmp_path: Path) -> None:
    told, said = run("prefixes", tmp_path, MOUNTED=mounted)
    assert told == [[answer, answer] for answer in answers]
    hints = [line for line in said.splitlines() if "below the prefix" in line]
    assert len(hints) == (mounted == "0")
    assert all("Set path='/shop/zaraz/api', or mounted=True" in line for line in hints)
