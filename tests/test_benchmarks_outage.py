"""What the benchmarks of outages, depth and saturation make of what they saw; nothing is timed here, and no server runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import absence, backlog, depth, outage, saturation
from benchmarks.openloop import Flood, Waits
from benchmarks.records import engine, number_of, record
from benchmarks.sites.vendor import Books
from eventmw.event import Event
from eventmw.tools import Webhook

BOOKS = {"arrived": 100, "distinct": 100, "inversions": 0}


def seen(**changes: object) -> outage.Seen:
    late: dict[str, Sequence[float]] = {"before": [1.0, 2.0], "away": [1.0, 2.2]}
    whole = outage.Seen(
        accepted=100,
        answers=Counter({200: 10}),
        memory=[1024**2, 2 * 1024**2],
        late=late,
        drained_per_s=6 * outage.RATE_PER_S,
        sick=BOOKS,
        healthy=BOOKS,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def capped(**changes: object) -> outage.Seen:
    buried = [(number, "backlog_full") for number in range(10, 50)]
    sick = BOOKS | {"arrived": 60, "distinct": 60}
    return seen(**{"buried": buried, "outcomes": {"backlog_full": 40}, "sick": sick} | changes)


def test_an_outage_that_went_well_is_told_so() -> None:
    verdicts = [figure.verdict for figure in (*outage._figures(seen()), *outage._capped_figures(capped()))]
    assert verdicts == ["ok"] * len(verdicts)
    plan = outage.Plan(1, 2, 1024**2)
    assert "drained/s" in outage._table((plan, seen()), (plan, capped())).as_text()


@pytest.mark.parametrize(
    "wrong",
    [
        seen(sick=BOOKS | {"distinct": 99}),
        seen(sick=BOOKS | {"inversions": 1}),
        seen(drained_per_s=4 * outage.RATE_PER_S),
        seen(memory=[0, 65 * 1024**2]),
    ],
)
def test_one_lost_or_inverted_event_a_slow_drain_and_memory_that_grows_are_misses(wrong: outage.Seen) -> None:
    assert [figure.verdict for figure in outage._figures(wrong)].count("missed") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        capped(buried=[(number, "backlog_full") for number in range(10, 49)], outcomes={"backlog_full": 39}),
        capped(buried=[(number, "backlog_full") for number in (*range(10, 49), 60)]),
        capped(buried=[(number, "expired") for number in range(10, 50)]),
        capped(outcomes={"backlog_full": 39}),
        capped(answers=Counter({200: 10, 503: 1})),
    ],
)
def test_past_the_cap_what_is_not_accounted_for_is_a_miss(wrong: outage.Seen) -> None:
    assert [figure.verdict for figure in outage._capped_figures(wrong)].count("missed") == 1


def test_the_vendors_books_tell_what_came_twice_out_of_order_or_not_at_all() -> None:
    books = Books()
    [tool] = engine([Webhook("http://127.0.0.1:9/")]).tools
    reader = engine([Webhook("http://127.0.0.1:9/")])

    def body(*numbers: int) -> bytes:
        events = [event for number in numbers for event in reader.events(record(number, 1, 1_790_000_000_000))]
        sends = [send for event in events if isinstance(event, Event) for send in tool.handle(event)]
        [packed] = tool.pack(sends)  # type: ignore[arg-type]
        return packed.request.body  # type: ignore[union-attr]

    assert books.post(body(0, 1, 3, 2, 3))
    books.refuses = True
    assert not books.post(body(5))
    told = books.told()
    assert (told["arrived"], told["distinct"], told["inversions"], told["refused_posts"]) == (5, 4, 1, 1)
    assert told["missing"] == [0]
    books.refuses = False
    books.post(body(6))
    assert books.told()["missing"] == [2, 4, 5]


def test_three_days_without_a_vendor_are_simulated_whole() -> None:
    returned, expired = (absence._Simulation(away_s, 1800.0, 3600.0).run() for away_s in (71 * 3600.0, 75 * 3600.0))
    assert [figure.verdict for figure in absence.figures(returned, expired)] == ["ok"] * 3
    assert returned.arrived == list(range(returned.appended))
    assert expired.expired
    assert "Outcomes" in absence.table(returned, expired).as_text()
    assert "at 1000/s" in absence.needs().as_text()


@pytest.mark.parametrize("size", [1, 10])
def test_a_backlog_is_as_deep_as_said_and_one_tool_has_delivered_it(tmp_path: Path, size: int) -> None:
    backlog.build(str(tmp_path), 200, size)
    journal = backlog.opened(str(tmp_path))
    left = {tool.tool: tool.backlog_events for tool in journal.stats().tools}
    assert left == {backlog.AHEAD: 0, backlog.BEHIND: 200}
    lease = journal.lead()
    assert lease is not None
    assert backlog.step(lease, backlog.BEHIND) == min(200 // size, backlog.STEP_RECORDS)
    lease.close()
    journal.leave()


def test_depth_is_told_with_its_ratios_and_its_starts() -> None:
    samples = {
        f"{case}, {name}": [1.0, 1.2, 1.4] for case in ("append", "step", "stats") for name in ("deep", "shallow")
    }
    measured = {size: depth.Measured(samples, {"whole": [1.9, 2.5, 3.0]}) for size in depth.SIZES}
    assert [figure.verdict for figure in depth._figures(measured)] == ["ok"] * 6
    assert "deep to shallow" in depth._table(measured).as_text()
    assert "whole" in depth._starts_table(measured).as_text()


def flood(**changes: object) -> Flood:
    taken, refused = Waits(10, 1.0, 2.0, 3.0, 0), Waits(10, 1.0, 2.0, 3.0, 0)
    return replace(Flood(taken, refused, 0, 0, 0, 0, 0, 1.0), **changes)  # type: ignore[arg-type]


def test_a_flood_that_did_no_harm_is_told_so_and_one_that_did_is_a_miss() -> None:
    calm = saturation.Seen(flood(), [1024**2] * 8, [1.0, 2.0])
    good = {"bare control": calm, "eventmw": calm}
    assert [figure.verdict for figure in saturation._figures(good)] == ["ok"] * 4
    assert "503 or 429" in saturation._table(good).as_text()
    assert "never sent" in saturation._memory_table(good).as_text()
    for wrong in (
        replace(calm, flood=flood(refused=Waits(10, 40.0, 60.0, 90.0, 3))),
        replace(calm, flood=flood(without_retry_after=1)),
        replace(calm, pages=[1.0, 3.5]),
        replace(calm, memory=[1024**2 * 10 * at for at in range(8)]),
    ):
        figures = saturation._figures(good | {"eventmw": wrong})
        assert [figure.verdict for figure in figures].count("missed") == 1
    unrefused = replace(calm, flood=flood(refused=Waits.of(Counter())))
    assert [one.verdict for one in saturation._figures(good | {"eventmw": unrefused})].count("not measured") == 1


def test_waits_are_counted_in_tenths_of_milliseconds() -> None:
    waits = Waits.of(Counter({10: 98, 600: 1, 700: 1}))
    assert (waits.count, waits.p50, waits.p99, waits.most, waits.over_50_ms) == (100, 1.0, 70.0, 70.0, 2)
    assert json.dumps(waits.most) == "70.0"


def test_a_numbered_record_keeps_its_number() -> None:
    assert number_of(engine(()), record(41, 1, 1_790_000_000_000)) == 41
