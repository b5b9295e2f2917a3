"""The vendors of a test: a transport that records each order by its tool, and answers or fails as the test says.

Layer: input and output. Nothing leaves the process but what the owner's own consumers do.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from functools import wraps
from queue import SimpleQueue
from typing import Any, Final, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec

from eventmw.clock import Clock
from eventmw.delivery.outbound import Outbound, Pool
from eventmw.delivery.transport import BEHALF, CONNECT_S, TransportError
from eventmw.effects import Call, Order, Write
from eventmw.errors import told
from eventmw.event import Event
from eventmw.http import HttpReply, HttpRequest

T = TypeVar("T")

Trouble = Literal["timeout", "connection"]
"""How a vendor fails without an answer."""

_WORDS: Final[Mapping[str, str]] = {"timeout": "no answer in time", "connection": "no connection"}

_NO_LIMIT_S: Final = 24 * 3600.0
"""A consumer of a test may stand in a debugger."""


class Script(NamedTuple):
    """What a vendor does with the next `times` requests; None: with all."""

    reply: HttpReply
    trouble: str
    times: int | None


class CallerPool:
    """Runs functions in the thread that called `Captured.deliver`; beside it, when that thread has a running event loop."""

    def __init__(self) -> None:
        self.is_beside = False
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def begin(self) -> SimpleQueue[Callable[[], None] | None]:
        """Return where functions come in that the calling thread is to call, until None comes."""
        self._calls = SimpleQueue()
        return self._calls

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Have a function called."""
        future: Future[T] = Future()

        def call() -> None:
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - the future tells
                future.set_exception(error)
            else:
                future.set_result(result)

        if self.is_beside:  # Django's ORM, for one, refuses to work where a loop runs
            threading.Thread(target=call, name="eventmw-test-consumer", daemon=True).start()
        else:
            self._calls.put(call)
        return future

    def close(self) -> None:
        """Do nothing: there are no threads of its own."""


class _Owners(Outbound):
    """Calls consumers as a site does, but in a pool of the test's."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._pool = pool

    def new_pool(self, size: int) -> Pool:
        """Return the one pool of the test."""
        del size
        return self._pool


class Vendors:
    """The vendors of one test, in the place of every transport.

    Args:
        clock: the test's clock; signatures are made of its time.
        pool: where sync consumers run.
        note: is given each exception of an owner's function, with the id of its tool.

    Attributes:
        orders: (tool, order) of every attempt so far. A request has the fields that its ``at_send`` made.
        scripts: tool → what its vendor does next.
        at_work: how many consumers are running.
    """

    def __init__(self, clock: Clock, pool: Pool, note: Callable[[str, BaseException], None]) -> None:
        self.orders: list[tuple[str, Order]] = []
        self.scripts: dict[str, Script] = {}
        self.at_work = 0
        self._clock = clock
        self._pool = pool
        self._note = note
        self._owners: _Owners | None = None

    async def send(self, order: Order, *, timeout_s: float, connect_timeout_s: float = CONNECT_S) -> HttpReply:
        """Record an order, and answer or fail as the test says; a consumer is called.

        Raises:
            TransportError: the test has the vendor fail without an answer, or a consumer raised.
        """
        del timeout_s, connect_timeout_s
        tool = BEHALF.get()
        if isinstance(order, HttpRequest):
            order = self._stamped(tool, order)
        self.orders.append((tool, order))
        if (script := self._next(tool)) is not None:
            if script.trouble:
                raise TransportError(f"{script.trouble}: {_host(order)}")
            return script.reply
        return await self._call(tool, order) if isinstance(order, Call) else HttpReply(200)

    async def close(self) -> None:
        """Let go of what consumers needed."""
        if self._owners is not None:
            await self._owners.close()

    async def _call(self, tool: str, call: Call) -> HttpReply:
        self._owners = self._owners or _Owners(self._pool)
        self.at_work += 1
        try:
            return await self._owners.send(Call(self._noting(tool, call.function), call.event), timeout_s=_NO_LIMIT_S)
        finally:
            self.at_work -= 1

    def _next(self, tool: str) -> Script | None:
        script = self.scripts.get(tool)
        if script is None or script.times is None:
            return script
        if script.times <= 1:
            del self.scripts[tool]
        else:
            self.scripts[tool] = script._replace(times=script.times - 1)
        return script

    def _stamped(self, tool: str, request: HttpRequest) -> HttpRequest:
        try:
            return stamped(request, self._clock)
        except Exception as error:  # noqa: BLE001 - the tool's own function harms only the tool
            self._note(tool, error)
            raise TransportError(f"at_send {told(error)}") from None

    def _noting(self, tool: str, function: Callable[[Event], Any]) -> Callable[[Event], Any]:
        """Return the owner's function, of the same kind, which reports what it raises."""

        async def awaited(result: Awaitable[Any]) -> Any:
            __tracebackhide__ = True
            try:
                return await result
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self._note(tool, error)
                raise

        def called(event: Event) -> Any:
            __tracebackhide__ = True
            try:
                result = function(event)
            except BaseException as error:
                self._note(tool, error)
                raise
            return awaited(result) if inspect.isawaitable(result) else result

        if not inspect.iscoroutinefunction(function):
            return called

        @wraps(function)
        async def called_async(event: Event) -> Any:
            return await awaited(function(event))

        return called_async


def stamped(request: HttpRequest, clock: Clock) -> HttpRequest:
    """Return a request with the fields that its ``at_send`` makes now.

    Raises:
        Exception: what ``at_send`` raised.
    """
    if request.at_send is None:
        return request
    more = tuple(request.at_send(clock.now_ms() // 1000))
    return dataclasses.replace(request, headers=(*request.headers, *more), at_send=None)


def script(
    status: int,
    *,
    error: Trouble | None,
    json: Any,
    body: bytes | str,
    headers: Mapping[str, str] | None,
    times: int | None,
) -> Script:
    """Return what a test wants of a vendor.

    Raises:
        ValueError: `error` or `times` is not one of those that there are, or both `json` and `body` are given.
    """
    if error is not None and error not in _WORDS:
        raise ValueError(f"error is one of {', '.join(map(repr, _WORDS))}, not {error!r}")
    if times is not None and times < 1:
        raise ValueError("times is 1 or more, or None for every request until recover()")
    if json is not None and body:
        raise ValueError("a vendor answers with json or with a body, not with both")
    content = msgspec.json.encode(json) if json is not None else body.encode() if isinstance(body, str) else body
    fields = {"content-type": "application/json"} if json is not None else {}
    fields |= {name.lower(): value for name, value in (headers or {}).items()}
    return Script(HttpReply(status, fields, content), _WORDS[error] if error else "", times)


def _host(order: Order) -> str:
    match order:
        case HttpRequest():
            return urlsplit(order.url).hostname or "no host"
        case Write():
            return "the file"
        case Call():
            return "the consumer"
