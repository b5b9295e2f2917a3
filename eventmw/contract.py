"""The Tool contract: what a destination is, its good defaults, and `@tool` and `@consumer`.

Layer: pure rules. A tool is any object with ``handle``; all else is optional. No base class, no registration.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast, runtime_checkable

from eventmw.delivery.rules import Delivery
from eventmw.effects import DONE, Call, Effect, Packed, Send, Verdict, refused, retry
from eventmw.errors import ConfigError, Misuse
from eventmw.event import Event
from eventmw.http import HttpReply, HttpRequest
from eventmw.retry import retry_after_s
from eventmw.signatures import problems as signature_problems
from eventmw.tracebacks import Tracebacks, Troubles, definition

__all__ = [
    "BoundTool",
    "Consumer",
    "Consuming",
    "Delivery",
    "FunctionTool",
    "Handler",
    "Tool",
    "When",
    "bind",
    "check_alone",
    "consumer",
    "matcher",
    "pack_singly",
    "tool",
    "verdict_by_status",
]

When = str | Collection[str] | Callable[[Event], bool] | None
"""Which events a tool gets: one name, several names, a predicate, or None for all."""

Handler = Callable[[Event], Iterable[Effect] | Effect | None]

_DEFAULTS: Final = Delivery()

ID_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@runtime_checkable
class Tool(Protocol):
    """A destination. Only ``handle`` is needed.

    Optional attributes, each with its default::

        id: str                 # default: the class's name in lower case; unique, and durable: places hang on it
        answers: bool = False   # True when it yields Fetch, Execute, Return or SetCookie: it runs in the request too
        when: When = None       # which events it gets
        delivery: Delivery      # order, window, rate, time-outs, caps
        def pack(self, items: Sequence[Send]) -> Iterable[Packed]
        def verdict(self, reply: HttpReply, items: Sequence[Send]) -> Sequence[Verdict]   # len(result) == len(items)
    """

    def handle(self, event: Event) -> Iterable[Effect]:
        """Return what the tool wants done for this event: a pure function, no clock, no random, no I/O."""
        ...


def pack_singly(items: Sequence[Send]) -> Iterable[Packed]:
    """Send each payload, an `HttpRequest`, by itself: the default ``pack``.

    Raises:
        Misuse: a payload is not an `HttpRequest`; the tool lacks a ``pack`` of its own.
    """
    for item in items:
        check_alone(item)
        yield Packed(item.payload, (item,))


def check_alone(item: Send) -> None:
    """Refuse a send that the default ``pack`` cannot pack.

    Raises:
        Misuse: its payload is not an `HttpRequest`.
    """
    if not isinstance(item.payload, HttpRequest):
        kind = type(item.payload).__name__
        raise Misuse(f"Send({kind}), but the tool has no pack(): send an HttpRequest, or give the tool a pack()")


def verdict_by_status(reply: HttpReply, items: Sequence[Send]) -> Sequence[Verdict]:
    """Judge by the status alone: the default ``verdict``.

    2xx is done. 401, 403 (a key to mend), 408, 425, 429 and 5xx are tried again, after ``Retry-After`` when given. Any
    other status refuses the request. Source: the conventions of the vendors' pages listed in docs/tools.md.
    """
    if 200 <= reply.status < 300:  # noqa: PLR2004 - the class of success, RFC 9110 15.3
        return [DONE] * len(items)
    reason = f"HTTP {reply.status}"
    if reply.status in {401, 403, 408, 425, 429} or reply.status >= 500:  # noqa: PLR2004 - RFC 9110 15.6
        return [retry(reason, retry_after_s(reply.headers.get("retry-after"), reply.headers.get("date")))] * len(items)
    return [refused(reason)] * len(items)


def matcher(when: When) -> Callable[[Event], bool] | None:
    """Return the predicate behind a `when`, or None when every event matches."""
    if when is None:
        return None
    if isinstance(when, str):
        return lambda event: event.name == when
    if callable(when):
        return when
    names = frozenset(when)
    return lambda event: event.name in names


@dataclass(frozen=True, slots=True)
class BoundTool:
    """A tool with every optional part resolved; what engine and courier work with."""

    id: str
    handle: Callable[[Event], Iterable[Effect]]
    matches: Callable[[Event], bool] | None
    answers: bool
    pack: Callable[[Sequence[Send]], Iterable[Packed]]
    verdict: Callable[[HttpReply, Sequence[Send]], Sequence[Verdict]]
    delivery: Delivery
    written: object = None
    """The owner's function that `handle` calls: where its code begins."""
    troubles: Troubles = field(default_factory=lambda: Troubles(""), compare=False)


