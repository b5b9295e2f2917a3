"""Threads: a pool whose threads the system refuses, and a site that feels nothing of it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from eventmw import tool
from eventmw.delivery.holds import Watch
from eventmw.delivery.outbound import Outbound
from eventmw.delivery.threads import DaemonPool
from eventmw.delivery.transport import TransportError
from eventmw.delivery.watchdog import THREAD_NAME
from eventmw.effects import Write
from eventmw.event import Event
from tests.contract import ONE
from tests.gateways import both
from tests.running import ROOT, until
from tests.test_holds import LOOK_S
from tests.threadless import without_threads

PATIENCE_S = 10.0


def test_a_pool_that_gets_no_thread_says_so_and_takes_the_next_job() -> None:
    pool, ran = DaemonPool("pool", 1), list[str]()
    with without_threads(), pytest.raises(RuntimeError, match="thread"):
        pool.submit(lambda: ran.append("refused"))
    pool.submit(lambda: ran.append("taken")).result(PATIENCE_S)
    pool.close()
    assert ran == ["taken"]


def test_a_pool_that_gets_no_more_threads_goes_on_with_those_it_has() -> None:
    pool, begun, go = DaemonPool("pool", 2), threading.Event(), threading.Event()

    def first() -> str:
        begun.set()
        go.wait(PATIENCE_S)
        return "first"

    one = pool.submit(first)
    assert begun.wait(PATIENCE_S)
    with without_threads():
        two = pool.submit(lambda: "second")
    go.set()
    assert (one.result(PATIENCE_S), two.result(PATIENCE_S)) == ("first", "second")
    pool.close()


def test_a_file_is_written_once_there_are_threads_again(tmp_path: Path) -> None:
    path = str(tmp_path / "events.jsonl")

    async def write() -> None:
        transport = Outbound()
        with without_threads(), pytest.raises(TransportError, match="writing to a file raised RuntimeError"):
            await transport.send(Write(path, b"1\n"), timeout_s=PATIENCE_S)
        await transport.send(Write(path, b"2\n"), timeout_s=PATIENCE_S)
        await transport.close()

    asyncio.run(write())
    assert Path(path).read_text() == "2\n"


def watched(watch: Watch) -> bool:
    with watch.holding("crm", "handle"):
        return any(thread.name == THREAD_NAME for thread in threading.enumerate())


def test_a_watchdog_that_gets_no_thread_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(look_s=LOOK_S)
    with caplog.at_level(logging.WARNING), without_threads():
        for _ in range(3):
            with watch.holding("crm", "handle"):
                pass
    assert len([message for message in caplog.messages if "watchdog" in message]) == 1
    until(lambda: watched(watch))
    with watch.holding("crm", "handle"):
        until(lambda: "handle of tool crm has not come back" in caplog.text)
    watch.stop()


UNANSWERED = """
import sys
from eventmw.control.server import ControlServer
from eventmw.control.sockets import folder_of, found, is_answered
from tests.running import until
from tests.threadless import without_threads
server = ControlServer(sys.argv[1], lambda request: [request])
with without_threads():
    assert not server.start()
    assert not server.start()
assert server.start()
until(lambda: any(map(is_answered, found(folder_of(sys.argv[1])))))
server.close()
"""


def test_a_control_server_that_gets_no_thread_starts_later(tmp_path: Path) -> None:
    """In a process of its own: where another test's site is, its thread serves this one, too."""
    command = [sys.executable, "-c", UNANSWERED, str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("until it gets a thread") == 1


def test_a_site_without_threads_takes_events_and_delivers_them_later(caplog: pytest.LogCaptureFixture) -> None:
    got: list[str] = []

    @tool("keeper")
    def keeper(event: Event) -> Any:
        got.append(event.id)
        return ()

    with both(tools=[keeper]) as pair, caplog.at_level(logging.WARNING):
        with without_threads():
            assert pair.post(ONE).status == 200
            assert pair.post(ONE).status == 200
            until(lambda: "can't start new thread" in caplog.text)
        assert got == []
        assert pair.post(ONE).status == 200
        until(lambda: len(got) == 6)  # three at each gateway
        until(lambda: all(site.runtime.socket for site in pair.sites))
