"""What leaves the process, against real sockets, files and threads; and the vendor that tests use."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import socket
import stat
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from eventmw.delivery.outbound import MAX_CALLS, MAX_REPLY_BYTES, Outbound
from eventmw.delivery.transport import BEHALF, TransportError
from eventmw.effects import Call, Order, Write
from eventmw.event import Event
from eventmw.http import Headers, HttpReply, HttpRequest
from eventmw.vendor import HANG, RESET, Answer, Vendor, too_many
from tests.delivering import placed

T = TypeVar("T")
EVENT = Event(id="e1", name="purchase", timestamp_ms=1, recorded_ms=1)


def using(work: Callable[[Outbound], Awaitable[T]]) -> T:
    async def main() -> T:
        outbound = Outbound()
        try:
            return await work(outbound)
        finally:
            await outbound.close()

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main())


def send(order: Order, timeout_s: float = 10.0) -> HttpReply:
    return using(lambda outbound: outbound.send(order, timeout_s=timeout_s))


def test_a_request_goes_out_as_the_tool_wrote_it() -> None:
    with Vendor(Answer(201, b"made", {"X-Made": "1"})) as vendor:
        reply = send(
            HttpRequest(
                "PUT",
                f"{vendor.url}/a%2Fb/c?sig=%7Eq%2B&x=a+b",
                (("content-type", "text/plain"), ("x-two", "1"), ("x-two", "2")),
                b"body",
            ),
        )
        (arrival,) = vendor.wait_for(1)
    assert (reply.status, reply.body, reply.headers["x-made"]) == (201, b"made", "1")
    assert (arrival.method, arrival.path, arrival.body) == ("PUT", "/a%2Fb/c?sig=%7Eq%2B&x=a+b", b"body")
    assert arrival.headers["content-type"] == "text/plain"
    assert arrival.headers["user-agent"] == "eventmw"
    assert arrival.headers["accept-encoding"] == "identity"
    assert "cookie" not in arrival.headers


def test_a_redirect_is_an_answer_and_a_cookie_is_not_kept() -> None:
    with Vendor([Answer(302, headers={"location": "/elsewhere", "set-cookie": "a=1"}), 200]) as vendor:

        async def both(outbound: Outbound) -> list[int]:
            request = HttpRequest("GET", vendor.url + "/")
            return [(await outbound.send(request, timeout_s=10)).status for _ in range(2)]

        assert using(both) == [302, 200]
        assert [arrival.path for arrival in vendor.arrivals] == ["/", "/"]
        assert "cookie" not in vendor.arrivals[1].headers


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Vendor() as vendor:
        assert send(HttpRequest("GET", vendor.url)).status == 200


def test_at_most_64_kib_of_an_answer_are_read_and_the_next_request_works() -> None:
    with Vendor([Answer(200, b"x" * 1_000_000), Answer(200, b"y" * MAX_REPLY_BYTES), 204]) as vendor:

        async def three(outbound: Outbound) -> list[HttpReply]:
            return [await outbound.send(HttpRequest("POST", vendor.url), timeout_s=10) for _ in range(3)]

        first, second, third = using(three)
    assert first.body == b"x" * MAX_REPLY_BYTES
    assert second.body == b"y" * MAX_REPLY_BYTES
    assert (third.status, third.body) == (204, b"")


def test_connections_are_kept() -> None:
    with Vendor() as vendor:

        async def many(outbound: Outbound) -> int:
            for _ in range(3):
                await outbound.send(HttpRequest("POST", vendor.url), timeout_s=10)
            connector: Any = outbound._http._session.connector
            return sum(len(kept) for kept in connector._conns.values())

        assert using(many) == 1


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


SECRET = "s3cret"


def refused_message(order: Order, timeout_s: float = 10.0) -> str:
    with pytest.raises(TransportError) as caught:
        send(order, timeout_s)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert SECRET not in str(caught.value)
    return placed(str(caught.value))


def test_no_connection_names_the_host_and_nothing_else() -> None:
    request = HttpRequest("POST", f"http://127.0.0.1:{free_port()}/{SECRET}?key={SECRET}", (("authorization", SECRET),))
    assert refused_message(request) == "no connection: 127.0.0.1"


@pytest.mark.parametrize(
    ("answer", "message"),
    [(HANG, "no answer in time: 127.0.0.1"), (RESET, "the connection was lost: 127.0.0.1")],
    ids=["hang", "reset"],
)
def test_an_answer_that_does_not_come(answer: Answer, message: str) -> None:
    with Vendor(answer) as vendor:
        assert refused_message(HttpRequest("POST", f"{vendor.url}/{SECRET}"), 0.2) == message
        assert len(vendor.wait_for(1)) == 1


def test_a_connection_has_a_time_out_of_its_own() -> None:
    """A host that takes no more connections: its queue of one is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        address = listening.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(address)
            request = HttpRequest("POST", f"http://127.0.0.1:{address[1]}/{SECRET}")
            with pytest.raises(TransportError, match=r"^no connection in time: 127\.0\.0\.1$"):
                using(lambda outbound: outbound.send(request, timeout_s=60.0, connect_timeout_s=0.2))
        finally:
            for one in waiting:
                one.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"http:///{SECRET}", "the request cannot be sent as it is: no host"),
        (f"http://[::1/{SECRET}", "the request cannot be sent as it is: no host"),
    ],
)
def test_an_address_that_is_none(url: str, message: str) -> None:
    assert refused_message(HttpRequest("POST", url)) == message


