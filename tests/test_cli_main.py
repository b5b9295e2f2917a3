"""The commands as a whole: help, the choice of the data directory, and how they speak."""

from __future__ import annotations

import os
import pwd
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw import Tracker, __version__
from eventmw.cli.output import plain, span
from eventmw.journal.files import FileJournal
from tests.running import open_to_all, run

BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
COMMANDS = (
    "check",
    "openapi",
    "send",
    "tail",
    "stats",
    "dead",
    "replay",
    "export",
    "tools",
    "erase",
    "worker",
    "project",
    "keys",
    "new-secret",
)


def test_the_help_names_every_command_in_one_line_each() -> None:
    ran = run("--help")
    assert ran.code == 0
    for name in COMMANDS:
        (line,) = [line for line in ran.lines if line.startswith(f"  {name} ")]
        assert not line.endswith("...")


@pytest.mark.parametrize(
    "name",
    [
        *COMMANDS,
        *("dead list", "dead retry", "dead drop"),
        *(f"project {name}" for name in ("create", "list", "delete", "reset", "account")),
        *(f"keys {name}" for name in ("create", "list", "revoke", "reset")),
    ],
)
def test_each_command_has_a_help_that_fits(name: str) -> None:
    ran = run(*name.split(), "--help", COLUMNS="80")
    assert ran.code == 0
    assert all(len(line) <= 80 for line in ran.lines)


def test_the_version() -> None:
    assert run("--version").out == f"eventmw {__version__}\n"


def test_an_unknown_command_is_a_wrong_use() -> None:
    assert run("nonsense").code == 2


@pytest.mark.parametrize(
    "arguments", [("stats",), ("tail",), ("dead", "list"), ("dead", "retry", "--all"), ("replay", "--tool", "x")]
)
def test_nobody_is_live(arguments: tuple[str, ...], tmp_path: Path) -> None:
    for ran, folder in (
        (run(*arguments, cwd=tmp_path), tmp_path / "eventmw-data"),
        (run(*arguments, EVENTMW_DATA_DIR=str(tmp_path / "by-variable")), tmp_path / "by-variable"),
        (
            run(*arguments, "--data-dir", str(tmp_path / "named"), EVENTMW_DATA_DIR="elsewhere"),
            tmp_path / "named",
        ),
    ):
        assert (ran.code, ran.out) == (1, "")
        assert f"{folder} has no events: no site has kept any there" in ran.err


def test_the_folder_beside_the_data_directory_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "eventmw-data").mkdir()
    ran = run("stats", "--data-dir", str(tmp_path))
    assert (ran.code, f"{tmp_path / 'eventmw-data'} may be meant." in ran.err) == (1, True)


@given(st.text(st.characters(codec="utf-8") | st.sampled_from(BIDIRECTIONAL + "\x1b\n\x9b\u2028")))
def test_nothing_printed_moves_a_cursor(text: str) -> None:
    shown = plain(text)
    assert not any(unicodedata.category(char) in {"Cc", "Zl", "Zp"} or char in BIDIRECTIONAL for char in shown)
    assert shown == text or not text.isprintable()


@given(st.floats(0, 10**7))
def test_a_length_of_time_is_short(seconds: float) -> None:
    number, unit = span(seconds).split()
    assert unit in {"s", "min", "h", "d"}
    assert int(number) * {"s": 1, "min": 60, "h": 3600, "d": 86_400}[unit] <= seconds


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_root_acts_as_the_user_that_the_site_runs_as() -> None:
    with open_to_all() as opened:
        journal = FileJournal(opened / "data")
        journal.register(["crm"])
        journal.leave()
        nobody = pwd.getpwnam("nobody")
        for path in (opened / "data", *(opened / "data").rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        assert run("replay", "--tool", "crm", "--yes", "--no-wait", "--data-dir", str(opened / "data")).code == 0
        owners = {path.stat().st_uid for path in (opened / "data").rglob("*")}
        assert owners == {nobody.pw_uid}, "what root had written, the site could not read"


def test_an_output_that_lacks_a_character_shows_its_escape(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path)
    journal.register(["crm"])
    journal.close(0)
    journal.leave()
    with Tracker(tmp_path) as tracker:
        tracker.track("café", {"x": "😀"})
    ran = run("tail", "--data-dir", str(tmp_path), PYTHONIOENCODING="ascii")
    assert (ran.code, ran.out.isascii()) == (0, True), ran.err
    assert r"caf\u00e9" in ran.out
    assert r"\ud83d\ude00" in ran.out
