"""Servers as processes: started once, stopped and resumed between rounds, and their CPU time read from ``/proc``.

Each is the leader of a process group of its own, so that its workers are counted, stopped and ended with it; so is their
memory. Linux only.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks.machine import ROOT, pinned

SERVER_CORE: Final = 0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_S: Final = 30.0


def free_port() -> int:
    """Return a port of the loopback that nobody uses now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Server:
    """One server and its workers.

    Args:
        name: for people.
        command: the arguments; ``{port}`` stands for the port.
        core: the core that it may use.
        environ: further environment variables.
        folder: its working directory.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        core: int = SERVER_CORE,
        environ: Mapping[str, str] | None = None,
        folder: Path = ROOT,
    ) -> None:
        self.name = name
        self.port = free_port()
        self._command = [part.replace("{port}", str(self.port)) for part in command]
        self._core = core
        self._environ = {**os.environ, **(environ or {})}
        self._folder = folder

    def __enter__(self) -> Self:
        self._said = tempfile.TemporaryFile()
        with pinned(self._core):
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resume()
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._signal(signal.SIGKILL)
        self._process.wait(5)
        self._said.close()

    def pause(self) -> None:
        """Stop it where it is."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run."""
        self._signal(signal.SIGCONT)

    def cpu_s(self) -> float:
        """Return the CPU seconds that it, its workers and those of them that have ended took so far."""
        return sum(_group_ticks(self._process.pid)) / _TICKS

    def memory_bytes(self) -> int:
        """Return the memory of it and its workers: what they share is counted once (PSS), the page cache not at all."""
        return sum(_group_pss(self._process.pid))

    def settle(self, *, quiet_s: float = 0.1, timeout_s: float = 10.0) -> None:
        """Wait until it has nothing to do: what the last round left over must not count in the next."""
        until, before = time.monotonic() + timeout_s, self.cpu_s()
        while time.monotonic() < until:
            time.sleep(quiet_s)
            now = self.cpu_s()
            if now - before <= 0.1 * quiet_s:
                return
            before = now

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _wait_until_it_listens(self) -> None:
        until = time.monotonic() + _START_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        self._said.seek(0)
        raise RuntimeError(f"{self.name} did not start: {self._said.read().decode(errors='replace')[-2000:]}")


def _group(group: int) -> Iterator[tuple[Path, list[str]]]:
    """Return the folders in ``/proc`` of a group's processes, and what ``stat`` says of each after its name."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                # After the name in parentheses: state ppid pgrp … utime stime cutime cstime. Source: proc_pid_stat(5).
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == group:
                    yield folder, fields


def _group_ticks(group: int) -> Iterator[int]:
    for _, fields in _group(group):
        yield sum(map(int, fields[11:15]))


def _group_pss(group: int) -> Iterator[int]:
    for folder, _ in _group(group):
        with suppress(OSError):
            for line in (folder / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    yield 1024 * int(line.split()[1])