def bind(tool: object, tracebacks: Tracebacks = "masked") -> BoundTool:
    """Resolve a tool's optional parts.

    Args:
        tool: the tool, or a consumer.
        tracebacks: how much is shown of what its code raises.

    Raises:
        ConfigError: it has no ``handle``, an attribute is of the wrong kind, or a function cannot be called as it will be.
    """
    if not callable(getattr(tool, "handle", None)) or isinstance(tool, type):
        raise ConfigError([_no_tool(tool)])
    label = _label(tool)
    ident = getattr(tool, "id", None) or type(tool).__name__.lower()
    delivery = getattr(tool, "delivery", None) or _DEFAULTS
    when = getattr(tool, "when", None)
    problems: list[str] = []
    if not isinstance(ident, str) or not ID_PATTERN.fullmatch(ident):
        problems.append(f"{label}: id must be 1 to 64 of a-z, 0-9, _ . - and start with a letter or digit")
    if not isinstance(delivery, Delivery):
        problems.append(f"{label}: delivery must be an eventmw.contract.Delivery, not {type(delivery).__name__}")
    if not _is_when(when):
        problems.append(f"{label}: when must be an event name, a list of names, or a function of the event")
    problems += [f"{label}: {problem}" for problem in _call_problems(tool, when, delivery)]
    if problems:
        raise ConfigError(problems)
    return BoundTool(
        id=cast(str, ident),
        handle=cast(Any, tool).handle,
        matches=matcher(cast(When, when)),
        answers=bool(getattr(tool, "answers", False)),
        pack=getattr(tool, "pack", pack_singly),
        verdict=getattr(tool, "verdict", verdict_by_status),
        delivery=cast(Delivery, delivery),
        written=_written(tool),
        troubles=Troubles(cast(str, ident), tracebacks),
    )


def _label(tool: object) -> str:
    if not isinstance(tool, FunctionTool | Consumer):
        return f"tool {type(tool).__name__}"
    kind = "consumer" if isinstance(tool, Consumer) else "tool"
    ident: object = tool.id
    return f"{kind} {ident}" if isinstance(ident, str) else f"{kind} {getattr(tool.function, '__name__', '')}"


def _written(tool: object) -> object:
    return tool.function if isinstance(tool, FunctionTool | Consumer) else getattr(tool, "handle", None)


def _no_tool(tool: object) -> str:
    """Return what to write instead of something that is no tool."""
    if isinstance(tool, type):
        return f"tools hold objects, and {tool.__name__} is a class: write {tool.__name__}(…)"
    if callable(tool):
        name = str(getattr(tool, "__name__", type(tool).__name__))
        ident = name if name.isidentifier() else "name"
        return (
            f"the function {name}{_at(tool)} has no handle(event) method, so it is no tool: decorate it with "
            f'@tool("{ident}") when it says what to send, or with @consumer("{ident}") when it does the work itself'
        )
    return f"tool {type(tool).__name__} has no handle(event) method; see «Write a tool» in the README"


def _at(function: object) -> str:
    place = definition(function)
    return f" ({place})" if place else ""


_HANDLE_ADVICE: Final = (
    "nothing awaits it: write def, since it only says what is to be sent; what has to wait belongs in a consumer"
)


def _call_problems(tool: object, when: object, delivery: object) -> Iterator[str]:
    """Return what cannot work when the tool's functions are called."""
    if isinstance(tool, Consumer):
        yield from signature_problems(tool.function, "the function", ("event",), may_be_async=True)
    else:
        named = "the function" if isinstance(tool, FunctionTool) else "handle"
        yield from signature_problems(_written(tool), named, ("event",), may_yield=True, advice=_HANDLE_ADVICE)
        for part, arguments in (("pack", ("items",)), ("verdict", ("reply", "items"))):
            if (given := getattr(tool, part, None)) is not None:
                if callable(given):
                    yield from signature_problems(given, part, arguments, may_yield=True)
                else:
                    yield f"{part} must be a method: def {part}(self, {', '.join(arguments)})"
            elif hasattr(tool, part):
                yield f"{part} must be a method, and is None: leave it out"
    if callable(when):
        yield from signature_problems(when, "when", ("event",))
    key = getattr(delivery, "order_key", None)
    if callable(key):
        yield from signature_problems(key, "order_key", ("event",))


