"""The nursery: a process that has imported everything and forks a subject for each life, so that a life costs milliseconds.

``python -m tests.crash.nursery`` reads an order a line from standard input and writes what came of it; it lives one life at
a time. An order is ``{"scenario", "strace", "log", "timeout_s"}``: with arguments for strace, the subject is attached to
before it takes its first step.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any, Self

from tests.crash.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Life:
    """How a life ended. ``killed`` is by SIGKILL; ``hung``: it had to be ended; else ``status`` is its exit status.

    ``seconds`` is how long it took, ``ended`` when that was, on the monotonic clock.
    """

    status: int
    killed: bool
    hung: bool
    seconds: float
    ended: float


class Nursery:
    """The nursery as the harness sees it, for a ``with`` statement."""

    def __enter__(self) -> Self:
        self._process = Popen([sys.executable, "-m", "tests.crash.nursery"], stdin=PIPE, stdout=PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def live(
        self,
        scenario: Scenario,
        strace: Sequence[str] = (),
        *,
        log: Path | None = None,
        timeout_s: float = 30.0,
    ) -> Life:
        """Have a subject live once.

        Args:
            scenario: what it does.
            strace: arguments for strace; none means that it is not traced.
            log: where strace writes.
            timeout_s: after that it is ended, and counts as hung.
        """
        order = {
            "scenario": scenario.as_json(),
            "strace": list(strace),
            "log": str(log or os.devnull),
            "timeout_s": timeout_s,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the nursery died")
        return Life(**json.loads(answer))


def _fork(scenario: Scenario) -> tuple[int, int]:
    """Return a child that waits for a byte in the pipe that is returned too."""
    waits, goes = os.pipe()
    child = os.fork()
    if child:
        os.close(waits)
        return child, goes
    status = 1
    try:
        os.close(goes)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        said = os.open(scenario.said, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.read(waits, 1)
        from tests.crash.subject import live

        status = live(scenario)
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)


def _live(order: dict[str, Any]) -> Life:
    scenario = Scenario.from_json(order["scenario"])
    Path(scenario.folder).mkdir(parents=True, exist_ok=True)
    child, goes = _fork(scenario)
    tracer = _attached(child, order) if order["strace"] else None
    begun = time.monotonic()
    os.write(goes, b"!")
    os.close(goes)
    hung = not _ended_within(child, order["timeout_s"])
    if hung:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    ended = time.monotonic()
    if tracer is not None:
        tracer.communicate(timeout=10)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and not hung
    return Life(os.waitstatus_to_exitcode(status), killed, hung, ended - begun, ended)


def _attached(child: int, order: dict[str, Any]) -> Popen[bytes]:
    command = ["strace", "-f", "-o", order["log"], *order["strace"], "-p", str(child)]
    tracer = Popen(command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE)
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    if b"attached" not in said:
        os.kill(child, signal.SIGKILL)
        raise RuntimeError(f"strace did not attach: {said!r} {tracer.communicate()[1]!r}")
    return tracer


def _ended_within(child: int, timeout_s: float) -> bool:
    handle = os.pidfd_open(child)
    try:
        return bool(select.select([handle], [], [], timeout_s)[0])
    finally:
        os.close(handle)


def main() -> None:
    """Serve orders until there are no more."""
    import aiohttp  # noqa: F401 - so that no child has to

    from eventmw.delivery import courier, outbound  # noqa: F401
    from tests.crash import subject  # noqa: F401

    for line in sys.stdin:
        life = _live(json.loads(line))
        print(json.dumps({name: getattr(life, name) for name in Life.__slots__}), flush=True)


if __name__ == "__main__":
    main()
