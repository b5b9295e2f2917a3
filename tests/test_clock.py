"""The clock of the machine, and the ids that are made of it."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
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


def test_threads_never_get_the_same_id() -> None:
    clock = SystemClock()
    with ThreadPoolExecutor(8) as pool:
        drawn = pool.map(lambda _: [clock.new_id(1) for _ in range(2_000)], range(8))
        assert len({ident for some in drawn for ident in some}) == 16_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_has_other_ids_than_its_parent() -> None:
    """Chance is fetched for many ids at once, and a child must not inherit what is left of it."""
    clock, (ours, theirs) = SystemClock(), os.pipe()
    clock.new_id(1)
    if (child := os.fork()) == 0:
        os.write(theirs, clock.new_id(1).encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(ours, 32).decode()
    os.close(ours)
    os.close(theirs)
    assert len(told) == 32
    assert told not in {clock.new_id(1) for _ in range(1_000)}


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
