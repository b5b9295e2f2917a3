"""The door by itself; its answers through the gateways stand in the contract's tests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventmw.errors import PROBLEMS, Refused
from eventmw.http import RequestHead
from eventmw.intake.door import ANONYMOUS, Door

LISTED = "https://shop.example"
FIELDS = ["authorization", "content-encoding", "content-length", "host", "idempotency-key", "origin", "sec-fetch-site",
          "transfer-encoding", "x-eventmw-key", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"]  # fmt: skip
VALUES = st.text(st.characters(max_codepoint=255), max_size=20) | st.sampled_from(
    [
        "null",
        LISTED,
        "https://example.com",
        "http://[",
        "gzip",
        "Bearer x",
        "12",
        "same-origin",
        "cross-site",
        "[::1",
        ":::",
    ]
)


def door(**options: Any) -> Door:
    given_keys: dict[str, Any] = {"keys": {}, "allowed_origins": (), "trusted_proxies": 0, "max_body_bytes": 1000}
    return Door(**given_keys | options)


def head(headers: dict[str, str], method: str = "POST", peer: str = "203.0.113.9") -> RequestHead:
    return RequestHead(method, "/zaraz/api", headers, peer)


def refusal(gate: Door, request: RequestHead) -> Refused | None:
    try:
        (gate.preflight if gate.is_preflight(request) else gate.admit)(request)
    except Refused as refused:
        return refused
    return None


@given(
    st.dictionaries(st.sampled_from(FIELDS), VALUES),
    st.sampled_from(["POST", "GET", "OPTIONS", "", "é", "X" * 100]),
    st.integers(0, 3),
    st.sampled_from([(), (LISTED,), ("null",)]),
    st.sampled_from([{}, {"a": "k" * 16}]),
)
@example({"x-forwarded-for": "1.1" + ":1" * 5000}, "POST", 1, (), {})
@example({"origin": "http://a:99999"}, "POST", 1, (), {})
def test_any_head_is_let_in_or_refused(
    headers: dict[str, str], method: str, proxies: int, origins: tuple[str, ...], keys: dict[str, str]
) -> None:
    gate = door(trusted_proxies=proxies, allowed_origins=origins, keys=keys)
    request = head(headers, method)
    fields = dict(gate.cors(request))
    assert fields.get("access-control-allow-origin", headers.get("origin")) == headers.get("origin")
    refused = refusal(gate, request)
    if refused is not None:
        assert refused.status in {400, 401, 403, 405, 413, 415}
        assert refused.code in PROBLEMS
        assert all(value.isprintable() for _, value in refused.headers)


@given(st.binary(min_size=0, max_size=40).map(lambda raw: raw.decode("latin-1")))
def test_only_the_key_itself_opens(shown: str) -> None:
    gate = door(keys={"a": "k" * 16, "b": "é" * 16})
    known = {"k" * 16: "a", "é" * 16: "b"}
    if shown in known:
        assert gate.admit(head({"x-eventmw-key": shown})).credential == known[shown]
    else:
        with pytest.raises(Refused) as caught:
            gate.admit(head({"x-eventmw-key": shown}))
        assert caught.value.code == "unauthorized"
        assert not shown or shown not in caught.value.detail or len(shown) < 4


def test_without_keys_everybody_is_anonymous() -> None:
    assert door().admit(head({"x-eventmw-key": "whatever"})).credential == ANONYMOUS


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_a_refused_origin_is_shown_printable_and_bounded(origin: str, site: str) -> None:
    with pytest.raises(Refused) as caught:
        door().admit(head({"origin": origin, "sec-fetch-site": "x" + site}))
    detail = caught.value.detail
    assert all(" " <= char <= "~" for char in detail)
    assert len(detail) < 600


def test_what_is_wrong_with_the_sender_comes_before_what_is_wrong_with_the_body() -> None:
    gate = door(keys={"a": "k" * 16})
    for headers, code in [
        ({"content-length": "x"}, "unauthorized"),
        ({"content-length": "x", "x-eventmw-key": "k" * 16}, "invalid_length"),
    ]:
        with pytest.raises(Refused) as caught:
            gate.admit(head(headers))
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("headers", "browser"),
    [
        ({}, False),
        ({"origin": "http://example.com", "host": "example.com"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
    ],
)
def test_the_browsers_address_is_the_browsers_only(headers: dict[str, str], browser: bool) -> None:
    visit = door().admit(head(headers))
    assert visit.address == "203.0.113.9"
    assert visit.browser_ip == ("203.0.113.9" if browser else None)


def test_a_method_is_shown_when_it_looks_like_one() -> None:
    for method, shown in [
        ("GET", "GET"),
        ("X" * 21, "another method"),
        ("GÉT", "another method"),
        ("G T", "another method"),
    ]:
        with pytest.raises(Refused, match=f"got {shown}"):
            door().admit(head({}, method))
