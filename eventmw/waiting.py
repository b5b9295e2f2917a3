"""Waiting on an event loop for a future of another thread.

Layer: gateways.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any


async def wait(future: Future[Any], timeout_s: float) -> bool:
    """Return whether the future is done within `timeout_s` seconds; it goes on either way."""
    if future.done():
        return True
    done, _ = await asyncio.wait([asyncio.wrap_future(future)], timeout=timeout_s)
    return bool(done)
