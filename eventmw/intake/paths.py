"""Which paths are ours: told apart from all others by one look into a small set.

Layer: pure rules. Source: PROTOCOLS.md 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

_EXAMPLES: Final = {"eventbunker_path": "/eb", "metrics_path": "/metrics", "ready_path": "/ready"}
_printable = re.compile(r"/[!-~]*").fullmatch


def path_problems(name: str, path: object) -> Iterator[str]:
    """Return what is wrong with the path that a setting of this name gives; None is none, and is not wrong."""
    if path is None:
        return
    example = _EXAMPLES.get(name, "/zaraz/api")
    if not isinstance(path, str) or not _printable(path) or any(char in path for char in "%?#"):
        yield f"{name} must start with / and be printable ASCII without %, ? and #, such as {example}"
    elif path == "/":
        yield f"{name} / is the site's own front page; choose one that the site does not use, such as {example}"


def tails(path: str | None) -> frozenset[str]:
    """Return every tail of our path that a server may show when the site is mounted below a prefix.

    The public path is ``prefix + path``; a server or framework shows only the rest to a mounted site. A request whose path
    is not among these is not ours; one that is, has to be looked at once more together with its prefix.
    """
    if path is None:
        return frozenset()
    return frozenset(path[start:] for start, char in enumerate(path) if char == "/") | {""}


class FirstLook:
    """Stands for the tails of a path until they are asked for the first time, and then has that noticed.

    A site is built long before it serves, and perhaps in another process, so what runs beside it starts with its first
    request. Whoever holds this puts the tails in its place when told, and no later request pays for it.
    """

    __slots__ = ("_notice", "_tails")

    def __init__(self, tails: frozenset[str | None], notice: Callable[[frozenset[str | None]], None]) -> None:
        self._tails = tails
        self._notice = notice

    def __contains__(self, path: object) -> bool:
        self._notice(self._tails)
        return path in self._tails


def public_path(prefix: str, path: str) -> str:
    """Return the public path of a request: ``prefix`` and ``path`` together; some servers' paths include the prefix.

    A prefix ends where a segment ends: ``/zaraz/api`` does not include the prefix ``/z``.
    """
    if prefix and not (path == prefix or path.startswith(prefix.rstrip("/") + "/")):
        return prefix + path
    return path
