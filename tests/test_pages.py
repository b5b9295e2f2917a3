"""Readiness and figures through both gateways and Django: who is answered, what, and that the site's pages stay its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from eventmw import HttpRequest, Limits, Send, asgi, tool, wsgi
from eventmw.control.sockets import folder_of, is_answered
from eventmw.errors import ConfigError
from eventmw.settings import complete
from eventmw.testing import RecordingTransport, deliver, record
from eventmw.watching.neighbours import heard
from tests.calls import _SCOPE, SEED, Answer, _ask, ask_asgi, ask_wsgi
from tests.gateways import Request, both
from tests.running import Site as RunningSite
from tests.running import serving, until
from tests.test_paths import _asgi_site, _wsgi_site

READY, METRICS, API = "/zaraz/ready", "/zaraz/metrics", "/zaraz/api"
KEY = "the-key-of-prometheus"
BEARER = (("authorization", f"Bearer {KEY}"),)
FIELDS = [(name.encode(), value.encode()) for name, value in BEARER]
GATEWAYS = ("asgi", "wsgi")


@tool("hook")
def hook(_: Any) -> Send:
    return Send(HttpRequest("POST", "https://vendor.example/x"))


class Driven:
    """One wrapped site, and how a request gets to it."""

    def __init__(self, gateway: str, data_dir: Path, **options: Any) -> None:
        self._gateway = gateway
        ours: dict[str, Any] = {"path": API, "metrics_path": METRICS, "metrics_key": KEY, "ready_path": READY}
        settings = {**ours, "data_dir": str(data_dir), **options}
        asgi_, wsgi_ = asgi.EventsMiddleware, wsgi.EventsMiddleware
        self.app: Any = asgi_(_asgi_site, **settings) if gateway == "asgi" else wsgi_(_wsgi_site, **settings)
        record(self.app)

    def ask(self, method: str, path: str, body: bytes = b"", headers: Any = ()) -> Answer:
        return (ask_asgi if self._gateway == "asgi" else ask_wsgi)(self.app, method, path, body, headers)

    def post(self) -> None:
        assert self.ask("POST", API, SEED).status == 200

    def figures(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return every sample: name and labels → value."""
        answer = self.ask("GET", METRICS, headers=BEARER)
        assert answer.status == 200
        samples = [
            sample for family in text_string_to_metric_families(answer.body.decode()) for sample in family.samples
        ]
        found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
        assert len(found) == len(samples), "a series stands there twice, which Prometheus refuses"
        return found


def value(figures: dict[Any, float], name: str, **labels: str) -> float:
    """Return the one sample of a name that has these labels."""
    (found,) = [
        number
        for (known, has), number in figures.items()
        if known == "eventmw_" + name and labels.items() <= dict(has).items()
    ]
    return found


@pytest.fixture(params=GATEWAYS)
def driven(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driven]:
    made = Driven(request.param, tmp_path, tools=[hook])
    yield made
    made.app.close(0)


# Readiness


def test_ready_while_the_journal_takes_events() -> None:
    with both(ready_path=READY) as pair:
        answer = pair.send(Request(method="GET", path=READY))
        assert (answer.status, answer.body) == (200, b"ready\n")
        assert answer.header("cache-control") == "no-store"
        assert answer.header("content-type") == "text/plain; charset=utf-8"
        head = pair.send(Request(method="HEAD", path=READY))
        assert (head.status, head.body, head.header("content-length")) == (200, b"", "6")


@pytest.mark.parametrize("full", [True, False])
def test_not_ready_and_why(*, full: bool) -> None:
    with both(ready_path=READY, limits=Limits(journal_bytes=300), tools=[hook]) as pair:
        assert pair.send(Request(method="GET", path=READY)).status == 200
        if full:
            for site in pair.sites:
                record(site, RecordingTransport(lambda _: 503))
            assert [pair.send(Request(body=SEED)).status for _ in range(2)] == [200, 503]
        else:
            for site in pair.sites:
                site.close(0)
        answer = pair.send(Request(method="GET", path=READY))
        assert (answer.status, answer.header("retry-after")) == (503, "5")
        words = "full until tools have delivered" if full else "closed: its process is stopping"
        assert answer.body == f"not ready: the journal is {words}\n".encode()


