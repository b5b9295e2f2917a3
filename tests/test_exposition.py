"""The figures as Prometheus reads them, made of what one or several processes told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from eventmw.outcome import OUTCOME_KINDS
from eventmw.version import VERSION
from eventmw.watching.exposition import Exposition, Sighting
from eventmw.watching.tally import BOUNDS_S, Tally

NOW_MS = 1_790_000_000_000


def tool(**given: Any) -> dict[str, Any]:
    usual = {"backlog_events": 3, "backlog_bytes": 300, "oldest_ms": NOW_MS - 2500, "parked": 1, "dead": 2}
    return {**usual, "outcomes": {"delivered": 7, "dead_evicted": 4}, "lane": None, **given}


def sighting(process: str, durability: str = "journaled", tally: Any = None, **tools: Any) -> Sighting:
    stats = {"durability": durability, "bytes": 10, "cap_bytes": 100, "records": 1, "events": 5, "not_ready": ""}
    return Sighting(process, {**stats, "tools": tools}, tally or {})


def read(
    *sightings: Sighting, silent: int = 0, now_ms: int = NOW_MS
) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = Exposition().text(sightings, silent, now_ms).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "a series stands there twice, which Prometheus refuses"
    return found


def labelled(found: Any, name: str) -> list[dict[str, str]]:
    return [dict(labels) for known, labels in found if known == name]


@pytest.mark.parametrize(("durability", "times"), [("memory", 2), ("journaled", 1), ("replicated", 1)])
def test_a_journal_that_is_shared_is_figured_once(durability: str, times: int) -> None:
    found = read(sighting("1", durability, ga4=tool()), sighting("2", durability, ga4=tool()))
    for name in ("eventmw_journal_bytes", "eventmw_tool_backlog_events", "eventmw_tool_oldest_event_age_seconds"):
        labels = labelled(found, name)
        assert len(labels) == times
        assert [own.get("process") for own in labels] == (["1", "2"] if times == 2 else [None])
    assert len(labelled(found, "eventmw_outcomes_total")) == len(OUTCOME_KINDS) * times
    assert len(labelled(found, "eventmw_journal_ready")) == 2


def test_what_a_tool_shows() -> None:
    lane = {"phase": "standing", "attempts": 4, "in_flight": 1, "next_probe_ms": None, "last_error": "a secret"}
    found = read(sighting("1", ga4=tool(lane=lane)), sighting("2", ga4=tool()))
    ga4 = ("tool", "ga4")
    assert found["eventmw_tool_oldest_event_age_seconds", frozenset([ga4])] == 2.5
    assert found["eventmw_outcomes_total", frozenset([ga4, ("outcome", "delivered")])] == 7
    assert found["eventmw_outcomes_total", frozenset([ga4, ("outcome", "expired")])] == 0
    assert found["eventmw_dead_letters_evicted_total", frozenset([ga4])] == 4
    assert found["eventmw_tool_failed_attempts", frozenset([ga4, ("process", "1")])] == 4
    assert found["eventmw_tool_state", frozenset([ga4, ("process", "1"), ("state", "standing")])] == 1
    leading = {dict(labels)["process"]: n for (name, labels), n in found.items() if name == "eventmw_courier_leading"}
    assert leading == {"1": 1, "2": 0}
    assert len(labelled(found, "eventmw_tool_state")) == 4
    assert found["eventmw_info", frozenset([("version", VERSION)])] == 1


@pytest.mark.parametrize("oldest_ms", [None, NOW_MS, NOW_MS + 5000])
def test_no_age_is_below_nothing(oldest_ms: int | None) -> None:
    found = read(sighting("1", ga4=tool(oldest_ms=oldest_ms)))
    assert found["eventmw_tool_oldest_event_age_seconds", frozenset([("tool", "ga4")])] == 0


def test_a_journal_that_is_not_ready() -> None:
    full = sighting("1")
    full = Sighting("1", {**full.stats, "not_ready": "the journal is full"}, {})
    assert read(full, silent=2)["eventmw_journal_ready", frozenset([("process", "1")])] == 0
    assert read(full, silent=2)["eventmw_silent_processes", frozenset()] == 2


def test_a_process_of_another_version_tells_what_is_not_known() -> None:
    found = read(sighting("1", tally={"counts": [[["to_come", "x"], 5]], "gauges": [], "novel": []}))
    assert labelled(found, "eventmw_requests_total") == []


@given(st.lists(st.lists(st.floats(0, 60), max_size=9), min_size=1, max_size=3), st.integers(0, 9))
def test_what_was_tallied_is_what_is_read(processes: list[list[float]], count: int) -> None:
    sightings: list[Sighting] = []
    for number, durations in enumerate(processes):
        tally = Tally()
        tally.count("deliveries", "ga4", "200", by=count + number)
        for duration in durations:
            tally.observe("append_duration", seconds=duration)
        sightings.append(sighting(str(number), tally=tally.as_json()))
    found = read(*sightings)
    for number, durations in enumerate(processes):
        own = ("process", str(number))
        assert found["eventmw_deliveries_total", frozenset([own, ("tool", "ga4"), ("status", "200")])] == count + number
        for bound in BOUNDS_S if durations else ():
            le = found["eventmw_append_duration_seconds_bucket", frozenset([own, ("le", str(bound))])]
            assert le == sum(duration <= bound for duration in durations)
        if durations:
            assert found["eventmw_append_duration_seconds_count", frozenset([own])] == len(durations)