def test_a_header_that_would_be_two_is_not_sent() -> None:
    with Vendor() as vendor:
        request = HttpRequest("POST", vendor.url, (("x-a", f"1\r\nx-b: {SECRET}"),))
        assert refused_message(request) == "the request cannot be sent as it is: 127.0.0.1"
        assert vendor.arrivals == []


def test_lines_are_appended_whole_by_many_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = [b"%04d" % n * 500 + b"\n" for n in range(40)]

    async def write_all(outbound: Outbound) -> list[HttpReply]:
        return await asyncio.gather(*(outbound.send(Write(str(path), line), timeout_s=10) for line in lines))

    replies = using(write_all)
    assert [reply.status for reply in replies] == [200] * 40
    assert sorted(path.read_bytes().splitlines(keepends=True)) == lines
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_dash_is_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert send(Write("-", b"a line\n")).status == 200
    assert capfdbinary.readouterr().out == b"a line\n"


LINE = 'bought "café €5 😀"\n'


def encoded(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", 'bought "café €5 😀"'),
        ("latin-1", r'bought "café \u20ac5 \ud83d\ude00"'),
        ("ascii", r'bought "caf\u00e9 \u20ac5 \ud83d\ude00"'),
        ("cp1252", r'bought "café €5 \ud83d\ude00"'),
    ],
)
def test_a_character_that_standard_output_lacks_is_escaped(encoding: str, shown: str) -> None:
    """As JSON escapes it, so that a line of JSON stays one."""
    stream = encoded(encoding)
    with contextlib.redirect_stdout(stream):
        assert send(Write("-", LINE.encode())).status == 200
    stream.seek(0)
    assert stream.read() == shown + "\n"


