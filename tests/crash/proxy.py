"""A bad network between the courier and the sink. ``python -m tests.crash.proxy PORT SEED`` prints its own port.

Each connection gets a fate by chance: it is carried as it is, or after some requests the answer is delayed, comes a byte at a
time, is cut short, or the connection is reset before or after the request went through. Every time an answer does not come
whole, the moment is written to standard output, so that a repeat has its reason. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from subprocess import PIPE, Popen
from typing import Self

_ABORT = struct.pack("ii", 1, 0)
_FATES = ("as it is", "as it is", "delay", "trickle", "cut", "reset before", "reset after", "half close")
_CHUNK = 64 * 1024


class Link:
    """One connection of the courier and its own to the sink."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self._port = port
        self._fate = chance.choice(_FATES)
        self._after = chance.randint(0, 3)
        self._chance = chance

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry requests and answers until somebody leaves."""
        with suppress(OSError, EOFError):
            upstream, downstream = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                await self._exchanges(reader, writer, upstream, downstream)
            finally:
                downstream.close()
        writer.close()

    async def _exchanges(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        downstream: asyncio.StreamWriter,
    ) -> None:
        for number in range(10**9):
            bad = number >= self._after and self._fate != "as it is"
            request = await _message(reader)
            if bad and self._fate == "reset before":
                _reset(writer)
                return
            downstream.write(request)
            answer = await _message(upstream)
            if not bad:
                writer.write(answer)
            elif not await self._spoil(answer, writer):
                return

    async def _spoil(self, answer: bytes, writer: asyncio.StreamWriter) -> bool:
        """Hand an answer on badly; returns whether the connection goes on."""
        match self._fate:
            case "delay":
                await asyncio.sleep(self._chance.uniform(0.05, 0.4))
                writer.write(answer)
                return True
            case "trickle":
                for byte in answer:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.002)
                return True
            case "half close":
                writer.write(answer)
                writer.write_eof()
                return False
        _note()
        if self._fate == "cut":
            writer.write(answer[: len(answer) // 2])
            await writer.drain()
        else:
            _reset(writer)
        return False


def _note() -> None:
    print(time.monotonic(), flush=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Return one whole request or answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    return head + await reader.readexactly(length)


class Proxy:
    """The bad network as the harness sees it, for a ``with`` statement. ``breaks`` is when answers did not come whole."""

    def __init__(self, port: int, seed: int) -> None:
        self._command = [sys.executable, "-m", "tests.crash.proxy", str(port), str(seed)]
        self.breaks: list[float] = []

    def __enter__(self) -> Self:
        self._process = Popen(self._command, stdin=PIPE, stdout=PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.breaks += map(float, self._process.stdout)


async def _main(port: int, seed: int) -> None:
    chance = random.Random(seed)
    server = await asyncio.start_server(
        lambda reader, writer: Link(port, random.Random(chance.random())).carry(reader, writer), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:  # what is still carried need not come to an end
        task.cancel()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
