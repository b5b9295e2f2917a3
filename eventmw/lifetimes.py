"""The turns in the life of a process that concern everything we run in it: a fork, and its end.

Layer: input and output.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Protocol
from weakref import WeakSet


class Living(Protocol):
    """What is told of them."""

    def leave_parent_behind(self) -> None:
        """Begin anew, in a forked child."""
        ...

    def finish(self) -> None:
        """Do what is due, at the end of the process."""
        ...


sites_open_late = False
"""Whether a site that is made now opens its journal at its first use instead of at once.

Set while pytest imports test modules: a test that uses the fixture ``eventmw_events`` must find no folder that the import
of the site has made. It is here because the plugin may import nothing heavy.
"""

_living: WeakSet[Living] = WeakSet()


def join(one: Living) -> None:
    """Tell it of forks from now on, as long as somebody holds it."""
    _living.add(one)


@cache
def heed_exit() -> None:
    """Tell all of the end of the process while threads and pools still work, which is before ``atexit``'s own time.

    The hook is the one by which concurrent.futures ends its pools. What registered last is called first, so the pools'
    module is imported before. Without the hook, ``atexit`` has to do.
    """
    import_module("concurrent.futures.thread")
    register: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
    register(_finish_all)


def _finish_all() -> None:
    for one in list(_living):
        one.finish()


def _after_fork() -> None:
    for one in _living:
        one.leave_parent_behind()


os.register_at_fork(after_in_child=_after_fork)
