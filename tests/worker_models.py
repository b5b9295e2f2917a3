"""Worker models under load: each is stopped while events come in, started again, and then every event is accounted for.

``python -m tests.worker_models [NAME …]`` prints the figures of docs/workers.md.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from eventmw.journal.files import heartbeat
from eventmw.journal.files.heartbeat import Heartbeat
from eventmw.journal.files.layout import Layout
from eventmw.testing import Vendor
from eventmw.vendor import Answer
from tests.servers import ROOT, Kind, Server, running
from tests.sites.delivering import PATH

CONNECTIONS = 6
LOAD_S = 0.8
LEAST = 100
STOP_S = 30.0
DRAIN_S = 30.0
QUIET_S = 0.5
VENDOR_S = 0.02


@dataclass(frozen=True, slots=True)
class Model:
    """One way to run a site.

    Attributes:
        kind: how it is started.
        processes: how many processes may deliver, one after another.
        orderly: they end as Python programs do, and are given the time for it.
        kill_after_s: seconds after SIGTERM at which all of them are killed; None: never.
    """

    kind: Kind
    processes: int = 1
    orderly: bool = True
    kill_after_s: float | None = None

    @property
    def name(self) -> str:
        return self.kind.name


_UVICORN = ("uvicorn", "{app}:app", "--host=127.0.0.1", "--port={port}", "--log-level=warning")
_GUNICORN = ("gunicorn", "{app}:app", "--bind=127.0.0.1:{port}", "--log-level=warning", "--workers=2")
# Without a limit granian waits for ever for a worker that was told to end while it began, which a busy machine showed once.
_GRANIAN = (
    *("granian", "{app}:app", "--host=127.0.0.1", "--port={port}", "--log-level=warning"),
    *("--workers=2", "--workers-kill-timeout=10"),
)
_UWSGI = ("tests.sites.uwsgi_server", "--http-socket=127.0.0.1:{port}", "--module={app}:app")
MODELS = {
    model.name: model
    for model in (
        Model(Kind("uvicorn, 1 worker", "asgi", _UVICORN)),
        Model(Kind("uvicorn, 4 workers", "asgi", (*_UVICORN, "--workers=4")), processes=4),
        Model(Kind("gunicorn sync", "wsgi", _GUNICORN), processes=2),
        Model(Kind("gunicorn gthread", "wsgi", (*_GUNICORN, "--worker-class=gthread", "--threads=4")), processes=2),
        Model(Kind("gunicorn --preload", "wsgi", (*_GUNICORN, "--preload")), processes=3),
        Model(Kind("granian ASGI", "asgi", (*_GRANIAN, "--interface=asgi")), processes=2),
        Model(Kind("granian WSGI", "wsgi", (*_GRANIAN, "--interface=wsgi", "--blocking-threads=4")), processes=2),
        Model(
            Kind(
                "hypercorn",
                "asgi",
                ("hypercorn", "{app}:app", "--bind=127.0.0.1:{port}", "--log-level=warning", "--workers=2"),
            ),
            processes=2,
        ),
        Model(Kind("daphne", "asgi", ("daphne", "--bind=127.0.0.1", "--port={port}", "{app}:app")), orderly=False),
        Model(Kind("gunicorn gevent", "wsgi", (*_GUNICORN, "--worker-class=gevent")), processes=2),
        Model(
            Kind("gunicorn gevent --preload", "wsgi", (*_GUNICORN, "--worker-class=gevent", "--preload")), processes=3
        ),
        Model(Kind("eventlet", "wsgi", ("tests.sites.eventlet_server", "{port}", "{app}")), orderly=False),
        Model(Kind("uWSGI", "wsgi", (*_UWSGI, "--processes=2")), processes=3, orderly=False),
        Model(Kind("uWSGI --lazy-apps", "wsgi", (*_UWSGI, "--processes=2", "--lazy-apps")), processes=2, orderly=False),
        Model(Kind("uWSGI --threads", "wsgi", (*_UWSGI, "--processes=2", "--threads=4")), processes=3, orderly=False),
        Model(Kind("waitress", "wsgi", ("waitress", "--listen=127.0.0.1:{port}", "{app}:app")), orderly=False),
        Model(Kind("fork after import", "wsgi", ("tests.sites.forking", "{port}")), processes=3, orderly=False),
        Model(
            Kind("fork after a request", "wsgi", ("tests.sites.forking", "{port}", "used")),
            processes=3,
            orderly=False,
        ),
        Model(
            Kind("SIGTERM, then SIGKILL", "asgi", (*_UVICORN, "--workers=4")),
            processes=4,
            orderly=False,
            kill_after_s=0.05,
        ),
    )
}


LEFT = "this process ends before its events are delivered"
"""What a parent that tracked an event and serves nothing says at its end: the next start delivers."""


@dataclass(slots=True)
class Sent:
    """What became of each event that was sent, as its sender knows."""

    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def merge(self, other: Sent) -> None:
        self.acknowledged |= other.acknowledged
        self.refused |= other.refused
        self.unknown |= other.unknown


class Sender(threading.Thread):
    """Sends one event after another over one connection, until nobody listens or it is told to stop."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name=name, daemon=True)
        self.sent = Sent()
        self.stopping = threading.Event()
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            number += 1
            ident = f"{self.name}-{number}"
            try:
                self._connection.connect() if self._connection.sock is None else None
            except OSError:
                time.sleep(0.01)  # nothing was sent: nobody listens
                continue
            self.becomes(ident).add(ident)
        self._connection.close()

    def becomes(self, ident: str) -> set[str]:
        event = {"client": {"__zarazTrack": "load", "said": ident}, "eventmw": {"id": ident}}
        try:
            self._connection.request("POST", PATH, json.dumps({"events": [event]}))
            with self._connection.getresponse() as reply:
                reply.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return self.sent.unknown
        return self.sent.acknowledged if reply.status == 200 else self.sent.refused


