"""The contract of the Zaraz dialect, PROTOCOLS.md 2.1 to 2.5, each case through both gateways, the same to the last byte."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from eventmw import Drop, Execute, Fetch, Limits, Return, SetCookie, tool
from eventmw.effects import Effect
from eventmw.errors import PROBLEMS
from eventmw.event import Event
from eventmw.schema import published
from eventmw.testing import NOW_MS, deliver
from tests import strategies as own
from tests.gateways import PATH, PEER, Answer, Request, both

REPLY = Draft202012Validator(published("zaraz-reply"))
EMPTY: dict[str, Any] = {"fetch": [], "execute": [], "return": {}, "cookies": {}}
GOOD = {"client": {"__zarazTrack": "x"}}
ONE = {"events": [GOOD]}
MIXED = {"events": [GOOD, {"client": 1}, GOOD]}
OTHER = "https://other.example"
LISTED = "https://shop.example"

SEED_FIRST = b"""
{
  "events": [
    {
      "client": {
        "__zarazTrack": "transaction successful",
        "value": "200"
      }
    }
  ]
}
"""
SEED_SECOND = b"""
{
  "events": [
    {
      "client": {
        "__zarazTrack": "transaction successful",
        "value": "200"
      },
      "system": {
        "page": {
          "url": "https://example.com",
          "title": "My website"
        },
        "device": {
          "language": "en-US",
          "ip": "192.168.0.1"
        }
      }
    }
  ]
}
"""


def keeper(kept: list[Event]) -> Any:
    """Return a tool that keeps the events it gets at the door."""

    @tool("keeper", answers=True)
    def keep(event: Event) -> None:
        kept.append(event)

    return keep


def accepted_event(body: Any, headers: Mapping[str, str] | None = None, **options: Any) -> Event:
    """Return the one event that tools get of an accepted payload, the same through both gateways."""
    kept: list[Event] = []
    with both(tools=[keeper(kept)], **options) as pair:
        answer = pair.post(body, headers or {})
        assert answer.status == 200, answer.body
        for site in pair.sites:
            deliver(site)  # the courier makes the same event of the record
    assert len(kept) == 4
    assert all(event == kept[0] for event in kept)
    return kept[0]


def refused(answer: Answer, code: str) -> dict[str, Any]:
    """Check everything that all problems have in common, and return the document."""
    status, title = PROBLEMS[code]
    problem: dict[str, Any] = answer.json
    assert (answer.status, problem["status"], problem["code"], problem["title"]) == (status, status, code, title)
    assert problem["type"] == f"urn:eventmw:problem:{code}"
    assert problem["detail"]
    assert answer.header("content-type") == "application/problem+json"
    assert answer.header("content-length") == str(len(answer.body))
    assert answer.header("cache-control") == "no-store"
    assert len(answer.body) < 32 * 1024
    assert len(problem.get("errors", [])) <= 100
    return problem


# 2.1 Request


@pytest.mark.parametrize("body", [SEED_FIRST, SEED_SECOND])
def test_the_seeds_payloads_are_accepted(body: bytes) -> None:
    """The seed, «Send events» and «The system key»."""
    event = accepted_event(body)
    assert (event.name, event.properties, event.kind) == ("transaction successful", {"value": "200"}, "event")


def test_the_seeds_system_key_is_read() -> None:
    """The seed, the table of system keys."""
    event = accepted_event(SEED_SECOND)
    assert (event.page.url, event.page.title) == ("https://example.com", "My website")
    assert (event.device.language, event.device.ip) == ("en-US", "192.168.0.1")


def test_the_seed_document_is_where_these_payloads_come_from() -> None:
    """The two payloads above are the published ones; the whole answer to the first, byte for byte."""
    with both() as pair:
        answer = pair.post(SEED_FIRST)
    assert answer == Answer(
        200,
        (
            ("content-type", "application/json"),
            ("content-length", str(len(answer.body))),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ),
        b'{"results":[{"fetch":[],"execute":[],"return":{},"cookies":{}}],'
        b'"receipt":{"id":"017a543c48d070008000000000000001","time_recorded":1624910874832,'
        b'"durability":"memory","accepted":1,"rejected":0}}',
    )


@pytest.mark.parametrize(
    ("client", "kind", "name"),
    [
        ([], "event", ""),
        ({}, "event", ""),
        ({"__zarazTrack": "Pageview"}, "pageview", "Pageview"),
        ({"__zarazTrack": "x", "__zarazEcommerce": True}, "ecommerce", "x"),
        ({"__zarazTrack": "x", "__zarazEcommerce": False}, "event", "x"),
        ({"__zarazTrack": "x", "__zarazEcommerce": "true"}, "event", "x"),
        ({"__zarazTrack": "x", "__zarazEcommerce": 1}, "event", "x"),
    ],
)
def test_client(client: Any, kind: str, name: str) -> None:
    """2.1: `[]` counts as `{}`; only the literal `true` makes an e-commerce event."""
    event = accepted_event({"events": [{"client": client}]})
    assert (event.kind, event.name, event.properties) == (kind, name, {})


@pytest.mark.parametrize(
    ("system", "warned"),
    [
        (None, 0),
        ([], 0),
        ({}, 0),
        ({"cookies": None, "device": [], "page": None}, 0),
        ({"device": {"language": None, "ip": []}, "cookies": {"a": [], "b": None}}, 0),
        ("text", 1),
        ([1], 1),
        ({"cookies": 1, "device": "x", "page": [1]}, 3),
        ({"device": {"language": {}, "user-agent": [1]}, "cookies": {"a": {}}}, 3),
        ({"device": {"ip": "not one", "resolution": "wide"}, "page": {"url": "nowhere", "referrer": "x"}}, 4),
    ],
)
def test_system_is_read_liberally(system: Any, warned: int) -> None:
    """2.1: at every level `null` and `[]` mean absent, another type is left out with a warning."""
    event = accepted_event({"events": [{"client": {}, "system": system}]})
    assert event.cookies == {}
    assert event.device.language is None
    assert event.device.user_agent is None
    with both() as pair:
        answer = pair.post({"events": [{"client": {}, "system": system}]})
    assert [entry["status"] for entry in answer.entries] == ["warned"] * warned
    assert answer.header("eventmw-rejected") is None


@pytest.mark.parametrize(
    ("given", "text"), [(5, "5"), (1.5, "1.5"), (True, "true"), (False, "false"), (10**30, str(10**30))]
)
def test_a_number_or_boolean_in_system_becomes_its_string(given: Any, text: str) -> None:
    """2.1."""
    system = {"cookies": {"a": given}, "device": {"user-agent": given}, "page": {"title": given}}
    event = accepted_event({"events": [{"client": {}, "system": system}]})
    assert (event.cookies["a"], event.device.user_agent, event.page.title) == (text, text, text)


def test_unknown_keys_are_kept_and_handed_on() -> None:
    """2.1."""
    body = {"other": 1, "events": [{"client": {"a": {"b": [1]}}, "system": {"x": 1, "device": {"y": [2]}}, "more": 3}]}
    event = accepted_event(body)
    assert event.properties == {"a": {"b": [1]}}
    assert event.system["x"] == 1
    assert event.system["device"] == {"y": [2]}


@pytest.mark.parametrize(
    ("given", "timestamp_ms"),
    [
        ({}, NOW_MS),
        ({"timestamp": 1_600_000_000_000}, 1_600_000_000_000),
        ({"timestamp": "2020-09-13T12:26:40Z"}, 1_600_000_000_000),
        ({"timestamp": "2020-09-13T14:26:40.000+02:00"}, 1_600_000_000_000),
        ({"timestamp": "2020-09-13T12:26:40"}, 1_600_000_000_000),
    ],
)
def test_the_senders_own_id_and_time(given: dict[str, Any], timestamp_ms: int) -> None:
    """2.1: the key `eventmw`."""
    event = accepted_event({"events": [{"client": {}, "eventmw": {"id": "order-1"} | given}]})
    assert (event.id, event.timestamp_ms, event.recorded_ms) == ("order-1", timestamp_ms, NOW_MS)


def test_a_time_in_the_future_earns_a_warning() -> None:
    """2.1: a future time is a warning."""
    ahead = NOW_MS + 3_600_000
    with both() as pair:
        for when in (ahead, float(ahead), "2021-06-28T21:30:00Z"):
            answer = pair.post({"events": [{"client": {}, "eventmw": {"timestamp": when}}]})
            assert [(entry["status"], entry["code"]) for entry in answer.entries] == [("warned", "future_time")]


@pytest.mark.parametrize("event", [1, None, "x", [], {}, {"client": 1}, {"client": None}, {"client": [1]},
                                   {"client": {"__zarazTrack": 1}}, {"client": {}, "eventmw": None},
                                   {"client": {}, "eventmw": {"id": ""}}, {"client": {}, "eventmw": {"id": "x" * 129}},
                                   {"client": {}, "eventmw": {"id": 1}}, {"client": {}, "eventmw": {"timestamp": "noon"}},
                                   {"client": {}, "eventmw": {"timestamp": 1.5}}, {"client": {}, "eventmw": {"timestamp": -1}}])  # fmt: skip
def test_events_that_are_refused(event: Any) -> None:
    """2.1, «Refused»."""
    with both() as pair:
        problem = refused(pair.post({"events": [event]}), "no_valid_event")
        assert problem["errors"]
        assert {error["index"] for error in problem["errors"]} == {0}
        assert all(error["path"].startswith("/events/0") for error in problem["errors"])
        mixed = pair.post({"events": [GOOD, event, GOOD]})
    assert (mixed.receipt["accepted"], mixed.receipt["rejected"]) == (2, 1)


@pytest.mark.parametrize("body", [1, None, "x", [], {}, [GOOD], {"events": None}, {"events": {}}, {"events": []}, {"Events": [GOOD]}])  # fmt: skip
def test_what_is_no_envelope(body: Any) -> None:
    """2.1 and 2.3: no `events` array."""
    with both() as pair:
        refused(pair.post(body), "invalid_envelope")


def test_strict_makes_advice_decide() -> None:
    """2.1: `strict=True`."""
    advised = {"client": {"__zarazTrack": ""}}
    with both() as pair:
        assert [entry["status"] for entry in pair.post({"events": [advised]}).entries] == ["warned"]
    with both(strict=True) as pair:
        refused(pair.post({"events": [advised]}), "no_valid_event")
        assert pair.post(ONE).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-8",
        "???",
    ],
)
def test_any_content_type_or_none(content_type: str | None) -> None:
    """2.1: real senders send forms' types and none."""
    with both() as pair:
        assert pair.post(ONE, {} if content_type is None else {"content-type": content_type}).status == 200


