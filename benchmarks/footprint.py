"""What eventmw weighs: the time to import and to construct it, and the memory that one large body takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import payload
from benchmarks.machine import ROOT
from benchmarks.report import Effort, Figure, Report, Spread, Table, shown
from benchmarks.rounds import Samples, interleaved
from eventmw.config import Config, Limits
from eventmw.events_api import EventsApi
from eventmw.exchange import Exchange
from eventmw.http import Reply, RequestHead
from eventmw.runtime import Runtime

EVENTS: Final = 3_000
_CHUNK_BYTES: Final = 64 * 1024
_BARE: Final = "bare interpreter"
_IMPORT: Final = "import eventmw"
_SITE: Final = "def site(a, b, c): ...\ndef wsgi_site(a, b): ...\n"
_PROGRAMS: Final[Mapping[str, str]] = {
    _BARE: "pass",
    _IMPORT: "import eventmw",
    "a middleware, ASGI": f"import eventmw\n{_SITE}eventmw.EventsMiddleware(site, path='/zaraz/api')",
    "a middleware, WSGI": f"import eventmw\n{_SITE}eventmw.EventsMiddleware(wsgi_site, path='/zaraz/api')",
    "import asyncio": "import asyncio",
    "import msgspec": "import msgspec",
    "import jsonschema": "import jsonschema",
}
_line = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|( *)(\S+)").fullmatch


def run(effort: Effort) -> Report:
    """Measure fresh interpreters and large bodies."""
    rounds = effort.interleaved(15)
    imports = interleaved({name: partial(_fresh_ms, program) for name, program in _PROGRAMS.items()}, rounds)
    bodies = {"usual events": _large(), "slow path: a key of the sender's in each": _large(more={"source": "till"})}
    traced = {name: [_traced(body) for _ in range(max(3, rounds // 5))] for name, body in bodies.items()}
    resident = {name: [_resident(body) for _ in range(max(3, rounds // 5))] for name, body in bodies.items()}
    return Report(
        name="footprint",
        control="the bare interpreter for imports; the size of the body for memory",
        measured="CPU time (user and system) of a fresh interpreter from start to end, less that of a bare one in the same "
        "round. Memory: one body from its chunks to the encoded answer, with the record in the memory journal; traced by "
        "tracemalloc, and once more as the rise of the resident size of a fresh process after a small body (Linux)",
        rounds=rounds,
        tables=[_import_table(imports), _import_times(), *_memory_tables(bodies, traced, resident)],
        figures=[
            Figure(
                "import eventmw, beyond the bare interpreter",
                "at most",
                25.0,
                "ms",
                _beyond(imports, _IMPORT),
                by="low",
            ),
            *(
                Figure(
                    f"memory to body, {name}",
                    "at most",
                    6.0,
                    "x",
                    Spread.of(n / len(bodies[name]) for n in traced[name]),
                )
                for name in bodies
            ),
        ],
    )


def _fresh_ms(program: str) -> float:
    """Return the CPU milliseconds of an interpreter that runs a program."""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"failed: {program}")
    return 1000 * (usage.ru_utime + usage.ru_stime)


def _beyond(samples: Samples, name: str) -> Spread:
    return Spread.of(one - bare for one, bare in zip(samples[name], samples[_BARE], strict=True))


def _import_table(samples: Samples) -> Table:
    floor = min(samples[_BARE])
    rows = [
        (name, shown(min(values)), shown(min(values) - floor), str(_beyond(samples, name)), shown(min(values) / floor))
        for name, values in samples.items()
    ]
    heads = ("program", "CPU ms (min)", "beyond bare (of minima)", "beyond bare: min / median / max", "x bare")
    return Table("fresh interpreters", heads, rows)


def _import_times(top: int = 12) -> Table:
    """Return the most expensive modules as ``python -X importtime`` tells them (wall time, itself slow)."""
    command = [sys.executable, "-X", "importtime", "-c", "import eventmw"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr
    found = [match.groups() for line in told.splitlines() if (match := _line(line))]
    start = next((at for at, (_, _, _, name) in enumerate(found) if name == "site"), -1) + 1
    rows = [
        (name, f"{int(own) / 1000:.2f}", f"{int(whole) / 1000:.2f}")
        for own, whole, _, name in sorted(found[start:], key=lambda line: -int(line[0]))[:top]
    ]
    return Table(
        f"import eventmw: the {top} modules that cost most by themselves, ms", ("module", "own", "with its own"), rows
    )


def _large(*, more: Mapping[str, object] | None = None) -> bytes:
    """Return a body of 3,000 events and nearly 1 MiB."""
    document = msgspec.json.decode(payload.body(EVENTS, 1))
    for event in document["events"]:
        event["client"]["note"] = "n" * (20 if more else 38)
        event.update(more or {})
    return msgspec.json.encode(document)


def _runtime() -> Runtime:
    return Runtime(
        Config(path="/zaraz/api", journal="memory", limits=Limits(max_events=EVENTS, max_body_bytes=2 * 1024 * 1024))
    )


def handle(runtime: Runtime, body: bytes) -> Reply:
    """Take one body through the whole exchange, in chunks as a server hands them over."""
    head = RequestHead("POST", "/zaraz/api", {"content-length": str(len(body))}, "127.0.0.1", "http")
    exchange = Exchange(EventsApi(runtime), head)
    refused = exchange.open()
    for at in range(0, len(body), _CHUNK_BYTES):
        refused = refused or exchange.feed(body[at : at + _CHUNK_BYTES])
    kept = refused or exchange.submit()
    if not isinstance(kept, Reply):
        kept.exception(30)  # as the gateways wait, until it is on the disk
    reply = kept if isinstance(kept, Reply) else exchange.settle(kept)
    if reply.status != 200:
        raise RuntimeError(f"the answer is {reply.status}: {reply.body[:300]!r}")
    return reply


def _traced(body: bytes) -> float:
    """Return the bytes at the peak beyond what was there before, the body's own chunks included."""
    runtime = _runtime()
    handle(runtime, body)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        handle(runtime, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


def _resident(body: bytes) -> float:
    """Return how far the resident size of a fresh process rises above what it was before the body was handled."""
    command = [sys.executable, "-m", "benchmarks.footprint"]
    told = subprocess.run(command, cwd=ROOT, input=body, capture_output=True, check=True, timeout=60).stdout
    return float(told)


def _rise(body: bytes) -> float:
    runtime = _runtime()
    handle(runtime, payload.body(10, 7))
    before = _status_bytes("VmRSS")
    handle(runtime, body)
    return _status_bytes("VmHWM") - before


def _status_bytes(name: str) -> float:
    """Return one line of this process's status. Source: proc_pid_status(5); not a number where there is none."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(name):
                return 1024 * float(line.split()[1])
    return float("nan")


def _memory_tables(
    bodies: Mapping[str, bytes], traced: Mapping[str, Sequence[float]], resident: Mapping[str, Sequence[float]]
) -> list[Table]:
    rows = [
        (
            name,
            f"{len(body):,}",
            str(Spread.of(bytes_ / len(body) for bytes_ in traced[name])),
            str(Spread.of(bytes_ / len(body) for bytes_ in resident[name])),
        )
        for name, body in bodies.items()
    ]
    heads = ("body", "bytes", "x body, traced: min / median / max", "x body, resident: min / median / max")
    return [Table(f"memory while {EVENTS:,} events are handled", heads, rows)]


if __name__ == "__main__":
    print(_rise(sys.stdin.buffer.read()))
