"""Signed links: a query that somebody may look at until a time, in one text that fits an address.

Layer: pure rules; the present and the secret are arguments. ``v1.<payload>.<signature>``: the payload is base64url of a JSON
array, readable by whoever has the link, and the signature HMAC-SHA256 over all that stands before it.

The secret is made of the key's digest, which the site keeps and nobody sees. So a site needs no other secret; a key that is
revoked or reset takes its links with it; and a server that holds the key itself can make links without asking anybody. A
link stands for its key and nothing more: what the key may see is asked when the link is used.

Source: RFC 2104, RFC 4648 5; PROTOCOLS.md 3.3; the form is ours.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal
from urllib.parse import parse_qsl

from eventmw import strictjson
from eventmw.errors import EventmwError, Refused
from eventmw.jsontext import encode

_VERSION: Final = "v1"
_PURPOSE: Final = b"eventmw chart link v1"
"""What the secret of links is derived for, so that no other use of a digest can ever answer the same."""

DIGEST_BYTES: Final = 32
"""Bytes of a key's digest: SHA-256."""

MAX_TOKEN: Final = 3900
"""Characters of a token. Source: gunicorn's limit_request_line, 4,094 bytes by default, less what stands around a token."""

MAX_LIFETIME_S: Final = 365 * 86_400
"""Seconds that a link may work at most: one that is forgotten in some page ends by itself. Source: assumption."""

_CLOCKS_S: Final = 86_400
"""How far the clock of who makes links may be ahead of the site's."""

_parts = re.compile(r"v1\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})").fullmatch

Why = Literal["missing", "not_a_link", "forged", "expired", "withdrawn", "too_long"]


class BadLink(EventmwError):  # noqa: N818 - what it is
    """A link opens nothing. `why` is all that is told of it; the token is in no message."""

    def __init__(self, why: Why) -> None:
        super().__init__(f"the link cannot be used: {why}")
        self.why: Final[Why] = why


@dataclass(frozen=True, slots=True)
class Link:
    """What a link stands for.

    Attributes:
        project_id: the project that is asked.
        key_id: the query key in whose name it asks, and whose digest signs it.
        query: a JSON text, as ``/v1/query/json`` takes it.
        expires_s: seconds since 1970 from which on it opens nothing.
        title: what stands above the chart; "" for what its columns say.
    """

    project_id: str
    key_id: str
    query: str = field(repr=False)
    expires_s: int
    title: str = field(default="", repr=False)


def token_of(link: Link, digest: bytes) -> str:
    """Return the token of a link: letters, digits, ``-``, ``_`` and two dots.

    Args:
        link: what it stands for.
        digest: the SHA-256 of its key's secret.

    Raises:
        ValueError: the digest is none, or the token would be longer than `MAX_TOKEN`.
    """
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"a key's digest has {DIGEST_BYTES} bytes, not {len(digest)}")
    payload = [link.project_id, link.key_id, link.expires_s, link.query, link.title]
    signed = f"{_VERSION}.{_base64(encode(payload))}"
    token = f"{signed}.{_signature(signed, digest)}"
    if len(token) > MAX_TOKEN:
        raise ValueError(
            f"the query makes a link of {len(token):,} characters, and servers take {MAX_TOKEN:,}: ask for less in it"
        )
    return token


def expiry_s(now_s: float, lifetime_s: int) -> int:
    """Return until when a link works that is to work for so long from now on: seconds since 1970.

    Raises:
        ValueError: that is no time at all, or more than `MAX_LIFETIME_S`.
    """
    if not 0 < lifetime_s <= MAX_LIFETIME_S:
        raise ValueError(f"a link works for 1 second to {MAX_LIFETIME_S // 86_400} days")
    return int(now_s) + lifetime_s


def token_in(query_string: str) -> str:
    """Return the token of ``token=…``.

    Raises:
        BadLink: there is none, or more than one.
    """
    if len(query_string) > MAX_TOKEN + 1000:  # other parameters may stand beside it
        raise BadLink("not_a_link")
    found = [value for name, value in parse_qsl(query_string, keep_blank_values=True) if name == "token"]
    if len(found) != 1 or not found[0]:
        raise BadLink("not_a_link" if len(found) > 1 else "missing")
    return found[0]


def claimed(token: str) -> Link:
    """Return what a token says, which anybody may have written: it is only good for finding the key.

    Raises:
        BadLink: it is no token of ours.
    """
    parts = _parts(token) if len(token) <= MAX_TOKEN else None
    if parts is None:
        raise BadLink("not_a_link")
    try:
        content = urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        payload = strictjson.decode(content)
    except (ValueError, Refused):
        raise BadLink("not_a_link") from None
    return _link(payload)


def _link(payload: object) -> Link:
    match payload:
        case [str(project_id), str(key_id), int(expires_s), str(query), str(title)] if type(expires_s) is int:
            return Link(project_id, key_id, query, expires_s, title)
        case _:
            raise BadLink("not_a_link")


def check(token: str, digest: bytes, now_s: float) -> Link:
    """Return the link of a token that the key of this digest has signed and whose time has not come.

    Raises:
        BadLink: it is none, is signed by something else, has expired, or would work for longer than `MAX_LIFETIME_S`; of
            these, a forged one is told nothing but that.
    """
    link = claimed(token)
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(_signature(signed, digest), signature):
        raise BadLink("forged")
    if now_s >= link.expires_s:
        raise BadLink("expired")
    if link.expires_s > now_s + MAX_LIFETIME_S + _CLOCKS_S:
        raise BadLink("too_long")
    return link


def _signature(signed: str, digest: bytes) -> str:
    secret = hmac.digest(digest, _PURPOSE, sha256)
    return _base64(hmac.digest(secret, signed.encode(), sha256))


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
