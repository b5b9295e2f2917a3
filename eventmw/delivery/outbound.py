"""What leaves the process: HTTP requests, lines of files, calls of the owner's functions.

The hosts that requests go to come from the configuration and never from an event; that is the guard against requests which
an event's data would choose. Nothing here follows a redirect, asks a proxy of the environment, or keeps a cookie.

Layer: input and output. Messages name the kind of trouble and the host: no paths, fields, bodies or values.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import time
from collections.abc import Callable, Coroutine, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Final, Protocol, TypeVar, cast
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from eventmw.delivery.batches import Rubbish
from eventmw.delivery.holds import WATCH, Stepped
from eventmw.delivery.threads import DaemonPool
from eventmw.delivery.transport import BEHALF, CONNECT_S, TransportError
from eventmw.effects import Call, Effect, Order, Verdict, Write
from eventmw.errors import told
from eventmw.http import Headers, HttpReply, HttpRequest
from eventmw.jsontext import ESCAPES
from eventmw.tracebacks import definition

MAX_REPLY_BYTES: Final = 64 * 1024
MAX_CALLS: Final = 4
"""Threads for one owner's function."""

_DEFAULT_FIELDS: Final = {"user-agent": "eventmw", "accept": "*/*", "accept-encoding": "identity"}
_OK: Final = HttpReply(200)
_T = TypeVar("_T")


class Pool(Protocol):
    """What runs the owner's functions."""

    def submit(self, function: Callable[[], _T]) -> Future[_T]:
        """Call `function`, and fulfil the future with what it returns or raises."""
        ...

    def close(self) -> None:
        """Let threads end when they have nothing to do."""
        ...


