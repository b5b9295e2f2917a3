"""A process that has imported the commands and forks for each one: what takes a second from nothing takes a tenth so.

A forked command is a process of its own, with its own environment, folder and files, and ends as any other.
"""

from __future__ import annotations

import atexit
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

Order = dict[str, Any]

FILES = ("in", "out", "err")
PRELOADED = ("eventmw.archive", "eventmw.cli", "eventmw.control", "eventmw.journal", "eventmw.keys", "eventmw.query")
DRIVERS = ("psycopg", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite")


class Warm:
    """The process, as long as the tests last."""

    def __init__(self, env: dict[str, str], cwd: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm"], env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        atexit.register(self._end)

    def run(
        self, arguments: tuple[str, ...], *, stdin: str, cwd: Path, env: dict[str, str], patience_s: float
    ) -> tuple[int, str, str]:
        """Run a command to its end; return its code, and what it wrote."""
        with tempfile.TemporaryDirectory() as folder:
            for name in FILES:
                Path(folder, name).write_text(stdin if name == "in" else "")
            order = {
                "arguments": [os.fsdecode(one) for one in arguments],
                "cwd": str(cwd),
                "env": env,
                "files": folder,
                "patience_s": patience_s,
            }
            code = self._ask(order)
            _, out, err = (Path(folder, name).read_text() for name in FILES)
        if code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(list(arguments), patience_s, out, err)
        return code, out, err

    def _ask(self, order: Order) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def _end(self) -> None:
        self._process.communicate()


def serve() -> Order:
    """Fork for each order; return, in each child, the order that it is to follow."""
    for line in iter(sys.stdin.buffer.readline, b""):
        child = os.fork()
        if child == 0:
            order: Order = json.loads(line)
            return order
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    sys.exit()


def become(order: Order) -> None:
    """Make this process what a shell would have started."""
    signal.setitimer(signal.ITIMER_REAL, order["patience_s"])
    for fd, name in enumerate(FILES):
        opened = os.open(Path(order["files"], name), os.O_RDWR)
        os.dup2(opened, fd)
        os.close(opened)
    sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False))  # noqa: SIM115 - as long as the process
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False))  # noqa: SIM115 - as above
    err = open(2, "wb", closefd=False)  # noqa: SIM115 - as above
    sys.stderr = io.TextIOWrapper(err, errors="backslashreplace", line_buffering=True)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    sys.path[0] = order["cwd"]
    sys.argv = ["eventmw", *order["arguments"]]
    end(lambda: runpy.run_module("eventmw", run_name="__main__", alter_sys=True))


def end(work: Callable[[], object]) -> Never:
    """Work and end as the interpreter would, but for the second that it takes to free every module."""
    code: object = None
    try:
        work()
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]  # it waits for threads that are no daemons
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else code is not None)


def preload() -> None:
    for name in PRELOADED:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(found.name)
    for name in DRIVERS:
        importlib.import_module(name)


if __name__ == "__main__":
    preload()
    become(serve())
