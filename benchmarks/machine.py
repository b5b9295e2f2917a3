"""What the figures were measured on: nothing else makes two of them comparable."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
_PACKAGES: Final = (
    "msgspec", "jsonschema", "aiohttp", "starlette", "werkzeug",
    "uvicorn", "httptools", "uvloop", "granian", "fastapi", "pydantic",
)  # fmt: skip


def describe() -> dict[str, str]:
    """Return CPU, cores, load, Python, versions and the commit."""
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": ", ".join(_versions()),
        "commit": said_by("git", "rev-parse", "--short", "HEAD") or "unknown",
    }


def said_by(*command: str) -> str:
    """Return what a command prints, or "" when there is none or it fails."""
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    return ""


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _versions() -> Iterator[str]:
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            yield f"{name} {metadata.version(name)}"


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this thread, and what it starts, on one core, where the system knows how and has that many."""
    if not hasattr(os, "sched_setaffinity") or core not in (before := os.sched_getaffinity(0)):
        yield
        return
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