def test_a_byte_order_mark_is_skipped() -> None:
    """2.1."""
    assert accepted_event(b"\xef\xbb\xbf" + SEED_FIRST).name == "transaction successful"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"events":[{"client":{"__zarazTrack":"a"},"client":{"__zarazTrack":"b"}}]}', "b"),
        (b'{"events":[{"client":{"__zarazTrack":"a","__zarazTrack":"b"}}]}', "b"),
        (b'{"events":[{"client":1,"client":{"__zarazTrack":"b"}}]}', "b"),
        (b'{"events":[{"client":{"__zarazTrack":"a"}}],"events":[{"client":{"__zarazTrack":"b"}}]}', "b"),
        (b'{"events":1,"events":[{"client":{"__zarazTrack":"b"}}]}', "b"),
        (b'{"events":[{"client":{"__zarazTrack":"a"}}],"\\u0065vents":[{"client":{"__zarazTrack":"b"}}]}', "b"),
        (b'{"x":1,"events":[1],"events":[{"client":{"__zarazTrack":"b"}}]}', "b"),
    ],
)
def test_of_equal_keys_the_last_wins_on_every_path(body: bytes, name: str) -> None:
    """2.1: duplicate keys."""
    assert accepted_event(body).name == name


def test_integers_are_exact_up_to_4000_digits() -> None:
    """2.1."""
    most = 10**4000 - 1
    assert accepted_event(f'{{"events":[{{"client":{{"n":{most}}}}}]}}'.encode()).properties["n"] == most
    with both() as pair:
        for digits in ("1" * 4001, "-" + "1" * 4001, "1" * 9000):
            refused(pair.post(f'{{"events":[{{"client":{{"n":{digits}}}}}]}}'.encode()), "number_too_large")
        assert pair.post(f'{{"events":[{{"client":{{"n":"{"1" * 5000}"}}}}]}}'.encode()).status == 200


