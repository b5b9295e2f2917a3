"""The Zaraz dialect, PROTOCOLS.md 2.3 to 2.5: bad input, browsers, duplicates. Through both gateways, to the last byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw import Drop, Limits, tool
from eventmw.errors import PROBLEMS
from eventmw.event import Event
from eventmw.protocols.zaraz.judge import MAX_EXPLAINED
from eventmw.testing import NOW_MS, deliver
from tests import strategies as own
from tests.contract import (
    GOOD,
    LISTED,
    MIXED,
    ONE,
    OTHER,
    SEED_FIRST,
    SEED_SECOND,
    refused,
)
from tests.gateways import PATH, Answer, Request, both


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"])
def test_only_post(method: str) -> None:
    """2.3: 405 with Allow."""
    with both() as pair:
        answer = pair.send(Request(method=method))
        assert answer.header("allow") == "POST"
        if method == "HEAD":
            assert (answer.status, answer.body) == (405, b"")
        else:
            refused(answer, "method_not_allowed")
    if method != "OPTIONS":
        with both(allowed_origins=[LISTED]) as pair:
            assert pair.send(Request(method=method)).header("allow") == "POST, OPTIONS"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ((("content-length", "2"), ("transfer-encoding", "chunked")), "ambiguous_length"),
        ((("content-length", "x"),), "invalid_length"),
        ((("content-length", "-1"),), "invalid_length"),
        ((("content-length", "+3"),), "invalid_length"),
        ((("content-length", "2, 2"),), "invalid_length"),
        ((("content-length", "2"), ("content-length", "2")), "invalid_length"),
        ((("content-length", "9" * 40),), "invalid_length"),
        ((("idempotency-key", "x" * 256),), "invalid_idempotency_key"),
        ((("idempotency-key", ""),), "invalid_idempotency_key"),
        ((("idempotency-key", "é"),), "invalid_idempotency_key"),
    ],
)
def test_heads_that_are_refused(headers: tuple[tuple[str, str], ...], code: str) -> None:
    """2.3."""
    with both() as pair:
        refused(pair.send(Request(body=b"{}", headers=headers)), code)


def test_a_body_that_ends_before_its_announced_length_is_not_processed() -> None:
    """2.3: what came of it might be valid by itself."""
    body = json.dumps(ONE).encode()
    with both() as pair:
        site = pair.behind_asgi
        answer = pair._runner.run(_asgi_only(site, Request(body=body, headers=(("content-length", "500"),))))
    refused(answer, "incomplete_body")


async def _asgi_only(site: Any, request: Request) -> Answer:
    from tests.gateways import through_asgi

    return await through_asgi(site, request)


KEY, OTHER_KEY = "k" * 32, "o" * 32


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"bearer  {KEY} "}, 200),
        ({"x-eventmw-key": KEY}, 200),
        ({"x-eventmw-key": OTHER_KEY}, 200),
        ({"x-eventmw-key": KEY + "x"}, 401),
        ({"x-eventmw-key": ""}, 401),
        ({"x-eventmw-key": "é" * 32}, 401),
        ({"authorization": f"Basic {KEY}"}, 401),
        ({"authorization": KEY}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"origin": OTHER, "sec-fetch-site": "cross-site", "x-eventmw-key": KEY}, 200),
        ({"origin": OTHER, "sec-fetch-site": "cross-site"}, 401),
    ],
)
def test_keys(headers: dict[str, str], status: int) -> None:
    """2.3: 401 with WWW-Authenticate; 2.4: a request with a valid key passes."""
    with both(keys={"shop": KEY, "app": OTHER_KEY}) as pair:
        answer = pair.post(ONE, headers)
    assert answer.status == status
    if status == 401:
        refused(answer, "unauthorized")
        assert answer.header("www-authenticate") == 'Bearer realm="eventmw"'
        assert KEY.encode() not in answer.body


def test_over_the_rate() -> None:
    """2.3: 429 with Retry-After, for each address or credential by itself."""
    with both(limits=Limits(requests_per_s=0.1, burst=2)) as pair:
        assert [pair.post(ONE).status for _ in range(3)] == [200, 200, 429]
        answer = pair.post(ONE)
        refused(answer, "rate_limited")
        wait_s = int(answer.header("retry-after") or "0")
        assert 1 <= wait_s <= 11
        pair.advance(wait_s)
        assert pair.post(ONE).status == 200


def test_an_ipv6_sender_is_its_network() -> None:
    """One subscriber has 2^64 addresses behind a /64."""
    with both(limits=Limits(requests_per_s=0.1, burst=2), trusted_proxies=1) as pair:
        tried = [pair.post(ONE, {"x-forwarded-for": f"2001:db8:1:1::{n}"}).status for n in range(3)]
        assert tried == [200, 200, 429]
        assert pair.post(ONE, {"x-forwarded-for": "2001:db8:1:2::1"}).status == 200
        mapped = [
            pair.post(ONE, {"x-forwarded-for": spelled}).status
            for spelled in ("192.0.2.1", "::ffff:c000:201", "::ffff:192.0.2.1")
        ]
        assert mapped == [200, 200, 429]


def test_no_room_in_the_journal() -> None:
    """2.3: 503 with Retry-After."""

    @tool("never")
    def never(_event: Event) -> Drop:
        return Drop("x")

    with both(limits=Limits(journal_bytes=50), tools=[never]) as pair:
        answer = pair.post(ONE)
        problem = refused(answer, "journal_full")
    assert answer.header("retry-after") == "5"
    assert "same ids" in problem["detail"]


def test_a_journal_that_takes_nothing_more() -> None:
    """2.3: the journal cannot write: 503 with Retry-After."""
    with both() as pair:
        for site in pair.sites:
            site.close(0)
        answer = pair.post(ONE)
    refused(answer, "journal_down")
    assert answer.header("retry-after") == "5"


@given(st.integers(1, 400), st.integers(0, 60))
def test_a_problem_shows_at_most_100_errors_and_counts_the_rest(bad: int, length: int) -> None:
    """2.3: at most 100 with the count of the rest, under 32 KB."""
    event = {"client": {}, "eventmw": {"x" * length: 1, "id": {}}}
    with both() as pair:
        problem = refused(pair.post({"events": [event] * bad}), "no_valid_event")
    shown = len(problem["errors"])
    assert shown + problem.get("errors_omitted", 0) == bad
    assert shown == min(bad, MAX_EXPLAINED) <= 100


def test_errors_with_long_paths_stay_under_32_kb() -> None:
    """2.3."""
    cookies: dict[str, Any] = {f"{number}" + "c" * 3000: {} for number in range(300)}
    with both(strict=True) as pair:
        problem = refused(pair.post({"events": [{"client": {}, "system": {"cookies": cookies}}]}), "no_valid_event")
    assert problem["errors"]


MARKER = "qXzMarker"


@given(own.nearly(), st.sampled_from(["brief", "full"]))
def test_no_answer_repeats_a_value(event: Any, receipt: Any) -> None:
    """2.3: a message says what was expected, what kind came, and where; never the value."""

    def marked(value: Any, key: str = "") -> Any:
        match value:
            case dict():
                return {name: marked(inner, name) for name, inner in value.items()}
            case list():
                return [marked(inner) for inner in value]
            case str() if key not in {"id", "timestamp"} or value == "":
                return MARKER
            case str():
                return MARKER * 20  # too long for an id, and no time
        return value

    with both(receipt=receipt, strict=True) as pair:
        assert MARKER.encode() not in pair.post({"events": [marked(event), {"client": MARKER}]}).body


@given(st.binary(max_size=40))
def test_no_answer_repeats_what_is_not_json(tail: bytes) -> None:
    """2.3."""
    with both() as pair:
        answer = pair.post(b'{"events":[{"client":{"' + MARKER.encode() + b'":"' + MARKER.encode() + b'"}' + tail)
    assert MARKER.encode() not in answer.body


@given(st.binary(max_size=200) | st.builds(lambda document: json.dumps(document).encode(), own.VALUES))
def test_whatever_comes_is_answered_alike_and_never_by_a_500(body: bytes) -> None:
    """2.3: the two gateways give the same answer; codes are a closed list."""
    with both() as pair:
        answer = pair.post(body)
    if answer.status != 200:
        refused(answer, answer.json["code"])
        assert answer.status in {400, 413}


# 2.4 Browsers

CASES: list[tuple[dict[str, str], int]] = [
    ({}, 200),
    ({"sec-fetch-site": "same-origin"}, 200),
    ({"sec-fetch-site": "same-origin", "origin": OTHER}, 200),
    ({"sec-fetch-site": "cross-site", "origin": OTHER}, 403),
    ({"sec-fetch-site": "same-site", "origin": OTHER}, 403),
    ({"sec-fetch-site": "none"}, 403),
    ({"sec-fetch-site": "cross-site"}, 403),
    ({"sec-fetch-site": "cross-site", "origin": "http://example.com"}, 403),
    ({"sec-fetch-site": "cross-site", "origin": LISTED}, 200),
    ({"origin": "http://example.com"}, 200),
    ({"origin": "https://example.com"}, 200),
    ({"origin": "http://example.com:8080"}, 403),
    ({"origin": "http://example.com:80"}, 200),
    ({"origin": "http://sub.example.com"}, 403),
    ({"origin": OTHER}, 403),
    ({"origin": LISTED}, 200),
    ({"origin": LISTED + "."}, 403),
    ({"origin": "null"}, 403),
    ({"origin": ""}, 403),
    ({"origin": "http://["}, 403),
    ({"origin": "https://example.com", "x-forwarded-host": "evil.example"}, 200),
    ({"origin": "https://evil.example", "x-forwarded-host": "evil.example"}, 403),
]


@pytest.mark.parametrize(("headers", "status"), CASES)
def test_browsers(headers: dict[str, str], status: int) -> None:
    """2.4: the rules, without a trusted proxy."""
    with both(allowed_origins=[LISTED]) as pair:
        answer = pair.post(ONE, headers)
    assert answer.status == status
    if status == 403:
        detail = refused(answer, "cross_site")["detail"]
        assert f"Origin: {headers.get('origin', '(none)')}, " in detail
        assert f"Sec-Fetch-Site: {headers.get('sec-fetch-site', '(none)')}." in detail


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://front.example", "x-forwarded-host": "front.example", "x-forwarded-proto": "https"}, 200),
        ({"origin": "http://front.example", "x-forwarded-host": "front.example", "x-forwarded-proto": "https"}, 403),
        (
            {"origin": "https://front.example:443", "x-forwarded-host": "front.example", "x-forwarded-proto": "https"},
            200,
        ),
        ({"origin": "https://example.com", "x-forwarded-host": "front.example", "x-forwarded-proto": "https"}, 403),
        ({"origin": "http://example.com"}, 200),
        ({"origin": "https://example.com"}, 403),
    ],
)
def test_browsers_behind_a_trusted_proxy(headers: dict[str, str], status: int) -> None:
    """2.4: the forwarded host, from a trusted proxy; the scheme counts only then."""
    with both(trusted_proxies=1) as pair:
        assert pair.post(ONE, headers).status == status


def test_null_must_be_listed() -> None:
    """2.4."""
    with both(allowed_origins=["null"]) as pair:
        assert pair.post(ONE, {"origin": "null"}).header("access-control-allow-origin") == "null"


def cors(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers if name.startswith("access-control") or name == "vary"}


@pytest.mark.parametrize("body", [ONE, MIXED, {}, b"\xff"])
def test_cors_on_answers_and_on_errors(body: Any) -> None:
    """2.4: an exact list, off by default, on errors too, with `Vary: Origin`."""
    with both(allowed_origins=[LISTED]) as pair:
        assert cors(pair.post(body, {"origin": LISTED})) == {
            "access-control-allow-origin": LISTED,
            "access-control-expose-headers": "eventmw-rejected, retry-after",
            "vary": "Origin",
        }
        assert cors(pair.post(body, {"origin": OTHER})) == {"vary": "Origin"}
        assert cors(pair.post(body)) == {"vary": "Origin"}
    with both() as pair:
        assert cors(pair.post(body, {"origin": "http://example.com"})) == {}


def test_the_preflight() -> None:
    """2.3: OPTIONS answers the preflight when CORS is configured."""
    ask = (
        ("origin", LISTED),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "baggage,content-type,sentry-trace,X-Datadog-Trace-Id"),
    )
    with both(allowed_origins=[LISTED]) as pair:
        answer = pair.send(Request(method="OPTIONS", headers=ask))
        other = pair.send(Request(method="OPTIONS", headers=(("origin", OTHER),)))
        without = pair.send(Request(method="OPTIONS"))
    assert (answer.status, answer.body) == (204, b"")
    assert cors(answer) == {
        "access-control-allow-origin": LISTED,
        "access-control-expose-headers": "eventmw-rejected, retry-after",
        "vary": "Origin, Access-Control-Request-Headers",
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "authorization, content-type, idempotency-key, x-eventmw-key, baggage, sentry-trace, x-datadog-trace-id",
        "access-control-max-age": "600",
    }
    refused(other, "cross_site")
    refused(without, "cross_site")


# 2.5 Duplicates


def test_an_idempotency_key_makes_ids_repeat() -> None:
    """2.5: the events' ids are a function of (credential, key, event)."""
    head = {"idempotency-key": "order 4711"}
    with both(keys={"a": KEY, "b": OTHER_KEY}) as pair:
        first_time = pair.post({"events": [GOOD, GOOD]}, head | {"x-eventmw-key": KEY})
        pair.advance(60)
        again = pair.post({"events": [GOOD, GOOD]}, head | {"x-eventmw-key": KEY})
        other_key = pair.post(ONE, {"idempotency-key": "order 4712", "x-eventmw-key": KEY})
        other_sender = pair.post(ONE, head | {"x-eventmw-key": OTHER_KEY})
    assert first_time.receipt["id"] == again.receipt["id"]
    assert first_time.entries == []
    assert [(entry["index"], entry["status"]) for entry in again.entries] == [(0, "duplicate"), (1, "duplicate")]
    assert again.json["results"] == first_time.json["results"]
    assert len({first_time.receipt["id"], other_key.receipt["id"], other_sender.receipt["id"]}) == 3
    assert other_sender.entries == []


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"client": {"__zarazTrack": name, **more}}


