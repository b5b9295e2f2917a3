"""What it costs to decode and validate events, from the bytes of a body: `eventmw.protocols.zaraz.Judge`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from benchmarks import payload
from benchmarks.machine import pinned
from benchmarks.report import Effort, Figure, Report, Spread, Table
from benchmarks.rounds import Samples, cpu_us, interleaved, ratios
from eventmw import record as records
from eventmw.config import Limits
from eventmw.engine import Engine
from eventmw.intake.door import ANONYMOUS, Visit
from eventmw.intake.recent import Recent
from eventmw.protocols.zaraz import Accepted, Judge, Options, Zaraz
from eventmw.protocols.zaraz.accept import Usual, usual
from eventmw.strictjson import check_digits

BATCH: Final = 100
MANY: Final = 100_000
NOW_MS: Final = 1_750_000_000_000
_ARRIVAL: Final = ("0197" + "0" * 28, NOW_MS)
_VISIT: Final = Visit(ANONYMOUS, "127.0.0.1", None, "", None, None)
_TYPED, _UNTYPED, _OURS = "msgspec typed decode", "msgspec untyped decode", "eventmw Judge"


class _Device(msgspec.Struct):
    ip: str = ""
    resolution: str = ""
    viewport: str = ""
    language: str = ""


class _Page(msgspec.Struct):
    title: str = ""
    url: str = ""


class _System(msgspec.Struct):
    cookies: dict[str, str]
    device: _Device
    page: _Page


class _Event(msgspec.Struct):
    client: dict[str, Any]
    system: _System


class _Typed(msgspec.Struct):
    """The control: what a developer would write who wants types and nothing more."""

    events: list[_Event]


_typed = msgspec.json.Decoder(_Typed).decode
_untyped = msgspec.json.Decoder(Any).decode
_usual = msgspec.json.Decoder(Usual).decode


def run(effort: Effort) -> Report:
    """Measure batches of 100, single faults, hostile bodies, and a batch of 100,000."""
    limits = Limits()
    judge = Judge(max_events=MANY, max_depth=limits.max_depth, strict=False)
    rounds = effort.interleaved(15)
    with pinned(0):
        valid = _valid(judge, rounds, int(effort.of(200, quick=5)))
        steps = _steps(judge, rounds, int(effort.of(200, quick=5)))
        bad = _one_bad(judge, rounds, int(effort.of(40, quick=3)))
        size = int(effort.of(MANY, quick=2_000))
        growth = _growth(judge, max(3, rounds // 3), size)
        hostile = _hostile(limits, max(3, rounds // 3), int(effort.of(1_000, quick=200)))
    return Report(
        name="judging",
        control="msgspec's typed and untyped decoders alone, on the same bodies",
        measured="from a body's bytes to the judgement (which events are accepted, what is wrong with the others); thread "
        f"CPU time. Batches of {BATCH} events; every event has an address, a viewport, cookies and an order that no other "
        "in the run has, but for the line that says otherwise",
        rounds=rounds,
        tables=[
            _valid_table(valid),
            _steps_table(steps),
            _bad_table(bad),
            _hostile_table(hostile),
            _growth_table(growth, size),
        ],
        figures=[
            Figure(
                f"decode and validate {BATCH} events", "at most", 2.0, "µs an event", _a_batch(valid[_OURS]), by="low"
            ),
            *(_bad_figure(bad, where) for where in _PLACES),
            Figure("the worst hostile body of 1,000 wrong events", "at most", 10.0, "ms", _worst(hostile), by="low"),
            Figure(
                f"an event of {size:,} to one of {BATCH}",
                "at most",
                1.5,
                "x",
                Spread.of(ratios(growth, "many", "batch")),
            ),
        ],
        notes=[
            "absolute times are decided by their minimum, the machine's fast state; ratios by the median of their rounds"
        ],
    )


def _valid(judge: Judge, rounds: int, many: int) -> Samples:
    fresh, ids, seen = payload.bodies(BATCH, many), payload.bodies(BATCH, many, ids=True), payload.bodies(BATCH, 20)
    return interleaved(
        {
            _TYPED: _each(_typed, fresh),
            _UNTYPED: _each(_untyped, fresh),
            _OURS: _each(lambda body: judge(body, NOW_MS), fresh),
            "… with the sender's ids and times": _each(lambda body: judge(body, NOW_MS), ids),
            "… of addresses and viewports seen before": _each(
                lambda body: judge(body, NOW_MS), seen * (many // 20 or 1)
            ),
        },
        rounds,
    )


def _each(work: Callable[[bytes], object], bodies: Sequence[bytes]) -> Callable[[], float]:
    """Return a case: microseconds a body."""

    def through() -> None:
        for body in bodies:
            work(body)

    return lambda: cpu_us(through) / len(bodies)


def _steps(judge: Judge, rounds: int, many: int) -> Samples:
    """Measure the parts of the way from a body to its answer, each alone."""
    bodies = payload.bodies(BATCH, many, ids=True)
    raws = [judge._split(body)[0] for body in bodies]
    zaraz, engine, recent = Zaraz(judge, Options()), Engine((), ()), Recent()

    def accept(body: bytes) -> Accepted:
        return zaraz.accept(body, _VISIT, _ARRIVAL, engine, bool)

    accepted = [accept(body) for body in bodies]
    return interleaved(
        {
            "digits": _each(check_digits, bodies),
            "split": _each(judge._split, bodies),
            "decode": _over(_through(_usual), raws),
            "usual": _over(_through(usual), raws),
            "judge": _each(lambda body: judge(body, NOW_MS), bodies),
            "accept": _each(accept, bodies),
            "encode": _over(lambda one: records.encode(one.record), accepted),
            "remember": _over(lambda one: recent.remember(ANONYMOUS, one.own_ids, NOW_MS), accepted),
            "reply": _over(lambda one: zaraz.reply(one, "memory", ()), accepted),
        },
        rounds,
    )


def _through(work: Callable[[msgspec.Raw], object]) -> Callable[[Sequence[msgspec.Raw]], None]:
    def through(raws: Sequence[msgspec.Raw]) -> None:
        for raw in raws:
            work(raw)

    return through


def _over(work: Callable[[Any], object], items: Sequence[Any]) -> Callable[[], float]:
    def through() -> None:
        for item in items:
            work(item)

    return lambda: cpu_us(through) / len(items)


_PLACES: Final = {"first": 0, "middle": BATCH // 2, "last": BATCH - 1}


def _one_bad(judge: Judge, rounds: int, many: int) -> Samples:
    valid = payload.bodies(BATCH, many)
    cases = {"valid": _each(lambda body: judge(body, NOW_MS), valid)}
    for where, at in _PLACES.items():
        bodies = [payload.with_event(body, at, {"client": {"__zarazTrack": {}}}) for body in valid]
        cases[where] = _each(lambda body: judge(body, NOW_MS), bodies)
    return interleaved(cases, rounds)


def _growth(judge: Judge, rounds: int, size: int) -> Samples:
    """Measure one body of `size` events beside as many events in batches."""
    batches, many = payload.bodies(BATCH, size // BATCH), payload.bodies(size, 1)
    return interleaved(
        {
            "batch": lambda: _each(lambda body: judge(body, NOW_MS), batches)() / BATCH,
            "many": lambda: _each(lambda body: judge(body, NOW_MS), many)() / size,
            "untyped, batch": lambda: _each(_untyped, batches)() / BATCH,
            "untyped, many": lambda: _each(_untyped, many)() / size,
        },
        rounds,
    )


def _hostile(limits: Limits, rounds: int, count: int) -> Samples:
    judge = Judge(max_events=limits.max_events, max_depth=limits.max_depth, strict=False)
    cases = dict(payload.hostile(count))
    for name, body in cases.items():
        if len(body) > limits.max_body_bytes:
            raise ValueError(f"{name} is larger than a body may be")
    return interleaved({name: _each(lambda body: judge(body, NOW_MS), [body]) for name, body in cases.items()}, rounds)


def _a_batch(values: Sequence[float]) -> Spread:
    return Spread.of(value / BATCH for value in values)


def _valid_table(samples: Samples) -> Table:
    rows = [
        (name, str(_a_batch(values)), str(Spread.of(ratios(samples, name, _TYPED)))) for name, values in samples.items()
    ]
    return Table(f"{BATCH} valid events, µs an event", ("case", "min / median / max", "x typed decode alone"), rows)


def _steps_table(samples: Samples) -> Table:
    low = {name: min(values) / BATCH for name, values in samples.items()}
    rows = [
        ("split: the envelope, events left as bytes", low["split"] - low["digits"]),
        ("digits: no integer of more than 4,000", low["digits"]),
        ("typed decode of each event", low["decode"]),
        ("checks: name, addresses, sizes, URLs; the call itself", low["usual"] - low["decode"]),
        ("the loop, the sender's ids, their times", low["judge"] - low["split"] - low["usual"]),
        ("= Judge", low["judge"]),
        ("record and event ids (accept, less Judge)", low["accept"] - low["judge"]),
        ("record encoding", low["encode"]),
        ("ids remembered against duplicates", low["remember"]),
        ("reply", low["reply"]),
        ("= from body to answer", low["accept"] + low["encode"] + low["remember"] + low["reply"]),
    ]
    title = f"where each microsecond goes ({BATCH} valid events with the sender's ids; minima), µs an event"
    return Table(title, ("step", "µs"), [(name, f"{value:.3f}") for name, value in rows])


def _bad_table(samples: Samples) -> Table:
    rows = [(name, str(Spread.of(value / 1000 for value in values))) for name, values in samples.items()]
    return Table(f"one bad event in {BATCH}, ms a body", ("where", "min / median / max"), rows)


def _bad_figure(samples: Samples, where: str) -> Figure:
    over = Spread.of(bad / (2 * valid + 150) for bad, valid in zip(samples[where], samples["valid"], strict=True))
    return Figure(f"one bad event in {BATCH}, {where}: to twice valid plus 0.15 ms", "at most", 1.0, "x", over)


def _hostile_table(samples: Samples) -> Table:
    rows = [(name, str(Spread.of(value / 1000 for value in values))) for name, values in samples.items()]
    return Table("hostile bodies within the default limits, ms a body", ("body", "min / median / max"), rows)


def _worst(samples: Samples) -> Spread:
    thousands = [values for name, values in samples.items() if name != payload.CROWD]
    return Spread.of(value / 1000 for value in max(thousands, key=min))


def _growth_table(samples: Samples, size: int) -> Table:
    rows = [(name, str(Spread.of(values))) for name, values in samples.items()]
    title = f"growth: {size:,} events in one body, and in batches of {BATCH}, µs an event"
    return Table(title, ("case", "min / median / max"), rows)
