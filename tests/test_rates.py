"""How often one sender may come, held against a bucket of tokens."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmw.intake.rates import MAX_SENDERS, Rates, sender_of


@given(
    st.integers(1, 200), st.sampled_from([0.1, 1.0, 3.0, 7.0, 10.0, 1000.0]), st.sampled_from([0.0, 1.7, 987_654.321])
)
@example(100, 3.0, 987_654.321)
def test_a_whole_burst_comes_in_and_no_more(burst: int, requests_per_s: float, now_s: float) -> None:
    rates = Rates(requests_per_s, burst)
    assert [rates.wait_s("a", now_s) > 0 for _ in range(burst + 1)] == [False] * burst + [True]


@given(
    st.integers(1, 5),
    st.integers(1, 8),
    st.lists(st.integers(0, 8), max_size=40),
)
def test_it_is_a_token_bucket(burst: int, eighths: int, gaps: list[int]) -> None:
    """ITU-T I.371: the generic cell rate algorithm admits just what a bucket of `burst` tokens admits."""
    rates, tokens, now = Rates(8 / eighths, burst), Fraction(burst), Fraction(0)
    for gap in gaps:
        now += Fraction(gap, 8)
        tokens = min(Fraction(burst), tokens + Fraction(gap, 8) * Fraction(8, eighths))
        wait_s = rates.wait_s("a", float(now))
        if tokens >= 1:
            assert wait_s == 0
            tokens -= 1
        else:
            assert wait_s == pytest.approx(float((1 - tokens) * Fraction(eighths, 8)))


def test_senders_do_not_share() -> None:
    rates = Rates(1, 1)
    assert rates.wait_s("a", 0) == 0
    assert rates.wait_s("b", 0) == 0
    assert rates.wait_s("a", 0) == 1


def test_a_refused_request_costs_nothing() -> None:
    rates = Rates(1, 1)
    assert [rates.wait_s("a", 0) for _ in range(5)] == [0, 1, 1, 1, 1]
    assert rates.wait_s("a", 1) == 0


def test_memory_is_bounded_and_the_one_that_came_longest_ago_is_forgotten() -> None:
    rates = Rates(1, 1)
    for number in range(MAX_SENDERS + 1):
        rates.wait_s(str(number), 0)
    assert rates.wait_s(str(MAX_SENDERS), 0) > 0
    assert rates.wait_s("1", 0) > 0
    assert rates.wait_s("0", 0) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:1::1", "2001:db8:1:1:ffff::7", True),
        ("2001:db8:1:1::1", "2001:db8:1:2::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::1", "::2", True),
        ("", "", True),
        ("unix:a", "unix:b", False),
    ],
)
def test_an_ipv6_sender_is_a_network_of_64_bits(one: str, other: str, same: bool) -> None:
    """One subscriber has 2^64 addresses, and could come from each of them once."""
    assert (sender_of(one) == sender_of(other)) is same
