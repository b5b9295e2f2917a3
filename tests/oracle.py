"""The differential oracle: a scripted site is driven bare and wrapped, and everything that either side can see is logged.

A wrapper is «untouched» when the two logs are equal. A log holds, in order: what the site was given and whether it is the
very object that the server passed; every message, chunk, read and call; the scope or environ before and after; context
variables in both directions; exceptions by type, arguments and identity; the task, the thread and the turns of the event
loop in which things happened; what was returned, and whether it is the site's own object.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Log = list[tuple[Any, ...]]
Wrapper = Callable[[Any], Any]
SEEN: contextvars.ContextVar[str] = contextvars.ContextVar("SEEN", default="unset")


def bare(app: Any) -> Any:
    """Wrap nothing: the control."""
    return app


# What a script tells the site to do.


@dataclass(frozen=True)
class Receive:
    """Take the next message. ASGI only."""


@dataclass(frozen=True)
class Send:
    """Send a message. ASGI only."""

    message: Mapping[str, Any]


@dataclass(frozen=True)
class Read:
    """Read from the input. WSGI only."""

    size: int


@dataclass(frozen=True)
class Start:
    """Call start_response, with exc_info when `failed`. WSGI only."""

    status: str = "200 OK"
    failed: bool = False


@dataclass(frozen=True)
class Write:
    """Call what start_response returned. WSGI only."""

    data: bytes


@dataclass(frozen=True)
class SetVariable:
    """Set the context variable that the server looks at afterwards."""

    value: str


@dataclass(frozen=True)
class Mutate:
    """Set a key of the scope or environ."""

    key: str
    value: Any


@dataclass(frozen=True)
class Raise:
    """Raise this kind of exception."""

    kind: type[BaseException]


@dataclass(frozen=True)
class Turn:
    """Let the event loop turn once. ASGI only."""


Step = Receive | Send | Read | Start | Write | SetVariable | Mutate | Raise | Turn
CANCEL = "cancel"
"""In an ASGI inbox: the server cancels the request at this place."""


@dataclass(frozen=True)
class AsgiScript:
    """One request or connection: its scope, the messages that come, what the site does, and what it returns."""

    scope: Mapping[str, Any]
    inbox: Sequence[Any] = ()
    steps: Sequence[Step] = ()
    returns: object = None


@dataclass(frozen=True)
class WsgiScript:
    """One request: its environ, its input, what the site does before it returns, what it returns and does in it.

    ``taken``: how many chunks the server takes before its client leaves; None for all.
    """

    environ: Mapping[str, Any]
    data: bytes = b""
    steps: Sequence[Step] = ()
    body: Literal["list", "tuple", "generator", "closing", "iterator", "bytes"] = "list"
    chunks: Sequence[bytes] = ()
    inner: Sequence[Step] = ()
    taken: int | None = None


def asgi_log(wrap: Wrapper, script: AsgiScript) -> Log:
    """Drive the scripted site, wrapped by `wrap`, and return what was seen."""
    return asyncio.run(_AsgiStage(script).drive(wrap))


def wsgi_log(wrap: Wrapper, script: WsgiScript) -> Log:
    """Drive the scripted site, wrapped by `wrap`, and return what was seen."""
    stage = _WsgiStage(script)
    contextvars.copy_context().run(stage.drive, wrap)
    return stage.log


def difference(wrap: Wrapper, script: AsgiScript | WsgiScript) -> str | None:
    """Return the first place where bare and wrapped differ, or None."""
    if isinstance(script, AsgiScript):
        expected, seen = asgi_log(bare, script), asgi_log(wrap, script)
    else:
        expected, seen = wsgi_log(bare, script), wsgi_log(wrap, script)
    for number, (one, other) in enumerate(zip(expected, seen, strict=False)):
        if one != other:
            return f"{number}: bare {one}, wrapped {other}"
    return None if len(expected) == len(seen) else f"{len(expected)} entries bare, {len(seen)} wrapped"


def _fault(error: BaseException, own: BaseException | None) -> tuple[Any, ...]:
    return type(error), error.args, error is own, error.__context__ is None, error.__cause__ is None


@dataclass
class _AsgiStage:
    script: AsgiScript
    log: Log = field(default_factory=list)
    raised: BaseException | None = None
    turns: int = 0
    handed: int = 0

    def __post_init__(self) -> None:
        self.scope = copy.deepcopy(dict(self.script.scope))
        self.inbox = copy.deepcopy(list(self.script.inbox))
        self.outbox: list[Any] = []
        self.given = (self.scope, self._receive, self._send)

    def note(self, *entry: Any) -> None:
        self.log.append((*entry, ("turns", self.turns), ("own task", asyncio.current_task() is self.task)))

    async def drive(self, wrap: Wrapper) -> Log:
        self.task = asyncio.current_task()
        site = wrap(self._site)
        SEEN.set("by the server")
        watch = asyncio.create_task(self._count_turns())
        before = (asyncio.all_tasks(), set(threading.enumerate()))
        try:
            result = await site(*self.given)
            self.note("returned", result is self.script.returns)
        except BaseException as error:
            self.note("raised", *_fault(error, self.raised))
            asyncio.current_task().uncancel()  # type: ignore[union-attr]
        self.note("after", SEEN.get(), list(self.scope.items()), copy.deepcopy(self.inbox))
        self.note("tasks left", len(asyncio.all_tasks() - before[0]), set(threading.enumerate()) - before[1])
        watch.cancel()
        return self.log

    async def _count_turns(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    async def _receive(self) -> Any:
        self.note("asked for a message")
        if self.handed == len(self.inbox):
            return {"type": "nothing more"}
        message = self.inbox[self.handed]
        self.handed += 1
        if message == CANCEL:
            assert self.task is not None
            self.task.cancel("the server")
            await asyncio.sleep(0)
        return message

    async def _send(self, message: Any) -> None:
        self.note("sent", message is self.outbox[-1] if self.outbox else "unasked", copy.deepcopy(message))

    async def _site(self, *given: Any) -> object:
        scope, receive, send = given
        self.note("called", [one is other for one, other in zip(given, self.given, strict=True)], SEEN.get())
        self.note("scope", type(scope), copy.deepcopy(list(scope.items())), threading.get_ident())
        for step in self.script.steps:
            try:
                await self._do(step, scope, receive, send)
            except BaseException as error:
                self.note("site sees", *_fault(error, self.raised))
                raise
        return self.script.returns

    async def _do(self, step: Step, scope: Any, receive: Any, send: Any) -> None:
        match step:
            case Receive():
                message = await receive()
                self.note("received", any(message is one for one in self.inbox), copy.deepcopy(message))
            case Send(message):
                self.outbox.append(dict(message))
                self.note("send gave", await send(self.outbox[-1]))
            case SetVariable(value):
                SEEN.set(value)
            case Mutate(key, value):
                scope[key] = value
            case Turn():
                await asyncio.sleep(0)
            case Raise(kind):
                self.raised = kind("by the site")
                raise self.raised
            case _:
                raise AssertionError(step)


@dataclass
class _WsgiStage:
    script: WsgiScript
    log: Log = field(default_factory=list)
    raised: BaseException | None = None
    started: bool = False
    left: bytes = b""
    returned: Any = None
    writing: Any = None
    headers: Any = None

    def __post_init__(self) -> None:
        self.left = self.script.data
        self.environ = {
            **copy.deepcopy(dict(self.script.environ)),
            "wsgi.input": _Input(self),
            "wsgi.errors": sys.stderr,
        }
        self.given = (self.environ, self._start_response)
        self.write = self._write

    def note(self, *entry: Any) -> None:
        self.log.append((*entry, threading.get_ident(), len(threading.enumerate())))

    def drive(self, wrap: Wrapper) -> None:
        site = wrap(self._site)
        SEEN.set("by the server")
        result = None
        try:
            result = site(*self.given)
            self.note("returned", result is self.returned, type(result))
            self._take(result)
        except BaseException as error:
            self.note("raised", *_fault(error, self.raised))
        finally:
            self._close(result)
        self.note("after", SEEN.get(), self._snapshot(self.environ))

    def _take(self, result: Iterable[bytes]) -> None:
        for number, chunk in enumerate(result):
            self.note("chunk", chunk, any(chunk is own for own in self.script.chunks))
            self.started = True
            if number + 1 == self.script.taken:
                return

    def _close(self, result: Any) -> None:
        try:
            if hasattr(result, "close"):
                self.note("close gave", result.close())
        except BaseException as error:
            self.note("close raised", *_fault(error, self.raised))

    def _snapshot(self, environ: Any) -> tuple[Any, ...]:
        plain = {key: value if isinstance(value, str | int | tuple) else type(value) for key, value in environ.items()}
        return type(environ), list(plain.items()), environ["wsgi.input"] is self.environ["wsgi.input"]

    def _start_response(self, *given: Any, **named: Any) -> Any:
        status, headers, *exc_info = given
        failed = exc_info[0] if exc_info else None
        same = failed is None or failed[1] is self.raised
        self.note("start_response", status, list(headers), len(given), named, headers is self.headers, same)
        if failed and self.started:
            raise failed[1]
        return self.write

    def _write(self, data: bytes) -> None:
        self.note("write", data)
        self.started = True

    def _site(self, *given: Any, **named: Any) -> Any:
        environ, start_response = given
        self.note("called", environ is self.environ, start_response is self.given[1], named, SEEN.get())
        self.note("environ", *self._snapshot(environ))
        self._perform(self.script.steps, environ, start_response)
        self.returned = self._body(environ, start_response)
        return self.returned

    def _perform(self, steps: Sequence[Step], environ: Any, start_response: Any) -> None:
        for step in steps:
            try:
                self._do(step, environ, start_response)
            except BaseException as error:
                self.note("site sees", *_fault(error, self.raised))
                raise

    def _do(self, step: Step, environ: Any, start_response: Any) -> None:
        match step:
            case Read(size):
                self.note("read gave", environ["wsgi.input"].read(size))
            case Start(status, failed):
                self._start(status, failed, start_response)
            case Write(data):
                if self.writing is not None:
                    self.writing(data)
            case SetVariable(value):
                SEEN.set(value)
            case Mutate(key, value):
                environ[key] = value
            case Raise(kind):
                self.raised = kind("by the site")
                raise self.raised
            case _:
                raise AssertionError(step)

    def _start(self, status: str, failed: bool, start_response: Any) -> None:
        self.headers = [("X-Site", status)]
        if not failed:
            self.writing = start_response(status, self.headers)
        else:
            self.raised = ValueError("handled by the site")
            try:
                raise self.raised
            except ValueError:
                self.writing = start_response(status, self.headers, sys.exc_info())
        self.note("write is the server's", self.writing is self.write)

    def _body(self, environ: Any, start_response: Any) -> Any:
        match self.script.body:
            case "list":
                return list(self.script.chunks)
            case "tuple":
                return tuple(self.script.chunks)
            case "bytes":
                return b"".join(self.script.chunks)
            case "iterator":
                return iter(self.script.chunks)
            case "generator":
                return self._generate(environ, start_response)
            case "closing":
                return _Closing(self, self._generate(environ, start_response))

    def _generate(self, environ: Any, start_response: Any) -> Generator[bytes, None, None]:
        try:
            self.note("first chunk asked for", SEEN.get())
            self._perform(self.script.inner, environ, start_response)
            for chunk in self.script.chunks:
                self.note("yields", chunk)
                yield chunk
        finally:
            self.note("generator ends")


@dataclass
class _Input:
    stage: _WsgiStage

    def read(self, size: int = -1) -> bytes:
        self.stage.note("read", size)
        size = len(self.stage.left) if size < 0 else size
        data, self.stage.left = self.stage.left[:size], self.stage.left[size:]
        return data


@dataclass
class _Closing:
    stage: _WsgiStage
    chunks: Generator[bytes, None, None]

    def __iter__(self) -> Iterator[bytes]:
        self.stage.note("iter")
        return self.chunks

    def __len__(self) -> int:
        return len(self.stage.script.chunks)

    def close(self) -> str:
        self.stage.note("close")
        self.chunks.close()
        return "closed"
