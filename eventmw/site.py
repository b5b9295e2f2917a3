"""What both gateways offer the site's own code: track, stats, close.

Layer: gateways.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

import msgspec

from eventmw.config import Config
from eventmw.door import Visit
from eventmw.errors import EventmwError, JournalDown, Refused
from eventmw.event import Receipt
from eventmw.journal import Position
from eventmw.protocols.zaraz import Accepted
from eventmw.runtime import Runtime

TRACKED: Final = "track"
"""The credential of events from the site's own code."""


class InvalidEvent(EventmwError, ValueError):  # noqa: N818 - reads as what it is
    """The event given to `track` is not valid; the message says what was expected where."""


def payload(
    name: str,
    properties: Mapping[str, Any] | None = None,
    *,
    ecommerce: bool = False,
    system: Mapping[str, Any] | None = None,
    id: str | None = None,  # noqa: A002 - the protocol's word
    timestamp: datetime | str | int | None = None,
) -> bytes:
    """Return the payload of one event, as a sender would post it.

    Raises:
        InvalidEvent: a property cannot be written as JSON.
    """
    event: dict[str, Any] = {"client": {**(properties or {}), "__zarazTrack": name}}
    if ecommerce:
        event["client"]["__zarazEcommerce"] = True
    if system is not None:
        event["system"] = system
    own = {"id": id, "timestamp": _written(timestamp)}
    if id is not None or timestamp is not None:
        event["eventmw"] = {key: value for key, value in own.items() if value is not None}
    try:
        return msgspec.json.encode({"events": [event]})
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidEvent(f"the properties of {name!r} must be JSON values: {error}") from error


def _written(timestamp: datetime | str | int | None) -> str | int | None:
    if isinstance(timestamp, datetime):
        return (timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)).isoformat()
    return timestamp


@dataclass(frozen=True, slots=True)
class Tracking:
    """One event on its way into the journal."""

    runtime: Runtime
    accepted: Accepted
    future: Future[Position]

    @classmethod
    def of(cls, runtime: Runtime, body: bytes) -> Self:
        """Judge a payload and hand it to the journal.

        Raises:
            InvalidEvent: it is not valid.
            JournalFull: no room.
            JournalDown: it cannot be written now.
        """
        try:
            accepted = runtime.accept(body, Visit(TRACKED, "", None, "", len(body), None))
        except Refused as refused:
            faults = "; ".join(f"{fault.path}: {fault.message}" for fault in refused.faults)
            raise InvalidEvent(faults or refused.detail) from None
        return cls(runtime, accepted, runtime.append(accepted))

    def receipt(self) -> Receipt:
        """Return the receipt, once the future is done."""
        record = self.accepted.record
        notes = self.accepted.judgement.notes
        return Receipt(
            id=record.id,
            event_id=self.accepted.event_id(0),
            recorded_ms=record.recorded_ms,
            durability=self.runtime.journal.durability,
            warnings=tuple(f"{note.fault.path}: {note.fault.message}" for note in notes if note.fault is not None),
        )


class Site:
    """The part of a gateway that the site's own code uses. Everything is thread-safe.

    Attributes:
        runtime: the engine, journal and courier behind this site.
    """

    runtime: Runtime

    def _set_up(self, config: Config) -> None:
        self.runtime = Runtime(config)

    def track(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        ecommerce: bool = False,
        system: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 - the protocol's word
        timestamp: datetime | str | int | None = None,
    ) -> Receipt:
        """Send one event from the site's own code, through the same pipeline as any other. Blocks until it is kept.

        Args:
            name: the event's name.
            properties: JSON values; each key is a track property.
            ecommerce: whether tools treat it as an e-commerce event.
            system: device, page and cookies of the person, in the shape of the seed's ``system`` object.
            id: 1 to 128 characters; a second event with the same id within 24 hours is a duplicate.
            timestamp: when it happened: a datetime (naive is UTC), ISO 8601, or milliseconds since 1970; None is now.

        Raises:
            InvalidEvent: it breaks the schema.
            JournalFull: no room (the HTTP answer would be 503).
            JournalDown: it could not be kept within `Limits.append_timeout_s` seconds.
        """
        body = payload(name, properties, ecommerce=ecommerce, system=system, id=id, timestamp=timestamp)
        tracking = Tracking.of(self.runtime, body)
        timeout_s = self.runtime.config.limits.append_timeout_s
        try:
            tracking.future.result(timeout_s)
        except TimeoutError:
            raise JournalDown(f"the event could not be kept within {timeout_s:g} s") from None
        return tracking.receipt()

    async def atrack(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        ecommerce: bool = False,
        system: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 - the protocol's word
        timestamp: datetime | str | int | None = None,
    ) -> Receipt:
        """Do as `track` does, without blocking the event loop."""
        from eventmw.waiting import wait  # noqa: PLC0415 - needs asyncio

        body = payload(name, properties, ecommerce=ecommerce, system=system, id=id, timestamp=timestamp)
        tracking = Tracking.of(self.runtime, body)
        timeout_s = self.runtime.config.limits.append_timeout_s
        if not await wait(tracking.future, timeout_s):
            raise JournalDown(f"the event could not be kept within {timeout_s:g} s")
        tracking.future.result(0)
        return tracking.receipt()

    def stats(self) -> Mapping[str, Any]:
        """Return where everything stands in this process, as JSON values; ``eventmw stats`` prints the same."""
        return self.runtime.stats()

    def close(self, grace_s: float = 5.0) -> bool:
        """Take no more events, deliver for at most `grace_s` seconds, and stop. Returns whether all was delivered.

        Nobody has to call it: what is not delivered stays in the journal as long as that lasts.
        """
        return self.runtime.close(grace_s)
