"""The EventBunker dialect, PROTOCOLS.md 3.1: tracking. Through both gateways, to the last byte."""

from __future__ import annotations

import gzip
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw import Drop, Limits, tool
from eventmw.errors import PROBLEMS
from eventmw.event import Event
from eventmw.protocols.eventbunker.generated import GENERATED
from eventmw.testing import NOW_MS, deliver
from tests import strategies as own
from tests.calls import ask_asgi, ask_wsgi
from tests.eventbunker import (
    ANN,
    DELETE,
    ELSEWHERE,
    HEADER,
    KEYS,
    OF_A_PAGE,
    OTHER,
    POST,
    QUERY,
    REPAIRED,
    SEED,
    SHOP,
    WRITE,
    kept,
    refusal,
    track,
    tracking,
)
from tests.gateways import Answer, Request
from tests.test_eventbunker_accept import GOOD, NEARLY

ONE = {"event_name": "x"}
BODY_FAILED = "Body JSON validation failed."
INVALID_KEY = "Invalid x-eventbunker-write-key"
WRONG_KIND = "Please use a write key for write requests. Invalid x-eventbunker-write-key"


# The request


def test_the_seeds_sample_repaired() -> None:
    """The seed, «Example Request»; `time_recorded` is in milliseconds, and `unique_req_id` 32 hexadecimal digits."""
    with tracking() as pair:
        answer = track(pair, REPAIRED)
        (event,) = kept(pair)
    assert answer == Answer(
        200,
        (
            ("content-type", "application/json"),
            ("content-length", str(len(answer.body))),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("vary", "Origin"),
        ),
        b'{"unique_req_id":"017a543c48d070008000000000000001","time_recorded":1624910874832}',
    )
    assert (event.id, event.name, event.kind, event.dialect) == (
        "017a543c48d070008000000000000001", "my_first_event_name", "event", "eventbunker",
    )  # fmt: skip
    assert (event.timestamp_ms, event.recorded_ms, event.user_id) == (1624718880000, NOW_MS, "your_app_customer_id")
    assert {name: value for name, value in event.properties.items() if not name.startswith("_")} == {
        "example_string_field": "",
        "example_number_field": 123,
        "example_array_field": ["cat", "dog"],
        "example_bool_field": True,
    }


def test_the_seeds_sample_as_it_stands() -> None:
    """3.1: it lacks a comma: our 400 names the line, the column and what was expected there."""
    with tracking() as pair:
        (detail,) = refusal(track(pair, SEED), 400, BODY_FAILED, "invalid_json")
        assert kept(pair) == []
    assert detail["message"] == "Expected a comma or a closing bracket after a value at line 8, column 1."


@pytest.mark.parametrize(
    ("name", "taken"),
    [("a", True), ("A.b_c-9", True), ("x" * 256, True), ("x" * 257, False), ("", False), ("a b", False), ("ä", False),
     ("a/b", False), ("a\n", False), (5, False), (None, False), (["a"], False)],
)  # fmt: skip
def test_the_name(name: Any, *, taken: bool) -> None:
    """3.1: required: a to z, digits, `.`, `_`, `-`."""
    with tracking() as pair:
        assert track(pair, {"event_name": name}).status == (200 if taken else 400)
        assert refusal(track(pair, {"name": "x"}), 400, BODY_FAILED, "required")[0]["path"] == ""


@pytest.mark.parametrize(
    ("written", "milliseconds"),
    [
        ("2021-06-26T14:48:00.000", 1624718880000),
        ("2021-06-26T14:48:00", 1624718880000),
        ("2021-06-26T14:48:00.250Z", 1624718880250),
        ("2021-06-26T14:48:00.000+09:00", 1624686480000),
        ("Sat, 26 Jun 2021 14:48:00 GMT", 1624718880000),
        ("2021-06-26", 1624665600000),
        ("2021-06-26 14:48:00.5+00", 1624718880500),
        (1624718880, 1624718880000),
        (1624718880000.5, 1624718880000),
        ("1624718880000", 1624718880000),
        ("", NOW_MS),
        (None, NOW_MS),
        ([], NOW_MS),
    ],
)
def test_times_are_stored_in_utc(written: Any, milliseconds: int) -> None:
    """3.1: one reader for both APIs; without a zone it is UTC. The answer still says when it was recorded."""
    with tracking() as pair:
        answer = track(pair, ONE | {"timestamp": written})
        (event,) = kept(pair)
    assert event.timestamp_ms == milliseconds
    assert answer.json["time_recorded"] == NOW_MS