def event_of(text: bytes) -> bytes:
    return b'{"events":[{"client":{"a":' + text + b"}}]}"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"events":[{"client":{}}]} x', "invalid_json"),
        (b'{"events":[{"client":{}},]}', "invalid_json"),
        (b"{'events':[]}", "invalid_json"),
        (event_of(b"NaN"), "invalid_json"),
        (event_of(b"Infinity"), "invalid_json"),
        (event_of(b"-Infinity"), "invalid_json"),
        (event_of(b"01"), "invalid_json"),
        (event_of(b'"\\ud800"'), "invalid_json"),
        (event_of(b'"\\udc00\\ud800"'), "invalid_json"),
        (event_of(b'"\xff"'), "invalid_json"),
        (event_of(b'"\xed\xa0\x80"'), "invalid_json"),
        (event_of(b'"a\nb"'), "invalid_json"),
        (event_of(b"1e400"), "number_too_large"),
        (event_of(b"-1e400"), "number_too_large"),
        (b'{"other":"\xff","events":[{"client":{}}]}', "invalid_json"),
        (b'{"other":1e400,"other":1,"events":[{"client":{}}]}', "number_too_large"),
        (b'{"events":[{"client":{"a":"\xff"}}],"events":[{"client":{}}]}', "invalid_json"),
        (b'{"events":[1e400],"\\u0065vents":[{"client":{}}]}', "number_too_large"),
        (b'{"events":[{"client":{}}]}'.decode().encode("utf-16"), "invalid_json"),
        (b"[" * 100_000, "too_deep"),
        (b"[" * 100_000 + b"1" * 5000, "too_deep"),
        (b'{"events":[' + b"1" * 5000 + b"x", "number_too_large"),
    ],
)
def test_json_is_strict_and_decoded_whole(body: bytes, code: str) -> None:
    """2.1: NaN, Infinity, numbers beyond a double's range, lone surrogates, trailing text are refused, wherever they stand."""
    with both() as pair:
        refused(pair.post(body), code)


