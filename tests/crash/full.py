"""L4: a real file system that is full. The door says 503, the site is served, deliveries go on, and room is used again."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.crash.audit import Fate
from tests.crash.driver import PATH, fate_of
from tests.crash.payload import body
from tests.crash.served import Served
from tests.crash.stage import VENDOR, Play, Stage, staged
from tests.crash.tally import Tally

SIZE_MIB = 24
FULL_S, GOES_ON_S, RESUMES_S = 60.0, 30.0, 5.0
FILE_SYSTEMS: Sequence[str] = ("tmpfs", "ext4")


@cache
def missing(kind: str) -> str:
    """Return why a small file system cannot be mounted here, or ""."""
    if os.geteuid() != 0:
        return "mounting a small file system takes the rights of root"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with mounted(kind, Path(folder) / "m"):
                return ""
        except (OSError, subprocess.CalledProcessError) as error:
            return f"a small {kind} cannot be mounted here: {error}"


@contextmanager
def mounted(kind: str, at: Path) -> Iterator[Path]:
    """Mount an empty file system of 24 MiB."""
    at.mkdir(parents=True)
    if kind == "tmpfs":
        _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "none", str(at))
    else:
        image = at.with_name(f"{at.name}.img")
        with image.open("wb") as file:
            file.truncate(SIZE_MIB * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(at))
    try:
        yield at
    finally:
        _run("umount", "-l", str(at))


class _Asker:
    """One more client, which asks and sees the status. Its events are ``900.n``."""

    def __init__(self, server: Served) -> None:
        self._server = server
        self.fates: dict[str, Fate] = {}

    def post(self) -> int:
        """Post one event; returns the status, 0 when there was no answer."""
        name = f"900.{len(self.fates)}"
        status, said = self._ask(body([name], 100))
        self.fates[name] = fate_of(status, said, 1)
        return status

    def _ask(self, data: bytes) -> tuple[int, bytes]:
        port = self._server.port
        with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("POST", PATH, data, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        return 0, b""


def report(kind: str, folder: Path, tally: Tally, seed: int = 0) -> None:
    """Fill a file system while the vendor is away, deliver while it is full, make room, write again, audit."""
    folder.mkdir(parents=True)
    how = f"full {kind} in {folder}"
    small, cast = folder / "small", Play(seed=seed, clients=4, events=20)
    with mounted(kind, small), staged(cast, folder / "round", small / "data") as stage:
        asker = _Asker(stage.server)
        faults = [*_filled(stage, asker, small / "ballast")]
        stage.server.stop()
        tally.add(stage.audited([], asker.fates), how)
    for fault in faults:
        tally.fail(f"{fault}: {how}")


def _filled(stage: Stage, asker: _Asker, ballast: Path) -> Iterator[str]:
    """Play it; yields what did not hold."""
    stage.sink.moods(VENDOR, [503] * 100_000)
    with stage.driver:
        time.sleep(1)
        _fill(ballast)
        if not _until(lambda: asker.post() == 503, FULL_S):
            yield "the door never said that the disk is full"
    _fill(ballast)
    if pages := {stage.server.visit() for _ in range(20)} - {200}:
        yield f"with a full disk the site's page was answered {sorted(pages)}"
    stage.sink.moods(VENDOR, [])
    if not stage.has_settled(GOES_ON_S):
        yield "deliveries did not go on with a full disk"
    ballast.unlink()
    if not _until(lambda: asker.post() == 200, RESUMES_S):
        yield f"writing did not resume within {RESUMES_S:g} s of room"
    acked = {name for name, fate in asker.fates.items() if fate == "acked"}
    _until(lambda: acked <= {arrival.who for arrival in stage.sink.arrivals(VENDOR, keep=True)}, GOES_ON_S)


def _fill(ballast: Path) -> None:
    """Take all the room that is left."""
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def _until(holds: Callable[[], bool], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
