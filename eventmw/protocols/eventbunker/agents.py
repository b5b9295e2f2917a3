"""What a user agent says of browser, system and device. The only importer of ua-parser.

Browsers froze parts of their user agents: every Chrome on Android is ``Android 10; K``, every Mac 10.15.7, every Windows
10.0. A frozen part is no fact and is left out, unless client hints give the real one.

Layer: pure rules. Source: the ua-parser project's regular expressions, «uap-core»; for what is frozen, «User-Agent
Reduction» (https://www.chromium.org/updates/ua-reduction) and «User-Agent Client Hints» (https://wicg.github.io/ua-client-hints).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, Final

log = logging.getLogger("eventmw")

MAX_LENGTH: Final = 512
"""Characters of a user agent that are looked at: browsers write up to about three hundred, and each is held against
hundreds of expressions."""

MAX_KNOWN: Final = 4_096
"""User agents whose meaning is remembered: one that is new takes milliseconds, and most visitors share a few hundred."""

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_UNKNOWN: Final = "Other"
"""What the expressions' authors call all that they do not know."""


@lru_cache(maxsize=MAX_KNOWN)
def _known(user_agent: str) -> Mapping[str, str]:
    parse = parser()
    if parse is None:
        return _NOTHING
    try:
        found = parse(user_agent)
    except Exception as error:  # noqa: BLE001 - a library that fails must not cost an event
        log.warning("ua-parser failed at a user agent: %s", type(error).__name__)
        return _NOTHING
    browser, system, device = found.user_agent, found.os, found.device
    named = {
        "_browser": browser and browser.family,
        "_browser_version": browser and _version(browser.major, browser.minor),
        "_os": system and system.family,
        "_os_version": system and _version(system.major, system.minor),
        "_device": device and device.family,
    }
    return MappingProxyType({name: value for name, value in named.items() if value and value != _UNKNOWN})


_frozen_device = re.compile(r"Android 10; K[;)]").search
_frozen_version = re.compile(
    r"Android 10; (?:K[;)]|(?:Mobile|Tablet); rv:)|Mac OS X 10(?:_15_7\b|\.15; rv:)|Windows NT 10\.0|CrOS \w+ 14541\.0\.0"
    # Safari says iOS 18 from its version 26 on. Source: WebKit, «WebKit Features in Safari 26.0».
    r"|OS 18_[0-9_]+ like Mac OS X\).*Version/(?:2[6-9]|[3-9][0-9])\."
).search
"""What browsers say of the system whatever they run on."""

_WINDOWS: Final[Mapping[str, str]] = MappingProxyType({"0.1": "7", "0.2": "8", "0.3": "8.1"})
_WINDOWS_11: Final = 13
"""Client hint → Windows. Source: Microsoft, «Detect Windows 11 and CPU architecture using User-Agent Client Hints»."""

_quoted = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"').fullmatch
_number = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}){0,3}").fullmatch


def agent(user_agent: str, hints: Mapping[str, str] = _NOTHING) -> Mapping[str, str]:
    """Return ``_browser``, ``_browser_version``, ``_os``, ``_os_version`` and ``_device``, as far as they are known.

    Args:
        user_agent: the header field.
        hints: the client hints, as sent: ``{"platform": '"Android"', "platform-version": '"16.0.0"'}``, also ``model``.
    """
    known = _facts(user_agent[:MAX_LENGTH])
    if not hints:
        return known
    system = known.get("_os") or _text(hints.get("platform", ""))
    hinted = {
        "_os": system,
        "_os_version": _hinted_version(system, _text(hints.get("platform-version", ""))),
        "_device": _text(hints.get("model", "")),
    }
    return {**known, **{name: value for name, value in hinted.items() if value}}


def _facts(user_agent: str) -> Mapping[str, str]:
    """Return what a user agent says, without what its browser says on every device."""
    known = _known(user_agent)
    if not _frozen_version(user_agent):
        return known
    frozen = {"_os_version", "_device"} if _frozen_device(user_agent) else {"_os_version"}
    return {name: value for name, value in known.items() if name not in frozen}


def _text(hint: str) -> str:
    """Return the text of a hint, which is a quoted string; "" when it is none, or empty. Source: RFC 8941, 3.3.3."""
    found = _quoted(hint.strip()[:MAX_LENGTH])
    return re.sub(r"\\(.)", r"\1", found[1]).strip() if found else ""


def _hinted_version(system: str, version: str) -> str:
    """Return the first two numbers of a version without zeros at the end: ``16.0.0`` → ``16``, ``15.3.1`` → ``15.3``."""
    if not _number(version):
        return ""
    short = ".".join(version.split(".")[:2]).removesuffix(".0")
    if system != "Windows":
        return short
    if short in _WINDOWS:
        return _WINDOWS[short]
    major = int(short.partition(".")[0])
    return "11" if major >= _WINDOWS_11 else "10" if major else ""


def _version(*parts: str | None) -> str:
    return ".".join(part for part in parts if part)


@cache
def parser() -> Callable[[str], Any] | None:
    """Return ua-parser's parser, made once; None when the package is missing or broken.

    Importing it takes long, so that nobody does before the first user agent, or before threads and forks may meet.
    """
    try:
        import ua_parser  # noqa: PLC0415 - as said above

        resolver = ua_parser.BestAvailableResolver(ua_parser.load_lazy_builtins())
        return ua_parser.Parser(resolver).parse
    except Exception as error:  # noqa: BLE001 - as above
        log.warning("user agents stay unread, since ua-parser cannot be used: %s", type(error).__name__)
        return None