def raw_deflate(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return squeezer.compress(data) + squeezer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(SEED_FIRST)),
        ("x-gzip", gzip.compress(SEED_FIRST)),
        ("GZIP", gzip.compress(SEED_FIRST)),
        ("deflate", zlib.compress(SEED_FIRST)),
        ("deflate", raw_deflate(SEED_FIRST)),
        ("identity", SEED_FIRST),
        ("", SEED_FIRST),
    ],
)
@pytest.mark.parametrize("chunk", [1, 7, 65536])
def test_content_encoding(encoding: str, body: bytes, chunk: int) -> None:
    """2.1: gzip and deflate, one layer."""
    with both() as pair:
        answer = pair.send(Request(body=body, headers=(("content-encoding", encoding),), chunk=chunk))
    assert answer.status == 200


@pytest.mark.parametrize(
    ("encoding", "body", "code"),
    [
        ("gzip", gzip.compress(SEED_FIRST)[:-1], "invalid_encoding"),
        ("gzip", b"", "invalid_encoding"),
        ("gzip", SEED_FIRST, "invalid_encoding"),
        ("gzip", gzip.compress(SEED_FIRST) + b"x", "invalid_encoding"),
        ("gzip", gzip.compress(SEED_FIRST) * 2, "invalid_encoding"),
        ("gzip", gzip.compress(gzip.compress(SEED_FIRST)), "invalid_json"),
        ("deflate", zlib.compress(SEED_FIRST)[:-1], "invalid_encoding"),
        ("deflate", raw_deflate(SEED_FIRST)[:-3], "invalid_encoding"),
        ("deflate", b"x" + zlib.compress(SEED_FIRST), "invalid_encoding"),
        ("gzip", gzip.compress(b" " * 5_000_000), "body_too_large"),
        ("deflate", zlib.compress(b" " * (1024 * 1024 + 1)), "body_too_large"),
        ("gzip, gzip", gzip.compress(gzip.compress(SEED_FIRST)), "unsupported_encoding"),
        ("br", SEED_FIRST, "unsupported_encoding"),
    ],
)
@pytest.mark.parametrize("chunk", [997, 65536])
def test_bodies_that_cannot_be_inflated(encoding: str, body: bytes, code: str, chunk: int) -> None:
    """2.1 and 2.3: inflated under the same limit; 415 with Accept-Encoding."""
    with both() as pair:
        answer = pair.send(Request(body=body, headers=(("content-encoding", encoding),), chunk=chunk))
    refused(answer, code)
    assert answer.header("accept-encoding") == ("gzip, deflate" if code == "unsupported_encoding" else None)


