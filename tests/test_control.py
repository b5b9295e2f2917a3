"""The control channel: real sockets, real processes, a real fork."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from eventmw.control.live import LiveView, Unanswered, ask
from eventmw.control.server import ControlServer
from eventmw.control.sockets import connected, folder_of, found, is_answered, pid_of, prepare
from eventmw.control.view import NobodyLive
from eventmw.errors import InvalidEvent, JournalDown, JournalFull
from tests.running import ROOT, environment, serving, until

LONG = "a-folder-with-a-very-long-name-as-deployments-have-them/" * 4


class Echo:
    """Answers with what it is asked; some questions make it fail."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.hold = threading.Event()

    def __call__(self, request: Mapping[str, Any]) -> Iterable[Any]:
        self.asked.append(request)
        if request["op"] == "unknown-at-once":
            raise LookupError("no tool")
        yield request
        match request["op"]:
            case "invalid":
                raise InvalidEvent("expected text")
            case "full":
                raise JournalFull("no room")
            case "down":
                raise JournalDown("away")
            case "unknown":
                raise LookupError("no tool")
            case "bug":
                raise KeyError("secret detail")
            case "hold":
                self.hold.wait(30)


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.hold.set()


@pytest.fixture
def server(tmp_path: Path, echo: Echo) -> Iterator[ControlServer]:
    server = ControlServer(tmp_path, echo)
    server.start()
    yield server
    server.close()
    until(lambda: not found(folder_of(tmp_path)))


def only(data_dir: Path) -> Path:
    (path,) = until(lambda: [path for path in found(folder_of(data_dir)) if is_answered(path)])
    return path


def test_an_answer_has_the_items_and_an_end(server: ControlServer, tmp_path: Path) -> None:
    path = only(tmp_path)
    assert pid_of(path) == os.getpid()
    assert list(ask(path, {"op": "x", "n": 10**30})) == [{"op": "x", "n": 10**30}]


@pytest.mark.parametrize(
    ("op", "error"),
    [("invalid", InvalidEvent), ("full", JournalFull), ("down", JournalDown), ("unknown", LookupError)],
)
def test_errors_are_the_same_on_both_sides(
    server: ControlServer, tmp_path: Path, op: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"expected text|no room|away|no tool"):
        list(ask(only(tmp_path), {"op": op}))


def test_a_bug_is_logged_at_the_site_and_tells_the_command_nothing_of_it(
    server: ControlServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.ERROR, "eventmw.control.server"),
        pytest.raises(Unanswered, match="KeyError") as raised,
    ):
        list(ask(only(tmp_path), {"op": "bug"}))
    assert "secret" not in str(raised.value)
    assert "a command failed" in caplog.text


@pytest.mark.parametrize("line", [b"not json\n", b"\n", b"[]\n", b"{}\n", b'{"op": "x"'])
def test_rubbish_is_answered_and_ends_nothing(server: ControlServer, tmp_path: Path, line: bytes) -> None:
    path = only(tmp_path)
    with connected(path, 10) as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as lines:
            assert "error" in json.loads(lines.read().splitlines()[-1])
    assert list(ask(path, {"op": "x"})) == [{"op": "x"}]


def test_one_that_is_slow_does_not_hold_up_others(server: ControlServer, tmp_path: Path, echo: Echo) -> None:
    path = only(tmp_path)
    slow = ask(path, {"op": "hold"})
    assert next(slow) == {"op": "hold"}
    assert list(ask(path, {"op": "x"})) == [{"op": "x"}]
    echo.hold.set()
    assert list(slow) == []


def test_more_than_it_serves_at_once_wait_their_turn(server: ControlServer, tmp_path: Path, echo: Echo) -> None:
    path = only(tmp_path)
    held = [ask(path, {"op": "hold"}) for _ in range(16)]
    for answer in held:
        next(answer)
    last: list[Any] = []
    waiting = threading.Thread(target=lambda: last.extend(ask(path, {"op": "x"}, 30)))
    waiting.start()
    echo.hold.set()
    waiting.join(30)
    assert last == [{"op": "x"}]
    assert all(list(answer) == [] for answer in held)


def test_only_this_user_may_enter_the_folder(tmp_path: Path, echo: Echo) -> None:
    data_dir = tmp_path / "data"
    (data_dir / "live").mkdir(parents=True, mode=0o755)
    server = ControlServer(data_dir, echo)
    server.start()
    only(data_dir)
    assert stat.S_IMODE((data_dir / "live").stat().st_mode) == 0o700
    server.close()


def test_a_new_data_directory_is_closed_to_others(tmp_path: Path) -> None:
    prepare(folder_of(tmp_path / "new"))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_data_directory_with_a_long_name(tmp_path: Path, echo: Echo) -> None:
    data_dir = tmp_path / LONG
    assert len(os.fsencode(data_dir)) > 200
    server = ControlServer(data_dir, echo)
    server.start()
    path = only(data_dir)
    assert path.is_socket()
    assert list(ask(path, {"op": "x"})) == [{"op": "x"}]
    server.close()
    until(lambda: not path.exists())


def test_two_sites_of_one_process_have_a_socket_each(tmp_path: Path) -> None:
    echoes = [Echo(), Echo()]
    servers = [ControlServer(tmp_path, echo) for echo in echoes]
    for server in servers:
        server.start()
        server.start()
    paths = until(lambda: found(folder_of(tmp_path)) if len(found(folder_of(tmp_path))) == 2 else None)
    assert {path.name for path in paths} == {f"{os.getpid()}.sock", f"{os.getpid()}-1.sock"}
    for path in paths:
        assert until(partial(is_answered, path))
        list(ask(path, {"op": "x"}))
    assert [len(echo.asked) for echo in echoes] == [1, 1]
    for server in servers:
        server.close()
    until(lambda: not found(folder_of(tmp_path)))


