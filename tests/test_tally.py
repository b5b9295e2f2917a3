"""The tally of one process adds up, whoever counts."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from eventmw.watching.tally import BOUNDS_S, Tally

names = st.sampled_from([("a",), ("a", "x"), ("b", "x", "y")])
seconds = st.floats(0, 100) | st.sampled_from(BOUNDS_S)


@given(st.lists(st.tuples(names, st.integers(0, 5))))
def test_counters_add_up(steps: list[tuple[tuple[str, ...], int]]) -> None:
    tally, expected = Tally(), Counter[tuple[str, ...]]()
    for series, by in steps:
        tally.count(*series, by=by)
        expected[series] += by
    assert {tuple(series): number for series, number in tally.as_json()["counts"]} == dict(expected)


@given(st.lists(seconds, min_size=1))
def test_every_duration_is_in_one_bucket(durations: list[float]) -> None:
    tally = Tally()
    for duration in durations:
        tally.observe("d", seconds=duration)
    ((series, buckets, total),) = tally.as_json()["histograms"]
    assert series == ["d"]
    assert abs(total - sum(durations)) < 1e-6
    for place, bound in enumerate(BOUNDS_S):  # Prometheus' «le»: less than or equal
        assert sum(buckets[: place + 1]) == sum(duration <= bound for duration in durations)
    assert sum(buckets) == len(durations)
    assert bisect_left(BOUNDS_S, 0.0) == 0


def test_a_gauge_keeps_the_last_value_and_all_of_it_is_json() -> None:
    tally = Tally()
    tally.set("lag", "ga4", to=1.5)
    tally.set("lag", "ga4", to=0.5)
    assert json.loads(json.dumps(tally.as_json())) == {
        "counts": [],
        "gauges": [[["lag", "ga4"], 0.5]],
        "histograms": [],
    }


def test_threads_lose_no_count() -> None:
    tally = Tally()

    def work(_: int) -> None:
        for _ in range(500):
            tally.count("n")
            tally.observe("d", seconds=0.01)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    told = tally.as_json()
    assert told["counts"] == [[["n"], 4000]]
    assert sum(told["histograms"][0][1]) == 4000


def test_a_fork_begins_at_nothing() -> None:
    tally = Tally()
    tally.count("n")
    tally.observe("d", seconds=1)
    tally.set("g", to=1)
    tally.start_afresh()
    assert tally.as_json() == {"counts": [], "gauges": [], "histograms": []}
