"""One process of many on one data directory: ``python -m tests.journal_peer SOCKET DATA_DIR OPTIONS``.

It does what it is told over the socket, one JSON line a call: the name of a method of `Peer` and its arguments. The
vendor is a file to which every delivery is appended before its commit, so that it outlives whoever is killed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from eventmw.errors import JournalDown, JournalFull
from eventmw.journal import Commit, DeadLetter, Key, Lease, Parked, Position, Reading
from eventmw.journal.files import FileJournal
from eventmw.journal.files.room import LOOK_S
from tests.failing_disk import FailingDisk

PATIENCE_S = 30.0
NOW_MS = 1_700_000_000_000


class Peer:
    """What a process can be told to do."""

    def __init__(self, hub: str, data_dir: str, options: dict[str, Any]) -> None:
        self.hub = hub
        self.vendor = Path(data_dir).with_name("vendor")
        self.logged: list[str] = []
        logging.getLogger("eventmw").addHandler(_Keeper(self.logged))
        self.journal = FileJournal(data_dir, **options)
        self.threads_died: list[str] = []
        threading.excepthook = lambda what: self.threads_died.append(repr(what.exc_value))
        self.disk = FailingDisk()
        self.lease: Lease | None = None
        self.delivering: _Deliverer | None = None

    def register(self, *tools: str) -> None:
        self.journal.register(tools)

    def put(self, record: str, size: int = 0) -> Position:
        body = record.encode().ljust(size, b".")
        future = self.journal.append(body, events=1, recorded_ms=time.time_ns() // 10**6, stamp=time.monotonic_ns())
        return future.result(PATIENCE_S)

    def put_many(self, prefix: str, count: int, threads: int = 4, size: int = 0) -> None:
        """Append records named ``prefix-0`` and so on, several at a time."""

        def some(first: int) -> None:
            for number in range(first, count, threads):
                self.put(f"{prefix}-{number}", size)

        workers = [threading.Thread(target=some, args=(first,)) for first in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(PATIENCE_S)

    def put_until_full(self, prefix: str, size: int) -> int:
        """Append until that is refused, and again once room was looked for; return how many were taken."""
        number = refusals = 0
        while refusals < 2:
            try:
                self.put(f"{prefix}-{number}", size)
            except JournalFull:
                refusals += 1
                time.sleep(2 * LOOK_S)
            else:
                number, refusals = number + 1, 0
        return number

    def lead(self) -> bool:
        self.lease = self.journal.lead()
        return self.lease is not None

    def take(self, tool: str, most: int = 1000) -> list[str]:
        """Read, and return the records."""
        return [text(reading) for reading in everything(self.leading(), tool, most)]

    def settle_all(self, tool: str) -> int:
        """Read and settle everything there is; return how much that was."""
        number = 0
        while readings := self.leading().read(tool, 100):
            self.leading().commit(tool, delivered(readings))
            number += len(readings)
        return number

    def settle(self, tool: str, *keys: list[Any]) -> None:
        self.leading().commit(tool, Commit(settled=[key_of(key) for key in keys]))

    def park(self, tool: str, key: list[Any]) -> None:
        self.leading().commit(tool, Commit(park=[Parked(key_of(key), b"copy", 1, NOW_MS, "HTTP 500")]))

    def bury(self, tool: str, *keys: list[Any]) -> None:
        letters = [DeadLetter(tool, key_of(key), b"copy", "rejected", "HTTP 400", 1, NOW_MS) for key in keys]
        self.leading().commit(tool, Commit(dead=letters, counts={("rejected", ""): len(letters)}))

    def tend(self) -> None:
        self.leading().tend()

    def sync(self) -> None:
        self.leading().sync()

    def lost(self) -> bool:
        return self.leading().lost()

    def end_lease(self) -> None:
        self.leading().close()
        self.lease = None

    def forget(self, tool: str) -> None:
        self.journal.forget(tool)

    def seek(self, tool: str, to: str) -> int:
        return self.journal.seek(tool, to=to)  # type: ignore[arg-type]

    def revive(self, tool: str) -> int:
        return self.journal.revive(tool, [letter.key for letter in self.journal.dead_letters(tool)], NOW_MS)

    def drop_dead(self, tool: str) -> int:
        return self.journal.drop_dead(tool, [letter.key for letter in self.journal.dead_letters(tool)])

    def letters(self) -> list[Any]:
        return [[letter.tool, letter.key] for letter in self.journal.dead_letters()]

    def due(self, tool: str) -> list[Any]:
        return [item.key for item in self.leading().due(tool, NOW_MS, 1000)]

    def scan(self) -> list[str]:
        return [entry.record.decode().rstrip(".") for entry in self.journal.scan(limit=100_000)]

    def tool(self, tool: str) -> dict[str, Any] | None:
        """Return where a tool stands, if it is known."""
        for stats in self.journal.stats().tools:
            if stats.tool == tool:
                return {
                    "backlog": stats.backlog_events,
                    "parked": stats.parked,
                    "dead": stats.dead,
                    "counts": {kind: number for (kind, _), number in stats.counts.items()},
                }
        return None

    def deliver(self, *tools: str, window: int = 8, hold_s: float = 0.0) -> None:
        """Lead whenever possible and deliver, in a thread; at most `window` records of a tool in flight."""
        self.delivering = _Deliverer(self.journal, self.vendor, tools, window, hold_s)
        self.delivering.start()

    def stop_delivering(self) -> None:
        assert self.delivering is not None
        self.delivering.stopping.set()
        self.delivering.join(PATIENCE_S)

    def is_leading(self) -> bool:
        return self.delivering is not None and self.delivering.leads

    def fork(self) -> int:
        """Fork without exec. The child answers on a connection of its own, in the place of this process's next one."""
        pid = os.fork()
        if pid == 0:
            try:
                self.lease = self.delivering = None
                serve(self)
            finally:
                os._exit(0)
        return pid

    def reap(self, pid: int) -> int:
        return os.waitpid(pid, 0)[1]

    def files(self) -> list[str]:
        """Return the files of the data directory that this process has open; folders are looked through in passing."""
        return sorted(name for name, _ in self._open() if not (self.vendor.with_name("data") / name).is_dir())

    def written(self) -> list[str]:
        """Return the segments that it has open for writing."""
        return [name for name, info in self._open() if name.endswith(".seg") and int(info["flags"], 8) & os.O_ACCMODE]

    def locked(self) -> list[str]:
        """Return the files on which it holds a lock. Source: proc(5), /proc/pid/fdinfo."""
        return [name for name, info in self._open() if "lock" in info]

    def _open(self) -> Iterator[tuple[str, dict[str, str]]]:
        root = f"{self.vendor.with_name('data')}/"
        for fd in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                name = str(fd.readlink())
                if name.startswith(root):
                    lines = Path("/proc/self/fdinfo", fd.name).read_text().splitlines()
                    yield name.removeprefix(root), dict(line.split(":", 1) for line in lines)

    def churn(self, sought: str) -> None:
        """Take locks and give them back all the time, in a thread: the leader's, those of streams, or of members."""
        threading.Thread(target=getattr(self, f"_churn_{sought}"), daemon=True).start()

    def _churn_leader(self) -> None:
        while True:
            if (lease := self.journal.lead()) is not None:
                lease.close()

    def _churn_stream(self) -> None:
        while True:
            journal = FileJournal(self.vendor.with_name("data"))
            journal.append(b"x", events=1, recorded_ms=NOW_MS, stamp=1).result(PATIENCE_S)
            journal.leave()

    def _churn_member(self) -> None:
        while True:
            FileJournal(self.vendor.with_name("data")).leave()

    def _churn_look(self) -> None:
        """Look whether locks are free, which takes them for a moment."""
        while True:
            self.journal.stats()

    def died(self) -> list[str]:
        """Return the threads that ended with an exception."""
        return self.threads_died

    def log(self) -> list[str]:
        return self.logged

    def fail(self, call: str, error: int, part: str, times: int = 0) -> None:
        self.disk.fail(call, error, part, times)

    def fill_disk(self, free_bytes: int = 0) -> None:
        self.disk.fill(self.vendor.with_name("data"), free_bytes)

    def ready(self) -> str:
        """Return why nothing would be kept now."""
        return self.journal.ready()

    def heal(self) -> None:
        self.disk.heal()

    def failed(self) -> tuple[list[str], list[str]]:
        """Return the files of which a call failed, and those of them that were synced again."""
        return self.disk.failed, self.disk.synced_after

    def rest_long(self) -> None:
        """Have the stream's last use lie so far back that it is idle."""
        self.journal._writer._used_s -= self.journal._writer.idle_s + 1

    def heartbeat(self) -> tuple[int | None, int | None]:
        stats = self.journal.stats()
        return stats.leader_pid, stats.heartbeat_ms

    def leave(self) -> None:
        self.journal.leave()

    def leading(self) -> Lease:
        assert self.lease is not None, "this process does not lead"
        return self.lease


