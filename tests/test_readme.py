"""The README shows only what was run: its code blocks run here, and its tables name what there is."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventmw.cli import main
from eventmw.config import Config
from eventmw.errors import PROBLEMS
from eventmw.outcome import OUTCOME_KINDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def block(language: str, holds: str) -> str:
    (found,) = [str(code) for kind, code in BLOCKS if kind == language and holds in code]
    return found


@pytest.mark.parametrize("code", PYTHON, ids=[code.splitlines()[0] for code in PYTHON])
def test_each_python_block_runs_by_itself(code: str, tmp_path: Path) -> None:
    (tmp_path / "block.py").write_text(code)
    ran = subprocess.run(
        [sys.executable, "block.py"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The README's own site under the README's own command, on a free port."""
    (tmp_path / "mysite.py").write_text(block("python", "# mysite.py"))
    with served(tmp_path, block("sh", "uvicorn mysite:app").split()) as address:
        yield address


@contextmanager
def served(folder: Path, command: list[str]) -> Iterator[str]:
    """Serve a site on a free port of this machine, from a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", *command, "--port", str(port)], cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and server.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def test_the_curl_command_gets_the_answer_that_is_shown(site: str) -> None:
    command = block("sh", "zaraz/api -H").replace("http://127.0.0.1:8000", site)
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    got, shown = json.loads(ran.stdout), json.loads(block("json", '"results"'))
    assert got["results"] == shown["results"]
    assert got["receipt"].keys() == shown["receipt"].keys()
    assert {key: got["receipt"][key] for key in ("durability", "accepted", "rejected")} == {
        key: shown["receipt"][key] for key in ("durability", "accepted", "rejected")
    }


def test_the_walk_from_nothing_to_a_chart_works_word_by_word(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(block("python", "# shop.py"))
    walk = block("sh", "eventmw project create")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "eventmw").write_text(f'#!/bin/sh\nexec {sys.executable} -m eventmw "$@"\n')
    (bin_folder / "eventmw").chmod(0o755)
    environment = {**ENVIRONMENT, "PATH": f"{bin_folder}:{os.environ['PATH']}", "COLUMNS": "100"}
    environment.pop("EVENTMW_DATA_DIR", None)
    with served(tmp_path, ["uvicorn", "shop:app"]) as address:
        before, ask, after = re.split(
            r"^(eventmw query .* --chart\n)", walk.replace("http://127.0.0.1:8000", address), flags=re.MULTILINE
        )
        # A person is two seconds slower than a script: that is how long the archive may take.
        waiting = f"until {ask.strip()} 2>&1 | grep -q pro; do sleep 0.1; done\n"
        script = f"set -e\n{before}\n{waiting}{ask}{after}"
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        link, iframe = ran.stdout.splitlines()[-2:]
        with urllib.request.urlopen(link, timeout=30) as reply:
            page = reply.read().decode()
    assert len(walk.splitlines()) == 5
    assert json.loads(re.findall(r"^{.*}", ran.stdout, re.MULTILINE)[0]).keys() == {"unique_req_id", "time_recorded"}
    assert "pro" in ran.stdout.rpartition("}")[2]
    assert f'<iframe src="{link}"' in iframe
    assert page.startswith("<!doctype html>")
    assert "pro" in page


def named_in(text: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", text))


def test_every_outcome_and_setting_is_named() -> None:
    assert set(OUTCOME_KINDS) <= named_in(README)
    assert {field.name for field in dataclasses.fields(Config)} <= named_in(README)


def test_every_command_is_named() -> None:
    shown = set(re.findall(r"`eventmw ([\w-]+)", README))
    assert set(main.list_commands(main.make_context("eventmw", ["--help"], resilient_parsing=True))) == shown


def test_every_problem_code_is_documented() -> None:
    assert set(PROBLEMS) <= named_in((ROOT / "docs" / "protocol.md").read_text())


def test_every_link_to_a_file_leads_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
