"""The numbers of several processes as one picture: each tool summed, its state the worst of them.

Layer: pure rules over what `eventmw.control.standing` shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from eventmw.control.standing import bounded

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
            "not_ready": _not_ready(processes),
        },
        "stores": _stores([], processes),
        "tools": {
            tool: _tool([journal["tools"][tool] for journal in journals if tool in journal["tools"]]) for tool in ids
        },
        "processes": list(processes),
    }


def shared(journal: Json, processes: Sequence[Json]) -> dict[str, Any]:
    """Return the whole picture of processes that share one journal: its figures once, lanes from whoever delivers.

    Args:
        journal: the figures, as `eventmw.control.standing.as_json` has them.
        processes: those that are alive; ``stats`` is the process's part of them, None for one that was
            not asked.
    """
    answers = [process["stats"] for process in processes if process["stats"] is not None]
    caps = [answer["cap_bytes"] for answer in answers]
    configured = dict.fromkeys(tool for process in processes for tool in process["tools"])
    ids = [*(tool for tool in configured if tool in journal["tools"]), *journal["tools"]]
    return {
        "journal": {
            **{name: value for name, value in journal.items() if name not in {"tools", "stores"}},
            "cap_bytes": max(caps, default=None),
            "not_ready": _not_ready(processes),
        },
        "stores": _stores([journal.get("stores", {})], processes),
        "tools": {
            tool: {
                **_lane(_lanes(answers, tool), _at_rest(journal["tools"][tool])),
                **{name: value for name, value in journal["tools"][tool].items() if name != "lane"},
                **_failure([*_lanes(answers, tool), journal["tools"][tool]]),
                "processes": sum(tool in process["tools"] for process in processes),
                "unknown_to": unknown_to(tool, journal["tools"][tool], journal.get("leader_pid"), processes),
            }
            for tool in dict.fromkeys(ids)
        },
        "processes": list(processes),
    }


def _stores(known: Sequence[Json], processes: Sequence[Json]) -> dict[str, str]:
    """Return what is wrong with each store: what the folder shows, then what a process says; "" when nothing is."""
    parts = [process["stats"].get("stores", {}) for process in processes if process["stats"] is not None]
    return {
        store: next((part[store] for part in (*known, *parts) if part.get(store)), "") for store in ("archive", "keys")
    }


def _not_ready(processes: Sequence[Json]) -> list[Json]:
    """Return which processes take no events now, and why."""
    return [
        {"pid": process["pid"], "why": why}
        for process in processes
        if process["stats"] is not None and (why := process["stats"].get("not_ready", ""))
    ]


def unknown_to(ident: str, numbers: Json, leader_pid: int | None, processes: Iterable[Json]) -> int | None:
    """Return the process that delivers, when events wait for the tool and that process is not configured for it."""
    waits = numbers["backlog_events"] or numbers["parked"]
    leading = (process for process in processes if process["pid"] == leader_pid)
    return leader_pid if waits and any(ident not in process["tools"] for process in leading) else None


def _lanes(answers: Sequence[Json], tool: str) -> Sequence[Json]:
    parts = [answer["tools"][tool] for answer in answers if tool in answer["tools"]]
    return [part["lane"] for part in parts if part["lane"] is not None]


def _at_rest(numbers: Json) -> str:
    return NOT_DELIVERING if numbers["backlog_events"] or numbers["parked"] else IDLE


def _tool(parts: Sequence[Json]) -> dict[str, Any]:
    oldest = [part["oldest_ms"] for part in parts if part["oldest_ms"] is not None]
    outcomes: Counter[str] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    for part in parts:
        outcomes.update(part["outcomes"])
        for one in part.get("reasons", ()):
            reasons[one["outcome"], one["reason"]] += one["count"]
    lanes = [part["lane"] for part in parts if part["lane"] is not None]
    sums = {name: sum(part[name] for part in parts) for name in _SUMMED}
    return {
        **_lane(lanes, _at_rest(sums)),
        **_failure(lanes),
        **sums,
        "oldest_ms": min(oldest, default=None),
        "outcomes": dict(outcomes),
        "reasons": bounded(reasons),
        "processes": len(parts),
    }


def _failure(parts: Sequence[Json]) -> dict[str, Any]:
    """Return the last thing that went wrong; a process of an older version does not say it."""
    known = [part for part in parts if part.get("last_failure_ms") is not None]
    if not known:
        return {"last_failure": "", "last_failure_ms": None}
    last = max(known, key=lambda part: part["last_failure_ms"])
    return {"last_failure": last["last_failure"], "last_failure_ms": last["last_failure_ms"]}


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