class _Deliverer(threading.Thread):
    def __init__(self, journal: FileJournal, vendor: Path, tools: tuple[str, ...], window: int, hold_s: float) -> None:
        super().__init__(daemon=True)
        self.journal, self.tools, self.window, self.hold_s = journal, tools, window, hold_s
        self.stopping = threading.Event()
        self.leads = False
        self.fd = os.open(vendor, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def run(self) -> None:
        while not self.stopping.is_set():
            lease = self.journal.lead()
            if lease is None:
                time.sleep(0.05)
                continue
            self.leads = True
            try:
                self.work(lease)
            except JournalDown:
                logging.getLogger("eventmw").exception("a lease ended early")
            finally:
                self.leads = False
                lease.close()

    def work(self, lease: Lease) -> None:
        while not self.stopping.is_set() and not lease.lost():
            busy = False
            for tool in self.tools:
                if readings := lease.read(tool, self.window):
                    busy = True
                    self.send(tool, readings)
                    lease.commit(tool, delivered(readings))
            lease.sync()
            lease.tend()
            if not busy:
                time.sleep(0.01)

    def send(self, tool: str, readings: list[Reading]) -> None:
        lines = "".join(f"{os.getpid()} {tool} {text(reading)}\n" for reading in readings)
        os.write(self.fd, lines.encode())
        time.sleep(self.hold_s)


class _Keeper(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")


def everything(lease: Lease, tool: str, most: int) -> list[Reading]:
    """Read until there are so many, or no more."""
    readings: list[Reading] = []
    while len(readings) < most and (more := lease.read(tool, most - len(readings))):
        readings += more
    return readings


def text(reading: Reading) -> str:
    return reading.entry.record.decode().rstrip(".")


def delivered(readings: list[Reading]) -> Commit:
    keys = [Key(reading.entry.position, ordinal) for reading in readings for ordinal in range(reading.entry.events)]
    return Commit(settled=keys, counts={("delivered", ""): len(keys)})


def key_of(plain: list[Any]) -> Key:
    """Return the key of a position's first event."""
    sid, seq = plain
    return Key(Position(sid, seq), 0)


def serve(peer: Peer) -> None:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(peer.hub)
    with connection, connection.makefile("rw", encoding="utf-8") as channel:
        print(os.getpid(), file=channel, flush=True)
        for line in channel:
            name, args, options = json.loads(line)
            try:
                answer = {"result": getattr(peer, name)(*args, **options)}
            except Exception as error:
                answer = {"error": type(error).__name__, "message": str(error)}
            print(json.dumps(answer), file=channel, flush=True)


def main(hub: str, data_dir: str, options: str) -> None:
    try:
        peer = Peer(hub, data_dir, json.loads(options))
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(3) from None
    serve(peer)


if __name__ == "__main__":
    main(*sys.argv[1:])
