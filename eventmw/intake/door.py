"""The door: what is decided of a request from its head alone, before a byte of its body is read.

Layer: pure rules, the same for every dialect. Source: PROTOCOLS.md 2.3 and 2.4.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Container, Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from eventmw.errors import Refused
from eventmw.event import BROWSER_FIELDS
from eventmw.formats import ip_of
from eventmw.http import Headers, RequestHead
from eventmw.intake.body import ENCODINGS, too_large

ANONYMOUS: Final = "anonymous"
PREFLIGHT_AGE_S: Final = "600"
MAX_IDEMPOTENCY_KEY: Final = 255
"""Characters; the draft names no limit. Source: assumption, the limit that Stripe documents."""

MAX_HEADER: Final = 2_048
"""Characters that are recorded of a header field that the sender chose."""

MAX_LENGTH_DIGITS: Final = 15
"""Digits of a Content-Length; a petabyte has them."""

MAX_ASKED: Final = 4_096
"""Characters that are read of the list of header fields which a preflight asks for. Source: assumption."""

_OWN_HEADERS: Final = ("authorization", "content-type", "idempotency-key", "x-eventmw-key")
_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_NO_COMPRESSION: Final = frozenset({"", "identity", "none", "utf-8", "utf8"})
_visible = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?").fullmatch


class Visitor(Protocol):
    """What every door finds out about a request that may come in; see `Visit`."""

    @property
    def credential(self) -> str:
        """Whose rate it counts against, or ``anonymous``."""
        ...

    @property
    def address(self) -> str:
        """The sender's address, or ""."""
        ...

    @property
    def encoding(self) -> str:
        """How the body is compressed, or ""."""
        ...

    @property
    def length(self) -> int | None:
        """The announced length of the body, or None."""
        ...


class Visit(msgspec.Struct, frozen=True, gc=False):
    """A request that may come in: what the door found out about it.

    Attributes:
        credential: the name of the key it showed, or ``anonymous``.
        address: the sender's address, behind trusted proxies; "" when the server does not tell.
        browser_ip: that address when a browser sent the request, and does not ask for privacy; else None.
        encoding: ``gzip``, ``deflate`` or "".
        length: the announced length of the body, or None when it is chunked or not said.
        idempotency_key: as sent, or None.
        browser: of a browser's request, the header fields that say which browser it is; see `eventmw.event.Record`.
    """

    credential: str
    address: str
    browser_ip: str | None
    encoding: str = ""
    length: int | None = None
    idempotency_key: str | None = None
    browser: Mapping[str, str] = {}


class Door:
    """Lets requests in, or says why not. Stateless.

    Args:
        keys: name → key; empty when none are needed.
        allowed_origins: origins such as ``https://shop.example``, exact; ``null`` may be listed.
        trusted_proxies: how many proxies in front of the site append to ``X-Forwarded-For``.
        max_body_bytes: see `eventmw.config.Limits`.
    """

    def __init__(
        self,
        *,
        keys: Mapping[str, str],
        allowed_origins: Sequence[str],
        trusted_proxies: int,
        max_body_bytes: int,
    ) -> None:
        self._keys = tuple((name, hashlib.sha256(key.encode()).digest()) for name, key in keys.items())
        self._origins = frozenset(allowed_origins)
        self._proxies = trusted_proxies
        self._max_body_bytes = max_body_bytes

    def admit(self, head: RequestHead) -> Visit:
        """Decide from the head.

        Raises:
            Refused: 400, 401, 403, 405, 413 or 415; what is wrong with the sender comes before what is wrong with the body.
        """
        if head.method != "POST":
            raise wrong_method(head, "POST, OPTIONS" if self._origins else "POST")
        headers = head.headers
        credential = self._credential(headers) if self._keys else ANONYMOUS
        from_browser = "sec-fetch-site" in headers or "origin" in headers
        if from_browser and credential == ANONYMOUS:
            check_origin(head, self._origins, self._proxies)
        address = address_of(head, self._proxies)
        return Visit(
            credential,
            address,
            address if from_browser and not wants_privacy(headers) else None,
            encoding_of(headers["content-encoding"]) if "content-encoding" in headers else "",
            length_of(headers, self._max_body_bytes),
            idempotency_key_of(headers["idempotency-key"]) if "idempotency-key" in headers else None,
            browser_of(headers) if from_browser else {},
        )

    def credential(self, head: RequestHead) -> str:
        """Return the name of the key that a request shows, or ``anonymous`` where none is needed.

        Raises:
            Refused: 401.
        """
        return self._credential(head.headers)

    def lookup(self, head: RequestHead) -> None:
        """Look nothing up: the keys are those of the configuration."""

    def is_preflight(self, head: RequestHead) -> bool:
        """Return whether this is a CORS preflight that we answer: CORS is configured, and the method is OPTIONS."""
        return bool(self._origins) and head.method == "OPTIONS"

    def preflight(self, head: RequestHead) -> Headers:
        """Return the header fields that answer a preflight.

        Raises:
            Refused: 403, the origin is not listed.
        """
        origin = head.headers.get("origin")
        if origin not in self._origins:
            raise cross_site(origin, head.headers.get("sec-fetch-site"))
        return (
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", allowed_headers(head, _OWN_HEADERS)),
            ("access-control-max-age", PREFLIGHT_AGE_S),
        )

    def cors(self, head: RequestHead) -> Headers:
        """Return the header fields by which a listed browser origin may read any answer, errors included."""
        if not self._origins:
            return ()
        origin = head.headers.get("origin")
        return cors_fields(head, origin if origin in self._origins else None)

    def _credential(self, headers: Mapping[str, str]) -> str:
        shown = _shown_key(headers)
        # The digests' comparison takes the same time for every key, and every key is compared.
        digest = hashlib.sha256((shown or "").encode("utf-8", "surrogatepass")).digest()
        names = [name for name, known in self._keys if hmac.compare_digest(known, digest)]
        if shown and names:
            return names[0]
        came = "a key that is not known" if shown else "none"
        raise Refused(
            "unauthorized",
            f"Expected a key as «authorization: Bearer …» or «x-eventmw-key: …», got {came}.",
            headers=(("www-authenticate", 'Bearer realm="eventmw"'),),
        )


