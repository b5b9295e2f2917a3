"""The demo: its whole run as a newcomer starts it, and every way in which it can say that a promise was not kept."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from eventmw.demo import table
from eventmw.demo.kill import EVENTS
from eventmw.demo.ordeal import Ordeal, facts
from eventmw.demo.ordeal import troubles as troubles_of
from eventmw.demo.play import SITES, Moods, arrivals_of, ask, fetched
from eventmw.demo.servers import UVICORN, NotStarted, Server, running
from eventmw.demo.story import Step, story
from eventmw.demo.verdict import Answer, Page, Told, Visit, rows, told, total, troubles
from eventmw.vendor import RESET, Arrival, Vendor
from tests.eventbunker import REPAIRED, SEED

ROOT = Path(__file__).parent.parent
STORY = story()
RUN_S = 100.0
COMMAND = [sys.executable, "-c", "from eventmw.cli.demo import demo; demo()"]


def environ(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "FORCE_COLOR"}}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def run(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
    # Without a terminal on any stream, so that the width is that of a pipe wherever the tests run.
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        env=environ(**more),
        check=False,
    )


# The whole run


@pytest.fixture(scope="module")
def whole() -> subprocess.CompletedProcess[str]:
    return run(*COMMAND)


def test_every_promise_is_kept(whole: subprocess.CompletedProcess[str]) -> None:
    assert whole.returncode == 0, whole.stdout + whole.stderr
    promises = 3 * (sum(len(step.promises) for step in STORY) + 4) + len(facts(kept_ordeal()))
    assert f"All {promises} promises were kept." in whole.stdout
    told = re.findall(r"^  (acknowledged|delivered|lost|duplicates) +(\d+) ✓", whole.stdout, re.MULTILINE)
    assert dict(told[:3]) == {"acknowledged": str(EVENTS), "delivered": str(EVENTS), "lost": "0"}
    assert (
        "24 events accepted: the vendor that is well had each once, the two that fail had theirs again until they took it (39 arrivals in all). 3 duplicates were not sent again; 18 events and requests were refused"
        in " ".join(whole.stdout.split())
    )
    assert "✗" not in whole.stdout.replace("✗ one that was not", "")
    assert whole.stderr == ""


def test_every_event_is_in_the_table_once(whole: subprocess.CompletedProcess[str]) -> None:
    for step in STORY:
        assert whole.stdout.count(f"\n{step.title}\n") == 1 or not step.title
        for promise in step.promises:
            shown = re.findall(rf"^  {re.escape(promise.event)} +{step.status} ", whole.stdout, re.MULTILINE)
            same = [other for each in STORY for other in each.promises if other.event == promise.event]
            assert len(shown) == len(same)


def test_repeats_and_reasons_are_shown(whole: subprocess.CompletedProcess[str]) -> None:
    lines = re.sub(r" +", " ", whole.stdout)
    assert "refund issued 200 delivered at the 3rd try 3 ✓ 3 ✓ 3 ✓" in lines
    assert "plan upgraded 200 came twice, counts once by 2 ✓ 2 ✓ 2 ✓\n its id" in lines
    assert "no client 200 refused: expected the key ✓ ✓ ✓\n client, which is missing" in lines


def test_a_pipe_gets_plain_lines_of_at_most_80_columns(whole: subprocess.CompletedProcess[str]) -> None:
    assert "\x1b" not in whole.stdout
    assert max(map(len, whole.stdout.splitlines())) <= 80
    assert "sending 12 requests to Flask ...\n" in whole.stdout


def test_the_command_line_knows_it() -> None:
    shown = run(sys.executable, "-m", "eventmw", "demo", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "--serve" in shown.stdout


# What keeps it from running


def test_missing_packages_are_named_with_what_to_do() -> None:
    without = (
        "import sys; sys.modules['flask'] = sys.modules['uvicorn'] = None; from eventmw.cli.demo import demo; demo()"
    )
    shown = run(sys.executable, "-c", without)

    assert shown.returncode == 2
    assert shown.stderr == (
        "The demo needs flask, uvicorn, which are in eventmw's extra 'demo'. "
        "Install them with: pip install flask uvicorn\n"
    )
    assert shown.stdout == ""


def test_a_site_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "django").mkdir()
    (tmp_path / "django" / "__init__.py").write_text("raise RuntimeError('this Django is broken')\n")
    shown = run(*COMMAND, PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")

    assert shown.returncode == 1
    assert "the server django-wrapped ended with status" in shown.stderr
    assert "this Django is broken" in shown.stderr


def test_servers_end_when_one_does_not_start(tmp_path: Path) -> None:
    site = ("eventmw.demo.fastapi_site:site",)
    with (
        pytest.raises(NotStarted, match=r"the server broken ended with status (.|\n)*no_such_module"),
        running({"good": (*UVICORN, *site), "broken": (*UVICORN, "no_such_module:app")}, tmp_path, {}),
    ):
        raise AssertionError("it must not come this far")
    port = re.search(r"127\.0\.0\.1:(\d+)", (tmp_path / "good" / "log").read_text())
    assert port is None or not listens(int(port[1]))


# --serve


@contextmanager
def serving(**more: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[str], str]]]:
    """Run ``demo --serve``; gives the process, and what waits for a line of its output and returns it."""
    process = subprocess.Popen(
        [*COMMAND[:-1], COMMAND[-1].replace("demo()", "demo(['--serve'])")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environ(**more),
    )
    assert process.stdout is not None
    output = process.stdout

    def line_with(text: str) -> str:
        return next(line for line in output if text in line)

    try:
        yield process, line_with
    finally:
        process.kill()
        process.wait()
        output.close()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2.0).close()
    except OSError:
        return False
    return True


def test_serve_stays_up_shows_arrivals_and_ends_by_ctrl_c() -> None:
    with serving() as (process, line_with):
        urls = [line_with(f"  {site.name} ").split()[1] for site in SITES]
        command = line_with("curl -i").strip()
        answered = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=20, check=True)
        stats = run(sys.executable, "-m", *shlex.split(line_with("eventmw stats")))
        assert "steady" in stats.stdout, stats.stderr
        line_with("What comes to the vendor:")
        came = line_with("my event")
        assert json.loads(answered.stdout.splitlines()[-1])["receipt"]["id"] in came
        assert came.startswith('  flask, steady: "my event" {"value":"200"} id ')
        ports = [int(url.rstrip("/").rpartition(":")[2]) for url in urls]
        assert all(map(listens, ports))

        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert not any(map(listens, ports))


def test_sigterm_stops_the_servers() -> None:
    with serving() as (process, line_with):
        ports = [int(line_with(f"  {site.name} ").split()[1].rstrip("/").rpartition(":")[2]) for site in SITES]

        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
        assert not any(map(listens, ports))


def test_ctrl_c_during_the_story_stops_the_servers(tmp_path: Path) -> None:
    with serving(TMPDIR=str(tmp_path)) as (process, line_with):
        line_with("sending")
        [folder] = tmp_path.glob("eventmw-demo-*")
        logs = [log.read_text() for log in folder.glob("*/log")]
        ports = [int(found[1]) for log in logs if (found := re.search(r"127\.0\.0\.1:(\d+)", log))]
        assert len(ports) == 7

        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1
        assert not any(map(listens, ports))
    assert not list(tmp_path.iterdir())


# What happened against what was promised


def answer_to(number: int, step: Step) -> Answer:
    """Return the answer that keeps every promise of a step."""
    if step.status != 200:
        [promise] = step.promises
        return Answer(step.status, json.dumps({"code": promise.code, "detail": "Expected more."}).encode())
    entries: list[dict[str, Any]] = []
    for index, promise in enumerate(step.promises):
        ident = "order-1001" if promise.event.startswith("order-1001") else f"{number}-{index}"
        entry = {"index": index, "id": ident, "status": "accepted"}
        if promise.fate == "duplicate":
            entry["status"] = "duplicate"
        if promise.fate == "refused":
            entry |= {"status": "invalid", "code": promise.code, "message": "expected more"}
        entries.append(entry)
    results = [{"fetch": [1], "execute": ["x"], "return": {"a": 1}, "cookies": {"c": {}}} for _ in entries]
    return Answer(200, json.dumps({"results": results, "receipt": {"events": entries}}).encode())


def kept_visit() -> Visit:
    """Return a site at which everything happened as promised."""
    answers = [answer_to(number, step) for number, step in enumerate(STORY)]
    arrivals: dict[str, dict[str, int]] = {"steady": {}, "failing": {}, "forgetful": {}}
    accepted = 0
    for step, answer in zip(STORY, answers, strict=True):
        for promise, said in zip(step.promises, told(answer, len(step.promises)), strict=True):
            accepted += said.fate != "refused"
            if promise.fate == "delivered":
                arrivals["steady"][said.id] = 1
                arrivals[promise.vendor][said.id] = promise.arrivals
    stats = {"tools": {name: standing(delivered=accepted) for name in ("steady", "failing")}}
    return Visit(site="Flask", answers=answers, arrivals=arrivals, pages=[Page("GET /", b"page", b"page")], stats=stats)


def standing(*, delivered: int, backlog: int = 0) -> dict[str, Any]:
    return {"outcomes": {"delivered": delivered}, "backlog_events": backlog, "parked": 0}


def trouble_of(visit: Visit) -> Sequence[str]:
    return [*troubles(rows(STORY, [visit]), [visit.site])]


def test_a_visit_that_keeps_every_promise_has_no_trouble() -> None:
    assert trouble_of(kept_visit()) == []


@given(st.integers(0, len(STORY) - 1), st.sampled_from([0, 200, 201, 400, 405, 500]), st.binary(max_size=20))
def test_another_answer_than_promised_is_trouble(number: int, status: int, body: bytes) -> None:
    visit = kept_visit()
    answers = [*visit.answers]
    answers[number] = Answer(status, body)

    found = trouble_of(replace(visit, answers=answers))
    assert any(line.startswith(f"Flask, {STORY[number].promises[0].event}: ") for line in found)


DELIVERED = [
    (number, index)
    for number, step in enumerate(STORY)
    for index, promise in enumerate(step.promises)
    if promise.fate == "delivered"
]


@given(st.sampled_from(DELIVERED), st.integers(0, 5))
def test_another_number_of_arrivals_than_promised_is_trouble(place: tuple[int, int], arrived: int) -> None:
    visit = kept_visit()
    number, index = place
    promise = STORY[number].promises[index]
    said = told(visit.answers[number], len(STORY[number].promises))[index]
    side = {**visit.arrivals[promise.vendor], said.id: arrived}

    found = trouble_of(replace(visit, arrivals={**visit.arrivals, promise.vendor: side}))
    assert bool(found) == (arrived != promise.arrivals)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"pages": [Page("GET /", b"page!", b"page")]}, "pages: GET / differed"),
        ({"pages": [Page("GET /", b"", b"")]}, "pages: GET / differed"),
        ({"pages": []}, "pages: none was compared"),
        ({"stats": {}}, "outcomes: 0 were promised, 0 were counted"),
        ({"stats": {"tools": {"steady": standing(delivered=8)}}}, "outcomes: 9 were promised, 8 were counted"),
        ({"stats": {"tools": {"steady": standing(delivered=9, backlog=1)}}}, "and 1 events still wait"),
    ],
)
def test_what_is_promised_of_a_site_is_looked_at(changed: Mapping[str, Any], words: str) -> None:
    [found] = trouble_of(replace(kept_visit(), **changed))
    assert words in found


def test_an_event_at_the_vendor_that_should_not_be_there_is_trouble() -> None:
    visit = kept_visit()
    steady = {**visit.arrivals["steady"], "stranger": 1}

    [found] = trouble_of(replace(visit, arrivals={**visit.arrivals, "steady": steady}))
    assert found == "Flask, events at the vendor: 0 of 8 are missing, and 1 came that should not have"


@pytest.mark.parametrize("key", ["fetch", "execute", "return", "cookies"])
def test_a_result_object_without_one_of_its_keys_is_trouble(key: str) -> None:
    visit = kept_visit()
    answers = [Answer(answer.status, answer.body.replace(f'"{key}": '.encode(), b'"": ')) for answer in visit.answers]

    assert trouble_of(replace(visit, answers=answers)) == [f"Flask, Result Object: {key} held nothing"]


def test_a_request_without_an_answer_is_told_as_such() -> None:
    visit = kept_visit()
    found = trouble_of(replace(visit, answers=[Answer(0, b"Connection refused"), *visit.answers[1:]]))

    assert "Flask, transaction successful: HTTP 200 was promised, and there was no answer: Connection refused" in found


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_an_answer_is_read_whatever_it_holds(body: bytes) -> None:
    for status in (200, 400):
        read = told(Answer(status, body), 2)
        assert [said.fate for said in read] == ["refused", "refused"]
        assert all(isinstance(said, Told) for said in read)


# The output


def shown(encoding: str, *, kept: bool) -> str:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding=encoding, write_through=True), width=80, highlight=False)
    visit = kept_visit() if kept else replace(kept_visit(), pages=[])
    lines = rows(STORY, [visit, visit])
    sites = ["Flask", "Django"]
    table.introduce(console, SITES)
    table.show(console, lines, sites)
    table.conclude(console, total(STORY, [visit, visit]), len(lines) * 2, [*troubles(lines, sites)])
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "1 ✓"), ("ascii", "1 ok")])
def test_the_table_is_readable_in_every_encoding(encoding: str, mark: str) -> None:
    text = shown(encoding, kept=True)
    assert mark in text
    assert f"All {len(rows(STORY, [kept_visit()])) * 2} promises were kept." in text


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", "0 ✗"), ("ascii", "0 NO")])
def test_promises_that_were_not_kept_are_named(encoding: str, mark: str) -> None:
    text = shown(encoding, kept=False)
    assert mark in text
    assert "2 of 38 promises were NOT kept:" in text
    assert "  Django, pages: none was compared" in text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_progress_on_a_terminal_draws_and_leaves_nothing_behind(encoding: str) -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    with table.progress(Console(file=file, force_terminal=True, width=80), 2) as tell:
        tell("starting")
        tell("sending [bold] things")
    drawn = raw.getvalue().decode(encoding)
    assert "sending [bold] things ..." in drawn
    assert drawn.endswith("\x1b[2K")  # the line is erased


# The parts


def test_the_vendors_moods() -> None:
    answer = Moods()
    asked = [arrival(f"/{site}/{side}") for site in ("a", "b") for side in ("steady", "failing", "forgetful") * 3]
    given_ = [answer(each) for each in asked]
    assert given_ == [200, 500, RESET, 200, 500, 200, 200, 200, 200] * 2


def arrival(path: str, *ids: str) -> Arrival:
    body = json.dumps({"events": [{"id": ident} for ident in ids]}).encode()
    return Arrival(method="POST", path=path, headers={}, body=body, at_s=0.0)


def test_arrivals_are_counted_for_each_site_side_and_event() -> None:
    came = [arrival("/flask/steady", "a", "b"), arrival("/flask/steady", "a"), arrival("/django/steady", "c")]
    came.append(arrival("/flask/failing", "b"))
    assert arrivals_of(came, "flask") == {"steady": {"a": 2, "b": 1}, "failing": {"b": 1}}


def test_a_page_is_fetched_as_bytes_but_for_its_date() -> None:
    with Vendor() as vendor:
        server = Server(int(vendor.url.rpartition(":")[2]), 0, Path())
        page = fetched(server, b"POST /x HTTP/1.1\r\n", b"item=tea")
        assert vendor.arrivals[0].body == b"item=tea"
    assert page.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"date" not in page.lower()
    assert b"\r\nServer: " in page


def test_a_server_that_is_gone_gives_no_page_and_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(taken.getsockname()[1], 0, Path())
    assert fetched(server, b"GET / HTTP/1.1\r\n", b"") == b""
    assert ask(server, "GET", "/", b"").status == 0


def test_servers_take_no_settings_from_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    monkeypatch.setenv("EVENTMW_STRICT", "nonsense")
    with running({"one": (*UVICORN, "eventmw.demo.fastapi_site:application")}, tmp_path, {}) as servers:
        deadline_s = time.monotonic() + 10
        assert ask(servers["one"], "GET", "/", b"").status == 200
        assert time.monotonic() < deadline_s
    assert "parent process" not in (tmp_path / "one" / "log").read_text()


def test_the_story_sends_the_payloads_of_both_pages() -> None:
    bodies = [step.body for step in STORY]
    assert b'{"events": [{"client": {"__zarazTrack": "transaction successful", "value": "200"}}]}' in bodies
    tracked = [step.body for step in STORY if step.api == "track"]
    assert tracked == [SEED, REPAIRED]
    assert any(b'"system": {"page": {"url": "https://example.com"' in body for body in bodies)


# The site that is killed


def kept_ordeal() -> Ordeal:
    return Ordeal(
        sent=("a", "b", "c"),
        acknowledged=frozenset("abc"),
        again=4,
        taken={"a": 1, "b": 3, "c": 1},
        changed=frozenset(),
        waiting=0,
    )


def test_an_ordeal_in_which_all_was_kept_has_no_trouble() -> None:
    ordeal = kept_ordeal()
    assert [*troubles_of(ordeal)] == []
    assert [(fact.label, fact.number) for fact in facts(ordeal)] == [
        ("acknowledged", 3),
        ("delivered", 3),
        ("lost", 0),
        ("duplicates", 2),
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"acknowledged": frozenset("ab")}, "acknowledged: 1 of 3 were never answered with 200"),
        ({"taken": {"a": 1, "b": 1}, "waiting": 1}, "lost: 1 acknowledged events did not come to the vendor; the journal holds 1"),
        ({"taken": {"a": 1, "b": 1, "c": 1, "x": 1}}, "delivered: 1 came that nobody sent"),
        ({"changed": frozenset("b")}, "duplicates: 1 came again with another content"),
    ],
)  # fmt: skip
def test_an_ordeal_that_breaks_a_promise_is_trouble(changed: Mapping[str, Any], words: str) -> None:
    (trouble,) = troubles_of(replace(kept_ordeal(), **changed))
    assert trouble.startswith(f"killed and restarted, {words}")


def test_what_the_vendor_takes_is_counted_and_what_it_refuses_is_not() -> None:
    moods = Moods()
    assert moods(arrival("/restarted/away", "a")) == 200
    moods.away = True
    assert moods(arrival("/restarted/away", "b")) == 503
    moods.away = False
    assert moods(arrival("/restarted/away", "a", "b")) == 200
    assert [event["id"] for event in moods.taken] == ["a", "a", "b"]


@pytest.mark.parametrize(("trouble", "mark"), [("", "ok"), ("gone", "NO")])
def test_an_ordeal_is_shown_within_80_columns(trouble: str, mark: str) -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii", write_through=True), width=80)
    table.show_ordeal(console, 1234, [replace(fact, trouble=trouble) for fact in facts(kept_ordeal())])
    lines = raw.getvalue().decode().splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert any(re.match(rf"  acknowledged +3 {mark} of 3 sent", line) for line in lines)
