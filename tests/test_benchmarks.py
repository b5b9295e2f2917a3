"""The benchmarks that need no server run, and print their control, their ratio and their machine. Nothing is timed here."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from benchmarks import load, neighbour, payload, serving, track
from benchmarks.__main__ import NAMES, main
from benchmarks.footprint import handle
from benchmarks.report import Effort, Figure, Report, Spread, Table
from benchmarks.rounds import interleaved, ratios
from eventmw.config import Config, Limits
from eventmw.protocols import eventbunker
from eventmw.protocols.zaraz import Judge
from eventmw.runtime import Runtime


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "passthrough",
            ["least class", "x least", "eventmw", "closure", "Starlette", "ASGI: added by eventmw", "at most 1.50 x"],
        ),
        (
            "judging",
            ["msgspec typed decode", "x typed decode alone", "typed decode of each event", "hostile", "growth"],
        ),
        ("keys", ["SHA-256 of the same secrets", "x SHA-256", "10,000 keys to 10", "revoked until refused"]),
        (
            "query",
            [
                "hand-written SQL",
                "the last hour by name",
                "the whole range by a free field",
                "SQLite",
                "DuckDB",
                "average and 95th percentile of the whole range",
            ],
        ),
        ("track", ["Events API, 1 event", "track, 1 event", "until all are rows", "the key", "uvicorn on the disk"]),
        ("archive", ["bare SQLAlchemy Core", "accepted to visible at 2,000 events/s", "p99 s", "filling rate"]),
        ("footprint", ["bare interpreter", "x bare", "import eventmw", "traced", "resident", "memory to body"]),
    ],
)
def test_a_quick_run_prints_control_ratio_and_machine(
    name: str,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    main([name, "--quick", "--json", str(tmp_path / "results.json")])
    said = capsys.readouterr().out
    for word in [
        "cpu: ",
        "cores: ",
        "python: ",
        "control: ",
        "inside the measured region: ",
        "min / median / max",
        *words,
    ]:
        assert word in said
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["quick"] is True
    assert written["machine"]["python"]
    [report] = written["reports"]
    assert report["name"] == name
    for figure in report["figures"]:
        assert figure["verdict"] in {"ok", "missed"}
        assert f"{figure['what']}  " in said


def test_every_benchmark_has_a_run() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 10
    for name in NAMES:
        assert callable(importlib.import_module(f"benchmarks.{name}").run)


def test_the_servers_rounds_are_told_with_each_control_and_without_one_that_is_missing() -> None:
    rounds = serving.Measured([3.0, 4.0, 5.0], [1.0], [1.0], [1.0], [1.0])
    names = ["eventmw on uvicorn", "eventmw on granian WSGI", "FastAPI, declared answer", "FastAPI, plain answer"]
    results = {(name, size): rounds for name in names for size in serving.SIZES}
    assert "x Fastify" in serving._table(results, 1).as_text()
    verdicts = [figure.verdict for figure in serving._figures(results)]
    assert verdicts.count("not measured") == 3 + 5
    assert verdicts.count("missed") == 4
    faster = serving.Measured([30.0, 40.0, 60.0], [1.0], [1.0], [1.0], [1.0])
    ours = {(name, size): faster for name in names[:2] for size in serving.SIZES}
    assert [figure.verdict for figure in serving._figures(results | ours)].count("ok") == 4
    slower = serving.Measured([27.0, 36.0, 54.0], [1.0], [0.7], [1.0], [1.0])
    on_disk = {("eventmw on uvicorn, on disk", size): slower for size in serving.SIZES}
    verdicts = [figure.verdict for figure in serving._figures(results | ours | on_disk)]
    assert (verdicts.count("ok"), verdicts.count("missed")) == (4 + 1, 1 + 1), "FastAPI with a hundred; the rate kept"


def test_the_neighbours_rounds_are_told_beside_the_idle_courier() -> None:
    seen = {
        (page, state): [neighbour.Latencies.of([factor * ms for ms in range(1, 101)])] * 3
        for page in ("small page", "rendered page")
        for state, factor in (("courier idle", 1), ("courier works", 1.2), ("busy thread", 9))
    }
    assert "x idle" in neighbour._table(seen).as_text()
    assert [figure.verdict for figure in neighbour._figures(seen)] == ["ok"] * 4
    assert "was felt" in neighbour._notes(seen)[0]
    deaf = seen | {("small page", "busy thread"): seen["small page", "courier idle"]}
    assert "distrust" in neighbour._notes(deaf)[0]


def test_the_load_s_own_client_shows_a_key_with_each_body() -> None:
    line = b"secret\tMozilla/5.0 (X)\t{}"
    assert load._request("/eb/post", line, ["x-key", "user-agent"]) == (
        b"POST /eb/post HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nx-key: secret\r\n"
        b"user-agent: Mozilla/5.0 (X)\r\ncontent-length: 2\r\n\r\n{}"
    )
    assert load._request("/", b'{"a":"\\t"}', []).endswith(b'content-length: 10\r\n\r\n{"a":"\\t"}')


def test_tracked_events_are_accepted_and_no_two_are_alike() -> None:
    events = track.sent(["a", "b"], 500)
    judge = eventbunker.Judge(max_events=1, max_depth=32)
    assert all(judge(one.body, eventbunker.Writer("p"), eventbunker.AnyName(), 0).accepted == 1 for one in events)
    assert len({one.body for one in events}) > 490
    assert {one.key for one in events} == {"a", "b"}


def test_rounds_are_never_fewer_than_three() -> None:
    assert Effort(1).interleaved(9) == Effort(quick=True).interleaved(9) == 3
    assert Effort(5).interleaved(9) == 5
    assert Effort().interleaved(9) == 9


def test_rounds_are_interleaved_and_the_first_is_thrown_away() -> None:
    order: list[str] = []

    def case(name: str) -> Callable[[], float]:
        def sample() -> float:
            order.append(name)
            return float(len(order))

        return sample

    samples = interleaved({name: case(name) for name in "abc"}, 4)
    assert order == ["a", "b", "c", *"abc", *"bca", *"cab", *"abc"]
    assert samples["a"] == [4.0, 9.0, 11.0, 13.0]
    assert ratios(samples, "b", "a") == [5 / 4, 7 / 9, 12 / 11, 14 / 13]


@pytest.mark.parametrize(
    ("bound", "spread", "by", "verdict"),
    [
        ("at most", Spread(1, 3, 4), "mid", "missed"),
        ("at most", Spread(1, 3, 4), "low", "ok"),
        ("at most", Spread(1, 2, 4), "mid", "ok"),
        ("at least", Spread(1, 2, 4), "mid", "ok"),
        ("at least", Spread(1, 1.9, 4), "mid", "missed"),
        ("at least", None, "mid", "not measured"),
    ],
)
def test_a_figure_is_reached_on_its_side_of_what_was_asked(
    bound: Literal["at most", "at least"],
    spread: Spread | None,
    by: Literal["low", "mid"],
    verdict: str,
) -> None:
    figure = Figure("speed", bound, 2, "x", spread, by=by)
    assert figure.verdict == verdict
    assert figure.reached is (verdict == "ok")
    assert figure.row()[-1] == verdict


def test_a_report_says_the_same_to_people_and_programs() -> None:
    report = Report(
        "try",
        "none",
        "nothing",
        3,
        [Table("t", ("a", "b"), [("row", "1")])],
        [Figure("f", "at most", 2, "x", Spread(1, 1, 3))],
    )
    assert "f" in report.as_text()
    assert report.as_json()["figures"][0]["verdict"] == "ok"


def test_payloads_are_as_large_as_said_and_no_two_events_are_alike() -> None:
    bodies = payload.bodies(100, 20)
    events = [event for body in bodies for event in msgspec.json.decode(body)["events"]]
    assert len({msgspec.json.encode(event) for event in events}) == 2000
    assert len({event["system"]["device"]["ip"] for event in events}) > 1990
    assert math.isclose(sum(map(len, bodies)) / 2000, 308, rel_tol=0.03)


def test_ordinary_payloads_are_accepted_with_nothing_to_say() -> None:
    judge = Judge(max_events=1000, max_depth=32, strict=True)
    for ids in (False, True):
        judgement = judge(payload.body(100, 1, ids=ids), 1_750_000_000_000)
        assert judgement.accepted == 100
        assert not judgement.notes


def test_hostile_payloads_are_within_the_limits_and_have_something_wrong_in_every_event() -> None:
    limits = Limits()
    judge = Judge(max_events=limits.max_events, max_depth=limits.max_depth, strict=True)
    for name, body in payload.hostile(limits.max_events):
        assert len(body) <= limits.max_body_bytes, name
        assert judge(body, 1_750_000_000_000).accepted == 0, name


def test_a_large_body_goes_through_the_whole_exchange(tmp_path: Path) -> None:
    runtime = Runtime(Config(path="/zaraz/api", data_dir=str(tmp_path)))
    reply = handle(runtime, payload.body(50, 1))
    assert len(json.loads(reply.body)["results"]) == 50
    assert runtime.journal.stats().appended_events == 50
    runtime.close(5)
