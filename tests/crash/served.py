"""The subject as a site that is served: one process tree, and the pids of the workers that may be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

START_S = 30.0
STOP_S = 15.0
ROOT = Path(__file__).resolve().parents[2]
SCRATCH = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
"""Where a disk need not be waited for, as nothing in here survives the machine anyway."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to serve the site. ``{port}`` stands in the command; ``alone``: its one process is the worker."""

    name: str
    command: Sequence[str]
    alone: bool = False


_MODULE = (sys.executable, "-m")
_UVICORN = (*_MODULE, "uvicorn", "tests.crash.site:app", "--port={port}", "--log-level=warning", "--ws=none")
_GUNICORN = (
    *_MODULE,
    "gunicorn",
    "tests.crash.site:wsgi_app",
    "--bind=127.0.0.1:{port}",
    "--log-level=warning",
    "--graceful-timeout=3",
)
KINDS = {
    kind.name: kind
    for kind in (
        Kind("prefork-2", (*_MODULE, "tests.crash.prefork", "{port}", "2", "late")),
        Kind("prefork-2-early", (*_MODULE, "tests.crash.prefork", "{port}", "2", "early")),
        Kind("prefork-4", (*_MODULE, "tests.crash.prefork", "{port}", "4", "late")),
        Kind("uvicorn-1", (*_UVICORN, "--workers=1"), alone=True),
        Kind("uvicorn-4", (*_UVICORN, "--workers=4")),
        Kind("gunicorn-sync-2", (*_GUNICORN, "--workers=2", "--worker-class=sync")),
        Kind(
            "gunicorn-gthread-2", (*_GUNICORN, "--workers=2", "--worker-class=gthread", "--threads=4", "--keep-alive=5")
        ),
        Kind("gunicorn-preload-2", (*_GUNICORN, "--workers=2", "--worker-class=gthread", "--threads=4", "--preload")),
    )
}


class Served:
    """A server of one kind, for a ``with`` statement. It may be started again on the same port.

    Args:
        kind: what serves.
        environ: what `tests.crash.site` reads.
        said: the file that gets its output.
        before: a command that is put before the server's, such as one that changes its clock.
    """

    def __init__(self, kind: Kind, environ: Mapping[str, str], said: Path, *, before: Sequence[str] = ()) -> None:
        self.kind = kind
        self.port = _free_port()
        self._environ = {**os.environ, "EVENTMW_DATA_DIR": "", **environ}
        del self._environ["EVENTMW_DATA_DIR"]
        self._said = said
        self._before = before

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._signal_all(signal.SIGCONT)
        self._signal_all(signal.SIGKILL)
        self._process.wait(STOP_S)

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            RuntimeError: it does not.
        """
        command = [*self._before, *(part.replace("{port}", str(self.port)) for part in self.kind.command)]
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.kind.name} did not start: {self._said.read_text(errors='replace')[-2000:]}")

    def visit(self) -> int:
        """Ask for the site's page, as visitors do: a worker begins to deliver with its first request, of whatever kind.

        Returns the status, 0 when there was no answer.
        """
        with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
            connection.request("GET", "/")
            return connection.getresponse().status
        return 0

    def ask_for_stacks(self) -> None:
        """Have every worker say in its output what its threads do."""
        for pid in self.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)
        time.sleep(0.5)

    def stop(self) -> float | None:
        """End it in order; returns how many seconds that took, or None when it had to be killed."""
        begun = time.monotonic()
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._signal_all(signal.SIGKILL)
            self._process.wait(STOP_S)
            return None
        self._signal_all(signal.SIGKILL)  # what it left behind
        return time.monotonic() - begun

    @property
    def running(self) -> bool:
        """Whether its first process lives."""
        return self._process.poll() is None

    def workers(self) -> list[int]:
        """Return the processes that serve requests: all of its group that run no other's children."""
        group = self._process.pid
        if self.kind.alone:
            return [group] if self.running else []
        return [pid for pid, parent, name in _processes(group) if parent == group and "resource_tracker" not in name]

    def _signal_all(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _processes(group: int) -> list[tuple[int, int, str]]:
    """Return pid, parent and command line of the living processes of a group. Source: proc_pid_stat(5)."""
    found: list[tuple[int, int, str]] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                state, parent, its_group, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(its_group) == group and state != "Z":
                    name = (folder / "cmdline").read_bytes().decode(errors="replace")
                    found.append((int(folder.name), int(parent), name))
    return found
