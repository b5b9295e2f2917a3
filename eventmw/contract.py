"""The Tool contract: what a destination is, its good defaults, and `@tool` and `@consumer`.

Layer: pure rules. A tool is any object with ``handle``; all else is optional. No base class, no registration.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast, runtime_checkable

from eventmw.delivery.rules import Delivery
from eventmw.effects import DONE, Call, Effect, Packed, Send, Verdict, refused, retry
from eventmw.errors import ConfigError, Misuse
from eventmw.event import Event
from eventmw.http import HttpReply, HttpRequest
from eventmw.retry import retry_after_s

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
        raise Misuse(
            f"yielded Send({kind}), but the tool has no pack(): send an HttpRequest, or give the tool a pack()"
        )


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


def bind(tool: object) -> BoundTool:
    """Resolve a tool's optional parts.

    Raises:
        ConfigError: it has no ``handle``, or an attribute is of the wrong kind.
    """
    label = f"tool {type(tool).__name__}"
    if isinstance(tool, type):
        raise ConfigError([f"tools hold objects, and {tool.__name__} is a class: write {tool.__name__}(…)"])
    if not callable(getattr(tool, "handle", None)):
        raise ConfigError([f"{label} has no handle(event) method; see «Write a tool» in the README"])
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
    problems += [
        f"{label}: {part} must be a method" for part in ("pack", "verdict") if not callable(getattr(tool, part, _noop))
    ]
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
    )


def _is_when(when: object) -> bool:
    # An iterator is no list of names: it would be empty at the second look.
    if when is None or isinstance(when, str) or callable(when):
        return True
    return isinstance(when, Collection) and all(isinstance(name, str) for name in cast(Collection[object], when))


def _noop() -> None:
    """Stand for an optional method that is absent."""


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
        return wanted


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

    def decorate(function: Handler) -> FunctionTool:
        return FunctionTool(id, function, when, answers, delivery or _DEFAULTS)

    return decorate


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
    later", until the give-up age (72 h by default), then the event becomes a dead letter.

    Args:
        id: the consumer's durable id, unique among tools and consumers.
        when: one event name, several, or a predicate; None for every event.
        delivery: order, window, time-outs and caps; None for the defaults.
    """

    def decorate(function: Consuming) -> Consumer:
        return Consumer(id, function, when, delivery or _DEFAULTS)

    return decorate
