"""Requests to the API, watched through both gateways: what is said and counted of each, and what never is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from eventmw import Limits, asgi, tool
from eventmw.errors import JournalFull
from eventmw.testing import deliver, with_keys
from eventmw.turnstile import LINE
from tests.contract import GOOD, MIXED, ONE
from tests.eventbunker import ANN, BASE, HEADER, KEYS, POST, WRITE
from tests.eventlog import captured, everything, fields
from tests.gateways import Pair, Request, both, through_asgi

KEY = "a-key-of-the-shop-0123456789"
ADDRESS = "203.0.113.9"


def watched(**options: Any) -> Pair:
    """Return both gateways with logs and figures on; `counted` reads the latter."""
    return both(**{"logs": "logging", "metrics_path": "/zaraz/metrics", "metrics_key": "m" * 16, **options})


def counted(pair: Pair) -> dict[tuple[str, ...], int]:
    """Return the counters, which are the same behind both gateways."""
    tallies = []
    for site in pair.sites:
        told = site.runtime.figures()["tally"]["counts"]
        tallies.append({tuple(series): number for series, number in told if number})
    assert tallies[0] == tallies[1]
    return tallies[0]


def asked_and_answered(pair: Pair, request: Request) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is said of a request and of its answer: once for each gateway, and alike."""
    with captured() as records:
        pair.send(request)
    asked, answered = fields(records, "server_request"), fields(records, "server_response")
    assert [said["request_id"] for said in asked] == [said["request_id"] for said in answered]
    assert asked[0].pop("request_id") != asked[1].pop("request_id")
    for said in answered:
        del said["request_id"]
        assert said.pop("duration_ms") >= 0
        if said["status"] != 200:
            del said["body_bytes"]  # as far as it was read, which is not the same everywhere
    assert (asked[0], answered[0]) == (asked[1], answered[1])
    return asked[0], answered[0]


def test_an_accepted_request() -> None:
    body = b'{"events": [{"client": {"__zarazTrack": "x"}}, {"client": {"__zarazTrack": "y"}}]}'
    with watched() as pair:
        asked, answered = asked_and_answered(pair, Request(body=body))
        receipt = pair.post(ONE).receipt
        assert counted(pair) == {("requests", "200", ""): 2, ("events", "accepted"): 3}
    assert asked == {
        "level": "DEBUG",
        "event_type": "server_request",
        "method": "POST",
        "path": "/zaraz/api",
        "announced_bytes": len(body),
    }
    assert answered == {
        "level": "INFO",
        "event_type": "server_response",
        "status": 200,
        "accepted": 2,
        "rejected": 0,
        "duplicates": 0,
        "body_bytes": len(body),
        "credential": "anonymous",
        "receipt_id": answered["receipt_id"],
    }
    assert answered["receipt_id"][:-1] == receipt["id"][:-1]  # of the request before


def test_events_that_are_refused_and_repeated() -> None:
    again = {"events": [GOOD | {"eventmw": {"id": "order-1"}}, {"client": 1}]}
    with watched() as pair, captured() as records:
        pair.post(again)
        pair.post(again)
        pair.post({"events": [{"client": 1}] * 3})
        assert counted(pair) == {
            ("requests", "200", ""): 2,
            ("requests", "400", "no_valid_event"): 1,
            ("events", "accepted"): 2,
            ("events", "duplicate"): 1,
            ("events", "rejected"): 5,
        }
    said = fields(records, "server_response")[::2]
    assert [(line["accepted"], line["rejected"], line["duplicates"]) for line in said] == [
        (1, 1, 0),
        (1, 1, 1),
        (0, 3, 0),
    ]


