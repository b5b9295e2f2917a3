"""The sink: a vendor that writes down every arrival and answers as it is told. ``python -m tests.crash.sink [LOG]``.

It prints its port and serves until its standard input ends. Events come as `eventmw.tools.Webhook` sends them. Each path is
a vendor of its own: ``POST /-/moods/PATH`` with a JSON list of moods sets what its next requests get (after the last: 200),
``GET /-/arrivals/PATH`` returns what came and forgets it. With LOG, arrivals are appended there too, a line of JSON each.

A mood: a status; ``hang``: take it, never answer; ``deaf``: hang without noting it; ``reset``: note it, then break the
connection; ``slam``: break it without noting; ``slow:SECONDS``: answer 200 late.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from collections import defaultdict, deque
from http.client import HTTPConnection
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Any, Self

from tests.crash.audit import Arrival
from tests.crash.payload import who

Mood = int | str
_ABORT = struct.pack("ii", 1, 0)
_SILENT = {"deaf", "slam"}


class Ledger:
    """What came and what is to be answered, by path. An arrival is ``[who, key, at, answered, sound]``."""

    def __init__(self, log: IO[str] | None = None) -> None:
        self.arrivals: dict[str, list[list[Any]]] = defaultdict(list)
        self.moods: dict[str, deque[Mood]] = defaultdict(deque)
        self._log = log

    def note(self, path: str, body: bytes, *, answered: bool) -> None:
        """Write down the events of one request."""
        at = time.monotonic()
        for event in json.loads(body)["events"]:
            name, sound = who(event["properties"])
            arrival = [name, event["id"], at, answered, sound]
            self.arrivals[path].append(arrival)
            if self._log is not None:
                self._log.write(json.dumps([path, *arrival]) + "\n")
        if self._log is not None:
            self._log.flush()

    def mood(self, path: str) -> Mood:
        """Return what the next request to a path gets."""
        return self.moods[path].popleft() if self.moods[path] else 200

    def ask(self, path: str, body: bytes) -> bytes:
        """Carry out an order of the harness."""
        _, _, order, *rest = path.split("/", 3)
        about = "/" + "".join(rest)
        match order:
            case "moods":
                self.moods[about] = deque(json.loads(body))
                return b""
            case "arrivals":
                return json.dumps(self.arrivals.pop(about, [])).encode()
            case "peek":
                return json.dumps(self.arrivals.get(about, [])).encode()
            case "count":
                return str(len(self.arrivals.get(about, []))).encode()
        raise ValueError(f"the sink knows no order {order!r}")


class Connection(asyncio.Protocol):
    """One connection; requests are read as plainly as our own clients write them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take each whole request out of what came."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].decode("latin-1").lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
            if len(self._held) < end + 4 + length:
                return
            body, self._held = self._held[end + 4 : end + 4 + length], self._held[end + 4 + length :]
            self._take(head.split(" ")[1], body)

    def _take(self, path: str, body: bytes) -> None:
        if path.startswith("/-/"):
            self._answer(200, self._ledger.ask(path, body))
            return
        mood = self._ledger.mood(path)
        late_s = float(mood.partition(":")[2]) if isinstance(mood, str) and mood.startswith("slow:") else 0.0
        if mood not in _SILENT:
            self._ledger.note(path, body, answered=late_s > 0 or (isinstance(mood, int) and 200 <= mood < 300))
        if late_s:
            asyncio.get_running_loop().call_later(late_s, self._answer, 200)
        elif isinstance(mood, int):
            self._answer(mood)
        elif mood in {"reset", "slam"}:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            self._transport.abort()

    def _answer(self, status: int, body: bytes = b"") -> None:
        wait = "retry-after: 0\r\n" if status in {429, 503} else ""
        self._transport.write(f"HTTP/1.1 {status} -\r\n{wait}content-length: {len(body)}\r\n\r\n".encode() + body)


class Sink:
    """The sink as the harness sees it: a process, for a ``with`` statement."""

    def __init__(self, log: str | None = None) -> None:
        self._command = [sys.executable, "-m", "tests.crash.sink", *([log] if log else [])]

    def __enter__(self) -> Self:
        self._process = Popen(self._command, stdin=PIPE, stdout=PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self._connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.communicate()

    def url(self, path: str) -> str:
        """Return the address of one vendor."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def moods(self, path: str, moods: list[Mood]) -> None:
        """Tell what the next requests to a vendor get."""
        self._ask(f"/-/moods/{path}", json.dumps(moods).encode())

    def arrivals(self, path: str, *, keep: bool = False) -> list[Arrival]:
        """Return what came to a vendor, and have it forgotten unless it is to be kept."""
        return [Arrival(*each) for each in json.loads(self._ask(f"/-/{'peek' if keep else 'arrivals'}/{path}"))]

    def count(self, path: str) -> int:
        """Return how many events came to a vendor so far, each as often as it came."""
        return int(self._ask(f"/-/count/{path}"))

    def _ask(self, path: str, body: bytes = b"") -> bytes:
        self._connection.request("POST", path, body)
        return self._connection.getresponse().read()


async def _main(log: str | None) -> None:
    ledger = Ledger(Path(log).open("a", encoding="utf-8") if log else None)  # noqa: SIM115, ASYNC230 - for as long as it lives
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(ledger), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1] if len(sys.argv) > 1 else None))