def nested(levels: int) -> bytes:
    inside = levels - 4  # the object, its array, the event, its client
    return event_of(b"[" * inside + b"]" * inside)


@pytest.mark.parametrize("limits", [Limits(max_body_bytes=200, max_events=3, max_depth=8)])
def test_limits_are_inclusive(limits: Limits) -> None:
    """2.1 and 2.3: bytes, inflated bytes, events, depth: 413."""
    exact, over = SEED_FIRST.ljust(200), SEED_FIRST.ljust(201)
    chunked = (("transfer-encoding", "chunked"),)
    with both(limits=limits) as pair:
        assert pair.post(exact).status == 200
        refused(pair.post(over), "body_too_large")
        assert pair.send(Request(body=exact, headers=chunked)).status == 200
        refused(pair.send(Request(body=over, headers=chunked, chunk=10)), "body_too_large")
        assert pair.post(gzip.compress(exact), {"content-encoding": "gzip"}).status == 200
        refused(pair.post(gzip.compress(over), {"content-encoding": "gzip"}), "body_too_large")
        assert pair.post({"events": [GOOD] * 3}).status == 200
        refused(pair.post({"events": [GOOD] * 4}), "too_many_events")
        assert pair.post(nested(8)).status == 200
        refused(pair.post(nested(9)), "too_deep")
        deep_elsewhere = b'{"x":' + b"[" * 8 + b"]" * 8 + b',"events":[{"client":{}}]}'
        refused(pair.post(deep_elsewhere), "too_deep")
        refused(pair.post(b'{"events":[' + b"[" * 8 + b"]" * 8 + b"]}"), "too_deep")


def test_an_announced_length_over_the_limit_is_refused_before_the_body() -> None:
    """2.3: 413 as soon as it is known."""
    with both() as pair:
        answer = pair.send(Request(headers=(("content-length", "2000000"),)))
    refused(answer, "body_too_large")


@pytest.mark.parametrize(
    ("headers", "ip"),
    [
        ({}, None),
        ({"sec-fetch-site": "same-origin"}, PEER),
        ({"origin": "http://example.com"}, PEER),
    ],
)
def test_the_connections_address_is_used_for_browsers_only(headers: dict[str, str], ip: str | None) -> None:
    """2.1: when `system.device.ip` is absent, and only if the request came from a browser."""
    assert accepted_event(ONE, headers).device.ip == ip
    given = {"events": [{"client": {}, "system": {"device": {"ip": "192.0.2.7"}}}]}
    assert accepted_event(given, headers).device.ip == "192.0.2.7"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "ip"),
    [
        (0, "198.51.100.1", PEER),
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        (2, "6.6.6.6, 198.51.100.1, 10.0.0.1", "198.51.100.1"),
        (2, "198.51.100.1", PEER),
        (1, "198.51.100.1:4711", "198.51.100.1"),
        (1, "[2001:db8::1]:443", "2001:db8::1"),
        (1, "2001:DB8:0::1", "2001:db8::1"),
        (1, "unknown", PEER),
        (1, "fe80::1%eth0", PEER),
        (1, "1.1" + ":1" * 5000, PEER),
        (1, "", PEER),
    ],
)
def test_trusted_proxies_are_counted(proxies: int, forwarded: str, ip: str) -> None:
    """2.1: through the counted `trusted_proxies`."""
    headers = {"sec-fetch-site": "same-origin", "x-forwarded-for": forwarded}
    assert accepted_event(ONE, headers, trusted_proxies=proxies).device.ip == ip


# 2.2 Answer