def _is_when(when: object) -> bool:
    # An iterator is no list of names: it would be empty at the second look.
    if when is None or isinstance(when, str) or callable(when):
        return True
    return isinstance(when, Collection) and all(isinstance(name, str) for name in cast(Collection[object], when))


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A tool made of one function; see `tool`."""

    id: str
    function: Handler
    when: When = None
    answers: bool = False
    delivery: Delivery = _DEFAULTS

    def handle(self, event: Event) -> Iterable[Effect]:
        """Call the function and give back what it returned as an iterable of effects."""
        wanted = self.function(event)
        if wanted is None:
            return ()
        if isinstance(wanted, Effect):
            return (wanted,)
        return wanted  # what else it may be, the engine explains


def tool(
    id: str,  # noqa: A002 - the same word as everywhere else for a tool's id
    *,
    when: When = None,
    answers: bool = False,
    delivery: Delivery | None = None,
) -> Callable[[Handler], FunctionTool]:
    """Make a tool of a function that takes an `Event` and returns or yields effects.

    Args:
        id: the tool's durable id: its place in the log hangs on it, so renaming it starts a new tool.
        when: one event name, several, or a predicate; None for every event.
        answers: True when the function yields `Fetch`, `Execute`, `Return` or `SetCookie`.
        delivery: order, window, time-outs and caps; None for the defaults.

    Example::

        @tool("slack", when="purchase")
        def slack(event):
            text = f"{event.properties['value']} {event.properties['currency']}"
            yield Send(HttpRequest("POST", SLACK_URL, (("content-type", "application/json"),), dumps({"text": text})))
    """
    _check_decorated("tool", id)

    def decorate(function: Handler) -> FunctionTool:
        return FunctionTool(id, function, when, answers, delivery or _DEFAULTS)

    return decorate


def _check_decorated(decorator: str, ident: object) -> None:
    """Refuse a decorator without its brackets, which would take the function for the id.

    Raises:
        ConfigError: that was written.
    """
    if callable(ident):
        name = getattr(ident, "__name__", "name")
        raise ConfigError([f'@{decorator} needs an id{_at(ident)}: write @{decorator}("{name}")'])


Consuming = Callable[[Event], object | Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Consumer:
    """The owner's own function as a destination; see `consumer`. Calling it calls the function."""

    id: str
    function: Consuming
    when: When = None
    delivery: Delivery = _DEFAULTS

    def __call__(self, event: Event) -> object | Awaitable[object]:
        """Call the function itself, as if it had not been decorated."""
        return self.function(event)

    def handle(self, event: Event) -> Iterable[Effect]:
        """Want one call for each event."""
        yield Send(Call(self.function, event))

    def pack(self, items: Sequence[Send]) -> Iterable[Packed]:
        """Make each call an order of its own."""
        return (Packed(item.payload, (item,)) for item in items)


def consumer(
    id: str,  # noqa: A002 - as above
    *,
    when: When = None,
    delivery: Delivery | None = None,
) -> Callable[[Consuming], Consumer]:
    """Have a function called at least once for each event, in the background, with retries.

    The function may be sync (it runs in a bounded pool of threads) or async. Returning means done; raising means "again
    later", until the give-up age (72 h by default), then the event becomes a dead letter. ``raise Reject(reason)`` makes it
    one at once; ``raise RetryAfter(seconds)`` sets this event aside for that time.

    Args:
        id: the consumer's durable id, unique among tools and consumers.
        when: one event name, several, or a predicate; None for every event.
        delivery: order, window, time-outs and caps; None for the defaults.
    """
    _check_decorated("consumer", id)

    def decorate(function: Consuming) -> Consumer:
        return Consumer(id, function, when, delivery or _DEFAULTS)

    return decorate
