"""Real servers as subprocesses on 127.0.0.1: started on a free port, stopped by their own process id.

Layer: input and output. A server chooses its port itself and names it in its log, so no port can be lost to somebody else
between choosing and listening.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

START_S: Final = 30.0
"""Seconds for a server to answer its first request; a small machine under load takes some."""

STOP_S: Final = 5.0
_POLL_S: Final = 0.05
_TAIL_LINES: Final = 15
_listening = re.compile(r"https?://127\.0\.0\.1:(\d+)").search

# What would change how a server starts, if somebody's shell has it.
_FOREIGN: Final = ("EVENTMW_", "UVICORN_", "GUNICORN_", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "DJANGO_", "FLASK_")

GUNICORN: Final = ("gunicorn", "--worker-class", "gthread", "--threads", "4", "--bind", "127.0.0.1:0")
UVICORN: Final = ("uvicorn", "--host", "127.0.0.1", "--port", "0", "--no-use-colors", "--no-access-log")


class NotStarted(RuntimeError):  # noqa: N818 - reads as what it is
    """A server does not answer; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its port on 127.0.0.1, its process id, and the folder in which it runs."""

    port: int
    pid: int
    folder: Path

    @property
    def url(self) -> str:
        """The address, without a path."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running(
    commands: Mapping[str, Sequence[str]], folder: Path, environ: Mapping[str, str]
) -> Generator[dict[str, Server]]:
    """Run servers side by side until the block ends, however it ends.

    Args:
        commands: name → the module and arguments that ``python -m`` runs.
        folder: where each server gets a folder of its own, with its log.
        environ: environment variables to add.

    Raises:
        NotStarted: one of them ended or did not answer within `START_S` seconds.
    """
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(_process(command, folder / name, environ)) for name, command in commands.items()
        }
        deadline_s = time.monotonic() + START_S
        yield {name: _started(name, process, folder / name, deadline_s) for name, process in processes.items()}


@contextmanager
def _process(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Generator[subprocess.Popen[bytes]]:
    folder.mkdir(exist_ok=True)  # a server that is started again finds what it left
    # A session of its own: Ctrl-C reaches this process alone, which then stops the servers.
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own commands, no shell
            [sys.executable, "-m", *command],
            cwd=folder,
            env=_environment(folder, environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _environment(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    root = str(Path(__file__).parents[2])
    paths = filter(None, (root, os.environ.get("PYTHONPATH")))
    # Gunicorn puts its control socket into the runtime folder.
    return {**inherited, "PYTHONPATH": os.pathsep.join(paths), "XDG_RUNTIME_DIR": str(folder), **environ}


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _started(name: str, process: subprocess.Popen[bytes], folder: Path, deadline_s: float) -> Server:
    while time.monotonic() < deadline_s and process.poll() is None:
        named = _listening(_log(folder))
        if named and _answers(int(named[1])):
            return Server(int(named[1]), process.pid, folder)
        time.sleep(_POLL_S)
    how = "did not answer in time" if process.poll() is None else f"ended with status {process.returncode}"
    tail = "\n".join(_log(folder).splitlines()[-_TAIL_LINES:])
    raise NotStarted(f"the server {name} {how}; the end of its log:\n{tail}")


def _log(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return True