def test_one_bad_event_refuses_all_where_all_are_needed() -> None:
    with watched(batch="atomic") as pair:
        pair.post(MIXED)
        assert counted(pair) == {("requests", "400", "rejected_events"): 1, ("events", "rejected"): 3}


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (Request(method="GET"), 405, "method_not_allowed"),
        (Request(body=b"{"), 400, "invalid_json"),
        (Request(body=b"x", headers=[("content-encoding", "br")]), 415, "unsupported_encoding"),
        (Request(body=b"xx", headers=[("content-encoding", "gzip")]), 400, "invalid_encoding"),
        (Request(body=b"x", headers=[("content-length", "9")]), 400, "incomplete_body"),
        (Request(body=b" " * 2000, headers=[("transfer-encoding", "chunked")]), 413, "body_too_large"),
        (Request(body=b"{}", headers=[("origin", "https://other.example")]), 403, "cross_site"),
    ],
)
def test_a_refused_request(request_: Request, status: int, code: str) -> None:
    with watched(limits=Limits(max_body_bytes=1000)) as pair:
        _, answered = asked_and_answered(pair, request_)
        assert counted(pair) == {("requests", str(status), code): 1}
    assert (answered["status"], answered["code"], answered["level"]) == (status, code, "INFO")
    assert "receipt_id" not in answered


def test_a_preflight_is_an_answer_too() -> None:
    with watched(allowed_origins=["https://shop.example"]) as pair:
        _, answered = asked_and_answered(pair, Request(method="OPTIONS", headers=[("origin", "https://shop.example")]))
    assert answered["status"] == 204


def test_a_journal_that_is_full() -> None:
    with watched(limits=Limits(journal_bytes=10)) as pair:
        with captured() as records:
            assert pair.post(ONE).status == 503
            for site in pair.sites:
                with pytest.raises(JournalFull):
                    site.track("x")
        assert counted(pair) == {("requests", "503", "journal_full"): 1}
    said = fields(records, "server_response")
    assert [(line["level"], line["code"], line["accepted"]) for line in said] == [("WARNING", "journal_full", 0)] * 2


def test_what_fails_inside_is_told_of_once() -> None:
    with watched() as pair:
        for site in pair.sites:
            site.runtime.rates = "broken"  # type: ignore[assignment]
        with captured() as records:
            assert pair.post(ONE).status == 500
        assert counted(pair) == {("requests", "500", "internal_error"): 1}
    assert [line["code"] for line in fields(records, "server_response")] == ["internal_error"] * 2


def test_events_of_the_sites_own_code_count() -> None:
    with watched() as pair:
        for site in pair.sites:
            site.track("x")
            asyncio.run(site.atrack("x"))
        assert counted(pair) == {("events", "accepted"): 2}


def test_a_tool_that_fails_in_the_request_is_told_of() -> None:
    @tool("broken", answers=True)
    def broken(_: Any) -> None:
        raise KeyError("a secret")

    with watched(tools=[broken]) as pair, captured() as records:
        assert pair.post({"events": [GOOD] * 3}).status == 200
        assert counted(pair)["component_errors", "broken", "request"] == 3
        for site in pair.sites:
            deliver(site)
    said = [line for line in fields(records, "component_error") if line["where"] == "request"]
    assert [(line["tool"], line["count"], line["level"]) for line in said] == [("broken", 1, "ERROR")] * 2
    assert said[0]["reason"].startswith("handle raised KeyError: 'a secret' (test_watching_requests.py:")


def test_nothing_of_what_was_sent_is_said() -> None:
    """Not a value of the payload, a cookie, a key, an address, or a line that a sender made up."""
    secret = "do-not-tell"
    event = {
        "client": {"__zarazTrack": secret, "value": secret, "user_id": secret},
        "system": {
            "cookies": {"c": secret},
            "device": {"ip": "198.51.100.77"},
            "page": {"url": f"https://{secret}.example"},
        },
    }
    with watched(keys={"shop": KEY}) as pair, captured() as records:
        for headers in ({"authorization": f"Bearer {KEY}"}, {"x-eventmw-key": KEY + "x"}, {"cookie": secret}):
            pair.post({"events": [event]}, {**headers, "x-forwarded-for": "198.51.100.78", "idempotency-key": secret})
        pair.send(Request(method="GET\r\nX", headers=[("origin", f"https://{secret}\n.example")]))
        for site in pair.sites:
            deliver(site)
        wanted = everything(records)
    assert len(records) == 16
    for told in (secret, KEY, ADDRESS, "198.51.100", "\r", "GET\n"):
        assert told not in wanted
    assert fields(records, "server_request")[-1]["method"] == "GET\\r\\nX"
    assert fields(records, "server_response")[0]["credential"] == "shop"


