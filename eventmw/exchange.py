"""One request that is ours, from its head to our answer: what both gateways drive.

Layer: input and output on the runtime only; it knows nothing of ASGI or WSGI, and never waits.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Final

from eventmw.errors import JournalDown, JournalFull, Refused
from eventmw.http import Headers, Reply, RequestHead
from eventmw.intake.body import Body, body_of
from eventmw.intake.door import Visit
from eventmw.journal import Position
from eventmw.protocols.zaraz import Accepted
from eventmw.runtime import Runtime

log = logging.getLogger("eventmw")

RETRY_AFTER_S: Final = "5"


class Exchange:
    """One request that is ours, from its head to our answer, without any input or output of its own.

    The gateway calls `open`, `feed` for each chunk, and `submit`. Each may return a `Reply`, which ends the exchange. When
    `submit` returns a future instead, the gateway waits for it and calls `settle`, or `late`.
    """

    __slots__ = ("_accepted", "_body", "_cors", "_head", "_runtime", "_visit")

    _accepted: Accepted
    _body: Body
    _visit: Visit

    def __init__(self, runtime: Runtime, head: RequestHead) -> None:
        self._runtime = runtime
        self._head = head
        self._cors: Headers = runtime.door.cors(head)

    def open(self) -> Reply | None:
        """Decide from the head; None means that the body may come."""
        runtime, door, head = self._runtime, self._runtime.door, self._head
        try:
            if head.method != "POST" and door.is_preflight(head):
                return Reply(204, (*self._cors, *door.preflight(head)))
            visit = self._visit = door.admit(head)
            if runtime.rates is not None:
                runtime.check_rate(runtime.rates, visit)
        except Exception as error:  # noqa: BLE001 - nothing of ours ever raises into the site
            return self._failure(error)
        self._body = body_of(visit.encoding, runtime.config.limits.max_body_bytes)
        return None

    def feed(self, chunk: bytes) -> Reply | None:
        """Take the next bytes of the body; a reply means that no more are wanted."""
        try:
            self._body.feed(chunk)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failure(error)
        return None

    def submit(self) -> Reply | Future[Position]:
        """Judge the whole body and hand it to the journal; a future is not done yet, and will be when the record is kept.

        A body that ended before its announced length is refused: what came of it might be valid by itself. Some servers
        end the stream quietly when the sender leaves (gunicorn does), so that only the count tells.
        """
        runtime, visit, body = self._runtime, self._visit, self._body
        try:
            if visit.length is not None and body.received < visit.length:
                raise _incomplete(visit.length, body.received)  # noqa: TRY301 - answered as any other
            accepted = self._accepted = runtime.accept(body.finish(), visit)
            kept = runtime.append(accepted)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failure(error)
        return self.settle(kept) if kept.done() else kept

    def settle(self, future: Future[Position]) -> Reply:
        """Answer, now that the future is done."""
        runtime, accepted = self._runtime, self._accepted
        try:
            future.result(0)
            if accepted.own_ids:
                runtime.remember(accepted)
            return runtime.zaraz.reply(accepted, runtime.journal.durability, self._cors)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failure(error)

    def crowded(self) -> Reply:
        """Answer that more requests came at once than can wait. Nothing of this one was read."""
        detail = "More requests came at once than can wait. Nothing of this one was kept; send it again."
        return self._refusal(Refused("overloaded", detail, headers=(("retry-after", RETRY_AFTER_S),)))

    def late(self) -> Reply:
        """Answer that keeping the record took too long. It may have been kept all the same."""
        timeout_s = self._runtime.config.limits.append_timeout_s
        return self._unkept("journal_timeout", f"The events could not be kept within {timeout_s:g} s.", RETRY_AFTER_S)

    def gone(self) -> Reply:
        """Answer, to nobody perhaps, that the sender left before the body ended. Nothing of it is processed."""
        return self.refuse("client_gone", "Expected the rest of the body, but the sender left.")

    def too_slow(self) -> Reply:
        """Answer that the body did not come within its time."""
        timeout_s = self._runtime.config.limits.body_timeout_s
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


def _incomplete(announced: int, received: int) -> Refused:
    return Refused("incomplete_body", f"Expected {announced:,} bytes, got {received:,}.")