def test_a_journal_that_cannot_say_is_not_ready(caplog: pytest.LogCaptureFixture) -> None:
    class Mute:
        def ready(self) -> str:
            raise OSError("/a/path/that/is/nobodys/business")

    with both(ready_path=READY) as pair:
        journals = [site.runtime.journal for site in pair.sites]
        for site in pair.sites:
            site.runtime.journal = Mute()  # type: ignore[assignment]
        answer = pair.send(Request(method="GET", path=READY))
        for mute, journal in zip(pair.sites, journals, strict=True):
            mute.runtime.journal = journal
    assert (answer.status, answer.body) == (503, b"not ready: the journal cannot be asked\n")
    assert "raised OSError" in caplog.text
    assert "business" not in caplog.text


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize("path", [READY, METRICS])
def test_only_get_and_head(driven: Driven, method: str, path: str) -> None:
    answer = driven.ask(method, path, headers=BEARER)
    assert (answer.status, dict(answer.headers)["allow"]) == (405, "GET, HEAD")
    assert dict(answer.headers)["cache-control"] == "no-store"


def test_readiness_needs_no_key_where_keys_are_set() -> None:
    with both(ready_path=READY, keys=["k" * 16]) as pair:
        assert pair.send(Request(method="GET", path=READY)).status == 200


# Paths


@pytest.mark.parametrize("path", ["/ready", "/metrics", "", "/zaraz/ready/", "/zaraz"])
def test_the_sites_own_paths_stay_its_own(driven: Driven, path: str) -> None:
    if path == "" and driven._gateway == "wsgi":
        path = "/"  # a WSGI server shows no empty path here
    assert driven.ask("GET", path).body == b"the site's"


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_nothing_is_answered_that_was_not_asked_for(gateway: str, tmp_path: Path) -> None:
    bare = Driven(gateway, tmp_path, metrics_path=None, metrics_key=None, ready_path=None)
    assert {bare.ask("GET", path).status for path in (READY, METRICS)} == {404}


def test_below_a_prefix() -> None:
    settings: Any = {"ready_path": READY, "path": None}
    a, w = asgi.EventsMiddleware(_asgi_site, **settings), wsgi.EventsMiddleware(_wsgi_site, **settings)
    assert ask_asgi(a, "GET", "/ready", root_path="/zaraz").status == 200
    assert ask_asgi(a, "GET", READY, root_path="/zaraz").status == 200
    assert ask_asgi(a, "GET", "/ready", root_path="/other").status == 404
    assert ask_wsgi(w, "GET", "/", SCRIPT_NAME="/zaraz", PATH_INFO="/ready").status == 200
    assert ask_wsgi(w, "GET", "/", SCRIPT_NAME="/other", PATH_INFO="/ready").status == 404


# Who may see the figures


