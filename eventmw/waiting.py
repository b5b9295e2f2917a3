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
    ended = asyncio.wrap_future(future)
    ended.add_done_callback(_retrieved)
    done, _ = await asyncio.wait([ended], timeout=timeout_s)
    return bool(done)


def _retrieved(ended: asyncio.Future[Any]) -> None:
    """Look at the error: the caller asks the thread's future for it, and asyncio would log this one as never retrieved."""
    if not ended.cancelled():
        ended.exception()
