"""The watch: it is told what happened, and says it to the log and to the tally, whichever of them is wanted.

Layer: input and output. Nothing that it is told is a payload, a cookie, an address of a sender, a key or a secret, and
nothing of it raises. Levels: DEBUG for each request that begins and each event, INFO for what ended, WARNING for what an
operator may have to look at, ERROR for code that fails.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from math import inf
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from eventmw.journal import Commit, Position
from eventmw.logs import Field
from eventmw.outcome import BURIED
from eventmw.watching.eventlog import EventLog, write_json_to_stderr
from eventmw.watching.tally import Tally

REPEAT_S: Final = 10.0
"""A tool that fails at every event is told of so often; what came in between is counted."""

MAX_TROUBLES: Final = 200
"""Kinds of trouble that are told apart, over all tools; the rest is told of as "other"."""

RESULTS: Final = ("accepted", "rejected", "duplicate")
"""What may become of an event at the door. A duplicate was accepted as well."""

_STATUSES: Final = frozenset(status.value for status in HTTPStatus)


class Answered(NamedTuple):
    """How a request to our API was answered. ``code`` is a key of `eventmw.errors.PROBLEMS`, or "".

    ``warnings`` are those of accepted events, code → how many.
    """

    status: int
    code: str
    seconds: float
    rejected: int
    duplicates: int
    warnings: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of one request to a vendor. ``status`` is None when there was no answer, or no HTTP."""

    tool: str
    kind: str
    host: str | None
    method: str | None
    sends: int
    attempt: int
    status: int | None
    error: str | None
    seconds: float


