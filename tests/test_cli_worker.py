"""``eventmw worker``: what it says of a memory journal, and delivery in the foreground with a journal of the test's."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, ended, environment, run


def test_a_memory_journal_leaves_nothing_to_deliver(tmp_path: Path) -> None:
    path = tmp_path / "eventmw.toml"
    path.write_text('path = "/x-7f3a"\n[[tools]]\ntype = "console"\n')
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
    assert run("worker", str(tmp_path / "missing.toml")).code == 2


WORKER = """
import sys
from eventmw import consumer, record
from eventmw.cli.worker import deliver
from eventmw.config import Config
from eventmw.intake.door import Visit
from eventmw.payload import payload
from eventmw.runtime import Runtime

@consumer("crm")
def crm(event):
    print("begun", event.name, flush=True)
    if event.name == "wait":
        sys.stdin.readline()
    print("done", event.name, flush=True)

runtime = Runtime(Config(consumers=[crm]))
for name in sys.argv[2:]:
    accepted = runtime.accept(payload(name), Visit("anonymous", "", None, "", None, None)).record
    runtime.journal.append(record.encode(accepted), events=1, recorded_ms=accepted.recorded_ms, stamp=0)
drained = deliver(runtime.journal, runtime.engine, runtime.transport, grace_s=float(sys.argv[1]), progress_s=0.1)
sys.exit(0 if drained else 3)
"""


@contextlib.contextmanager
def working(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, *arguments],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ended(process):
        yield process


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if words in line:
            return lines
    raise AssertionError(f"{words!r} is not in {lines}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_delivers_until_it_is_told_to_stop(number: signal.Signals) -> None:
    with working("10", "a", "b") as process:
        assert read_until(process, "Delivering")[-1] == "Delivering to crm. Ctrl-C ends it."
        read_until(process, "crm: 0 events to go, 0 parked, 0 dead; so far delivered 2")
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert out.splitlines()[-1] == "Stopped; nothing is under way."
        assert (process.returncode, err) == (0, "")


def test_what_is_under_way_is_waited_for() -> None:
    with working("20", "wait") as process:
        read_until(process, "begun wait")
        process.send_signal(signal.SIGTERM)
        read_until(process, "Stopping; what is under way has 20 s.")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
        out, _ = process.communicate("go on\n", timeout=30)
        assert "done wait" in out
        assert out.splitlines()[-1] == "Stopped; nothing is under way."
        assert process.returncode == 0


def test_what_takes_too_long_is_left_for_the_next_start() -> None:
    with working("0.1", "wait") as process:
        read_until(process, "begun wait")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 3
        assert "goes out again at the next start" in read_until(process, "Stopped")[-1]