@tool("first", answers=True)
def first(_event: Event) -> list[Effect]:
    return [Fetch("https://a.example", {"method": "POST"}), Execute("a()"), Return({"n": 1}), SetCookie("a", "1")]


@tool("second", answers=True)
def second(_event: Event) -> list[Effect]:
    return [
        Fetch("https://b.example"),
        Execute("b()"),
        Return(None),
        SetCookie("b", None),
        SetCookie("c", "3", path="/", domain="example.com", expires="Wed, 21 Oct 2015 07:28:00 GMT",
                  max_age_s=10**9, secure=True, http_only=False, same_site="None"),
    ]  # fmt: skip


def test_the_four_keys_and_their_shapes() -> None:
    """2.2: `[url, init]`, JavaScript texts, values by tool id, cookies by name; nothing is set on the answer itself."""
    with both(tools=[first, second]) as pair:
        answer = pair.post(ONE)
    REPLY.validate(answer.json)
    assert answer.json["results"] == [
        {
            "fetch": [["https://a.example", {"method": "POST"}], ["https://b.example", {}]],
            "execute": ["a()", "b()"],
            "return": {"first": {"n": 1}, "second": None},
            "cookies": {
                "a": {"value": "1", "opts": {}},
                "b": {"value": None, "opts": {}},
                "c": {
                    "value": "3",
                    "opts": {
                        "path": "/",
                        "domain": "example.com",
                        "expires": "Wed, 21 Oct 2015 07:28:00 GMT",
                        "max_age": 31_536_000,
                        "secure": True,
                        "http_only": False,
                        "same_site": "None",
                    },
                },
            },
        },
    ]
    assert answer.header("set-cookie") is None


@tool("raiser", answers=True)
def raiser(event: Event) -> None:
    raise RuntimeError(event.name)


@tool("flood", answers=True)
def flood(_event: Event) -> Any:
    while True:
        yield Execute("x()")


@tool("rubbish", answers=True)
def rubbish(_event: Event) -> Any:
    return [Execute("lost()"), "not an effect"]


@tool("unfit", answers=True)
def unfit(_event: Event) -> Any:
    return [
        Fetch("http://[::1"),
        Fetch("https://x", {"a": {1, object()}}),  # what a careless owner may yield
        SetCookie("a", "b; Domain=evil"),
        SetCookie("a\r\nx", "b"),
        SetCookie(5, "b"),  # type: ignore[arg-type]  # as above
        SetCookie("a", "b", secure="yes"),  # type: ignore[arg-type]  # as above
        Return(float("nan")),
        Return("\ud800"),
    ]


def test_a_tool_that_fails_changes_nobody_elses_result_and_no_status() -> None:
    """2.2: a failing, slow or refusing tool changes nobody else's result and never the status code."""
    with both(tools=[first]) as pair:
        alone = pair.post(ONE).json["results"]
    with both(tools=[raiser, flood, first, rubbish, unfit]) as pair:
        answer = pair.post(ONE)
    assert (answer.status, answer.json["results"]) == (200, alone)


def test_some_refused_and_others_not() -> None:
    """2.2: 200, the refused have an empty Result Object, their problem in the receipt, and Eventmw-Rejected."""
    with both(tools=[first]) as pair:
        answer = pair.post(MIXED)
    REPLY.validate(answer.json)
    assert answer.status == 200
    assert answer.header("eventmw-rejected") == "1"
    assert [result == EMPTY for result in answer.json["results"]] == [False, True, False]
    (entry,) = answer.entries
    assert entry == {
        "index": 1,
        "id": f"{answer.receipt['id']}-1",
        "status": "invalid",
        "code": "type",
        "path": "/events/1/client",
        "schema_path": "/$defs/event/properties/client/type",
        "message": "expected an object, got a number",
    }


@pytest.mark.parametrize("options", [{"batch": "atomic"}, {"receipt": False}, {"envelope": "array"}])
def test_no_refusal_is_ever_silent(options: dict[str, Any]) -> None:
    """2.2: these refuse the whole request instead."""
    kept: list[Event] = []
    with both(tools=[keeper(kept)], **options) as pair:
        problem = refused(pair.post(MIXED), "rejected_events")
        assert not kept
        assert [error["index"] for error in problem["errors"]] == [1]
        answer = pair.post(ONE)
    body = answer.json
    assert body == {"batch": body, "receipt": {"results": [EMPTY]}, "envelope": [EMPTY]}[next(iter(options))]


