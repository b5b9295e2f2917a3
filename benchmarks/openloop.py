"""An open-loop load: so many requests a second over many connections, on a fixed schedule, whatever the answers do.

``python -m benchmarks.openloop PORT RATE SECONDS CONNECTIONS FILE`` posts the bodies of a file in turn. A request that finds
no free connection leaves when one is free; its wait counts from when it was due.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Final

from benchmarks.load import CLIENT_CORE, PATH
from benchmarks.machine import ROOT, pinned

_TICKS_A_MS: Final = 10
_LEFT_OVER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Waits:
    """Milliseconds from when a request was due to its whole answer."""

    count: int
    p50: float
    p99: float
    most: float
    over_50_ms: int

    @classmethod
    def of(cls, ticks: Counter[int]) -> Waits:
        """Return the quantiles of a histogram of tenths of milliseconds."""
        count = ticks.total()
        if not count:
            return cls(0, 0.0, 0.0, 0.0, 0)
        late = sum(number for tick, number in ticks.items() if tick > 50 * _TICKS_A_MS)
        return cls(count, _at(ticks, count // 2), _at(ticks, count * 99 // 100), max(ticks) / _TICKS_A_MS, late)


def _at(ticks: Counter[int], rank: int) -> float:
    for tick in sorted(ticks):
        rank -= ticks[tick]
        if rank < 0:
            return tick / _TICKS_A_MS
    return max(ticks) / _TICKS_A_MS


@dataclass(frozen=True, slots=True)
class Flood:
    """What a run saw. ``refused`` are answers 503 and 429; ``other`` other statuses; ``broken`` connections that ended.

    ``unanswered`` were sent, and had no answer ten seconds after the end; ``unsent`` were due, and never found a connection.
    """

    taken: Waits
    refused: Waits
    without_retry_after: int
    other: int
    broken: int
    unanswered: int
    unsent: int
    seconds: float


def start(port: int, bodies: Path, *, rate_per_s: float, seconds: float, connections: int) -> subprocess.Popen[str]:
    """Start the client in a process of its own; `finish` waits for it."""
    command = [sys.executable, "-m", "benchmarks.openloop", *map(str, (port, rate_per_s, seconds, connections, bodies))]
    with pinned(CLIENT_CORE):
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def finish(client: subprocess.Popen[str]) -> Flood:
    """Return what a client saw.

    Raises:
        RuntimeError: it failed.
    """
    said, _ = client.communicate(timeout=120)
    if client.returncode:
        raise RuntimeError("the open-loop client failed; what it said is above")
    told = json.loads(said)
    return Flood(**told | {name: Waits(**told[name]) for name in ("taken", "refused")})


class _Client:
    """The connections, which of them are free, and what the answers were."""

    def __init__(self, port: int, requests: Iterator[bytes], connections: int) -> None:
        self._port = port
        self._requests = requests
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._due: dict[int, float] = {}
        self._came: dict[int, bytes] = {}
        self._free: deque[int] = deque()
        self._ticks: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
        self._without = self._other = self._broken = 0
        for _ in range(connections):
            self._connect()

    def run(self, rate_per_s: float, seconds: float) -> Flood:
        """Send for so long, and then wait for what is under way."""
        begun, sent, wanted = time.monotonic(), 0, int(rate_per_s * seconds)
        ends = begun + seconds
        while (now := time.monotonic()) < ends:
            while sent < wanted and self._free and begun + sent / rate_per_s <= now:
                self._send(begun + sent / rate_per_s)
                sent += 1
            next_s = begun + sent / rate_per_s - now
            self._take(0.05 if not self._free else max(0.0, min(next_s, 0.05)))
        while self._due and time.monotonic() < ends + _LEFT_OVER_S:
            self._take(0.05)
        return Flood(
            taken=Waits.of(self._ticks[True]),
            refused=Waits.of(self._ticks[False]),
            without_retry_after=self._without,
            other=self._other,
            broken=self._broken,
            unanswered=len(self._due),
            unsent=wanted - sent,
            seconds=seconds,
        )

    def _connect(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port), 30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = connection.fileno()
        self._sockets[number] = connection
        self._poll.register(number, select.EPOLLIN)
        self._free.append(number)

    def _send(self, due: float) -> None:
        number = self._free.popleft()
        self._due[number] = due
        self._came[number] = b""
        try:
            self._sockets[number].sendall(next(self._requests))
        except OSError:
            self._lose(number)

    def _take(self, timeout_s: float) -> None:
        for number, _ in self._poll.poll(timeout_s):
            try:
                data = self._sockets[number].recv(65536)
            except OSError:
                data = b""
            if not data:
                self._lose(number)
            elif number in self._due:
                self._came[number] += data
                self._look(number)

    def _look(self, number: int) -> None:
        """Note the answer, if it is whole."""
        answer = self._came[number]
        head, found, body = answer.partition(b"\r\n\r\n")
        if not found:
            return
        fields = head.lower()
        if len(body) < int(fields.partition(b"content-length: ")[2].split(b"\r\n")[0]):
            return
        status = answer[9:12]
        self._free.append(number)
        tick = int(1000 * _TICKS_A_MS * (time.monotonic() - self._due.pop(number)))
        if status in {b"503", b"429"}:
            self._without += b"\r\nretry-after: " not in fields
        elif status != b"200":
            self._other += 1
            return
        self._ticks[status == b"200"][tick] += 1

    def _lose(self, number: int) -> None:
        self._broken += 1
        self._due.pop(number, None)
        with_free = number in self._free
        if with_free:
            self._free.remove(number)
        self._poll.unregister(number)
        self._sockets.pop(number).close()
        self._connect()


def _main(port: str, rate: str, seconds: str, connections: str, file: str) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    requests = [head.encode() % len(body) + body for body in Path(file).read_bytes().splitlines()]
    client = _Client(int(port), cycle(requests), int(connections))
    print(json.dumps(asdict(client.run(float(rate), float(seconds)))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
