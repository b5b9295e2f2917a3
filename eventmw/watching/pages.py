"""What is answered on the paths of readiness and of the figures.

Layer: input and output. Both take GET and HEAD alone, in plain text for people, and are never kept by a cache.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from eventmw.errors import Refused
from eventmw.errors import told as told_of
from eventmw.http import Headers, Reply, RequestHead
from eventmw.intake.door import Door
from eventmw.runtime import Runtime
from eventmw.watching.neighbours import heard

log = logging.getLogger("eventmw")

RETRY_AFTER_S: Final = "5"
_PLAIN: Final = "text/plain; charset=utf-8"
_NO_STORE: Final[Headers] = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))


@dataclass(frozen=True, slots=True)
class Page:
    """One path that is answered beside the API.

    Attributes:
        path: public and full.
        answer: from a request's head to the reply. Never raises.
        waits: whether it may wait for others, so that an event loop must not call it.
    """

    path: str
    answer: Callable[[RequestHead], Reply]
    waits: bool


def pages_of(runtime: Runtime) -> tuple[Page, ...]:
    """Return the pages that the configuration asks for."""
    config = runtime.config
    pages: list[Page] = []
    if config.ready_path is not None:
        pages.append(Page(config.ready_path, _Readiness(runtime), waits=False))
    if config.metrics_path is not None:
        pages.append(Page(config.metrics_path, _Metrics(runtime), waits=True))
    return tuple(pages)


class _Readiness:
    """200 while the journal takes events, else 503 and why. Anybody may ask: it says nothing else."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __call__(self, head: RequestHead) -> Reply:
        if (wrong := _wrong_method(head)) is not None:
            return wrong
        if why := self._runtime.not_ready():
            return _text(503, f"not ready: {why}", ("retry-after", RETRY_AFTER_S))
        return _text(200, "ready")


class _Metrics:
    """The figures of this process and of the site's others, to whom shows the key."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._door = Door(keys=runtime.config.metrics_keys, allowed_origins=(), trusted_proxies=0, max_body_bytes=0)

    def __call__(self, head: RequestHead) -> Reply:
        try:
            self._door.credential(head)
            return _wrong_method(head) or self._figures()
        except Refused as refused:
            return _text(refused.status, refused.detail, *refused.headers)
        except Exception as error:  # noqa: BLE001 - nothing of ours ever raises into the site
            log.warning("the figures for Prometheus cannot be told: %s", told_of(error))
            return _text(503, "The figures cannot be told now; the log says why.", ("retry-after", RETRY_AFTER_S))

    def _figures(self) -> Reply:
        from eventmw.watching.exposition import CONTENT_TYPE, Exposition, Sighting  # noqa: PLC0415 - of an extra

        runtime = self._runtime
        own: dict[str, Any] = {**runtime.figures(), "stats": runtime.stats()}
        socket = runtime.socket
        others = heard(runtime.config.data_dir, socket, own["ident"])
        told = {(socket.stem if socket else str(os.getpid())): own, **others.told}
        sightings = [Sighting(name, figures["stats"], figures.get("tally", {})) for name, figures in told.items()]
        return _reply(200, CONTENT_TYPE, Exposition().text(sightings, others.silent, runtime.clock.now_ms()))


def _wrong_method(head: RequestHead) -> Reply | None:
    return None if head.method in {"GET", "HEAD"} else _text(405, "Expected GET or HEAD.", ("allow", "GET, HEAD"))


def _text(status: int, words: str, *more: tuple[str, str]) -> Reply:
    return _reply(status, _PLAIN, words.encode() + b"\n", *more)


def _reply(status: int, content_type: str, body: bytes, *more: tuple[str, str]) -> Reply:
    length = ("content-length", str(len(body)))
    return Reply(status, (("content-type", content_type), length, *_NO_STORE, *more), body)
