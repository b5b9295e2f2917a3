"""Events that the site's own code tracks into the archive of a project: without a key, by the rules of the track API.

Layer: input and output. Source: PROTOCOLS.md 3.1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from eventmw.clock import Clock
from eventmw.config import Config
from eventmw.errors import EventmwError, InvalidEvent, JournalDown
from eventmw.eventbunker.places import Places
from eventmw.eventbunker.stores import Stores
from eventmw.formats import ip_of
from eventmw.payload import OwnEvent
from eventmw.protocols import eventbunker
from eventmw.protocols.eventbunker import Context, Judge, Names, Sender, Tracked, Writer

KNOWN_S: Final = 1.0
"""How long the projects' names are remembered: one that was deleted takes no event for longer than its keys do."""


class OwnTracking:
    """Judges events for a project. Thread-safe.

    Args:
        config: the site's.
        stores: where its projects are.
        clock: asked at each event, as tests replace it.
        names: the same, of what counts the names of events.
    """

    def __init__(self, config: Config, stores: Stores, clock: Callable[[], Clock], names: Callable[[], Names]) -> None:
        self._stores = stores
        self._clock = clock
        self._names = names
        self._judge = Judge(max_events=1, max_depth=config.limits.max_depth)
        self._places = None if config.geoip is None else Places(config.geoip)
        self._known: tuple[float, Mapping[str, str]] = (-KNOWN_S, {})

    def accept(self, event: OwnEvent, /) -> Tracked:
        """Judge an event.

        Raises:
            InvalidEvent: there is no such project, or several have this name.
            JournalDown: nobody can say now which projects there are.
            Refused: the event is not valid.
        """
        project = self._id_of(event.project or "")
        clock = self._clock()
        now_ms = clock.now_ms()
        # Its own credential: what senders with a key call an event has nothing to do with what the site calls one.
        sender = Sender(f"{project}/track", Writer(project, None), self._context(event.sender), own_id=event.id)
        return eventbunker.accept(event.body, sender, (clock.new_id(now_ms), now_ms), self._judge, self._names())

    def _context(self, sender: Mapping[str, Any]) -> Context:
        ip = sender.get("ip", "")
        known = ip_of(ip) if ip else None
        place = {} if known is None or self._places is None else self._places.of(known)
        page, language = sender.get("referer"), sender.get("language")
        return Context(None, known, sender.get("user_agent"), page, place, language, sender.get("hints", {}))

    def _id_of(self, project: str) -> str:
        """Return the id of the project with this name or id."""
        looked_s, known = self._known
        if time.monotonic() - looked_s >= KNOWN_S or project not in known:
            known = self._look()
            self._known = (time.monotonic(), known)
        found = known.get(project)
        if found:
            return found
        if found is None:
            offered = ", ".join(sorted(name for name in known if not name.startswith("prj_"))) or "none yet"
            raise InvalidEvent(
                f"there is no project {project!r}; there are: {offered}. `eventmw project create` makes one"
            )
        raise InvalidEvent(f"several projects are named {project!r}; give the id, as `eventmw project list` shows it")

    def _look(self) -> dict[str, str]:
        """Return name → id and id → id of all projects; "" for a name that several have."""
        try:
            projects = self._stores.key_store.projects()
        except EventmwError:
            raise
        except Exception as error:
            raise JournalDown(f"the projects cannot be looked up now: {type(error).__name__}") from error
        known: dict[str, str] = {}
        for project in projects:
            known[project.name] = "" if project.name in known else project.id
        return known | {project.id: project.id for project in projects}
