"""Calls below `eventbunker_path`: through both gateways, in a pool of their own, with their own keys."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from eventmw import Limits
from eventmw.errors import PROBLEMS, Fault, Refused
from eventmw.eventbunker import Call, apis
from eventmw.eventbunker.calling import Asked, CallApi
from eventmw.eventbunker.pool import KEY_LINE, KEY_THREADS, PROJECT_LINE, CallPool, Share
from eventmw.exchange import Exchange
from eventmw.http import Headers, Reply, RequestHead
from eventmw.keys import Key, KeyKind
from eventmw.pauses import current
from eventmw.runtime import Runtime
from tests.calls import ask_asgi, ask_wsgi
from tests.eventbunker import ANN, BASE, DELETE, KEYS, OTHER, QUERY, SHOP, WRITE, refusal, tracking
from tests.eventlog import captured, fields
from tests.gateways import Answer, Pair, Request
from tests.running import until

HEADER = "x-eventbunker-query-key"
PATH = "/v1/query/json"
PATIENCE_S = 20.0


def replied(body: object) -> Reply:
    written = json.dumps(body).encode()
    headers: Headers = (("content-type", "application/json"), ("content-length", str(len(written))))
    return Reply(200, headers, written)


class Echo:
    """Says who asked what, and on which thread."""

    path = PATH
    header = HEADER
    kinds: frozenset[KeyKind] = frozenset({"query"})

    def __init__(self) -> None:
        self.threads: list[str] = []

    def answer(self, key: Key, body: bytes) -> Reply:
        self.threads.append(threading.current_thread().name)
        if body == b"refuse":
            raise Refused("invalid_body", "no", faults=(Fault(None, "/filters/0", "", "enum", "expected another"),))
        if body == b"fail":
            raise KeyError("a secret")
        return replied([key.id, body.decode()])


class Shown(Echo):
    path = "/v1/query/iframe"

    def key_id_in(self, query_string: str) -> str:
        return query_string and KEYS[QUERY].id

    def key_of(self, query_string: str) -> Key | None:
        return KEYS[QUERY] if query_string else None

    def get(self, query_string: str) -> Reply:
        self.threads.append(threading.current_thread().name)
        return replied(["got", query_string])


class Made(Echo):
    path = "/v1/manage/made"
    header = "x-eventbunker-apikey"
    kinds: frozenset[KeyKind] = frozenset({"account", "project"})


@contextmanager
def calling(monkeypatch: pytest.MonkeyPatch, *calls: Call, **options: Any) -> Iterator[Pair]:
    monkeypatch.setattr(apis, "calls_of", lambda _: calls)
    with tracking(**options) as pair:
        yield pair


def call(pair: Pair, body: bytes, headers: dict[str, str] | None = None, *, key: str = QUERY, **request: Any) -> Answer:
    given = {"path": BASE + PATH, **request}
    return pair.send(Request(body=body, headers=tuple({HEADER: key, **(headers or {})}.items()), **given))


def test_a_call_is_answered_in_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = Echo()
    with calling(monkeypatch, echo) as pair:
        answer = call(pair, b"a question", {"origin": "http://example.com"})
    assert (answer.status, answer.json) == (200, ["k4", "a question"])
    assert answer.headers == (("content-type", "application/json"), ("content-length", "20"), ("vary", "Origin"))
    assert set(echo.threads) == {"eventmw-calls"}


@pytest.mark.parametrize(("body", "status", "error", "code"), [
    (b"refuse", 400, "Body JSON validation failed.", "enum"),
    (b"fail", 500, "Error...", "internal_error"),
])  # fmt: skip
def test_what_a_call_raises_is_an_error_of_the_dialect(
    monkeypatch: pytest.MonkeyPatch, body: bytes, status: int, error: str, code: str
) -> None:
    with calling(monkeypatch, Echo()) as pair:
        answer = call(pair, body)
    refusal(answer, status, error, code)
    assert b"secret" not in answer.body


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("", f"Invalid {HEADER}"),
        ("unknown", f"Invalid {HEADER}"),
        (WRITE, f"Please use a query key for query requests. Invalid {HEADER}"),
        (DELETE, f"Please use a query key for query requests. Invalid {HEADER}"),
    ],
)
def test_the_two_401_texts_with_the_calls_own_header(monkeypatch: pytest.MonkeyPatch, key: str, error: str) -> None:
    """PROTOCOLS.md 3.1: query and delete keys have the same two 401 texts with their own header's name."""
    echo = Echo()
    with calling(monkeypatch, echo) as pair:
        refusal(call(pair, b"", key=key), 401, error, "unauthorized")
    assert echo.threads == []


