"""What the site's own pages feel while four of the worst questions at once are asked of its archive, one after another.

``python -m benchmarks.questions PORT FILE`` is who asks, in a process of its own: in ours it would slow the clock down.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from benchmarks import load
from benchmarks.machine import ROOT, pinned
from benchmarks.neighbour import Latencies, visit
from benchmarks.processes import Server
from benchmarks.report import Effort, Figure, Report, Spread, Table, shown
from benchmarks.serving import uvicorn
from eventmw.archive.migrations import prepare
from eventmw.archive.place import archive_engine
from eventmw.errors import Refused
from eventmw.eventbunker.query import HEADER, PATH, reply
from eventmw.keys import Key
from eventmw.keys.grants import Grant
from eventmw.keys.place import keys_engine
from eventmw.keys.store import KeyStore
from eventmw.pauses import taking
from eventmw.query.language import parse_text
from eventmw.query.run import Runner

AT_ONCE: Final = 4
_ASKED: Final = 1.5
_PERIOD: Final = {"from": "2017-06-01", "to": "2027-06-01"}
_ALONE, _BUSY = "no question", "busy thread"
_ODD: Final = [f"ü{number}.ß" for number in range(50)]

QUESTIONS: Final[Mapping[str, dict[str, Any]]] = {
    "50 searches in odd names, 20 percentiles, 10 years of minutes": {
        "time_period": _PERIOD, "time_zone": "Africa/Casablanca", "interval": "minute", "limit": 10_000,
        "group_by": _ODD[:8],
        "filters": [{"field_name": name, "op": "not_contains", "value": "x" * 500} for name in _ODD],
        "computations": [{"function": "percentile_95", "field_name": name} for name in _ODD[:20]],
    },
    "50 lists of 20 values": {
        "filters": [
            {"field_name": name, "op": "not_in", "value": [*range(at, at + 10), *map(str, range(10))]}
            for at, name in enumerate(_ODD)
        ],
        "computations": [{"function": "count"}],
    },
    "a body full of mistakes": {"filters": [{f"k{n}": n for n in range(120)} for _ in range(50)]},
    "10,000 groups": {
        "time_period": _PERIOD, "group_by": ["order"], "limit": 9_999,
        "computations": [{"function": function, "field_name": "n"} for function in ("sum", "avg", "median", "max")],
    },
}  # fmt: skip


def run(effort: Effort) -> Report:
    """Load a page alone, beside each kind of question, and beside a thread that never rests, in rounds."""
    rounds, seconds = effort.interleaved(5), effort.of(3.0, quick=1.0)
    many = int(effort.of(50_000, quick=10_000))
    seen: dict[str, list[Latencies]] = {name: [] for name in (_ALONE, *QUESTIONS, _BUSY)}
    asked: dict[str, int] = dict.fromkeys(QUESTIONS, 0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER"))))
        keys = _filled(folder / "data", many)
        costs = [(name, *_cost(folder / "data", question)) for name, question in QUESTIONS.items()]
        environ = {"EVENTMW_EVENTBUNKER_PATH": "/eb", "EVENTMW_DATA_DIR": str(folder / "data")}
        site = stack.enter_context(Server("site", uvicorn("benchmarks.sites.asgi_site:app"), environ=environ))
        stack.enter_context(pinned(load.CLIENT_CORE))

        def beside(name: str) -> Latencies:
            with _asking(site.port, folder, keys, QUESTIONS[name]) as count:
                found = _visited(site, seconds)
            asked[name] += count()
            return found

        def busy(_: str) -> Latencies:
            load.get(site.port, f"/-/busy?{seconds + 0.5:g}")
            return _visited(site, seconds)

        steps: list[tuple[str, Callable[[str], Latencies]]] = [
            (_ALONE, lambda _: _visited(site, seconds)),
            *((name, beside) for name in QUESTIONS),
            (_BUSY, busy),
        ]
        visit(site.port, "/", seconds=0.5)
        for number in range(rounds):
            at = number % len(steps)
            for name, step in (*steps[at:], *steps[:at]):
                site.settle()
                seen[name].append(step(name))
    return Report(
        name="questions",
        control="the same process without a question; and with a thread that never rests, which must be seen",
        measured="a page of a uvicorn with one worker on core 0, asked for 200 times a second whatever the answers do, from "
        f"core 1; from when it was due to its last byte. {AT_ONCE} questions at once, each of a key of its own, two keys a "
        f"project, over and over; {many:,} events in SQLite",
        rounds=rounds,
        tables=[
            _table(seen),
            Table("one question, CPU ms of its thread", ("question", "Python", "with the database", "answer"), costs),
            Table("answered meanwhile", ("question", "count"), [(name, f"{count:,}") for name, count in asked.items()]),
        ],
        figures=[_figure(seen, name) for name in QUESTIONS],
        notes=[],
    )


def _visited(site: Server, seconds: float) -> Latencies:
    return Latencies.of([ms for _, ms in visit(site.port, "/", seconds=seconds)])


def _filled(folder: Path, many: int) -> Sequence[str]:
    """Make projects, keys and events, and return the query keys' secrets."""
    engine = keys_engine(folder, None)
    store = KeyStore(engine)
    account = store.account()
    projects = [store.create_project(account, name)[0].id for name in ("one", "two")]
    keys = [store.create_key(project, Grant(kind="query")).secret.reveal() for project in projects for _ in range(2)]
    engine.dispose()
    archive = archive_engine(folder, None)
    prepare(archive)
    now_ms = time.time_ns() // 1_000_000
    rows = [
        {"p": project, "id": f"{n:032x}", "at": now_ms - n * 1000,
         "fields": json.dumps({"order": f"A-{n}", "n": n, "ü1": {"ß": "x"}})}
        for project in projects
        for n in range(many // 2)
    ]  # fmt: skip
    insert = "INSERT INTO eventmw_events VALUES (:p, :id, :at, :at, 'buy', 'ann', NULL, :fields)"
    with archive.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(text(insert), rows)
    archive.dispose()
    return keys


class _Counted:
    """Counts the CPU time of the thread that is the database's."""

    def __init__(self) -> None:
        self.away_s = 0.0

    def pause(self) -> None:
        """Go on."""

    @contextmanager
    def away(self) -> Iterator[None]:
        """Count what is done inside."""
        begun_s = time.thread_time()
        try:
            yield
        finally:
            self.away_s += time.thread_time() - begun_s


def _cost(folder: Path, question: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what a question costs its thread, and how it ends."""
    engine = archive_engine(folder, None)
    with engine.connect() as connection:
        project = str(connection.execute(text("SELECT min(project_id) FROM eventmw_events")).scalar())
    counted, begun_s, ended = _Counted(), time.thread_time(), "200"
    body = json.dumps(question).encode()
    with taking(counted):
        try:
            table = Runner(engine)(
                parse_text(body, time.time_ns() // 1_000_000),
                Key(id="", kind="query", account_id="", project_id=project),
            )
            reply(table, 1 << 30)
        except Refused as refused:
            ended = refused.code
    took_s = time.thread_time() - begun_s
    engine.dispose()
    return shown(1000 * (took_s - counted.away_s)), shown(1000 * took_s), ended


@contextmanager
def _asking(port: int, folder: Path, keys: Sequence[str], question: Mapping[str, Any]) -> Iterator[Callable[[], int]]:
    """Have a question asked by each key, over and over, while the block runs; gives what counts the answers."""
    (file := folder / "question.json").write_text(json.dumps([keys, question]))
    command = [sys.executable, "-m", "benchmarks.questions", str(port), str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        counted = [0]
        assert process.stdout.readline() == "asked\n"
        try:
            yield lambda: counted[0]
        finally:
            process.stdin.close()
            counted[0] = int(process.stdout.readline() or 0)


def _ask(port: int, file: str) -> None:
    """Ask with every key at once, until standard input ends."""
    keys, question = json.loads(Path(file).read_text())
    body, ended, counts = json.dumps(question).encode(), threading.Event(), [0] * len(keys)

    def asker(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not ended.is_set():
            connection.request("POST", f"/eb{PATH}", body, {HEADER: keys[number]})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 401:
                raise RuntimeError("the keys are not known")
            counts[number] += 1

    threads = [threading.Thread(target=asker, args=(number,), daemon=True) for number in range(len(keys))]
    for thread in threads:
        thread.start()
    print("asked", flush=True)
    sys.stdin.read()
    ended.set()
    with suppress(BrokenPipeError):
        print(sum(counts), flush=True)
    os._exit(0)  # the last answers are nobody's


def _table(seen: Mapping[str, Sequence[Latencies]]) -> Table:
    rows = [
        (name, str(Spread.of(one.p50 for one in found)), str(Spread.of(one.p99 for one in found)))
        for name, found in seen.items()
    ]
    return Table("a page, ms", ("beside", "p50: min / median / max", "p99"), rows)


def _figure(seen: Mapping[str, Sequence[Latencies]], name: str) -> Figure:
    ratios = [one.p99 / alone.p99 for one, alone in zip(seen[name], seen[_ALONE], strict=True)]
    return Figure(f"p99 beside {name}", "at most", _ASKED, "x", Spread.of(ratios))


if __name__ == "__main__":
    _ask(int(sys.argv[1]), sys.argv[2])
