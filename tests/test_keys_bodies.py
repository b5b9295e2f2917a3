"""Bodies of the management calls: what they may hold, and the words for what they may not."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.errors import Refused
from eventmw.keys.bodies import CallName, check, check_own, grant_of, read
from eventmw.keys.grants import Grant
from eventmw.schema import published

CALLS: tuple[CallName, ...] = get_args(CallName)


def faults(call: CallName, body: Any) -> list[str]:
    with pytest.raises(Refused) as raised:
        read(call, json.dumps(body).encode())
    assert (raised.value.status, raised.value.code) == (400, "invalid_body")
    return [f"{fault.path}: {fault.message}" for fault in raised.value.faults]


def test_every_call_has_a_schema_and_every_key_of_it_is_described() -> None:
    schema = published("eventbunker-manage")["$defs"]
    assert set(schema) == set(CALLS)
    for name, call in schema.items():
        assert call["description"], name
        for key, rule in call["properties"].items():
            assert rule["title"], key
            assert rule["description"], key


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("project-create", {"account_id": "acc_1", "name": "shop"}),  # the reference's own, A.5
        ("project-create", {"account_id": "acc_1", "name": "x" * 200, "description": ""}),
        ("project-list", {}),
        ("project-list", {"account_id": "acc_1"}),
        ("project-delete", {"project_id": "prj_1"}),
        ("project-reset", {"project_id": "prj_1", "account_id": "acc_1"}),
        ("keys-create", {"type": "WRITE"}),
        ("keys-create", {"type": "DELETE", "customer_identifier": "a", "origins": ["https://a.example", "http://[::1]:8080", "null", "app://obsidian.md"]}),
        ("keys-create", {"type": "QUERY", "key_filter_data": {"a": "b", "c": 1, "d": -0.5, "e": True, "_country": "DE"}}),
        ("keys-list", {}),
        ("keys-revoke", {"key_id": "4fQ8x0Zk2Lm"}),
    ],
)  # fmt: skip
def test_what_is_right(call: CallName, body: Any) -> None:
    assert read(call, json.dumps(body).encode()) == body
    assert read(call, b"\xef\xbb\xbf" + json.dumps(body, indent=1).encode() + b"\n") == body


@pytest.mark.parametrize(
    ("call", "body", "expected"),
    [
        ("project-create", {"account_id": "acc_1"}, [": expected the key name, which is missing"]),
        ("project-create", {"account_id": "acc_1", "name": ""}, ["/name: expected text of 1 to 200 characters, got an empty one"]),
        ("project-create", {"account_id": 1, "name": "x" * 201}, [
            "/account_id: expected the id of the account that the key belongs to, got a number",
            "/name: expected text of 1 to 200 characters, got 201 characters",
        ]),
        ("project-create", {"account_id": "a", "name": "a\0b"}, ["/name: expected text of 1 to 200 characters, got other text"]),
        ("project-delete", {"project_id": "../x"}, ["/project_id: expected the id of a project, got other text"]),
        ("project-list", [], [": expected an object, got an array"]),
        ("keys-create", {}, [": expected the key type, which is missing"]),
        ("keys-create", {"type": "write"}, ["/type: expected WRITE, QUERY or DELETE, got text"]),
        ("keys-create", {"type": "WRITE", "customer_identifier": None}, ["/customer_identifier: expected text of 1 to 1,000 characters, got null"]),
        ("keys-create", {"type": "QUERY", "customer_identifier": ""}, ["/customer_identifier: expected text of 1 to 1,000 characters, got an empty one"]),
        ("keys-create", {"type": "QUERY", "key_filter_data": {}}, ["/key_filter_data: expected an object with 1 to 20 fields, got an object"]),
        ("keys-create", {"type": "QUERY", "key_filter_data": {"a": None, "b": [1], "c": 2**53}}, [
            f"/key_filter_data/{field}: expected text of at most 1,000 characters, a boolean, or a number within ±9007199254740991, got {kind}"
            for field, kind in (("a", "null"), ("b", "an array"), ("c", "a number"))
        ]),
        ("keys-create", {"type": "WRITE", "key_filter_data": {"a": 1}}, [
            "/key_filter_data: expected no key_filter_data, which only a key of type QUERY may carry, got "
        ]),
        ("keys-create", {"type": "WRITE", "origins": ["https://a.example/", "*"]}, [
            f"/origins/{n}: expected an origin as browsers and apps send it, scheme://host[:port], got other text: {why}"
            for n, why in enumerate(
                ["an origin has no path and no slash at the end; write 'https://a.example'",
                 "no browser sends an origin with *, and patterns are not supported; list each origin by itself"]
            )
        ]),
        ("keys-create", {"type": "WRITE", "origins": "null"}, ["/origins: expected an array of at most 100 origins, got text"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_plain_words(call: CallName, body: Any, expected: list[str]) -> None:
    found = faults(call, body)
    assert len(found) == len(expected)
    assert all(one.startswith(words) for one, words in zip(found, expected, strict=True)), found


def test_a_key_that_is_misspelt_makes_no_key_for_everybody() -> None:
    """Were it passed over, the key would be bound to nobody."""
    (only,) = faults("keys-create", {"type": "WRITE", "customer_identifer": "ann"})
    assert only.startswith(
        "/customer_identifer: expected no keys but type, name, customer_identifier, key_filter_data and origins, got "
    )
    assert "ann" not in only


@pytest.mark.parametrize(
    ("body", "code", "detail"),
    [
        (
            b'{"type": "WRITE"\n "name": 1}',
            "invalid_json",
            "Expected a comma or a closing bracket after a value at line 2, column 2.",
        ),
        (b"\xff", "invalid_json", "UTF-8"),
        (b'{"type": "\\ud800"}', "invalid_json", "surrogate"),
        (b'{"type":' + b"[" * 500 + b"]" * 500 + b"}", "too_deep", "at most 4 deep"),
        (b'{"n":' + b"1" * 5000 + b"}", "number_too_large", "digits"),
        (b"[1]", "invalid_body", "Expected a JSON object, got an array."),
    ],
)
def test_what_is_no_json_object(body: bytes, code: str, detail: str) -> None:
    with pytest.raises(Refused) as raised:
        read("keys-create", body)
    assert raised.value.code == code
    assert detail in raised.value.detail


def test_a_call_that_needs_nothing_needs_no_body() -> None:
    assert read("keys-list", b"") == read("project-list", b" \n") == {}


def test_a_body_with_everything_wrong_has_an_answer_of_bounded_size() -> None:
    with pytest.raises(Refused) as raised:
        read("keys-create", json.dumps({str(n): n for n in range(500)}).encode())
    assert len(raised.value.faults) == 100
    assert raised.value.omitted == 1, "which stands for all the others: nobody works them out"


@given(st.sampled_from(CALLS), st.binary(max_size=30) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
    | st.sampled_from(["WRITE", "QUERY", "acc_1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "name", "account_id", "project_id", "key_id", "origins", "key_filter_data", "x"]), inner, max_size=4
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_body_is_read_or_refused(call: CallName, body: bytes) -> None:
    try:
        found = read(call, body)
    except Refused as refused:
        found = {"status": refused.status}
    assert found.get("status", 400) in {400, 413}


def test_a_grant_is_what_the_body_asks_for() -> None:
    body = {
        "type": "QUERY",
        "customer_identifier": "ann",
        "key_filter_data": {"a": 1},
        "origins": ["null"],
        "name": "x",
    }
    assert grant_of(body) == Grant(kind="query", customer="ann", key_filter={"a": 1}, origins=["null"], name="x")
    assert grant_of({"type": "WRITE"}) == Grant(kind="write", origins=())


def test_whose_it_is_may_be_said_if_it_is_said_rightly() -> None:
    check_own({}, "account_id", "acc_1")
    check_own({"account_id": "acc_1"}, "account_id", "acc_1")
    with pytest.raises(Refused) as raised:
        check_own({"account_id": "acc_2"}, "account_id", "acc_1")
    (fault,) = raised.value.faults
    assert (fault.path, fault.message) == (
        "/account_id",
        "expected the account that the key belongs to, got another text",
    )


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"a.b.c": "x"}, "expected a name, or two with a dot between (a dot inside of a name: backslash, dot), got other text"),
        ({"customer_identifier": 5}, "expected text, got a number"),
        ({"event_name": True}, "expected text, got a boolean"),
        ({"project_id": "x"}, "expected a field that an event can have, got another name"),
        ({"event_name.x": "x"}, "expected a field that an event can have, got another name"),
        ({"event_name": "two words"}, "expected a name that an event can have, got other text"),
        ({"timestamp": True}, "expected an ISO 8601 time or whole milliseconds since 1970, before the year 9999, got a boolean"),
        ({"customer_identifier": "bob"}, "expected the customer that the key is bound to, or none, got another one"),
    ],
)  # fmt: skip
def test_a_filter_that_no_event_can_meet_is_refused(wanted: dict[str, Any], message: str) -> None:
    """Such a key would see nothing, and nobody would be told."""
    with pytest.raises(Refused) as caught:
        check("keys-create", {"type": "QUERY", "customer_identifier": "ann", "key_filter_data": wanted})
    (fault,) = caught.value.faults
    assert (caught.value.code, fault.code, fault.message) == ("invalid_body", "never_met", message)
    assert fault.path == f"/key_filter_data/{next(iter(wanted))}"


@pytest.mark.parametrize(
    "wanted", [{"a.b": 1}, {"customer_identifier": "ann"}, {"event_name": "a"}, {"_country": "DE"}]
)
def test_a_filter_that_an_event_can_meet_is_taken(wanted: dict[str, Any]) -> None:
    check("keys-create", {"type": "QUERY", "customer_identifier": "ann", "key_filter_data": wanted})
