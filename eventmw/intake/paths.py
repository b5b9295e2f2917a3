"""Which paths are ours: told apart from all others by one look into a small set.

Layer: pure rules. Source: PROTOCOLS.md 1.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from eventmw.logs import printable

log = logging.getLogger("eventmw")

_STARTS: Final = frozenset({"", "/"})
"""How the path of a request below a prefix starts: ``/z`` and ``araz/api`` are not ``/zaraz/api``."""

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
    request. Whoever holds this puts the tails in its place when told, and no later request pays for it. It holds every
    path, so that the gateway looks at the whole of the first request: there it learns the prefix of the site.
    """

    __slots__ = ("_notice",)

    def __init__(self, notice: Callable[[object], None]) -> None:
        self._notice = notice

    def __contains__(self, path: object) -> bool:
        self._notice(path)
        return True


def public_path(prefix: str, path: str) -> str:
    """Return the public path of a request: ``prefix`` and ``path`` together; some servers' paths include the prefix.

    A prefix ends where a segment ends: ``/zaraz/api`` does not include the prefix ``/z``.
    """
    return prefix + path if prefix and path[:1] in _STARTS and not _includes(prefix, path) else path


def path_below(prefix: str, path: str) -> str:
    """Return the path of a request below its prefix, which some servers' paths include."""
    return path[len(prefix.rstrip("/")) :] if prefix and _includes(prefix, path) else path


def _includes(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(prefix.rstrip("/") + "/")


class Endings:
    """Stands for the tails of paths that may be below any prefix: every path that ends with one of them is looked at.

    Args:
        paths: ours, below the prefix.
    """

    __slots__ = ("_paths",)

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = tuple(paths)

    def __contains__(self, path: object) -> bool:
        return path is None or (isinstance(path, str) and path.endswith(self._paths))


class PrefixHint:
    """Logs once that requests come to our paths below a prefix that the settings do not include.

    Such a request is the site's, which usually answers 404, and nothing else would say why.

    Args:
        settings: path of ours → the setting that gives it, and that setting's value.
    """

    __slots__ = ("_is_done", "_settings")

    def __init__(self, settings: Mapping[str, tuple[str, str]]) -> None:
        self._settings = settings
        self._is_done = not settings

    def look(self, prefix: str, path: str) -> frozenset[str]:
        """Look at a request that was not ours by its prefix and path; return the paths whose requests are worth a look.

        They are ours below that prefix, as servers show them that include it; none once the hint was given.
        """
        if self._is_done or not prefix:
            return frozenset()
        below = path_below(prefix, path)
        if below not in self._settings:
            return frozenset(prefix.rstrip("/") + own for own in self._settings)
        self._is_done = True
        name, value = self._settings[below]
        log.warning(
            "a request for %s passed by unanswered: this site is below the prefix %s, and %s=%r does not include it. Set "
            "%s=%r, or mounted=True, with which paths are below the prefix, whatever it is",
            printable(public_path(prefix, path)),
            printable(prefix),
            name,
            value,
            name,
            prefix.rstrip("/") + value,
        )
        return frozenset()
