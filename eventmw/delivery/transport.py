"""The transport seam: the one place from which anything leaves this process on behalf of a tool.

Layer: input and output. See `Transport`; the courier knows nothing else about networks.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, NamedTuple, Protocol

from eventmw.effects import Order
from eventmw.http import HttpReply

BEHALF: Final[ContextVar[str]] = ContextVar("eventmw_behalf", default="")
"""The id of the tool for which the current task sends; its functions that hang may take no other tool's threads."""


CONNECT_S: Final = 2.0
"""Seconds for a connection, where a tool's own rules say nothing else; a vendor that needs longer is down."""


class Load(NamedTuple):
    """What an order carries: how many sends, and how often this batch of them has gone out, this time included."""

    sends: int
    attempt: int


NO_LOAD: Final = Load(0, 0)
LOAD: Final[ContextVar[Load]] = ContextVar("eventmw_load", default=NO_LOAD)
"""The load of the order that the current task sends, for who watches."""


class TransportError(Exception):
    """The order could not be carried out: no connection, a time-out, a full disk. It will be tried again.

    The message names the kind of trouble and the host, and holds no address parameters, fields or bodies.

    Attributes:
        raised: what the owner's code raised, when it was that which failed.
        what: which code: ``the consumer``, ``at_send``.
        function: the owner's function.
    """

    def __init__(
        self, message: str, *, raised: BaseException | None = None, what: str = "", function: object = None
    ) -> None:
        super().__init__(message)
        self.raised = raised
        self.what = what
        self.function = function


class Transport(Protocol):
    """Carries out orders. All methods are called on the courier's own event loop."""

    async def send(self, order: Order, *, timeout_s: float, connect_timeout_s: float = CONNECT_S) -> HttpReply:
        """Carry out one order and return the answer; a `Write` or `Call` that went well answers status 200.

        Raises:
            TransportError: it could not be carried out, or not within `timeout_s` seconds, or there was no connection
                within `connect_timeout_s`.
        """
        ...

    async def close(self) -> None:
        """Let go of connections, files and threads."""
        ...
