"""Result Objects: whatever tools want, what comes out is what the published schema says."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from eventmw.effects import Drop, Effect, Execute, Fetch, Return, Send, SetCookie
from eventmw.results import EMPTY, Result, Unfit
from eventmw.schema import published
from tests import strategies as own

RESULT = Draft202012Validator(published("zaraz-reply")["$defs"]["result"])

RUBBISH: st.SearchStrategy[Any] = own.VALUES | st.sampled_from(
    [object(), b"x", {1, 2}, float("nan"), float("inf"), "\ud800", "a;b", "a\r\nb", "x" * 5000, MappingProxyType({"a": 1}),
     {"a": {"b": float("nan"), "c": None}}, [None, (1, float("-inf"))], {("a",): 1}, 10**400, "http://[", "https://x", "/", True],
)  # fmt: skip
COOKIE_NAMES = st.sampled_from(["a", "__Host-a", "__Secure-a", "_ga_X1", "", "a b", "é", "a=b"]) | RUBBISH
EFFECTS: st.SearchStrategy[Effect] = st.one_of(
    st.builds(Fetch, RUBBISH, RUBBISH),
    st.builds(Execute, RUBBISH),
    st.builds(Return, RUBBISH),
    st.builds(
        SetCookie,
        COOKIE_NAMES,
        RUBBISH,
        path=st.none() | RUBBISH,
        domain=st.none() | RUBBISH,
        expires=st.none() | RUBBISH,
        max_age_s=st.none() | RUBBISH,
        secure=st.none() | st.booleans() | RUBBISH,
        http_only=st.none() | st.booleans() | RUBBISH,
        same_site=st.none() | st.sampled_from(["Strict", "Lax", "None"]) | RUBBISH,
    ),
    st.builds(Send, RUBBISH),
    st.builds(Drop, st.just("x")),
)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), EFFECTS), max_size=6))
def test_whatever_is_wanted_the_result_is_one(wanted: list[tuple[str, Effect]]) -> None:
    result = Result()
    for tool, effect in wanted:
        try:
            result.add(tool, effect)
        except Unfit as error:
            message = str(error)
            assert message
    encoded = result.encode()
    whole = json.loads(encoded, parse_constant=pytest.fail)
    RESULT.validate(whole)
    assert list(whole) == ["fetch", "execute", "return", "cookies"]


def test_the_empty_result_has_the_four_keys() -> None:
    """2.2: always all four keys and no other."""
    assert Result().encode() == EMPTY
    assert json.loads(EMPTY) == {"fetch": [], "execute": [], "return": {}, "cookies": {}}


@given(own.VALUES)
def test_any_json_value_can_be_returned(value: Any) -> None:
    result = Result()
    result.add("tool", Return(value))
    assert json.loads(result.encode())["return"]["tool"] == value


@pytest.mark.parametrize("url", ["http://[", "//x", "/x", "javascript:alert(1)", "", 5, None, "https://\ud800"])
def test_what_is_no_address_to_fetch(url: Any) -> None:
    with pytest.raises(Unfit):
        Result().add("a", Fetch(url))


def test_a_value_is_what_it_was_when_it_came() -> None:
    value: dict[str, Any] = {"a": 1}
    result = Result()
    result.add("first", Return(value))
    value["a"] = object()
    assert json.loads(result.encode())["return"] == {"first": {"a": 1}}


def test_read_only_mappings_are_objects() -> None:
    result = Result()
    result.add("a", Return(MappingProxyType({"x": 1})))
    result.add("a", Fetch("https://x", MappingProxyType({"method": "POST"})))
    whole = json.loads(result.encode())
    assert (whole["return"], whole["fetch"]) == ({"a": {"x": 1}}, [["https://x", {"method": "POST"}]])


FIT = [
    SetCookie("a", "b"),
    SetCookie("a", None),
    SetCookie("a", ""),
    SetCookie("__Host-a", "b", path="/", secure=True),
    SetCookie("__Secure-a", "b", secure=True, domain=".example.com"),
    SetCookie("a", "b", same_site="None", secure=True),
    SetCookie("a", "x" * 4095),
]
UNFIT = [
    (SetCookie("", "b"), "token"),
    (SetCookie("a b", "b"), "token"),
    (SetCookie("a\n", "b"), "token"),
    (SetCookie("a", "b;c"), "percent-encoded"),
    (SetCookie("a", "b c"), "percent-encoded"),
    (SetCookie("a", 'b"'), "percent-encoded"),
    (SetCookie("a", "é"), "percent-encoded"),
    (SetCookie("a", "x" * 4096), "4096 bytes"),
    (SetCookie("a", "b", path="/;x"), "path"),
    (SetCookie("a", "b", path="/\r\nX-Evil: 1"), "path"),
    (SetCookie("a", "b", domain="exa mple"), "domain"),
    (SetCookie("a", "b", domain="a;b"), "domain"),
    (SetCookie("a", "b", expires="tomorrow"), "HTTP date"),
    (SetCookie("a", "b", max_age_s=1.5), "whole seconds"),  # type: ignore[arg-type]  # what a careless owner may write
    (SetCookie("a", "b", max_age_s=True), "whole seconds"),
    (SetCookie("a", "b", same_site="none"), "Strict, Lax or None"),  # type: ignore[arg-type]  # as above
    (SetCookie("a", "b", same_site="None"), "must be secure"),
    (SetCookie("__Secure-a", "b"), "must be secure"),
    (SetCookie("__Host-a", "b", secure=True), "for path /"),
    (SetCookie("__Host-a", "b", secure=True, path="/", domain="x.example"), "without a domain"),
    (SetCookie("a", "b", secure=1), "secure must be"),  # type: ignore[arg-type]  # as above
    (SetCookie("a", 5), "must be text"),  # type: ignore[arg-type]  # as above
]


@pytest.mark.parametrize("cookie", FIT)
def test_cookies_that_fit(cookie: SetCookie) -> None:
    result = Result()
    result.add("a", cookie)
    assert json.loads(result.encode())["cookies"][cookie.name]["value"] == cookie.value


@pytest.mark.parametrize(("cookie", "words"), UNFIT)
def test_cookies_that_do_not(cookie: SetCookie, words: str) -> None:
    """RFC 6265 4.1.1; RFC 6265bis 4.1.3."""
    with pytest.raises(Unfit, match=words):
        Result().add("a", cookie)


@pytest.mark.parametrize(("given_s", "kept_s"), [(-5, 0), (0, 0), (60, 60), (10**9, 31_536_000)])
def test_a_cookie_lives_a_year_at_most(given_s: int, kept_s: int) -> None:
    """2.2: `max_age` in seconds, at most a year."""
    result = Result()
    result.add("a", SetCookie("a", "b", max_age_s=given_s))
    assert json.loads(result.encode())["cookies"]["a"]["opts"] == {"max_age": kept_s}


def test_of_two_cookies_with_one_name_the_last_wins() -> None:
    result = Result()
    for value in ("1", "2"):
        result.add("a", SetCookie("a", value))
    assert json.loads(result.encode())["cookies"] == {"a": {"value": "2", "opts": {}}}