def test_without_a_time_it_is_now_and_the_answer_says_so() -> None:
    """3.1: `time_recorded` is the stored timestamp when the API set it."""
    with tracking() as pair:
        answer = track(pair, ONE)
        (event,) = kept(pair)
    assert event.timestamp_ms == answer.json["time_recorded"] == NOW_MS


@pytest.mark.parametrize("wrong", ["noon", "2021-02-30", "1969-12-31T23:59:59Z", -1, True, {}])
def test_times_that_are_none(wrong: Any) -> None:
    """3.1."""
    code = "format" if isinstance(wrong, str) else "minimum" if wrong == -1 else "type"
    with tracking() as pair:
        (detail,) = refusal(track(pair, ONE | {"timestamp": wrong}), 400, BODY_FAILED, code)
    assert detail["path"] == "/timestamp"
    assert "such as 2026-11-29T12:00:00Z" in detail["message"]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"timestamp": 1624718880}, "time_unit"), ({"timestamp": "1970-01-21T10:54:19Z"}, "past_time"),
        ({"timestamp": "2099-01-01"}, "future_time"), ({"title": "party \\ud83c"}, "lone_surrogate"),
    ],
)  # fmt: skip
def test_what_looks_wrong_is_in_the_log_since_the_answer_has_no_place(
    event: dict[str, Any], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """3.1: each kind once, for each site; the event is taken."""
    body = json.dumps(ONE | event).replace("\\\\ud83c", "\\ud83c").encode()
    with tracking() as pair:
        assert track(pair, body).status == track(pair, body).status == 200
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith(code)]
    assert len(lines) == 2, "one of each gateway's site"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "text",
        1,
        1.5,
        -(10**30),
        True,
        False,
        None,
        [],
        ["a", "b"],
        [1, 2.5],
        [True, False],
        {},
        {"a": 1, "b": ["x"], "c": None},
    ],
)
def test_free_fields(value: Any) -> None:
    """3.1: string, number, null, boolean; arrays of one scalar type; one level of object with those same types."""
    with tracking() as pair:
        assert track(pair, ONE | {"free": value}).status == 200
        assert kept(pair)[0].properties["free"] == value


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (["a", 1], "/free"), ([1, True], "/free"), ([None], "/free"), ([["a"]], "/free"), ([{}], "/free"),
        ({"a": {}}, "/free/a"), ({"a": {"b": 1}}, "/free/a"), ({"a": [1, "x"]}, "/free/a"), ({"a/b": [{}]}, "/free/a~1b"),
    ],
)  # fmt: skip
def test_fields_that_are_refused(value: Any, path: str) -> None:
    """3.1: no object inside that object; the message names the path."""
    with tracking() as pair:
        answer = track(pair, ONE | {"free": value})
        assert answer.status == 400
        assert kept(pair) == []
    assert [detail["path"] for detail in answer.json["details"]] == [path]


@pytest.mark.parametrize(
    "name", ["_ip", "_country", "_utm_source", "_gclid", "unique_req_id", "time_recorded", "project_id"]
)
def test_reserved_names(name: str) -> None:
    """3.1: a sender cannot set a generated name, nor `unique_req_id`, `time_recorded`, `project_id`."""
    with tracking() as pair:
        (detail,) = refusal(track(pair, ONE | {name: "x"}), 400, BODY_FAILED, "not")
        assert track(pair, ONE | {"free": {name: "x"}}).status == 200, "inside an object it is just a name"
    assert detail["path"] == "/" + name


