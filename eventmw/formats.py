"""Times and addresses as senders write them: what is one, and what it means. Times are milliseconds since 1970, UTC.

Layer: pure rules; the present is always an argument.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

LATEST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, where ISO 8601 with four digits ends."""


def from_iso(text: str) -> int:
    """Return the milliseconds since 1970 of an ISO 8601 time; without a zone it is UTC. Finer digits are cut off.

    Raises:
        ValueError: this is not an ISO 8601 time, or it lies before 1970.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    past = moment - datetime(1970, 1, 1, tzinfo=UTC)
    milliseconds = (past.days * 86_400 + past.seconds) * 1000 + past.microseconds // 1000
    if not 0 <= milliseconds <= LATEST_MS:
        raise ValueError("a time before 1970 or after 9999")
    return milliseconds


def to_iso(milliseconds: int) -> str:
    """Return the ISO 8601 form with milliseconds and ``Z``: ``2021-06-28T20:07:54.832Z``."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_to_the_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=1024)  # the events of one request were recorded together, and most happened just before
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def is_absent(value: object) -> bool:
    """Return whether an optional value counts as absent: null, ``[]`` or ""."""
    return value is None or value in ("", [])


_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4_PATTERN: Final = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_ipv4 = re.compile(IPV4_PATTERN).fullmatch  # ten times as fast as ipaddress, which decides all else


def is_ip(value: object) -> bool:
    """Return whether a text is an IPv4 or IPv6 address without a zone; other types are not judged here."""
    if not isinstance(value, str) or _ipv4(value):
        return True
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value


_in_brackets = re.compile(r"\[([^\]]*)\](?::[A-Za-z0-9._-]*)?").fullmatch


_MAX_IP: Final = 100
"""Characters of an address with brackets, zone and port; longer texts are none, and may not fill the cache."""


def ip_of(text: str) -> str | None:
    """Return an address in its one spelling, or None when the text is no address.

    An IPv4-mapped IPv6 address is the IPv4 address: a dual-stack socket shows every IPv4 visitor so. IPv6 is compressed and
    in lower case (RFC 5952). A port, brackets and a zone id (``%eth0``, which other machines cannot read) are dropped.
    """
    if _ipv4(text):
        return text
    return _ip_of(text) if len(text) <= _MAX_IP else None


@lru_cache(maxsize=4096)
def _ip_of(text: str) -> str | None:
    bare = text.strip()
    if found := _in_brackets(bare):
        bare = found[1]
    elif bare.count(":") == 1:  # an IPv4 address with a port
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


class NoOrigin(ValueError):  # noqa: N818 - says what the text is
    """A text that is no origin which a browser or an app's web view sends.

    Attributes:
        why: half a sentence that does not repeat the text: it may hold a password.
        spelling: how the origin is written, or "" when that cannot be told.
    """

    def __init__(self, why: str, spelling: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.spelling = spelling

    @property
    def advice(self) -> str:
        """The reason, and the spelling to use instead."""
        return f"{self.why}; write {self.spelling!r}" if self.spelling else self.why


_scheme = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL).fullmatch
_authority = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(.*))?", re.DOTALL).fullmatch
_name_of_host = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*").fullmatch
_opaque_host = re.compile(r"[A-Za-z0-9._-]+").fullmatch
_numeric_end = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)").fullmatch

_DEFAULT_PORTS: Final = {"https": "443", "http": "80"}
_NEVER_SENT: Final = frozenset({"about", "blob", "data", "ftp", "javascript", "mailto", "vbscript", "ws", "wss"})
"""Schemes whose pages, if there are any, have no origin of that scheme. Source: HTML Standard, 7.1.1 «Origins»."""

_LOWERED: Final = frozenset({"http", "https", "chrome-extension", "moz-extension"})
"""Schemes whose hosts browsers write in lower case. Web views keep the case of an app's own scheme (URL Standard, opaque
hosts), and Safari's extension ids are capitals."""

_MAX_PORT: Final = 65_535


def check_origin_spelling(text: str) -> None:
    """Look whether a text is an origin exactly as browsers and apps' web views send it.

    That is ``scheme://host[:port]``, also of an app's own scheme (``capacitor://localhost``); ``null``, of sandboxed frames
    and local files; and ``file://``, which some web views send for local files.

    Source: RFC 6454 6.2; URL Standard, «host serializing» and «default port»; cordova and electron for ``file://``
    (ionic-framework #8129, electron-vue #443).

    Raises:
        NoOrigin: it is not; with the right spelling where there is one.
    """
    if text in {"null", "file://"}:
        return
    if not text.isprintable() or " " in text:
        bare = "".join(char for char in text if char.isprintable() and char != " ")
        raise NoOrigin("an origin has no blanks and no line ends", _retried(bare))
    if text.lower() == "null":
        raise NoOrigin("an origin is written in lower case", "null")
    found = _scheme(text)
    if found is None:
        raise _without_scheme(text)
    scheme, rest = found[1].lower(), found[2]
    if scheme == "file":
        raise NoOrigin("browsers send null for local files, and some web views file:// and no more", "null")
    if scheme in _NEVER_SENT:
        raise NoOrigin(f"no page has an origin that begins with {scheme}:", _retried(_page_origin(scheme, rest)))
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    bare = authority.rpartition("@")[2]
    reasons = [
        why
        for wrong, why in (
            (found[1] != scheme, "the scheme is written in lower case"),
            (authority != rest, "an origin has no path and no slash at the end"),
            (bare != authority, "an origin has no user and password"),
        )
        if wrong
    ]
    host = _checked_host(scheme, bare, reasons)
    if reasons:
        raise NoOrigin(", and ".join(reasons), f"{scheme}://{host}")


