"""One request that is ours, from its head to our answer: what all gateways drive, whichever API it is for.

An `Api` is what differs: its door, its judge, where it puts what it accepts, and its words.

Layer: input and output on the runtime only; it knows nothing of ASGI or WSGI, and never waits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from eventmw.errors import JournalDown, JournalFull, Refused
from eventmw.http import Headers, Reply, RequestHead
from eventmw.intake.body import Body, body_of
from eventmw.intake.door import Visitor
from eventmw.runtime import Runtime

log = logging.getLogger("eventmw")

RETRY_AFTER_S: Final = "5"

LOOKUP_S: Final = 1.0
"""Seconds that a request waits for a look at the keys. Source: assumption."""

V = TypeVar("V", bound=Visitor)
V_co = TypeVar("V_co", bound=Visitor, covariant=True)
A = TypeVar("A")


class Gate(Protocol[V_co]):
    """A door as an exchange sees it. `lookup`, `cors` and `is_preflight` never raise; the others raise `Refused`."""

    def lookup(self, head: RequestHead, /) -> Future[None] | None:
        """Return the future of a look at the keys that this request needs first; None: it needs none. Never raises."""
        ...

    def cors(self, head: RequestHead, /) -> Headers:
        """Return the header fields by which a browser's page may read the answer."""
        ...

    def is_preflight(self, head: RequestHead, /) -> bool:
        """Return whether this is a CORS preflight that we answer; only asked of other methods than POST."""
        ...

    def preflight(self, head: RequestHead, /) -> Headers:
        """Return the header fields that answer it."""
        ...

    def admit(self, head: RequestHead, /) -> V_co:
        """Decide from the head."""
        ...


_NO_WARNINGS: Final[Mapping[str, int]] = MappingProxyType({})


class Taken(NamedTuple):
    """What became of the events of a request that was answered with 200, as whoever watches it is told."""

    receipt_id: str | None = None
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    warnings: Mapping[str, int] = _NO_WARNINGS


class Api(Protocol[V, A]):
    """One API, as the exchange of a request to it sees it. What is raised becomes the answer; `Refused` in its own words.

    Attributes:
        path: public and full.
        runtime: what it works on.
        max_body_bytes: of a body, inflated.
        patience_s: seconds after which an answer is late.
        again: what a sender is told of events that may not have been kept.
    """

    path: str
    runtime: Runtime
    max_body_bytes: int
    patience_s: float
    again: str

    @property
    def door(self) -> Gate[V]:
        """What decides from the head."""
        ...

    def accept(self, body: bytes, visit: V, /) -> A:
        """Judge a whole body."""
        ...

    def append(self, accepted: A, /) -> Future[Any]:
        """Hand on what was accepted; the future is done when it can be answered."""
        ...

    def reply(self, accepted: A, done: Future[Any], cors: Headers, /) -> Reply:
        """Answer, now that the future is done."""
        ...

    def refuse(self, refused: Refused, cors: Headers, /) -> Reply:
        """Answer a request that is refused as a whole."""
        ...

    def late(self, accepted: A, /) -> Refused:
        """Return the refusal of a request whose future is not done within `patience_s`."""
        ...

    def taken(self, accepted: A, /) -> Taken:
        """Return what became of its events."""
        ...


