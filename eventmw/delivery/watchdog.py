"""The watchdog: a thread that notices when a tool's code does not give the courier's thread back.

It tells where the code stands; later it interrupts the code, as Ctrl-C would: an endless loop of Python ends by that, and a
call that waits in C ends when it returns. It counts its own looks, not seconds, so that a process that was stopped for an
hour, or has no core to run on, blames nobody.

CPython 3.11 does not forget the state of a thread that the system refused, and takes it for that of whoever asked for the
thread. So when the courier's own thread was refused one, the watchdog can still tell, and interrupts nothing any more.

Layer: input and output.
Source: ``PyThreadState_SetAsyncExc`` of CPython's C API; on other Pythons the watchdog only tells.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

from eventmw.errors import TookTooLong

log = logging.getLogger("eventmw.delivery.courier")

THREAD_NAME: Final = "eventmw-watchdog"
LOOK_S: Final = 1.0
TELL_AFTER: Final = 5
"""Looks at one and the same stretch, after which the log tells where it stands."""
INTERRUPT_AFTER: Final = 30
"""Looks after which it is interrupted, and again at each one that follows. Source: assumption."""
_JOIN_S: Final = 1.0
_QUIET_AFTER: Final = 30
"""Looks without anything to watch, after which the thread ends."""

_OWN: Final = str(Path(__file__).parent.parent)


class Stretch(Protocol):
    """One stretch of a tool's code; ``hit_s`` is set when it is interrupted, to the seconds that it had lasted."""

    hit_s: float

    @property
    def tool(self) -> str:
        """Whose code it is; "" for the owner's ``on_outcome``."""
        ...

    @property
    def what(self) -> str:
        """Which function of the tool."""
        ...


class Watched(Protocol):
    """What the watchdog looks at."""

    thread_id: int
    lock: threading.Lock
    holds: int

    @property
    def hold(self) -> Stretch | None:
        """The stretch that lasts now."""
        ...


class Watchdog:
    """The thread, started when there is something to watch.

    Args:
        watched: what it looks at.
        look_s: seconds between its looks.

    Attributes:
        on_duty: whether it runs.
    """

    def __init__(self, watched: Watched, look_s: float) -> None:
        self.on_duty = False
        self._look_s = look_s
        self._watched = watched
        self._stopped = threading.Event()
        self._starting = threading.Lock()  # not held while the thread starts: that may switch to another greenlet
        self._again_s = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it runs."""
        with self._starting:
            if self.on_duty or self._stopped.is_set() or time.monotonic() < self._again_s:
                return
            self.on_duty = True
        self.on_duty = self._started()

    def _started(self) -> bool:
        """Return whether the thread began. The system may refuse it: nobody is watched then, and deliveries go on."""
        try:
            thread = threading.Thread(target=self._look_on, name=THREAD_NAME, daemon=True)
            thread.start()
            self._thread = thread
        except RuntimeError as error:
            if not self._again_s:
                log.warning(
                    "no watchdog looks at tools that do not come back until a thread for it can start: %s", error
                )
            self._again_s = time.monotonic() + self._look_s
            return False
        self._again_s = 0.0
        return True

    def stop(self) -> None:
        """End the thread, for good, and wait a moment for that."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _look_on(self) -> None:
        seen: Stretch | None = None
        looks = quiet = holds = 0
        while not self._stopped.wait(self._look_s):
            hold = self._watched.hold
            looks = looks + 1 if hold is seen else 0
            seen = hold
            quiet = quiet + 1 if self._watched.holds == holds and hold is None else 0
            holds = self._watched.holds
            if hold is not None:
                self._judge(hold, looks)
            elif quiet >= _QUIET_AFTER and self._may_rest(holds):
                return

    def _may_rest(self, holds: int) -> bool:
        with self._starting:
            self.on_duty = False
            # Whoever came in between saw it on duty still, so it stays; whoever comes later starts it.
            self.on_duty = self._watched.holds != holds
        return not self.on_duty

    def _judge(self, hold: Stretch, looks: int) -> None:
        if looks == TELL_AFTER:
            place = where(sys._current_frames().get(self._watched.thread_id))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no other way
            log.error(
                "%s has not come back for %g s, and all deliveries of this process wait for it%s",
                f"{hold.what} of tool {hold.tool}" if hold.tool else hold.what,
                looks * self._look_s,
                place and f"; it stands at {place}",
            )
        elif looks >= INTERRUPT_AFTER:
            with self._watched.lock:
                before_s, hold.hit_s = hold.hit_s, hold.hit_s or looks * self._look_s
                if self._watched.hold is hold:
                    _raise_in(self._watched.thread_id, TookTooLong)
                else:  # it came back just now
                    hold.hit_s = before_s


def where(frame: FrameType | None) -> str:
    """Return where a thread stands in somebody else's code: ``crm.py:12 in push (socket.py:707 in readinto)``."""
    innermost = outermost = frame
    while frame is not None and not frame.f_code.co_filename.startswith(_OWN):
        outermost, frame = frame, frame.f_back
    if innermost is None or outermost is None:
        return ""
    inside = "" if innermost is outermost else f" ({_place(innermost)})"
    return _place(outermost) + inside


def _place(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"


class _Forgiven(BaseException):
    """Takes the place of an exception that is taken back."""


def forgive(thread_id: int) -> None:
    """Take back an exception that was set for the calling thread and not raised yet.

    With None, CPython 3.11 forgets the exception and not that there was one: it looks for it at each step from then on, and
    does nothing else once a debugger or a coverage tool traces it. So another one takes its place.
    """
    if not _caught(thread_id):  # the system refused this thread a thread once: see above
        _raise_in(thread_id, None)
        with suppress(RuntimeError):
            threading.Thread(target=lambda: _caught(threading.get_ident()), name=THREAD_NAME, daemon=True).start()


def _caught(thread_id: int) -> bool:
    """Raise an exception in the calling thread, as `_raise_in` does, and catch it. Returns whether it came."""
    try:
        _raise_in(thread_id, _Forgiven)
        for _ in range(100):  # it comes at the end of a round
            pass
    except _Forgiven:
        return True
    return False


def _raise_in(thread_id: int, kind: type[BaseException] | None) -> None:
    import ctypes  # noqa: PLC0415 - nobody needs it until something hangs

    api = getattr(ctypes, "pythonapi", None)
    if api is not None:
        api.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), None if kind is None else ctypes.py_object(kind))