def browser_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what a browser's header fields say of it: its user agent, languages and client hints."""
    return {name: headers[name][:MAX_HEADER] for name in BROWSER_FIELDS if headers.get(name)}


def address_of(head: RequestHead, proxies: int) -> str:
    """Return the sender's address in its one spelling, behind trusted proxies; "" when the server does not tell."""
    return (forwarded(head.headers, proxies) if proxies else None) or ip_of(head.peer) or head.peer


def cors_fields(head: RequestHead, listed: str | None) -> Headers:
    """Return the header fields by which a page of a listed origin may read an answer; None: the origin is not listed."""
    vary = ("vary", "Origin, Access-Control-Request-Headers" if head.method == "OPTIONS" else "Origin")
    if listed is None:
        return (vary,)
    return (
        ("access-control-allow-origin", listed),
        ("access-control-expose-headers", "eventmw-rejected, retry-after"),
        vary,
    )


def allowed_headers(head: RequestHead, own: Sequence[str]) -> str:
    """Return which header fields a page may send: our own, and those that its preflight asks for.

    The origin is listed exactly, so whoever may send events may send `traceparent` or `sentry-trace` with them, which
    tracing libraries add to every request of a page. What is no token, or too much, is left out.
    """
    asked = head.headers.get("access-control-request-headers", "")
    if len(asked) > MAX_ASKED:
        asked = asked[:MAX_ASKED].rpartition(",")[0]
    names = (name for part in asked.split(",") if (name := part.strip(" \t").lower()) != "*" and _token(name))
    return ", ".join(dict.fromkeys((*own, *names)))


def wrong_method(head: RequestHead, allow: str) -> Refused:
    """Return the refusal of a method that is not among those in `allow`."""
    expected = "POST" if "GET" not in allow else "GET or POST"
    return Refused(
        "method_not_allowed", f"Expected {expected}, got {_method(head.method)}.", headers=(("allow", allow),)
    )


_ALLOWED: Final = "an allowed origin"
_web_origin = re.compile(r"https?://[^/?#@\\]+").fullmatch


def check_origin(head: RequestHead, listed: Container[str | None], proxies: int, *, allowed: str = _ALLOWED) -> None:
    """Let the site's own pages in, and browsers on other sites only when listed. Source: PROTOCOLS.md 2.4.

    Args:
        head: the request's.
        listed: the origins of other sites.
        proxies: how many of them forward it.
        allowed: what those origins are called, for the words of a refusal.

    Raises:
        Refused: 403.
    """
    site, origin = head.headers.get("sec-fetch-site"), head.headers.get("origin")
    if site == "same-origin" or origin in listed:
        return
    if site is None and origin is not None and _is_own(origin, head, proxies):
        return
    raise cross_site(origin, site, allowed)


