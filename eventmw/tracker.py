"""Tracking from outside the site: a cron job, a Celery task, a script on the same machine.

A running site judges and keeps the event, as it would any other. When none runs, and its journal is in files, the event is
written there, and delivered once a site or ``eventmw worker`` runs.

Layer: input and output. Making a `Tracker` imports and opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from eventmw.errors import JournalDown
from eventmw.event import Receipt
from eventmw.forks import LateLock

if TYPE_CHECKING:
    from eventmw.control.view import View
    from eventmw.payload import TrackOptions


class Tracker:
    """Sends events through a running site on this machine, or into its journal. Thread-safe.

    Without a running site, events are judged with default limits and without ``strict``, which only the site knows. The
    journal then stays open until `close`.

    ::

        tracker = Tracker("/srv/shop/eventmw-data")
        tracker.track("subscription_renewed", {"value": 9.5, "currency": "EUR"}, id=f"renewal-{renewal.id}")

    Args:
        data_dir: the site's ``data_dir``; None: ``$EVENTMW_DATA_DIR``, else ``eventmw-data`` in the working directory.
    """

    def __init__(self, data_dir: str | os.PathLike[str] | None = None) -> None:
        self._data_dir = data_dir
        self._closed = False
        self._lock = LateLock()  # sockets are connected to meanwhile
        self._view: View | None = None

    def track(self, name: str, properties: Mapping[str, Any] | None = None, **options: Unpack[TrackOptions]) -> Receipt:
        """Send one event through the site's pipeline. Blocks until the site has kept it. See `eventmw.payload.TrackOptions`.

        With an `id` of one's own, sending again after a `JournalDown` cannot count twice. Of a `request` everything is read
        but the address: which proxies are trusted, only the site knows. A `project` needs a site that runs.

        Raises:
            InvalidEvent: it breaks the schema.
            JournalFull: the site has no room for it.
            JournalDown: nobody could keep it, or not in time. No site runs there, and there is no journal in files either.
        """
        from eventmw.payload import own_event  # noqa: PLC0415 - importing eventmw stays light

        event = own_event(name, properties, None, **options)
        return self._look().track(event)

    def _look(self) -> View:
        """Return the view of the data directory; the one of before, as long as it is of the same kind."""
        from eventmw.control.inspection import look_into  # noqa: PLC0415 - as above

        with self._lock:
            if self._closed:
                raise JournalDown("this Tracker is closed; make another one")
            fresh = look_into(self._data_dir)
            if type(fresh) is not type(self._view):
                self._view = fresh
            return self._view or fresh

    async def atrack(
        self, name: str, properties: Mapping[str, Any] | None = None, **options: Unpack[TrackOptions]
    ) -> Receipt:
        """Do as `track` does, without blocking the event loop."""
        import asyncio  # noqa: PLC0415 - importing eventmw stays light

        return await asyncio.to_thread(lambda: self.track(name, properties, **options))

    def close(self) -> None:
        """Send no more, and let go of the journal."""
        with self._lock:
            self._closed = True
            view, self._view = self._view, None
        if view is not None:
            view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