@pytest.mark.parametrize("name", ["_", "_fbp", "_fbc", "_ga", "_id", "__typename", "_anything"])
def test_other_names_that_begin_with_an_underscore_are_fields(name: str) -> None:
    """3.1."""
    with tracking() as pair:
        assert track(pair, ONE | {name: "x"}).status == 200
        assert kept(pair)[0].properties[name] == "x"


@pytest.mark.parametrize(
    ("value", "text"),
    [("", None), (None, None), ([], None), (42, "42"), (1.5, "1.5"), (10**30, str(10**30)), (True, "true")],
)
def test_predefined_fields_are_read_liberally(value: Any, text: str | None) -> None:
    """3.1: null, `[]` and "" mean absent, a number is its text."""
    with tracking() as pair:
        assert track(pair, ONE | {"customer_identifier": value, "metric_name": value}).status == 200
        event = kept(pair)[0]
    assert (event.user_id, event.properties.get("metric_name")) == (text, text)


@pytest.mark.parametrize("field", ["customer_identifier", "metric_name"])
@pytest.mark.parametrize("value", [{}, ["x"], {"a": 1}])
def test_predefined_fields_are_text(field: str, value: Any) -> None:
    """3.1."""
    with tracking() as pair:
        (detail,) = refusal(
            track(pair, ONE | {field: value}), 400, BODY_FAILED, "maxItems" if value == ["x"] else "type"
        )
        assert track(pair, ONE | {field: "text"}).status == 200
    assert detail["path"] == "/" + field


@pytest.mark.parametrize(
    ("value", "code"),
    [(b"NaN", "invalid_json"), (b"1e400", "number_too_large"), (b"9" * 4001, "number_too_large"), (b'"\xff"', "invalid_json"),
     (b"[" * 40 + b"]" * 40, "too_deep"), (b"[" * 50_000 + b"]" * 50_000, "too_deep")],
)  # fmt: skip
def test_a_value_at_fault_refuses_its_element(value: bytes, code: str) -> None:
    """3.1 and 2.1: of a batch its element, alone the request."""
    with tracking() as pair:
        answer = track(pair, b'[{"event_name":"a"},{"event_name":"b","v":%b},{"event_name":"c"}]' % value)
        assert answer.status == 200
        assert [entry.get("error") for entry in answer.json] == [None, BODY_FAILED, None]
        (detail,) = answer.json[1]["details"]
        assert (detail["code"], detail["path"][:2]) == (code, "/1")
        assert [event.name for event in kept(pair)] == ["a", "c"]


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "text/plain", "application/x-www-form-urlencoded", "x"]
)
def test_any_content_type_or_none(content_type: str | None) -> None:
    """3.1."""
    with tracking() as pair:
        assert track(pair, ONE, {} if content_type is None else {"content-type": content_type}).status == 200


def test_bodies_as_they_may_come() -> None:
    """2.1: a BOM is skipped, of equal keys the last wins, one layer of gzip."""
    with tracking() as pair:
        assert track(pair, b'\xef\xbb\xbf \n{"event_name":"a","event_name":"b"}\n').status == 200
        assert track(pair, gzip.compress(b'[{"event_name":"c"}]'), {"content-encoding": "gzip"}).status == 200
        assert track(pair, b' [ {"event_name":"d"} , {"event_name":"e"} ] \n').status == 200
        assert [event.name for event in kept(pair)] == ["b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"), (b"{", "invalid_json"), (b'{"event_name":NaN}', "invalid_json"), (b"\xff", "invalid_json"),
        (b'{"event_name":"x"} x', "invalid_json"),
        (b'{"event_name":"x","a":1e400}', "number_too_large"), (b'{"event_name":"x","a":' + b"9" * 4001 + b"}", "number_too_large"),
        (b"5", "type"), (b"null", "type"), (b'"x"', "type"), (b"[]", "minItems"), (b"{}", "required"),
    ],
)  # fmt: skip
def test_bodies_that_are_none(body: bytes, code: str) -> None:
    """3.1: `Body JSON validation failed.` with the validator's messages."""
    with tracking() as pair:
        (detail,) = refusal(track(pair, body), 400, BODY_FAILED, code)
    assert detail["message"]


