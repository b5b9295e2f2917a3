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
FIELDS = ["access-control-request-headers", "authorization", "content-encoding", "content-length", "host", "idempotency-key", "origin", "sec-fetch-site",
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


OWN = "authorization, content-type, idempotency-key, x-eventmw-key"


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        (None, OWN),
        ("", OWN),
        ("traceparent", f"{OWN}, traceparent"),
        ("baggage,content-type,sentry-trace,traceparent", f"{OWN}, baggage, sentry-trace, traceparent"),
        ("X-Datadog-Trace-Id , x-datadog-trace-id,, ", f"{OWN}, x-datadog-trace-id"),
        ("*", OWN),
        ("a b, x\r\ny, é, (x), traceparent", f"{OWN}, traceparent"),
        ("t" * 4_000 + ",u" * 100, f"{OWN}, {'t' * 4_000}, u"),
    ],
)
def test_a_listed_origin_may_send_what_its_preflight_asks_for(asked: str | None, allowed: str) -> None:
    """Tracing libraries add fields to every request of a page; what is no token, or past a bound, is left out."""
    headers = {"origin": LISTED} | ({} if asked is None else {"access-control-request-headers": asked})
    request = head(headers, "OPTIONS")
    gate = door(allowed_origins=[LISTED])
    assert dict(gate.preflight(request))["access-control-allow-headers"] == allowed
    assert dict(gate.cors(request))["vary"] == "Origin, Access-Control-Request-Headers"
    assert dict(gate.cors(head(headers)))["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["capacitor://localhost", "chrome-extension://abc", "file://", "null"])
def test_an_app_is_let_in_when_it_is_listed_and_only_then(origin: str) -> None:
    request = head({"origin": origin, "host": "localhost"})
    assert door(allowed_origins=[origin]).admit(request).browser_ip == "203.0.113.9"
    with pytest.raises(Refused, match="Origin: "):
        door().admit(request)


@pytest.mark.parametrize(
    ("proxies", "peer", "told", "address"),
    [
        (0, "::ffff:203.0.113.9", None, "203.0.113.9"),
        (0, "2001:DB8::0:1", None, "2001:db8::1"),
        (0, "fe80::1%eth0", None, "fe80::1"),
        (0, "", None, ""),
        (0, "unix:", None, "unix:"),
        (0, "203.0.113.9", "198.51.100.7", "203.0.113.9"),
        (1, "10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        (1, "10.0.0.1", "[::ffff:c633:6407]:443", "198.51.100.7"),
        (1, "10.0.0.1", "spoofed, 198.51.100.7:5000", "198.51.100.7"),
        (1, "::ffff:10.0.0.1", "unknown", "10.0.0.1"),
        (2, "10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        (2, "10.0.0.1", "198.51.100.7", "10.0.0.1"),
    ],
)
def test_an_address_has_one_spelling_from_the_entry_on(proxies: int, peer: str, told: str | None, address: str) -> None:
    headers = {} if told is None else {"x-forwarded-for": told}
    assert door(trusted_proxies=proxies).admit(head(headers, peer=peer)).address == address


OWN_PAGE = "https://shop.example"


@pytest.mark.parametrize(
    ("proxies", "headers", "own"),
    [
        (1, {"x-forwarded-host": "shop.example", "x-forwarded-proto": "https"}, True),
        (1, {"x-forwarded-host": "evil.example, shop.example", "x-forwarded-proto": "http, https"}, True),
        (1, {"x-forwarded-host": "shop.example, evil.example", "x-forwarded-proto": "https"}, False),
        (1, {"x-forwarded-host": "shop.example", "x-forwarded-proto": "https, http"}, False),
        (2, {"x-forwarded-host": "evil.example, shop.example, inner", "x-forwarded-proto": "x,https,http"}, True),
        (2, {"x-forwarded-host": "shop.example", "x-forwarded-proto": "https"}, True),  # the inner proxy hands it on
        (1, {"x-forwarded-host": "shop.example:443 ", "x-forwarded-proto": " HTTPS"}, True),
        (1, {"x-forwarded-host": "", "x-forwarded-proto": "https", "host": "shop.example"}, True),
        (1, {"x-forwarded-proto": "https, ", "host": "shop.example"}, False),
        (0, {"x-forwarded-host": "shop.example", "host": "inner"}, False),
        (0, {"host": "shop.example"}, True),
    ],
)
def test_lists_of_hosts_and_schemes_are_read_as_the_list_of_addresses_is(
    proxies: int, headers: dict[str, str], own: bool
) -> None:
    request = head({"origin": OWN_PAGE, **headers})
    refused = refusal(door(trusted_proxies=proxies), request)
    assert (refused is None) is own


@pytest.mark.parametrize(
    "origin", ["http://evil.com\\@example.com", "http://a@example.com", "app://example.com", "http://example.com/"]
)
def test_what_only_looks_like_the_own_origin_is_another(origin: str) -> None:
    with pytest.raises(Refused):
        door().admit(head({"origin": origin, "host": "example.com"}))


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        *((nothing, "") for nothing in ("", "identity", "none", "utf-8", "UTF-8", "utf8", " Identity , NONE,, utf-8")),
        *(
            (gzip, "gzip")
            for gzip in ("gzip", "GZIP", "x-gzip", "gzip, identity", "identity,gzip", "utf-8, gzip ,", "gzip, utf-8")
        ),
        ("deflate", "deflate"),
        ("Deflate, none", "deflate"),
    ],
)
def test_an_encoding_is_read_for_what_it_means(value: str, encoding: str) -> None:
    assert door().admit(head({"content-encoding": value})).encoding == encoding


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("br", "got another encoding"),
        ("gzip;q=1", "got another encoding"),
        ("gzip, gzip", "got 2 of them"),
        ("deflate, identity, gzip", "got 2 of them"),
        ("gzip, br", "got 2 of them"),
    ],
)
def test_another_encoding_and_two_layers_are_refused(value: str, words: str) -> None:
    with pytest.raises(Refused, match=words) as caught:
        door().admit(head({"content-encoding": value}))
    assert (caught.value.code, caught.value.headers) == (
        "unsupported_encoding",
        (("accept-encoding", "gzip, deflate"),),
    )