@pytest.mark.parametrize(
    "headers",
    [(), (("authorization", "Bearer wrong"),), (("authorization", f"Basic {KEY}"),), (("x-eventmw-key", KEY[:-1]),)],
)
def test_the_figures_need_the_key(driven: Driven, headers: Any) -> None:
    answer = driven.ask("GET", METRICS, headers=headers)
    assert answer.status == 401
    assert dict(answer.headers)["www-authenticate"] == 'Bearer realm="eventmw"'
    assert b"eventmw_" not in answer.body
    assert KEY.encode() not in answer.body


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_the_keys_of_senders_open_them_only_without_a_key_of_their_own(gateway: str, tmp_path: Path) -> None:
    sender = (("x-eventmw-key", "k" * 16),)
    own = Driven(gateway, tmp_path / "own", keys=["k" * 16])
    shared = Driven(gateway, tmp_path / "shared", keys=["k" * 16], metrics_key=None)
    assert own.ask("GET", METRICS, headers=sender).status == 401
    assert own.ask("GET", METRICS, headers=BEARER).status == 200
    assert shared.ask("GET", METRICS, headers=sender).status == 200
    assert shared.ask("GET", METRICS).status == 401


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metrics_path": METRICS}, "metrics_path needs metrics_key"),
        ({"metrics_path": "x", "metrics_key": KEY}, "metrics_path must start with /"),
        ({"ready_path": "/"}, "ready_path / is the site's own front page"),
        ({"path": API, "ready_path": API}, "must differ from each other"),
        ({"metrics_path": METRICS, "metrics_key": "short"}, "metrics_key is shorter than 16"),
        ({"metrics_path": METRICS, "metrics_key": "é" * 16}, "metrics_key must be ASCII"),
        ({"metrics_path": METRICS, "metrics_key": 5}, "metrics_key must be a text"),
        ({"logs": "loud"}, "logs must be one of 'off', 'logging', 'json'"),
    ],
)
def test_settings_that_cannot_work(settings: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        complete(settings)


def test_the_key_shows_itself_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTMW_METRICS_PATH", METRICS)
    monkeypatch.setenv("EVENTMW_METRICS_KEY", KEY)
    config = complete({})
    assert config.metrics_keys == {"metrics": KEY}
    assert KEY not in repr(config)


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r"pip install prometheus-client"):
        complete({"metrics_path": METRICS, "metrics_key": KEY})


# The figures


def test_what_is_figured(driven: Driven) -> None:
    driven.post()
    driven.post()
    driven.ask("POST", API, b"{")
    deliver(driven.app)
    found = driven.figures()
    assert value(found, "requests_total", status="200", code="") == 2
    assert value(found, "requests_total", status="400", code="invalid_json") == 1
    assert value(found, "request_duration_seconds_count") == 3
    assert value(found, "request_duration_seconds_bucket", le="+Inf") == 3
    assert [value(found, "events_total", result=result) for result in ("accepted", "rejected", "duplicate")] == [
        2,
        0,
        0,
    ]
    assert value(found, "append_duration_seconds_count") == 2
    assert value(found, "journal_ready") == 1
    assert value(found, "journal_records") == value(found, "journal_events") == 2
    assert 0 < value(found, "journal_bytes") < value(found, "journal_cap_bytes")
    assert value(found, "deliveries_total", tool="hook", status="200") == 2
    assert value(found, "delivery_duration_seconds_count", tool="hook") == 2
    assert value(found, "outcomes_total", tool="hook", outcome="delivered") == 2
    assert value(found, "outcomes_total", tool="hook", outcome="rejected") == 0
    assert value(found, "tool_backlog_events", tool="hook") == value(found, "tool_backlog_bytes", tool="hook") == 0
    assert value(found, "tool_oldest_event_age_seconds", tool="hook") == 0
    assert value(found, "tool_parked_events") == value(found, "tool_dead_letters") == 0
    assert value(found, "dead_letters_evicted_total", tool="hook") == 0
    states = {name: value(found, "tool_state", tool="hook", state=name) for name in ("flowing", "standing", "probing")}
    assert states == {"flowing": 1, "standing": 0, "probing": 0}
    assert value(found, "courier_leading") == 1
    assert value(found, "courier_lag_seconds", tool="hook") == 0
    assert value(found, "silent_processes") == 0
    assert all(name.startswith("eventmw_") for name, _ in found)
    assert all(dict(labels).get("process", str(os.getpid())).startswith(str(os.getpid())) for _, labels in found)


