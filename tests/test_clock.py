"""The clock of the machine, and the ids that are made of it."""

from __future__ import annotations

import time
import uuid

from hypothesis import given
from hypothesis import strategies as st

from eventmw.clock import Clock, SystemClock
from eventmw.testing import FrozenClock


@given(st.integers(0, 2**48 - 1))
def test_ids_are_uuids_of_version_7(now_ms: int) -> None:
    """RFC 9562 5.7."""
    for clock in (SystemClock(), FrozenClock()):
        ident = clock.new_id(now_ms)
        parsed = uuid.UUID(ident)
        assert parsed.hex == ident
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert parsed.int >> 80 == now_ms


def test_ids_do_not_repeat() -> None:
    clock = SystemClock()
    assert len({clock.new_id(1) for _ in range(10_000)}) == 10_000


def test_ids_use_all_their_chance() -> None:
    ids = [int(SystemClock().new_id(0), 16) for _ in range(400)]
    varied = 0
    for ident in ids:
        varied |= ident ^ ids[0]
    assert varied.bit_count() == 74


def test_wall_time_is_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    now_ms = SystemClock().now_ms()
    assert before <= now_ms <= time.time_ns() // 1_000_000


def test_the_others_are_monotonic_and_in_their_units() -> None:
    clock: Clock = SystemClock()
    assert clock.monotonic_s() <= time.monotonic()
    assert clock.stamp_ns() <= time.monotonic_ns()
    assert abs(clock.stamp_ns() / 1e9 - clock.monotonic_s()) < 60
    assert all(0 <= clock.random() < 1 for _ in range(1000))
