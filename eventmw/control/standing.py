"""Where everything stands, as JSON: what ``stats`` shows.

Layer: pure rules over the journal's and the courier's own words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from eventmw.journal import JournalStats, ToolStats

MAX_REASONS: Final = 50
"""Different reasons of Outcomes that are shown for one tool."""

_SOUND: Final[Mapping[str, str]] = {}


def as_json(
    journal: JournalStats, lanes: Mapping[str, Any], *, not_ready: str = "", stores: Mapping[str, str] = _SOUND
) -> dict[str, Any]:
    """Return the journal's numbers and, for each tool, its backlog, Outcomes and the courier's lane.

    ``{"durability", "records", …, "not_ready", "tools": {id: {"backlog_events", …, "outcomes": {kind: n}, "lane": {…}}}}``.
    ``not_ready`` is "" while the journal takes events, else the sentence of `eventmw.journal.Journal.ready`. ``stores`` has
    what is wrong with the archive and the keys, as `eventmw.eventbunker.stores.Stores.troubles` says it.
    """
    whole = {spec.name: getattr(journal, spec.name) for spec in dataclasses.fields(journal) if spec.name != "tools"}
    return {
        "not_ready": not_ready,
        "stores": dict(stores),
        **whole,
        "tools": {tool.tool: _tool(tool, lanes.get(tool.tool)) for tool in journal.tools},
    }


def part_as_json(
    lanes: Mapping[str, Any], *, cap_bytes: int, not_ready: str, stores: Mapping[str, str] = _SOUND
) -> dict[str, Any]:
    """Return what one process alone knows of a journal that it shares; its figures are the same for all.

    ``{"not_ready", "stores", "cap_bytes", "tools": {id: {"lane": {…}}}}``.
    """
    tools = {tool: {"lane": dataclasses.asdict(lane)} for tool, lane in lanes.items()}
    return {"not_ready": not_ready, "stores": dict(stores), "cap_bytes": cap_bytes, "tools": tools}


def bounded(counts: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """Return the reasons of Outcomes as ``{"outcome", "reason", "count"}``, the most frequent ones, the others as ``other``.

    ``len(result) <= MAX_REASONS + len(OUTCOME_KINDS)``; the sums of each Outcome are those of all its reasons.
    """
    found = sorted(((pair, count) for pair, count in counts.items() if pair[1]), key=lambda one: (-one[1], one[0]))
    kept: dict[tuple[str, str], int] = {}
    for number, (pair, count) in enumerate(found):
        key = pair if number < MAX_REASONS else (pair[0], "other")
        kept[key] = kept.get(key, 0) + count
    return [{"outcome": kind, "reason": reason, "count": count} for (kind, reason), count in kept.items()]


def _tool(tool: ToolStats, lane: Any) -> dict[str, Any]:
    numbers = {
        spec.name: getattr(tool, spec.name) for spec in dataclasses.fields(tool) if spec.name not in {"tool", "counts"}
    }
    outcomes: dict[str, int] = {}
    for (kind, _reason), count in tool.counts.items():
        outcomes[kind] = outcomes.get(kind, 0) + count
    reasons = bounded(tool.counts)
    shown = dataclasses.asdict(lane) if dataclasses.is_dataclass(lane) and not isinstance(lane, type) else None
    return {**numbers, "outcomes": outcomes, "reasons": reasons, "lane": shown}
