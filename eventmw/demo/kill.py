"""A site with two workers under load, its vendor away: one worker is killed, then all; the site starts again.

Layer: input and output. What it sees is judged by `ordeal`. SIGKILL cannot be noticed by who gets it: nothing is saved or
finished then, as with a machine that runs out of memory.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from eventmw.config import DEFAULT_DATA_DIR
from eventmw.demo.ordeal import Ordeal
from eventmw.demo.play import (
    OK,
    PATHS,
    RESTARTED,
    WORKERS,
    Moods,
    Stage,
    Tell,
    ask,
    restarted_command,
    settled,
)
from eventmw.demo.servers import Server, running
from eventmw.journal.files import heartbeat
from eventmw.journal.files.layout import Layout

EVENTS: Final = 500
TURNS: Final = 3
"""How often `ordeal` tells what it does."""

_SENDERS: Final = 4
_PATIENCE_S: Final = 20.0
_POLL_S: Final = 0.01
_AGAIN_S: Final = 0.05


class Sending:
    """Senders that send each event until the site says that it has it, as a good client does: with the same id."""

    def __init__(self, port: int) -> None:
        self._server = Server(port, 0, Path())
        self._deadline_s = time.monotonic() + _PATIENCE_S
        self._lock = threading.Lock()
        self.acknowledged: set[str] = set()
        self.again = 0

    def send(self, ident: str) -> None:
        """Send one event until it is acknowledged, or the time is up."""
        event = {"client": {"__zarazTrack": "order paid", "number": ident}, "eventmw": {"id": ident}}
        body = json.dumps({"events": [event]}).encode()
        while time.monotonic() < self._deadline_s:
            answer = ask(self._server, "POST", PATHS["events"], body)
            with self._lock:
                if answer.status == OK:
                    self.acknowledged.add(ident)
                    return
                self.again += 1
            time.sleep(_AGAIN_S)

    def wait_for(self, number: int) -> None:
        """Wait until so many events are acknowledged, or the time is up."""
        while len(self.acknowledged) < number and time.monotonic() < self._deadline_s:
            time.sleep(_POLL_S)


def ordeal(stage: Stage, tell: Tell) -> Ordeal:
    """Go through it, and return what was seen.

    Raises:
        eventmw.demo.servers.NotStarted: the site does not start.
    """
    idents = [f"order-{number:04}" for number in range(1, EVENTS + 1)]
    server = stage.restarted
    with ThreadPoolExecutor(_SENDERS) as pool:
        tell(f"sending {EVENTS} events to a site with {WORKERS} workers while its vendor goes away")
        sending = Sending(server.port)
        done = [pool.submit(sending.send, ident) for ident in idents]
        sending.wait_for(EVENTS // 5)
        stage.moods.away = True
        sending.wait_for(2 * EVENTS // 5)
        tell("killing the worker that delivers, then all")
        _kill_deliverer(server)
        sending.wait_for(3 * EVENTS // 5)
        os.killpg(server.pid, signal.SIGKILL)  # it was started in a session of its own
        tell("starting the site again, and waiting until it has delivered")
        with running({RESTARTED: restarted_command(server.port)}, stage.folder, stage.environ) as servers:
            for sent in done:
                sent.result()
            stage.moods.away = False
            stats = settled(servers[RESTARTED])
    return _seen(idents, sending, stage.moods, stats)


def _kill_deliverer(server: Server) -> None:
    beat = heartbeat.read(Layout(server.folder / DEFAULT_DATA_DIR))
    if beat is not None:
        os.kill(beat.pid, signal.SIGKILL)


def _seen(idents: Sequence[str], sending: Sending, moods: Moods, stats: Mapping[str, Any]) -> Ordeal:
    return Ordeal(
        sent=idents,
        acknowledged=frozenset(sending.acknowledged),
        again=sending.again,
        taken=Counter(event["id"] for event in moods.taken),
        changed=_changed(moods.taken, lambda event: json.dumps(event, sort_keys=True)),
        waiting=sum(tool["backlog_events"] + tool["parked"] for tool in stats.get("tools", {}).values()),
    )


def _changed(events: Sequence[Mapping[str, Any]], content: Callable[[Mapping[str, Any]], str]) -> frozenset[str]:
    contents: dict[str, set[str]] = {}
    for event in events:
        contents.setdefault(event["id"], set()).add(content({**event, "recorded": "", "timestamp": ""}))
    return frozenset(ident for ident, known in contents.items() if len(known) > 1)