class NoBuffer:
    """A stream as notebooks and IDLE have it: `write`, and little else."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


@pytest.mark.parametrize("make", [io.StringIO, NoBuffer])
def test_standard_output_is_what_it_is_when_a_line_is_written(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make(), make()

    async def both(outbound: Outbound) -> None:
        for stream in (first, second):
            monkeypatch.setattr(sys, "stdout", stream)
            await outbound.send(Write("-", LINE.encode()), timeout_s=10)

    using(both)
    texts = [stream.text if isinstance(stream, NoBuffer) else stream.getvalue() for stream in (first, second)]
    assert texts == [LINE, LINE]


def test_a_process_without_standard_output_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert send(Write("-", b"a line\n")).status == 200


def test_standard_output_that_was_replaced_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed, original = io.StringIO(), io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "__stdout__", original)
    assert send(Write("-", b"a line\n")).status == 200
    assert original.getvalue() == "a line\n"
    monkeypatch.setattr(sys, "__stdout__", closed)
    assert refused_message(Write("-", b"a line\n")) == "standard output is closed"


def test_a_file_that_cannot_be_written_is_tried_again_later(tmp_path: Path) -> None:
    assert (
        refused_message(Write(str(tmp_path / SECRET / "x"), b"a"))
        == "writing to a file raised FileNotFoundError (outbound.py)"
    )


def test_a_full_disk_is_tried_again_later() -> None:
    assert refused_message(Write("/dev/full", b"a")) == "writing to a file raised OSError (outbound.py)"


def test_a_file_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def both(outbound: Outbound) -> HttpReply:
        with pytest.raises(TransportError, match=r"^writing to a file took longer than 0\.1 s$"):
            await outbound.send(Write(str(pipe), b"x"), timeout_s=0.1)
        return await outbound.send(Write(str(tmp_path / "file"), b"x"), timeout_s=10)

    assert using(both).status == 200
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))  # let the thread go


def test_a_sync_consumer_is_called_in_a_thread_of_its_own() -> None:
    seen: list[tuple[str, bool]] = []

    def crm(event: Event) -> None:
        seen.append((event.id, threading.current_thread().daemon))

    assert send(Call(crm, EVENT)).status == 200
    assert seen == [("e1", True)]


@pytest.mark.parametrize("wrap", [lambda function: function, partial], ids=["plain", "partial"])
def test_an_async_consumer_is_awaited_on_the_loop(
    wrap: Callable[[Callable[[Event], Awaitable[None]]], Callable[[Event], Awaitable[None]]],
) -> None:
    seen: list[str] = []

    async def crm(event: Event) -> None:
        await asyncio.sleep(0)
        seen.append(threading.current_thread().name)

    assert send(Call(wrap(crm), EVENT)).status == 200
    assert seen == [threading.current_thread().name]


def test_a_consumer_that_gives_back_something_awaitable_is_awaited() -> None:
    seen: list[str] = []

    async def later() -> None:
        seen.append("awaited")

    assert send(Call(lambda _: later(), EVENT)).status == 200
    assert seen == ["awaited"]


class Exploding:
    async def __call__(self, event: Event) -> None:
        raise SystemExit(SECRET)


def raise_value(event: Event) -> None:
    raise ValueError(SECRET)


def raise_cancelled(event: Event) -> None:
    raise asyncio.CancelledError(SECRET)


def raise_stop(event: Event) -> None:
    next(iter(()))


async def raise_time_out(event: Event) -> None:
    raise TimeoutError(SECRET)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raise_value, "the consumer raised ValueError (test_outbound.py)"),
        (raise_cancelled, "the consumer raised CancelledError (test_outbound.py)"),
        (raise_time_out, "the consumer raised TimeoutError (test_outbound.py)"),
        (raise_stop, "the consumer raised StopIteration (test_outbound.py)"),
        (Exploding(), "the consumer raised SystemExit (test_outbound.py)"),
    ],
    ids=["sync", "cancelled", "async", "stop", "exit"],
)
def test_what_a_consumer_raises_is_told_without_its_words(function: Callable[[Event], object], message: str) -> None:
    assert refused_message(Call(function, EVENT)) == message


def test_consumers_that_hang_are_left_behind_and_hold_up_no_other() -> None:
    free = threading.Event()
    running: list[int] = []

    def hanging(event: Event) -> None:
        running.append(1)
        free.wait(30)

    async def work(outbound: Outbound) -> HttpReply:
        calls = [outbound.send(Call(hanging, EVENT), timeout_s=0.2) for _ in range(MAX_CALLS + 2)]
        for failed in await asyncio.gather(*calls, return_exceptions=True):
            assert str(failed) == "the consumer took longer than 0.2 s"
        return await outbound.send(Call(lambda _: None, EVENT), timeout_s=10)

    try:
        assert using(work).status == 200
        assert len(running) == MAX_CALLS, "what waited for a thread in vain is never called"
    finally:
        free.set()


def test_what_one_factory_made_for_two_tools_shares_no_threads() -> None:
    free = threading.Event()

    def make(function: Callable[[Event], object]) -> Callable[[Event], object]:
        def call(event: Event) -> object:
            return function(event)

        return call

    hanging, fine = make(lambda _: free.wait(30)), make(lambda _: None)

    async def work(outbound: Outbound) -> HttpReply:
        BEHALF.set("hanging")
        calls = [outbound.send(Call(hanging, EVENT), timeout_s=0.2) for _ in range(MAX_CALLS)]
        await asyncio.gather(*calls, return_exceptions=True)
        BEHALF.set("fine")
        return await outbound.send(Call(fine, EVENT), timeout_s=10)

    try:
        assert using(work).status == 200
    finally:
        free.set()


def test_a_consumer_that_heeds_no_cancellation_is_left_behind() -> None:
    free = asyncio.Event()

    async def stubborn(event: Event) -> None:
        while not free.is_set():
            with suppress(asyncio.CancelledError):
                await free.wait()

    async def work(outbound: Outbound) -> None:
        with pytest.raises(TransportError, match=r"^the consumer took longer than 0\.1 s$"):
            await outbound.send(Call(stubborn, EVENT), timeout_s=0.1)
        free.set()

    using(work)


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_what_at_send_raises_is_told_without_its_words(kind: type[BaseException]) -> None:
    def stamp(now_s: int) -> Headers:
        raise kind(SECRET)

    request = HttpRequest("POST", "http://127.0.0.1:9/", at_send=stamp)
    assert refused_message(request) == f"at_send raised {kind.__name__} (test_outbound.py)"


def test_a_body_that_never_ends_is_cut_and_the_status_counts() -> None:
    over = threading.Event()

    def answer(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 202 Accepted\r\ncontent-length: 10\r\n\r\nabc")
            over.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=(listening,), daemon=True)
        thread.start()
        try:
            reply = send(HttpRequest("POST", f"http://127.0.0.1:{listening.getsockname()[1]}/"), 0.3)
        finally:
            over.set()
            thread.join(10)
    assert (reply.status, reply.body) == (202, b"abc")


def test_being_cancelled_is_not_a_failure_of_the_consumer() -> None:
    async def work(outbound: Outbound) -> bool:
        async def hang(event: Event) -> None:
            await asyncio.Event().wait()

        task = asyncio.create_task(outbound.send(Call(hang, EVENT), timeout_s=30))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert using(work)


def test_the_vendor_says_how_many_came_and_which_are_missing() -> None:
    with Vendor(too_many(7)) as vendor:
        reply = send(HttpRequest("POST", vendor.url))
        assert (reply.status, reply.headers["retry-after"]) == (429, "7")
        with pytest.raises(TimeoutError, match=r"^2 requests were expected within 0\.05 s; 1 arrived$"):
            vendor.wait_for(2, timeout_s=0.05)
        vendor.answer_with([500, 503])
        assert [send(HttpRequest("POST", vendor.url)).status for _ in range(3)] == [500, 503, 200]
