"""Real sites and real commands, each in a process of its own."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from eventmw.control.sockets import is_answered
from tests.warm import Warm

ROOT = Path(__file__).parent.parent
PATIENCE_S = 30.0
_T = TypeVar("_T")


def until(found: Callable[[], _T | None]) -> _T:
    """Return what `found` returns as soon as it is true; fail when that takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.02)
    raise AssertionError(f"{found} did not come true within {PATIENCE_S:g} s")


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@contextlib.contextmanager
def open_to_all() -> Iterator[Path]:
    """Make a folder that other users can enter, as no folder of pytest's can: each run closes those of all runs."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "PYTHONWARNINGS": "error", **more}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "eventmw", *arguments]


@functools.cache
def warm() -> Warm:
    """Return the process that commands are forked from, which starts when it is first needed."""
    return Warm(environment(), ROOT)


def run(*arguments: str, stdin: str = "", cwd: Path | None = None, **env: str) -> Ran:
    """Run a command to its end, in a process that was forked from a warm one when the interpreter itself asks for nothing."""
    if any(name.startswith("PYTHON") for name in env):
        done = subprocess.run(
            command(*arguments),
            input=stdin,
            cwd=cwd,
            env=environment(**env),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        ran = Ran(done.returncode, done.stdout, done.stderr)
    else:
        at = cwd or Path.cwd()
        ran = Ran(*warm().run(arguments, stdin=stdin, cwd=at, env=environment(**env), patience_s=PATIENCE_S))
    assert "Traceback" not in ran.err, ran.err
    return ran


@contextlib.contextmanager
def started(*arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command beside the test; it is killed at the end when it still runs."""
    process = subprocess.Popen(
        command(*arguments), env=environment(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with ended(process):
        yield process


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate()


@dataclass(frozen=True, slots=True)
class Site:
    process: subprocess.Popen[str]
    port: int
    data_dir: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/zaraz/api"

    def post(self, *names: str, **properties: object) -> None:
        """Send one event for each name, in one request."""
        events = [{"client": {**properties, "__zarazTrack": name}} for name in names]
        body = json.dumps({"events": events}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url, body), timeout=PATIENCE_S) as reply:
            assert reply.status == 200

    def step(self) -> None:
        """Let events named "wait" go on."""
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/step", timeout=PATIENCE_S).close()

    def live(self) -> Path:
        """Wait until it listens on its socket."""
        socket = self.data_dir / "live" / f"{self.process.pid}.sock"
        until(lambda: is_answered(socket))
        return socket

    def run(self, *arguments: str, **options: Any) -> Ran:
        """Run a command on its data directory."""
        self.live()
        return run(*arguments, EVENTMW_DATA_DIR=str(self.data_dir), **options)

    def tool(self, ident: str) -> Any:
        """Return where a tool stands."""
        return self.run("stats", "--json").json["tools"][ident]


@contextlib.contextmanager
def serving(data_dir: Path, *keys: str, journal: str = "file", **settings: str) -> Iterator[Site]:
    """Start a site; see `tests.cli_site` for its tools. Settings are given as the environment has them."""
    given = {f"EVENTMW_{name.upper()}": value for name, value in {"journal": journal, **settings}.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cli_site", str(data_dir), *keys],
        cwd=ROOT,
        env=environment(**given),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ended(process):
        assert process.stdout is not None
        yield Site(process, int(process.stdout.readline()), data_dir)
