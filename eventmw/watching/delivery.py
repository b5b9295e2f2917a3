"""Deliveries, watched: what is put around the dispatcher, the transport and the lease that a courier works with.

Each wrapper does what is inside it, raises what that raises, and then tells the watch. What is not watched it does not even
name (`__getattr__`): a port that gains a method needs nothing here.

Layer: input and output.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

from eventmw.clock import Clock
from eventmw.contract import BoundTool
from eventmw.delivery.dispatcher import Dispatch, Dispatcher
from eventmw.delivery.transport import BEHALF, CONNECT_S, LOAD, Transport, TransportError
from eventmw.effects import Call, Order, Write
from eventmw.engine import NOT_FOR_IT
from eventmw.event import Event
from eventmw.http import HttpReply, HttpRequest
from eventmw.journal import Commit, Lease, Reading
from eventmw.record import Erased
from eventmw.watching.watch import Sent, Watch


class WatchedDelivery:
    """Puts the wrappers on.

    Args:
        watch: is told.
        clock: the wall clock, against which the age of records is taken.
    """

    def __init__(self, watch: Watch, clock: Clock) -> None:
        self._watch = watch
        self._clock = clock
        self._event_id: Callable[[bytes], str | None] = lambda _: None

    def dispatcher(self, dispatcher: Dispatcher) -> Dispatcher:
        """Tell of each event that a tool is handed."""
        self._event_id = partial(_event_id, dispatcher)
        return dispatcher if self._watch.log is None else cast(Dispatcher, _WatchedDispatcher(dispatcher, self._watch))

    def transport(self, transport: Transport) -> Transport:
        """Tell of each request to a vendor."""
        return cast(Transport, _WatchedTransport(transport, self._watch))

    def lease(self, lease: Lease) -> Lease:
        """Tell of each commit, and how old what is taken up is."""
        return cast(Lease, _WatchedLease(lease, self._watch, self._clock, self._event_id))


def _event_id(dispatcher: Dispatcher, record: bytes) -> str | None:
    try:
        return next((None if isinstance(event, Erased) else event.id for event in dispatcher.events(record)), None)
    except Exception:  # noqa: BLE001 - a damaged record has no event whose id could be told
        return None


class _WatchedDispatcher:
    def __init__(self, dispatcher: Dispatcher, watch: Watch) -> None:
        self._dispatcher = dispatcher
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dispatcher, name)

    def dispatch(self, tool: BoundTool, event: Event, /) -> Dispatch:
        wanted = self._dispatcher.dispatch(tool, event)
        if wanted is not NOT_FOR_IT:
            self._watch.handed(tool.id, event.id, len(wanted.sends), ecommerce=event.kind == "ecommerce")
        return wanted


class _WatchedTransport:
    def __init__(self, transport: Transport, watch: Watch) -> None:
        self._transport = transport
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def send(self, order: Order, *, timeout_s: float, connect_timeout_s: float = CONNECT_S) -> HttpReply:
        began_s = self._watch.now_s()
        try:
            reply = await self._transport.send(order, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s)
        except Exception as error:
            self._tell(order, began_s, None, str(error) if isinstance(error, TransportError) else type(error).__name__)
            raise
        self._tell(order, began_s, reply.status, None)
        return reply

    def _tell(self, order: Order, began_s: float, status: int | None, error: str | None) -> None:
        kind, host, method = _target(order)
        load = LOAD.get()
        self._watch.sent(
            Sent(
                tool=BEHALF.get(),
                kind=kind,
                host=host,
                method=method,
                sends=load.sends,
                attempt=load.attempt,
                status=status if kind == "http" else None,
                error=error,
                seconds=self._watch.now_s() - began_s,
            )
        )


def _target(order: Order) -> tuple[str, str | None, str | None]:
    """Return (kind, host, method): where an order goes, without anything that may be a secret."""
    match order:
        case HttpRequest():
            return "http", _host(order.url), order.method
        case Write():
            return "file", None, None
        case Call():
            return "function", None, None


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


class _WatchedLease:
    def __init__(self, lease: Lease, watch: Watch, clock: Clock, event_id: Callable[[bytes], str | None]) -> None:
        self._lease = lease
        self._watch = watch
        self._clock = clock
        self._event_id = event_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lease, name)

    def read(self, tool: str, max_records: int) -> list[Reading]:
        readings = self._lease.read(tool, max_records)
        age_ms = self._clock.now_ms() - readings[0].entry.recorded_ms if readings else 0
        self._watch.took_up(tool, age_ms / 1000)
        return readings

    def commit(self, tool: str, step: Commit) -> None:
        self._lease.commit(tool, step)
        self._watch.committed(tool, step, self._event_id)
