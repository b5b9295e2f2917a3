"""Signed links: what was signed opens, and nothing else does."""

from __future__ import annotations

import secrets
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.charts.links import MAX_LIFETIME_S, MAX_TOKEN, BadLink, Link, check, claimed, expiry_s, token_in, token_of

DIGEST = sha256(b"a secret").digest()
LINK = Link("p1", "k1", '{"interval":"hour"}', 2_000_000_000, "Sales")
NOW = 1_999_999_999.5
TEXTS = st.text(max_size=200)
LINKS = st.builds(Link, TEXTS, TEXTS, TEXTS, st.integers(1, 2**53), TEXTS)


def why(token: str, digest: bytes = DIGEST, now_s: float = NOW) -> str:
    with pytest.raises(BadLink) as caught:
        check(token, digest, now_s)
    assert str(caught.value) == f"the link cannot be used: {caught.value.why}"
    return caught.value.why


@given(LINKS, st.binary(min_size=32, max_size=32))
def test_what_was_signed_opens(link: Link, digest: bytes) -> None:
    try:
        token = token_of(link, digest)
    except ValueError:
        assert sum(map(len, (link.project_id, link.key_id, link.query, link.title))) > 400
        return
    assert check(token, digest, link.expires_s - 1) == link == claimed(token)
    assert token_in(f"theme=x&token={token}") == token


@given(st.integers(0, 10_000), st.characters(min_codepoint=33, max_codepoint=126))
def test_no_character_can_be_changed(place: int, char: str) -> None:
    token = token_of(LINK, DIGEST)
    place %= len(token)
    changed = token[:place] + char + token[place + 1 :]
    if changed != token:
        assert why(changed) in {"forged", "not_a_link"}


@given(st.integers(1, 10_000))
def test_no_end_can_be_cut_off(length: int) -> None:
    token = token_of(LINK, DIGEST)
    assert why(token[: -(1 + length % (len(token) - 1))]) in {"forged", "not_a_link"}


@given(LINKS)
def test_another_key_opens_nothing_and_nobody_learns_when_a_forged_link_would_have_ended(link: Link) -> None:
    token = token_of(Link("p", "k", link.query[:100], link.expires_s), DIGEST)
    assert why(token, secrets.token_bytes(32), now_s=link.expires_s + 1) == "forged"


def test_a_link_ends_with_its_second() -> None:
    token = token_of(LINK, DIGEST)
    assert check(token, DIGEST, 1_999_999_999.999) == LINK
    assert why(token, now_s=2_000_000_000) == "expired"


def test_no_link_works_for_years() -> None:
    """A day more is let pass: whose clock is ahead may have made it just now."""
    longest = 2_000_000_000 - MAX_LIFETIME_S - 86_400
    token = token_of(LINK, DIGEST)
    assert check(token, DIGEST, longest) == LINK
    assert why(token, now_s=longest - 1) == "too_long"
    assert why(token, secrets.token_bytes(32), now_s=0) == "forged"


@given(st.integers(1, MAX_LIFETIME_S), st.integers(0, 2**40))
def test_every_lifetime_that_is_given_is_taken_by_a_site(lifetime_s: int, now_s: int) -> None:
    link = Link("p", "k", "{}", expiry_s(now_s, lifetime_s))
    assert check(token_of(link, DIGEST), DIGEST, now_s) == link


@given(st.text(max_size=300) | st.from_regex(r"v1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}", fullmatch=True))
def test_any_text_is_judged(token: str) -> None:
    assert why(token) in {"forged", "not_a_link"}


@pytest.mark.parametrize(
    "payload", ["WzFd", "e30", "WyJwIiwiayIsdHJ1ZSwiIiwiIl0", "WyJwIiwiayIsMS41LCIiLCIiXQ", "W1tbW1tb"]
)
def test_a_payload_of_another_form_is_no_link(payload: str) -> None:
    """[1]; {}; true and 1.5 for the time; brackets that nobody closes."""
    assert why(f"v1.{payload}.{'A' * 43}") == "not_a_link"


def test_a_payload_keeps_one_spelling() -> None:
    """The last character of base64 may hold bits that mean nothing; they are signed all the same."""
    head, payload, signature = token_of(LINK, DIGEST).split(".")
    assert why(f"{head}.{payload}=.{signature}") == "not_a_link"
    assert why(f"{head}.{payload[:-1]}{chr(ord(payload[-1]) + 1)}.{signature}") in {"forged", "not_a_link"}


def test_what_cannot_be_signed() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        token_of(LINK, b"abc")
    with pytest.raises(ValueError, match="ask for less"):
        token_of(Link("p", "k", "x" * MAX_TOKEN, 1), DIGEST)
    assert why("v1." + "A" * MAX_TOKEN + "." + "A" * 43) == "not_a_link"


@pytest.mark.parametrize(
    ("query_string", "reason"),
    [
        ("", "missing"),
        ("token=", "missing"),
        ("toke=1", "missing"),
        ("token=a&token=b", "not_a_link"),
        ("token=" + "a" * 9000, "not_a_link"),
    ],
)
def test_a_query_string_has_one_token(query_string: str, reason: str) -> None:
    with pytest.raises(BadLink) as caught:
        token_in(query_string)
    assert caught.value.why == reason


def test_a_link_shows_neither_query_nor_title() -> None:
    assert "interval" not in repr(LINK)
    assert "Sales" not in repr(LINK)
