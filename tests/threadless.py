"""A system that gives no more threads."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

_TOO_MUCH = 1 << 46


@contextmanager
def without_threads() -> Generator[None]:
    """Have every start of a thread refused by the system: no address space holds the stack that it asks for."""
    before = threading.stack_size(_TOO_MUCH)
    try:
        yield
    finally:
        threading.stack_size(before)
