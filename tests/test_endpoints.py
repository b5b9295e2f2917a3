"""Addresses that an owner configures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventmw.toolkit.endpoints import problem_with

GOOD = [
    "https://example.com",
    "https://example.com:8443/a?b=c",
    "http://127.0.0.1:9",
    "http://[::1]/",
    "http://localhost/x",
]
BAD = {
    "": "full address", "example.com/x": "full address", "ftp://example.com": "full address", "https://": "full address",
    "https://exa mple.com": "ASCII without blanks", "https://bücher.example/": "ASCII without blanks",
    "https://example.com/\r\nx": "ASCII without blanks", "https://u:p@example.com": "user and password",
    "https://example.com/#x": "fragment", "http://example.com": "must be https", "http://127.0.0.1.example.com": "must be https",
    "https://example.com:99999": "cannot be read", "https://[::1": "cannot be read",
}  # fmt: skip


@pytest.mark.parametrize("url", GOOD)
def test_good(url: str) -> None:
    assert problem_with(url) is None


@pytest.mark.parametrize(("url", "words"), BAD.items())
def test_bad(url: str, words: str) -> None:
    assert words in (problem_with(url) or "")


def test_plain_http_where_the_owner_says_so() -> None:
    assert problem_with("http://10.0.0.7/hook", insecure=True) is None


@given(st.text() | st.text().map("https://".__add__))
def test_any_text_has_an_answer(url: str) -> None:
    assert problem_with(url) is None or isinstance(problem_with(url), str)