class Outbound:
    """The transport of a running site. Make it on the loop that uses it."""

    def __init__(self) -> None:
        self._http = HttpTransport()
        self._pools: dict[Hashable, Pool] = {}
        self._under_way: set[asyncio.Task[BaseException | None]] = set()

    async def send(self, order: Order, *, timeout_s: float, connect_timeout_s: float = CONNECT_S) -> HttpReply:
        """Carry out one order; see `eventmw.delivery.transport.Transport`."""
        match order:
            case HttpRequest():
                return await self._http.send(order, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s)
            case Write():
                await self._within(timeout_s, "writing to a file", self._write(order))
            case Call():
                await self._within(timeout_s, "the consumer", self._call(order), order.function)
        return _OK

    async def close(self) -> None:
        """Close connections; threads that hang in somebody's function are left behind."""
        for pool in self._pools.values():
            pool.close()
        await self._http.close()

    async def _write(self, order: Write) -> None:
        # A file on a network that hangs, or a named pipe without a reader, must not hold up another tool's file.
        await self._in_thread(order.path, partial(_append, order.path, order.data), 1)

    async def _call(self, order: Call) -> None:
        function = order.function
        if _is_async(function):
            result = function(order.event)
        else:
            key = (BEHALF.get(), *_name(function))
            result = await self._in_thread(key, partial(function, order.event), MAX_CALLS)
        if inspect.isawaitable(result):
            watch, tool = WATCH.get(), BEHALF.get()
            result = await Stepped(result, lambda: watch.holding(tool, "the async consumer"))
        _check_returned(result, function)

    async def _in_thread(self, key: Hashable, function: Callable[[], _T], size: int) -> _T:
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = self.new_pool(size)
        value, error = await asyncio.wrap_future(pool.submit(partial(_attempt, function)))
        if error is not None:
            raise _Failed(error)
        return cast("_T", value)

    def new_pool(self, size: int) -> Pool:
        """Return what runs an owner's function, at most `size` calls at once."""
        return DaemonPool("eventmw-call", size)

    async def _within(
        self, timeout_s: float, what: str, work: Coroutine[Any, Any, None], function: object = None
    ) -> None:
        """Await `work` for at most `timeout_s`, and turn whatever it raises into a `TransportError` without its values.

        It runs in a task of its own, which is left behind when it does not heed its cancellation.
        """
        task = asyncio.create_task(_outlive(work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout_s)
        finally:
            task.cancel()
        if not done:
            raise TransportError(f"{what} took longer than {timeout_s:g} s")
        if (error := task.result()) is not None:
            if isinstance(error, TransportError):
                raise error
            raise TransportError(f"{what} {told(error)}", raised=error, what=what, function=function)


class HttpTransport:
    """HTTP/1.1 by aiohttp: connections are kept and shared by all tools, which set how many requests are in flight."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers=_DEFAULT_FIELDS,
        )

    async def send(self, request: HttpRequest, *, timeout_s: float, connect_timeout_s: float = CONNECT_S) -> HttpReply:
        """Send a request and return the answer, whatever its status.

        Raises:
            TransportError: there was no connection, or no status within `timeout_s` seconds. A body that does not end by
                then is cut.
        """
        stamped = _stamped(request)
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(connect_timeout_s, timeout_s))
        try:
            async with self._session.request(
                request.method,
                URL(request.url, encoded=True),  # signed addresses must go out as the tool wrote them
                headers=CIMultiDict((*request.headers, *stamped)),
                data=request.body or None,
                allow_redirects=False,
                timeout=timeout,
            ) as response:
                body = await _read(response)
                return HttpReply(response.status, _fields(response), body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TransportError(f"{_kind(error)}: {_host(request.url)}") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body as far as it came in time: the status, which says most, is here already."""
    body = bytearray()
    with suppress(TimeoutError):
        while len(body) < MAX_REPLY_BYTES:
            chunk = await response.content.read(MAX_REPLY_BYTES - len(body))
            if not chunk:
                return bytes(body)
            body += chunk
    if not response.content.at_eof():
        response.close()  # the rest is not wanted, so the connection cannot be used again
    return bytes(body)


def _fields(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the header fields with lower-case names; repeated ones are joined (RFC 9110 5.3)."""
    fields: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        fields[key] = f"{fields[key]}, {value}" if key in fields else value
    return fields


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "no host"
    except ValueError:
        return "no host"


# The first that fits is told, so the more special ones stand first.
_KINDS: Final[Sequence[tuple[type[Exception] | tuple[type[Exception], ...], str]]] = (
    (aiohttp.ConnectionTimeoutError, "no connection in time"),
    (TimeoutError, "no answer in time"),
    ((aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError), "the TLS handshake was refused"),
    (aiohttp.ClientConnectorDNSError, "the host's name was not found"),
    (aiohttp.ClientConnectorError, "no connection"),
    ((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError), "the request cannot be sent as it is"),
    ((aiohttp.ClientPayloadError, aiohttp.ClientResponseError), "the answer was damaged"),
    (Exception, "the connection was lost"),
)


def _kind(error: Exception) -> str:
    return next(text for kinds, text in _KINDS if isinstance(error, kinds))


def _check_returned(result: object, function: object) -> None:
    """Refuse what a consumer returned, when its author must have meant it to do something: nothing reads it.

    Raises:
        Rubbish: it is a verdict, an effect, an exception, or a generator that was never run.
    """
    one: object = result
    if isinstance(result, list | tuple):
        one = next((member for member in cast(Sequence[object], result) if isinstance(member, Verdict)), None)
    what = f"the class {one.__name__}" if isinstance(one, type) else type(one).__name__
    if isinstance(one, Verdict | BaseException) or (isinstance(one, type) and issubclass(one, Exception)):
        advice = "raise Reject(reason) to give the event up, raise RetryAfter(seconds) to get it again, return for done"
        raise Rubbish(f"returned {what}, which nothing reads: {advice}", definition(function))
    if isinstance(one, Effect):
        advice = "effects are what a tool returns: decorate it with @tool, or do the work here"
        raise Rubbish(f"returned {what}, which nothing reads: {advice}", definition(function))
    if isinstance(one, GeneratorType | AsyncGeneratorType):
        raise Rubbish(f"returned {what}, of which nothing has run: leave the yield out", definition(function))


def _is_async(function: Callable[..., object]) -> bool:
    inner = function.func if isinstance(function, partial) else function
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)


def _name(function: Callable[..., object]) -> tuple[str, str]:
    """Name a function for its pool: the same for one that is made anew for each event."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return named.__module__, named.__qualname__


def _stamped(request: HttpRequest) -> Headers:
    if request.at_send is None:
        return ()
    try:
        with WATCH.get().holding(BEHALF.get(), "at_send"):
            return tuple(request.at_send(int(time.time())))
    except BaseException as error:  # noqa: BLE001 - the tool's own function harms only the tool
        message = f"at_send {told(error)}"
        raise TransportError(message, raised=error, what="at_send", function=request.at_send) from None


class _Failed(Exception):  # noqa: N818 - never leaves this module
    """Carries what somebody's function raised past asyncio, which takes some exceptions for its own (StopIteration)."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _attempt(function: Callable[[], _T]) -> tuple[_T | None, BaseException | None]:
    try:
        return function(), None
    except BaseException as error:  # noqa: BLE001 - as above
        return None, error


async def _outlive(work: Coroutine[Any, Any, None]) -> BaseException | None:
    """Return what `work` raises: out of a task, SystemExit and KeyboardInterrupt would end the whole loop."""
    try:
        await work
    except _Failed as failed:
        return failed.error
    except BaseException as error:  # noqa: BLE001 - as above
        return error
    return None


def _print(text: str) -> None:
    """Write text where `print` would: to what ``sys.stdout`` is now, in Jupyter, redirected or captured.

    Raises:
        TransportError: standard output is closed. As with a full disk, the tool tries again.
    """
    stream = next((stream for stream in (sys.stdout, sys.__stdout__) if not getattr(stream, "closed", False)), None)
    if stream is None:
        # As `print` does: a process without standard output (pythonw, a daemon) has nobody who could read it.
        if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] - the type does not say so
            return
        raise TransportError("standard output is closed")
    stream.write(_encodable(text, getattr(stream, "encoding", None)))
    if (flush := getattr(stream, "flush", None)) is not None:
        flush()


def _encodable(text: str, encoding: str | None) -> str:
    """Return the text with JSON's escapes for the characters that a stream's encoding lacks."""
    encoding = encoding or "utf-8"
    try:
        return text.encode(encoding, ESCAPES).decode(encoding)
    except LookupError:  # a codec that only the stream itself knows
        return text


def _append(path: str, data: bytes) -> None:
    if path == "-":
        return _print(data.decode(errors="backslashreplace"))
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # One write: lines of several processes do not mix. A short one means that the disk is full.
        if os.write(descriptor, data) < len(data):
            raise OSError("the file took only a part of the data")
    finally:
        os.close(descriptor)
