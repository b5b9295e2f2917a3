"""Processes that share a data directory, for the tests of the file journal. See `tests.journal_peer` for what they do."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from tests.running import environment

PATIENCE_S = 30.0


class Told(Exception):
    """A call of a peer raised: ``kind`` is the name of the exception's class."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class Peer:
    """One process, as the test sees it: every method of `tests.journal_peer.Peer` is a method here."""

    def __init__(self, pid: int, connection: socket.socket, channel: TextIO) -> None:
        self.pid = pid
        self._connection = connection
        self._channel = channel

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.begin(name, *args, **options)
            return self.end()

        return call

    def begin(self, name: str, *args: Any, **options: Any) -> None:
        """Have something done without waiting for it."""
        print(json.dumps([name, args, options]), file=self._channel, flush=True)

    def end(self) -> Any:
        """Return the answer to what was begun."""
        answer = json.loads(self._channel.readline())
        if "error" in answer:
            raise Told(answer["error"], answer["message"])
        return answer["result"]

    def has_answered(self, within_s: float) -> bool:
        """Wait a moment for the answer to what was begun; return whether it is there."""
        return bool(select.select([self._connection], [], [], within_s)[0])

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._channel.close()
        self._connection.close()


@dataclass(slots=True)
class Peers:
    """All processes of one test, and the vendor that they deliver to."""

    folder: Path
    listener: socket.socket
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    connected: list[Peer] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, *tools: str, **options: Any) -> Peer:
        """Start a process with these options of `FileJournal`, and have it register tools."""
        self.processes.append(self._popen(options))
        peer = self.accept()
        if tools:
            peer.register(*tools)
        return peer

    def accept(self) -> Peer:
        """Return the next process that connects: one that was started, or a forked child."""
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE_S)
        channel = connection.makefile("rw", encoding="utf-8")
        self.connected.append(Peer(int(channel.readline()), connection, channel))
        return self.connected[-1]

    def fork(self, parent: Peer) -> Peer:
        """Have a process fork without exec; return its child."""
        parent.begin("fork")
        child = self.accept()
        assert parent.end() == child.pid
        return child

    def kill(self, peer: Peer) -> None:
        """Kill a process, and wait until it is gone."""
        peer.signal(signal.SIGKILL)
        for process in self.processes:
            if process.pid == peer.pid:
                process.wait(PATIENCE_S)
        peer.close()

    def arrived(self, tool: str) -> list[str]:
        """Return what the vendor got for a tool, in order."""
        return [record for _, name, record in self.arrivals() if name == tool]

    def arrivals(self) -> list[tuple[int, str, str]]:
        """Return all that the vendor got: (process, tool, record)."""
        vendor = self.folder / "vendor"
        if not vendor.exists():
            return []
        lines = [line.split() for line in vendor.read_text().splitlines()]
        return [(int(pid), tool, record) for pid, tool, record in lines]

    def wait_for(self, tool: str, *records: str) -> list[str]:
        """Wait until all these records have arrived; return all that have."""
        wanted = set(records)
        until(lambda: wanted <= set(self.arrived(tool)), lambda: f"{sorted(wanted - set(self.arrived(tool)))[:5]}")
        return self.arrived(tool)

    def end(self) -> None:
        for peer in self.connected:
            peer.close()
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(PATIENCE_S)
            if process.stderr is not None:
                process.stderr.close()

    def _popen(self, options: dict[str, Any]) -> subprocess.Popen[str]:
        hub = str(self.listener.getsockname())
        command = [sys.executable, "-m", "tests.journal_peer", hub, str(self.data), json.dumps(options)]
        return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def hub(folder: Path) -> Iterator[Peers]:
    """Return the processes of a test; at its end those that still run are killed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "hub"))  # a socket's address may have 107 bytes
        listener.listen()
        listener.settimeout(PATIENCE_S)
        peers = Peers(folder, listener)
        try:
            yield peers
        finally:
            peers.end()


def until(condition: Callable[[], bool], missing: Callable[[], str] = lambda: "it") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{missing()} did not come within {PATIENCE_S:g} s"
        time.sleep(0.01)


def repeats(arrived: list[str]) -> int:
    """Return how many arrivals were not the first of their record."""
    return sum(number - 1 for number in Counter(arrived).values())
