"""The driver: clients that each post one request after another and write down what became of every event.

``python -m tests.crash.driver PORT LOG CLIENTS EVENTS SIZE FIRST`` posts until its standard input ends, then finishes what
is open. A line of JSON is logged when an event is sent first and when its fate is known: ``[who, fate, at]``.

An event is *acked* when its whole 2xx answer has a result for it and the receipt counts it; *refused* by a 4xx answer; else
*unknown*: it is sent again under the same id until it is acked, at most ``_TRIES`` times. Every third client sends no ids of
its own, so it cannot ask again, and goes on with its next event. Every other client opens a connection for each request, so
its events come in by several workers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Self

from tests.crash.audit import Fate
from tests.crash.payload import body

PATH = "/zaraz/api"
_TRIES = 40
_PAUSE_S = 0.05
_ANSWER_S = 10.0


def fate_of(status: int, answer: bytes, events: int) -> Fate:
    """Return what an answer says of the events of its request, all of which are good ones."""
    if 400 <= status < 500:
        return "refused"
    if not 200 <= status < 300:
        return "unknown"
    said = json.loads(answer)
    whole = len(said["results"]) == events == said["receipt"]["accepted"]
    return "acked" if whole else "refused"


class Client:
    """One client. ``names`` are given in order, so that the order of arrivals can be judged."""

    def __init__(self, number: int, port: int, log: IO[str], *, events: int, size: int, first: int) -> None:
        self._number, self._port, self._log = number, port, log
        self._events, self._size, self._next = events, size, first
        self._own_id = number % 3 != 2
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Post until told to stop."""
        while not stop.is_set():
            names = [f"{self._number}.{self._next + n}" for n in range(self._events)]
            self._next += self._events
            self._note(names, "unknown")
            await self._send(names)
        self._hang_up()

    async def _send(self, names: list[str]) -> None:
        """Send one request, again and again where that is harmless."""
        payload = body(names, self._size, own_id=self._own_id)
        for _ in range(_TRIES if self._own_id else 1):
            fate = await self._post(payload)
            if fate != "unknown":
                self._note(names, fate)
                return
            await asyncio.sleep(_PAUSE_S)

    async def _post(self, payload: bytes) -> Fate:
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await self._exchange(payload)
        except (OSError, EOFError, ValueError, TimeoutError):  # cut off, or half an answer
            self._hang_up()
            return "unknown"

    async def _exchange(self, payload: bytes) -> Fate:
        if self._open is None:
            self._open = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._open
        head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
        writer.write(head.encode() + payload)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
        said = await reader.readexactly(length)
        if "connection: close" in answer or self._number % 2:
            self._hang_up()
        return fate_of(int(answer.split(" ")[1]), said, self._events)

    def _hang_up(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _note(self, names: Iterable[str], fate: Fate) -> None:
        at = time.monotonic()
        self._log.write("".join(json.dumps([name, fate, at]) + "\n" for name in names))
        self._log.flush()


def fates(log: Path) -> dict[str, Fate]:
    """Read a log: the last word on each event. A refusal never undoes an ack."""
    known: dict[str, Fate] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        name, fate, _ = json.loads(line)
        if known.get(name) != "acked":
            known[name] = fate
    return known


class Driver:
    """The driver as the harness sees it: a process that posts inside a ``with`` statement."""

    def __init__(self, port: int, log: Path, *, clients: int, events: int = 1, size: int = 100, first: int = 0) -> None:
        self._log = log
        arguments = [str(each) for each in (port, log, clients, events, size, first)]
        self._command = [sys.executable, "-m", "tests.crash.driver", *arguments]

    def __enter__(self) -> Self:
        self._process = Popen(self._command, stdin=PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        assert self._process.returncode == 0, "the driver failed"

    def wait_for(self, acked: int, timeout_s: float = 30.0) -> None:
        """Wait until so many events are acknowledged.

        Raises:
            TimeoutError: they are not within `timeout_s` seconds.
        """
        until = time.monotonic() + timeout_s
        while not self._log.exists() or self._log.read_text(encoding="utf-8").count('"acked"') < acked:
            if time.monotonic() > until:
                raise TimeoutError(f"{acked} acknowledgements were expected within {timeout_s:g} s")
            time.sleep(0.05)

    def fates(self) -> dict[str, Fate]:
        """Return what is known of every event; call it after the block."""
        return fates(self._log)


async def _main(log: str, port: int, clients: int, *, events: int, size: int, first: int) -> None:
    stop = asyncio.Event()
    with Path(log).open("a", encoding="utf-8") as file:  # noqa: ASYNC230 - it has nothing else to do
        posting = [
            asyncio.create_task(Client(number, port, file, events=events, size=size, first=first).run(stop))
            for number in range(clients)
        ]
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        stop.set()
        await asyncio.gather(*posting)


if __name__ == "__main__":
    _port, _log, *_numbers = sys.argv[1:]
    _clients, _events, _size, _first = map(int, _numbers)
    asyncio.run(_main(_log, int(_port), _clients, events=_events, size=_size, first=_first))