# Keys


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (None, INVALID_KEY), ("", INVALID_KEY), ("eb_write_al", INVALID_KEY), ("ü" * 40, INVALID_KEY), (f"{WRITE}, {WRITE}", INVALID_KEY),
        (QUERY, WRONG_KIND), (DELETE, WRONG_KIND),
    ],
)  # fmt: skip
def test_keys_that_do_not_open(key: str | None, error: str) -> None:
    """3.1, letter for letter: wrong or missing key; a query or delete key was sent."""
    with tracking() as pair:
        answer = track(pair, ONE, key=key)
        (detail,) = refusal(answer, 401, error, "unauthorized")
        assert kept(pair) == []
    assert answer.header("www-authenticate") == f'ApiKey realm="eventmw", header="{HEADER}"'
    assert detail["message"].startswith(f"expected a write key in the header {HEADER}, got ")
    assert not key or key.encode() not in answer.body


def test_other_keys_do_not_open_it() -> None:
    """3.1: the key has its own header; those of the HTTP Events API are others."""
    with tracking(keys={"shop": "0123456789abcdef"}) as pair:
        for headers in ({"authorization": f"Bearer {WRITE}"}, {"x-eventmw-key": "0123456789abcdef"}):
            refusal(track(pair, ONE, headers, key=None), 401, INVALID_KEY, "unauthorized")


def test_a_key_that_is_bound_to_a_customer() -> None:
    """3.2: writes get it filled in, a different one is refused."""
    with tracking() as pair:
        assert track(pair, ONE, key=ANN).status == 200
        assert track(pair, ONE | {"customer_identifier": "ann"}, key=ANN).status == 200
        (detail,) = refusal(
            track(pair, ONE | {"customer_identifier": "bob"}, key=ANN), 400, BODY_FAILED, "other_customer"
        )
        assert [event.user_id for event in kept(pair)] == ["ann", "ann"]
    assert detail["path"] == "/customer_identifier"
    assert "bob" not in detail["message"]


def test_the_credential_is_the_project_and_the_keys_id() -> None:
    """2.5: what duplicates are judged by; it holds nothing of the secret."""
    with tracking() as pair:
        track(pair, ONE)
        (entry,) = pair.behind_wsgi.runtime.journal.scan()
    assert pair.behind_wsgi.runtime.engine.credential(entry.record) == "p1/k1"
    assert WRITE.encode() not in entry.record


# Batches (ours)


def test_a_batch_is_answered_in_order() -> None:
    """3.1: an array is answered by an array in order, each element its answer or its error object."""
    with tracking() as pair:
        answer = track(pair, [ONE, {"event_name": "a b"}, {"event_name": "y", "timestamp": "2021"}, {}])
        events = kept(pair)
    assert answer.status == 200
    assert answer.header("eventmw-rejected") == "2"
    first, second, third, fourth = answer.json
    assert [event.id for event in events] == [first["unique_req_id"], third["unique_req_id"]]
    assert all(len(event.id) == 32 and int(event.id, 16) for event in events)
    assert first["unique_req_id"] != third["unique_req_id"]
    assert second["error"] == fourth["error"] == BODY_FAILED
    assert [detail["path"] for detail in second["details"] + fourth["details"]] == ["/1/event_name", "/3"]


def test_a_batch_of_which_nothing_is_taken() -> None:
    """3.1: `200` when at least one was taken, else `400`."""
    with tracking() as pair:
        answer = track(pair, [{}, 5, {"event_name": "x", "_ip": 1}] * 20)
        assert kept(pair) == []
    assert answer.status == 400
    assert len(answer.json) == 60
    assert {entry["error"] for entry in answer.json} == {BODY_FAILED}
    assert [len(entry["details"]) for entry in answer.json] == [1] * 25 + [0] * 35


def test_a_batch_with_a_bound_key() -> None:
    """3.2."""
    with tracking() as pair:
        answer = track(pair, [ONE, ONE | {"customer_identifier": "bob"}], key=ANN)
        assert [event.user_id for event in kept(pair)] == ["ann"]
    assert [entry.get("error") for entry in answer.json] == [None, BODY_FAILED]


