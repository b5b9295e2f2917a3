"""The auditor: every kind of event it must tell apart, alone and in any mixture."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crash import payload
from tests.crash.audit import Arrival, Audit, Fate, audit
from tests.crash.driver import fate_of
from tests.crash.tally import Tally

BREAK = 50.0


@dataclass(frozen=True)
class Case:
    """An event's life: its fate, its arrivals as (time, key, answered, sound), and what must be said of it."""

    fate: Fate | None
    arrivals: tuple[tuple[float, str, bool, bool], ...]
    said: dict[str, int]
    buried: bool = False


def came(at: float, key: str = "k", *, answered: bool = True, sound: bool = True) -> tuple[float, str, bool, bool]:
    return (at, key, answered, sound)


CASES = {
    "acked and there": Case("acked", (came(1),), {}),
    "acked and not there": Case("acked", (), {"lost": 1}),
    "acked, and only the sink knows": Case("acked", (came(1, answered=False),), {"lost": 1}),
    "acked and buried": Case("acked", (), {}, buried=True),
    "refused": Case("refused", (), {}),
    "refused and there": Case("refused", (came(1),), {"phantom": 1}),
    "unknown, not there": Case("unknown", (), {}),
    "unknown, there": Case("unknown", (came(1),), {}),
    "nobody sent it": Case(None, (came(1),), {"corrupt": 1}),
    "changed on its way": Case("acked", (came(1, sound=False),), {"corrupt": 1}),
    "twice, around a break": Case("acked", (came(40), came(60)), {"duplicates": 1}),
    "twice, the first without an answer": Case("acked", (came(1, answered=False), came(2)), {"duplicates": 1}),
    "twice for no reason": Case("acked", (came(1), came(2)), {"duplicates": 1, "unexplained": 1}),
    "three times, one for no reason": Case(
        "acked", (came(40), came(60), came(61)), {"duplicates": 2, "unexplained": 1}
    ),
    "twice under two keys": Case("acked", (came(40), came(60, "other")), {"duplicates": 1, "after": 1}),
}


def said(found: Audit) -> dict[str, int]:
    numbers = {
        "lost": len(found.lost),
        "phantom": len(found.phantom),
        "corrupt": len(found.corrupt),
        "duplicates": found.duplicates,
        "after": found.duplicates_after_key,
        "unexplained": len(found.unexplained),
    }
    return {name: number for name, number in numbers.items() if number}


def audited(cases: list[Case]) -> Audit:
    names = [f"{number}.0" for number in range(len(cases))]
    fates: dict[str, Fate] = {name: case.fate for name, case in zip(names, cases, strict=True) if case.fate is not None}
    return audit(
        fates,
        [
            Arrival(name, key, at, ok, sound)
            for name, case in zip(names, cases, strict=True)
            for at, key, ok, sound in case.arrivals
        ],
        breaks=[BREAK],
        buried={name for name, case in zip(names, cases, strict=True) if case.buried},
    )


@pytest.mark.parametrize("name", CASES)
def test_an_event_by_itself(name: str) -> None:
    assert said(audited([CASES[name]])) == CASES[name].said


@given(st.lists(st.sampled_from(list(CASES.values())), max_size=30))
def test_any_mixture_is_the_sum_of_its_parts(cases: list[Case]) -> None:
    found = audited(cases)
    expected: Counter[str] = Counter()
    for case in cases:
        expected.update(case.said)
    assert said(found) == expected
    fates = Counter(case.fate for case in cases)
    assert (found.acknowledged, found.refused, found.unknown) == (fates["acked"], fates["refused"], fates["unknown"])
    assert found.sound == (not expected.keys() - {"duplicates"})
    assert (found.faults() == "nothing") == found.sound


@given(st.integers(0, 20), st.integers(0, 20))
def test_a_break_doubles_no_more_than_was_in_flight(doubled: int, bound: int) -> None:
    names = [f"1.{number}" for number in range(doubled)]
    arrivals = [Arrival(name, name, at) for name in names for at in (BREAK - 1, BREAK + 1)]
    found = audit(dict.fromkeys(names, "acked"), arrivals, breaks=[BREAK], in_flight=bound)
    assert found.over_bound == max(0, doubled - bound)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), max_size=7), st.integers(0, 3))
