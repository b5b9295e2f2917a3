"""The three ways in which vendors fail, each against a real server: whole batches, single events, and not a word.

Source: destinations: Meta, LinkedIn and OpenAI refuse a whole request for one bad event; Pinterest, PostHog, Mixpanel and
Amplitude answer for each event; GA4 and Segment say 2xx to rubbish.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from eventmw import record as records
from eventmw.clock import SystemClock
from eventmw.contract import Delivery, bind
from eventmw.delivery.courier import Courier
from eventmw.delivery.outbound import Outbound
from eventmw.engine import Engine
from eventmw.event import Record
from eventmw.journal.memory import MemoryJournal
from eventmw.protocols.zaraz import Judge, Options, Zaraz
from eventmw.testing import Vendor
from eventmw.tools import GA4
from eventmw.vendor import Answer, Arrival, too_many
from tests.delivering import Batching
from tests.test_courier import PATIENCE_S, QUICK, Site, arrived, payloads_of, until

COUNT = 40


def deliver(site: Site, names: Iterable[str]) -> None:
    with site.running() as courier:
        site.append(*names)
        assert courier.drain(PATIENCE_S)


def kinds(site: Site) -> Mapping[str, set[str]]:
    """Return which events ended how; each ended once."""
    assert len({outcome.event_id for outcome in site.outcomes}) == len(site.outcomes)
    by_kind: dict[str, set[str]] = {}
    for outcome in site.outcomes:
        by_kind.setdefault(outcome.kind, set()).add(outcome.event_id)
    return by_kind


# ── one bad event fails the whole request


def all_or_nothing(books: list[str]) -> Any:
    """Return a vendor that takes a request whole or refuses it whole, as Meta does."""

    def answer(arrival: Arrival) -> Answer:
        names = payloads_of(arrival.body)
        if any(name.startswith("bad") for name in names):
            return Answer(400, b'{"error": {"code": 100}}')
        books.extend(names)
        return Answer(200)

    return answer


def every(*bad: int) -> list[str]:
    return [f"bad-{at:02}" if at in bad else f"e-{at:02}" for at in range(COUNT)]


@pytest.mark.parametrize(
    "names",
    [
        every(0),
        every(COUNT - 1),
        every(0, COUNT - 1),
        every(17),
        every(*range(0, COUNT, 2)),
        every(*range(1, COUNT, 2)),
        every(*range(COUNT)),
        every(),
    ],
    ids=["first", "last", "first and last", "one within", "even", "odd", "all", "none"],
)
@pytest.mark.parametrize("rules", [QUICK, replace(QUICK, ordered=True)], ids=["window", "ordered"])
def test_a_request_refused_whole_is_halved_until_the_bad_ones_stand_alone(names: list[str], rules: Delivery) -> None:
    books: list[str] = []
    with Vendor(all_or_nothing(books)) as vendor:
        site = Site([Batching(vendor.url, per_request=COUNT, delivery=rules)])
        deliver(site, names)
        bad = {name for name in names if name.startswith("bad")}
        assert Counter(books) == Counter(set(names) - bad), "each good one once"
        assert kinds(site) == {kind: ids for kind, ids in (("delivered", set(names) - bad), ("rejected", bad)) if ids}
        assert {json.loads(letter.record)["ids"][0] for letter in site.journal.dead_letters()} == bad
        assert all(letter.reason == "HTTP 400" for letter in site.journal.dead_letters())
        assert len(vendor.arrivals) <= 2 * COUNT + len(names) // COUNT, "twice as many requests as events, at most"
        if rules.ordered:
            assert books == sorted(books)


# ── an answer for each event


def test_each_event_of_an_answer_for_each_ends_by_itself() -> None:
    """Some are done, some are never to come again, some are to come again: and those do, until they are taken."""
    books: list[str] = []
    tries: Counter[str] = Counter()

    def answer(arrival: Arrival) -> Answer:
        words: list[str] = []
        for name in payloads_of(arrival.body):
            tries[name] += 1
            busy = name.startswith("busy") and tries[name] < 3
            words.append("bad" if name.startswith("bad") else "retry" if busy else "ok")
            if words[-1] == "ok":
                books.append(name)
        return Answer(207, json.dumps(words).encode())

    names = [f"{kind}-{at}" for at in range(8) for kind in ("e", "bad", "busy")]
    with Vendor(answer) as vendor:
        site = Site([Batching(vendor.url, per_request=12, delivery=QUICK)])
        with site.running():
            site.append(*names)
            until(lambda: len(site.outcomes) == len(names), "each has ended, those that are parked meanwhile as well")
        good = {name for name in names if not name.startswith("bad")}
        assert Counter(books) == Counter(good)
        assert kinds(site) == {"delivered": good, "rejected": set(names) - good}
        assert {count for name, count in tries.items() if name.startswith("busy")} == {3}
        assert {count for name, count in tries.items() if not name.startswith("busy")} == {1}, "nothing else came again"
        assert all(outcome.reason == "bad" for outcome in site.outcomes if outcome.kind == "rejected")


# ── 2xx to everything, so what cannot be right is never sent


def zaraz_site(tools: list[Any]) -> tuple[Engine, MemoryJournal]:
    engine = Engine(
        [bind(tool) for tool in tools], [Zaraz(Judge(max_events=100, max_depth=32, strict=False), Options())]
    )
    journal = MemoryJournal()
    journal.register([tool.id for tool in engine.tools])
    return engine, journal


def keep(journal: MemoryJournal, events: list[Mapping[str, Any]]) -> None:
    now_ms = SystemClock().now_ms()
    body = json.dumps({"events": events}).encode()
    record = Record(id="a" * 32, recorded_ms=now_ms, dialect="zaraz", credential="anonymous", body=body)
    journal.append(records.encode(record), events=len(events), recorded_ms=now_ms, stamp=1).result(1)


def test_what_a_vendor_that_answers_nothing_would_throw_away_is_never_sent_and_never_silent() -> None:
    huge = {f"p{at}": "x" * 90 for at in range(5)}
    events: list[Mapping[str, Any]] = [
        {"client": {"__zarazTrack": "purchase", "value": 1}},
        {"client": {"__zarazTrack": "session_start"}},
        {"client": {"__zarazTrack": "n" * 41}},
        {"client": {"__zarazTrack": "4711"}},
        {"client": {"__zarazTrack": "ga_mine"}},
        {"client": {"__zarazTrack": "old"}, "eventmw": {"timestamp": 1_600_000_000_000}},
        {"client": {"__zarazTrack": "sign up", **huge}},
        {"client": {}},
    ]
    with Vendor(204) as vendor:
        tool = GA4("G-ABC123", api_secret="s3cret", host=vendor.url)
        engine, journal = zaraz_site([tool])
        keep(journal, events)
        courier = Courier(journal, engine, Outbound, SystemClock())
        courier.start()
        try:
            assert courier.drain(PATIENCE_S)
        finally:
            courier.stop(0.0)
        sent = [event["name"] for arrival in vendor.arrivals for event in json.loads(arrival.body)["events"]]
    assert sorted(sent) == ["purchase", "sign_up"]
    counts = journal.stats().tools[0].counts
    assert sum(counts.values()) == len(events), "each has its Outcome"
    assert counts["delivered", ""] == 2
    dropped = {reason: count for (kind, reason), count in counts.items() if kind == "dropped"}
    assert sum(dropped.values()) == 6
    assert all(dropped), "and each says why"
    assert len(dropped) >= 4


# ── what holds for each tool


def test_a_vendor_that_asks_for_a_pause_gets_it() -> None:
    with Vendor([too_many(1), 200]) as vendor:
        site = Site([Batching(vendor.url, delivery=QUICK)])
        deliver(site, ["a"])
        first, second = vendor.arrivals
        assert second.at_s - first.at_s >= 1.0, "a bound from below: no machine is too slow for it"
        assert site.counts() == {"delivered": 1}


def test_while_the_vendor_is_down_one_probe_at_a_time_goes_out() -> None:
    def answer(_: Arrival) -> Answer:
        return Answer(503 if len(vendor.arrivals) <= QUICK.window + 10 else 200, after_s=0.02)

    with Vendor(answer) as vendor:
        site = Site([Batching(vendor.url, per_request=1, delivery=QUICK)])
        deliver(site, [f"e-{at}" for at in range(50)])
        probes = vendor.arrivals[QUICK.window - 1 :][:11]
        gaps = [after.at_s - before.at_s for before, after in pairwise(probes)]
        assert min(gaps) >= 0.02, "none before the one before it was answered"
        assert site.counts() == {"delivered": 50}


def test_a_rate_holds_back_its_own_tool_alone_and_is_not_standing() -> None:
    with Vendor() as vendor:
        slow = Batching(vendor.url + "/slow", id="slow", per_request=1, delivery=replace(QUICK, rate_per_s=20.0))
        quick = Batching(vendor.url + "/quick", id="quick", per_request=1, delivery=QUICK)
        site = Site([slow, quick])
        phases: set[str] = set()
        with site.running() as courier:
            site.append(*(f"e-{at}" for at in range(12)))
            while not courier.drain(0.01):
                phases |= {state.phase for state in courier.state().values()}
        at_s = [arrival.at_s for arrival in vendor.arrivals if arrival.path == "/slow"]
        assert at_s[-1] - at_s[0] >= 5 / 20, (
            "twelve at 20 a second; half of that for a server that was slow to see the first"
        )
        assert vendor.arrivals[-1].path == "/slow", "the other tool did not wait"
        assert phases == {"flowing"}
        assert site.counts("slow") == site.counts("quick") == {"delivered": 12}


def test_the_events_of_one_key_arrive_in_order_and_those_of_others_beside_them() -> None:
    chance = random.Random(4)
    answers: list[Answer] = []

    def answer(_: Arrival) -> Answer:
        answers.append(Answer(chance.choice([200, 200, 200, 503]), after_s=chance.random() / 50))
        return answers[-1]

    with Vendor(answer) as vendor:
        rules = replace(QUICK, order_key=lambda event: event.name, max_backoff_s=0.02)
        site = Site([Batching(vendor.url, per_request=1, delivery=rules)])
        deliver(site, [f"{'abcdef'[at % 6]}-{at:03}" for at in range(120)])
        for key in "abcdef":
            firsts = [name for name in dict.fromkeys(arrived(vendor)) if name.startswith(key)]
            assert firsts == sorted(firsts), "each first arrives after those before it"
            assert len(firsts) == 20
        assert site.counts() == {"delivered": 120}
        spans = [
            (arrival.at_s, arrival.at_s + given.after_s)
            for arrival, given in zip(vendor.arrivals, answers, strict=True)
        ]
        assert any(after[0] < before[1] for before, after in pairwise(spans)), "some were in flight side by side"
