"""The Zaraz dialect, PROTOCOLS.md 2.1: the request. Each case through both gateways, the same to the last byte."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from eventmw import Limits
from eventmw.event import Event
from eventmw.testing import NOW_MS, deliver
from tests.contract import (
    GOOD,
    ONE,
    SEED_FIRST,
    SEED_SECOND,
    accepted_event,
    keeper,
    refused,
)
from tests.gateways import PEER, Answer, Request, both


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
        ({"__zarazTrack": "x", "__zarazEcommerce": "true"}, "ecommerce", "x"),
        ({"__zarazTrack": "x", "__zarazEcommerce": 1}, "ecommerce", "x"),
        ({"__zarazTrack": "x", "__zarazEcommerce": "yes"}, "event", "x"),
    ],
)
def test_client(client: Any, kind: str, name: str) -> None:
    """2.1: `[]` counts as `{}`; `true`, and `"true"` and 1 with a warning, make an e-commerce event."""
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
    """2.1: a time more than a day ahead is a warning."""
    ahead = NOW_MS + 86_400_001
    with both() as pair:
        for when in (ahead, float(ahead), "2021-06-29T20:30:00Z"):
            answer = pair.post({"events": [{"client": {}, "eventmw": {"timestamp": when}}]})
            assert [(entry["status"], entry["code"]) for entry in answer.entries] == [("warned", "future_time")]


@pytest.mark.parametrize("event", [1, None, "x", [], {}, {"client": 1}, {"client": None}, {"client": [1]},
                                   {"client": {"__zarazTrack": {}}}, {"client": {}, "eventmw": 1},
                                   {"client": {}, "eventmw": {"id": {}}}, {"client": {}, "eventmw": {"id": "x" * 129}},
                                   {"client": {}, "eventmw": {"id": [1]}}, {"client": {}, "eventmw": {"timestamp": "noon"}},
                                   {"client": {}, "eventmw": {"timestamp": True}}, {"client": {}, "eventmw": {"timestamp": -1}}])  # fmt: skip
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
    advised = {"client": {}, "system": {"device": {"userAgent": "x"}}}
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
        (b'{"events":[' + b"1" * 5000 + b"x", "invalid_json"),
        (b'{"events":[' + b"1" * 5000 + b"]}", "number_too_large"),
    ],
)
def test_json_is_strict_and_decoded_whole(body: bytes, code: str) -> None:
    """2.1: NaN, Infinity, numbers beyond a double's range, broken UTF-8, trailing text are refused, wherever they stand.

    A request of nothing but events that are refused for one of these has its code.
    """
    with both() as pair:
        refused(pair.post(body), code)


@pytest.mark.parametrize(
    "value",
    [b"NaN", b"-Infinity", b"1e400", b"1" * 4001, b'"\xff"', b"[" * 40 + b"]" * 40, b"[" * 50_000 + b"]" * 50_000],
)
def test_a_value_at_fault_refuses_its_event_with_its_index(value: bytes) -> None:
    """2.1: the others are taken; `batch="atomic"` refuses the whole and names the index."""
    body = b'{"events":[{"client":{"__zarazTrack":"a"}},{"client":{"v":%b}},{"client":{"__zarazTrack":"c"}}]}' % value
    kept: list[Event] = []
    with both(tools=[keeper(kept)]) as pair:
        answer = pair.post(body)
        assert (answer.status, answer.header("eventmw-rejected")) == (200, "1")
        assert [(entry["index"], entry["status"]) for entry in answer.entries] == [(1, "invalid")]
        for site in pair.sites:
            deliver(site)
    assert {event.name for event in kept} == {"a", "c"}
    with both(batch="atomic") as pair:
        problem = refused(pair.post(body), "rejected_events")
        assert [error["index"] for error in problem["errors"]] == [1]


def test_half_a_character_is_replaced() -> None:
    """2.1: browsers cut titles inside an emoji; U+FFFD with a warning, and delivered so."""
    body = b'{"z":"\\udc00","events":[{"client":{"__zarazTrack":"party \\ud83c","\\ud83c":"\\ud83c\\udf89"}}]}'
    event = accepted_event(body)
    assert (event.name, event.properties) == ("party \ufffd", {"\ufffd": "\U0001f389"})
    with both() as pair:
        assert [(entry["index"], entry["code"]) for entry in pair.post(body).entries] == [(0, "lone_surrogate")]


def test_a_browsers_words_fill_in_through_both_gateways() -> None:
    """2.1: address, user agent and language of a request that came from a browser, and no other."""
    said = {"user-agent": "Mozilla/5.0 (X)", "accept-language": "de-DE,de;q=0.9", "sec-ch-ua-platform": '"Linux"'}
    event = accepted_event(ONE, said | {"sec-fetch-site": "same-origin"})
    assert (event.device.user_agent, event.device.language) == ("Mozilla/5.0 (X)", "de-DE")
    assert event.system["device"]["client-hints"] == {"platform": '"Linux"'}
    assert accepted_event(ONE, said).device.user_agent is None


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
        ({"origin": "http://example.com", "sec-gpc": "1"}, None),
        ({"origin": "http://example.com", "dnt": "1"}, None),
        ({"origin": "http://example.com", "dnt": "0"}, PEER),
    ],
)
def test_the_connections_address_is_used_for_browsers_only(headers: dict[str, str], ip: str | None) -> None:
    """2.1: when `system.device.ip` is absent, and only if the request came from a browser."""
    assert accepted_event(ONE, headers).device.ip == ip
    given = {"events": [{"client": {}, "system": {"device": {"ip": "192.0.2.7"}}}]}
    assert accepted_event(given, headers).device.ip == "192.0.2.7"


@pytest.mark.parametrize(
    ("sent", "ip"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:C000:0207", "192.0.2.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("not one", "not one"),
    ],
)
def test_the_address_of_a_device_has_one_spelling(sent: str, ip: str) -> None:
    event = accepted_event({"events": [{"client": {}, "system": {"device": {"ip": sent}}}]})
    assert (event.device.ip, event.system["device"]["ip"]) == (ip, ip)


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
        (1, "fe80::1%eth0", "fe80::1"),
        (1, "1.1" + ":1" * 5000, PEER),
        (1, "", PEER),
    ],
)
def test_trusted_proxies_are_counted(proxies: int, forwarded: str, ip: str) -> None:
    """2.1: through the counted `trusted_proxies`."""
    headers = {"sec-fetch-site": "same-origin", "x-forwarded-for": forwarded}
    assert accepted_event(ONE, headers, trusted_proxies=proxies).device.ip == ip
