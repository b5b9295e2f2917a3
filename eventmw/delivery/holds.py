"""Somebody else's code on the courier's thread: how long it keeps it, and what comes of code that keeps it too long.

All lanes share one thread, so a tool that sleeps, waits for a network or computes in ``handle`` holds up all other tools.
A `Hold` measures each stretch, and the first long one of each kind is told in the log, with what to do. One that does not
come back at all is the `Watchdog`'s: it tells where the code stands, interrupts it, and has its tool switched off.

Layer: input and output (it looks at the thread's own clocks). Messages hold no values.
"""

from __future__ import annotations

import logging
import resource
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, Self

from eventmw.delivery.watchdog import LOOK_S, Watchdog, forgive
from eventmw.tracebacks import Troubles

log = logging.getLogger("eventmw.delivery.courier")

LONG_S: Final = 0.1
"""A stretch that lasts longer is told: other tools notice it by then. Source: assumption."""

_FRESH_NS: Final = 5_000_000
"""The thread's own clocks are calls into the system; they are read anew after this time, not for each request."""

What = Literal["handle", "pack", "verdict", "at_send", "the async consumer", "on_outcome"]

ON_OUTCOME: Final = ""
"""Stands where a tool's id would: the function belongs to no tool."""

# What to do instead.
_ADVICE: Final[dict[What, str]] = {
    "handle": "handle only says what is to be sent; what has to wait belongs in a consumer, which has threads of its own",
    "pack": "pack only makes requests of what is there",
    "verdict": "verdict only judges the answer that is there",
    "at_send": "at_send only makes header fields",
    "the async consumer": "an async consumer must await what it waits for; made a plain def, it runs in a thread of its own",
    "on_outcome": "hand the Outcome to a queue or a thread of yours",
}


class Watch:
    """Knows whose code has the courier's thread. Make it on that thread.

    Args:
        look_s: seconds between looks of the watchdog, which starts when there is something to watch and ends by itself after
            a quiet while; None: there is none.
        off: tools that are switched off, with the reason; kept by whoever outlives this.

    Attributes:
        hold: the stretch that lasts now, None between them.
        holds: how many there were.
        troubles: what code raised that belongs to no tool.
    """

    def __init__(self, *, look_s: float | None = LOOK_S, off: dict[str, str] | None = None) -> None:
        self.off: dict[str, str] = {} if off is None else off
        self.hold: Hold | None = None
        self.holds = 0
        self.thread_id = threading.get_ident()
        self.lock = threading.Lock()
        self._dog = None if look_s is None else Watchdog(self, look_s)
        self._told: set[tuple[str, What]] = set()
        self.troubles = Troubles("")
        self._read_ns = self._cpu_ns = self._naps = 0

    def holding(self, tool: str, what: What) -> Hold:
        """Return a context in which a tool's own code runs, and none of ours that may wait: one stretch, no ``await``."""
        return Hold(self, tool, what)

    def stop(self) -> None:
        """End the watchdog."""
        if self._dog is not None:
            self._dog.stop()

    def enter(self, hold: Hold) -> None:
        """Note whose code runs from now on."""
        self.hold = hold
        self.holds += 1
        if self._dog is not None and not self._dog.on_duty:
            self._dog.start()

    def leave(self, hold: Hold) -> None:
        """Note that it came back. What the watchdog did to it must not hit what comes after."""
        self.hold = None
        if not hold.hit_s:
            return  # the watchdog first says that it hits, and then looks whether the stretch still lasts
        with self.lock:
            forgive(self.thread_id)
        if hold.hit_s:
            why = f"its {hold.what} did not end within {hold.hit_s:g} s: mend it, and start the process again"
            self.off.setdefault(hold.tool, why)

    def begin(self, now_ns: int) -> None:
        """Note what the thread has spent up to now, or did some milliseconds ago."""
        if now_ns - self._read_ns > _FRESH_NS:
            self._read_ns, self._cpu_ns, self._naps = now_ns, time.thread_time_ns(), _naps()

    def how(self, wall_ns: int) -> str:
        """Return how the stretch spent its time; "" when it was the rest of the machine that kept it from working.

        A thread that sleeps gives up its core once; one that waits for the interpreter's lock wakes each switch interval to
        look; one that waits for a core gives up nothing.
        """
        cpu_ns = time.thread_time_ns() - self._cpu_ns
        if cpu_ns >= LONG_S * 1e9:
            return "computed"
        looks = (wall_ns - cpu_ns) / 1e9 / sys.getswitchinterval()
        return "waited" if _who is None or 1 <= _naps() - self._naps < looks / 4 else ""

    def tell(self, hold: Hold, wall_s: float, how: str) -> None:
        """Log a long stretch, the first of its kind."""
        kind = (hold.tool, hold.what)
        if kind not in self._told:
            self._told.add(kind)
            log.warning(
                "%s kept all deliveries of this process waiting for %.2f s, in which it %s: %s",
                named(hold.tool, hold.what),
                wall_s,
                how,
                _ADVICE[hold.what],
            )


class Hold:
    """One stretch in which a tool's own code has the courier's thread.

    Attributes:
        hit_s: after how many seconds the watchdog interrupted it, 0.0 when it did not.
    """

    __slots__ = ("_since_ns", "_watch", "hit_s", "tool", "what")

    def __init__(self, watch: Watch, tool: str, what: What) -> None:
        self.tool = tool
        self.what: What = what
        self.hit_s = 0.0
        self._watch = watch

    def begin(self) -> None:
        """Measure from now on."""
        self._since_ns = time.perf_counter_ns()
        self._watch.begin(self._since_ns)

    def __enter__(self) -> Self:
        self._watch.enter(self)
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.leave(self)
        wall_ns = time.perf_counter_ns() - self._since_ns
        if wall_ns >= LONG_S * 1e9 and (how := self._watch.how(wall_ns)):
            self._watch.tell(self, wall_ns / 1e9, how)


class Stepped:
    """Awaits something of the owner's; each step it takes on the loop is a `Hold`."""

    def __init__(self, awaitable: Awaitable[Any], hold: Callable[[], Hold]) -> None:
        self._awaitable = awaitable
        self._hold = hold

    def __await__(self) -> Generator[Any, Any, Any]:
        inner: Any = self._awaitable.__await__()
        step: Callable[[], Any] = partial(next, inner)
        while True:
            try:
                with self._hold():
                    wanted = step()
            except StopIteration as end:
                return end.value
            try:
                given = yield wanted
            except BaseException as error:  # noqa: BLE001 - a cancellation, most often; it is the owner's to heed
                step = partial(inner.throw, error)
            else:
                step = partial(inner.send, given)


def named(tool: str, what: str) -> str:
    """Return a name for the log."""
    return what if tool == ON_OUTCOME else f"{what} of tool {tool}"


_who: Final[int | None] = getattr(resource, "RUSAGE_THREAD", None)  # Linux has it


def _naps() -> int:
    """Return how often the calling thread gave up its core to wait."""
    return 0 if _who is None else resource.getrusage(_who).ru_nvcsw


WATCH: Final[ContextVar[Watch]] = ContextVar("eventmw_watch", default=Watch(look_s=None))  # noqa: B039 - it only measures
"""What watches the current task."""
