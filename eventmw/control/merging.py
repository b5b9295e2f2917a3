"""The numbers of several processes as one picture: each tool summed, its state the worst of them.

Layer: pure rules over what `eventmw.control.standing` shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

Json = Mapping[str, Any]

_SUMMED: Final = ("backlog_records", "backlog_events", "backlog_bytes", "parked", "dead")
_JOURNAL_SUMMED: Final = ("records", "events", "bytes", "cap_bytes", "appended_records", "appended_events")
_WORST_FIRST: Final = ("off", "standing", "probing", "flowing")
NOT_DELIVERING: Final = "waiting"
"""Events are there for the tool, and no lane works for it: its courier is off."""
IDLE: Final = "idle"
"""No lane works for the tool yet, and there is nothing to deliver: couriers start with the first event."""


def merged(processes: Sequence[Json]) -> dict[str, Any]:
    """Return the whole picture; see `eventmw.control.view.View.stats` for its shape."""
    journals = [process["stats"] for process in processes]
    ids = dict.fromkeys(tool for journal in journals for tool in journal["tools"])
    return {
        "journal": {
            "durability": "/".join(sorted({journal["durability"] for journal in journals})),
            **{name: sum(journal[name] for journal in journals) for name in _JOURNAL_SUMMED},
            "not_ready": [
                {"pid": process["pid"], "why": why}
                for process in processes
                if (why := process["stats"].get("not_ready", ""))
            ],
        },
        "tools": {
            tool: _tool([journal["tools"][tool] for journal in journals if tool in journal["tools"]]) for tool in ids
        },
        "processes": list(processes),
    }


def _tool(parts: Sequence[Json]) -> dict[str, Any]:
    oldest = [part["oldest_ms"] for part in parts if part["oldest_ms"] is not None]
    outcomes: Counter[str] = Counter()
    for part in parts:
        outcomes.update(part["outcomes"])
    sums = {name: sum(part[name] for part in parts) for name in _SUMMED}
    at_rest = NOT_DELIVERING if sums["backlog_events"] or sums["parked"] else IDLE
    return {
        **_lane([part["lane"] for part in parts if part["lane"] is not None], at_rest),
        **sums,
        "oldest_ms": min(oldest, default=None),
        "outcomes": dict(outcomes),
        "processes": len(parts),
    }


def _lane(lanes: Sequence[Json], at_rest: str) -> dict[str, Any]:
    if not lanes:
        return {"state": at_rest, "next_probe_ms": None, "attempts": 0, "last_error": "", "in_flight": 0}
    worst = min(lanes, key=lambda lane: _WORST_FIRST.index(lane["phase"]))
    return {
        "state": worst["phase"],
        "next_probe_ms": worst["next_probe_ms"],
        "attempts": worst["attempts"],
        "last_error": worst["last_error"],
        "in_flight": sum(lane["in_flight"] for lane in lanes),
    }
