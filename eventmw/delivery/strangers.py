"""Strangers: tools that wait in the journal, and that the process which delivers is not configured for.

It cannot be refused: a deploy changes tools, and for a while both versions run. So it is said.

Layer: pure rules, and one line of log.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from eventmw.journal import ToolStats

log = logging.getLogger("eventmw.delivery.courier")


class Strangers:
    """Names the tools that have events waiting and that nobody here knows; again only when these are others.

    Args:
        known: the ids of the tools that are delivered to.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._told: Collection[str] = ()

    def look(self, tools: Iterable[ToolStats]) -> None:
        """Look at where the registered tools stand."""
        waiting = {tool.tool: tool.backlog_events + tool.parked for tool in tools if tool.tool not in self._known}
        found = {tool: events for tool, events in sorted(waiting.items()) if events}
        if found and found.keys() != set(self._told):
            log.warning(
                "this process delivers, and its configuration has no tool for events that wait in data_dir: %s. "
                "When another site has them, give it a data_dir of its own; when none has any more, "
                "`eventmw tools forget ID`",
                ", ".join(f"{tool} ({events})" for tool, events in found.items()),
            )
        self._told = tuple(found)