def test_the_first_answer_has_the_counters_that_alarms_need(driven: Driven) -> None:
    found = driven.figures()
    assert value(found, "events_total", result="accepted") == 0
    assert value(found, "outcomes_total", tool="hook", outcome="rejected") == 0
    assert value(found, "journal_ready") == 1


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_backlog_and_a_journal_that_is_full(gateway: str, tmp_path: Path) -> None:
    site = Driven(gateway, tmp_path, tools=[hook], limits=Limits(journal_bytes=400))
    record(site.app, RecordingTransport(lambda _: 503))
    answers = {site.ask("POST", API, SEED).status for _ in range(9)}
    assert answers == {200, 503}
    found = site.figures()
    assert value(found, "journal_ready") == 0
    assert value(found, "requests_total", status="503", code="journal_full") > 0
    assert value(found, "tool_backlog_events", tool="hook") > 0
    assert value(found, "tool_oldest_event_age_seconds", tool="hook") >= 0
    site.app.close(0)


def test_head_has_no_body_and_the_figures_are_never_cached(driven: Driven) -> None:
    answer = driven.ask("HEAD", METRICS, headers=BEARER)
    assert answer.status == 200
    assert dict(answer.headers)["cache-control"] == "no-store"
    assert dict(answer.headers)["content-type"].startswith("text/plain; version=")


def test_nothing_of_ours_is_in_the_registry_of_the_process(driven: Driven) -> None:
    driven.post()
    driven.figures()
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("eventmw")]


def test_figures_that_cannot_be_told(driven: Driven, caplog: pytest.LogCaptureFixture) -> None:
    driven.app.runtime.figures = None
    answer = driven.ask("GET", METRICS, headers=BEARER)
    assert (answer.status, dict(answer.headers)["retry-after"]) == (503, "5")
    assert b"Traceback" not in answer.body
    assert "the figures for Prometheus cannot be told" in caplog.text


# Several processes


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_whichever_process_is_asked_tells_for_all(gateway: str, tmp_path: Path) -> None:
    first, second = (Driven(gateway, tmp_path, tools=[hook]) for _ in range(2))
    for _ in range(3):
        first.post()
    second.post()
    until(lambda: is_shown(first) and is_shown(second))
    for asked in (first, second):
        found = asked.figures()
        by_process = {
            dict(labels)["process"]: number
            for (name, labels), number in found.items()
            if name == "eventmw_requests_total"
        }
        assert sorted(by_process.values()) == [1, 3]
        assert sum(number for (name, _), number in found.items() if name == "eventmw_journal_records") == 4
    for site in (first, second):
        site.app.close(0)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_journal_that_processes_share_is_figured_once(gateway: str, tmp_path: Path) -> None:
    first, second = (Driven(gateway, tmp_path, tools=[hook], journal="file") for _ in range(2))
    for site in (first, second, second):
        site.post()
    until(lambda: is_shown(first) and is_shown(second))

    def delivered(site: Driven) -> bool:
        found = site.figures()
        assert value(found, "journal_ready", process=site.app.runtime.socket.stem) == 1
        assert len([name for name, _ in found if name == "eventmw_journal_bytes"]) == 1
        leading = [number for (name, _), number in found.items() if name == "eventmw_courier_leading"]
        done = value(found, "outcomes_total", tool="hook", outcome="delivered")
        return sorted(leading) == [0, 1] and done == 3

    for site in (first, second):
        until(lambda site=site: delivered(site))  # type: ignore[misc]
    for site in (first, second):
        assert site.ask("GET", READY).body == b"ready\n"
        site.app.close(0)
        assert site.ask("GET", READY).status == 503


def is_shown(site: Driven) -> bool:
    path = site.app.runtime.socket
    return path is not None and is_answered(path)


def test_a_process_knows_its_own_answer(driven: Driven, tmp_path: Path) -> None:
    """Its socket may be there before it knows so."""
    driven.post()
    until(lambda: is_shown(driven))
    ident = driven.app.runtime.figures()["ident"]
    assert heard(tmp_path, None, ident) == ({}, 0)
    assert list(heard(tmp_path, None, "another").told) == [driven.app.runtime.socket.stem]
    assert heard(tmp_path, driven.app.runtime.socket, "another") == ({}, 0)