def _page_origin(scheme: str, rest: str) -> str:
    """Return which origin the page may have that was meant: a socket's or a blob's."""
    page = {"ws": "http", "wss": "https"}.get(scheme)
    return f"{page}://{rest}" if page else ""


def _retried(text: str) -> str:
    """Return the right spelling of a text that was mended in one place; "" when nothing makes it an origin."""
    try:
        check_origin_spelling(text)
    except NoOrigin as problem:
        return problem.spelling
    return text


def _without_scheme(text: str) -> NoOrigin:
    if "*" in text:
        return _wildcard()
    bare = text.removeprefix("//")
    local = ip_of(bare) is not None or bare.partition(":")[0].lower() == "localhost"
    right = "" if not bare or ":/" in bare else _retried(f"{'http' if local else 'https'}://{bare}")
    return NoOrigin("an origin begins with its scheme: scheme://host[:port]", right)


def _wildcard() -> NoOrigin:
    return NoOrigin("no browser sends an origin with *, and patterns are not supported; list each origin by itself")


def _checked_host(scheme: str, authority: str, reasons: list[str]) -> str:
    """Return host and port as a browser writes them, and note in `reasons` what was not so.

    Raises:
        NoOrigin: no browser writes anything like it.
    """
    if "*" in authority:
        raise _wildcard()
    parts = _authority(authority)
    if parts is None or not parts[1]:
        raise NoOrigin("an origin has a host: scheme://host[:port]")
    host = _spelled_host(scheme, parts[1])
    if host != parts[1]:
        reasons.append(_why_host(parts[1], host))
    port = _spelled_port(scheme, parts[2])
    if port != (parts[2] if parts[2] is None else f":{parts[2]}"):
        default = _DEFAULT_PORTS.get(scheme)
        own = f"browsers leave out :{default}, the port of {scheme} itself"
        reasons.append(
            own if parts[2] and parts[2].lstrip("0") == default else "a port is a number without zeros in front"
        )
    return f"{host}{port or ''}"


def _spelled_port(scheme: str, port: str | None) -> str | None:
    if port is None:
        return None
    if port and not (port.isascii() and port.isdigit() and 0 < int(port[:9]) <= _MAX_PORT and len(port) <= 9):  # noqa: PLR2004 - as above
        raise NoOrigin(f"a port is a number from 1 to {_MAX_PORT:,}")
    number = port.lstrip("0")
    return None if number in {"", _DEFAULT_PORTS.get(scheme)} else f":{number}"


def _spelled_host(scheme: str, host: str) -> str:
    """Return a host as browsers write it.

    Raises:
        NoOrigin: it is no host.
    """
    if host.startswith("["):
        return _spelled_ipv6(host)
    if scheme not in _DEFAULT_PORTS:
        if not _opaque_host(host):
            raise NoOrigin("the host of an app's origin is ASCII letters, digits, dots, hyphens and underscores")
        return host.lower() if scheme in _LOWERED else host
    name = _ascii_host(host).lower().rstrip(".")
    if not _name_of_host(name):
        raise NoOrigin("a host is letters, digits, hyphens and dots")
    if _numeric_end(name) and not _ipv4(name):
        raise NoOrigin("browsers write an IPv4 address as four numbers up to 255 without zeros in front")
    return name


def _spelled_ipv6(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host.strip("[]"))
    except ValueError:
        raise NoOrigin("there is no IPv6 address between the brackets") from None
    if "%" in host:
        raise NoOrigin("an origin's IPv6 address has no zone")
    if address.ipv4_mapped is not None:  # browsers write the last 32 bits in hexadecimal, Python 3.13 with dots
        return f"[::ffff:{int(address) >> 16 & 0xFFFF:x}:{int(address) & 0xFFFF:x}]"
    return f"[{address}]"


def _ascii_host(host: str) -> str:
    """Return an international host in its ``xn--`` form.

    Raises:
        NoOrigin: it has none.
    """
    if host.isascii():
        return host
    import idna  # noqa: PLC0415 - of a library that aiohttp needs; only a host in Unicode asks for its tables

    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        raise NoOrigin("browsers write a host in ASCII, and this one has no xn-- form") from None


def _why_host(host: str, right: str) -> str:
    if host.startswith("["):
        return "browsers write an IPv6 address in its short form"
    if not host.isascii():
        return "browsers write an international host in its xn-- form"
    return "browsers write a host in lower case" if host.lower() == right else "an origin's host has no dot at its end"


_http_date = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9] GMT",
).fullmatch


def is_http_date(text: str) -> bool:
    """Return whether a text is a date in the form that HTTP wants. Source: RFC 9110 5.6.7, IMF-fixdate."""
    return _http_date(text) is not None