def test_a_repeat_around_several_breaks_is_laid_to_any_of_them(spans: list[tuple[int, int]], bound: int) -> None:
    breaks = [10.0 * number for number in range(1, 6)]
    names = [f"1.{number}" for number in range(len(spans))]
    arrivals: list[Arrival] = []
    for name, (begin, length) in zip(names, spans, strict=True):
        arrivals += [Arrival(name, name, 10.0 * begin + 5), Arrival(name, name, 10.0 * (begin + length) + 5)]
    found = audit(dict.fromkeys(names, "acked"), arrivals, breaks=breaks, in_flight=bound)
    reasons = [range(begin, min(5, begin + length)) for begin, length in spans if begin < 5]
    assert found.over_bound == len(reasons) - most_placed(reasons, [bound] * 5)


def most_placed(reasons: list[range], room: list[int]) -> int:
    """Try every way."""
    if not reasons:
        return 0
    best = most_placed(reasons[1:], room)
    for at in reasons[0]:
        if room[at]:
            left = [*room[:at], room[at] - 1, *room[at + 1 :]]
            best = max(best, 1 + most_placed(reasons[1:], left))
    return best


@given(st.permutations(range(6)))
def test_an_inversion_is_a_first_arrival_behind_a_later_one(order: list[int]) -> None:
    names = [f"1.{number}" for number in order]
    arrivals = [Arrival(name, name, float(at)) for at, name in enumerate(names)]
    found = audit(dict.fromkeys(names, "acked"), arrivals, ordered=True)
    assert found.inversions == sum(number < max(order[:at], default=-1) for at, number in enumerate(order))
    assert audit(dict.fromkeys(names, "acked"), arrivals).inversions == 0


def test_events_of_one_request_come_in_its_order() -> None:
    names = [f"1.{number}" for number in range(8, 12)]
    arrivals = [Arrival(name, name, 1.0) for name in names]
    assert audit(dict.fromkeys(names, "acked"), arrivals, ordered=True).inversions == 0
    assert audit(dict.fromkeys(names, "acked"), arrivals[::-1], ordered=True).inversions == 3


def test_another_clients_events_and_second_arrivals_are_no_inversion() -> None:
    arrivals = [Arrival("1.1", "a", 1), Arrival("2.0", "b", 2), Arrival("1.2", "c", 3), Arrival("1.1", "a", 4)]
    assert audit(dict.fromkeys(["1.1", "1.2", "2.0"], "acked"), arrivals, breaks=[3.5], ordered=True).inversions == 0


def test_the_line_says_all_that_was_asked_for() -> None:
    tally = Tally("L1")
    tally.add(audited(list(CASES.values())), "seed 7", kills=1, recovery_s=1.25)
    tally.add(audited([CASES["acked and there"]]), "seed 8", recovery_s=0.5)
    assert tally.line() == (
        "L1: points 2, kills 1, acknowledged 11, unknown 2, lost 2, phantom 1, corrupt 2, "
        "duplicates 6 before and 1 after the key, worst recovery 1.25 s, unexplained duplicates 2"
    )
    assert not tally.sound
    [failure] = tally.failures
    assert "2 lost (1.0, 2.0)" in failure
    assert failure.endswith("seed 7")


@pytest.mark.parametrize(
    ("status", "answer", "fate"),
    [
        (200, {"results": [{}, {}], "receipt": {"accepted": 2}}, "acked"),
        (200, {"results": [{}], "receipt": {"accepted": 2}}, "refused"),
        (200, {"results": [{}, {}], "receipt": {"accepted": 1}}, "refused"),
        (400, {}, "refused"),
        (503, {}, "unknown"),
        (500, {}, "unknown"),
    ],
)
def test_an_answer_settles_a_fate(status: int, answer: object, fate: Fate) -> None:
    assert fate_of(status, json.dumps(answer).encode(), 2) == fate


@given(st.integers(0, 99), st.integers(0, 10_000), st.integers(0, 300))
def test_an_event_tells_whether_it_is_whole(client: int, sequence: int, size: int) -> None:
    name = f"{client}.{sequence}"
    assert payload.order(name) == (str(client), sequence)
    properties = payload.event(name, size)["client"]
    assert payload.who(properties) == (name, True)
    assert payload.who(properties | {"who": "1.2.3"}) == ("1.2.3", False)
    assert payload.who(properties | {"filler": properties["filler"] + "x"}) == (name, False)