def test_a_process_that_does_not_answer_is_counted_and_waited_for_only_shortly(driven: Driven, tmp_path: Path) -> None:
    driven.post()
    until(lambda: is_shown(driven))
    silent = folder_of(tmp_path) / f"{os.getpid()}-77.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(silent))
        listener.listen(8)
        assert value(driven.figures(), "silent_processes") == 1
    silent.unlink()
    assert value(driven.figures(), "silent_processes") == 0


def test_the_figures_hold_up_no_event_loop(tmp_path: Path) -> None:
    """Another process takes its time over its figures; meanwhile the loop goes on, which is what it waits for."""
    site = Driven("asgi", tmp_path)
    site.post()
    until(lambda: is_shown(site))
    turned = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder_of(tmp_path) / f"{os.getpid()}-77.sock"))
        listener.listen(8)
        telling = threading.Thread(target=tell_when, args=(listener, turned, site.app.runtime.figures()["stats"]))
        telling.start()

        async def ask_and_turn() -> Answer:
            asked = asyncio.create_task(
                _ask(site.app, [], {**_SCOPE, "method": "GET", "path": METRICS, "headers": FIELDS})
            )
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            turned.set()
            return await asked

        answer = asyncio.run(ask_and_turn())
        listener.shutdown(socket.SHUT_RDWR)
        telling.join(10)
    assert b"eventmw_silent_processes 0.0" in answer.body
    assert f'process="{os.getpid()}-77"'.encode() in answer.body
    site.app.close(0)


def tell_when(listener: socket.socket, turned: threading.Event, stats: Any) -> None:
    """Answer each connection with figures, once the loop has turned."""
    line = json.dumps({"item": {"ident": "x", "stats": stats, "tally": {}}}).encode() + b'\n{"end":true}\n'
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                if connection.recv(1000):
                    turned.wait(10)
                    connection.sendall(line)


def test_a_forked_child_counts_for_itself(driven: Driven) -> None:
    driven.post()
    ident = driven.app.runtime.figures()["ident"]
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        told = driven.app.runtime.figures()
        os.write(writing, json.dumps([told["ident"], told["tally"]["histograms"]]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = json.loads(os.read(reading, 65536))
    os.close(reading)
    os.close(writing)
    assert told[0] != ident
    assert told[1] == []
    assert driven.app.runtime.figures()["tally"]["histograms"]


def test_real_processes_tell_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTMW_METRICS_PATH", METRICS)
    monkeypatch.setenv("EVENTMW_METRICS_KEY", KEY)
    with serving(tmp_path) as first, serving(tmp_path) as second:
        first.post("a", "b")
        second.post("c")
        first.live()
        second.live()
        both_told = {str(first.process.pid): 2.0, str(second.process.pid): 1.0}
        # On a busy machine one may take longer than the page waits, which the page says.
        until(lambda: (accepted(first), accepted(second)) == ((both_told, 0), (both_told, 0)))
        first.process.send_signal(signal.SIGSTOP)
        assert accepted(second) == ({str(second.process.pid): 1.0}, 1)
        first.process.kill()
        first.process.wait()
        until(lambda: accepted(second) == ({str(second.process.pid): 1.0}, 0))


def accepted(site: RunningSite) -> tuple[dict[str, float], int]:
    """Return how many events each process has accepted, and how many did not say."""
    request = urllib.request.Request(f"http://127.0.0.1:{site.port}{METRICS}", headers=dict(BEARER))
    with urllib.request.urlopen(request, timeout=30) as reply:
        families = {family.name: family for family in text_string_to_metric_families(reply.read().decode())}
    events = [sample for sample in families["eventmw_events"].samples if sample.labels["result"] == "accepted"]
    (silent,) = families["eventmw_silent_processes"].samples
    return {sample.labels["process"]: sample.value for sample in events}, int(silent.value)