def test_no_socket_is_a_warning_and_nothing_more(tmp_path: Path, echo: Echo, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    server = ControlServer(tmp_path / "file", echo)
    with caplog.at_level(logging.WARNING, "eventmw.control.server"):
        server.start()
        until(lambda: caplog.records)
        server.start()
    assert "cannot reach this process" in caplog.text
    assert len(caplog.records) == 1
    server.close()


def test_sockets_of_dead_processes_are_taken_away(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    prepare(folder)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours, theirs = folder / f"{os.getpid()}.sock", folder / f"{dead.pid}.sock"
    for path in (ours, theirs):
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(path))
    assert found(folder) == [ours], "the process lives, so its socket may be about to be listened on"
    with pytest.raises(NobodyLive):
        LiveView(tmp_path).stats()


def left_behind(data_dir: Path, number: int) -> Path:
    """Return the socket of a dead process whose id is now another's; it is older than any that is being made."""
    path = folder_of(data_dir) / f"{os.getpid()}-{number}.sock"
    prepare(path.parent)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    os.utime(path, (1, 1))
    return path


def test_a_dead_socket_whose_process_id_came_again_hides_nobody_and_goes(server: ControlServer, tmp_path: Path) -> None:
    only(tmp_path)
    for ask_view in (
        lambda view: list(view.one()({"op": "x"})),
        lambda view: list(view.export()),
        lambda view: view._ask_all(lambda _: {"op": "x"}),
    ):
        dead = left_behind(tmp_path, 9)
        view = LiveView(tmp_path)
        assert len(ask_view(view)) == 1
        assert view.notes == ()
        assert not dead.exists()


def test_one_that_hangs_or_knows_less_is_passed_over(server: ControlServer, tmp_path: Path) -> None:
    only(tmp_path)
    folder = folder_of(tmp_path)
    with socket.socket(socket.AF_UNIX) as hangs:
        hangs.bind(str(folder / f"{os.getpid()}-8.sock"))
        hangs.listen()
        os.utime(folder / f"{os.getpid()}-8.sock", (1, 1))
        older = ControlServer(tmp_path, Echo())
        older.start()
        until(lambda: older.path)
        view = LiveView(tmp_path, timeout_s=0.3)
        assert found(folder)[0].name.endswith("-8.sock")
        ask_one = view.one()
        assert list(ask_one({"op": "x"})) == [{"op": "x"}]
        assert view.notes == (f"process {os.getpid()} does not answer: it is stopped, or hangs",)
        assert list(ask_one({"op": "y"})) == [{"op": "y"}]
        assert len(view.notes) == 1, "who hangs is asked once"
        with pytest.raises(LookupError):
            list(view.one()({"op": "unknown-at-once"}))
        assert len(list(view.export())) == 2
        older.close()
    (folder / f"{os.getpid()}-8.sock").unlink()


def test_a_server_takes_the_place_of_a_dead_one_with_its_process_id(tmp_path: Path, echo: Echo) -> None:
    folder = folder_of(tmp_path)
    prepare(folder)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(folder / f"{os.getpid()}.sock"))
    server = ControlServer(tmp_path, echo)
    server.start()
    assert only(tmp_path).name == f"{os.getpid()}.sock"
    server.close()


def test_a_process_that_is_stopped_is_told_apart_from_one_that_is_gone(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        site.post("hello")
        path = site.live()
        until(lambda: is_answered(path))
        site.process.send_signal(signal.SIGSTOP)
        with pytest.raises(JournalDown, match=f"process {site.process.pid} does not answer"):
            LiveView(tmp_path, timeout_s=0.3).stats()
        site.process.send_signal(signal.SIGCONT)
        site.process.kill()
        site.process.wait()
        with pytest.raises(NobodyLive):
            LiveView(tmp_path).stats()
        assert not path.exists()


FORKING = """
import os, sys, time
from eventmw.control.server import ControlServer
from eventmw.control.sockets import folder_of, found, is_answered
data_dir = sys.argv[1]
server = ControlServer(data_dir, lambda request: [os.getpid()])
server.start()
while not [path for path in found(folder_of(data_dir)) if is_answered(path)]:
    time.sleep(0.01)
child = os.fork()
if child == 0:
    sys.stdin.readline()
    server.start()
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
time.sleep(60)
"""


def test_a_forked_child_lets_go_of_the_socket_and_starts_its_own(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKING, str(tmp_path)],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    child = int(process.stdout.readline())
    try:
        (parents,) = found(folder_of(tmp_path))
        assert list(ask(parents, {"op": "who"})) == [process.pid]
        process.kill()
        process.wait()
        # The child, as soon as it runs, holds no copy of the listening socket: nobody listens there any more.
        until(lambda: not is_answered(parents))
        process.stdin.write("go on\n")
        process.stdin.close()
        path = until(lambda: next((one for one in found(folder_of(tmp_path)) if pid_of(one) == child), None))
        until(lambda: is_answered(path))
        assert list(ask(path, {"op": "who"})) == [child]
        assert not parents.exists()
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_a_stranger_to_the_protocol_is_told_that_it_ended(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    prepare(folder)
    path = folder / f"{os.getpid()}.sock"

    def hang_up() -> None:
        connection, _ = listener.accept()
        connection.recv(100)
        connection.sendall(b'{"item": 1}\n')
        connection.close()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=hang_up)
        thread.start()
        answer = ask(path, {"op": "x"})
        assert next(answer) == 1
        with pytest.raises(Unanswered, match="in the middle"):
            next(answer)
        thread.join()
