"""What real servers make of it: events per CPU second, beside Fastify and FastAPI that check the same and store nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks import load, payload
from benchmarks.machine import ROOT, said_by
from benchmarks.processes import Server
from benchmarks.report import Effort, Figure, Report, Spread, Table, shown

CONNECTIONS: Final = 32
SIZES: Final = (1, 100)
_BODIES: Final = {1: 5_000, 100: 100}
_UVICORN: Final = "eventmw on uvicorn"
_WSGI: Final = "eventmw on granian WSGI"
_ASGI: Final = "eventmw on granian ASGI"
_DURABLE: Final = f"{_UVICORN}, on disk"
_DURABLE_WSGI: Final = f"{_WSGI}, on disk"
_BARE: Final = "a constant answer on uvicorn"
_BARE_WSGI: Final = "a constant answer on granian WSGI"
_FASTIFY: Final = "Fastify"
_FASTAPI: Final = "FastAPI, declared answer"
_PLAIN: Final = "FastAPI, plain answer"
_CONTROLS: Final = (_FASTIFY, _FASTAPI, _PLAIN)
_DELIVERING: Final = (f"{_UVICORN}, delivering", f"{_WSGI}, delivering")
SINK: Final = (sys.executable, "-m", "benchmarks.sites.sink", "{port}")
_IN_MEMORY: Final = {"EVENTMW_JOURNAL": "memory"}
_ROOM: Final = {"EVENTMW_LIMITS_JOURNAL_BYTES": str(1024**3)}


@dataclass(slots=True)
class Measured:
    """One server's rounds with one size of payload. ``us`` is CPU time an event."""

    per_cpu_s: list[float] = field(default_factory=list)
    us_a_request: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)


Results = Mapping[tuple[str, int], Measured]


def run(effort: Effort) -> Report:
    """Start all servers, and load one after the other, in rounds."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        raise SystemExit("this benchmark needs Linux and two cores: one for the server, one for the client")
    rounds, seconds = effort.interleaved(6), effort.of(2.0, quick=1.0)
    notes: list[str] = [f"the client is {load.client()}"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="eventmw-bench-")))
        servers = [stack.enter_context(server) for server in _servers(folder, notes)]
        sink = stack.enter_context(Server("sink", SINK, core=load.CLIENT_CORE))
        # They take minutes: a second of load is delivered to its last event, in each round.
        delivering = [] if effort.quick else [stack.enter_context(server) for server in _delivering(sink.port)]
        results = _measure([*servers, *delivering], delivering, folder, rounds, seconds)
    return Report(
        name="serving",
        control=f"{_FASTIFY} with its built-in Ajv and a response schema, and FastAPI with pydantic; none stores anything. "
        "«on disk» syncs every event before it answers, the others of eventmw keep them in memory",
        measured="CPU time (user and system, children included) of the server's whole process group from /proc, from before "
        f"the first connection to the last answer; {CONNECTIONS} connections for {seconds:g} s, every answer checked to be "
        "200 and whole. One worker on core 0, the client on core 1, all other servers stopped. «delivering» has one Webhook "
        "to a local sink, and a second of load: there all CPU counts until every event is delivered",
        rounds=rounds,
        tables=[_table(results, size) for size in SIZES],
        figures=[*_figures(results)],
        notes=notes,
    )


def _python(*command: str) -> list[str]:
    return [sys.executable, "-m", *command]


def uvicorn(app: str) -> list[str]:
    """Return the command of a uvicorn with one worker, its C parser and uvloop, without a log."""
    options = (
        "--host 127.0.0.1 --port {port} --http httptools --loop uvloop --lifespan off --no-access-log --log-level error"
    )
    return _python("uvicorn", app, *options.split())


def granian(app: str, interface: str) -> list[str]:
    """Return the command of a granian with one worker and one thread."""
    options = (
        "--host 127.0.0.1 --port {port} --workers 1 --runtime-threads 1 --blocking-threads 1 --no-ws --log-level error"
    )
    return _python("granian", app, "--interface", interface, *options.split())


def _servers(folder: Path, notes: list[str]) -> Iterator[Server]:
    yield Server(_UVICORN, uvicorn("benchmarks.sites.asgi_site:app"), environ=_IN_MEMORY)
    yield Server(_WSGI, granian("benchmarks.sites.wsgi_site:app", "wsgi"), environ=_IN_MEMORY)
    yield Server(_ASGI, granian("benchmarks.sites.asgi_site:app", "asginl"), environ=_IN_MEMORY)
    yield Server(_DURABLE, uvicorn("benchmarks.sites.asgi_site:app"), environ=_on_disk(folder / "uvicorn"))
    yield Server(_DURABLE_WSGI, granian("benchmarks.sites.wsgi_site:app", "wsgi"), environ=_on_disk(folder / "granian"))
    yield Server(_BARE, uvicorn("benchmarks.sites.static_site:over_asgi"))
    yield Server(_BARE_WSGI, granian("benchmarks.sites.static_site:over_wsgi", "wsgi"))
    yield Server(_FASTAPI, uvicorn("benchmarks.sites.fastapi_site:declared"))
    yield Server(_PLAIN, uvicorn("benchmarks.sites.fastapi_site:plain"))
    if (node := _fastify(folder, notes)) is not None:
        yield Server(_FASTIFY, [node, "fastify.mjs", "{port}"], folder=folder)


def _on_disk(data_dir: Path) -> Mapping[str, str]:
    return {**_ROOM, "EVENTMW_JOURNAL": "file", "EVENTMW_DATA_DIR": str(data_dir)}


def _delivering(port: int) -> Iterator[Server]:
    environ = {**_ROOM, **_IN_MEMORY, "BENCH_SINK": f"http://127.0.0.1:{port}/"}
    on_uvicorn, on_granian = _DELIVERING
    yield Server(on_uvicorn, uvicorn("benchmarks.sites.asgi_site:app"), environ=environ)
    yield Server(on_granian, granian("benchmarks.sites.wsgi_site:app", "wsgi"), environ=environ)


def _fastify(folder: Path, notes: list[str]) -> str | None:
    """Install Fastify into the temporary folder, and return where node is; None when that cannot be done."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        notes.append("Fastify is missing: node and npm are not installed")
        return None
    shutil.copy(ROOT / "benchmarks" / "sites" / "fastify.mjs", folder)
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefix", str(folder), "fastify@5"]
    try:
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        notes.append(f"Fastify is missing: npm could not install it ({type(error).__name__})")
        return None
    version = json.loads((folder / "node_modules" / "fastify" / "package.json").read_text())["version"]
    notes.append(f"fastify {version} on node {said_by(node, '--version')}")
    return node


