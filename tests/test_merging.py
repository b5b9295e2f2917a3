"""Several processes as one picture."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from eventmw.control.merging import merged

COUNTS = st.integers(0, 9)
PHASES = ("flowing", "probing", "standing", "off")


def lanes() -> st.SearchStrategy[Any]:
    return st.none() | st.fixed_dictionaries(
        {
            "phase": st.sampled_from(PHASES),
            "attempts": COUNTS,
            "next_probe_ms": COUNTS,
            "in_flight": COUNTS,
            "last_error": st.sampled_from(["", "HTTP 503"]),
        }
    )


def tools() -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {
            "backlog_records": COUNTS,
            "backlog_events": COUNTS,
            "backlog_bytes": COUNTS,
            "oldest_ms": st.none() | COUNTS,
            "parked": COUNTS,
            "dead": COUNTS,
            "outcomes": st.dictionaries(st.sampled_from(["delivered", "filtered"]), COUNTS),
            "reasons": st.just([]),
            "lane": lanes(),
        }
    )


def processes() -> st.SearchStrategy[list[Any]]:
    numbers = dict.fromkeys(("records", "events", "bytes", "cap_bytes", "appended_records", "appended_events"), COUNTS)
    journal = {
        "durability": st.just("memory"),
        **numbers,
        "tools": st.dictionaries(st.sampled_from(["ga4", "crm", "hook"]), tools()),
    }
    return st.lists(st.fixed_dictionaries({"pid": COUNTS, "stats": st.fixed_dictionaries(journal)}), max_size=3)


@given(processes())
def test_everything_is_counted_once(parts: list[Any]) -> None:
    whole = merged(parts)
    assert whole["processes"] == parts
    for name in ("records", "bytes", "appended_events"):
        assert whole["journal"][name] == sum(part["stats"][name] for part in parts)
    assert set(whole["tools"]) == {tool for part in parts for tool in part["stats"]["tools"]}
    for ident, tool in whole["tools"].items():
        own = [part["stats"]["tools"][ident] for part in parts if ident in part["stats"]["tools"]]
        for name in ("backlog_events", "parked", "dead"):
            assert tool[name] == sum(one[name] for one in own)
        assert sum(tool["outcomes"].values()) == sum(sum(one["outcomes"].values()) for one in own)
        assert tool["processes"] == len(own)
        ages = [one["oldest_ms"] for one in own if one["oldest_ms"] is not None]
        assert tool["oldest_ms"] == (min(ages) if ages else None)


@given(processes())
def test_the_state_is_the_worst_of_all(parts: list[Any]) -> None:
    for ident, tool in merged(parts)["tools"].items():
        phases = {
            lane["phase"]
            for part in parts
            if ident in part["stats"]["tools"] and (lane := part["stats"]["tools"][ident]["lane"]) is not None
        }
        worst = (
            max(phases, key=PHASES.index)
            if phases
            else ("waiting" if tool["backlog_events"] or tool["parked"] else "idle")
        )
        assert tool["state"] == worst
