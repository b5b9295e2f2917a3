"""A `Call` as an exchange drives it: answered in the pool, waited for as the journal is.

Layer: input and output on the runtime only.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Final

from eventmw.errors import Refused
from eventmw.eventbunker import Call, Gettable
from eventmw.eventbunker.pool import NOBODY, RETRY_AFTER_S, Share
from eventmw.exchange import Taken
from eventmw.http import Headers, Reply
from eventmw.intake.keyed import KeyedDoor, KeyedVisit
from eventmw.keys.store import MASTERS
from eventmw.protocols import eventbunker
from eventmw.runtime import Runtime

QUESTION_BYTES: Final = 64 * 1024
OTHER_BYTES: Final = 256 * 1024
"""Bytes of the body of a question, and of any other call: to decode a megabyte takes tens of milliseconds, in which no page
of the site is answered. The larger one lets a person be deleted whose identifier is long. Source: assumption."""

PATIENCE_S: Final = 30.0
"""Seconds that a call may take, with its time in the line. Proxies commonly give up after sixty. Source: assumption."""


@dataclass(slots=True)
class Asked:
    """A call that came whole: what is to be done, and the future of who does it."""

    job: Callable[[], Reply]
    share: Share = NOBODY
    future: Future[Reply] | None = None


class CallApi:
    """One call of one site.

    Args:
        runtime: what it works on; its pool is `managing` for calls that master keys alone open, else `calls`.
        call: what answers.
        patience_s: seconds after which the answer is 503.
    """

    again = "Nothing is promised of it."

    def __init__(self, runtime: Runtime, call: Call, patience_s: float = PATIENCE_S) -> None:
        config = runtime.config
        self.path = f"{config.eventbunker_path}{call.path}"
        self.header_names = (call.header,)
        self.takes_query = isinstance(call, Gettable)
        self.runtime = runtime
        most = QUESTION_BYTES if "query" in call.kinds and len(call.kinds) == 1 else OTHER_BYTES
        self.max_body_bytes = min(config.limits.max_body_bytes, most)
        self.door = KeyedDoor(
            runtime,
            header=call.header,
            kinds=call.kinds,
            trusted_proxies=config.trusted_proxies,
            max_body_bytes=self.max_body_bytes,
            gets=call.key_id_in if isinstance(call, Gettable) else None,
        )
        self.patience_s = patience_s
        self.refuse = eventbunker.refuse
        self._call = call
        self._manages = call.kinds <= MASTERS

    def accept(self, body: bytes, visit: KeyedVisit, /) -> Asked:
        """Return what is to be done."""
        if (key := visit.key) is not None:
            return Asked(partial(self._call.answer, key, body), Share(key.project_id, key.id))
        assert isinstance(self._call, Gettable), "the door lets GET in for no other call"
        query = visit.head.query
        owner = self._call.key_of(query)
        share = NOBODY if owner is None else Share(owner.project_id, owner.id, by_link=True)
        return Asked(partial(self._call.get, query), share)

    def append(self, asked: Asked, /) -> Future[Reply]:
        """Hand it to the pool.

        Raises:
            Refused: 503, the line is full.
        """
        pool = self.runtime.managing if self._manages else self.runtime.calls  # a forked child has its own
        asked.future = pool.submit(asked.job, asked.share)
        return asked.future

    def reply(self, _: Asked, done: Future[Reply], cors: Headers, /) -> Reply:
        """Return the call's answer, readable by pages that may.

        Raises:
            Refused: the call refused.
            Exception: whatever else it raised.
        """
        answer = done.result(0)
        return answer._replace(headers=(*answer.headers, *cors))

    def late(self, asked: Asked, /) -> Refused:
        """Give a call up that is not answered in time: when no thread had it yet, none ever will."""
        if asked.future is not None:
            asked.future.cancel()
        detail = f"The answer took longer than {self.patience_s:g} s. Ask for less at once, or send it again later."
        return Refused("call_timeout", detail, headers=(("retry-after", RETRY_AFTER_S),))

    def taken(self, _: Asked, /) -> Taken:
        """Return that there were no events."""
        return Taken()
