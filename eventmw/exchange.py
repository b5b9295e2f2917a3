"""One request that is ours, from its head to our answer: what both gateways drive.

Layer: input and output on the runtime only; it knows nothing of ASGI or WSGI, and never waits.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Final

from eventmw.errors import JournalDown, JournalFull, Refused
from eventmw.http import Headers, Reply, RequestHead
from eventmw.intake.body import Body
from eventmw.intake.door import Visit
from eventmw.journal import Position
from eventmw.protocols.zaraz import Accepted
from eventmw.runtime import Runtime

log = logging.getLogger("eventmw")

RETRY_AFTER_S: Final = "5"


class Exchange:
    """One request that is ours, from its head to our answer, without any input or output of its own.

    The gateway calls `open`, `feed` for each chunk, `submit`, waits for the future, and calls `settle`. Each of them may
    return a `Reply`, which ends the exchange.
    """

    __slots__ = ("_accepted", "_body", "_cors", "_head", "_runtime", "_visit")

    _accepted: Accepted
    _body: Body
    _visit: Visit

    def __init__(self, runtime: Runtime, head: RequestHead) -> None:
        self._runtime = runtime
        self._head = head
        self._cors: Headers = runtime.door.cors(head)

    @property
    def length(self) -> int | None:
        """The announced length of the body, when `open` has let it in; None when it comes in chunks or none was said."""
        return self._visit.length

    def open(self) -> Reply | None:
        """Decide from the head; None means that the body may come."""
        runtime, head = self._runtime, self._head
        try:
            if runtime.door.is_preflight(head):
                return Reply(204, (*self._cors, *runtime.door.preflight(head)))
            self._visit = runtime.door.admit(head)
            runtime.check_rate(self._visit)
        except Exception as error:  # noqa: BLE001 - nothing of ours ever raises into the site
            return self._failure(error)
        self._body = Body(runtime.config.limits.max_body_bytes, self._visit.encoding)
        return None

    def feed(self, chunk: bytes) -> Reply | None:
        """Take the next bytes of the body; a reply means that no more are wanted."""
        try:
            self._body.feed(chunk)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failure(error)
        return None

    def submit(self) -> Reply | Future[Position]:
        """Judge the whole body and hand it to the journal; the future is done when it is kept.

        A body that ended before its announced length is refused: what came of it might be valid by itself. Some servers
        end the stream quietly when the sender leaves (gunicorn does), so that only the count tells.
        """
        try:
            length, received = self._visit.length, self._body.received
            if length is not None and received < length:
                raise Refused("incomplete_body", f"Expected {length:,} bytes, got {received:,}.")  # noqa: TRY301 - as any other
            self._accepted = self._runtime.accept(self._body.finish(), self._visit)
            return self._runtime.append(self._accepted)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failure(error)

    def settle(self, future: Future[Position]) -> Reply:
        """Answer, now that the future is done."""
        runtime, accepted = self._runtime, self._accepted
        try:
            future.result(0)
            runtime.remember(accepted)
            return runtime.zaraz.reply(accepted, runtime.journal.durability, self._cors)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failure(error)

    def late(self) -> Reply:
        """Answer that keeping the record took too long. It may have been kept all the same."""
        timeout_s = self._runtime.config.limits.append_timeout_s
        return self._unkept("journal_timeout", f"The events could not be kept within {timeout_s:g} s.", RETRY_AFTER_S)

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
                ident = self._runtime.clock.new_id(self._runtime.clock.now_ms())
                log.error("request %s failed inside eventmw", ident, exc_info=error)
                return self.refuse(
                    "internal_error", f"The request could not be handled; the log tells of it as {ident}."
                )

    def _unkept(self, code: str, detail: str, retry_after_s: str) -> Reply:
        again = "Nothing is promised of these events; send them again with the same ids."
        return self._refusal(Refused(code, f"{detail} {again}", headers=(("retry-after", retry_after_s),)))

    def _refusal(self, refused: Refused) -> Reply:
        return self._runtime.zaraz.refuse(refused, self._cors)
