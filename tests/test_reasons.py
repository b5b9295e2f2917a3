"""Why events ended, and what failed last, in ``eventmw stats``: while the site runs, and when it is stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw import Delivery, Drop, EventsMiddleware, Reject, Send, consumer, tool
from eventmw.cli.stats import _row
from eventmw.control.inspection import look_into
from eventmw.control.merging import merged
from eventmw.control.standing import MAX_REASONS, bounded
from eventmw.http import HttpRequest
from eventmw.journal import failures_in
from eventmw.outcome import OUTCOME_KINDS
from eventmw.vendor import Vendor
from tests.running import run

QUICK = Delivery(first_backoff_s=0.01, max_backoff_s=0.05)


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, f"in vain waited until {what}"
        time.sleep(0.01)


def tool_stats(folder: Path) -> dict[str, Any]:
    view = look_into(folder)
    try:
        return dict(view.stats()["tools"])
    finally:
        view.close()


@tool("drops")
def drops(_event: Any) -> Any:
    return Drop("no value")


@tool("picky", when="other")
def picky(_event: Any) -> Any:
    return Drop("never")


@consumer("strict")
def strict(_event: Any) -> None:
    raise Reject("no such customer")


@consumer("moody", delivery=QUICK)
def moody(event: Any) -> Any:
    return event.properties["missing"] if event.name == "first" else moan()


def moan() -> None:
    raise ConnectionRefusedError("connection refused")


def test_reasons_and_the_last_failure_are_shown_also_when_the_site_is_stopped(tmp_path: Path) -> None:
    app = EventsMiddleware(
        lambda _environ, _start: [],
        tools=[drops, picky],
        consumers=[strict, moody],
        data_dir=str(tmp_path),
        journal="file",
    )

    def last() -> str:
        lane = app.stats()["tools"]["moody"]["lane"]  # none before deliveries have begun
        return str(lane and lane["last_error"])

    app.track("first")
    app.runtime.start()
    until(lambda: "KeyError: 'missing'" in last(), "the consumer stands for the key")
    app.track("second")
    until(lambda: "connection refused" in last(), "the newer failure replaces the older one")
    until(lambda: app.stats()["tools"]["strict"]["outcomes"] == {"rejected": 2}, "all are given up")
    app.runtime.courier.stop(1)
    app.close(0)
    until(lambda: not any(tmp_path.glob("live/*")), "its socket is gone")
    stopped = tool_stats(tmp_path)
    assert stopped["drops"]["reasons"] == [{"outcome": "dropped", "reason": "no value", "count": 2}]
    assert stopped["picky"]["reasons"] == [{"outcome": "filtered", "reason": "when", "count": 2}]
    assert stopped["strict"]["reasons"] == [{"outcome": "rejected", "reason": "no such customer", "count": 2}]
    assert stopped["moody"]["last_failure"].startswith("the consumer raised ")
    assert stopped["moody"]["last_failure_ms"] > 0
    assert _row("drops", stopped["drops"])[-1] == "dropped 2: no value"
    assert _row("picky", stopped["picky"])[-1] == "filtered 2: its `when` did not match"
    assert "last failure, " in str(_row("moody", stopped["moody"])[-1])
    shown = run("stats", "--data-dir", str(tmp_path))
    assert "dropped 2: no value" in shown.out
    assert "rejected 2: no such customer" in shown.out
    assert "test_reasons.py:" in shown.out, "with the owner's line"
    letters = [json.loads(line) for line in run("dead", "list", "--json", "--data-dir", str(tmp_path)).lines]
    assert {letter["reason"] for letter in letters if letter["tool"] == "strict"} == {"no such customer"}


def test_a_tool_that_flows_again_shows_what_failed_only_with_what_is_left_of_it() -> None:
    idle = {
        "backlog_events": 0,
        "oldest_ms": None,
        "outcomes": {"delivered": 3},
        "last_error": "",
        "next_probe_ms": None,
    }
    failed = {"last_failure": "HTTP 503", "last_failure_ms": 1, "dead": 0, "parked": 0, "state": "flowing"}
    assert _row("crm", {**idle, **failed})[-1] == ""
    assert str(_row("crm", {**idle, **failed, "parked": 1})[-1]).endswith("ago: HTTP 503")
    known = [{"outcome": "rejected", "reason": "HTTP 503", "count": 1}]
    assert _row("crm", {**idle, **failed, "dead": 1, "reasons": known})[-1] == "rejected 1: HTTP 503"


def test_an_event_that_fails_beside_others_is_the_last_failure_though_the_tool_flows() -> None:
    with Vendor(lambda arrival: 503 if b"bad" in arrival.body else 200) as vendor:

        @tool("crm", delivery=QUICK)
        def crm(event: Any) -> Any:
            return Send(HttpRequest("POST", vendor.url, (), event.name.encode()))

        app = EventsMiddleware(lambda _environ, _start: [], tools=[crm])
        app.track("bad")
        until(lambda: app.stats()["tools"]["crm"]["lane"], "the courier runs")

        def lane() -> dict[str, Any]:
            app.track("good")
            return dict(app.stats()["tools"]["crm"]["lane"])

        until(lambda: lane()["last_failure"] == "HTTP 503" and lane()["phase"] == "flowing", "it is set aside")
        app.close(0)


COUNTS = st.dictionaries(
    st.tuples(st.sampled_from(OUTCOME_KINDS), st.text(max_size=3)), st.integers(1, 9), max_size=3 * MAX_REASONS
)


@given(COUNTS)
def test_reasons_are_bounded_and_lose_no_count(counts: dict[tuple[str, str], int]) -> None:
    shown = bounded(counts)
    assert len(shown) <= MAX_REASONS + len(OUTCOME_KINDS)
    for kind in OUTCOME_KINDS:
        expected = sum(count for (outcome, reason), count in counts.items() if outcome == kind and reason)
        assert sum(one["count"] for one in shown if one["outcome"] == kind) == expected


def test_reasons_of_several_processes_are_summed_and_the_newest_failure_is_shown() -> None:
    def process(reason: str, at_ms: int) -> dict[str, Any]:
        lane = {
            "phase": "flowing", "next_probe_ms": None, "attempts": 0, "last_error": "", "in_flight": 0,
            "last_failure": reason, "last_failure_ms": at_ms,
        }  # fmt: skip
        crm = {
            "backlog_records": 0, "backlog_events": 0, "backlog_bytes": 0, "parked": 0, "dead": 0, "oldest_ms": None,
            "outcomes": {"dropped": 2}, "reasons": [{"outcome": "dropped", "reason": "no value", "count": 2}], "lane": lane,
        }  # fmt: skip
        figures = ("records", "events", "bytes", "cap_bytes", "appended_records", "appended_events")
        return {"pid": at_ms, "stats": {"durability": "memory", **dict.fromkeys(figures, 0), "tools": {"crm": crm}}}

    crm = merged([process("new", 2), process("old", 1)])["tools"]["crm"]
    assert crm["reasons"] == [{"outcome": "dropped", "reason": "no value", "count": 4}]
    assert (crm["last_failure"], crm["last_failure_ms"]) == ("new", 2)


@pytest.mark.parametrize("kept", [None, b"", b"{", b"[]", b"7", b'{"a": 1}', b'{"a": ["x", "y"]}'])
def test_what_another_version_kept_is_passed_over(kept: bytes | None) -> None:
    assert failures_in(kept) == {}
    assert failures_in(b'{"crm": ["HTTP 503", 7]}') == {"crm": ("HTTP 503", 7)}
