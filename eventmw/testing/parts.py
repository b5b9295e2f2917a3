"""The parts that tests are made of: an event, a still clock, a transport that records, keys that are what they are.

Layer: input and output. Needs no test framework.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from eventmw import engine
from eventmw.contract import bind
from eventmw.effects import Effect, Order
from eventmw.event import Device, Event, Kind, Page
from eventmw.http import HttpReply, HttpRequest
from eventmw.keys import Key

NOW_MS: Final = 1_624_910_874_832
"""Where a `FrozenClock` stands: 2021-06-28T20:07:54.832Z."""


def an_event(name: str = "test", properties: Mapping[str, Any] | None = None, **overrides: Any) -> Event:
    """Return an event as a tool would get it.

    Args:
        name: its name; "Pageview" makes a pageview.
        properties: JSON values.
        overrides: other attributes of `Event`. `client` and `system` follow from the rest when they are not given.
    """
    given = dict(properties or {})
    kind: Kind = "pageview" if name == "Pageview" else "event"
    attributes: dict[str, Any] = {
        "id": "test-event",
        "kind": kind,
        "properties": given,
        "timestamp_ms": NOW_MS,
        "recorded_ms": NOW_MS,
        "client": {**given, "__zarazTrack": name},
        "system": _system(overrides),
    }
    return Event(name=name, **{**attributes, **overrides})


def _system(overrides: Mapping[str, Any]) -> dict[str, Any]:
    device, page = overrides.get("device", Device()), overrides.get("page", Page())
    parts = {
        "device": {
            "ip": device.ip,
            "user-agent": device.user_agent,
            "language": device.language,
            "resolution": device.resolution,
            "viewport": device.viewport,
        },
        "page": {"url": page.url, "title": page.title, "referrer": page.referrer, "encoding": page.encoding},
    }
    present = {name: {key: value for key, value in part.items() if value is not None} for name, part in parts.items()}
    return {"cookies": dict(overrides.get("cookies", {})), **present}


def effects_of(tool: object, event: Event) -> list[Effect]:
    """Return what a tool wants for an event, in order; nothing when its ``when`` does not match.

    Raises:
        ConfigError: it is not a tool.
        Flood: it wants more than `eventmw.engine.MAX_EFFECTS` things.
        TypeError: it yielded something that is no effect.
        Exception: whatever the tool raised.
    """
    return engine.effects_of(bind(tool), event) or []


class FrozenClock:
    """A clock that moves when it is told to, and ids that count: the same steps give the same ids. Thread-safe.

    Args:
        now_ms: wall time, milliseconds since 1970.
        random: what every question for chance is answered with, from 0 to below 1.
    """

    def __init__(self, now_ms: int = NOW_MS, *, random: float = 0.5) -> None:
        self._now_ms = now_ms
        self._random = random
        self._ids = 0
        self._lock = threading.Lock()

    def advance(self, seconds: float) -> None:
        """Move on, to the millisecond.

        Raises:
            ValueError: `seconds` is below 0; `FrozenClock.now_ms` may go back in life, a monotonic clock may not.
        """
        if seconds < 0:
            raise ValueError("a clock moves forward: seconds must be 0 or more")
        with self._lock:
            self._now_ms += round(seconds * 1000)

    def now_ms(self) -> int:
        """Return wall time, milliseconds since 1970, UTC."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Return the same time in seconds."""
        return self._now_ms / 1000

    def stamp_ns(self) -> int:
        """Return the same time in nanoseconds."""
        return self._now_ms * 1_000_000

    def random(self) -> float:
        """Return the number that was given."""
        return self._random

    def new_id(self, now_ms: int) -> str:
        """Return 32 hexadecimal digits in the layout of a version-7 UUID, with a count in the place of chance."""
        with self._lock:
            self._ids += 1
            return f"{now_ms & (1 << 48) - 1:012x}70008{self._ids:015x}"


Answering = HttpReply | int | Exception
Answers = Iterable[Answering] | Callable[[Order], Answering]


class RecordingTransport:
    """A `eventmw.delivery.transport.Transport` that sends nothing and keeps what it should have sent. Thread-safe.

    Args:
        answers: for each order in turn an `HttpReply`, a status, or an exception to raise (after the last, 200); or a
            function of the order, called on the courier's thread.
    """

    def __init__(self, answers: Answers = ()) -> None:
        self._orders: list[Order] = []
        self._answer = answers if callable(answers) else _one_by_one(answers)
        self._lock = threading.Lock()

    @property
    def orders(self) -> list[Order]:
        """Every order so far, in order of arrival; a copy."""
        with self._lock:
            return list(self._orders)

    @property
    def requests(self) -> list[HttpRequest]:
        """Those orders that are requests to a vendor."""
        return [order for order in self.orders if isinstance(order, HttpRequest)]

    async def send(self, order: Order, *, timeout_s: float, connect_timeout_s: float = 0.0) -> HttpReply:
        """Keep the order and answer as told.

        Raises:
            Exception: what was given as the answer.
        """
        del timeout_s, connect_timeout_s  # nothing here takes time
        with self._lock:
            self._orders.append(order)
            answer = self._answer(order)
        if isinstance(answer, Exception):
            raise answer
        return HttpReply(answer) if isinstance(answer, int) else answer

    async def close(self) -> None:
        """Keep everything: the orders are there for the test."""


def _one_by_one(answers: Iterable[Answering]) -> Callable[[Order], Answering]:
    left = iter(answers)
    return lambda _: next(left, 200)


class FixedKeys:
    """Keys of the EventBunker API that are what they are: secret → `eventmw.keys.Key`.

    Args:
        keys: what is found for each secret that is shown.
    """

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = dict(keys)

    def find(self, shown: str) -> Key | None:
        """Return the key that this secret stands for, or None."""
        return self._keys.get(shown)

    def by_id(self, key_id: str) -> Key | None:
        """Return the key of that id, or None."""
        return next((key for key in self._keys.values() if key.id == key_id), None)

    def lists(self, origin: str) -> bool:
        """Return whether any key may be used by pages of this browser origin."""
        return any(origin in key.origins for key in self._keys.values())

    def lookup(self, shown: str) -> None:
        """Return that there is nothing to look for: no key comes after these."""

    def lookup_id(self, key_id: str) -> None:
        """Return that there is nothing to look for."""

    def lookup_origin(self, origin: str) -> None:
        """Return that there is nothing to look for."""
