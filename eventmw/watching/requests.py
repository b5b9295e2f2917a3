"""A request to one of our APIs, watched: an exchange that tells of itself when it begins and when it is answered.

Layer: input and output. It changes nothing of what an `Exchange` does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from eventmw.errors import Refused
from eventmw.exchange import Api, Exchange, Taken
from eventmw.http import Reply, RequestHead
from eventmw.intake.body import Body
from eventmw.intake.door import Visitor
from eventmw.logs import Field
from eventmw.watching.watch import Answered, Watch

_MAX_METHOD: Final = 20
_MAX_DIGITS: Final = 16
_ID_BYTES: Final = 8
_NOTHING: Final = Taken()


class WatchedExchange(Exchange):
    """An exchange that is told of: once as it begins, and once with its answer, wherever that comes from."""

    __slots__ = ("_began_s", "_code", "_ident", "_is_told", "_refused", "_watch")

    def __init__(self, api: Api[Any, Any], watch: Watch, head: RequestHead) -> None:
        super().__init__(api, head)
        self._watch = watch
        self._began_s = watch.now_s()
        self._ident = "" if watch.log is None else os.urandom(_ID_BYTES).hex()
        self._code = ""
        self._refused = 0
        self._is_told = False

    def open(self) -> Reply | None:
        """Decide from the head, and tell that a request came."""
        if self._watch.log is not None and self._watch.log.wants(logging.DEBUG):
            self._watch.asked(
                request_id=self._ident,
                method=self._head.method[:_MAX_METHOD],
                path=self.api.path,
                announced_bytes=_number(self._head.headers.get("content-length", "")),
            )
        reply = super().open()
        return reply if reply is None else self._told(reply)

    def feed(self, chunk: bytes) -> Reply | None:
        """Take the next bytes of the body."""
        reply = super().feed(chunk)
        return reply if reply is None else self._told(reply)

    def submit(self) -> Reply | Future[Any]:
        """Judge the whole body and hand it to the journal."""
        kept = super().submit()
        return self._told(kept) if isinstance(kept, Reply) else kept

    def settle(self, future: Future[Any]) -> Reply:
        """Answer, now that the future is done."""
        return self._told(super().settle(future))

    def crowded(self) -> Reply:
        """Answer that more requests came at once than can wait."""
        return self._told(super().crowded())

    def late(self) -> Reply:
        """Answer that keeping the record took too long."""
        return self._told(super().late())

    def refuse(self, code: str, detail: str) -> Reply:
        """Answer with a problem that only the gateway can see."""
        return self._told(super().refuse(code, detail))

    def _refusal(self, refused: Refused) -> Reply:
        self._code, self._refused = refused.code, refused.events
        return super()._refusal(refused)

    def _told(self, reply: Reply) -> Reply:
        """Tell of an answer, once: one that fails inside passes here as a refusal, and then as the answer."""
        if self._is_told:
            return reply
        self._is_told = True
        taken = _NOTHING
        if reply.status == HTTPStatus.OK and (accepted := getattr(self, "_accepted", None)) is not None:
            taken = self.api.taken(accepted)
        seconds = self._watch.now_s() - self._began_s
        rejected = taken.rejected or self._refused
        answered = Answered(reply.status, self._code, seconds, rejected, taken.duplicates, taken.warnings)
        self._watch.answered(answered, partial(self._more, taken))
        return reply

    def _more(self, taken: Taken) -> Mapping[str, Field]:
        visit: Visitor | None = getattr(self, "_visit", None)
        body: Body | None = getattr(self, "_body", None)
        return {
            "request_id": self._ident,
            "receipt_id": taken.receipt_id,
            "accepted": taken.accepted,
            "warnings": dict(taken.warnings) or None,
            "credential": None if visit is None else visit.credential,
            "body_bytes": 0 if body is None else body.received,
        }


def _number(announced: str) -> int | None:
    return int(announced) if announced.isascii() and announced.isdigit() and len(announced) < _MAX_DIGITS else None
