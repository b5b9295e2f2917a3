"""How often one vendor is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventmw.delivery.rate import BURST_S, Rate

rates = st.floats(0.01, 10_000.0)
gaps = st.lists(st.one_of(st.just(0.0), st.floats(0.0, 0.01), st.floats(0.0, 20.0)), min_size=1, max_size=200)


def departures(rate: Rate, starts_s: float, pauses: list[float]) -> list[float]:
    """Ask after each pause, and send when it is allowed."""
    now_s, sent = starts_s, list[float]()
    for pause in pauses:
        now_s += pause
        if rate.wait_s(now_s) == 0:
            rate.take(now_s)
            sent.append(now_s)
    return sent


@given(rates, st.floats(0.0, 1e6), gaps)
def test_in_no_time_more_go_than_the_rate_and_one_burst(per_s: float, starts_s: float, pauses: list[float]) -> None:
    rate = Rate(per_s)
    sent = departures(rate, starts_s, pauses)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            allowed = rate.burst + (sent[last] - sent[first]) * per_s
            assert last - first + 1 <= allowed * (1 + 1e-6) + 1e-6 * per_s, "whole nanoseconds round by a millionth"


@given(rates, st.floats(0.0, 1e6), st.integers(1, 50))
def test_whoever_waits_as_told_may_go_and_no_second_is_wasted(per_s: float, starts_s: float, count: int) -> None:
    rate = Rate(per_s)
    now_s = starts_s
    for _ in range(rate.burst + count):
        now_s += rate.wait_s(now_s)
        assert rate.wait_s(now_s) <= 2e-9, "a clock in seconds has no more digits"
        rate.take(now_s)
    assert now_s - starts_s <= count / per_s * (1 + 1e-6) + 1e-6


def test_a_tenth_of_a_seconds_worth_may_go_at_once() -> None:
    assert [Rate(per_s).burst for per_s in (0.5, 1.0, 10.0, 83.0, 1000.0)] == [1, 1, 1, 8, round(1000 * BURST_S)]
    rate = Rate(83.0)
    assert len(departures(rate, 5.0, [0.0] * 20)) == 8


def test_a_pause_saves_up_no_more_than_a_burst() -> None:
    rate = Rate(20.0)
    assert departures(rate, 0.0, [0.0] * 5) == [0.0] * 2
    assert departures(rate, 1e6, [0.0] * 5) == [1e6] * 2
