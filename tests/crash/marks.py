"""Marks: what the subject says it did, left where a dying process still leaves it, and seen in a recording.

A mark is one line in a file of its own, written by ``pwritev2``, which no journal is likely to use: so what is injected into
writes never hits a mark. Its descriptor has a fixed number, by which a recording knows it.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.crash.audit import Fate

DESCRIPTOR = 200


def opened(path: Path) -> None:
    """Open the file of marks in this process."""
    found = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(found, DESCRIPTOR)
    os.close(found)


def leave(what: str, names: list[str]) -> None:
    """Leave marks: ``sent``, ``acked``, ``got`` (by a vendor inside the process), ``buried``."""
    os.pwritev(DESCRIPTOR, ["".join(f"{what} {name}\n" for name in names).encode()], 0, os.RWF_APPEND)


def read(path: Path) -> list[tuple[str, str]]:
    """Return the marks in a file, in order."""
    return parse(path.read_bytes()) if path.exists() else []


def parse(data: bytes) -> list[tuple[str, str]]:
    """Return the marks in what was written."""
    lines = (line.partition(" ") for line in data.decode().splitlines())
    return [(what, name) for what, _, name in lines]


def named(path: Path, what: str) -> set[str]:
    """Return the events that have one mark."""
    return {name for word, name in read(path) if word == what}


def fates(path: Path) -> dict[str, Fate]:
    """Return what the marks in a file say of each event."""
    known: dict[str, Fate] = {}
    for what, name in read(path):
        if what in {"sent", "acked"} and known.get(name) != "acked":
            known[name] = "acked" if what == "acked" else "unknown"
    return known