def delivered(*requests: Any, head: dict[str, str]) -> tuple[list[list[str]], list[str]]:
    """Return each request's statuses of its events, and the names that a tool got behind each of the gateways."""
    got: list[str] = []

    @tool("keeper")
    def keeper(event: Event) -> Drop:
        got.append(event.name)
        return Drop("kept")

    with both(tools=[keeper], receipt="full") as pair:
        answers = [pair.post(request, head) for request in requests]
        for site in pair.sites:
            deliver(site)
    names = sorted(got)
    assert names[::2] == names[1::2], "both gateways deliver the same"
    return [[entry["status"] for entry in answer.entries] for answer in answers], names[::2]


NEW, AGAIN = "accepted", "duplicate"


@pytest.mark.parametrize(
    ("requests", "statuses", "names"),
    [
        # Another event under the same key is another event.
        ([[named("a")], [named("b")]], [[NEW], [NEW]], ["a", "b"]),
        ([[named("a", n=1)], [named("a", n=2)]], [[NEW], [NEW]], ["a", "a"]),
        # The same one is the same, however it is written.
        ([[named("a", n=1, m=2)], [named("a", m=2.0, n=1)]], [[NEW], [AGAIN]], ["a"]),
        ([b'{"events":[{"client":{"__zarazTrack":"\\u0061"}}]}', [named("a")]], [[NEW], [AGAIN]], ["a"]),
        # A retry that has grown, shrunk, or been shuffled.
        ([[named("a")], [named("a"), named("b")]], [[NEW], [AGAIN, NEW]], ["a", "b"]),
        ([[named("a"), named("b")], [named("b")]], [[NEW, NEW], [AGAIN]], ["a", "b"]),
        ([[named("a"), named("b")], [named("b"), named("a")]], [[NEW, NEW], [AGAIN, AGAIN]], ["a", "b"]),
        # Two equal events remain two, and no more.
        ([[named("a"), named("a")]] * 2, [[NEW, NEW], [AGAIN, AGAIN]], ["a", "a"]),
        ([[named("a")], [named("a"), named("a")]], [[NEW], [AGAIN, NEW]], ["a", "a"]),
        # A refused event beside it changes nothing.
        ([[7, named("a")], [named("a")]], [["invalid", NEW], [AGAIN]], ["a"]),
        # Times and unknown keys belong to the event; an id of the sender's own decides by itself.
        (
            [[named("a") | {"eventmw": {"timestamp": NOW_MS}}], [named("a") | {"eventmw": {"timestamp": NOW_MS + 1}}]],
            [[NEW], [NEW]],
            ["a", "a"],
        ),
        (
            [[named("a") | {"eventmw": {"id": "x"}}], [named("b") | {"eventmw": {"id": "x"}}]],
            [[NEW], [AGAIN]],
            ["a"],
        ),
    ],
)
def test_under_one_idempotency_key_an_event_is_known_by_what_it_says(
    requests: list[Any], statuses: list[list[str]], names: list[str]
) -> None:
    bodies = [request if isinstance(request, bytes) else {"events": request} for request in requests]
    assert delivered(*bodies, head={"idempotency-key": "K"}) == (statuses, names)


