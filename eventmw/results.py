"""Result Objects: what tools want of the sender's browser, merged, checked and written as bytes.

Layer: pure rules. A Result Object always has the four keys ``fetch``, ``execute``, ``return``, ``cookies`` and no other.
Most are empty, so the empty one is kept as encoded bytes: building a hundred costs as much as decoding a hundred events.

Source: the seed's table of result keys; the shapes inside are ours (PROTOCOLS.md 2.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlsplit

import msgspec

from eventmw.effects import Effect, Execute, Fetch, Return, SetCookie
from eventmw.formats import is_http_date
from eventmw.jsontext import encode_exactly

EMPTY: Final = b'{"fetch":[],"execute":[],"return":{},"cookies":{}}'

MAX_AGE_S: Final = 365 * 24 * 3600
"""Cookies live a year at most. Source: Cloudflare's change of 2024-07-23."""

MAX_COOKIE_BYTES: Final = 4096
"""Name and value together. Source: RFC 6265 6.1."""

# Source: RFC 6265 4.1.1: token; cookie-octet; path-value (any character but controls and ";").
_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_cookie_octets = re.compile(r"[\x21\x23-\x2B\x2D-\x3A\x3C-\x5B\x5D-\x7E]*").fullmatch
_attribute = re.compile(r"[\x20-\x3A\x3C-\x7E]*").fullmatch
_domain = re.compile(r"\.?[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?").fullmatch


class Unfit(ValueError):  # noqa: N818 - says what the effect is
    """An effect cannot stand in a Result Object; the message says why, without its values."""


@dataclass(slots=True)
class Result:
    """One Result Object being filled. Effects of several tools go in, in the tools' order; of two cookies the last wins.

    They are kept encoded, so that what one tool does to a value later cannot spoil what others have put in.
    """

    fetch: list[msgspec.Raw] = field(default_factory=list[msgspec.Raw])
    execute: list[msgspec.Raw] = field(default_factory=list[msgspec.Raw])
    returned: dict[str, msgspec.Raw] = field(default_factory=dict[str, msgspec.Raw])
    cookies: dict[str, msgspec.Raw] = field(default_factory=dict[str, msgspec.Raw])

    def add(self, tool: str, effect: Effect) -> None:
        """Put one effect in; those of the courier are not for the sender and are passed over.

        Raises:
            Unfit: the effect is not one, cannot be written as JSON, or breaks a cookie's grammar.
        """
        match effect:
            case Fetch(url, init):
                self.fetch.append(_encode(_checked_fetch(url, init)))
            case Execute(code):
                self.execute.append(_encode(_checked_code(code)))
            case Return(value):
                self.returned[tool] = _encode(value)
            case SetCookie():
                self.cookies[effect.name] = _encode(_checked_cookie(effect))
            case _:
                pass

    def encode(self) -> bytes:
        """Return the Result Object as JSON."""
        if not (self.fetch or self.execute or self.returned or self.cookies):
            return EMPTY
        whole = {"fetch": self.fetch, "execute": self.execute, "return": self.returned, "cookies": self.cookies}
        return msgspec.json.encode(whole)


def _encode(value: object) -> msgspec.Raw:
    try:
        return msgspec.Raw(encode_exactly(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unfit(f"a value of kind {type(value).__name__} cannot be written as JSON") from error


def _checked_fetch(url: object, init: object) -> tuple[str, dict[str, Any]]:
    if not isinstance(url, str) or not _is_absolute(url):
        raise Unfit("Fetch(url) must be an absolute http or https URL")
    if not isinstance(init, Mapping):
        raise Unfit("Fetch(init) must be an object")
    return (url, dict(cast(Mapping[str, Any], init)))


def _is_absolute(url: str) -> bool:
    try:
        return urlsplit(url).scheme in {"https", "http"}
    except ValueError:
        return False


def _checked_code(code: object) -> str:
    if not isinstance(code, str):
        raise Unfit("Execute(code) must be text")
    return code


def _checked_cookie(cookie: SetCookie) -> Mapping[str, object]:
    texts = (cookie.value, cookie.path, cookie.domain, cookie.expires, cookie.same_site)
    if not isinstance(cookie.name, str) or not all(text is None or isinstance(text, str) for text in texts):
        raise Unfit("a cookie's name, value, path, domain, expires and same_site must be text")
    problem = next((words for holds, words in _cookie_rules(cookie) if not holds), None)
    if problem:
        raise Unfit(problem)
    options = {
        "path": cookie.path,
        "domain": cookie.domain,
        "expires": cookie.expires,
        "max_age": None if cookie.max_age_s is None else min(max(cookie.max_age_s, 0), MAX_AGE_S),
        "secure": cookie.secure,
        "http_only": cookie.http_only,
        "same_site": cookie.same_site,
    }
    return {"value": cookie.value, "opts": {key: value for key, value in options.items() if value is not None}}


def _cookie_rules(cookie: SetCookie) -> Sequence[tuple[object, str]]:
    """Return (holds, words) for each rule. Source: RFC 6265bis 4.1, the prefixes 4.1.3."""
    name, value = cookie.name, cookie.value
    host = name.startswith("__Host-")
    return (
        (_token(name), "a cookie's name must be a token (RFC 6265)"),
        (value is None or _cookie_octets(value), "a cookie's value has a character that must be percent-encoded"),
        (len(name) + len(value or "") <= MAX_COOKIE_BYTES, f"a cookie may have {MAX_COOKIE_BYTES} bytes"),
        (cookie.path is None or _attribute(cookie.path), "a cookie's path has a control character or a semicolon"),
        (cookie.domain is None or _domain(cookie.domain), "a cookie's domain is not a host name"),
        (cookie.expires is None or is_http_date(cookie.expires), "a cookie's expires must be an HTTP date"),
        (cookie.max_age_s is None or type(cookie.max_age_s) is int, "a cookie's max_age_s must be whole seconds"),
        (type(cookie.secure) in {bool, type(None)}, "a cookie's secure must be true or false"),
        (type(cookie.http_only) in {bool, type(None)}, "a cookie's http_only must be true or false"),
        (cookie.same_site in {None, "Strict", "Lax", "None"}, "a cookie's same_site must be Strict, Lax or None"),
        (cookie.same_site != "None" or cookie.secure, "a cookie with same_site None must be secure"),
        (not name.startswith("__Secure-") or cookie.secure, "a __Secure- cookie must be secure"),
        (
            not host or (cookie.secure and cookie.path == "/" and cookie.domain is None),
            "a __Host- cookie must be secure, for path / and without a domain",
        ),
    )