class Figures(NamedTuple):
    """What a model did.

    ``repeated`` counts arrivals that were not the first of their event; ``changed`` the events that arrived differently.
    """

    acknowledged: int
    refused: int
    unknown: int
    lost: int
    phantom: int
    repeated: int
    changed: int
    stop_s: float
    leader: str
    errors: list[str]


def measure(model: Model, folder: Path) -> Figures:
    """Run a model: load, stop under load, start again, drain."""
    with Vendor(Answer(after_s=VENDOR_S)) as vendor:
        environment = {"VENDOR": vendor.url, "DATA_DIR": str(folder / "data")}
        app = f"tests.sites.delivering_{model.kind.interface}"
        with running(model.kind, folder, app=app, **environment) as server:
            senders = [Sender(f"{number}", server.port) for number in range(CONNECTIONS)]
            for sender in senders:
                sender.start()
            leader = _under_load(senders, server, folder / "data")
            stop_s = _stop(server, model.kill_after_s)
            sent = Sent()
            for sender in senders:
                sender.stopping.set()
            for sender in senders:
                sender.join(STOP_S)
                sent.merge(sender.sent)
        with running(model.kind, folder, app=app, **environment) as again:
            _drain(vendor, sent.acknowledged)
            _stop(again, None)
        arrived = _arrived(vendor)
        logs = [log.read_text(errors="replace") for log in folder.glob("*.log")]
    return Figures(
        acknowledged=len(sent.acknowledged),
        refused=len(sent.refused),
        unknown=len(sent.unknown),
        lost=len(sent.acknowledged - arrived.keys()),
        phantom=len(arrived.keys() - sent.acknowledged - sent.unknown - sent.refused - {"parent"}),
        repeated=sum(sum(bodies.values()) - 1 for bodies in arrived.values()),
        changed=sum(len(bodies) > 1 for bodies in arrived.values()),
        stop_s=stop_s,
        leader=leader,
        errors=[
            line
            for log in logs
            for line in log.splitlines()
            if ("Traceback" in line or "eventmw" in _pathless(line)) and LEFT not in line
        ],
    )


def _pathless(line: str) -> str:
    """Return a line without the paths of this checkout, which uWSGI prints when it starts."""
    return line.replace(sys.prefix, "").replace(str(ROOT), "")


def _under_load(senders: list[Sender], server: Server, data: Path) -> str:
    """Let the load go on for its time, and until enough came in; return which process delivers meanwhile."""
    over_s = time.monotonic() + LOAD_S
    enough_s = time.monotonic() + DRAIN_S
    leader: Heartbeat | None = None
    while time.monotonic() < enough_s:
        leader = heartbeat.read(Layout(data))
        came = sum(len(sender.sent.acknowledged) for sender in senders)
        if leader is not None and came >= LEAST and time.monotonic() > over_s:
            break
        time.sleep(0.02)
    if leader is None:
        return "nobody"
    return "the process" if leader.pid == server.process.pid else "a worker"


def _stop(server: Server, kill_after_s: float | None) -> float:
    """End a server by SIGTERM; return how long it took until all of its processes were gone."""
    begun_s = time.monotonic()
    server.process.terminate()
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)  # it leads its own session
    server.process.wait(STOP_S)
    while _living(server.process.pid):
        assert time.monotonic() - begun_s < STOP_S, "a worker outlives its server"
        time.sleep(0.005)
    return time.monotonic() - begun_s


def _living(session: int) -> list[int]:
    """Return the processes of a session that run. Source: proc(5), /proc/pid/stat."""
    living: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _parent, _group, own, *_ = stat.read_text().rpartition(") ")[2].split()
            if int(own) == session and state not in "ZX":
                living.append(int(stat.parent.name))
    return living


def _arrived(vendor: Vendor) -> dict[str, Counter[str]]:
    """Return each event that arrived: its id → how often it came, by what it said."""
    arrived: dict[str, Counter[str]] = defaultdict(Counter)
    for arrival in list(vendor.arrivals):
        for event in json.loads(arrival.body)["events"]:
            arrived[event["id"]][json.dumps(event, sort_keys=True)] += 1
    return arrived


def _drain(vendor: Vendor, wanted: set[str]) -> None:
    """Wait until all of it has arrived, and nothing more comes; or, when something is lost, until it has had its time."""
    deadline_s = time.monotonic() + DRAIN_S
    seen, since_s = -1, time.monotonic()
    while time.monotonic() < deadline_s:
        if len(vendor.arrivals) != seen:
            seen, since_s = len(vendor.arrivals), time.monotonic()
        elif time.monotonic() - since_s > QUIET_S and wanted <= _arrived(vendor).keys():
            return
        time.sleep(0.05)


def main(*names: str) -> None:
    print("| model | delivers | acknowledged | lost | unknown | repeated | time to stop |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name in names or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            found: Any = measure(MODELS[name], Path(folder))
        print(
            f"| {name} | {found.leader} | {found.acknowledged} | {found.lost} | {found.unknown} | {found.repeated} | "
            f"{found.stop_s:.2f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
