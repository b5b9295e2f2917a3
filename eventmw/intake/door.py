"""The door: what is decided of a request from its head alone, before a byte of its body is read.

Layer: pure rules, the same for every dialect. Source: PROTOCOLS.md 2.3 and 2.4.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Container, Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from eventmw.errors import Refused
from eventmw.formats import is_ip
from eventmw.http import Headers, RequestHead
from eventmw.intake.body import ENCODINGS, too_large

ANONYMOUS: Final = "anonymous"
PREFLIGHT_AGE_S: Final = "600"
MAX_IDEMPOTENCY_KEY: Final = 255
"""Characters; the draft names no limit. Source: assumption, the limit that Stripe documents."""

MAX_LENGTH_DIGITS: Final = 15
"""Digits of a Content-Length; a petabyte has them."""

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
        browser_ip: that address when a browser sent the request, else None.
        encoding: ``gzip``, ``deflate`` or "".
        length: the announced length of the body, or None when it is chunked or not said.
        idempotency_key: as sent, or None.
    """

    credential: str
    address: str
    browser_ip: str | None
    encoding: str = ""
    length: int | None = None
    idempotency_key: str | None = None


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
        headers, address = head.headers, head.peer
        credential = self._credential(headers) if self._keys else ANONYMOUS
        from_browser = "sec-fetch-site" in headers or "origin" in headers
        if from_browser and credential == ANONYMOUS:
            check_origin(head, self._origins, self._proxies)
        if self._proxies:
            address = forwarded(headers, self._proxies) or address
        return Visit(
            credential,
            address,
            address if from_browser else None,
            encoding_of(headers["content-encoding"]) if "content-encoding" in headers else "",
            length_of(headers, self._max_body_bytes),
            idempotency_key_of(headers["idempotency-key"]) if "idempotency-key" in headers else None,
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
            ("access-control-allow-headers", "authorization, content-type, idempotency-key, x-eventmw-key"),
            ("access-control-max-age", PREFLIGHT_AGE_S),
        )

    def cors(self, head: RequestHead) -> Headers:
        """Return the header fields by which a listed browser origin may read any answer, errors included."""
        if not self._origins:
            return ()
        origin = head.headers.get("origin")
        if origin is None or origin not in self._origins:
            return (("vary", "Origin"),)
        return (
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", "eventmw-rejected, retry-after"),
            ("vary", "Origin"),
        )

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


def wrong_method(head: RequestHead, allow: str) -> Refused:
    """Return the refusal of a method that is not among those in `allow`."""
    expected = "POST" if "GET" not in allow else "GET or POST"
    return Refused(
        "method_not_allowed", f"Expected {expected}, got {_method(head.method)}.", headers=(("allow", allow),)
    )


_ALLOWED: Final = "an allowed origin"


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
    forwarded_host = head.headers.get("x-forwarded-host") if proxies else None
    try:
        parts, host = urlsplit(origin), urlsplit("//" + (forwarded_host or head.headers.get("host", "")))
        if proxies:
            scheme = head.headers.get("x-forwarded-proto", head.scheme)
            return (parts.scheme, parts.hostname, _port(parts.port, parts.scheme)) == (
                scheme,
                host.hostname,
                _port(host.port, scheme),
            )
        own_port = _port(host.port, parts.scheme)
        return (
            parts.hostname is not None
            and parts.hostname == host.hostname
            and _port(parts.port, parts.scheme) == own_port
        )
    except ValueError:
        return False


def forwarded(headers: Mapping[str, str], proxies: int) -> str | None:
    """Return the sender's address as the proxies that are trusted tell it, or None when they tell none."""
    hops = headers.get("x-forwarded-for", "").split(",")
    return _parsed(hops[-proxies].strip()) if len(hops) >= proxies else None


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


def _parsed(hop: str) -> str | None:
    """Return the address of a hop, which may have a port: ``192.0.2.1:443``, ``[2001:db8::1]:443``."""
    bare = hop[1:].partition("]")[0] if hop.startswith("[") else hop
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    return str(ipaddress.ip_address(bare)) if is_ip(bare) else None


def encoding_of(value: str) -> str:
    """Return the encoding that a Content-Encoding names: ``gzip``, ``deflate`` or "".

    Raises:
        Refused: 415.
    """
    encoding = value.strip().lower()
    if encoding in {"", "identity"}:
        return ""
    if encoding == "x-gzip":
        return "gzip"
    if encoding in ENCODINGS:
        return encoding
    offered = ", ".join(ENCODINGS)
    raise Refused(
        "unsupported_encoding",
        f"Expected a Content-Encoding of {offered} or none.",
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
