"""The HTTP Events API at `path`: the Zaraz dialect as an exchange drives it.

Layer: input and output on the runtime only.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Final

from eventmw.errors import Refused
from eventmw.exchange import Taken, not_kept_in_time
from eventmw.http import Headers, Reply
from eventmw.journal import Position
from eventmw.protocols.zaraz import Accepted
from eventmw.runtime import Runtime

_AGAIN: Final = "Nothing is promised of these events; send them again with the same ids."


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
        return runtime.zaraz.reply(accepted, runtime.journal.durability, cors)

    def late(self, _: Accepted, /) -> Refused:
        """Return the refusal of a request whose record is not kept yet."""
        return not_kept_in_time(self.patience_s, self.again)

    def taken(self, accepted: Accepted, /) -> Taken:
        """Return what became of its events."""
        judgement = accepted.judgement
        return Taken(accepted.record.id, judgement.accepted, len(judgement.invalid), len(accepted.duplicates))