def test_a_repeatable_id_is_kept_with_its_event_and_all_else_of_it() -> None:
    """The id is that of the receipt when there is one event; big integers and the sender's own time stay exact."""
    body = b'{"events":[{"client":{"n":123456789012345678901234567890},"eventmw":{"timestamp":1796059474000}}]}'
    got: list[Event] = []

    @tool("keeper")
    def keeper(event: Event) -> Drop:
        got.append(event)
        return Drop("kept")

    with both(tools=[keeper]) as pair:
        receipt = pair.post(body, {"idempotency-key": "K"}).receipt
        for site in pair.sites:
            deliver(site)
    assert [(event.id, event.properties, event.timestamp_ms) for event in got] == [
        (f"{receipt['id']}-0", {"n": 123456789012345678901234567890}, 1796059474000)
    ] * 2


def test_an_id_that_an_earlier_receipt_gave_is_a_duplicate() -> None:
    """An event's id is the sender's, or `<receipt id>-<index>`: both are one space, and the door says when they meet."""
    with both() as pair:
        receipt = pair.post({"events": [GOOD, GOOD]}).receipt
        answer = pair.post({"events": [own_id(f"{receipt['id']}-1"), own_id(f"{receipt['id']}-2")]})
    assert [(entry["index"], entry["status"]) for entry in answer.entries] == [(0, "duplicate")]


