"""What leaves the process: HTTP requests, lines of files, calls of the owner's functions.

The hosts that requests go to come from the configuration and never from an event; that is the guard against requests which
an event's data would choose. Nothing here follows a redirect, asks a proxy of the environment, or keeps a cookie.

Layer: input and output. Messages name the kind of trouble and the host: no paths, fields, bodies or values.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import sys
from collections.abc import Callable, Hashable
from functools import partial
from typing import Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from eventmw.effects import Call, Order, Write
from eventmw.http import HttpReply, HttpRequest
from eventmw.threads import DaemonPool
from eventmw.transport import TransportError

MAX_REPLY_BYTES: Final = 64 * 1024
CONNECT_S: Final = 2.0
"""Source: reference hazards 2.3, as the 64 KiB; a vendor that needs longer to take a connection is down."""

MAX_CALLS: Final = 4
"""Threads for one owner's function."""

_DEFAULT_FIELDS: Final = {"user-agent": "eventmw", "accept": "*/*", "accept-encoding": "identity"}
_OK: Final = HttpReply(200)
_T = TypeVar("_T")


class Outbound:
    """The transport of a running site. Make it on the loop that uses it."""

    def __init__(self) -> None:
        self._http = HttpTransport()
        self._pools: dict[Hashable, DaemonPool] = {}

    async def send(self, order: Order, *, timeout_s: float) -> HttpReply:
        """Carry out one order; see `eventmw.transport.Transport`."""
        match order:
            case HttpRequest():
                return await self._http.send(order, timeout_s=timeout_s)
            case Write():
                await self._within(timeout_s, "writing to a file", self._write(order))
            case Call():
                await self._within(timeout_s, "the consumer", self._call(order))
        return _OK

    async def close(self) -> None:
        """Close connections; threads that hang in somebody's function are left behind."""
        for pool in self._pools.values():
            pool.close()
        await self._http.close()
