"""Tracking from outside the site: a cron job, a Celery task, a script on the same machine.

Layer: input and output. Making a `Tracker` imports and opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from eventmw.errors import JournalDown
from eventmw.event import Receipt


class Tracker:
    """Sends events through a running site on this machine. Thread-safe; nothing is kept open between events.

    ::

        tracker = Tracker("/srv/shop/eventmw-data")
        tracker.track("subscription_renewed", {"value": 9.5, "currency": "EUR"}, id=f"renewal-{renewal.id}")

    Args:
        data_dir: the site's ``data_dir``; None: ``$EVENTMW_DATA_DIR``, else ``eventmw-data`` in the working directory.
    """

    def __init__(self, data_dir: str | os.PathLike[str] | None = None) -> None:
        self._data_dir = data_dir
        self._closed = False

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
        """Send one event through the site's pipeline. Blocks until the site has kept it. See `eventmw.site.Site.track`.

        With an `id` of one's own, sending again after a `JournalDown` cannot count twice.

        Raises:
            InvalidEvent: it breaks the schema.
            JournalFull: the site has no room for it.
            JournalDown: no site is running there, or it could not keep the event in time.
        """
        from eventmw.control.inspection import look_into  # noqa: PLC0415 - importing eventmw stays light
        from eventmw.payload import payload  # noqa: PLC0415 - as above

        if self._closed:
            raise JournalDown("this Tracker is closed; make another one")
        body = payload(name, properties, ecommerce=ecommerce, system=system, id=id, timestamp=timestamp)
        return look_into(self._data_dir).track(body)

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
        import asyncio  # noqa: PLC0415 - importing eventmw stays light

        return await asyncio.to_thread(
            self.track, name, properties, ecommerce=ecommerce, system=system, id=id, timestamp=timestamp
        )

    def close(self) -> None:
        """Send no more."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