def test_a_full_receipt_lists_every_event_and_tool() -> None:
    """2.2: `receipt="full"`."""

    @tool("buys", when="purchase")
    def buys(_event: Event) -> None: ...

    events = [{"client": {"__zarazTrack": "purchase"}}, GOOD, {"client": 1}, {"client": {"__zarazTrack": ""}}]
    with both(tools=[buys], receipt="full") as pair:
        answer = pair.post({"events": events})
    REPLY.validate(answer.json)
    ident = answer.receipt["id"]
    assert [(entry["index"], entry["id"], entry["status"], entry.get("tools")) for entry in answer.entries] == [
        (0, f"{ident}-0", "accepted", {"buys": "queued"}),
        (1, f"{ident}-1", "accepted", {"buys": "filtered"}),
        (2, f"{ident}-2", "invalid", None),
        (3, f"{ident}-3", "warned", {"buys": "filtered"}),
    ]


@given(own.payloads(own.BATCHES), st.sampled_from(["brief", "full"]))
def test_one_result_for_each_event_in_order_and_a_receipt_that_adds_up(document: Any, receipt: Any) -> None:
    """2.2: `results` has exactly one Result Object for each Event Object, in the same order."""

    @tool("echo", answers=True)
    def echo(event: Event) -> Return:
        return Return(event.id)

    with both(tools=[echo], receipt=receipt, journal="memory") as pair:
        answer = pair.post(document)
    if answer.status != 200:
        refused(answer, "no_valid_event")
        return
    REPLY.validate(answer.json)
    results, summary = answer.json["results"], answer.receipt
    assert len(results) == len(document["events"]) == summary["accepted"] + summary["rejected"]
    bad = {entry["index"] for entry in answer.entries if entry["status"] == "invalid"}
    assert len(bad) == summary["rejected"]
    assert answer.header("eventmw-rejected") == (str(len(bad)) if bad else None)
    for index, (result, event) in enumerate(zip(results, document["events"], strict=True)):
        if index in bad:
            assert result == EMPTY
        else:
            expected = (event.get("eventmw") or {}).get("id") or f"{summary['id']}-{index}"
            assert result == EMPTY | {"return": {"echo": expected}}


# 2.3 Bad input: the door and the journal


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
    from tests.gateways import _through_asgi

    return await _through_asgi(site, request)


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
    event = {"client": {}, "eventmw": {"x" * length: 1, "id": 5}}
    with both() as pair:
        problem = refused(pair.post({"events": [event] * bad}), "no_valid_event")
    shown = len(problem["errors"])
    assert shown + problem.get("errors_omitted", 0) == bad
    assert shown == min(bad, 100)


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
    ask = (("origin", LISTED), ("access-control-request-method", "POST"))
    with both(allowed_origins=[LISTED]) as pair:
        answer = pair.send(Request(method="OPTIONS", headers=ask))
        other = pair.send(Request(method="OPTIONS", headers=(("origin", OTHER),)))
        without = pair.send(Request(method="OPTIONS"))
    assert (answer.status, answer.body) == (204, b"")
    assert cors(answer) == {
        "access-control-allow-origin": LISTED,
        "access-control-expose-headers": "eventmw-rejected, retry-after",
        "vary": "Origin",
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "authorization, content-type, idempotency-key, x-eventmw-key",
        "access-control-max-age": "600",
    }
    refused(other, "cross_site")
    refused(without, "cross_site")


# 2.5 Duplicates


def test_an_idempotency_key_makes_ids_repeat() -> None:
    """2.5: the events' ids are a function of (credential, key, index)."""
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
        assert str(status) in next(line for line in page.splitlines() if line.startswith("|") and f"`{code}`" in line)


def test_both_gateways_count_the_same_ids(tmp_path: Path) -> None:
    """2.3: the same answer for the same complete body, clock and ids; and ids differ from request to request."""
    with both() as pair:
        ids = [pair.post(ONE).receipt["id"] for _ in range(3)]
    assert len(set(ids)) == 3
