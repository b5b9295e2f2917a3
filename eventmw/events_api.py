"""The HTTP Events API at `path`: the Zaraz dialect as an exchange drives it.

Layer: input and output on the runtime only.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from typing import Final

from eventmw.config import Config
from eventmw.errors import Refused
from eventmw.exchange import Taken, not_kept_in_time
from eventmw.http import Headers, Reply
from eventmw.journal import Position
from eventmw.openapi.operation import BODY_CODES, IDEMPOTENCY_KEY, KEPT_CODES, Content, KeyIn, Operation, SchemaRef
from eventmw.protocols.zaraz import Accepted
from eventmw.runtime import Runtime

_AGAIN: Final = "Nothing is promised of these events; send them again with the same ids."

_RESULT: Final = SchemaRef("zaraz-reply", "result")


def operation(config: Config | None = None) -> Operation:
    """Return what this API says of itself, as a site is configured; None: as it is by default, with or without a key."""
    array = config is not None and config.envelope == "array"
    keys = (KeyIn("authorization", "bearer"), KeyIn("x-eventmw-key", "site"))
    return Operation(
        id="send_events",
        path="",
        tag="events",
        summary="Send events.",
        description="Any Content-Type is read as JSON. `results[i]` belongs to `events[i]`.",
        keys=keys if config is None or config.named_keys else (),
        keyless=config is None,
        body=Content((SchemaRef("zaraz-request"),)),
        # Source: zaraz-http-events-api, «Send events».
        examples={"one": {"events": [{"client": {"__zarazTrack": "transaction successful", "value": "200"}}]}},
        answer=Content(arrays_of=(_RESULT,)) if array else Content((SchemaRef("zaraz-reply"),)),
        codes=(BODY_CODES if config is None or config.named_keys else BODY_CODES - {"unauthorized"})
        | KEPT_CODES
        | {"invalid_envelope", "no_valid_event", "rejected_events"},
        form="problem",
        headers={"Idempotency-Key": IDEMPOTENCY_KEY},
        counts_rejected=True,
    )


class EventsApi:
    """The HTTP Events API of one site. It keeps nothing of a request.

    Args:
        runtime: what it works on.
    """

    again = _AGAIN

    def __init__(self, runtime: Runtime) -> None:
        limits = runtime.config.limits
        self.path = runtime.config.path or ""
        self.runtime = runtime
        self.door = runtime.door
        self.max_body_bytes = limits.max_body_bytes
        self.patience_s = limits.append_timeout_s
        # The runtime's own methods, without a step between: this is the way of every event.
        self.accept = runtime.accept
        self.append = runtime.append
        self.refuse = runtime.zaraz.refuse

    def reply(self, accepted: Accepted, kept: Future[Position], cors: Headers, /) -> Reply:
        """Answer a request whose record has been kept.

        Raises:
            JournalDown: it has not been.
        """
        kept.result(0)
        runtime = self.runtime
        if accepted.own_ids:
            runtime.remember(accepted)
        runtime.remember_receipt(accepted)
        return runtime.zaraz.reply(accepted, runtime.journal.durability, cors)

    def late(self, _: Accepted, /) -> Refused:
        """Return the refusal of a request whose record is not kept yet."""
        return not_kept_in_time(self.patience_s, self.again)

    def taken(self, accepted: Accepted, /) -> Taken:
        """Return what became of its events."""
        judgement = accepted.judgement
        warned = Counter(
            note.fault.code for note in judgement.notes if note.status == "warned" and note.fault is not None
        )
        return Taken(accepted.record.id, judgement.accepted, len(judgement.invalid), len(accepted.duplicates), warned)
