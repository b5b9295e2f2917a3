"""A vendor to test against: a real HTTP server on 127.0.0.1 that answers as it is told, or does not.

Layer: input and output; re-exported by `eventmw.testing`. Nothing of a running site imports it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Self

from aiohttp import web

_START_S: Final = 10.0
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request that arrived whole. ``headers`` has lower-case names; ``at_s`` is monotonic seconds."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the vendor does with one request.

    Attributes:
        status, headers, body: the answer.
        after_s: seconds before it is given.
        how: ``answer``; ``hang``: never answer; ``reset``: break the connection instead.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    after_s: float = 0.0
    how: Literal["answer", "hang", "reset"] = "answer"


HANG: Final = Answer(how="hang")
RESET: Final = Answer(how="reset")


def too_many(retry_after_s: int) -> Answer:
    """Return 429 with ``Retry-After``."""
    return Answer(429, headers={"retry-after": str(retry_after_s)})


Answering = Answer | int
Script = Iterable[Answering] | Callable[[Arrival], Answering] | Answering


class Vendor:
    """An HTTP server in a thread, for a ``with`` statement.

    Example::

        with Vendor([500, 429, 200]) as vendor:
            ...  # send to vendor.url
            vendor.wait_for(3, timeout_s=5)
            assert vendor.arrivals[0].method == "POST"

    Args:
        script: a status or `Answer` for every request; one for each request in turn (after the last, 200); or a function of
            the `Arrival`, called on the vendor's thread.
    """

    def __init__(self, script: Script = 200) -> None:
        self.arrivals: list[Arrival] = []
        self._changed = threading.Condition()
        self._stopped: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._connections: set[asyncio.Transport] = set()
        self.answer_with(script)

    def answer_with(self, script: Script) -> None:
        """Answer so from the next request on."""
        self._answer = _answering(script)

    @property
    def url(self) -> str:
        """The address, without a path."""
        if self._socket is None:
            raise RuntimeError("the vendor is not running: use it in a with statement")
        return "http://127.0.0.1:%d" % self._socket.getsockname()[1]  # noqa: UP031 - an address pair is untyped

    def wait_for(self, n: int, timeout_s: float = 10.0) -> list[Arrival]:
        """Wait until at least `n` requests have arrived, and return all of them.

        Raises:
            TimeoutError: they did not come within `timeout_s` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.arrivals) >= n, timeout_s):
                raise TimeoutError(f"{n} requests were expected within {timeout_s:g} s; {len(self.arrivals)} arrived")
            return list(self.arrivals)

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", 0))
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started, self._socket), name="vendor", daemon=True)
        self._thread.start()
        if not started.wait(_START_S):
            raise TimeoutError(f"the vendor did not start within {_START_S:g} s")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None and self._stopped is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
        if self._thread is not None:
            self._thread.join(_START_S)

    def _run(self, started: threading.Event, listening: socket.socket) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._serve(started, listening))

    async def _serve(self, started: threading.Event, listening: socket.socket) -> None:
        self._stopped = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        runner = web.ServerRunner(web.Server(self._handle), handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        started.set()
        await self._stopped.wait()
        await _some_turns()
        await runner.cleanup()
        for connection in self._connections:
            connection.abort()  # a close would wait until a client that has gone has read the rest
        await _some_turns()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        arrival = Arrival(
            method=request.method,
            path=request.path_qs,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
            at_s=time.monotonic(),
        )
        if request.transport is not None:
            self._connections.add(request.transport)
        with self._changed:
            self.arrivals.append(arrival)
            self._changed.notify_all()
        given = self._answer(arrival)
        answer = Answer(given) if isinstance(given, int) else given
        await asyncio.sleep(answer.after_s)
        match answer.how:
            case "hang":
                await asyncio.Event().wait()
            case "reset":
                _break(request)
            case "answer":
                pass
        return web.Response(status=answer.status, body=answer.body or None, headers=answer.headers)


async def _some_turns() -> None:
    """Let the loop finish what it began: a connection that is being accepted or closed takes a few turns."""
    for _ in range(5):
        await asyncio.sleep(0)


def _answering(script: Script) -> Callable[[Arrival], Answering]:
    if isinstance(script, int | Answer):
        return lambda _: script
    if callable(script):
        return script
    answers = iter(script)
    return lambda _: next(answers, 200)


def _break(request: web.BaseRequest) -> None:
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