def _is_own(origin: str, head: RequestHead, proxies: int) -> bool:
    """Return whether an origin is the one that the request itself was sent to. Only pages of the web have such an origin."""
    if not _web_origin(origin):
        return False
    told_host = told_by_proxies("x-forwarded-host", head.headers, proxies)
    try:
        parts, host = urlsplit(origin), urlsplit("//" + (told_host or head.headers.get("host", "")))
        scheme = parts.scheme
        if proxies:
            scheme = (told_by_proxies("x-forwarded-proto", head.headers, proxies) or head.scheme).lower()
        return (parts.scheme, parts.hostname, _port(parts.port, parts.scheme)) == (
            scheme,
            host.hostname,
            _port(host.port, scheme),
        )
    except ValueError:
        return False


def told_by_proxies(name: str, headers: Mapping[str, str], proxies: int) -> str:
    """Return what the outermost trusted proxy wrote into a header field; "" when it wrote nothing.

    Each proxy may append to the list, or write it anew, so that fewer values than proxies are all theirs.
    """
    if not proxies:
        return ""
    values = headers.get(name, "").split(",")
    return values[-min(proxies, len(values))].strip()


def forwarded(headers: Mapping[str, str], proxies: int) -> str | None:
    """Return the sender's address as the proxies that are trusted tell it, or None when they tell none."""
    hops = headers.get("x-forwarded-for", "").split(",")
    return ip_of(hops[-proxies]) if len(hops) >= proxies else None


def wants_privacy(headers: Mapping[str, str]) -> bool:
    """Return whether a browser says that its user wants no address kept. Source: W3C, «Global Privacy Control», «DNT»."""
    return headers.get("sec-gpc") == "1" or headers.get("dnt") == "1"


def length_of(headers: Mapping[str, str], max_body_bytes: int) -> int | None:
    """Return the announced length of the body; None when it is chunked or not said.

    Raises:
        Refused: 400 or 413.
    """
    announced = headers.get("content-length")
    if not announced:  # PEP 3333 writes an absent one as empty, so an empty one counts as absent everywhere
        return None
    if "transfer-encoding" in headers:
        raise Refused("ambiguous_length", "Expected Content-Length or Transfer-Encoding, got both.")
    # Superscripts and the digits of other scripts are not ASCII, and no number to HTTP.
    if not (announced.isascii() and announced.isdigit() and len(announced) <= MAX_LENGTH_DIGITS):
        raise Refused("invalid_length", "Expected Content-Length to be one number.")
    length = int(announced)
    if length > max_body_bytes:
        raise too_large(max_body_bytes)
    return length


def _method(method: str) -> str:
    return method if method.isascii() and method.isalpha() and len(method) <= 20 else "another method"  # noqa: PLR2004 - longer than any registered method


def _shown_key(headers: Mapping[str, str]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-eventmw-key")


def cross_site(origin: str | None, site: str | None, allowed: str = _ALLOWED) -> Refused:
    """Return the refusal of a browser on another site; it shows both headers."""
    shown = f"Origin: {_printable(origin)}, Sec-Fetch-Site: {_printable(site)}"
    return Refused("cross_site", f"Expected a request from this site, from a server, or from {allowed}. {shown}.")


def _printable(value: str | None) -> str:
    if value is None:
        return "(none)"
    return "".join(char if " " <= char <= "~" else "?" for char in value[:200])


def _port(port: int | None, scheme: str) -> int | None:
    return port or {"https": 443, "http": 80}.get(scheme)


def encoding_of(value: str) -> str:
    """Return the compression that a Content-Encoding names: ``gzip``, ``deflate`` or "".

    Words that compress nothing count for nothing, also beside another: ``identity``, and what senders mistake for one, a
    charset or ``none``.

    Raises:
        Refused: 415.
    """
    named = [word for part in value.split(",") if (word := part.strip(" \t").lower()) not in _NO_COMPRESSION]
    encodings = ["gzip" if word == "x-gzip" else word for word in named]
    if not encodings:
        return ""
    if len(encodings) == 1 and encodings[0] in ENCODINGS:
        return encodings[0]
    offered = ", ".join(ENCODINGS)
    expected = f"{' or '.join(ENCODINGS)}, or a body that is not compressed"
    came = "another encoding" if len(encodings) == 1 else f"{len(encodings)} of them"
    raise Refused(
        "unsupported_encoding",
        f"Expected one Content-Encoding, {expected}, got {came}.",
        headers=(("accept-encoding", offered),),
    )


def idempotency_key_of(value: str) -> str:
    """Return an Idempotency-Key as it was sent.

    Raises:
        Refused: 400.
    """
    if len(value) > MAX_IDEMPOTENCY_KEY or not _visible(value):
        raise Refused(
            "invalid_idempotency_key",
            f"Expected an Idempotency-Key of 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters.",
        )
    return value