def own_id(ident: str) -> dict[str, Any]:
    return {"client": {}, "eventmw": {"id": ident}}


def test_the_door_says_duplicate_when_it_knows() -> None:
    """2.5: judged by (credential, event id) within 24 h; the same id twice in one request as well."""
    with both() as pair:
        assert pair.post({"events": [own_id("a"), own_id("b")]}).entries == []
        repeated = pair.post({"events": [own_id("c"), own_id("a"), own_id("c")]})
        pair.advance(24 * 3600)
        later = pair.post({"events": [own_id("a")]})
    assert [(entry["index"], entry["id"], entry["status"]) for entry in repeated.entries] == [
        (1, "a", "duplicate"),
        (2, "c", "duplicate"),
    ]
    assert repeated.receipt["accepted"] == 3
    assert later.entries == []


def test_what_was_not_kept_is_no_duplicate() -> None:
    """2.5 and 2.3: after a 503 the same ids are sent again."""
    with both(limits=Limits(journal_bytes=50)) as pair:
        refused(pair.post({"events": [own_id("a")]}), "journal_full")
        assert all(site.runtime.recent.remember("anonymous", [("a", 0)], NOW_MS) == [] for site in pair.sites)


def test_only_our_path_is_answered() -> None:
    """1: exact match; everything else is the site's."""
    with both() as pair:
        for path in ("/", PATH + "/", PATH.upper(), "/other" + PATH, PATH + "x"):
            answer = pair.send(Request(body=json.dumps(ONE).encode(), path=path))
            assert (answer.status, answer.body) == (418, b"the site")


def test_every_seed_payload_is_the_published_one() -> None:
    """The seed's payloads, as the test suite carries them, are complete JSON documents of one event."""
    for body in (SEED_FIRST, SEED_SECOND):
        assert [list(event) for event in json.loads(body)["events"]] in ([["client"]], [["client", "system"]])


def test_the_documented_codes_are_the_codes() -> None:
    """2.3: codes are a closed, documented list."""
    page = (Path(__file__).parent.parent / "docs" / "protocol.md").read_text()
    for code, (status, _title) in PROBLEMS.items():
        assert f"`{code}`" in page, code
        assert any(str(status) in line for line in page.splitlines() if line.startswith("|") and f"`{code}`" in line), (
            code
        )


def test_both_gateways_count_the_same_ids(tmp_path: Path) -> None:
    """2.3: the same answer for the same complete body, clock and ids; and ids differ from request to request."""
    with both() as pair:
        ids = [pair.post(ONE).receipt["id"] for _ in range(3)]
    assert len(set(ids)) == 3
