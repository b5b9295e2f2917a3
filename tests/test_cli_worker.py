"""``eventmw worker``: delivery in the foreground of what sites accepted, and what it says of a memory journal."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import command, ended, environment, run, until


def test_a_memory_journal_leaves_nothing_to_deliver(tmp_path: Path) -> None:
    path = tmp_path / "eventmw.toml"
    path.write_text('path = "/x-7f3a"\njournal = "memory"\n[[tools]]\ntype = "console"\n')
    ran = run("worker", str(path))
    assert (ran.code, ran.out) == (2, "")
    assert "There is nothing that a worker could deliver" in ran.err
    assert 'courier="thread"' in ran.err


def test_a_configuration_with_problems(tmp_path: Path) -> None:
    path = tmp_path / "eventmw.toml"
    path.write_text('path = "/"\n')
    ran = run("worker", str(path))
    assert ran.code == 1
    assert "path / is the site's own front page" in ran.err
    missing = run("worker", str(tmp_path / "missing.toml"))
    assert (missing.code, "cannot be read: No such file" in missing.err) == (1, True)
    (empty := tmp_path / "empty").mkdir()
    nothing = run("worker", cwd=empty)
    assert (nothing.code, "There is no eventmw.toml here" in nothing.err) == (2, True)


def test_a_module_that_cannot_be_imported() -> None:
    ran = run("worker", "no_such_site:app")
    assert (ran.code, "no_such_site:app cannot be imported: ModuleNotFoundError" in ran.err) == (1, True)


FILES = {"EVENTMW_JOURNAL": "file", "EVENTMW_DATA_DIR": "data"}
OWN = """
import sys
from pathlib import Path
from typing import Any
from eventmw import consumer

def say(words):  # in one write: others speak at the same time
    print(words + "\\n", end="", flush=True)

@consumer("crm")
def crm(event):
    say(f"begun {event.name}")
    if event.name == "wait":
        sys.stdin.readline()
    say(f"done {event.name}")

@consumer("slow")
def slow(event):
    pass
"""
CONFIG = """
path = "/zaraz/api"
courier = "off"

[[consumers]]
type = "own:crm"

[[consumers]]
type = "own:slow"
"""


SITE = """
from eventmw import EventsMiddleware
from own import crm, slow

async def bare(scope, receive, send): pass

app = EventsMiddleware(bare, path="/zaraz/api", consumers=[crm, slow], courier="off")
"""


@contextlib.contextmanager
def working(folder: Path, grace_s: float = 10, source: str = "eventmw.toml") -> Iterator[subprocess.Popen[str]]:
    """Run a worker on what a site has accepted, which is configured as it is."""
    (folder / "shop.py").write_text(SITE)
    (folder / "own.py").write_text(OWN)
    (folder / "eventmw.toml").write_text(CONFIG)
    process = subprocess.Popen(
        command("worker", *filter(None, [source]), "--grace", f"{grace_s:g}"),
        cwd=folder,
        env=environment(**FILES),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ended(process):
        yield process


def track(folder: Path, *names: str) -> None:
    """Have events accepted, as a site does that delivers nothing itself."""
    (folder / "own.py").write_text(OWN)
    (folder / "eventmw.toml").write_text(CONFIG)
    code = (
        "import sys; from eventmw import EventsMiddleware\n"
        "async def site(scope, receive, send): pass\n"
        "app = EventsMiddleware.from_config(site, 'eventmw.toml')\n"
        "for name in sys.argv[1:]: app.track(name)\n"
        "app.close(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, *names], cwd=folder, env=environment(**FILES), check=True, timeout=60)


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if words in line:
            return lines
    raise AssertionError(f"{words!r} is not in {lines}")


@pytest.mark.parametrize(
    ("number", "source"), [(signal.SIGTERM, "eventmw.toml"), (signal.SIGINT, ""), (signal.SIGTERM, "shop:app")]
)
def test_it_delivers_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals, source: str) -> None:
    track(tmp_path, "a", "b")
    with working(tmp_path, source=source) as process:
        assert read_until(process, "Delivering")[-1] == "Delivering to crm, slow. Ctrl-C ends it."
        read_until(process, "done b")
        until(lambda: delivered(tmp_path, "crm") == 2)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert any("crm: 0 events to go, 0 parked, 0 dead; so far delivered 2" in line for line in out.splitlines())
        assert out.splitlines()[-1] == "Stopped; nothing is under way."
        assert (process.returncode, err) == (0, "")


def test_what_is_under_way_is_waited_for(tmp_path: Path) -> None:
    track(tmp_path, "wait")
    with working(tmp_path, 20) as process:
        read_until(process, "begun wait")
        process.send_signal(signal.SIGTERM)
        read_until(process, "Stopping; what is under way has 20 s.")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        out, _ = process.communicate("go on\n", timeout=30)
        assert "done wait" in out
        assert out.splitlines()[-1] == "Stopped; nothing is under way."
        assert process.returncode == 0


def test_what_takes_too_long_goes_out_at_the_next_start(tmp_path: Path) -> None:
    track(tmp_path, "wait")
    with working(tmp_path, 0.1) as process:
        read_until(process, "begun wait")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 1
        assert "goes out again at the next start" in read_until(process, "Stopped")[-1]
    with working(tmp_path) as process:
        read_until(process, "begun wait")


def test_another_takes_over_from_one_that_is_killed(tmp_path: Path) -> None:
    track(tmp_path, "a")
    with working(tmp_path) as first:
        read_until(first, "done a")
        with working(tmp_path) as second:
            read_until(second, "Delivering")
            assert leader(tmp_path) == first.pid
            until(lambda: len(stats(tmp_path)["processes"]) == 2)
            first.send_signal(signal.SIGKILL)
            first.wait(30)
            track(tmp_path, "b")
            assert "begun b" in read_until(second, "done b"), "and a is not done again"
            assert leader(tmp_path) == second.pid
            assert stats(tmp_path)["tools"]["crm"]["state"] == "flowing", "a worker tells how its lanes do"
            second.send_signal(signal.SIGTERM)
            assert second.wait(30) == 0


def stats(folder: Path) -> Any:
    return run("stats", "--json", "--data-dir", str(folder / "data")).json


def delivered(folder: Path, tool: str) -> int:
    return int(stats(folder)["tools"][tool]["outcomes"].get("delivered", 0))


def leader(folder: Path) -> int:
    return int(stats(folder)["journal"]["leader_pid"])