class Watch:
    """Where everything that is to be seen of one site in one process is told. Thread-safe.

    Args:
        log: where events of the log go, or None.
        tally: where figures go, or None.
        now_s: monotonic seconds.

    Attributes:
        ident: tells this site in this process from all others.
    """

    def __init__(self, log: EventLog | None, tally: Tally | None, now_s: Callable[[], float] = time.monotonic) -> None:
        self.log = log
        self.tally = tally
        self.now_s = now_s
        self.start_afresh()

    @classmethod
    def wanted(cls, logs: Literal["off", "logging", "json"], *, figures: bool) -> Watch | None:
        """Return the watch that the settings ask for; None when nothing is to be watched."""
        if logs == "json":
            write_json_to_stderr()
        log = None if logs == "off" else EventLog()
        return cls(log, Tally() if figures else None) if log or figures else None

    def start_afresh(self) -> None:
        """Begin anew: at first, and in a forked child."""
        self.ident = os.urandom(8).hex()
        self._lock = threading.Lock()
        self._troubles: dict[tuple[str, str], tuple[float, int]] = {}
        if self.tally is not None:
            self.tally.start_afresh()
            for result in RESULTS:  # a counter that appears with its first event hides that one from `rate`
                self.tally.count("events", result, by=0)

    def figures(self) -> Mapping[str, Any]:
        """Return what was tallied, and whose it is, as JSON values."""
        return {"ident": self.ident, "tally": self.tally.as_json() if self.tally else {}}

    def asked(self, **fields: Field) -> None:
        """A request came to our API. Worth a call only with a log that wants DEBUG."""
        if self.log is not None:
            self.log.say("server_request", logging.DEBUG, **fields)

    def answered(self, answered: Answered, told: Callable[[], Mapping[str, Field]]) -> None:
        """A request to our API was answered; ``told`` returns more fields for the log, when it is wanted."""
        if (tally := self.tally) is not None:
            tally.count("requests", str(answered.status), answered.code)
            tally.observe("request_duration", seconds=answered.seconds)
            if answered.rejected:
                tally.count("events", "rejected", by=answered.rejected)
            if answered.duplicates:
                tally.count("events", "duplicate", by=answered.duplicates)
            for code, count in answered.warnings.items():
                tally.count("event_warnings", code, by=count)
        if self.log is None:
            return
        level = logging.INFO if answered.status < HTTPStatus.INTERNAL_SERVER_ERROR else logging.WARNING
        if self.log.wants(level):
            self.log.say(
                "server_response",
                level,
                status=answered.status,
                code=answered.code or None,
                rejected=answered.rejected,
                duplicates=answered.duplicates,
                duration_ms=_ms(answered.seconds),
                **told(),
            )

    def appending(self, kept: Future[Position], events: int, since_s: float) -> None:
        """A record was handed to the journal at `since_s`; it counts as accepted once it is kept."""
        if (tally := self.tally) is None:
            return

        def ended(kept: Future[Position]) -> None:
            if not kept.cancelled() and kept.exception() is None:
                tally.observe("append_duration", seconds=self.now_s() - since_s)
                tally.count("events", "accepted", by=events)

        kept.add_done_callback(ended)

    def handed(self, tool: str, event_id: str, sends: int, *, ecommerce: bool) -> None:
        """A tool was handed an event by the courier."""
        if self.log is not None:
            event_type: Final = "ecommerce_triggered" if ecommerce else "action_triggered"
            self.log.say(event_type, logging.DEBUG, tool=tool, event_id=event_id, sends=sends)

    def sent(self, sent: Sent) -> None:
        """A request to a vendor ended."""
        if (tally := self.tally) is not None:
            tally.count("deliveries", sent.tool, _status(sent))
            tally.observe("delivery_duration", sent.tool, seconds=sent.seconds)
        if self.log is not None:
            well = sent.error is None and (sent.status is None or sent.status < HTTPStatus.BAD_REQUEST)
            self.log.say(
                "client_request",
                logging.INFO if well else logging.WARNING,
                tool=sent.tool,
                kind=sent.kind,
                host=sent.host,
                method=sent.method,
                status=sent.status,
                error=sent.error,
                sends=sent.sends,
                attempt=sent.attempt,
                duration_ms=_ms(sent.seconds),
            )

    def took_up(self, tool: str, age_s: float) -> None:
        """The courier read a tool's next record, of this age; 0.0 when there was none."""
        if self.tally is not None:
            self.tally.set("courier_lag", tool, to=max(0.0, age_s))

    def committed(self, tool: str, step: Commit, event_id: Callable[[bytes], str | None]) -> None:
        """A step of a tool was committed. ``event_id`` reads the id out of a dead letter's record."""
        failed = Counter(letter.reason for letter in step.dead if letter.outcome == "tool_error")
        for reason, count in failed.items():
            record = next(letter.record for letter in step.dead if letter.reason == reason)
            self.troubled(tool, "delivery", reason, count, partial(event_id, record))
        if self.log is None:
            return
        outcomes: Counter[str] = Counter()
        for (kind, _reason), count in step.counts.items():
            outcomes[kind] += count
        level = logging.WARNING if BURIED.intersection(outcomes) else logging.INFO
        parked = len(step.park)
        self.log.say("outcomes", level, tool=tool, outcomes=dict(outcomes), ended=outcomes.total(), parked=parked)

    def at_the_door(self, tool: str, reason: str) -> None:
        """A tool that answers failed in a request."""
        self.troubled(tool, "request", reason)

    def troubled(
        self, tool: str, where: str, reason: str, count: int = 1, event_id: Callable[[], str | None] = lambda: None
    ) -> None:
        """A tool raised or returned rubbish, in a ``request`` or at a ``delivery``; one line in `REPEAT_S` tells it."""
        if self.tally is not None:
            self.tally.count("component_errors", tool, where, by=count)
        if self.log is None:
            return
        if told := self._due(tool, reason, count):
            self.log.say(
                "component_error",
                logging.ERROR,
                tool=tool,
                where=where,
                reason=reason,
                count=told,
                event_id=event_id(),
            )

    def _due(self, tool: str, reason: str, count: int) -> int:
        """Return how many are to be told of now; 0 while the same was told of lately."""
        now_s = self.now_s()
        with self._lock:
            known = (tool, reason) in self._troubles or len(self._troubles) < MAX_TROUBLES
            key = (tool, reason) if known else ("", "other")
            told_s, waiting = self._troubles.get(key, (-inf, 0))
            due = now_s - told_s >= REPEAT_S
            self._troubles[key] = (now_s, 0) if due else (told_s, waiting + count)
        return waiting + count if due else 0


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _status(sent: Sent) -> str:
    """Return a label of which there are few: a vendor may answer what it likes."""
    if sent.error is not None:
        return "error"
    if sent.status is None:
        return "ok"
    return str(sent.status) if sent.status in _STATUSES else f"{sent.status // 100}xx"