def test_off_means_that_nothing_is_put_around_a_request() -> None:
    with both() as pair, captured() as records:
        pair.post(ONE)
        for site in pair.sites:
            assert site.runtime.watch is None
            assert site.runtime.watched_delivery() is None
    assert records == []


TRACKED = {HEADER: WRITE, "user-agent": "a-secret-agent", "referer": "https://do-not-tell.example/"}


def test_a_tracked_event_is_told_of_like_any_other() -> None:
    body = b'[{"event_name": "x"}, {"event_name": "do not tell"}]'
    request = Request(path=POST, body=body, headers=tuple(TRACKED.items()))
    with watched(eventbunker_path=BASE) as pair:
        for site in pair.sites:
            with_keys(site, KEYS)
        asked, answered = asked_and_answered(pair, request)
        counts = counted(pair)
    assert asked["path"] == POST
    assert answered["receipt_id"] == "017a543c48d070008000000000000001"
    assert (answered["accepted"], answered["rejected"], answered["credential"]) == (1, 1, "p1/k1")
    assert counts == {("requests", "200", ""): 1, ("events", "accepted"): 1, ("events", "rejected"): 1}


def test_nothing_of_a_tracked_event_is_said() -> None:
    secret = "do-not-tell"
    event = {"event_name": secret, "customer_identifier": secret, "free": secret, secret: secret}
    with watched(eventbunker_path=BASE) as pair, captured() as records:
        for site in pair.sites:
            with_keys(site, KEYS)
        for body in (event, event | {"_a": secret}, [event, {}]):
            for key in (WRITE, WRITE + secret, ANN):
                headers = {**TRACKED, HEADER: key, "idempotency-key": secret}
                pair.send(Request(path=POST, body=json.dumps(body).encode(), headers=tuple(headers.items())))
        for site in pair.sites:
            deliver(site)
        wanted = everything(records)
    assert len(records) == 36
    for told in (secret, WRITE, ANN, ADDRESS, "a-secret-agent"):
        assert told not in wanted


def test_a_tracked_event_that_is_sent_again_counts_as_a_duplicate() -> None:
    headers = {**TRACKED, "idempotency-key": "order 4711"}
    request = Request(path=POST, body=b'{"event_name": "x"}', headers=tuple(headers.items()))
    with watched(eventbunker_path=BASE) as pair:
        for site in pair.sites:
            with_keys(site, KEYS)
        answers = [pair.send(request).json["unique_req_id"] for _ in range(2)]
        assert counted(pair)["events", "duplicate"] == 1
    assert answers[0] == answers[1]


def test_a_flood_that_finds_no_place_to_wait() -> None:
    more = LINE // 2

    async def flood(site: asgi.EventsMiddleware) -> list[int]:
        request = Request(body=json.dumps(ONE).encode())
        answers = await asyncio.gather(*(through_asgi(site, request) for _ in range(LINE + more)))
        return [answer.status for answer in answers]

    with watched() as pair, captured() as records:
        statuses = asyncio.run(flood(pair.behind_asgi))
        told = {
            tuple(series): number
            for series, number in pair.behind_asgi.runtime.figures()["tally"]["counts"]
            if series[0] == "requests"
        }
    refused = statuses.count(503)
    assert 0 < refused <= more
    assert told == {("requests", "200", ""): len(statuses) - refused, ("requests", "503", "overloaded"): refused}
    assert [line["status"] for line in fields(records, "server_response")].count(503) == refused
