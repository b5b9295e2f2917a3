"""The rules by which the courier treats one tool: `Delivery`.

Layer: pure rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Final

from eventmw.errors import ConfigError
from eventmw.event import Event

OrderKey = str | Callable[[Event], str | int | None] | None
"""Whose events stay in order: the name of a property, a function of the event, or None for nobody's."""

_NOT_NUMBERS: Final = frozenset({"ordered", "order_key", "rate_per_s", "linger_s"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How the courier treats one tool.

    Attributes:
        ordered: one request in flight, a retry holds the place. Else a window of `window` requests, order not promised.
        order_key: with a window, the events of one key are first sent in the order in which they were recorded, and those
            of different keys side by side. The name of a property, such as ``"user_id"``, or a function of the event that
            returns text, a whole number, or None for an event that nobody waits for.
        window: requests in flight at once when not ordered.
        rate_per_s: requests a second, probes included; a tenth of a second's worth may go at once. None: no bound.
        timeout_s: seconds for one request, connection included.
        connect_timeout_s: seconds within which a connection is there; a vendor that needs longer is down.
        give_up_s: age in seconds after which an event that could not be delivered becomes a dead letter.
        backlog_bytes: bytes of records a tool may be behind; past it the oldest become dead letters.
        first_backoff_s, max_backoff_s: the bounds of the exponential back-off, in seconds.
        max_batch_items, max_batch_bytes: how much is read ahead for one ``pack`` call.
        linger_s: how old the oldest event may become, in seconds since it was recorded, while the tool waits for more to
            pack with it. 0: it does not wait. A request that is full goes at once, and so do events older than this.

    Raises:
        ConfigError: any of this cannot work; all problems at once.
    """

    ordered: bool = False
    order_key: OrderKey = None
    window: int = 4
    rate_per_s: float | None = None
    timeout_s: float = 10.0
    connect_timeout_s: float = 2.0  # Source: reference hazards 2.3
    give_up_s: float = 72 * 3600.0
    backlog_bytes: int = 256 * 1024 * 1024
    first_backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    max_batch_items: int = 500
    max_batch_bytes: int = 1024 * 1024
    linger_s: float = 0.0

    def __post_init__(self) -> None:
        if wrong := [*_problems(self)]:
            raise ConfigError(wrong)


def _problems(rules: Delivery) -> Iterator[str]:
    for name in (spec.name for spec in fields(rules) if spec.name not in _NOT_NUMBERS):
        if not _is_positive(getattr(rules, name)):
            yield f"Delivery({name}=…) must be a finite number above 0"
    if rules.rate_per_s is not None and not _is_positive(rules.rate_per_s):
        yield "Delivery(rate_per_s=…) must be a finite number above 0, or None for no bound"
    yield from _linger_problems(rules)
    key: object = rules.order_key
    if not (key is None or callable(key) or (isinstance(key, str) and key)):
        yield "Delivery(order_key=…) must be the name of a property or a function of the event"
    if key is not None and rules.ordered:
        yield "Delivery(ordered=True) keeps all events in order, those of one key as well: leave order_key out"


def _linger_problems(rules: Delivery) -> Iterator[str]:
    linger: object = rules.linger_s
    if not (_is_positive(linger) or (linger == 0 and not isinstance(linger, bool))):
        yield "Delivery(linger_s=…) must be a finite number of seconds, 0 for not waiting"
    elif _is_positive(rules.give_up_s) and rules.linger_s >= rules.give_up_s:
        yield "Delivery(linger_s=…) must be shorter than give_up_s: events would be given up before they are sent"


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