def test_a_call_that_several_kinds_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with calling(monkeypatch, Made()) as pair:
        answer = pair.send(Request(path=BASE + Made.path, headers=((Made.header, QUERY),)))
    words = "Please use an account or project key for account or project requests. Invalid x-eventbunker-apikey"
    refusal(answer, 401, words, "unauthorized")


def test_what_every_request_of_ours_has_to_keep_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with calling(monkeypatch, Echo(), limits=Limits(max_body_bytes=100, requests_per_s=0.1, burst=4)) as pair:
        refusal(call(pair, b"x" * 101), *PROBLEMS["body_too_large"], "body_too_large")
        refusal(call(pair, b"x", {"content-encoding": "br"}), *PROBLEMS["unsupported_encoding"], "unsupported_encoding")
        assert call(pair, b"", method="GET").header("allow") == "POST, OPTIONS"
        refusal(call(pair, b"", {"origin": SHOP}), *PROBLEMS["cross_site"], "cross_site")
        preflight = pair.send(Request(method="OPTIONS", path=BASE + PATH, headers=(("origin", OTHER),)))
        assert preflight.header("access-control-allow-headers") == f"content-type, idempotency-key, {HEADER}"
        assert [call(pair, b"").status for _ in range(5)] == [200] * 4 + [429]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_call_that_can_be_got(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Without a key: what is in the query string says who asks, and is in no log."""
    shown = Shown()
    with calling(monkeypatch, shown, logs="logging") as pair, captured() as records:
        for site in pair.sites:
            ask = ask_asgi if hasattr(site, "_live") else ask_wsgi
            query: Any = {"query_string": b"token=a%20b"} if hasattr(site, "_live") else {"QUERY_STRING": "token=a%20b"}
            answer = ask(site, method, BASE + Shown.path, **query)
            assert answer.status == 200
            if method == "GET":
                assert json.loads(answer.body) == ["got", "token=a%20b"]
        put = pair.send(Request(method="PUT", path=BASE + Shown.path))
        assert put.header("allow") == "GET, HEAD, POST, OPTIONS"
        assert call(pair, b"q", path=BASE + Shown.path).json == ["k4", "q"]
    assert set(shown.threads) == {"eventmw-calls"}
    assert fields(records, "server_response")
    assert "token" not in repr([vars(record) for record in records])


class Standing(Echo):
    """Stands still until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.began = threading.Semaphore(0)

    def answer(self, key: Key, body: bytes) -> Reply:
        self.began.release()
        with current().away():
            assert self.go.wait(PATIENCE_S)
        return super().answer(key, body)


def test_a_key_is_revoked_while_questions_take_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link is public: whoever opens it often enough must not keep the owner from withdrawing it."""
    standing, made = Standing(), Made()
    with calling(monkeypatch, standing, made) as pair:
        runtime = pair.behind_wsgi.runtime
        waiting = [exchange_of(runtime, standing).submit() for _ in range(KEY_THREADS + KEY_LINE)]
        for _ in range(KEY_THREADS):
            assert standing.began.acquire(timeout=PATIENCE_S)
        assert isinstance(exchange_of(runtime, standing).submit(), Reply), "the line is full"
        done = CallApi(runtime, made).append(Asked(lambda: made.answer(KEYS[QUERY], b"revoke")))
        assert done.result(PATIENCE_S).status == 200
        standing.go.set()
        for future in waiting:
            assert isinstance(future, Future)
            assert future.result(PATIENCE_S).status == 200
    assert made.threads == ["eventmw-manage"]


def test_a_call_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After, through both gateways; the site goes on."""
    standing = Standing()
    monkeypatch.setattr(apis, "CallApi", lambda runtime, one: CallApi(runtime, one, patience_s=0.05))
    with calling(monkeypatch, standing) as pair:
        answer = call(pair, b"")
        standing.go.set()
    refusal(answer, *PROBLEMS["call_timeout"], "call_timeout")
    assert answer.header("retry-after") == "5"


def exchange_of(runtime: Runtime, one: Call) -> Exchange:
    exchange = Exchange(CallApi(runtime, one), RequestHead("POST", BASE + PATH, {HEADER: QUERY}))
    assert exchange.open() is None
    return exchange


def test_the_line_has_an_end_and_who_gives_up_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    standing = Standing()
    with calling(monkeypatch, standing) as pair:
        runtime = pair.behind_wsgi.runtime
        runtime.calls = CallPool(threads=1, line=1)
        first, second, third = (exchange_of(runtime, standing) for _ in range(3))
        waiting = [first.submit(), second.submit()]
        assert standing.began.acquire(timeout=PATIENCE_S)
        refused = third.submit()
        assert isinstance(refused, Reply)
        assert (refused.status, dict(refused.headers)["retry-after"]) == (503, "5")
        assert second.late().status == 503
        fourth = exchange_of(runtime, standing).submit()
        standing.go.set()
        done = [future for future in (waiting[0], fourth) if isinstance(future, Future)]
        assert [future.result(PATIENCE_S).status for future in done] == [200, 200]
    assert len(standing.threads) == 2, "who gave up in the line was never asked"


class Slow:
    """Jobs of a pool that stand still until they are let go."""

    def __init__(self, pool: CallPool) -> None:
        self.pool = pool
        self.go = threading.Event()
        self.began: list[Share] = []

    def ask(self, share: Share) -> Future[Share]:
        def job() -> Share:
            self.began.append(share)
            with current().away():
                assert self.go.wait(PATIENCE_S)
            return share

        return self.pool.submit(job, share)

    def asks(self, share: Share, count: int) -> list[Future[Share]]:
        """Ask so often; who is refused is left out."""
        taken: list[Future[Share]] = []
        for _ in range(count):
            with suppress(Refused):
                taken.append(self.ask(share))
        return taken


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow(CallPool())
    yield made
    made.go.set()
    made.pool.close()


ONE, TWO, RIVAL = Share("shop", "one"), Share("shop", "two"), Share("rival", "one")


def test_a_key_has_its_share_of_the_threads_and_of_the_line(slow: Slow) -> None:
    """Forty slow questions of one key: those of its project, and of others, are begun at once."""
    asked = slow.asks(ONE, 40)
    assert len(asked) == KEY_THREADS + KEY_LINE
    other, rival = slow.ask(TWO), slow.ask(RIVAL)
    assert until(lambda: len(slow.began) == 4)
    assert slow.began[-2:].count(ONE) == 0
    slow.go.set()
    assert [one.result(PATIENCE_S) for one in (*asked, other, rival)] == [ONE] * len(asked) + [TWO, RIVAL]


def test_a_link_does_not_take_the_share_of_its_key(slow: Slow) -> None:
    slow.asks(ONE._replace(by_link=True), 40)
    assert slow.ask(ONE)
    assert until(lambda: ONE in slow.began)


def test_a_project_leaves_a_thread_to_the_others(slow: Slow) -> None:
    for number in range(20):
        slow.asks(Share("shop", f"key {number}"), 1)
    assert until(lambda: len(slow.began) == 3)
    assert slow.ask(RIVAL)
    assert until(lambda: slow.began[-1:] == [RIVAL])


def test_who_has_the_most_of_a_full_line_makes_room(slow: Slow) -> None:
    """Two keys fill their project's line; a third one of it waits all the same, in the place of the last that came."""
    greedy = [*slow.asks(ONE, 40), *slow.asks(TWO, 40)]
    assert len(greedy) == 3 + PROJECT_LINE
    third = slow.ask(Share("shop", "three"))
    dropped = [one for one in greedy if one.done()]
    assert len(dropped) == 1
    error = dropped[0].exception(0)
    assert isinstance(error, Refused)
    assert (error.code, dict(error.headers)["retry-after"]) == ("overloaded", "5")
    slow.go.set()
    assert third.result(PATIENCE_S).key == "three"


def test_who_has_the_least_goes_first() -> None:
    made = Slow(CallPool(threads=1))
    first = made.ask(ONE)
    assert until(lambda: made.began == [ONE])
    rest = [made.ask(ONE), made.ask(ONE), made.ask(RIVAL)]
    made.go.set()
    assert {one.result(PATIENCE_S) for one in (first, *rest)} == {ONE, RIVAL}
    assert made.began == [ONE, ONE, ONE, RIVAL], "with one thread nobody has more of it than another: as they came"
    made.pool.close()


def test_the_threads_of_a_pool_work_one_at_a_time() -> None:
    """And in turns: a page of the site waits for one slice of them, not for four."""
    pool, working, most = CallPool(), [0], [0]

    def job() -> None:
        for _ in range(50):
            working[0] += 1
            most[0] = max(most[0], working[0])
            for _ in range(300):
                pass
            working[0] -= 1
            current().pause()

    shares = [Share("p", "a"), Share("p", "b"), Share("q", "a"), Share("r", "a")]
    for one in [pool.submit(job, share) for share in shares]:
        one.result(PATIENCE_S)
    assert most == [1]
    pool.close()


@pytest.mark.parametrize(("path", "most"), [(PATH, 64 * 1024), (Made.path, 256 * 1024)])
def test_a_body_is_no_larger_than_a_call_can_want(monkeypatch: pytest.MonkeyPatch, path: str, most: int) -> None:
    class Keys(Made):
        kinds: frozenset[KeyKind] = frozenset({"query", "delete"})

    with calling(monkeypatch, Echo(), Keys()) as pair:
        header = HEADER if path == PATH else Made.header
        for size, status in ((most, 200), (most + 1, 413)):
            request = Request(path=BASE + path, body=b"x" * size, headers=((header, QUERY),))
            assert pair.send(request).status == status


def test_pages_are_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a call stands still, the event loop serves the site."""
    standing = Standing()
    with calling(monkeypatch, standing) as pair:
        app = pair.behind_asgi

        async def both_at_once() -> list[int]:
            statuses: list[int] = []

            async def ask(path: str) -> None:
                scope = {
                    "type": "http",
                    "method": "POST",
                    "path": path,
                    "headers": [(HEADER.encode(), QUERY.encode())],
                    "query_string": b"",
                }
                messages = [{"type": "http.request", "body": b""}]

                async def receive() -> Any:
                    return messages.pop()

                async def send(message: Any) -> None:
                    if message["type"] == "http.response.start":
                        statuses.append(message["status"])

                await app(scope, receive, send)

            asked = asyncio.create_task(ask(BASE + PATH))
            assert await asyncio.to_thread(standing.began.acquire, timeout=PATIENCE_S)
            await ask("/a page")
            standing.go.set()
            await asked
            return statuses

        assert asyncio.run(both_at_once()) == [418, 200]


def test_a_pool_without_work_has_no_thread() -> None:
    """They start with the first call, and a forked child begins with none of its parent's."""
    before_it = set(threading.enumerate())  # pools of other sites may still be ending
    pool = CallPool()
    assert not {thread for thread in threading.enumerate() if thread.name == "eventmw-calls"} - before_it
    one: Callable[[], int] = lambda: 1  # noqa: E731 - the shortest job
    assert pool.submit(one).result(PATIENCE_S) == 1
    with tracking() as pair:
        runtime = pair.behind_wsgi.runtime
        before = runtime.calls
        runtime.leave_parent_behind()
        assert runtime.calls is not before
    pool.close()


def test_a_bound_key_reaches_the_call_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Writes(Echo):
        kinds: frozenset[KeyKind] = frozenset({"write"})

        def answer(self, key: Key, body: bytes) -> Reply:
            return replied([key.customer, key == KEYS[ANN]])

    with calling(monkeypatch, Writes()) as pair:
        assert call(pair, b"", {"origin": SHOP}, key=ANN).json == ["ann", True]
