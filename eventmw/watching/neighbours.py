"""The figures of the site's other processes, asked for over their control sockets.

Whichever worker answers Prometheus answers for all: figures of one would come and go from scrape to scrape, and look like
restarts.

Layer: input and output. See `eventmw.control.server` for the protocol.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from eventmw.control.live import Unanswered, ask
from eventmw.control.sockets import folder_of, found

ASK_S: Final = 1.0
"""Seconds that one process may take for each step of its answer."""

ASK_ALL_S: Final = 4.0
"""Seconds after which no other is asked: Prometheus waits for 10 by default."""


class Heard(NamedTuple):
    """What the others told, by the name of their sockets, and how many did not."""

    told: dict[str, Any]
    silent: int


def heard(data_dir: str | Path, own: Path | None, ident: str) -> Heard:
    """Ask every process of a data directory but this one.

    Args:
        data_dir: where the sockets are.
        own: the socket of this process, which is not asked.
        ident: by which an answer is known that comes from here all the same.
    """
    told: dict[str, Any] = {}
    silent = 0
    deadline = time.monotonic() + ASK_ALL_S
    for path in _others(data_dir, own):
        figures = _figures(path) if time.monotonic() < deadline else None
        if figures is None:
            silent += 1
        elif figures and figures.get("ident") != ident:
            told[path.stem] = figures
    return Heard(told, silent)


def _others(data_dir: str | Path, own: Path | None) -> list[Path]:
    try:
        return [path for path in found(folder_of(data_dir)) if path != own]
    except PermissionError:  # the folder of another user's site: those are not our processes
        return []


def _figures(path: Path) -> dict[str, Any] | None:
    """Return what a process tells; None when it does not, and nothing when it has ended."""
    try:
        return next(ask(path, {"op": "figures"}, ASK_S), None)
    except Unanswered as error:
        return {} if error.gone else None
    except Exception:  # noqa: BLE001 - one that runs another version may answer anything
        return None