# Names


class _TwoNames:
    """Lets the projects have two names each."""

    def may_name(self, project_id: str, name: str) -> bool:
        return project_id == "p2" or name in {"x", "y"}


def test_names_past_the_limit() -> None:
    """3.1: from the 2,001st on, tracks of new names are refused with 400."""
    with tracking() as pair:
        for site in pair.sites:
            site.runtime.names = _TwoNames()
        assert track(pair, ONE).status == 200
        (detail,) = refusal(track(pair, {"event_name": "z"}), 400, BODY_FAILED, "too_many_names")
        assert track(pair, {"event_name": "z"}, key=ELSEWHERE).status == 200, "another project has names of its own"
        assert [entry.get("error") for entry in track(pair, [ONE, {"event_name": "z"}]).json] == [None, BODY_FAILED]
    assert detail["path"] == "/event_name"


# The other refusals: 2.3, in this dialect's shape


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_post(method: str) -> None:
    """2.3: 405 with Allow."""
    with tracking() as pair:
        answer = track(pair, b"", method=method)
        assert (answer.status, answer.header("allow")) == (405, "POST, OPTIONS")
        if method != "HEAD":
            refusal(answer, 405, "Only POST is answered here", "method_not_allowed")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content-length": "2", "transfer-encoding": "chunked"}, "ambiguous_length"),
        ({"content-length": "x"}, "invalid_length"),
        ({"content-encoding": "br"}, "unsupported_encoding"),
        ({"content-encoding": "gzip"}, "invalid_encoding"),
        ({"idempotency-key": ""}, "invalid_idempotency_key"),
    ],
)
def test_heads_that_are_refused(headers: dict[str, str], code: str) -> None:
    """2.3."""
    with tracking() as pair:
        refusal(track(pair, b"{}", headers), *PROBLEMS[code], code)


def test_bodies_that_do_not_end() -> None:
    """2.3: 408 and 411, in this dialect's shape; what came is valid by itself, and nothing of it is kept."""
    sent = json.dumps(ONE).encode()
    more = [{"type": "http.request", "body": sent, "more_body": True}]
    head = [(HEADER, WRITE), ("content-length", str(len(sent) + 1))]
    chunked = [(HEADER, WRITE), ("transfer-encoding", "chunked")]
    with tracking(limits=Limits(body_timeout_s=0.1)) as pair:
        for answer, code in (
            (ask_asgi(pair.behind_asgi, "POST", POST, headers=head, messages=more), "body_timeout"),
            (
                ask_asgi(pair.behind_asgi, "POST", POST, headers=head, messages=[*more, {"type": "http.disconnect"}]),
                "client_gone",
            ),
            (
                ask_wsgi(pair.behind_wsgi, "POST", POST, sent, [(HEADER, WRITE)], CONTENT_LENGTH=str(len(sent) + 1)),
                "client_gone",
            ),
            (ask_wsgi(pair.behind_wsgi, "POST", POST, sent, chunked, CONTENT_LENGTH=""), "length_required"),
        ):
            refusal(Answer(answer.status, tuple(answer.headers), answer.body), *PROBLEMS[code], code)
        assert kept(pair) == []


def test_limits() -> None:
    """2.3: 413 for bytes, events and depth."""
    with tracking(limits=Limits(max_body_bytes=100, max_events=2)) as pair:
        refusal(track(pair, b" " * 101), *PROBLEMS["body_too_large"], "body_too_large")
        refusal(track(pair, [ONE] * 3), *PROBLEMS["too_many_events"], "too_many_events")
        refusal(track(pair, b'{"a":' + b"[" * 32 + b"]" * 32 + b"}"), *PROBLEMS["too_deep"], "too_deep")


def test_over_the_rate() -> None:
    """2.3: 429 with Retry-After, for each key by itself."""
    with tracking(limits=Limits(requests_per_s=0.1, burst=2)) as pair:
        assert [track(pair, ONE).status for _ in range(3)] == [200, 200, 429]
        answer = track(pair, ONE)
        refusal(answer, 429, "Too many requests", "rate_limited")
        assert int(answer.header("retry-after") or 0) > 0
        assert track(pair, ONE, key=ELSEWHERE).status == 200