def _measure(
    servers: Sequence[Server], delivering: Sequence[Server], folder: Path, rounds: int, seconds: float
) -> Results:
    files = {size: _bodies(folder, size) for size in SIZES}
    lengths = {(server.name, size): _answer_length(server, size) for server in servers for size in SIZES}
    for server in servers:
        server.pause()
    results = {(server.name, size): Measured() for server in servers for size in SIZES}
    for number in range(-1, rounds):  # the first warms up: just-in-time compilers, pools, caches
        for size in SIZES:
            at = number % len(servers)
            for server in (*servers[at:], *servers[:at]):
                with _alone(server):
                    length = lengths[server.name, size]
                    if server in delivering:
                        seen, cpu_s, events = _delivered(server, files[size], length, 1.0)
                    else:
                        seen, cpu_s = _loaded(server, files[size], length, seconds)
                        events = seen.requests * size
                if number >= 0:
                    _note(results[server.name, size], size, seen, cpu_s, events)
    return results


@contextmanager
def _alone(server: Server) -> Iterator[None]:
    server.resume()
    server.settle()
    try:
        yield
    finally:
        server.pause()


def _loaded(server: Server, bodies: Path, length: int, seconds: float) -> tuple[load.Load, float]:
    """Return what the client saw, and the CPU seconds."""
    before = server.cpu_s()
    seen = load.run(server.port, bodies, length=length, connections=CONNECTIONS, seconds=seconds)
    return seen, server.cpu_s() - before


def _delivered(server: Server, bodies: Path, length: int, seconds: float) -> tuple[load.Load, float, int]:
    """Return the same, and of how many events, when all that was accepted is delivered."""
    before, events = server.cpu_s(), _numbers(server)["appended_events"]
    seen, _ = _loaded(server, bodies, length, seconds)
    _wait(lambda: not _numbers(server)["tools"]["webhook"]["backlog_events"], timeout_s=180, every_s=0.2)
    return seen, server.cpu_s() - before, _numbers(server)["appended_events"] - events