class Exchange:
    """One request that is ours, from its head to our answer, without any input or output of its own.

    The gateway calls `lookup`, and waits at most `LOOKUP_S` for the future that it may return; then `open`, `feed` for each
    chunk, and `submit`. Each may return a `Reply`, which ends the exchange. When `submit` returns a future instead, the
    gateway waits for it, at most `Api.patience_s`, and calls `settle`, or `late`.
    """

    __slots__ = ("_accepted", "_body", "_cors", "_head", "_looked", "_visit", "api")

    # What an API makes of a request is its own affair.
    _accepted: Any
    _body: Body
    _visit: Any

    def __init__(self, api: Api[Any, Any], head: RequestHead) -> None:
        self.api = api
        self._head = head
        self._cors: Headers = api.door.cors(head)
        self._looked = False

    def lookup(self) -> Future[None] | None:
        """Return a future to wait for before `open`: the request shows a key that may have been made a moment ago."""
        looking = self.api.door.lookup(self._head)
        self._looked = looking is not None
        return looking

    def open(self) -> Reply | None:
        """Decide from the head; None means that the body may come."""
        api, head = self.api, self._head
        door, runtime = api.door, api.runtime
        if self._looked:  # a key that was found may list the origin whose page is to read this answer
            self._cors = door.cors(head)
        try:
            if head.method != "POST" and door.is_preflight(head):
                return Reply(204, (*self._cors, *door.preflight(head)))
            visit = self._visit = door.admit(head)
            if runtime.rates is not None:
                runtime.check_rate(runtime.rates, visit)
        except Exception as error:  # noqa: BLE001 - nothing of ours ever raises into the site
            return self._failure(error)
        self._body = body_of(visit.encoding, api.max_body_bytes)
        return None

    def feed(self, chunk: bytes) -> Reply | None:
        """Take the next bytes of the body; a reply means that no more are wanted."""
        try:
            self._body.feed(chunk)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failure(error)
        return None

    def submit(self) -> Reply | Future[Any]:
        """Judge the whole body and hand it on; a future is not done yet, and will be when the record is kept.

        A body that ended before its announced length is refused: what came of it might be valid by itself. Some servers
        end the stream quietly when the sender leaves (gunicorn does), so that only the count tells.
        """
        api, visit, body = self.api, self._visit, self._body
        try:
            if visit.length is not None and body.received < visit.length:
                raise _incomplete(visit.length, body.received)  # noqa: TRY301 - answered as any other
            accepted = self._accepted = api.accept(body.finish(), visit)
            kept = api.append(accepted)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failure(error)
        return self.settle(kept) if kept.done() else kept

    def settle(self, future: Future[Any]) -> Reply:
        """Answer, now that the future is done."""
        try:
            return self.api.reply(self._accepted, future, self._cors)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failure(error)

    def crowded(self) -> Reply:
        """Answer that more requests came at once than can wait. Nothing of this one was read."""
        detail = "More requests came at once than can wait. Nothing of this one was kept; send it again."
        return self._refusal(Refused("overloaded", detail, headers=(("retry-after", RETRY_AFTER_S),)))

    def late(self) -> Reply:
        """Answer that it took too long. What was accepted may have been kept all the same."""
        return self._refusal(self.api.late(self._accepted))

    def gone(self) -> Reply:
        """Answer, to nobody perhaps, that the sender left before the body ended. Nothing of it is processed."""
        return self.refuse("client_gone", "Expected the rest of the body, but the sender left.")

    def too_slow(self) -> Reply:
        """Answer that the body did not come within its time."""
        timeout_s = self.api.runtime.config.limits.body_timeout_s
        return self.refuse("body_timeout", f"Expected the whole body within {timeout_s:g} s.")

    def refuse(self, code: str, detail: str) -> Reply:
        """Answer with a problem that only the gateway can see."""
        return self._refusal(Refused(code, detail))

    def _failure(self, error: Exception) -> Reply:
        match error:
            case Refused():
                return self._refusal(error)
            case JournalFull():
                log.debug("refused: %s", error)  # what it says is for the owner, not for the sender
                return self._unkept("journal_full", "There is no room for more events now.", str(error.retry_after_s))
            case JournalDown():
                log.debug("refused: %s", error)
                return self._unkept("journal_down", "Events cannot be kept now.", str(error.retry_after_s))
            case _:
                clock = self.api.runtime.clock
                ident = clock.new_id(clock.now_ms())
                log.error("request %s failed inside eventmw", ident, exc_info=error)
                return self.refuse(
                    "internal_error", f"The request could not be handled; the log tells of it as {ident}."
                )

    def _unkept(self, code: str, detail: str, retry_after_s: str) -> Reply:
        return self._refusal(Refused(code, f"{detail} {self.api.again}", headers=(("retry-after", retry_after_s),)))

    def _refusal(self, refused: Refused) -> Reply:
        return self.api.refuse(refused, self._cors)


def _incomplete(announced: int, received: int) -> Refused:
    return Refused("incomplete_body", f"Expected {announced:,} bytes, got {received:,}.")


def not_kept_in_time(timeout_s: float, again: str) -> Refused:
    """Return the refusal of events that the journal did not keep in time."""
    detail = f"The events could not be kept within {timeout_s:g} s. {again}"
    return Refused("journal_timeout", detail, headers=(("retry-after", RETRY_AFTER_S),))
