"""What it costs a request to show a key: `eventmw.keys.ring.KeyRing.find`, with ten keys and with ten thousand.

Also how long a revoked key still opens another process, which no request waits for.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from sqlalchemy import Engine, insert

from benchmarks.machine import pinned
from benchmarks.report import Effort, Figure, Report, Spread, Table
from benchmarks.rounds import Samples, cpu_us, interleaved, ratios
from eventmw.keys.grants import Grant, Issued
from eventmw.keys.place import keys_engine
from eventmw.keys.ring import KeyRing
from eventmw.keys.secrets import CHANCE_BYTES, digest_of, make
from eventmw.keys.store import KeyStore
from eventmw.keys.tables import keys

FEW: Final = 10
MANY: Final = 10_000
_FINDS: Final = 2_000
_CONTROL: Final = "SHA-256 of the same secrets"
_FEW, _MANY = f"find, {FEW} keys", f"find, {MANY:,} keys"
_WRONG, _NONE = f"wrong secret, {MANY:,} keys", f"unknown id, {MANY:,} keys"
_NEVER_S: Final = 1e6


def run(effort: Effort) -> Report:
    """Measure and report."""
    rounds = effort.interleaved(15)
    with TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        few, few_shown = stack.enter_context(_ring(Path(folder, "few"), FEW))
        many, many_shown = stack.enter_context(_ring(Path(folder, "many"), MANY))
        with pinned(0):
            samples = interleaved(_cases(few, few_shown, many, many_shown, effort), rounds)
            idle_us = _idle_us(many, Path(folder, "many"), rounds)
        revoked_s = _revocations(Path(folder, "many"), rounds)
    notes = ["no step of a find looks at a second key; ten keys fit into a processor's cache, and ten thousand do not"]
    return Report(
        name="keys",
        control=f"{_CONTROL}, which every find has to compute",
        measured="KeyRing.find of secrets in turn, CPU time of the thread; the database is not asked",
        rounds=rounds,
        tables=[_table(samples), _beside(idle_us, revoked_s)],
        figures=[
            Figure(f"{MANY:,} keys to {FEW}", "at most", 2.0, "x", Spread.of(ratios(samples, _MANY, _FEW))),
            Figure(
                "seconds until another process refuses a revoked key", "at most", 1.0, "s", Spread.of([max(revoked_s)])
            ),
        ],
        notes=notes,
    )


@contextlib.contextmanager
def _ring(folder: Path, count: int) -> Iterator[tuple[KeyRing, Sequence[str]]]:
    """Give a ring that knows so many keys, and their secrets."""
    engine = keys_engine(folder, None)
    shown = filled(engine, count)
    ring = KeyRing(engine, _NEVER_S)
    ring.start()
    assert all(ring.find(one) is not None for one in shown)
    yield ring, shown
    ring.close()
    engine.dispose()


def filled(engine: Engine, count: int) -> Sequence[str]:
    """Put so many keys into the database, in one transaction, and return their secrets."""
    store = KeyStore(engine)
    account = store.account()
    project, _ = store.create_project(account, "shop")
    chance = random.Random(count)
    made = [make("write", chance.randbytes(CHANCE_BYTES)) for _ in range(count)]
    shared: Mapping[str, Any] = {
        "kind": "write",
        "account_id": account,
        "project_id": project.id,
        "name": "",
        "key_filter": {},
        "origins": [],
        "created_ms": 0,
        "changed": 1,
    }
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        rows = [
            {**shared, "id": one.id, "digest": one.digest, "customer": f"customer-{at}"} for at, one in enumerate(made)
        ]
        connection.execute(insert(keys), rows)
    return [one.shown.reveal() for one in made]


def _cases(
    few: KeyRing, few_shown: Sequence[str], many: KeyRing, many_shown: Sequence[str], effort: Effort
) -> Mapping[str, Callable[[], float]]:
    """Return what is timed, in microseconds a find. Secrets come in a random order, as those of many senders do."""
    finds = int(effort.of(_FINDS, quick=200))
    chance = random.Random(1)
    of_few = [chance.choice(few_shown) for _ in range(finds)]
    of_many = [chance.choice(many_shown) for _ in range(finds)]
    wrong = [f"{one[:-2]}00" for one in of_many]
    unknown = [f"eb_write_{'0' * 11}{one[-44:]}" for one in of_many]

    def each(work: Callable[[str], object], shown: Sequence[str]) -> Callable[[], float]:
        def sample() -> float:
            return cpu_us(lambda: [work(one) for one in shown]) / finds

        return sample

    return {
        _CONTROL: each(digest_of, of_many),
        _FEW: each(few.find, of_few),
        _MANY: each(many.find, of_many),
        _WRONG: each(many.find, wrong),
        _NONE: each(many.find, unknown),
    }


def _idle_us(ring: KeyRing, folder: Path, rounds: int) -> Mapping[str, Sequence[float]]:
    """Return what a look costs that finds nothing new: of a file that nobody touched, and of one that somebody did."""
    file = folder / "keys.sqlite3"
    untouched: list[float] = []
    touched: list[float] = []
    for _ in range(rounds):
        file.touch()
        touched.append(cpu_us(ring.look))
        before = time.time() - 60
        os.utime(file, (before, before))
        ring.look()
        untouched.append(cpu_us(ring.look))
    return {"a look at a file that nobody changed": untouched, "a look at a file that may be changed": touched}


_PEER: Final = """
import sys, time
from eventmw.keys.place import keys_engine
from eventmw.keys.ring import KeyRing
ring = KeyRing(keys_engine(sys.argv[1], None))
for line in iter(sys.stdin.readline, ""):
    shown = line.rstrip()
    print(ring.find(shown) is not None, flush=True)
    while ring.find(shown) is not None:
        time.sleep(0.002)
    print(time.monotonic(), flush=True)