def _numbers(server: Server) -> Any:
    return json.loads(load.get(server.port, "/-/stats"))


def _wait(condition: Callable[[], bool], *, timeout_s: float, every_s: float) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"not delivered within {timeout_s:g} s")
        time.sleep(every_s)


def _bodies(folder: Path, size: int) -> Path:
    path = folder / f"{size}.ndjson"
    path.write_bytes(b"\n".join(payload.bodies(size, _BODIES[size])) + b"\n")
    return path


def _answer_length(server: Server, size: int) -> int:
    """Post two payloads, check the answers in full, and return how long every answer has to be."""
    lengths: set[int] = set()
    for seed in (1, 2):
        answer, length = load.post(server.port, payload.body(size, seed))
        expected: list[Any] = [{"fetch": [], "execute": [], "return": {}, "cookies": {}}] * size
        if answer["results"] != expected or answer["receipt"]["accepted"] != size:
            raise RuntimeError(f"{server.name} does not answer one empty Result Object for each event")
        lengths.add(length)
    if len(lengths) != 1:
        raise RuntimeError(f"the answers of {server.name} differ in length")
    return lengths.pop()


def _note(measured: Measured, size: int, seen: load.Load, cpu_s: float, events: int) -> None:
    measured.per_cpu_s.append(events / cpu_s)
    measured.us_a_request.append(1e6 * cpu_s * size / events)
    measured.per_s.append(seen.requests * size / seen.seconds)
    measured.p50_ms.append(seen.p50_ms)
    measured.p99_ms.append(seen.p99_ms)


def _ratio(results: Results, ours: str, control: str, size: int) -> Spread | None:
    if (control, size) not in results or (ours, size) not in results:
        return None
    pairs = zip(results[ours, size].per_cpu_s, results[control, size].per_cpu_s, strict=True)
    return Spread.of(one / other for one, other in pairs)


def _table(results: Results, size: int) -> Table:
    rows = []
    for name in dict.fromkeys(name for name, _ in results):
        measured = results[name, size]
        median = {key: Spread.of(getattr(measured, key)).mid for key in Measured.__slots__}
        beside = [_ratio(results, name, control, size) for control in _CONTROLS]
        rows.append(
            (
                name,
                str(Spread.of(measured.per_cpu_s)),
                *(shown(median[key]) for key in ("us_a_request", "per_s", "p50_ms", "p99_ms")),
                *("-" if spread is None else str(spread) for spread in beside),
            )
        )
    heads = ("server", "events a CPU second", "CPU µs a request", "events/s", "p50 ms", "p99 ms")
    to = tuple(f"x {control}" for control in _CONTROLS)
    return Table(f"{size} event{'s' * (size > 1)} a request (min / median / max, or medians)", (*heads, *to), rows)


def _figures(results: Results) -> Iterator[Figure]:
    asked: tuple[tuple[str, str, int, float, float | None], ...] = (
        (_UVICORN, _FASTIFY, 1, 1.1, None),
        (_UVICORN, _FASTAPI, 1, 3.0, None),
        (_UVICORN, _PLAIN, 1, 3.0, None),
        (_UVICORN, _FASTIFY, 100, 0.8, 1.0),
        (_UVICORN, _FASTAPI, 100, 10.0, None),
        (_UVICORN, _PLAIN, 100, 10.0, None),
        (_WSGI, _FASTIFY, 1, 2.0, None),
        (_DURABLE, _FASTIFY, 1, 1.0, None),
        (_DURABLE, _FASTIFY, 100, 0.7, None),
        (_DURABLE, _FASTAPI, 1, 3.0, None),
        (_DURABLE, _FASTAPI, 100, 10.0, None),
    )
    for ours, control, size, floor, aim in asked:
        what = f"{ours} to {control}, {size} a request"
        yield Figure(what, "at least", floor, "x", _ratio(results, ours, control, size), aim=aim)
    what = f"requests a second: {_DURABLE} to {_UVICORN}, 1 a request"
    yield Figure(what, "at least", 0.8, "x", _kept(results))


def _kept(results: Results) -> Spread | None:
    """Return which share of the requests a second is left when every event is synced first."""
    if (_DURABLE, 1) not in results:
        return None
    pairs = zip(results[_DURABLE, 1].per_s, results[_UVICORN, 1].per_s, strict=True)
    return Spread.of(one / other for one, other in pairs)
