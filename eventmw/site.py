"""What both gateways offer the site's own code: track, stats, close.

Layer: gateways.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from datetime import datetime
from typing import Any

from eventmw.config import Config
from eventmw.errors import JournalDown, told
from eventmw.event import Receipt
from eventmw.intake.paths import FirstLook, tails
from eventmw.payload import payload
from eventmw.runtime import Runtime
from eventmw.tracking import Tracking

log = logging.getLogger("eventmw")


class Site:
    """The part of a gateway that the site's own code uses. Everything is thread-safe.

    Attributes:
        runtime: the engine, journal and courier behind this site.
    """

    runtime: Runtime
    _tails: Container[object]

    def _set_up(self, config: Config) -> None:
        self.runtime = Runtime(config)
        self._path = config.path
        self._tails = FirstLook(tails(config.path) | {None}, self._first_request)

    def _first_request(self, known: frozenset[str | None]) -> None:
        self._tails = known
        try:
            self.runtime.awake()
        except Exception as error:  # noqa: BLE001 - a machine out of threads must not cost the site a request
            log.warning("commands will not find this process: %s", told(error))

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
        return Tracking.of(self.runtime, body).result(self.runtime.config.limits.append_timeout_s)

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
