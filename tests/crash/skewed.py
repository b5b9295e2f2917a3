"""L5: a wall clock that jumps, in the subject's process: Python's own clock functions read how far off they are from a file.

Monotonic time goes on as ever, as it does when an owner or a time server sets the clock. It is done in the process, since under
libfaketime 0.9.10 the server itself all but stood still. `reboot` is the other thing that happens to clocks: monotonic time
begins again, under another name of the boot.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from eventmw.journal.files import layout

_real_ns = time.time_ns


def skew(file: Path) -> None:
    """Have this process read the wall clock through a file with seconds in it, which may change at any moment."""

    def now_ns() -> int:
        return _real_ns() + int(file.read_text(encoding="ascii")) * 1_000_000_000

    time.time_ns = now_ns
    time.time = lambda: now_ns() / 1e9


def reboot(life: int) -> None:
    """Have this process believe that the machine was started anew before each life, with less uptime than in the first."""
    real_ns, ahead_ns = time.monotonic_ns, 0 if life else 10**15
    time.monotonic_ns = lambda: real_ns() + ahead_ns
    layout.boot = lambda: bytes([life + 1]) * 16  # type: ignore[assignment]


def set_skew(file: Path, seconds: int) -> None:
    """Have the clock jump to so many seconds from the real one."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(str(seconds), encoding="ascii")
    os.replace(new, file)  # noqa: PTH105 - it is read at any moment, so it is replaced at once
