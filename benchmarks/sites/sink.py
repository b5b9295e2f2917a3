"""A vendor for `Webhook`: takes what is posted, counts the events, answers 200. ``python -m benchmarks.sites.sink PORT``.

``/-/hold`` leaves every later post without an answer until ``/-/go``; ``/-/count`` tells how many events came.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

_EVENT = b'"recorded":'  # stands once in each event that Webhook writes
_seen = 0
_open = asyncio.Event()


class Sink(asyncio.Protocol):
    """One connection. What it reads is written by Webhook and this benchmark, so the parsing is as short as can be."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answers: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take each whole request out of what came."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            _, _, length = head.partition(b"content-length: ")
            whole = end + 4 + int(length.split(b"\r\n")[0] or 0)
            if len(self._buffer) < whole:
                return
            body = bytes(self._buffer[end + 4 : whole])
            del self._buffer[:whole]
            task = asyncio.ensure_future(self._reply(head.split(b" ")[1], body))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def _reply(self, path: bytes, body: bytes) -> None:
        status, answer = await self.answer(path, body)
        self._transport.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(answer), answer))

    async def answer(self, path: bytes, body: bytes) -> tuple[bytes, bytes]:
        """Return status and body of the answer to one request."""
        global _seen  # noqa: PLW0603 - one number, one process
        match path:
            case b"/-/hold":
                _open.clear()
            case b"/-/go":
                _open.set()
            case b"/-/count":
                pass
            case _:
                await _open.wait()
                _seen += body.count(_EVENT)
        return b"200 OK", str(_seen).encode()


async def main(port: int, kind: Callable[[], Sink] = Sink) -> None:
    """Serve until the process is ended."""
    _open.set()
    server = await asyncio.get_running_loop().create_server(kind, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