"""


def _revocations(folder: Path, rounds: int) -> Sequence[float]:
    """Return the seconds from a revocation to the first refusal in another process."""
    engine = keys_engine(folder, None)
    store = KeyStore(engine)
    project = store.projects()[0].id
    command = [sys.executable, "-c", _PEER, str(folder)]
    taken: list[float] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        for number in range(rounds):
            issued = _known(store, project, peer)
            time.sleep(number % 5 * 0.1)  # at another point between two looks each time
            store.revoke(project, issued.key.id)
            revoked = time.monotonic()
            taken.append(float(peer.stdout.readline()) - revoked)
        peer.stdin.close()
    engine.dispose()
    return taken


def _known(store: KeyStore, project: str, peer: subprocess.Popen[str]) -> Issued:
    """Return a new key that the other process knows."""
    assert peer.stdin is not None
    assert peer.stdout is not None
    while True:
        issued = store.create_key(project, Grant(kind="write"))
        time.sleep(0.6)
        peer.stdin.write(issued.secret.reveal() + "\n")
        peer.stdin.flush()
        if peer.stdout.readline() == "True\n":
            return issued
        peer.stdout.readline()


def _table(samples: Samples) -> Table:
    control = samples[_CONTROL]
    rows = [
        (
            name,
            str(Spread.of(values)),
            str(Spread.of(one / other for one, other in zip(values, control, strict=True))),
        )
        for name, values in samples.items()
    ]
    return Table("µs a request", ("case", "min / median / max", "x SHA-256"), rows)


def _beside(idle_us: Mapping[str, Sequence[float]], revoked_s: Sequence[float]) -> Table:
    rows = [(f"{name}, µs", str(Spread.of(values))) for name, values in idle_us.items()]
    rows.append(("revoked until refused in another process, s", str(Spread.of(revoked_s))))
    return Table("beside the requests", ("case", "min / median / max"), rows)
