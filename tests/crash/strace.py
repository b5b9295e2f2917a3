"""strace, the killer and recorder: how it is told what to inject, and whether it can work here.

Nothing but strace sees what a process really asks of the kernel: Python's buffered files, asyncio and aiohttp included. Its
counter ``when=K`` counts for each thread by itself: the K-th call of whichever thread gets there first. Stores into mapped
memory make no system call: it neither sees nor stops them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

KILLED_AT = (
    "write", "pwrite64", "pwritev", "pwritev2", "writev", "fdatasync", "fsync", "rename", "renameat2", "unlink", "unlinkat",
    "rmdir", "mkdir", "link", "ftruncate", "fallocate", "openat", "flock", "sendto", "connect", "recvfrom",
)  # fmt: skip
"""Calls at which a process is killed, one after the other. What a program never calls costs one run that comes to its end."""

FAULTED_AT = (
    "write", "pwrite64", "pwritev", "writev", "fdatasync", "fsync", "rename", "link", "unlink", "mkdir", "ftruncate", "fallocate",
)  # fmt: skip
"""Calls that are made to fail."""

RECORDED = (
    "openat", "open", "creat", "close", "dup", "dup2", "dup3", "fcntl", "write", "pwrite64", "writev", "pwritev", "pwritev2",
    "lseek", "ftruncate", "truncate", "fallocate", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat",
    "mkdir", "mkdirat", "rmdir", "fsync", "fdatasync", "sync_file_range", "copy_file_range", "sendfile", "mmap",
)  # fmt: skip
"""Calls of which a recording is made."""


@cache
def missing() -> str:
    """Return why strace cannot be used here, or ""."""
    if sys.platform != "linux":
        return "strace runs on Linux only"
    if shutil.which("strace") is None:
        return "strace is not installed (Debian: apt-get install strace)"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()[-200:]}"


def killing(call: str, when: int) -> Sequence[str]:
    """Return the arguments that kill at the `when`-th `call` of a thread, before it is carried out."""
    return ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}")


def failing(call: str, when: str, error: str) -> Sequence[str]:
    """Return the arguments that make calls fail; `when` is ``3`` for the third of a thread, ``3+`` for all from there on."""
    return ("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")


def recording() -> Sequence[str]:
    """Return the arguments that write down every call that changes files, with all its data."""
    return ("-xx", "-s", str(64 * 1024 * 1024), "-e", f"trace={','.join(RECORDED)}")