def test_no_room_in_the_journal() -> None:
    """2.3: 503 with Retry-After."""
    with tracking(limits=Limits(journal_bytes=50)) as pair:
        answer = track(pair, ONE)
        (detail,) = refusal(answer, *PROBLEMS["journal_full"], "journal_full")
    assert answer.header("retry-after") == "5"
    assert "Idempotency-Key" in detail["message"]


def test_a_journal_that_takes_nothing_more() -> None:
    """2.3: 503 with Retry-After."""
    with tracking() as pair:
        for site in pair.sites:
            site.close(0)
        refusal(track(pair, ONE), *PROBLEMS["journal_down"], "journal_down")


def test_an_error_inside_leaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """3.1: `Error...` 500: internal; logged with the request's id, nothing leaked."""

    class Broken:
        def may_name(self, project_id: str, name: str) -> bool:
            raise KeyError("a secret")

    with tracking() as pair:
        for site in pair.sites:
            site.runtime.names = Broken()
        answer = track(pair, ONE)
        (detail,) = refusal(answer, 500, "Error...", "internal_error")
    ident = detail["message"].rstrip(".").rpartition(" ")[2]
    assert len(ident) == 32
    assert [ident in record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [True, True]
    assert b"secret" not in answer.body


# Browsers


@pytest.mark.parametrize(
    ("key", "headers", "status"),
    [
        (WRITE, {}, 200),
        (WRITE, {"origin": SHOP}, 403),
        (WRITE, {"sec-fetch-site": "cross-site"}, 403),
        (WRITE, {"sec-fetch-site": "same-origin", "origin": "http://example.com"}, 200),
        (WRITE, {"origin": "http://example.com"}, 200),
        (WRITE, {"origin": "null"}, 403),
        (ANN, {"origin": SHOP, "sec-fetch-site": "cross-site"}, 200),
        (ANN, {"origin": OTHER, "sec-fetch-site": "cross-site"}, 403),
        (ANN, {"origin": SHOP + "."}, 403),
        (OF_A_PAGE, {"origin": OTHER}, 200),
        (OF_A_PAGE, {"origin": SHOP}, 403),
    ],
)
def test_pages_of_other_sites_need_an_origin_that_their_key_lists(
    key: str, headers: dict[str, str], status: int
) -> None:
    """3.1: CORS per key (`origins`); 2.4 for the site's own pages."""
    with tracking() as pair:
        answer = track(pair, ONE, headers, key=key)
        assert answer.status == status
        assert len(kept(pair)) == (status == 200)
    if status == 403:
        refusal(answer, 403, "This browser origin is not allowed", "cross_site")


def cors(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers if name.startswith("access-control") or name == "vary"}


@pytest.mark.parametrize(("key", "body"), [(ANN, ONE), (ANN, b"{"), (WRITE, ONE), (None, ONE), (QUERY, ONE)])
def test_answers_and_errors_can_be_read_by_pages(key: str | None, body: Any) -> None:
    """2.4: on errors too, with `Vary: Origin`; for the origins that any key lists, and no other."""
    with tracking() as pair:
        assert cors(track(pair, body, {"origin": SHOP}, key=key)) == {
            "access-control-allow-origin": SHOP,
            "access-control-expose-headers": "eventmw-rejected, retry-after",
            "vary": "Origin",
        }
        assert cors(track(pair, body, {"origin": "https://evil.example"}, key=key)) == {"vary": "Origin"}
        assert cors(track(pair, body, key=key)) == {"vary": "Origin"}


def test_the_preflight() -> None:
    """3.1: browsers send the custom header, and no key in the preflight: the origins of any key may ask."""
    with tracking() as pair:
        answer = pair.send(
            Request(
                method="OPTIONS",
                path=POST,
                headers=(
                    ("origin", SHOP),
                    ("access-control-request-method", "POST"),
                    ("access-control-request-headers", "traceparent"),
                ),
            )
        )
        other = pair.send(Request(method="OPTIONS", path=POST, headers=(("origin", "https://evil.example"),)))
    assert (answer.status, answer.body) == (204, b"")
    assert cors(answer) == {
        "access-control-allow-origin": SHOP,
        "access-control-expose-headers": "eventmw-rejected, retry-after",
        "vary": "Origin, Access-Control-Request-Headers",
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "content-type, idempotency-key, x-eventbunker-write-key, traceparent",
        "access-control-max-age": "600",
    }
    refusal(other, 403, "This browser origin is not allowed", "cross_site")
    assert cors(other) == {"vary": "Origin, Access-Control-Request-Headers"}


# Sending again (ours)


def test_an_idempotency_key_makes_ids_repeat() -> None:
    """2.5: the events' ids are a function of (credential, key, event), and nothing is delivered twice."""
    got: list[str] = []

    @tool("keeper")
    def keeper(event: Event) -> Drop:
        got.append(event.id)
        return Drop("kept")

    head = {"idempotency-key": "order 4711"}
    with tracking(tools=[keeper]) as pair:
        first = track(pair, [ONE, ONE], head)
        pair.advance(60)
        again = track(pair, [ONE, ONE], head)
        elsewhere = track(pair, [ONE, ONE], head, key=ELSEWHERE)
        for site in pair.sites:
            deliver(site)
    assert again.json == first.json, "the time too is that of the event that is kept"
    ids = [[entry["unique_req_id"] for entry in answer.json] for answer in (first, again, elsewhere)]
    assert ids[0] == ids[1]
    assert len({*ids[0], *ids[2]}) == 4
    assert sorted(got) == sorted([*ids[0], *ids[2]] * 2), "once behind each gateway"


def test_another_event_under_an_idempotency_key_is_another_event() -> None:
    """However it is written, in whatever order: the same event has the same id and answer, another one its own."""
    got: list[tuple[Any, str]] = []

    @tool("keeper")
    def keeper(event: Event) -> Drop:
        got.append((event.properties.get("n"), event.id))
        return Drop("kept")

    one, same, two = {"event_name": "a", "n": 1}, b'{"n": 1.0, "event_name": "\\u0061"}', {"event_name": "a", "n": 2}
    with tracking(tools=[keeper]) as pair:
        ids: list[list[str]] = []
        for body in (one, same, two, [one, two], [two, {"event_name": ""}, one], [one, one]):
            answers = track(pair, body, {"idempotency-key": "K"}).json
            entries = answers if isinstance(answers, list) else [answers]
            ids.append([entry.get("unique_req_id", "") for entry in entries])
        for site in pair.sites:
            deliver(site)
    first, second, third = ids[0][0], ids[2][0], ids[5][1]
    assert ids == [[first], [first], [second], [first, second], [second, "", first], [first, third]]
    assert len({first, second, third}) == 3
    assert sorted(got) == sorted([(1, first), (2, second), (1, third)] * 2), "once behind each gateway"


# One dispatcher


def test_tracked_events_go_to_the_owners_tools() -> None:
    """3.1: as an Event: kind `event`, properties the free fields, user id `customer_identifier`; like any other."""
    got: list[Event] = []

    @tool("keeper", when="bought")
    def keeper(event: Event) -> Drop:
        got.append(event)
        return Drop("kept")

    with tracking(tools=[keeper]) as pair:
        track(
            pair, [{"event_name": "bought", "price": 5}, {"event_name": "seen"}], {"user-agent": "curl/8.5.0"}, key=ANN
        )
        pair.post({"events": [{"client": {"__zarazTrack": "bought"}}]})
        for site in pair.sites:
            deliver(site)
    got.sort(key=lambda event: event.dialect)
    assert [(event.name, event.dialect, event.kind, event.user_id) for event in got] == [
        *[("bought", "eventbunker", "event", "ann")] * 2,
        *[("bought", "zaraz", "event", None)] * 2,
    ]
    assert got[0].properties == {"price": 5, "_ip": "203.0.113.9", "_browser": "curl", "_browser_version": "8.5"}


def test_client_hints_say_what_a_frozen_user_agent_does_not() -> None:
    """Every Chrome on Android says `Android 10; K`."""
    got: list[Event] = []

    @tool("keeper")
    def keeper(event: Event) -> Drop:
        got.append(event)
        return Drop("kept")

    frozen = {
        "user-agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 "
        "Mobile Safari/537.36"
    }
    hints = {
        "sec-ch-ua-platform": '"Android"',
        "sec-ch-ua-platform-version": '"16.0.0"',
        "sec-ch-ua-model": '"Pixel 9"',
    }
    with tracking(tools=[keeper]) as pair:
        track(pair, {"event_name": "plain"}, frozen)
        track(pair, {"event_name": "hinted"}, frozen | hints)
        for site in pair.sites:
            deliver(site)
    told = {"_browser": "Chrome Mobile", "_browser_version": "142.0", "_os": "Android", "_ip": "203.0.113.9"}
    for event in got:
        more = {"_os_version": "16", "_device": "Pixel 9"} if event.name == "hinted" else {}
        assert event.properties == told | more
        given = {"platform": '"Android"', "platform-version": '"16.0.0"', "model": '"Pixel 9"'}
        assert event.system["device"].get("client-hints", {}) == (given if event.name == "hinted" else {})
    assert len(got) == 4


def test_a_site_with_this_api_alone() -> None:
    """1: nothing is active by default; each API has its own path."""
    with tracking(path=None) as pair:
        assert track(pair, ONE).status == 200
        assert pair.post({"events": []}).body == b"the site"
        for path in ("/eb", "/eb/", "/eb/post/", "/EB/post", "/post", "/eb/v1/nothing"):
            assert pair.send(Request(path=path, body=b"{}")).body == b"the site"


# Whatever comes


@given(GOOD)
def test_whatever_is_good_is_kept_as_it_is(event: dict[str, Any]) -> None:
    with tracking() as pair:
        assert track(pair, event).status == 200
        (made,) = kept(pair)
    free = {
        name: value for name, value in event.items() if name not in {"event_name", "timestamp", "customer_identifier"}
    }
    if (metric := free.pop("metric_name", None)) not in (None, "", []):
        free["metric_name"] = metric if isinstance(metric, str) else msgspec.json.encode(metric).decode()
    assert {name: value for name, value in made.properties.items() if name not in GENERATED} == free


@given(st.lists(NEARLY | own.VALUES, max_size=4) | NEARLY | own.VALUES)
def test_whatever_comes_is_answered_alike_and_never_by_a_500(document: Any) -> None:
    """The two gateways give the same answer; each event has its own."""
    with tracking() as pair:
        answer = track(pair, document)
        events = kept(pair)
    assert answer.status in {200, 400, 413}
    if isinstance(document, list) and document:
        assert len(answer.json) == len(document)
        taken = [entry["unique_req_id"] for entry in answer.json if "unique_req_id" in entry]
        assert [event.id for event in events] == taken
        assert (answer.status == 200) == bool(taken)
    else:
        assert len(events) == (answer.status == 200)


MARKER = "qXzMarker"


@given(NEARLY)
def test_no_answer_repeats_a_value(event: Any) -> None:
    """2.3: a message says what was expected, what kind came, and where; never the value."""

    def marked(value: Any) -> Any:
        match value:
            case dict():
                return {name: marked(inner) for name, inner in value.items()}
            case list():
                return [marked(inner) for inner in value]
            case str():
                return MARKER + " "
        return value

    with tracking() as pair:
        assert MARKER.encode() not in track(pair, [marked(event), MARKER, {"event_name": [MARKER]}]).body


def test_the_answers_are_documented() -> None:
    """The page for senders names what the dialect adds to the codes of all."""
    from pathlib import Path

    page = (Path(__file__).parent.parent / "docs" / "eventbunker.md").read_text()
    for told in (INVALID_KEY, WRONG_KIND, BODY_FAILED, "Error...", "other_customer", "too_many_names"):
        assert f"`{told}`" in page
    assert json.loads(REPAIRED)["event_name"] in page
    assert len(KEYS) == 6
