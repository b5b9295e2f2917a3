"""What is said when, at which level, and how little of it a tool that fails for ever can cause."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.journal import Commit, DeadLetter, Key, Parked, Position
from eventmw.outcome import BURIED, OUTCOME_KINDS
from eventmw.watching.eventlog import EventLog
from eventmw.watching.tally import Tally
from eventmw.watching.watch import MAX_TROUBLES, REPEAT_S, Answered, Sent, Watch
from tests.eventlog import captured, fields

FINE = Answered(200, "", 0.0, 0, 0)
KEY = Key(Position("s", 1), 0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1.0

    def __call__(self) -> float:
        return self.now_s


def watching(clock: Clock | None = None) -> tuple[Watch, Tally]:
    tally = Tally()
    return Watch(EventLog(), tally, clock or Clock()), tally


def counted(tally: Tally) -> dict[tuple[str, ...], int]:
    return {tuple(series): number for series, number in tally.as_json()["counts"] if number}


def letter(reason: str, outcome: str = "tool_error", record: bytes = b"r") -> DeadLetter:
    return DeadLetter("ga4", KEY, record, outcome, reason, 1, 0)


def sent(**given: Any) -> Sent:
    usual: dict[str, Any] = {
        "tool": "ga4",
        "kind": "http",
        "host": "v.example",
        "method": "POST",
        "sends": 3,
        "attempt": 2,
        "status": 204,
        "error": None,
        "seconds": 0.25,
    }
    return Sent(**(usual | given))


@pytest.mark.parametrize(("logs", "figures"), [("off", False), ("off", True), ("logging", False), ("logging", True)])
def test_there_is_a_watch_only_where_something_is_wanted(logs: Any, *, figures: bool) -> None:
    watch = Watch.wanted(logs, figures=figures)
    if logs == "off" and not figures:
        assert watch is None
    else:
        assert watch is not None
        assert (watch.log is not None, watch.tally is not None) == (logs != "off", figures)


@pytest.mark.parametrize(
    ("status", "code", "level"),
    [
        (200, "", "INFO"),
        (401, "unauthorized", "INFO"),
        (503, "journal_full", "WARNING"),
        (500, "internal_error", "WARNING"),
    ],
)
def test_an_answer(status: int, code: str, level: str) -> None:
    watch, tally = watching()
    with captured() as records:
        watch.answered(Answered(status, code, 0.0015, 2, 1), lambda: {"request_id": "q", "accepted": 3})
    (said,) = fields(records, "server_response")
    assert said == {
        "level": level,
        "event_type": "server_response",
        "request_id": "q",
        "status": status,
        "accepted": 3,
        "rejected": 2,
        "duplicates": 1,
        "duration_ms": 1.5,
        **({"code": code} if code else {}),
    }
    assert counted(tally) == {("requests", str(status), code): 1, ("events", "rejected"): 2, ("events", "duplicate"): 1}


def test_a_record_counts_once_it_is_kept() -> None:
    clock = Clock()
    watch, tally = watching(clock)
    kept: Future[Position] = Future()
    watch.appending(kept, 5, clock.now_s)
    assert counted(tally) == {}
    clock.now_s += 0.02
    kept.set_result(Position("s", 1))
    assert counted(tally) == {("events", "accepted"): 5}
    ((series, _, total),) = tally.as_json()["histograms"]
    assert (series, round(total, 6)) == (["append_duration"], 0.02)


def test_a_record_that_is_not_kept_does_not_count() -> None:
    watch, tally = watching()
    failed: Future[Position] = Future()
    watch.appending(failed, 5, 0.0)
    failed.set_exception(OSError())
    gone: Future[Position] = Future()
    watch.appending(gone, 5, 0.0)
    gone.cancel()
    assert counted(tally) == {}
    assert tally.as_json()["histograms"] == []


@pytest.mark.parametrize(
    ("given", "level", "label"),
    [
        ({}, "INFO", "204"),
        ({"status": 302}, "INFO", "302"),
        ({"status": 429}, "WARNING", "429"),
        ({"status": 599}, "WARNING", "5xx"),
        ({"status": None, "error": "no answer in time: v.example"}, "WARNING", "error"),
        ({"status": None, "kind": "file", "host": None, "method": None}, "INFO", "ok"),
    ],
)
def test_a_request_to_a_vendor(given: dict[str, Any], level: str, label: str) -> None:
    watch, tally = watching()
    made = sent(**given)
    with captured() as records:
        watch.sent(made)
    (said,) = fields(records, "client_request")
    shown = {
        name: getattr(made, name) for name in ("tool", "kind", "host", "method", "sends", "attempt", "status", "error")
    }
    assert said == {
        "level": level,
        "event_type": "client_request",
        "duration_ms": 250.0,
        **{name: value for name, value in shown.items() if value is not None},
    }
    assert counted(tally) == {("deliveries", "ga4", label): 1}


@given(st.lists(st.integers(100, 999)))
def test_a_vendor_cannot_make_labels_without_end(statuses: list[int]) -> None:
    watch, tally = watching()
    for status in statuses:
        watch.sent(sent(status=status))
    assert len(counted(tally)) <= 80


@given(st.dictionaries(st.tuples(st.sampled_from(OUTCOME_KINDS), st.sampled_from(["", "a", "b"])), st.integers(1, 9)))
def test_one_line_tells_a_commit(counts: dict[tuple[str, str], int]) -> None:
    watch, _ = watching()
    step = Commit(counts=counts, park=[Parked(KEY, b"", 1, 0, "HTTP 500")])
    with captured() as records:
        watch.committed("ga4", step, lambda _: None)
    (said,) = fields(records, "outcomes")
    assert len(records) == 1
    assert (said["tool"], said["ended"], said["parked"]) == ("ga4", sum(counts.values()), 1)
    for kind in OUTCOME_KINDS:
        assert said["outcomes"].get(kind, 0) == sum(n for (known, _), n in counts.items() if known == kind)
    assert said["level"] == ("WARNING" if BURIED & {kind for kind, _ in counts} else "INFO")


def test_a_tool_that_raises_is_told_of_with_one_of_its_events() -> None:
    watch, tally = watching()
    step = Commit(
        dead=[letter("raised KeyError", record=b"7"), letter("raised KeyError"), letter("HTTP 400", "rejected")]
    )
    with captured() as records:
        watch.committed("ga4", step, lambda record: record.decode())
    (said,) = fields(records, "component_error")
    assert said == {
        "level": "ERROR",
        "event_type": "component_error",
        "tool": "ga4",
        "where": "delivery",
        "reason": "raised KeyError",
        "count": 2,
        "event_id": "7",
    }
    assert counted(tally) == {("component_errors", "ga4", "delivery"): 2}


def test_a_tool_that_fails_for_ever_is_told_of_now_and_then_and_nothing_is_left_out() -> None:
    clock = Clock()
    watch, tally = watching(clock)
    with captured() as records:
        for _ in range(100):
            watch.troubled("ga4", "request", "raised KeyError")
            clock.now_s += REPEAT_S / 40
        clock.now_s += REPEAT_S
        watch.troubled("ga4", "request", "raised KeyError")
    said = fields(records, "component_error")
    assert [line["count"] for line in said] == [1, 40, 40, 20]
    assert counted(tally) == {("component_errors", "ga4", "request"): 101}


def test_troubles_without_end_fill_neither_log_nor_memory() -> None:
    watch, _ = watching()
    with captured() as records:
        for number in range(3 * MAX_TROUBLES):
            watch.troubled("ga4", "delivery", f"raised {number}")
    assert len(fields(records, "component_error")) == MAX_TROUBLES + 1
    assert len(watch._troubles) == MAX_TROUBLES + 1


@pytest.mark.parametrize(("ecommerce", "event_type"), [(False, "action_triggered"), (True, "ecommerce_triggered")])
def test_a_tool_is_handed_an_event(event_type: str, *, ecommerce: bool) -> None:
    watch, _ = watching()
    with captured() as records:
        watch.handed("ga4", "e-1", 2, ecommerce=ecommerce)
    assert fields(records, event_type) == [
        {"level": "DEBUG", "event_type": event_type, "tool": "ga4", "event_id": "e-1", "sends": 2}
    ]


def test_figures_without_a_log_and_a_log_without_figures() -> None:
    step = Commit(dead=[letter("raised KeyError")], counts={("tool_error", "raised KeyError"): 1})
    for watch in (Watch(None, Tally()), Watch(EventLog(), None), Watch(None, None)):
        with captured() as records:
            watch.asked(request_id="q")
            watch.answered(FINE, dict)
            watch.appending(Future(), 1, 0.0)
            watch.handed("a", "e", 1, ecommerce=False)
            watch.sent(sent())
            watch.took_up("a", 1.0)
            watch.committed("a", step, lambda _: None)
        assert bool(records) == (watch.log is not None)


def test_a_fork_begins_at_nothing_and_is_another() -> None:
    watch, tally = watching()
    before = watch.figures()
    watch.answered(FINE, dict)
    watch.start_afresh()
    assert counted(tally) == {}
    assert watch.figures()["tally"] == before["tally"]
    assert watch.figures()["ident"] != before["ident"]
